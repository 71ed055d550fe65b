"""Bids, firm positions, demand-response events, statements. Money that is settled is Decimal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from vpp.domain.time import Array, TimeGrid


@dataclass(frozen=True)
class Bid:
    """A price-quantity curve per interval: at a price of at least price[k, t] sell mw[k, t] (net injection).

    Both are (K,T), non-decreasing in k; `gate` is when the bid becomes binding.
    """

    id: str
    unit: str
    product: str
    gate: datetime
    issued_at: datetime
    grid: TimeGrid
    price_eur_per_mwh: Array
    mw: Array


@dataclass(frozen=True)
class Position:
    """Firm net injection `mw` of one interval at `price`."""

    unit: str
    product: str
    start: datetime
    end: datetime
    mw: float
    price_eur_per_mwh: float
    gate: datetime
    firm: bool = True


class EventStatus(StrEnum):
    REQUESTED = "requested"
    OFFERED = "offered"
    ORDERED = "ordered"
    ACTIVE = "active"
    COMPLETED = "completed"
    SETTLED = "settled"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Event:
    """A demand-response call at a congestion point: `mw` of extra injection over [start, end)."""

    id: str
    version: int
    programme: str
    congestion_point: str
    called_at: datetime
    start: datetime
    end: datetime
    mw: float
    price_eur_per_mwh: Decimal
    penalty_eur_per_mwh: Decimal
    accept_by: datetime
    status: EventStatus = EventStatus.REQUESTED
    test: bool = False


@dataclass(frozen=True)
class FlexibilityOffer:
    """What one site can add per interval for an event: expected MW and the MW kept with 90 % probability.

    `rebound_mw` is the expected change after the end, over `rebound_grid`; `baseline_mw` is shown
    before anybody accepts.
    """

    id: str
    event: str
    site: str
    assets: tuple[str, ...]
    grid: TimeGrid
    mw: Array
    p90_mw: Array
    price_eur_per_mwh: Decimal
    baseline_mw: Array
    baseline_method: str
    rebound_grid: TimeGrid
    rebound_mw: Array
    notice_minutes: int


@dataclass(frozen=True)
class Acceptance:
    """A site's answer: MW accepted per interval; `withdrawn_at` when it stopped, with its reason."""

    event: str
    site: str
    at: datetime
    mw: Array
    withdrawn_at: datetime | None = None
    reason: str = ""


@dataclass(frozen=True)
class Baseline:
    """What a metering point would have done; `rows` names the meter rows it was computed from."""

    metering_point: str
    method: str
    grid: TimeGrid
    mw: Array
    days: tuple[str, ...]
    adjustment: float


@dataclass(frozen=True)
class StatementLine:
    """One quarter of one participant, MW of injection; money in Decimal, received positive."""

    participant: str
    start: datetime
    ordered_mw: Decimal
    baseline_mw: Decimal
    metered_mw: Decimal
    delivered_mw: Decimal
    settled_mwh: Decimal
    payment: Decimal
    penalty: Decimal


@dataclass(frozen=True)
class Statement:
    event: str
    method: str
    currency: str
    lines: tuple[StatementLine, ...]
    totals: Mapping[str, Decimal]
