"""What the page shows, read once per refresh from the record and the running service.

The band is the plan plus the 5 to 95 % quantiles of what the forecast leaves open: over the joint scenarios,
    deviation = sum over assets of sign * scale * (series - expected),     + generation, - load
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from adapters.store.records import Alarm
from adapters.store.runs import RunSummary
from dispatch.registry import KINDS
from vpp.domain.forecast import Forecast
from vpp.domain.forecast_score import SeriesScore
from vpp.domain.market import Event, EventStatus
from vpp.domain.network import Flow, Network
from vpp.domain.portfolio import Asset, AssetState, Portfolio
from vpp.domain.schedule import DispatchRun, Schedule
from vpp.domain.stage import DAY_AHEAD, INTRADAY, REAL_TIME
from vpp.domain.time import QUARTER, Array, TimeGrid, floor_to, local_midnight
from vpp.service.api.bounds import store_mwh
from vpp.service.api.context import Api
from vpp.service.api.network_view import covered, plan_flow, plan_forecast
from vpp.service.dr import meter_of
from vpp.service.knowledge import positions_over, price_over
from vpp.service.orders import orders_of
from vpp.service.page.forecast_view import ForecastView, view_of

LOW, HIGH = 0.05, 0.95
LAST_RUNS = {REAL_TIME: 4, INTRADAY: 4, DAY_AHEAD: 4}
EVENT_AROUND = timedelta(hours=3)
NAIVE = "naive"


@dataclass(frozen=True)
class Curve:
    """Values (T,) over a grid."""

    grid: TimeGrid
    values: Array


@dataclass(frozen=True)
class EventView:
    """The participants of an event together: meter over `meter.grid`, baseline and order over the event."""

    event: Event
    meter: Curve
    baseline: Curve | None
    ordered: Curve | None


@dataclass(frozen=True)
class Snapshot:
    """Everything of one refresh; None where there is nothing yet."""

    now: datetime
    zone: str
    currency: str
    plan: Curve | None
    band: tuple[Curve, Curve] | None
    meter: Curve
    price: Curve
    position: Curve
    stores: tuple[tuple[str, Curve], ...]
    event: EventView | None
    run: DispatchRun | None
    network: Network | None
    flow: Flow | None
    runs: tuple[RunSummary, ...]
    alarms: tuple[Alarm, ...]
    counts: dict[str, int]
    states: tuple[tuple[Asset, AssetState], ...]
    naive: tuple[str, ...] | None
    forecasts: int
    fan: ForecastView | None
    earlier_fan: ForecastView | None
    scores: tuple[SeriesScore, ...] | None


def collect(api: Api) -> Snapshot:
    """Waits for the loop's tick where one runs; then a moment of the service."""
    now, system = api.clock(), api.system
    portfolio, run = system.portfolio, api.current()
    midnight = local_midnight(now.astimezone(ZoneInfo(portfolio.zone)).date(), portfolio.zone)
    end = max(run.schedule.grid.end if run else now, midnight + timedelta(days=1))
    window = TimeGrid.between(midnight, floor_to(end + QUARTER - timedelta(seconds=1), QUARTER), QUARTER)
    with api.lock:
        states, forecast = system.states(now), plan_forecast(api, run) if run else system.last_forecast
        price = price_over(system, window, now)
        units = positions_over(system, window, "page")
    naive = None if forecast is None else tuple(
        s for s, source in zip(forecast.series, forecast.source, strict=True) if source == NAIVE
    )  # fmt: skip
    return Snapshot(
        now=now, zone=portfolio.zone, currency=portfolio.currency,
        plan=Curve(run.schedule.grid, run.schedule.power_mw.sum(axis=0)) if run else None,
        band=band_of(portfolio, run.schedule, forecast) if run else None,
        meter=_metered(api, [m.id for m in portfolio.metering_points], midnight, now),
        price=Curve(window, price), position=Curve(window, np.sum([u.mw for u in units], axis=0)),
        stores=stores_of(portfolio, run.schedule) if run else (), event=_event(api, now), run=run,
        network=system.network, flow=plan_flow(api, run) if run else None,
        runs=recent_runs(api), alarms=tuple(api.store.alarms.list(limit=20)),
        counts=api.store.commands.counts(), states=tuple((a, states[a.id]) for a in portfolio.assets),
        naive=naive, forecasts=len(forecast.series) if forecast else 0,
        scores=api.scores.latest(system, now),
        fan=view_of(system, forecast, now), earlier_fan=view_of(system, api.scores.earlier, now),
    )  # fmt: skip


