"""The contracts of a portfolio as a stage run sees them: peaks already set, capacity firm or still to be sold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from dispatch.product import Contract
from dispatch.products import microgrid
from dispatch.products.reserve import decision
from vpp.domain.schedule import Schedule
from vpp.domain.time import QUARTER, Array, TimeGrid, floor_to, local_midnight, local_time
from vpp.service.inputs import by_local_hour
from vpp.service.received import limit_contracts
from vpp.service.system import System

RESERVE_BID = "reserve_bid"
"""Purpose of the run that may sell capacity whose gate is open."""
Known = Mapping[str, Array]


def contracts_over(
    system: System, grid: TimeGrid, now: datetime, purpose: str, limits_at: datetime | None = None
) -> tuple[Contract, ...]:
    """Every contract of the portfolio with what is known of it at `now`, and the limits received by then.

    `limits_at` is a later moment by which limits may have been received: that of an oracle.
    """
    stated = tuple(
        replace(c, known=KNOWN.get(c.product, _nothing)(system, c, grid, now, purpose)) for c in system.loaded.contracts
    )
    return stated + limit_contracts(system, grid, limits_at or now)


def without_given(
    contracts: tuple[Contract, ...], given: Mapping[str, Array], upper: Schedule, grid: TimeGrid
) -> tuple[Contract, ...]:
    """The contracts for a stage that does not decide on the assets `given`: their share of a reserve is `upper`'s.

    A microgrid islands as `upper` has planned it.
    """
    found = []
    for c in contracts:
        if c.product == "reserve":
            firm = c.known["firm_mw"].copy()
            side = c.terms.sides[0]
            for asset in set(c.assets) & set(given):
                held = upper.decisions.get(asset, {}).get(decision(c.id, side))
                if held is not None:
                    firm = np.maximum(firm - np.nan_to_num(grid.sample(upper.grid, np.asarray(held))), 0.0)
            c = replace(c, assets=tuple(a for a in c.assets if a not in given), known={**c.known, "firm_mw": firm})
        elif c.product == microgrid.NAME:
            c = microgrid.as_planned(c, upper, grid)
        found.append(c)
    return tuple(found)


def _nothing(system: System, c: Contract, grid: TimeGrid, now: datetime, purpose: str) -> Known:
    return {}


def _demand(system: System, c: Contract, grid: TimeGrid, now: datetime, purpose: str) -> Known:
    """Number of the billing period of each step, and the metered peak of the running one."""
    zone = ZoneInfo(system.portfolio.zone)
    local = [t.astimezone(zone) for t in grid.starts]
    period = np.array([t.year * 12 + t.month if c.terms.period == "month" else t.year for t in local], dtype=float)
    begin = now.astimezone(zone).date().replace(day=1)
    begin = begin if c.terms.period == "month" else begin.replace(month=1)
    peak = metered_peak(system, c, local_midnight(begin, system.portfolio.zone), floor_to(now, QUARTER))
    return {"period": period, "already_mw": np.where(period == period[0], peak, 0.0)}


def metered_peak(system: System, c: Contract, start: datetime, end: datetime) -> float:
    """Highest quarter-hour mean import of the contract's metering points in [start, end), MW; gaps do not count."""
    points = sorted({system.portfolio.asset(a).metering_point for a in c.assets})
    if end <= start or not points:
        return 0.0
    rows = system.store.meters.quarters(points, start, end)
    taken = -np.sum([rows[p] for p in points], axis=0)
    return float(np.nanmax(np.append(taken, 0.0)))


def _reserve(system: System, c: Contract, grid: TimeGrid, now: datetime, purpose: str) -> Known:
    """Delivery interval, expected price and firm MW of each step; -1 where nothing is firm and nothing may be sold."""
    zone, q = system.portfolio.zone, c.terms
    interval, firm = np.full(grid.n, -1.0), firm_capacity(system, c, grid)
    days: dict[date, tuple[datetime, bool]] = {}
    for t, start in enumerate(grid.starts):
        day = start.astimezone(ZoneInfo(zone)).date()
        if day not in days:
            gate = local_time(day - timedelta(days=1), q.gate, zone)
            days[day] = local_midnight(day, zone), purpose == RESERVE_BID and now <= gate
        midnight, open_ = days[day]
        if open_ or np.isfinite(firm[t]):
            interval[t] = day.toordinal() * 1000 + (start - midnight) // timedelta(minutes=q.interval_min)
    price = by_local_hour(q.hourly_eur_per_mw_h, grid, zone)
    return {"interval": interval, "price_eur_per_mw_h": price, "firm_mw": firm}


def firm_capacity(system: System, c: Contract, grid: TimeGrid) -> Array:
    """(T,) MW awarded for each step, NaN where none is; all trading units together."""
    mw = np.full(grid.n, np.nan)
    for unit in system.portfolio.trading_units:
        for p in system.store.market.positions(unit.id, grid.start, grid.end, c.id):
            inside = [t for t, start in enumerate(grid.starts) if p.start <= start < p.end]
            mw[inside] = np.nan_to_num(mw[inside]) + p.mw
    return mw


KNOWN: dict[str, Callable[[System, Contract, TimeGrid, datetime, str], Known]] = {
    "demand_charge": _demand,
    "reserve": _reserve,
}
"""What is known of each product that asks for trajectories."""
