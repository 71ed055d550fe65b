"""Accepted orders as the optimisation sees them, and who still owes what.

Of a demand-response call sites owe what they accepted until they withdraw; the assets that fill the gap owe the rest
of the event's megawatts, more as soon as a site stops. Of flexibility orders everything at the congestion point owes
together what was ordered beyond the prognosis.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import numpy as np

from adapters.store import Store
from dispatch.block import EndValue
from dispatch.flexibility import WORTH_PER_MWH
from vpp.domain.flex_trade import FlexOrder, at, owed_mw
from vpp.domain.market import Acceptance, Event, EventStatus, FlexibilityOffer
from vpp.domain.portfolio import Portfolio
from vpp.domain.schedule import Schedule
from vpp.domain.time import QUARTER, Array, TimeGrid, rfc3339
from vpp.service.portfolio_files import RESERVED_SITE
from vpp.service.situation import Call

OPEN = (EventStatus.ORDERED, EventStatus.ACTIVE)
DIRECTIONS: tuple[tuple[Literal["up", "down"], float], ...] = (("up", 1.0), ("down", -1.0))
GAP = RESERVED_SITE
LACKING_MW = 1e-3
BATTERY, KEPT_SHARE = "battery", 0.5


@dataclass(frozen=True)
class Order:
    """What one participant owes over the event's quarters, MW above its baseline."""

    participant: str
    assets: tuple[str, ...]
    grid: TimeGrid
    baseline_mw: Array
    accepted_mw: Array
    owed_mw: Array


def event_grid(event: Event) -> TimeGrid:
    return TimeGrid.between(event.start, event.end, QUARTER)


def orders_of(event: Event, offers: Sequence[FlexibilityOffer], answers: Sequence[Acceptance]) -> list[Order]:
    """Orders of every site that accepted and of the gap-fillers, as they stand now.

    An answer taken back by the time answers are due was never an order.
    """
    by_site = {o.site: o for o in offers}
    grid = event_grid(event)
    found = []
    for answer in answers:
        taken_back = answer.withdrawn_at is not None and answer.withdrawn_at <= event.accept_by
        if answer.site == GAP or answer.site not in by_site or taken_back:
            continue
        offer = by_site[answer.site]
        owed = np.where(_stays(answer, grid), answer.mw, 0.0)
        found.append(Order(answer.site, offer.assets, grid, offer.baseline_mw, answer.mw, owed))
    if (gap := by_site.get(GAP)) is not None:
        accepted = np.maximum(event.mw - sum((o.accepted_mw for o in found), np.zeros(grid.n)), 0.0)
        owed = np.maximum(event.mw - sum((o.owed_mw for o in found), np.zeros(grid.n)), 0.0)
        found.append(Order(GAP, gap.assets, grid, gap.baseline_mw, accepted, owed))
    return found


def _stays(answer: Acceptance, grid: TimeGrid) -> Array:
    """1 for the quarters before the withdrawal, the one it falls into excluded."""
    if answer.withdrawn_at is None:
        return np.ones(grid.n)
    return np.array([float(end <= answer.withdrawn_at) for end in grid.edges[1:]])


def calls_over(store: Store, portfolio: Portfolio, grid: TimeGrid, now: datetime) -> tuple[Call, ...]:
    """Every open order on steps of `grid` that lie inside its event or its ISPs."""
    found: list[Call] = [*flexibility_calls(store.uftp.trades(FlexOrder, grid.start, grid.end), grid, now)]
    for event in store.events.list(grid.start, grid.end):
        if event.status in OPEN and event.end > now:
            for order in orders_of(event, store.events.offers(event.id), store.events.acceptances(event.id)):
                found.append(_call(event, order, grid))
    known = set(portfolio.index)
    return tuple(c for c in found if (np.any(c.ordered_mw > 0.0) or _fills_gap(c)) and known.issuperset(c.assets))


def _call(event: Event, order: Order, grid: TimeGrid) -> Call:
    baseline, owed = (
        np.nan_to_num(grid.sample(order.grid, values)) for values in (order.baseline_mw, order.owed_mw)
    )
    missed = float(event.penalty_eur_per_mwh + event.price_eur_per_mwh)
    return Call(f"{event.id}:{order.participant}", order.assets, baseline, owed, missed)


