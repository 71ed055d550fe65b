"""The fixed load against its literal statement."""

from __future__ import annotations

import numpy as np
import pyomo.environ as pyo
import pytest

from dispatch.assets import fixed_load
from tests.dispatch.block_solver import solve_block
from tests.dispatch.oracle_tools import SEEDS, asset_of, context_of, grid_of, optimum, random_prices
from vpp.domain.errors import DataGap


def oracle(load, grid, prices) -> float:
    """What the load pays."""
    m = pyo.ConcreteModel()
    m.t = pyo.RangeSet(0, grid.n - 1)
    m.p = pyo.Var(m.t)
    m.served = pyo.Constraint(m.t, rule=lambda m, t: m.p[t] == -float(load[t]))
    m.cost = pyo.Objective(expr=sum(-prices[t] * grid.minutes[t] / 60 * m.p[t] for t in m.t))
    return optimum(m)


@pytest.mark.parametrize("seed", SEEDS)
def test_equals_the_literal_model(seed: int) -> None:
    rng, grid = np.random.default_rng(seed), grid_of(seed)
    prices = random_prices(rng, grid, -20.0, 150.0)
    fleet = [asset_of(f"l{i}", "fixed_load", fixed_load.Params(peak_mw=2.0)) for i in range(3)]
    inputs = {a.id: {"load_mw": rng.uniform(0.0, 2.0, grid.n)} for a in fleet}
    solved = solve_block(fixed_load.block(fleet, context_of(grid, {}, inputs)), [a.id for a in fleet], grid, prices)
    expected = sum(oracle(inputs[a.id]["load_mw"], grid, prices) for a in fleet)
    assert solved.objective == pytest.approx(expected, rel=1e-6, abs=1e-6)
    for asset, p in zip(fleet, solved.injection, strict=True):
        np.testing.assert_allclose(p, -inputs[asset.id]["load_mw"])
        np.testing.assert_allclose(p, fixed_load.default_mw(asset, None, inputs[asset.id], grid))


def test_the_order_of_assets_is_the_callers() -> None:
    grid = grid_of(0)
    fleet = [asset_of(n, "fixed_load", fixed_load.Params(peak_mw=3.0)) for n in ("a", "b")]
    inputs = {"a": {"load_mw": np.full(grid.n, 1.0)}, "b": {"load_mw": np.full(grid.n, 3.0)}}
    solved = solve_block(fixed_load.block(fleet, context_of(grid, {}, inputs)), ["b", "x", "a"], grid, np.ones(grid.n))
    np.testing.assert_allclose(solved.injection[:, 0], [-3.0, 0.0, -1.0])


@pytest.mark.parametrize("inputs", [{}, {"l": {}}, {"l": {"load_mw": np.full(24, np.nan)}}])
def test_a_gap_is_not_zero(inputs) -> None:
    asset = asset_of("l", "fixed_load", fixed_load.Params(peak_mw=1.0))
    with pytest.raises(DataGap, match="l/load_mw"):
        fixed_load.block([asset], context_of(grid_of(0), {}, inputs))
