"""The capacity market of a portfolio that sells reserve: when bids are issued, how they are made, what is awarded.

A bid offers, by delivery interval and ascending price, the capacity that the plan's LP holds at that price with the
commitment fixed, rounded down to the product's step; less than its smallest size is not offered. The example market
clears at the expected price and awards a share of what is offered there.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from adapters.simulated_market import offered_at
from dispatch.bid import capacity_curve
from dispatch.product import Contract
from dispatch.products.reserve import BLOCK, sold_label
from dispatch.secure import Secured
from vpp.domain.market import Bid, Position
from vpp.domain.time import Array, TimeGrid, local_time
from vpp.service.inputs import by_local_hour
from vpp.service.situation import Situation
from vpp.service.system import System

ROUNDING_MW = 1e-6
SPREAD = 0.5
BID_DEADLINE_S = 15.0


def capacity_contracts(system: System) -> tuple[Contract, ...]:
    return tuple(c for c in system.loaded.contracts if c.product == "reserve")


def reserve_issues(system: System, now: datetime) -> list[datetime]:
    """When today's capacity bids for tomorrow are issued, UTC, in order."""
    zone = system.portfolio.zone
    today = now.astimezone(ZoneInfo(zone)).date()
    return sorted({local_time(today, c.terms.issue, zone) for c in capacity_contracts(system)})


def capacity_bids(system: System, s: Situation, secured: Secured, run_id: str) -> Iterator[Bid]:
    """One bid for each contract that has an interval to sell; none from a plan that came down the ladder."""
    for c in s.contracts:
        open_ = (c.known["interval"] >= 0.0) & np.isnan(c.known["firm_mw"]) if c.product == "reserve" else np.zeros(1)
        if np.any(open_):
            yield _bid(system, c, s, secured, run_id)


def _bid(system: System, c: Contract, s: Situation, secured: Secured, run_id: str) -> Bid:
    q, interval = c.terms, c.known["interval"]
    firsts = [int(np.flatnonzero(interval == g)[0]) for g in np.unique(interval[interval >= 0.0])]
    expected = c.known["price_eur_per_mw_h"][firsts]
    count = q.price_levels // 2
    levels = np.linspace(-SPREAD, SPREAD, 2 * count + 1)[:, None] * expected
    label, hours = sold_label(c.id), _hours(s, interval)
    mw = capacity_curve(secured.problem, secured.x, BLOCK, label, levels, hours, BID_DEADLINE_S)
    mw = rounded(mw, q.step_mw, q.min_mw)
    price = np.minimum(expected + levels, q.price_cap_eur_per_mw_h)
    starts, minutes = s.grid.starts[firsts[0]], q.interval_min
    grid = TimeGrid.uniform(starts, timedelta(minutes=minutes), len(firsts))
    day = starts.astimezone(ZoneInfo(s.portfolio.zone)).date()
    gate = local_time(day - timedelta(days=1), q.gate, s.portfolio.zone)
    unit = system.portfolio.trading_units[0].id
    return Bid(f"{run_id}:{c.id}", unit, c.id, gate, s.now, grid, price, mw)


def _hours(s: Situation, interval: Array) -> Array:
    return np.array([s.grid.hours[interval == g].sum() for g in np.unique(interval[interval >= 0.0])])


def rounded(mw: Array, step_mw: float, min_mw: float) -> Array:
    """Capacity in whole steps, downwards, and none below the smallest size."""
    whole: Array = np.floor(mw / step_mw + ROUNDING_MW) * step_mw
    return np.where(whole < min_mw - ROUNDING_MW, 0.0, whole)


def awarded_capacity(system: System, bid: Bid) -> list[Position]:
    """The example market's answer: a share of what is offered at the expected price, in whole steps."""
    terms = next(c.terms for c in capacity_contracts(system) if c.id == bid.product)
    price = by_local_hour(terms.hourly_eur_per_mw_h, bid.grid, system.portfolio.zone)
    mw = rounded(terms.share_awarded * offered_at(bid, price), terms.step_mw, terms.min_mw)
    return [
        Position(bid.unit, bid.product, start, end, float(mw[t]), float(price[t]), bid.gate)
        for t, (start, end) in enumerate(zip(bid.grid.starts, bid.grid.edges[1:], strict=True))
        if mw[t] > 0.0
    ]
