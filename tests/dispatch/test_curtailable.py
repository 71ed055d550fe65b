"""The curtailable block against its literal statement."""

from __future__ import annotations

import math

import numpy as np
import pyomo.environ as pyo
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.assets import curtailable
from tests.dispatch.block_solver import solve_block
from tests.dispatch.oracle_tools import SEEDS, asset_of, context_of, grid_of, optimum, random_prices, state_of
from vpp.domain.errors import DataGap

PLAIN = curtailable.Params(capacity_mw=4.0, kind_of="pv", s_rating_mva=4.4)


def oracle(asset, offered, grid, prices) -> float:
    """One plant, one step after the other; the inverter's circle as the most power at its power factor."""
    m, q = pyo.ConcreteModel(), asset.params
    m.t = pyo.RangeSet(0, grid.n - 1)
    m.p = pyo.Var(m.t, bounds=(0, None))
    m.rules = pyo.ConstraintList()
    spent = 0
    for t in m.t:
        h = grid.minutes[t] / 60
        limit = min(max(float(offered[t]), 0.0), q.capacity_mw, q.s_rating_mva * math.cos(math.atan(asset.tan_phi)))
        m.rules.add(m.p[t] <= limit)
        spent += h * (q.curtailment_cost_eur_per_mwh * (limit - m.p[t]) - prices[t] * m.p[t])
    m.cost = pyo.Objective(expr=spent)
    return optimum(m)


@pytest.mark.parametrize("seed", SEEDS)
def test_equals_the_literal_model(seed: int) -> None:
    rng, grid = np.random.default_rng(seed), grid_of(seed)
    prices = random_prices(rng, grid, -60.0, 80.0)
    fleet, inputs = [], {}
    for i in range(3):
        capacity = rng.uniform(1.0, 6.0)
        params = curtailable.Params(
            capacity_mw=capacity,
            kind_of="wind",
            curtailment_cost_eur_per_mwh=rng.choice([0.0, 12.0]),
            s_rating_mva=capacity * rng.uniform(0.95, 1.2),
        )
        fleet.append(asset_of(f"g{i}", "curtailable", params, tan_phi=rng.choice([0.0, -0.33])))
        inputs[f"g{i}"] = {"available_mw": rng.uniform(-0.1, 1.2, grid.n) * capacity}
    block = curtailable.block(fleet, context_of(grid, {}, inputs))
    solved = solve_block(block, [a.id for a in fleet], grid, prices)
    expected = sum(oracle(a, inputs[a.id]["available_mw"], grid, prices) for a in fleet)
    assert solved.objective == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert (solved.injection == 0.0).any() and (solved.injection > 0.0).any()


def test_out_of_service_gives_nothing() -> None:
    grid, asset = grid_of(0), asset_of("g", "curtailable", PLAIN)
    inputs = {"g": {"available_mw": np.full(grid.n, 3.0)}}
    state = state_of("g", available=False)
    solved = solve_block(
        curtailable.block([asset], context_of(grid, {"g": state}, inputs)), ["g"], grid, np.full(grid.n, 50.0)
    )
    assert not solved.injection.any()
    assert not curtailable.default_mw(asset, state, inputs["g"], grid).any()


@given(offered=st.floats(-1.0, 9.0), tan_phi=st.floats(-1.0, 1.0))
def test_the_default_stays_inside_the_inverter(offered: float, tan_phi: float) -> None:
    grid, asset = grid_of(0), asset_of("g", "curtailable", PLAIN, tan_phi)
    p = curtailable.default_mw(asset, None, {"available_mw": np.full(grid.n, offered)}, grid)
    assert (p >= 0.0).all() and (p <= PLAIN.capacity_mw).all()
    assert (np.hypot(p, tan_phi * p) <= PLAIN.s_rating_mva + 1e-9).all()
    assert (p <= max(offered, 0.0)).all()


def test_a_gap_is_named_and_never_zero() -> None:
    grid, asset = grid_of(0), asset_of("g", "curtailable", PLAIN)
    offered = np.ones(grid.n)
    offered[3] = np.nan
    with pytest.raises(DataGap, match="g/available_mw: no value at step 3"):
        curtailable.block([asset], context_of(grid, {}, {"g": {"available_mw": offered}}))
