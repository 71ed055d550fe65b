"""The record of the service on SQLAlchemy Core."""

from adapters.store.database import holds_record
from adapters.store.store import Store, open_store

__all__ = ["Store", "holds_record", "open_store"]
