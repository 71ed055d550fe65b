"""One demand-response call from the grid desk to the statement.

    called -> offers with baseline, P90, price and rebound -> answers -> orders -> delivery -> settlement

Offers come from the physics (`dispatch.flexibility`), so a site is never offered more than its plant
can hold over the whole event. `P90` is what is kept with 90 % probability: mean less 1.28 sigma for
price-takers, whose answer is random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from adapters.store import Store
from dispatch.baseline import FIVE, TEN, Meter, baselines
from dispatch.flexibility import flexible_power, held_mw
from dispatch.one_way import one_way_plan
from dispatch.problem import with_block
from forecasting.local_holidays import holidays_of
from vpp.domain.errors import DataGap, NotSolved, SoldTwice
from vpp.domain.flex_trade import FlexOrder
from vpp.domain.ledger import Claim, Ledger
from vpp.domain.market import Acceptance, Baseline, Event, EventStatus, FlexibilityOffer
from vpp.domain.portfolio import Asset, Portfolio
from vpp.domain.schedule import Schedule
from vpp.domain.stage import DAY_AHEAD, INTRADAY
from vpp.domain.time import QUARTER, Array, TimeGrid, floor_to
from vpp.service.assemble import exposure_of, problem_of
from vpp.service.headroom import ORDERS, ledger_of
from vpp.service.knowledge import gather
from vpp.service.orders import GAP, OPEN, event_grid
from vpp.service.situation import Situation
from vpp.service.system import System

NINETIETH = 1.2816
REBOUND = timedelta(hours=2)
DEADLINE_S = 6.0
CONTRACT_METHOD = TEN


def holidays(country: str, now: datetime) -> frozenset[date]:
    """Public holidays of the years a baseline may reach into."""
    return frozenset(day for year in (now.year - 1, now.year) for day in holidays_of(country)(year))


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


def meter_of(store: Store, points: Sequence[str]) -> Meter:
    """Sum of the quarter-hour means of several metering points, NaN where one has a gap."""

    def read(grid: TimeGrid) -> Array:
        rows = store.meters.quarters(points, grid.start, grid.end)
        total: Array = np.sum([rows[p] for p in points], axis=0)
        return total

    return read


def site_baselines(
    store: Store, portfolio: Portfolio, event: Event, assets: Sequence[Asset]
) -> dict[str, Baseline]:  # fmt: skip
    """Both baselines of a group of assets of `portfolio` by method."""
    zone, off = portfolio.zone, holidays(portfolio.holidays, event.start)
    points = sorted({a.metering_point for a in assets})
    event_days = {e.start.astimezone(ZoneInfo(zone)).date() for e in store.events.list() if e.id != event.id}
    five, ten = baselines("+".join(points), meter_of(store, points), event, zone, off, event_days)
    return {FIVE: five, TEN: ten}


def make_offers(system: System, event: Event, fills_gap: Sequence[str], now: datetime) -> list[FlexibilityOffer]:
    """One offer per site and one of the gap-fillers; stored, and the event marked as offered.

    Who has no baseline, for want of like days in the meter, gets no offer; an alarm says so.
    """
    system.store.events.save(event)
    near = event.end + REBOUND <= now + system.stage(INTRADAY).horizon
    situation = gather(system, INTRADAY if near else DAY_AHEAD, "offer", now, scenarios=0)
    plan = system.store.runs.latest(INTRADAY, "roll", before=now + timedelta(seconds=1))
    ledger = ledger_of(situation, without=f"{event.id}:")
    offers = []
    for site, assets in groups(system, event, fills_gap).items():
        try:
            base = site_baselines(system.store, system.portfolio, event, assets)[CONTRACT_METHOD].mw
        except DataGap as why:
            system.store.alarms.raise_("baseline", f"{event.id}: no offer for {site}: {why}", now)
            continue
        offer = _offer(situation, event, site, assets, base, plan.schedule if plan else None)
        offers.append(_unsold(offer, ledger, assets))
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


def _unsold(offer: FlexibilityOffer, ledger: Ledger, assets: Sequence[Asset]) -> FlexibilityOffer:
    """The offer without what its assets hold for another product or order."""
    left = float(np.nanmin(ledger.left_mw(claim_of(offer, offer.mw, ledger)), initial=np.inf))
    mw = np.minimum(offer.mw, max(left, 0.0))
    return replace(offer, mw=mw, p90_mw=mw * _kept(assets))


def claim_of(offer: FlexibilityOffer, mw: Array, ledger: Ledger) -> Claim:
    """`mw` over the offer's quarters as a claim on its assets, above its baseline; NaN outside the event."""
    asked, base = (ledger.grid.sample(offer.grid, np.asarray(v, dtype=float)) for v in (mw, offer.baseline_mw))
    return Claim(offer.id, ORDERS, offer.assets, asked, from_mw=base)


