"""Gather what a stage run may know at `now` from the record: one `Situation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from dispatch.assets.price_elastic import OWED, expected_response
from dispatch.block import EndValue
from dispatch.products.energy import likely_errors
from dispatch.registry import KINDS
from vpp.domain.forecast import Forecast
from vpp.domain.portfolio import Asset, Portfolio
from vpp.domain.schedule import DispatchRun, Schedule
from vpp.domain.stage import DAY_AHEAD, INTRADAY
from vpp.domain.time import MINUTE, QUARTER, Array, TimeGrid, local_midnight
from vpp.service.arbitrate import limits_over
from vpp.service.contracts import contracts_over
from vpp.service.inputs import trajectories
from vpp.service.orders import calls_over
from vpp.service.owed import with_owed
from vpp.service.situation import Limits, Situation, UnitPosition, grid_for
from vpp.service.system import System

STEP_IN_VALUE_EUR_PER_MWH = 2.0
LIKELY_ERRORS = 8


def gather(system: System, stage_name: str, purpose: str, now: datetime, scenarios: int = 200) -> Situation:
    """The situation of a run of `stage_name` at `now`, over quarters or longer steps."""
    stage, portfolio = system.stage(stage_name), system.portfolio
    grid = grid_for(stage, now, portfolio.zone, firm_until(system, now))
    forecast = system.forecast(now, grid, scenarios)
    values = dict(zip(forecast.series, forecast.expected, strict=True))
    inputs = with_owed(system, grid, now, trajectories(portfolio, grid, values))
    upper = _upper(system, stage_name, now)
    limits = dict(limits_over(grid, system.store.events.active_proposals(grid.start, grid.end)))
    if stage_name == INTRADAY and upper is not None:
        limits = {**_already_published(system, grid, now, inputs, upper), **limits}
    last = _last(system, stage_name, purpose, now)
    return Situation(
        stage=stage, purpose=purpose, now=now, grid=grid, portfolio=portfolio, states=system.states(now),
        inputs=inputs, forecast=forecast, price_eur_per_mwh=price_over(system, grid, now),
        fee_eur_per_mwh=system.market.fee(grid, portfolio.zone), deviation_factor=system.market.deviation_beta,
        positions=tuple(_with_errors(unit, portfolio, forecast) for unit in positions_over(system, grid, purpose)),
        end_value=end_values(system, grid, upper),
        committed=_unless_stopped(_committed(system, grid, now, upper), limits, portfolio.assets)
        if stage_name == INTRADAY
        else {},
        limits=limits, calls=calls_over(system.store, portfolio, grid, now),
        last=last.schedule if last else (upper if stage_name == INTRADAY else None),
        grid_side=system.grid_side(now), contracts=contracts_over(system, grid, now, purpose),
        rules=system.loaded.rules,
    )  # fmt: skip


def _last(system: System, stage_name: str, purpose: str, now: datetime) -> DispatchRun | None:
    """The last plan of this purpose; for a day-ahead run the bid's plan where that is newer."""
    runs = system.store.runs
    found = [runs.latest(stage_name, purpose, before=now)]
    if stage_name == DAY_AHEAD:
        found.append(runs.latest(stage_name, "bid", before=now + MINUTE))
    known = [run for run in found if run is not None]
    return max(known, key=lambda run: run.issued_at, default=None)


def _upper(system: System, stage_name: str, now: datetime) -> Schedule | None:
    """The schedule of the stage above that covers `now`."""
    if stage_name == DAY_AHEAD:
        return None
    run = system.store.runs.latest(DAY_AHEAD, "plan")
    return run.schedule if run and run.schedule.grid.end > now else None


def firm_until(system: System, now: datetime) -> datetime:
    """End of the last local day that has a firm position, at least the end of today."""
    zone = system.portfolio.zone
    today = now.astimezone(ZoneInfo(zone)).date()
    midnight = local_midnight(today + timedelta(days=1), zone)
    ends = [
        p.end
        for unit in system.portfolio.trading_units
        for p in system.store.market.positions(
            unit.id, midnight, midnight + timedelta(days=2), system.market.energy.product
        )
    ]
    return max([midnight, *ends])


def price_over(system: System, grid: TimeGrid, now: datetime) -> Array:
    """Cleared day-ahead prices where known, expected ones elsewhere, (T,)."""
    quarters = _quarters(grid)
    cleared = system.store.market.price_on(system.market.energy.product, quarters, now)
    expected = system.market.expected_price(quarters, system.portfolio.zone)
    return grid.sample(quarters, np.where(np.isfinite(cleared), cleared, expected))


