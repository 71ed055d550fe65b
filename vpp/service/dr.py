"""One demand-response call from the grid desk to the statement.

    called -> offers with baseline, P90, price and rebound -> answers -> orders -> delivery -> settlement

Offers come from the physics (`dispatch.flexibility`), so a site is never offered more than its plant
can hold over the whole event. `P90` is what is kept with 90 % probability: mean less 1.28 sigma for
price-takers, whose answer is random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from dispatch.baseline import FIVE, TEN, Meter, baselines, meter_rows_used
from dispatch.flexibility import flexible_power, held_mw
from dispatch.problem import with_block
from dispatch.secure import solve_secure
from dispatch.settlement import Delivery, settle
from forecasting.calendar import german_holidays
from vpp.domain.errors import NotSolved
from vpp.domain.market import Acceptance, Baseline, Event, EventStatus, FlexibilityOffer, Statement
from vpp.domain.portfolio import Asset
from vpp.domain.schedule import Schedule
from vpp.domain.stage import INTRADAY
from vpp.domain.time import QUARTER, Array, TimeGrid, rfc3339
from vpp.service.assemble import exposure_of, problem_of
from vpp.service.knowledge import gather
from vpp.service.orders import GAP, event_grid, orders_of
from vpp.service.situation import Situation
from vpp.service.system import System

NINETIETH = 1.2816
REBOUND = timedelta(hours=2)
DEADLINE_S = 6.0
CONTRACT_METHOD = TEN


def holidays(now: datetime) -> frozenset[Any]:
    """Public holidays of the years a baseline may reach into."""
    return frozenset(day for year in (now.year - 1, now.year) for day in german_holidays(year))


def groups(system: System, event: Event, fills_gap: Sequence[str]) -> dict[str, tuple[Asset, ...]]:
    """Sites with controllable assets at the congestion point, and the assets that fill the gap."""
    point = next(c for c in system.portfolio.congestion_points if c.id == event.congestion_point)
    found: dict[str, list[Asset]] = {}
    for asset in system.portfolio.assets:
        if asset.id in fills_gap:
            found.setdefault(GAP, []).append(asset)
        elif asset.bus in point.buses and asset.control != "none" and asset.kind != "curtailable":
            found.setdefault(asset.site, []).append(asset)
    return {site: tuple(assets) for site, assets in found.items()}


def meter_of(system: System, points: Sequence[str]) -> Meter:
    """Sum of the quarter-hour means of several metering points, NaN where one has a gap."""

    def read(grid: TimeGrid) -> Array:
        rows = system.store.meters.quarters(points, grid.start, grid.end)
        total: Array = np.sum([rows[p] for p in points], axis=0)
        return total

    return read


def site_baselines(system: System, event: Event, assets: Sequence[Asset]) -> dict[str, Baseline]:
    """Both baselines of a group of assets by method."""
    points = sorted({a.metering_point for a in assets})
    zone = system.portfolio.zone
    event_days = {
        e.start.astimezone(ZoneInfo(zone)).date() for e in system.store.events.list() if e.id != event.id
    }
    five, ten = baselines(
        "+".join(points), meter_of(system, points), event, zone, holidays(event.start), event_days
    )
    return {FIVE: five, TEN: ten}


def make_offers(system: System, event: Event, fills_gap: Sequence[str], now: datetime) -> list[FlexibilityOffer]:
    """One offer per site and one of the gap-fillers; stored, and the event marked as offered."""
    system.store.events.save(event)
    situation = gather(system, INTRADAY, "offer", now, scenarios=0)
    plan = system.store.runs.latest(INTRADAY, "roll", before=now + timedelta(seconds=1))
    offers = []
    for site, assets in groups(system, event, fills_gap).items():
        base = site_baselines(system, event, assets)[CONTRACT_METHOD].mw
        offers.append(_offer(situation, event, site, assets, base, plan.schedule if plan else None))
    for offer in offers:
        system.store.events.save_offer(offer)
    system.store.events.save(replace(event, status=EventStatus.OFFERED))
    return offers


def _offer(
    s: Situation, event: Event, site: str, assets: Sequence[Asset], baseline_mw: Array, plan: Schedule | None
) -> FlexibilityOffer:
    ids = [a.id for a in assets]
    window = [t for t, start in enumerate(s.grid.starts) if event.start <= start < event.end]
    reference = np.zeros(s.grid.n)
    reference[window] = baseline_mw
    answer = _most(s, ids, window, reference, event.mw)
    held = held_mw(answer, ids, window, reference, "up") if answer is not None else 0.0
    held = min(held, event.mw)
    after = [t for t, start in enumerate(s.grid.starts) if event.end <= start < event.end + REBOUND]
    rows = [s.portfolio.index[i] for i in ids]
    rebound = np.zeros(len(after))
    if answer is not None and plan is not None:
        before = s.grid.sample(plan.grid, plan.power_mw)
        rebound = np.nan_to_num((answer.power_mw - before)[rows].sum(axis=0))[after]
    mw = np.full(len(window), held)
    rebound_grid = TimeGrid(event.end, tuple(s.grid.minutes[t] for t in after) or (15,))
    return FlexibilityOffer(
        f"{event.id}:{site}", event.id, site, tuple(ids), event_grid(event), mw, mw * _kept(assets),
        event.price_eur_per_mwh, baseline_mw, CONTRACT_METHOD, rebound_grid,
        rebound if len(after) else np.zeros(1), int(max(a.notice for a in assets) / timedelta(minutes=1)),
    )  # fmt: skip


def _kept(assets: Sequence[Asset]) -> float:
    """Share of the expected answer that is kept with 90 % probability."""
    spread = max((float(getattr(a.params, "response_sigma", 0.0)) for a in assets), default=0.0)
    return max(0.0, 1.0 - NINETIETH * spread)


def _most(s: Situation, ids: Sequence[str], window: Sequence[int], reference: Array, most_mw: float) -> Schedule | None:
    everyone = [a.id for a in s.portfolio.assets]
    block = flexible_power(ids, everyone, s.grid, window, reference, "up", most_mw)
    try:
        network = s.grid_side.network if s.grid_side else None
        solution = solve_secure(
            with_block(problem_of(s), block), network, exposure_of(s),
            deadline_s=DEADLINE_S, rel_gap=0.01, max_rounds=4,
        )  # fmt: skip
    except NotSolved:
        return None
    return solution.schedule


def answer(system: System, event_id: str, site: str, share: float, now: datetime) -> Acceptance:
    """A site's answer: `share` of what it was offered for certain. Raises StopIteration without an offer."""
    offer = next(o for o in system.store.events.offers(event_id) if o.site == site)
    accepted = Acceptance(event_id, site, now, share * offer.p90_mw)
    system.store.events.save_acceptance(accepted)
    return accepted


