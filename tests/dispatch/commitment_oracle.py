"""Literal Pyomo statements shared by the oracles of machines and stores, and random cases for them.

Written from the equations with plain loops; nothing here comes from the blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyomo.environ as pyo

from dispatch.block import EndValue
from vpp.domain.portfolio import AssetState
from vpp.domain.time import TimeGrid

START = datetime(2016, 7, 12, 8, 0, tzinfo=UTC)
GRIDS = {
    "quarters": TimeGrid(START, (15,) * 20),
    "mixed": TimeGrid(START, (15,) * 6 + (30,) * 2 + (60,) * 5 + (20,)),
    "minutes": TimeGrid(START, (1,) * 15),
    "hours": TimeGrid(START, (60,) * 14),
    "odd": TimeGrid(START, (5, 10, 45, 15, 90, 30, 7, 60, 15, 15, 120, 15)),
}


def times(grid: TimeGrid) -> list[int]:
    """Minutes from the start of the grid to the start of each step."""
    at, found = 0, []
    for length in grid.minutes:
        found.append(at)
        at += length
    return found


def state(asset_id: str, power_mw: float, stored_mwh: float, on: bool, since: int) -> AssetState:
    return AssetState(asset_id, START, START, power_mw, stored_mwh, on, since)


def solve(model: Any) -> float:
    """The optimum of a Pyomo model by HiGHS. Raises AssertionError unless optimal."""
    solver = pyo.SolverFactory("appsi_highs")
    solver.highs_options = {"mip_rel_gap": 1e-9, "mip_abs_gap": 1e-9, "threads": 1}
    result = solver.solve(model)
    assert result.solver.termination_condition == pyo.TerminationCondition.optimal
    return float(pyo.value(model.objective))


def add_machines(model: Any, n: int, steps: int) -> None:
    """Binaries `on`, `start`, `stop` of n machines and an empty list of rules `rules`."""
    model.on = pyo.Var(range(n), range(steps), domain=pyo.Binary)
    model.start = pyo.Var(range(n), range(steps), domain=pyo.Binary)
    model.stop = pyo.Var(range(n), range(steps), domain=pyo.Binary)
    model.rules = pyo.ConstraintList()


def minimum_times(
    model: Any, i: int, before: AssetState, grid: TimeGrid, up_min: float, down_min: float, committed: Iterable[int]
) -> None:
    """Machine i obeys its minimum times, from its state before the grid on, and the commitment where it may."""
    at = times(grid)
    was = int(before.on)
    owed = (up_min if before.on else down_min) - before.minutes_in_state
    for t, fixed in enumerate(committed):
        last = was if t == 0 else model.on[i, t - 1]
        model.rules.add(model.on[i, t] - last == model.start[i, t] - model.stop[i, t])
        model.rules.add(model.start[i, t] + model.stop[i, t] <= 1)
        if at[t] < owed:
            model.rules.add(model.on[i, t] == was)
        elif fixed >= 0:
            model.rules.add(model.on[i, t] == int(fixed))
        for s in range(t):
            if at[t] - at[s] < up_min:
                model.rules.add(model.start[i, s] <= model.on[i, t])
            if at[t] - at[s] < down_min:
                model.rules.add(model.stop[i, s] <= 1 - model.on[i, t])


def end_worth(model: Any, name: str, end: EndValue, content: Any, origin: float) -> Any:
    """Money for the content above `origin`: segments of given width, and beyond them at most nothing."""
    values = [float(v) for v in end.value]
    segments = pyo.Var(range(len(values) + 1), domain=pyo.NonNegativeReals)
    model.add_component(name, segments)
    for k, width in enumerate(end.width_mwh):
        segments[k].setub(float(width))
    model.rules.add(sum(segments[k] for k in segments) == content - origin)
    return sum(values[k] * segments[k] for k in range(len(values))) + min(0.0, values[-1]) * segments[len(values)]


def assert_minimum_times(
    on: Iterable[float], before: AssetState, grid: TimeGrid, up_min: float, down_min: float
) -> None:
    """Every change inside the grid comes no sooner than the minimum time after the change before it."""
    at, last, changed = times(grid), int(before.on), float(-before.minutes_in_state)
    for t, value in enumerate(on):
        assert value in (0.0, 1.0)
        if int(value) != last:
            assert at[t] - changed >= (up_min if last else down_min) - 1e-6
            last, changed = int(value), at[t]


def random_end(rng: np.random.Generator, width: float, value: float) -> EndValue:
    """Three falling segments that together are about `width` wide and worth about `value` per MWh."""
    return EndValue(width * rng.uniform(0.1, 0.5, 3), np.sort(value * rng.uniform(0.3, 1.6, 3))[::-1])
