"""The durable log of every command write, and of which of them were executed.

The plant executes whatever it gets, so a command that arrives twice is executed twice: the log counts every
further write of the same (asset, epoch, sequence). WAL with synchronous NORMAL survives the end of the process.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vpp.plant.commands import Command

SCHEMA = """
CREATE TABLE IF NOT EXISTS writes (
  number INTEGER PRIMARY KEY, asset TEXT NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
  digest INTEGER NOT NULL, received_at REAL NOT NULL, starts_at REAL NOT NULL, reverts_at REAL NOT NULL,
  quantity TEXT NOT NULL, value REAL NOT NULL, executed INTEGER NOT NULL DEFAULT 0, executed_at REAL);
CREATE TABLE IF NOT EXISTS refusals (
  number INTEGER PRIMARY KEY, asset TEXT NOT NULL, received_at REAL NOT NULL, reason TEXT NOT NULL);
"""
COUNTS = """
SELECT asset, count(*), sum(executed), count(*) - count(DISTINCT epoch * 4294967296 + sequence)
FROM writes GROUP BY asset
"""


class WriteLog:
    """SQLite file at `path`; writes of an earlier plant on the same file are kept and counted."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(SCHEMA)
        (last,) = self._db.execute("SELECT coalesce(max(number), 0) FROM writes").fetchone()
        self._number = int(last)

    def next_number(self) -> int:
        """The number of the next write."""
        self._number += 1
        return self._number

    def accepted(self, asset: str, command: Command) -> None:
        """Record one accepted write; its order carries a number from `next_number`."""
        order = command.order
        self._db.execute(
            "INSERT INTO writes (number, asset, epoch, sequence, digest, received_at, starts_at, reverts_at,"
            " quantity, value) VALUES (?,?,?,?,?,?,?,?,?,?)",
            (order.number, asset, command.epoch, command.sequence, command.digest, command.received_at,
             command.starts_at, command.reverts_at, order.quantity, order.value),
        )  # fmt: skip

    def refused(self, asset: str, received_at: float, reason: str) -> None:
        """Record one refused write."""
        self._db.execute(
            "INSERT INTO refusals (asset, received_at, reason) VALUES (?,?,?)", (asset, received_at, reason)
        )

    def executed(self, numbers: Iterable[int], at: float) -> None:
        """Mark writes as executed, from `at` on."""
        self._db.execute("BEGIN")
        self._db.executemany(
            "UPDATE writes SET executed = 1, executed_at = ? WHERE number = ?", ((at, n) for n in numbers)
        )
        self._db.execute("COMMIT")

    def summary(self) -> dict[str, Any]:
        """{"writes", "executed", "executed_twice", "rejected", "by_asset": {asset: the same four}}."""
        by_asset: dict[str, dict[str, int]] = {}
        for asset, writes, executed, twice in self._db.execute(COUNTS):
            by_asset[asset] = {"writes": writes, "executed": executed, "executed_twice": twice, "rejected": 0}
        for asset, n in self._db.execute("SELECT asset, count(*) FROM refusals GROUP BY asset"):
            entry = by_asset.setdefault(asset, {"writes": 0, "executed": 0, "executed_twice": 0, "rejected": 0})
            entry["rejected"] = n
        total: dict[str, Any] = {
            key: sum(entry[key] for entry in by_asset.values())
            for key in ("writes", "executed", "executed_twice", "rejected")
        }
        return total | {"by_asset": by_asset}

    def close(self) -> None:
        """Close the file."""
        self._db.close()
