"""Frozen types without I/O. Injection is positive, consumption negative; power is the mean over
an interval, energy the value at its end; every time is aware UTC and intervals are half-open."""
