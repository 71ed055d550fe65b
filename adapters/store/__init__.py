"""The record of the service on SQLAlchemy Core."""

from adapters.store.store import Store, open_store

__all__ = ["Store", "open_store"]
