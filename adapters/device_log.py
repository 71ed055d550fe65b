"""The device side's own record of what it was told: written before the device is.

Execution at most once: an id is executed by whoever inserts it; the order (epoch, sequence) only grows per
asset. An id found "intended" was interrupted between this log and the device, and only the device itself
can say whether it got it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from vpp.domain.command import Setpoint
from vpp.domain.time import rfc3339, utc

TABLES = """
CREATE TABLE IF NOT EXISTS commands (
  id TEXT PRIMARY KEY, asset TEXT NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
  valid_until TEXT NOT NULL, state TEXT NOT NULL, readback REAL, reason TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS newest (asset TEXT PRIMARY KEY, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL)
  WITHOUT ROWID;
"""


class Told(StrEnum):
    """What the log says of a set-point that has arrived."""

    NEW = "new"
    INTERRUPTED = "intended"
    DONE = "done"
    REFUSED = "refused"
    OLDER = "older"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Entry:
    """`readback` and `reason` as stored when an earlier delivery of the same id was settled."""

    told: Told
    readback: float | None = None
    reason: str = ""


class DeviceLog:
    """One SQLite file. Several processes may share it; each batch is one transaction."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=30.0, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.executescript(TABLES)

    def intend(self, setpoints: Sequence[Setpoint], now: datetime) -> list[Entry]:
        """Judge each set-point in the order given and store the new ones, all before this returns."""
        cursor = self._connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        try:
            entries = [self._judge(cursor, s, now) for s in setpoints]
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        cursor.execute("COMMIT")
        return entries

    def _judge(self, cursor: sqlite3.Cursor, setpoint: Setpoint, now: datetime) -> Entry:
        order = (setpoint.epoch, setpoint.sequence)
        known = cursor.execute("SELECT state, readback, reason FROM commands WHERE id = ?", (setpoint.id,)).fetchone()
        newest = cursor.execute("SELECT epoch, sequence FROM newest WHERE asset = ?", (setpoint.asset_id,)).fetchone()
        if known is not None:
            if known[0] == Told.INTERRUPTED and newest != order:
                return Entry(Told.OLDER, None, "interrupted, then replaced by a newer one")
            return Entry(Told(known[0]), known[1], known[2])
        if newest is not None and order <= newest:
            return Entry(Told.OLDER, None, f"{order[0]}/{order[1]} is not newer than {newest[0]}/{newest[1]}")
        if setpoint.valid_until <= now:
            return Entry(Told.EXPIRED, None, f"valid until {rfc3339(setpoint.valid_until)}")
        cursor.execute(
            "INSERT INTO commands (id, asset, epoch, sequence, valid_until, state) VALUES (?, ?, ?, ?, ?, 'intended')",
            (setpoint.id, setpoint.asset_id, *order, _stamp(setpoint.valid_until)),
        )
        cursor.execute(
            "INSERT INTO newest (asset, epoch, sequence) VALUES (?, ?, ?) "
            "ON CONFLICT (asset) DO UPDATE SET epoch = excluded.epoch, sequence = excluded.sequence",
            (setpoint.asset_id, *order),
        )
        return Entry(Told.NEW)

    def settle(self, results: Sequence[tuple[str, Told, float | None, str]]) -> None:
        """(id, DONE or REFUSED, readback, reason) of commands whose fate is known."""
        if not results:
            return
        cursor = self._connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        cursor.executemany(
            "UPDATE commands SET state = ?, readback = ?, reason = ? WHERE id = ?",
            [(told.value, readback, reason, setpoint_id) for setpoint_id, told, readback, reason in results],
        )
        cursor.execute("COMMIT")

    def forget(self, before: datetime) -> None:
        """Drop commands that ended before; a repeat of one is still refused as older than the newest."""
        self._connection.execute("DELETE FROM commands WHERE valid_until < ?", (_stamp(before),))

    def close(self) -> None:
        """Release the file."""
        self._connection.close()


def _stamp(moment: datetime) -> str:
    return utc(moment).isoformat(timespec="microseconds")
