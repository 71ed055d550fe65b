"""The engine: SQLite in WAL mode by default, PostgreSQL by URL, brought to the newest migration.

SQLite: journal_mode WAL and synchronous NORMAL survive the death of the process at any instant;
writers queue on BEGIN IMMEDIATE for up to 30 s instead of failing when a read turns into a write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, inspect, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError

from adapters.store.schema import HEAD
from vpp.domain.errors import Fault, InputFaults

BUSY_TIMEOUT_MS = 30_000
MIGRATIONS = Path(__file__).parent / "migrations"
UNUSABLE = {
    sqlite3.SQLITE_NOTADB: "is no SQLite file",
    sqlite3.SQLITE_CORRUPT: "is a damaged SQLite file",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened as an SQLite file",
}


class Database:
    """An engine with explicit read and write transactions."""

    def __init__(self, url: str) -> None:
        """`url` as SQLAlchemy reads it, or the path of an SQLite file.

        Raises InputFaults for a file of another program, and for a URL or folder that cannot be had.
        """
        self.url = url if "://" in url else f"sqlite:///{url}"
        try:
            self.engine = _engine(self.url)
        except (ArgumentError, ImportError, OSError) as error:
            raise InputFaults([Fault(self.url, "", f"cannot be opened: {error}")]) from error
        self._writer = self.engine.execution_options(writes=True)
        self._upserts: dict[str, Any] = {}

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may write; commits at the end, rolls back on any exception."""
        with self._writer.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent snapshot."""
        with self.engine.begin() as connection:
            yield connection

    def insert(self, table: Table) -> Any:
        """An INSERT that offers on_conflict_do_update and on_conflict_do_nothing in this dialect."""
        return postgresql.insert(table) if self.engine.dialect.name == "postgresql" else sqlite.insert(table)

    def upsert(self, table: Table) -> Any:
        """An INSERT that replaces every other column where the primary key exists."""
        if table.name not in self._upserts:
            statement = self.insert(table)
            keys = [c.name for c in table.primary_key]
            changes = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys}
            self._upserts[table.name] = statement.on_conflict_do_update(index_elements=keys, set_=changes)
        return self._upserts[table.name]

    def migrate(self) -> None:
        """To the newest version; several processes may start at once, one of them migrates.

        Raises InputFaults for a file that SQLite cannot use, and for a server that does not answer.
        """
        try:
            self._migrate()
        except DatabaseError as error:
            reason = UNUSABLE.get(getattr(error.orig, "sqlite_errorcode", None) or 0)
            url = self.engine.url
            if reason is None and url.get_backend_name() != "sqlite" and isinstance(error, OperationalError):
                raise InputFaults([Fault(repr(url), "", f"no database answers: {error.orig}")]) from error
            if reason is None:
                raise
            raise InputFaults([Fault(url.database or self.url, "", reason)]) from error

    def _migrate(self) -> None:
        with self.read() as connection:
            if _version(connection) == HEAD:
                return
        with self.write() as connection:
            if self.engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(7121)"))
            if _version(connection) != HEAD:
                change_version(connection, HEAD)

    def close(self) -> None:
        """Return every connection."""
        self.engine.dispose()


def holds_record(path: Path) -> bool:
    """Whether the SQLite file `path` holds our tables; nothing is written. Raises InputFaults for no SQLite file."""
    return "alembic_version" in _tables(path)


def require_ours_or_new(path: Path) -> None:
    """Raises InputFaults where the SQLite file `path` belongs to another program; it is left as it is."""
    if path.is_file() and (tables := _tables(path)) and "alembic_version" not in tables:
        raise InputFaults([Fault(str(path), "", f"holds no record of ours but the table {min(tables)}")])


def _tables(path: Path) -> set[str]:
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise InputFaults([Fault(str(path), "", UNUSABLE.get(error.sqlite_errorcode, str(error)))]) from error
    return {name for (name,) in found}


def change_version(connection: Connection, revision: str) -> None:
    """Upgrade or downgrade within the transaction of `connection`; `revision` may be "base"."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    (command.downgrade if revision == "base" else command.upgrade)(config, revision)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _engine(url: str) -> Engine:
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        if engine.url.database:
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
            require_ours_or_new(Path(engine.url.database))
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
