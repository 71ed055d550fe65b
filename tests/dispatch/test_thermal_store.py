"""The thermal store block against a literal model, and what must hold whatever the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyomo.environ as pyo
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dispatch.assets import thermal_store
from dispatch.block import Context
from tests.dispatch.block_solver import solve_block
from tests.dispatch.commitment_oracle import GRIDS, START, end_worth, random_end, solve, state
from vpp.domain.errors import DataGap
from vpp.domain.portfolio import Asset
from vpp.domain.time import TimeGrid

PENALTY = 1000.0
BASE: dict[str, Any] = {
    "max_power_mw": 0.8, "min_power_mw": 0.1, "cop_at_20c": 4.5, "cop_slope_per_c": -0.08, "store_mwh_th": 1.2,
    "loss_per_h": 0.02, "inlet_min_c": 18.0, "inlet_max_c": 27.0, "heat_capacity_mwh_th_per_c": 0.13,
}  # fmt: skip


def asset(asset_id: str, **changes: Any) -> Asset:
    q = thermal_store.Params(**{**BASE, **changes})
    return Asset(asset_id, "thermal_store", "site", f"mp:{asset_id}", "node", None, q)


def random_case(seed: int, grid: TimeGrid, with_end: bool) -> tuple[list[Asset], Context, np.ndarray]:
    rng = np.random.default_rng(seed)
    fleet, states, inputs, ends = [], {}, {}, {}
    for i in range(3):
        a = asset(f"dc{i}", min_power_mw=rng.uniform(0.0, 0.3), store_mwh_th=rng.uniform(0.3, 2.0))
        fleet.append(a)
        states[a.id] = state(a.id, -0.4, rng.uniform(0.0, a.params.store_mwh_th), True, 0)
        inputs[a.id] = {
            "heat_mw_th": rng.uniform(0.3, 3.5, grid.n), "ambient_c": rng.uniform(5.0, 40.0, grid.n),
        }  # fmt: skip
        if with_end and i != 1:
            ends[a.id] = random_end(rng, 1.0, 30.0)
    return fleet, Context(grid, START, states, inputs, end_value=ends), rng.uniform(-40.0, 160.0, grid.n)


def run(fleet: list[Asset], context: Context, price: np.ndarray) -> SimpleNamespace:
    block = thermal_store.block(fleet, context)
    found = solve_block(block, [a.id for a in fleet], context.grid, price)
    return SimpleNamespace(**found._asdict(), results=block.read(found.x, found.duals))


def oracle(fleet: list[Asset], context: Context, price: np.ndarray) -> float:
    model = pyo.ConcreteModel()
    model.objective = pyo.Objective(expr=literal(model, fleet, context, price))
    return solve(model)


def literal(model: Any, fleet: Sequence[Asset], context: Context, price: np.ndarray) -> Any:
    """Variables and rules of `fleet` in `model`; the money it spends. A store above its size drains by itself."""
    grid, steps, n = context.grid, context.grid.n, len(fleet)
    model.rules = pyo.ConstraintList()
    for name in ("p", "cold", "overheat", "overcool"):
        setattr(model, name, pyo.Var(range(n), range(steps), domain=pyo.NonNegativeReals))
    money = 0.0
    for i, a in enumerate(fleet):
        q, content = a.params, context.states[a.id].stored_mwh
        untouched = content
        for t in range(steps):
            h, p = grid.minutes[t] / 60, model.p[i, t]
            cop = max(1.0, q.cop_at_20c + q.cop_slope_per_c * (context.inputs[a.id]["ambient_c"][t] - 20.0))
            taken = h * (cop * p - context.inputs[a.id]["heat_mw_th"][t])
            slack = model.overheat[i, t] - model.overcool[i, t]
            model.rules.add(model.cold[i, t] == content * (1 - q.loss_per_h * h) + taken + slack)
            untouched *= 1 - q.loss_per_h * h
            model.rules.add(model.cold[i, t] <= max(q.store_mwh_th, untouched))
            model.rules.add(p >= q.min_power_mw)
            model.rules.add(p <= q.max_power_mw)
            money += price[t] * h * p + PENALTY * (model.overheat[i, t] + model.overcool[i, t])
            content = model.cold[i, t]
        if a.id in context.end_value:
            money -= end_worth(model, f"end{i}", context.end_value[a.id], content, 0.0)
        else:
            model.rules.add(content >= context.states[a.id].stored_mwh)
    return money


@pytest.mark.parametrize("with_end", [False, True])
@pytest.mark.parametrize(("seed", "name"), list(enumerate(GRIDS)))
def test_equals_the_literal_model(seed: int, name: str, with_end: bool) -> None:
    fleet, context, price = random_case(seed, GRIDS[name], with_end)
    assert run(fleet, context, price).objective == pytest.approx(oracle(fleet, context, price), rel=1e-6, abs=1e-6)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)), with_end=st.booleans())
@settings(max_examples=50, deadline=None)
def test_laws_of_every_plan(seed: int, name: str, with_end: bool) -> None:
    fleet, context, price = random_case(seed, GRIDS[name], with_end)
    found, grid = run(fleet, context, price), context.grid
    for i, a in enumerate(fleet):
        q, content, result = a.params, context.states[a.id].stored_mwh, found.results[a.id]
        assert np.all(-found.injection[i] >= q.min_power_mw - 1e-9)
        assert np.all(-found.injection[i] <= q.max_power_mw + 1e-9)
        over = result.decisions["overheat_mwh_th"] - result.decisions["overcool_mwh_th"]
        for t, h in enumerate(grid.hours):
            cop = q.cop_at_20c + q.cop_slope_per_c * (context.inputs[a.id]["ambient_c"][t] - 20.0)
            content *= 1 - q.loss_per_h * h
            content += h * (cop * -found.injection[i, t] - context.inputs[a.id]["heat_mw_th"][t]) + over[t]
            assert result.stored_mwh[t] == pytest.approx(content, abs=1e-6)
        assert np.all(result.stored_mwh <= q.store_mwh_th + 1e-7)
        calm = result.decisions["overheat_mwh_th"] < 1e-9
        inlet = result.decisions["inlet_c"]
        assert np.all((inlet[calm] >= q.inlet_min_c - 1e-5) & (inlet[calm] <= q.inlet_max_c + 1e-5))


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)))
@settings(max_examples=40, deadline=None)
def test_no_state_and_no_heat_is_infeasible(seed: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    fleet, context, price = random_case(seed, GRIDS[name], with_end=bool(rng.integers(2)))
    states = {
        key: replace(s, stored_mwh=rng.uniform(-1.0, 4.0), available=rng.random() < 0.5)
        for key, s in context.states.items()
    }
    inputs = {key: {**v, "heat_mw_th": rng.uniform(-0.5, 9.0) * v["heat_mw_th"]} for key, v in context.inputs.items()}
    found = run(fleet, replace(context, states=states, inputs=inputs), price)
    for i, a in enumerate(fleet):
        if not states[a.id].available:
            held = thermal_store.default_mw(a, states[a.id], inputs[a.id], context.grid)
            assert found.injection[i] == pytest.approx(held)


def test_too_much_heat_shows_above_the_band() -> None:
    grid = GRIDS["hours"]
    inputs = {"dc": {"heat_mw_th": np.full(grid.n, 4.6), "ambient_c": np.full(grid.n, 20.0)}}
    found = run([asset("dc")], Context(grid, START, {"dc": state("dc", 0, 0.0, True, 0)}, inputs), np.ones(grid.n))
    decisions = found.results["dc"].decisions
    assert decisions["overheat_mwh_th"] == pytest.approx(np.ones(grid.n))
    assert decisions["inlet_c"] == pytest.approx(np.full(grid.n, 27.0 + 1.0 / 0.13))


def test_pre_cools_before_a_dear_hour() -> None:
    grid = GRIDS["hours"]
    inputs = {"dc": {"heat_mw_th": np.full(grid.n, 2.0), "ambient_c": np.full(grid.n, 20.0)}}
    price = np.full(grid.n, 50.0)
    price[5] = 500.0
    found = run([asset("dc")], Context(grid, START, {"dc": state("dc", 0, 0.6, True, 0)}, inputs), price)
    content = found.results["dc"].stored_mwh
    assert content[4] == pytest.approx(1.2)
    assert content[5] == pytest.approx(0.0, abs=1e-6)
    value = found.results["dc"].marginal_value
    assert value[4] == pytest.approx(50.0 / 4.5)
    assert value[5] == pytest.approx(500.0 / 4.5)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_default_keeps_the_content_where_power_suffices(seed: int) -> None:
    grid = GRIDS["minutes"]
    fleet, context, _ = random_case(seed, grid, with_end=False)
    for a in fleet:
        q, before, inputs = a.params, context.states[a.id], context.inputs[a.id]
        power = -thermal_store.default_mw(a, before, inputs, grid)
        inside = (power > q.min_power_mw) & (power < q.max_power_mw)
        cop = q.cop_at_20c + q.cop_slope_per_c * (inputs["ambient_c"] - 20.0)
        loss = q.loss_per_h * before.stored_mwh
        assert (cop * power)[inside] == pytest.approx((inputs["heat_mw_th"] + loss)[inside])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"min_power_mw": 1.0}, "is above max_power_mw"),
        ({"inlet_min_c": 30.0}, "is not below inlet_max_c"),
        ({"cop_slope_per_c": -0.2}, "below 1"),
        ({"store_mwh_th": -1.0}, "greater than 0"),
        ({"loss_per_h": float("inf")}, "finite"),
        ({"store_kwh_th": 1.0}, "Extra inputs"),
    ],
)
def test_bad_parameters_are_named(changes: dict[str, float], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        thermal_store.Params(**{**BASE, **changes})


def test_a_gap_in_the_heat_load_is_a_gap() -> None:
    grid = GRIDS["hours"]
    heat = np.where(np.arange(grid.n) == 3, np.nan, 1.0)
    inputs = {"dc": {"heat_mw_th": heat, "ambient_c": np.full(grid.n, 20.0)}}
    with pytest.raises(DataGap, match="no value at step 3"):
        thermal_store.block([asset("dc")], Context(grid, START, {"dc": state("dc", 0, 0.6, True, 0)}, inputs))


def test_reserve_counts_cold_at_the_best_cop_of_the_plan() -> None:
    """A MWh not taken costs the store at most the best COP's cold: at COPs of 5 and 4, a fifth of the store."""
    grid = GRIDS["quarters"]
    cold = asset("dc", cop_at_20c=5.0, cop_slope_per_c=-0.1, loss_per_h=0.0, min_power_mw=0.0)
    ambient = np.where(np.arange(grid.n) % 2, 30.0, 20.0)
    inputs = {"dc": {"heat_mw_th": np.full(grid.n, 1.0), "ambient_c": ambient}}
    block = thermal_store.block([cold], Context(grid, START, {"dc": state("dc", -0.2, 0.7, True, 0)}, inputs))
    assert block.headroom is not None
    up, down = block.headroom().up, block.headroom().down
    assert up is not None and down is not None
    x = np.concatenate([np.full(c.size, 0.7 if c.label == "cold" else 0.0) for c in block.columns])
    held, space = (r.energy_mwh.matrix @ x + r.energy_mwh.offset for r in (up, down))
    np.testing.assert_allclose(held[1:], 0.7 / 5.0)
    np.testing.assert_allclose(space[1:], (1.2 - 0.7) / 5.0)
    np.testing.assert_allclose(up.takes_back, 5.0 / 4.0)