def flexibility_calls(orders: Sequence[FlexOrder], grid: TimeGrid, now: datetime) -> Iterator[Call]:
    """One call for each congestion point, day and direction, on the steps that ordered ISPs fill.

    What is missed costs what is agreed, and at least as much as it was worth to offer it.
    """
    for point, day in dict.fromkeys((o.congestion_point, o.grid) for o in orders if o.grid.end > now):
        members = at(orders, point, day)
        bare, total = owed_mw(orders, point, day)
        missed = max(float(o.penalty_eur_per_mwh) + float(o.price) / max(o.energy_mwh, 1e-6) for o in members)
        for direction, sign in DIRECTIONS:
            inside = sign * total > 0.0
            filled = np.nan_to_num(grid.sample(day, inside.astype(float))) > 1.0 - 1e-9
            baseline, owed = (
                np.where(filled, np.nan_to_num(grid.sample(day, np.where(inside, v, 0.0))), 0.0)
                for v in (bare, sign * total)
            )
            if filled.any():
                name = f"uftp:{point}:{day.start:%Y%m%d}:{direction}"
                yield Call(name, members[-1].assets, baseline, owed, max(missed, WORTH_PER_MWH), direction)


def kept_for_orders(
    values: Mapping[str, EndValue], orders: Sequence[FlexOrder], portfolio: Portfolio, upper: Schedule, end: datetime
) -> dict[str, EndValue]:
    """What is left in batteries at `end`, valued such that later orders find it where the schedule above has it.

    A short stage sees energy and position, not what is ordered beyond its end: up to the planned content a MWh is then
    worth `KEPT_SHARE` of an order missed, more than energy costs and less than what is ordered now; for an order of
    less injection the room above the planned content is.
    """
    found, later = dict(values), np.array([t >= end for t in upper.grid.starts])
    for call in flexibility_calls(orders, upper.grid, end):
        worth = KEPT_SHARE * call.missed_eur_per_mwh
        for asset in call.assets if (call.ordered_mw[later] > 0.0).any() else ():
            value = found.get(asset)
            if portfolio.asset(asset).kind != BATTERY or value is None or len(value.value) != 2:
                continue
            below, above = value.value
            changed = [max(below, worth), above] if call.direction == "up" else [below, min(above, -worth)]
            found[asset] = EndValue(value.width_mwh, np.array(changed))
    return found


def shortfalls(orders: Sequence[FlexOrder], plan: Schedule, now: datetime) -> Iterator[str]:
    """What a plan lacks of flexibility orders, by the worst step of each call."""
    for call in flexibility_calls(orders, plan.grid, now):
        sign = 1.0 if call.direction == "up" else -1.0
        injection = plan.power_mw[[plan.asset_ids.index(a) for a in call.assets]].sum(axis=0)
        lacking = np.where(call.ordered_mw > 0.0, call.ordered_mw - sign * (injection - call.baseline_mw), 0.0)
        t = int(np.argmax(lacking))
        if lacking[t] > LACKING_MW:
            yield f"{call.id} lacks {lacking[t]:.3f} of {call.ordered_mw[t]:.3f} MW at {rfc3339(plan.grid.starts[t])}"


def with_measured_gap(
    calls: Sequence[Call], event: Event, power_mw: Mapping[str, float], grid: TimeGrid
) -> tuple[Call, ...]:
    """The calls with the event's gap-fillers owing what its sites are measured not to deliver right now."""
    filler = f"{event.id}:{GAP}"
    owing = [c for c in calls if c.id.startswith(f"{event.id}:") and not _fills_gap(c) and c.ordered_mw[0] > 0.0]
    missing = max(event.mw - sum(_delivered_mw(c, power_mw) for c in owing), 0.0)
    inside = np.array([event.start <= t < event.end for t in grid.starts], dtype=float)
    return tuple(replace(c, ordered_mw=missing * inside) if c.id == filler else c for c in calls)


def _fills_gap(call: Call) -> bool:
    return call.id.endswith(f":{GAP}")


def _delivered_mw(call: Call, power_mw: Mapping[str, float]) -> float:
    return max(sum(power_mw[a] for a in call.assets) - float(call.baseline_mw[0]), 0.0)
