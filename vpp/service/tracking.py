"""Real time: every minute, over 15 steps of a minute, the assets that follow keep the quarter's position.

No binaries: commitments come from the intraday schedule, assets that are asked or priced count with
what they are measured to do. The firm position of the running quarter is what is left of its energy,

    target[t] = (position * 15 - sum of the minutes measured) / minutes left,

so a miss early in the quarter is made good before it is settled. Network limits enter as cuts of the
elements near their rating, at the operating point of this minute.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dispatch.block import EndValue
from dispatch.exposure import Exposure, bus_injection
from dispatch.one_way import Ways, closed
from dispatch.problem import Problem, cost_terms, injection, read_schedule
from dispatch.secure import cut_rows
from dispatch.solvers.cvxpy_door import RealTime
from vpp.domain.command import Telemetry
from vpp.domain.flex_trade import FlexOrder
from vpp.domain.forecast import Forecast
from vpp.domain.network import Cut
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.schedule import Schedule, Solution
from vpp.domain.stage import REAL_TIME
from vpp.domain.time import MINUTE, QUARTER, Array, TimeGrid, floor_to
from vpp.service.arbitrate import limits_over
from vpp.service.assemble import problem_of
from vpp.service.cascade import Solve
from vpp.service.contracts import contracts_over, without_given
from vpp.service.inputs import trajectories
from vpp.service.knowledge import end_values, positions_over, price_over
from vpp.service.orders import calls_over, kept_for_orders, with_measured_gap
from vpp.service.owed import with_owed
from vpp.service.situation import Situation, UnitPosition
from vpp.service.system import System

CUT_ROWS = 6
CUT_ROUNDS = 3
NEAR_PCT = 98.5
MARGIN_PCT = 0.05
KEPT_SHAPES = 8
TRACKING_EUR_PER_MW2_H = 2.0


@dataclass
class QuarterMeter:
    """Net power of each trading unit, minute by minute, in the running quarter."""

    start: datetime | None = None
    minutes: dict[datetime, dict[str, float]] = field(default_factory=dict)

    def add(self, now: datetime, net_mw: Mapping[str, float]) -> None:
        """The minute that ended at `now`; a second reading of it replaces the first."""
        quarter = floor_to(now - MINUTE, QUARTER)
        if quarter != self.start:
            self.start, self.minutes = quarter, {}
        self.minutes[now] = dict(net_mw)

    def so_far(self, unit: str, now: datetime) -> tuple[float, int]:
        """Sum of the minutes measured in the quarter that holds `now`, MW, and their number."""
        if self.start != floor_to(now, QUARTER):
            return 0.0, 0
        return sum(m[unit] for m in self.minutes.values()), len(self.minutes)


def observe(
    system: System, now: datetime, readings: Mapping[str, Telemetry], quarter: QuarterMeter, upper: Schedule
) -> Situation:
    """What the minute that begins at `now` may know; `upper` is the released intraday schedule."""
    stage, portfolio = system.stage(REAL_TIME), system.portfolio
    grid = TimeGrid.between(now, now + stage.horizon, stage.step)
    forecast = _latest_forecast(system, now, grid)
    values = dict(zip(forecast.series, forecast.expected, strict=True))
    inputs = with_owed(system, grid, now, trajectories(portfolio, grid, values))
    states = system.states(now)
    _persist_availability(portfolio.assets, grid, readings, inputs, upper)
    last = system.store.runs.latest(REAL_TIME, before=now)
    units = tuple(_catch_up(u, grid, quarter, now) for u in positions_over(system, grid, "track"))
    calls = calls_over(system.store, portfolio, grid, now)
    power = {a: s.power_mw for a, s in states.items()}
    for event in system.store.events.list(grid.start, grid.end):
        calls = with_measured_gap(calls, event, power, grid) if event.start <= now else calls
    given = _given(portfolio.assets, grid, upper, states)
    limits = limits_over(grid, system.store.events.active_proposals(grid.start, grid.end))
    return Situation(
        stage=stage, purpose="track", now=now, grid=grid, portfolio=portfolio, states=states, inputs=inputs,
        forecast=forecast, price_eur_per_mwh=price_over(system, grid, now),
        fee_eur_per_mwh=np.zeros(grid.n), deviation_factor=system.market.deviation_beta, positions=units,
        end_value=_kept(system, grid, upper), committed=_commitments(portfolio.assets, grid, upper),
        limits={a: window for a, window in limits.items() if a not in given}, calls=calls,
        last=last.schedule if last else upper, grid_side=system.grid_side(now), given_mw=given,
        contracts=without_given(contracts_over(system, grid, now, "track"), given, upper, grid),
        rules=system.loaded.rules,
    )  # fmt: skip


def _kept(system: System, grid: TimeGrid, upper: Schedule) -> Mapping[str, EndValue]:
    """What is left at the end of the minutes, with what later flexibility orders need of it."""
    orders = system.store.uftp.trades(FlexOrder, grid.end, upper.grid.end)
    return kept_for_orders(end_values(system, grid, upper), orders, system.portfolio, upper, grid.end)


def _latest_forecast(system: System, now: datetime, grid: TimeGrid) -> Forecast:
    """The last intraday forecast over this grid, made anew where there is none that covers it."""
    last = system.last_forecast
    if last is None or last.grid.end < grid.end or last.grid.start > grid.start:
        return system.forecast(floor_to(now, QUARTER), grid, scenarios=0)
    return replace(last, scenarios=last.scenarios[:0]).on(grid)


def _catch_up(unit: UnitPosition, grid: TimeGrid, quarter: QuarterMeter, now: datetime) -> UnitPosition:
    """The position with the running quarter's target moved to what is left of its energy."""
    measured, minutes = quarter.so_far(unit.unit, now)
    end = floor_to(now, QUARTER) + QUARTER
    left = (end - now) // MINUTE
    inside = np.array([t < end for t in grid.starts])
    target = (unit.mw * (left + minutes) - measured) / max(left, 1)
    return replace(unit, mw=np.where(inside, target, unit.mw))


