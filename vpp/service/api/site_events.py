"""What a site is told of an event: everything it needs to accept, stay under its ceiling, and check its money.

    ceiling[t] = -(baseline[t] + quantity[t])     kW of consumption to stay under at its metering points together

Injection is positive inside; a site reads kW of consumption: its baseline, and the reduction it stands for.
"""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
from pydantic import BaseModel

from vpp.domain.market import Acceptance, Event, FlexibilityOffer, Statement, StatementLine
from vpp.domain.portfolio import Portfolio
from vpp.domain.time import Array

KW = 1000.0
CENT = Decimal("0.01")
HOW_TO_DISPUTE = (
    "POST /v1/site/events/{event}/dispute with a reason; the operator answers with the meter rows the baseline "
    "was computed from. The baseline uses the metering points named in the event."
)


class Interval(BaseModel):
    """One quarter; kW of consumption at all metering points of the event together."""

    start: datetime
    minutes: int
    baseline_kw: float
    offered_reduction_kw: float
    offered_ceiling_kw: float
    expected_reduction_kw: float
    accepted_reduction_kw: float | None
    ceiling_kw: float | None


class Rebound(BaseModel):
    """Consumption after the end above the plan, as expected; staying under `limit_kw` keeps within the offer."""

    start: datetime
    minutes: int
    limit_kw: float


class SiteEvent(BaseModel):
    """An event as one site sees it. `direction` up is more injection, which is less consumption.

    `paid_cap` is the most that is paid for the offered quantity; delivery beyond the accepted one is not paid.
    `ramp_minutes` is the time to reach the quantity after the start; delivery is settled on quarter-hour means.
    """

    id: str
    version: int
    programme: str
    status: str
    direction: str
    test: bool
    start: datetime
    end: datetime
    called_at: datetime
    accept_by: datetime
    can_answer: bool
    notice_minutes: int
    ramp_minutes: int
    metering_points: list[str]
    assets: list[str]
    baseline_method: str
    intervals: list[Interval]
    rebound: list[Rebound]
    price_eur_per_mwh: Decimal
    penalty_eur_per_mwh: Decimal
    paid_cap: Decimal
    currency: str
    accepted_at: datetime | None
    withdrawn_at: datetime | None


class SiteLine(BaseModel):
    """One quarter, measured against baseline; kW of reduction, money received positive."""

    start: datetime
    ordered_kw: Decimal
    baseline_kw: Decimal
    metered_kw: Decimal
    delivered_kw: Decimal
    settled_kwh: Decimal
    payment: Decimal
    penalty: Decimal


class SiteStatement(BaseModel):
    """`net` is payment less penalty. `baseline_kw` and `metered_kw` are consumption."""

    event: str
    method: str
    currency: str
    lines: list[SiteLine]
    payment: Decimal
    penalty: Decimal
    net: Decimal
    how_to_dispute: str


def site_event(
    portfolio: Portfolio, event: Event, offer: FlexibilityOffer, answer: Acceptance | None, now: datetime, open_: bool
) -> SiteEvent:
    """The event for the site of `offer`; `open_` says whether it may still answer."""
    points = sorted({portfolio.asset(a).metering_point for a in offer.assets})
    return SiteEvent(
        id=event.id, version=event.version, programme=event.programme, status=event.status.value,
        direction="up" if event.mw >= 0 else "down", test=event.test, start=event.start, end=event.end,
        called_at=event.called_at, accept_by=event.accept_by, can_answer=open_ and now <= event.accept_by,
        notice_minutes=offer.notice_minutes, ramp_minutes=0, metering_points=points, assets=list(offer.assets),
        baseline_method=offer.baseline_method, intervals=_intervals(offer, answer),
        rebound=_rebound(offer),
        price_eur_per_mwh=event.price_eur_per_mwh, penalty_eur_per_mwh=event.penalty_eur_per_mwh,
        paid_cap=_paid_cap(event, offer), currency=portfolio.currency,
        accepted_at=answer.at if answer else None, withdrawn_at=answer.withdrawn_at if answer else None,
    )  # fmt: skip


def _intervals(offer: FlexibilityOffer, answer: Acceptance | None) -> list[Interval]:
    found = []
    for t, start in enumerate(offer.grid.starts):
        base, certain = float(offer.baseline_mw[t]), float(offer.p90_mw[t])
        taken = float(answer.mw[t]) if answer else None
        found.append(
            Interval(
                start=start, minutes=offer.grid.minutes[t], baseline_kw=-base * KW, offered_reduction_kw=certain * KW,
                offered_ceiling_kw=-(base + certain) * KW, expected_reduction_kw=float(offer.mw[t]) * KW,
                accepted_reduction_kw=None if taken is None else taken * KW,
                ceiling_kw=None if taken is None else -(base + taken) * KW,
            )
        )  # fmt: skip
    return found


def _rebound(offer: FlexibilityOffer) -> list[Rebound]:
    grid = offer.rebound_grid
    more: Array = np.maximum(-offer.rebound_mw, 0.0) * KW
    return [
        Rebound(start=start, minutes=grid.minutes[t], limit_kw=float(more[t])) for t, start in enumerate(grid.starts)
    ]


def _paid_cap(event: Event, offer: FlexibilityOffer) -> Decimal:
    energy = Decimal(repr(float(offer.p90_mw @ offer.grid.hours)))
    return (energy * event.price_eur_per_mwh).quantize(CENT, ROUND_HALF_UP)


def site_statement(statement: Statement, site: str) -> SiteStatement:
    """The site's own lines of a settled event."""
    lines = [line for line in statement.lines if line.participant == site]
    payment = sum((line.payment for line in lines), Decimal(0))
    penalty = sum((line.penalty for line in lines), Decimal(0))
    return SiteStatement(
        event=statement.event, method=statement.method, currency=statement.currency,
        lines=[_line(line) for line in lines], payment=payment, penalty=penalty, net=payment - penalty,
        how_to_dispute=HOW_TO_DISPUTE.format(event=statement.event),
    )  # fmt: skip


def _line(line: StatementLine) -> SiteLine:
    thousand = Decimal(1000)
    return SiteLine(
        start=line.start, ordered_kw=line.ordered_mw * thousand, baseline_kw=-line.baseline_mw * thousand,
        metered_kw=-line.metered_mw * thousand, delivered_kw=line.delivered_mw * thousand,
        settled_kwh=line.settled_mwh * thousand, payment=line.payment, penalty=line.penalty,
    )  # fmt: skip
