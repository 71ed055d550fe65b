"""Meter rows and readings of devices.

A repeated value keeps the time at which it was first known; a corrected one is known only from its
correction on, so that no earlier decision can see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Boolean, func, select, text

from adapters.store import schema
from adapters.store.database import Database
from adapters.store.types import stamp
from vpp.domain.command import MeterRow, Telemetry
from vpp.domain.portfolio import AssetState
from vpp.domain.time import QUARTER, Array, utc

_M, _T, _S = schema.meters.c, schema.telemetry.c, schema.states.c
_READING = tuple(Telemetry.__dataclass_fields__)
_WRITE = text(
    "INSERT INTO meters (point, minutes, start, mw, known_at) VALUES (:point, :minutes, :start, :mw, :known_at) "
    "ON CONFLICT (point, minutes, start) DO UPDATE SET mw = excluded.mw, known_at = excluded.known_at "
    "WHERE meters.mw <> excluded.mw"
)
_QUARTERS = text(
    "SELECT start, mw FROM meters WHERE point = :point AND minutes = 15 AND start >= :first AND start < :last"
)


class Meters:
    """Power by metering point or grid series, and telemetry by asset."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._move_forward = _move_forward(database)

    def write(self, rows: Sequence[MeterRow]) -> None:
        """Idempotent: the same rows again change nothing. Raises ValueError for NaN: a gap is no row."""
        if any(np.isnan(r.mw) for r in rows):
            raise ValueError("a gap is a missing row, not NaN")
        if not rows:
            return
        values = [
            {"point": r.point, "minutes": r.minutes, "start": stamp(r.start), "mw": r.mw, "known_at": stamp(r.known_at)}
            for r in rows
        ]
        with self._db.write() as connection:
            connection.execute(_WRITE, values)

    def read(self, point: str, start: datetime, end: datetime, known_at: datetime | None = None) -> list[MeterRow]:
        """Rows that start in [start, end), in order, as far as known at `known_at`."""
        query = select(_M.point, _M.start, _M.minutes, _M.mw, _M.known_at).where(
            _M.point == point, _M.start >= start, _M.start < end
        )
        if known_at is not None:
            query = query.where(_M.known_at <= known_at)
        with self._db.read() as connection:
            return [MeterRow(*row) for row in connection.execute(query.order_by(_M.start, _M.minutes))]

    def quarters(self, points: Sequence[str], start: datetime, end: datetime) -> dict[str, Array]:
        """Quarter-hour means over [start, end) for each point, (n,), NaN for gaps. `start` on a quarter."""
        n = (utc(end) - utc(start)) // QUARTER
        place = {stamp(start + i * QUARTER): i for i in range(n)}
        found: dict[str, Array] = {}
        with self._db.read() as connection:
            for point in points:
                values = np.full(n, np.nan)
                query = {"point": point, "first": stamp(start), "last": stamp(end)}
                rows = connection.execute(_QUARTERS, query).cursor.fetchall()
                if rows:
                    starts, mw = zip(*rows, strict=True)
                    values[[place[s] for s in starts]] = mw
                found[point] = values
        return found

    def points(self) -> list[str]:
        """Every point that has rows."""
        with self._db.read() as connection:
            return list(connection.execute(select(_M.point).distinct().order_by(_M.point)).scalars())

    def last_start(self, point: str, minutes: int = 15) -> datetime | None:
        """Start of the newest row of `point`."""
        query = select(_M.start).where(_M.point == point, _M.minutes == minutes).order_by(_M.start.desc()).limit(1)
        with self._db.read() as connection:
            return connection.execute(query).scalar()

    def state_write(self, readings: Sequence[Telemetry], known_at: datetime | None = None) -> None:
        """Append readings and move the latest state of each asset forward, never back."""
        if not readings:
            return
        rows = [dict(vars(r)) for r in readings]
        with self._db.write() as connection:
            connection.execute(self._db.upsert(schema.telemetry), rows)
            connection.execute(self._move_forward, [{**row, "known_at": known_at or row["at"]} for row in rows])

    def latest_states(self, asset_ids: Sequence[str] | None = None) -> dict[str, AssetState]:
        """The newest known state of each asset that ever answered, without what `starts` and `off_content` tell; the
        others are missing."""
        names = tuple(name for name in AssetState.__dataclass_fields__ if name in _S)
        query = select(*(_S[name] for name in names))
        if asset_ids is not None:
            query = query.where(_S.asset_id.in_(asset_ids))
        with self._db.read() as connection:
            return {row.asset_id: AssetState(*row) for row in connection.execute(query)}

    def starts(self, asset_ids: Sequence[str], start: datetime, end: datetime) -> dict[str, tuple[datetime, ...]]:
        """The moments in (start, end] at which a reading says on and the one before, from `start` on, off."""
        before = func.lag(_T.on, type_=Boolean).over(partition_by=_T.asset_id, order_by=_T.at).label("before")
        readings = (
            select(_T.asset_id, _T.at, _T.on, before)
            .where(_T.asset_id.in_(asset_ids), _T.at >= start, _T.at <= end)
            .subquery()
        )
        r = readings.c
        query = select(r.asset_id, r.at).where(r.on.is_(True), r.before.is_(False)).order_by(r.asset_id, r.at)
        found: dict[str, list[datetime]] = {}
        with self._db.read() as connection:
            for asset_id, at in connection.execute(query):
                found.setdefault(asset_id, []).append(at)
        return {asset_id: tuple(moments) for asset_id, moments in found.items()}

    def off_content(self, asset_id: str, target_mwh: float, start: datetime, end: datetime) -> tuple[float, float]:
        """Mean distance of the content from a target, MWh, over the readings of [start, end], and the hours between."""
        query = select(func.avg(func.abs(_T.stored_mwh - target_mwh)), func.min(_T.at), func.max(_T.at)).where(
            _T.asset_id == asset_id, _T.at >= start, _T.at <= end
        )
        with self._db.read() as connection:
            mean, first, last = connection.execute(query).one()
        return (0.0, 0.0) if mean is None else (float(mean), (last - first).total_seconds() / 3600.0)

    def telemetry(self, asset_id: str, start: datetime, end: datetime) -> list[Telemetry]:
        """Readings of [start, end) in order."""
        query = select(*(_T[name] for name in _READING)).where(_T.asset_id == asset_id, _T.at >= start, _T.at < end)
        with self._db.read() as connection:
            return [Telemetry(*row) for row in connection.execute(query.order_by(_T.at))]


def _move_forward(database: Database) -> Any:
    """Replace the latest state of an asset unless it is newer."""
    statement = database.insert(schema.states)
    changes = {c.name: statement.excluded[c.name] for c in schema.states.columns if c.name != "asset_id"}
    newer = schema.states.c.at <= statement.excluded["at"]
    return statement.on_conflict_do_update(index_elements=["asset_id"], set_=changes, where=newer)