def _persist_availability(
    assets: Sequence[Asset],
    grid: TimeGrid,
    readings: Mapping[str, Telemetry],
    inputs: dict[str, dict[str, Array]],
    upper: Schedule,
) -> None:
    """Generation that runs free is expected to give what it gives now until the quarter ends."""
    end = floor_to(grid.start, QUARTER) + QUARTER
    inside = np.array([t < end for t in grid.starts])
    for asset in assets:
        reading = readings.get(asset.id)
        if asset.kind != "curtailable" or reading is None or not upper.grid.start <= grid.start < upper.grid.end:
            continue
        available = inputs[asset.id]["available_mw"]
        curtailed = upper.power_of(asset.id)[upper.grid.index_of(grid.start)] < available[0] - 1e-2
        if not curtailed:
            inputs[asset.id]["available_mw"] = np.where(inside, max(reading.power_mw, 0.0), available)


def _planned(upper: Schedule, grid: TimeGrid, row: Array) -> Array:
    """An upper schedule's row by the step that holds each of this grid's, the last value beyond its end."""
    at = [upper.grid.index_of(t) if t < upper.grid.end else upper.grid.n - 1 for t in grid.starts]
    return np.asarray(row[at])


def _given(
    assets: Sequence[Asset], grid: TimeGrid, upper: Schedule, states: Mapping[str, AssetState]
) -> dict[str, Array]:
    """Assets that do not follow by the minute: as measured until the quarter ends, then as planned."""
    end = floor_to(grid.start, QUARTER) + QUARTER
    inside = np.array([t < end for t in grid.starts])
    return {
        a.id: np.where(inside, states[a.id].power_mw, _planned(upper, grid, upper.power_of(a.id)))
        for a in assets
        if a.control != "continuous"
    }


def _commitments(assets: Sequence[Asset], grid: TimeGrid, upper: Schedule) -> dict[str, NDArray[np.int8]]:
    """On/off of the units that follow, as the intraday schedule says."""
    return {
        a.id: np.rint(_planned(upper, grid, upper.commitment[a.id])).astype(np.int8)
        for a in assets
        if a.id in upper.commitment and a.control == "continuous"
    }


