"""Bids, positions and prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy import select

from adapters.store import schema
from adapters.store.codec import dumps, loads
from adapters.store.database import Database
from adapters.store.types import stamp
from vpp.domain.market import Bid, Position
from vpp.domain.time import Array, TimeGrid

_B, _P, _R = schema.bids.c, schema.positions.c, schema.prices.c


@dataclass(frozen=True)
class PriceRow:
    """Price of one interval of one product."""

    product: str
    start: datetime
    minutes: int
    price_eur_per_mwh: float
    known_at: datetime


class Market:
    """What was offered, what is firm, what it costs."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def save_bid(self, bid: Bid) -> None:
        """The same id again replaces the bid."""
        row = {
            "id": bid.id, "unit": bid.unit, "product": bid.product, "gate": bid.gate,
            "start": bid.grid.start, "end": bid.grid.end, "body": dumps(bid),
        }  # fmt: skip
        with self._db.write() as connection:
            connection.execute(self._db.upsert(schema.bids), row)

    def bids(self, unit: str | None = None, start: datetime | None = None, end: datetime | None = None) -> list[Bid]:
        """Bids that overlap [start, end), in order of their start and gate."""
        query = select(_B.body).order_by(_B.start, _B.gate, _B.id)
        if unit is not None:
            query = query.where(_B.unit == unit)
        if start is not None:
            query = query.where(_B.end > start)
        if end is not None:
            query = query.where(_B.start < end)
        with self._db.read() as connection:
            return [loads(Bid, body) for body in connection.execute(query).scalars()]

    def save_positions(self, positions: Sequence[Position]) -> None:
        """One position per (unit, product, start); the last one written holds."""
        if positions:
            with self._db.write() as connection:
                connection.execute(self._db.upsert(schema.positions), [dict(vars(p)) for p in positions])

    def positions(self, unit: str, start: datetime, end: datetime, product: str | None = None) -> list[Position]:
        """Positions that overlap [start, end), in order."""
        columns = [_P[name] for name in Position.__dataclass_fields__]
        query = select(*columns).where(_P.unit == unit, _P.end > start, _P.start < end)
        if product is not None:
            query = query.where(_P.product == product)
        with self._db.read() as connection:
            return [Position(*row) for row in connection.execute(query.order_by(_P.start, _P.product))]

    def save_prices(self, product: str, grid: TimeGrid, price_eur_per_mwh: Array, known_at: datetime) -> None:
        """(T,) prices over `grid`; NaN is a gap and is not stored."""
        rows = [
            {"product": product, "start": start, "minutes": minutes, "price_eur_per_mwh": value, "known_at": known_at}
            for start, minutes, value in zip(grid.starts, grid.minutes, price_eur_per_mwh.tolist(), strict=True)
            if not np.isnan(value)
        ]
        if rows:
            with self._db.write() as connection:
                connection.execute(self._db.upsert(schema.prices), rows)

    def prices(
        self, product: str, start: datetime, end: datetime, known_at: datetime | None = None
    ) -> list[PriceRow]:
        """Rows that start in [start, end), in order, as far as known at `known_at`."""
        columns = [_R[name] for name in PriceRow.__dataclass_fields__]
        query = select(*columns).where(_R.product == product, _R.start >= start, _R.start < end)
        if known_at is not None:
            query = query.where(_R.known_at <= known_at)
        with self._db.read() as connection:
            return [PriceRow(*row) for row in connection.execute(query.order_by(_R.start))]

    def price_on(self, product: str, grid: TimeGrid, known_at: datetime | None = None) -> Array:
        """Prices of the intervals that start where `grid`'s do, (T,), NaN for gaps."""
        rows = self.prices(product, grid.start, grid.end, known_at)
        found = {stamp(row.start): row.price_eur_per_mwh for row in rows}
        return np.array([found.get(stamp(start), np.nan) for start in grid.starts])