def band_of(portfolio: Portfolio, schedule: Schedule, forecast: Forecast | None) -> tuple[Curve, Curve] | None:
    """Plan plus the quantiles of the deviation where the forecast covers it; None without scenarios."""
    grid = covered(schedule.grid, forecast)
    if forecast is None or grid is None or not forecast.scenarios.size:
        return None
    on = forecast.on(grid)
    deviation = np.zeros((on.scenarios.shape[0], grid.n))
    for asset in portfolio.assets:
        for name, sign in KINDS[asset.kind].FOLLOWS.items():
            given = asset.inputs.get(name)
            if given is not None and given.series in on.index:
                row = on.index[given.series]
                deviation += sign * given.scale * (on.scenarios[:, row] - on.expected[row])
    planned = grid.sample(schedule.grid, schedule.power_mw.sum(axis=0))
    low, high = np.quantile(deviation, [LOW, HIGH], axis=0)
    return Curve(grid, planned + low), Curve(grid, planned + high)


def stores_of(portfolio: Portfolio, schedule: Schedule) -> tuple[tuple[str, Curve], ...]:
    """Planned content in % of capacity of every store; a silo that several assets share is one store."""
    found: dict[str, Curve] = {}
    for asset in portfolio.assets:
        capacity, store = store_mwh(asset, portfolio), KINDS[asset.kind].store(asset)
        if capacity and store and asset.id in schedule.stored_mwh:
            found.setdefault(store[0], Curve(schedule.grid, 100.0 * schedule.stored_mwh[asset.id] / capacity))
    return tuple(found.items())


def recent_runs(api: Api) -> tuple[RunSummary, ...]:
    """The last few of every stage, the newest first."""
    found = [r for stage, limit in LAST_RUNS.items() for r in api.store.runs.list(limit, stage)]
    return tuple(sorted(found, key=lambda r: r.issued_at, reverse=True))


def _metered(api: Api, points: Sequence[str], start: datetime, now: datetime) -> Curve:
    """Sum of metering points, NaN where one has a gap."""
    grid = TimeGrid.between(start, max(floor_to(now, QUARTER), start + QUARTER), QUARTER)
    return Curve(grid, meter_of(api.store, points)(grid))


def _event(api: Api, now: datetime) -> EventView | None:
    """The event that runs, comes or was last, within a few hours."""
    near = [
        e for e in api.store.events.list(now - EVENT_AROUND, now + 8 * EVENT_AROUND)
        if e.status is not EventStatus.CANCELLED
    ]  # fmt: skip
    if not near:
        return None
    event = near[-1]
    offers, answers = api.store.events.offers(event.id), api.store.events.acceptances(event.id)
    orders = orders_of(event, offers, answers)
    assets = {a for o in (orders or offers) for a in o.assets}
    points = sorted({api.system.portfolio.asset(a).metering_point for a in assets})
    grid = TimeGrid.between(event.start, event.end, QUARTER)
    lines = orders or offers
    baseline = np.sum([o.baseline_mw for o in lines], axis=0) if lines else None
    owed = np.sum([o.owed_mw for o in orders], axis=0) if orders else None
    return EventView(
        event, _metered(api, points, floor_to(event.start, QUARTER) - EVENT_AROUND, min(now, event.end + EVENT_AROUND)),
        None if baseline is None else Curve(grid, baseline),
        None if baseline is None or owed is None else Curve(grid, baseline + owed),
    )  # fmt: skip
