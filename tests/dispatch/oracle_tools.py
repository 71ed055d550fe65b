"""What the literal oracles share: grids, random end values, and a Pyomo model's optimum. No block code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyomo.environ as pyo

from dispatch.block import Context, EndValue
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.time import Array, TimeGrid, mixed_grid

START = datetime(2016, 7, 11, 22, tzinfo=UTC)
SEEDS = range(6)


def grid_of(seed: int) -> TimeGrid:
    """Quarter-hours for even seeds; minutes, quarters and an odd last step for odd ones."""
    if seed % 2 == 0:
        return TimeGrid.uniform(START, timedelta(minutes=15), 24)
    h = timedelta(hours=1)
    return mixed_grid(
        START,
        [
            (timedelta(minutes=1), START + timedelta(minutes=5)),
            (timedelta(minutes=15), START + 2 * h),
            (h, START + 7.3 * h),
        ],
    )


def asset_of(name: str, kind: str, params: object, tan_phi: float = 0.0) -> Asset:
    """An asset of which only the physics matter."""
    return Asset(name, kind, "site", f"mp:{name}", "node", None, params, tan_phi=tan_phi)


def state_of(name: str, stored_mwh: float = 0.0, *, on_mw: float = 0.0, available: bool = True) -> AssetState:
    """What is known of an asset at START."""
    return AssetState(name, START, START, on_mw, stored_mwh, on_mw != 0.0, available=available)


def context_of(
    grid: TimeGrid,
    states: dict[str, AssetState],
    inputs: dict[str, dict[str, Array]] | None = None,
    end_value: dict[str, EndValue] | None = None,
) -> Context:
    return Context(grid, START, states, inputs or {}, end_value=end_value or {})


def random_prices(rng: np.random.Generator, grid: TimeGrid, low: float = 5.0, high: float = 200.0) -> Array:
    return rng.uniform(low, high, grid.n)


def random_end_value(rng: np.random.Generator, capacity_mwh: float) -> EndValue:
    """Three falling segments that may or may not span the store."""
    return EndValue(rng.uniform(0.1, 0.4, 3) * capacity_mwh, np.sort(rng.uniform(10.0, 120.0, 3))[::-1])


def optimum(model: pyo.ConcreteModel) -> float:
    """The optimal objective of a Pyomo model. Raises unless HiGHS proves it."""
    solver = pyo.SolverFactory("appsi_highs")
    solver.options.update({"mip_rel_gap": 1e-9, "mip_abs_gap": 1e-9, "threads": 1})
    result = solver.solve(model)
    pyo.assert_optimal_termination(result)
    return float(pyo.value(model.cost))
