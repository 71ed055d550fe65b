"""D-prognoses: what the day-ahead plan injects at a congestion point, and again when orders have changed the plan.

A day is forecast once its plan covers all of it. After an order the first released plan that knows it is sent as the
next revision: ISPs that began before that plan keep what was said of them, those it does not reach get the order added.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from adapters.uftp.isps import rounded
from adapters.uftp.writing import new_id
from vpp.domain.flex_trade import FlexOrder, Prognosis, TradeStatus, at, total_mw
from vpp.domain.portfolio import Asset
from vpp.domain.schedule import DispatchRun, Schedule
from vpp.domain.stage import DAY_AHEAD, INTRADAY
from vpp.domain.time import Array, TimeGrid
from vpp.service.desk import PLAN, ROLL
from vpp.service.system import System
from vpp.service.uftp_config import UftpConfig


def baseline_of(system: System, point: str, grid: TimeGrid) -> Prognosis | None:
    """The prognosis that offers are counted from: the newest accepted one, else the newest that was not refused."""
    for status in (TradeStatus.ACCEPTED, TradeStatus.OPEN):
        found = [p for p in system.store.uftp.trades(Prognosis, grid.start, grid.end, status, point=point)
                 if p.grid == grid]  # fmt: skip
        if found:
            return found[-1]
    return None


def due_prognoses(system: System, config: UftpConfig, now: datetime) -> list[Prognosis]:
    """What has to be sent at `now`."""
    ahead, roll = (system.store.runs.latest(stage, kind) for stage, kind in ((DAY_AHEAD, PLAN), (INTRADAY, ROLL)))
    found: list[Prognosis] = []
    for operator in config.file.operators:
        for point in operator.congestion_points:
            assets = config.groups[point]
            if ahead is not None:
                found += _first(system, operator.domain, point, assets, ahead, now)
            for run in (r for r in (roll, ahead) if r is not None):
                days = {p.grid for p in found if p.congestion_point == point}
                found += [p for p in _again(system, operator.domain, point, assets, run, now) if p.grid not in days]
    return found


def _first(
    system: System, peer: str, point: str, assets: Sequence[Asset], run: DispatchRun, now: datetime
) -> Iterator[Prognosis]:
    """Days that the plan covers and nothing was said of."""
    zone, plan = system.portfolio.zone, run.schedule
    day: date = plan.grid.start.astimezone(ZoneInfo(zone)).date()
    while (grid := TimeGrid.local_day(day, zone)).end <= plan.grid.end:
        day += timedelta(days=1)
        known = system.store.uftp.trades(Prognosis, grid.start, grid.end, point=point)
        if grid.start >= plan.grid.start and grid.end > now and not any(p.grid == grid for p in known):
            orders = at(system.store.uftp.trades(FlexOrder, grid.start, grid.end), point, grid)
            ordered = total_mw([o for o in orders if o.ordered_at < run.issued_at], grid)
            yield Prognosis(
                new_id(), peer, point, grid, rounded(grid.sample(plan.grid, _injection(plan, assets))), ordered, 1,
                run.id, now,
            )  # fmt: skip


def _again(
    system: System, peer: str, point: str, assets: Sequence[Asset], run: DispatchRun, now: datetime
) -> Iterator[Prognosis]:
    """Days with orders that the last prognosis did not know and this plan does."""
    start, end = now, run.schedule.grid.end
    orders = system.store.uftp.trades(FlexOrder, start, end, point=point)
    for grid in dict.fromkeys(o.grid for o in orders):
        here = at(orders, point, grid)
        known = [p for p in system.store.uftp.trades(Prognosis, grid.start, grid.end, point=point) if p.grid == grid]
        past = np.array([t < run.schedule.grid.start for t in grid.starts])
        news = np.where(past, 0.0, total_mw(here, grid) - known[-1].ordered_mw) if known else np.zeros(grid.n)
        if not news.any() or here[-1].ordered_at >= run.issued_at:
            continue
        planned = grid.sample(run.schedule.grid, _injection(run.schedule, assets))
        mw = np.where(past | np.isnan(planned), known[-1].mw + news, planned)
        revision = known[-1].revision + 1
        yield Prognosis(new_id(), peer, point, grid, rounded(mw), known[-1].ordered_mw + news, revision, run.id, now)


def _injection(plan: Schedule, assets: Sequence[Asset]) -> Array:
    rows = [plan.asset_ids.index(a.id) for a in assets]
    found: Array = plan.power_mw[rows].sum(axis=0)
    return found
