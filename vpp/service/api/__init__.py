"""The HTTP API: three roles, problem+json, long work as jobs to poll."""
