"""What an aggregator and a grid operator trade at a congestion point, in the words of UFTP and in our units and signs.

    prognosis -> request -> offer -> order -> settlement

A deviation is MW of injection beyond the prognosis, positive for more injection (less consumption). All arrays are
over the ISPs of one local day, (n,) with n = 92, 96 or 100 quarters.

Orders at one congestion point add up: with d_j the deviations ordered so far and b[t] the injection of the group
without any order, what is owed is

    p[t] >= b[t] + D[t] where D = sum over j of d_j is positive,      p[t] <= b[t] + D[t] where it is negative

b is the prognosis of the newest order that names the ISP, less what earlier orders had already put into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from vpp.domain.time import Array, TimeGrid


class TradeStatus(StrEnum):
    """OPEN until somebody answers. An ACCEPTED offer may still be ordered or revoked, an order is accepted at once."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    REVOKED = "revoked"
    ORDERED = "ordered"


@dataclass(frozen=True)
class Prognosis:
    """The planned injection `mw` of a congestion point, as sent; `ordered_mw` of it is owed to earlier orders."""

    id: str
    peer: str
    congestion_point: str
    grid: TimeGrid
    mw: Array
    ordered_mw: Array
    revision: int
    run: str
    issued_at: datetime

    @property
    def bare_mw(self) -> Array:
        """What would be injected without any order."""
        return self.mw - self.ordered_mw


@dataclass(frozen=True)
class FlexRequest:
    """The room [low, high] in which the grid operator wants the deviation of each ISP, NaN where it says nothing.

    It asks for one where `requested`, else it only allows it.
    """

    id: str
    peer: str
    conversation: str
    congestion_point: str
    grid: TimeGrid
    requested: NDArray[np.bool_]
    low_mw: Array
    high_mw: Array
    revision: int
    expires_at: datetime
    contract: str | None = None

    @property
    def direction(self) -> Array:
        """+1 where more injection is asked for, -1 where less, 0 elsewhere."""
        up = self.requested & (self.high_mw > 0.0)
        down = self.requested & (self.low_mw < 0.0)
        found: Array = np.where(up, 1.0, 0.0) - np.where(down, 1.0, 0.0)
        return found


@dataclass(frozen=True)
class FlexOffer:
    """A deviation `mw` of a group of assets for one `price` of it all, NaN where nothing is offered."""

    id: str
    peer: str
    conversation: str
    request: str
    congestion_point: str
    prognosis: str
    assets: tuple[str, ...]
    grid: TimeGrid
    mw: Array
    price: Decimal
    currency: str
    expires_at: datetime
    contract: str | None = None


@dataclass(frozen=True)
class FlexOrder:
    """An offer that was bought: `mw` is owed on top of `bare_mw` and of the orders before; `number` counts them.

    A MWh that is not delivered costs the penalty.
    """

    id: str
    peer: str
    offer: str
    prognosis: str
    congestion_point: str
    assets: tuple[str, ...]
    grid: TimeGrid
    prognosis_mw: Array
    bare_mw: Array
    mw: Array
    price: Decimal
    currency: str
    penalty_eur_per_mwh: Decimal
    reference: str
    ordered_at: datetime
    number: int = 0

    @property
    def energy_mwh(self) -> float:
        """Of the whole deviation, whatever its direction."""
        return float(np.nansum(np.abs(self.mw) * self.grid.hours))


@dataclass(frozen=True)
class OrderLine:
    """What the grid operator states of one ISP of an order, MW of injection; `missing_mw` is never negative."""

    index: int
    prognosis_mw: float
    ordered_mw: float
    actual_mw: float
    delivered_mw: float
    missing_mw: float


@dataclass(frozen=True)
class OrderClaim:
    """One settlement item of a settlement message; `net` is what the grid operator says it pays for the order."""

    reference: str
    congestion_point: str | None
    grid: TimeGrid
    lines: tuple[OrderLine, ...]
    price: Decimal
    penalty: Decimal
    net: Decimal


@dataclass(frozen=True)
class FlexSettlement:
    """All orders of the local days in [start, end)."""

    id: str
    peer: str
    conversation: str
    start: datetime
    end: datetime
    currency: str
    claims: tuple[OrderClaim, ...]


def ordered_before(orders: Sequence[FlexOrder], order: FlexOrder) -> Array:
    """(n,) sum of the deviations of the orders before `order` on the same ISPs of its congestion point."""
    earlier = [o for o in at(orders, order.congestion_point, order.grid) if o.number < order.number]
    return total_mw(earlier, order.grid)


def at(orders: Sequence[FlexOrder], congestion_point: str, grid: TimeGrid) -> list[FlexOrder]:
    """The orders of one congestion point and day, in the order in which they were accepted."""
    found = [o for o in orders if o.congestion_point == congestion_point and o.grid == grid]
    return sorted(found, key=lambda o: o.number)


def total_mw(trades: Sequence[FlexOrder | FlexOffer], grid: TimeGrid) -> Array:
    """(n,) sum of their deviations."""
    return sum((np.nan_to_num(t.mw) for t in trades), np.zeros(grid.n))


def owed_mw(orders: Sequence[FlexOrder], congestion_point: str, grid: TimeGrid) -> tuple[Array, Array]:
    """(n,) the injection without any order, NaN where none names the ISP, and the sum of all deviations."""
    found, bare = at(orders, congestion_point, grid), np.full(grid.n, np.nan)
    for order in found:
        bare = np.where(np.nan_to_num(order.mw) != 0.0, order.bare_mw, bare)
    return bare, total_mw(found, grid)