def _kept(assets: Sequence[Asset]) -> float:
    """Share of the expected answer that is kept with 90 % probability."""
    spread = max((float(getattr(a.params, "response_sigma", 0.0)) for a in assets), default=0.0)
    return max(0.0, 1.0 - NINETIETH * spread)


def _most(s: Situation, ids: Sequence[str], window: Sequence[int], reference: Array, most_mw: float) -> Schedule | None:
    everyone = [a.id for a in s.portfolio.assets]
    block = flexible_power(ids, everyone, s.grid, window, reference, "up", most_mw)
    try:
        network = s.grid_side.network if s.grid_side else None
        solution = one_way_plan(
            with_block(problem_of(s), block), network, exposure_of(s),
            deadline_s=DEADLINE_S, rel_gap=0.01, max_rounds=4,
        ).solution  # fmt: skip
    except NotSolved:
        return None
    return solution.schedule


def answer(system: System, event_id: str, site: str, share: float, now: datetime) -> Acceptance:
    """A site's answer: `share` of what it was offered for certain. Raises StopIteration without an offer."""
    offer = next(o for o in system.store.events.offers(event_id) if o.site == site)
    accepted = Acceptance(event_id, site, now, share * offer.p90_mw)
    system.store.events.save_acceptance(accepted)
    return accepted


def order(system: System, event_id: str, now: datetime) -> Event:
    """Close the call: what was accepted is owed. Scales answers down where they exceed the event.

    An answer that claims what was sold to another product or order meanwhile is cut to what is left, with an alarm.
    """
    event = system.store.events.get(event_id)
    answers = [a for a in system.store.events.acceptances(event_id) if a.withdrawn_at is None]
    answers = _claimed(system, event, answers, now)
    total = sum((a.mw for a in answers), np.zeros(event_grid(event).n))
    scale = np.minimum(1.0, np.divide(event.mw, total, out=np.ones_like(total), where=total > 1e-9))
    for accepted in answers:
        system.store.events.save_acceptance(replace(accepted, mw=accepted.mw * scale))
    return system.store.events.save(replace(event, status=EventStatus.ORDERED))


def _claimed(system: System, event: Event, answers: Sequence[Acceptance], now: datetime) -> list[Acceptance]:
    """The answers as far as the headroom allows; without reserve or another open order everything is free."""
    events = system.store.events.list(event.start, event.end)
    others = [e.id for e in events if e.id != event.id and e.status in OPEN]
    others += [o.id for o in system.store.uftp.trades(FlexOrder, event.start, event.end)]
    if not others and not any(c.product == "reserve" for c in system.loaded.contracts):
        return list(answers)
    near = event.end + REBOUND <= now + system.stage(INTRADAY).horizon
    situation = gather(system, INTRADAY if near else DAY_AHEAD, "offer", floor_to(now, QUARTER), scenarios=0)
    ledger, found = ledger_of(situation, without=f"{event.id}:"), []
    offers = {o.site: o for o in system.store.events.offers(event.id)}
    for answer in answers:
        claim = claim_of(offers[answer.site], answer.mw, ledger)
        try:
            ledger = ledger.with_claim(claim)
        except SoldTwice as why:
            system.store.alarms.raise_("headroom", f"{event.id}: answer of {answer.site} cut: {why}", now)
            left = max(0.0, float(np.nanmin(ledger.left_mw(claim))))
            answer = replace(answer, mw=np.minimum(answer.mw, left))
            ledger = ledger.with_claim(claim_of(offers[answer.site], answer.mw, ledger))
        found.append(answer)
    return found
