"""The record, grouped by what it is about."""

from __future__ import annotations

from pathlib import Path

from adapters.store.access import Access
from adapters.store.commands import Commands
from adapters.store.database import Database
from adapters.store.envelopes import Envelopes
from adapters.store.events import Events
from adapters.store.forecasts import Forecasts
from adapters.store.market import Market
from adapters.store.meters import Meters
from adapters.store.models import Models
from adapters.store.records import Alarms, Jobs, Settings
from adapters.store.runs import Runs
from adapters.store.uftp import UftpRecord


class Store:
    """One database. Safe to share between threads; several processes may open the same one."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.runs = Runs(database)
        self.commands = Commands(database)
        self.meters = Meters(database)
        self.market = Market(database)
        self.events = Events(database)
        self.envelopes = Envelopes(database)
        self.access = Access(database)
        self.models = Models(database)
        self.forecasts = Forecasts(database)
        self.settings = Settings(database)
        self.jobs = Jobs(database)
        self.alarms = Alarms(database)
        self.uftp = UftpRecord(database)

    def close(self) -> None:
        """Return every connection."""
        self.database.close()


def open_store(url: str | Path) -> Store:
    """The store at `url` (an SQLAlchemy URL, or the path of an SQLite file), at the newest migration."""
    database = Database(str(url))
    database.migrate()
    return Store(database)