@dataclass
class Tracker:
    """The real-time solver: compiled problems by shape, kept between minutes."""

    doors: list[RealTime] = field(default_factory=list)

    def solver(self, upper: Schedule) -> Solve:
        """`Solve` for `run_stage`, tracking `upper`."""

        def solve(s: Situation, exposure: Exposure | None) -> Solution:
            return self._solve(s, exposure, upper)

        return solve

    def _door(self, problem: Problem, rows: int) -> RealTime:
        """The compiled problem of this shape with `rows` rows for cuts."""
        for k, door in enumerate(self.doors):
            if door.n_cut_rows == rows and door.fits(problem):
                self.doors.insert(0, self.doors.pop(k))
                return door
        self.doors.insert(0, RealTime(problem, rows))
        del self.doors[KEPT_SHAPES:]
        return self.doors[0]

    def _solve(self, s: Situation, exposure: Exposure | None, upper: Schedule) -> Solution:
        began = time.perf_counter()
        problem = problem_of(s)
        target = np.array([_planned(upper, s.grid, upper.power_of(a.id)) for a in s.portfolio.assets])
        weight = TRACKING_EUR_PER_MW2_H * s.grid.hours[None, :] * np.ones_like(target)
        built = time.perf_counter()
        rows, ways = dict[str, tuple[Array, Array]](), Ways.of(problem)
        ac, rounds, first = 0.0, 0, 0
        power = target
        for rounds in range(CUT_ROUNDS):
            checked = time.perf_counter()
            found, count = _near(s, exposure, power)
            ac += time.perf_counter() - checked
            if rounds and not count:
                break
            first = count if rounds == 0 else first
            rows.update(found)
            cuts = [rows[k] for k in list(rows)[-CUT_ROWS:]]
            door = self._door(problem, CUT_ROWS if cuts else 0)
            solve = partial(
                door.solve,
                target_mw=target, weight=weight,
                cuts=np.array([c[0] for c in cuts]) if cuts else None,
                cut_limits=np.array([c[1] for c in cuts]) if cuts else None,
                deadline_s=s.stage.deadline.total_seconds(),
            )  # fmt: skip
            x, objective = solve(problem)
            if ways.both(problem, x).size:
                problem = closed(problem, ways, x)
                x, objective = solve(problem)
            power = injection(problem, x)
        tan_phi = np.array([a.tan_phi for a in s.portfolio.assets])
        schedule = _with_given(read_schedule(problem, x, None, tan_phi), upper, s)
        wall = {"build": built - began, "ac": ac, "solve": time.perf_counter() - built - ac}
        return Solution(schedule, objective, objective, "optimal", cost_terms(problem, x), rounds, first, wall)


def _with_given(schedule: Schedule, upper: Schedule, s: Situation) -> Schedule:
    """The schedule with commitments and prices of assets decided above, so that it says what everyone does."""
    commitment = {a: _planned(upper, s.grid, on) for a, on in upper.commitment.items() if a in s.given_mw}
    decisions = {
        a: {name: _planned(upper, s.grid, row) for name, row in rows.items()}
        for a, rows in upper.decisions.items()
        if a in s.given_mw
    }
    return replace(
        schedule, commitment={**commitment, **schedule.commitment}, decisions={**decisions, **schedule.decisions}
    )


def _near(s: Situation, exposure: Exposure | None, power_mw: Array) -> tuple[dict[str, tuple[Array, Array]], int]:
    """The violations counted, and of each case the worst branch and the worst bus that is near or past its limit,
    as rows (coefficients (N,), limits (T,)).
    """
    if s.grid_side is None or exposure is None:
        return {}, 0
    network = s.grid_side.network
    p, q = bus_injection(exposure, power_mw)
    flow = network.flow(s.grid, p, q)
    worst: dict[str, Cut] = {}
    for cut in network.cuts(flow, near_pct=NEAR_PCT):
        key = f"{cut.element.split()[0]}/{cut.case}"
        if key not in worst or _slack(cut, p, q) < _slack(worst[key], p, q):
            worst[key] = cut
    found = {key: row for key, cut in worst.items() if (row := _row(cut, exposure, s)) is not None}
    return found, len(network.violations(flow, exposure.names))


def _slack(cut: Cut, p: Array, q: Array) -> float:
    return cut.limit - float(cut.dp @ p[cut.case, cut.step] + cut.dq @ q[cut.case, cut.step])


def _row(cut: Cut, exposure: Exposure, s: Situation) -> tuple[Array, Array] | None:
    """One cut at the operating point of its step, imposed on every step of the quarter-hour ahead."""
    at_every_step = [replace(cut, step=t, limit=cut.limit - MARGIN_PCT) for t in range(s.grid.n)]
    matrix, rhs, kept = cut_rows(at_every_step, exposure, s.grid)
    if len(kept) < s.grid.n:
        return None
    dense = matrix.toarray().reshape(s.grid.n, len(s.portfolio.assets), s.grid.n)
    return np.asarray(dense[cut.step, :, cut.step]), np.asarray(rhs)