def order(system: System, event_id: str) -> Event:
    """Close the call: what was accepted is owed. Scales answers down where they exceed the event."""
    event = system.store.events.get(event_id)
    answers = system.store.events.acceptances(event_id)
    total = sum((a.mw for a in answers), np.zeros(event_grid(event).n))
    scale = np.minimum(1.0, np.divide(event.mw, total, out=np.ones_like(total), where=total > 1e-9))
    for accepted in answers:
        system.store.events.save_acceptance(replace(accepted, mw=accepted.mw * scale))
    return system.store.events.save(replace(event, status=EventStatus.ORDERED))


def settle_event(system: System, event_id: str, now: datetime) -> dict[str, Statement]:
    """Statements by baseline method; the contract's one is stored and the event marked as settled."""
    event = system.store.events.get(event_id)
    statements = {method: statement(system, event, method) for method in (FIVE, TEN)}
    system.store.events.save_statement(statements[CONTRACT_METHOD])
    system.store.events.save(replace(event, status=EventStatus.SETTLED))
    return statements


def statement(system: System, event: Event, method: str) -> Statement:
    """The desk's line ("vpp", all participants together) and each participant's."""
    grid = event_grid(event)
    parts = []
    orders = orders_of(event, system.store.events.offers(event.id), system.store.events.acceptances(event.id))
    for o in orders:
        assets = [system.portfolio.asset(a) for a in o.assets]
        meter = meter_of(system, sorted({a.metering_point for a in assets}))
        base = site_baselines(system, event, assets)[method].mw
        parts.append(Delivery(o.participant, o.accepted_mw, base, meter(grid)))
    whole = Delivery(
        "vpp", np.full(grid.n, event.mw),
        np.sum([p.baseline_mw for p in parts], axis=0), np.sum([p.metered_mw for p in parts], axis=0),
    )  # fmt: skip
    desk = settle(event, [whole], method, system.portfolio.currency)
    sites = settle(event, parts, method, system.portfolio.currency)
    totals = {f"vpp_{k}": v for k, v in desk.totals.items()} | {f"participants_{k}": v for k, v in sites.totals.items()}
    return Statement(event.id, method, system.portfolio.currency, (*desk.lines, *sites.lines), totals)


def report(system: System, event_id: str) -> dict[str, Any]:
    """Everything about one event as JSON: what `vpp event` prints."""
    event = system.store.events.get(event_id)
    offers = system.store.events.offers(event_id)
    body: dict[str, Any] = {
        "event": _plain(event),
        "offers": [_plain(o) for o in offers],
        "acceptances": [_plain(a) for a in system.store.events.acceptances(event_id)],
    }
    if event.status is not EventStatus.SETTLED:
        return body
    body["baselines"] = {o.site: _baseline_report(system, event, o) for o in offers}
    body["statements"] = {m: _plain(statement(system, event, m)) for m in (FIVE, TEN)}
    body["paid_by"] = CONTRACT_METHOD
    body["true_delivery_mw"] = system.store.settings.get(f"truth:{event_id}")
    return body


def _baseline_report(system: System, event: Event, offer: FlexibilityOffer) -> dict[str, Any]:
    assets = [system.portfolio.asset(a) for a in offer.assets]
    points = sorted({a.metering_point for a in assets})
    meter, zone, found = meter_of(system, points), system.portfolio.zone, {}
    for method, b in site_baselines(system, event, assets).items():
        rows = meter_rows_used(event, b, zone)
        found[method] = {
            "metering_points": points, "days": list(b.days), "adjustment": b.adjustment, "mw": b.mw.tolist(),
            "meter_rows": {rfc3339(t): float(meter(TimeGrid.uniform(t, QUARTER, 1))[0]) for t in rows},
        }  # fmt: skip
    return found


def _plain(value: Any) -> Any:
    """Dataclasses, arrays, times and money as JSON; money stays a decimal string."""
    if isinstance(value, TimeGrid):
        return [rfc3339(t) for t in value.starts]
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, datetime):
        return rfc3339(value)
    return str(value) if isinstance(value, Decimal | EventStatus) else value
