"""The schema comes from the migrations alone, from anywhere, by any number of processes at once."""

from __future__ import annotations

import multiprocessing
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from adapters.store import Store, open_store
from adapters.store.database import MIGRATIONS, change_version
from adapters.store.schema import HEAD, metadata
from tests.adapters.children import CYCLES, claim_all
from vpp.domain.errors import InputFaults


def test_migrations_create_exactly_the_schema(store: Store) -> None:
    with store.database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == HEAD


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_down_and_up_again(store: Store) -> None:
    with store.database.write() as connection:
        change_version(connection, "base")
    with store.database.read() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    store.database.migrate()
    assert store.runs.counts() == {}


def test_needs_no_file_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    open_store(tmp_path / "deep" / "er" / "record.db").close()
    assert list(Path().iterdir()) == []


def test_sqlite_is_set_for_several_processes(store: Store) -> None:
    with store.database.read() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 30_000}


def test_postgresql_can_create_every_table() -> None:
    ddl = [str(CreateTable(t).compile(dialect=postgresql.dialect())) for t in metadata.sorted_tables]
    assert not any("ROWID" in statement for statement in ddl)


def test_processes_race_for_the_same_cycles(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier, won = spawn.Barrier(2), spawn.Queue()
    racers = [spawn.Process(target=claim_all, args=(tmp_path / "record.db", barrier, won)) for _ in range(2)]
    for racer in racers:
        racer.start()
    assert won.get(timeout=60) + won.get(timeout=60) == CYCLES
    for racer in racers:
        racer.join(30)
        assert racer.exitcode == 0


def test_a_file_that_is_no_database_is_a_fault_of_the_input(tmp_path: Path) -> None:
    path = tmp_path / "diary.db"
    path.write_text("not a database, and long enough to be read as a header of one hundred bytes" * 2)
    with pytest.raises(InputFaults, match="is no SQLite file"):
        open_store(path)


def test_a_database_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "diary.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE diary (day TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(InputFaults, match="holds no record of ours but the table diary"):
        open_store(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