def positions_over(system: System, grid: TimeGrid, purpose: str) -> tuple[UnitPosition, ...]:
    """Firm position of every trading unit, NaN where nothing is firm."""
    quarters = _quarters(grid)
    found = []
    for unit in system.portfolio.trading_units:
        members = tuple(a.id for a in system.portfolio.assets if a.site in unit.sites)
        mw = np.full(quarters.n, np.nan)
        for p in system.store.market.positions(unit.id, grid.start, grid.end, system.market.energy.product):
            first, last = max(p.start, quarters.start), min(p.end, quarters.end)
            mw[(first - quarters.start) // QUARTER : (last - quarters.start) // QUARTER] = p.mw
        found.append(UnitPosition(unit.id, members, _where_firm(grid, quarters, mw)))
    return tuple(found)


def _with_errors(unit: UnitPosition, portfolio: Portfolio, forecast: Forecast) -> UnitPosition:
    """The unit with the likely errors of its load and generation, as the joint scenarios spread around their mean."""
    if not forecast.scenarios.size:
        return unit
    error = np.zeros((len(forecast.scenarios), forecast.grid.n))
    for name in unit.assets:
        asset = portfolio.asset(name)
        for what, sign in KINDS[asset.kind].FOLLOWS.items():
            given = asset.inputs[what]
            if given.series is not None:
                error += sign * given.scale * forecast.scenarios[:, forecast.index[given.series]]
    return replace(unit, error_mw=likely_errors(error, LIKELY_ERRORS))


def _where_firm(grid: TimeGrid, quarters: TimeGrid, mw: Array) -> Array:
    """Quarter values over `grid`, NaN in every step that a quarter without a value touches, and only there."""
    firm = np.isfinite(mw)
    wholly = grid.sample(quarters, firm.astype(float)) > 1.0 - 1e-9
    return np.where(wholly, grid.sample(quarters, np.where(firm, mw, 0.0)), np.nan)


def _quarters(grid: TimeGrid) -> TimeGrid:
    start = grid.start - (grid.start - datetime.fromtimestamp(0, grid.start.tzinfo)) % QUARTER
    count = -(-(grid.end - start) // QUARTER)
    return TimeGrid.uniform(start, QUARTER, count)


def end_values(system: System, grid: TimeGrid, upper: Schedule | None) -> dict[str, EndValue]:
    """Stepwise value of what is left at the end: the upper stage's marginal value around its planned
    content where it has one there, else the portfolio's stated value."""
    stated = system.market.stored_energy_eur_per_mwh
    found: dict[str, EndValue] = {}
    for asset in system.portfolio.assets:
        if asset.kind not in stated:
            continue
        value = stated[asset.kind]
        found[asset.id] = EndValue(np.array([1e6]), np.array([value]))
        if upper is not None and upper.grid.start < grid.end < upper.grid.end and asset.id in upper.marginal_value:
            t = upper.grid.index_of(grid.end - timedelta(seconds=1))
            worth = float(upper.marginal_value[asset.id][t])
            planned = max(0.0, float(upper.stored_mwh[asset.id][t]) - _floor_mwh(asset))
            step = STEP_IN_VALUE_EUR_PER_MWH
            found[asset.id] = EndValue(np.array([planned, 1e6]), np.array([worth + step, worth - step]))
    return found


def _floor_mwh(asset: Asset) -> float:
    """Content below which the kind gives no energy back."""
    window = KINDS[asset.kind].window(asset.params)
    return window[0] if window else 0.0


def _committed(system: System, grid: TimeGrid, now: datetime, upper: Schedule | None) -> Mapping[str, NDArray[np.int8]]:
    """On/off that can no longer change: what was asked for the steps inside each asset's notice."""
    last = system.store.runs.latest(INTRADAY, "roll", before=now)
    source = last.schedule if last else upper
    found: dict[str, NDArray[np.int8]] = {}
    if source is None:
        return found
    for asset in system.portfolio.assets:
        if asset.control not in ("request", "step") or asset.id not in source.commitment:
            continue
        fixed = np.full(grid.n, -1, dtype=np.int8)
        for t, start in enumerate(grid.starts):
            if start < now + asset.notice and source.grid.start <= start < source.grid.end:
                fixed[t] = round(float(source.commitment[asset.id][source.grid.index_of(start)]))
        found[asset.id] = fixed
    return found


def _unless_stopped(
    committed: Mapping[str, NDArray[np.int8]], limits: Limits, assets: Sequence[Asset]
) -> Mapping[str, NDArray[np.int8]]:
    """Commitments with off where a limit leaves no room to run: a stop beats what was announced."""
    found = dict(committed)
    for asset in assets:
        if asset.id in found and asset.id in limits:
            forbidden = limits[asset.id][0] > -asset.params.power_mw / 2
            found[asset.id] = np.where(forbidden, 0, found[asset.id]).astype(np.int8)
    return found


def _already_published(
    system: System, grid: TimeGrid, now: datetime, inputs: Mapping[str, Mapping[str, Array]], upper: Schedule
) -> Limits:
    """Price-takers inside their notice do what the published prices, now and before, make them do."""
    last = system.store.runs.latest(INTRADAY, "roll", before=now)
    source = last.schedule if last else upper
    found: dict[str, tuple[Array, Array]] = {}
    for asset in system.portfolio.assets:
        prices = source.decisions.get(asset.id, {}).get("price_eur_per_mwh")
        if asset.control != "price" or prices is None:
            continue
        low, high, given = np.full(grid.n, -np.inf), np.full(grid.n, np.inf), inputs[asset.id]
        until = min(now + asset.notice, source.grid.end)
        k = sum(start < until for start in grid.starts) if source.grid.start <= grid.start else 0
        price = np.array([prices[source.grid.index_of(start)] for start in grid.starts[:k]])
        owed = given.get(OWED, np.zeros(grid.n))[:k]
        answer = expected_response(asset.params, given["load_mw"][:k], price, grid.hours[:k], owed)
        low[:k] = high[:k] = -answer
        found[asset.id] = (low, high)
    return found
