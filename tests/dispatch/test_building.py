"""The building block against a literal model in temperatures, and what must hold whatever the data."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyomo.environ as pyo
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dispatch.assets import building
from dispatch.block import Context, EndValue
from tests.dispatch.block_solver import solve_block
from tests.dispatch.commitment_oracle import GRIDS, START, end_worth, random_end, solve, state
from vpp.domain.errors import DataGap
from vpp.domain.portfolio import Asset
from vpp.domain.time import TimeGrid

BASE: dict[str, Any] = {
    "max_power_mw": 0.4, "cop_at_20c": 4.0, "cop_slope_per_c": -0.05, "heat_capacity_mwh_th_per_c": 0.5,
    "transmittance_mw_th_per_c": 0.04, "comfort_min_c": 21.0, "comfort_max_c": 24.0, "setback_min_c": 17.0,
    "setback_max_c": 28.0, "discomfort_eur_per_c_h": 40.0,
}  # fmt: skip
HEATED = {"mode": "heating", "cop_slope_per_c": 0.05}


def asset(asset_id: str, **changes: Any) -> Asset:
    q = building.Params(**{**BASE, **changes})
    return Asset(asset_id, "building", "site", f"mp:{asset_id}", "node", None, q)


def random_case(seed: int, grid: TimeGrid, with_end: bool) -> tuple[list[Asset], Context, np.ndarray]:
    """Two cooled buildings and a heated one."""
    rng = np.random.default_rng(seed)
    fleet, states, inputs, ends = [], {}, {}, {}
    for i, mode in enumerate((dict[str, Any](), HEATED, dict[str, Any]())):
        a = asset(f"b{i}", heat_capacity_mwh_th_per_c=rng.uniform(0.1, 1.0), max_power_mw=rng.uniform(0.1, 0.5), **mode)
        fleet.append(a)
        states[a.id] = state(a.id, -0.1, rng.uniform(-1.0, 6.0), True, 0)
        inputs[a.id] = {
            "ambient_c": rng.uniform(18.0, 38.0, grid.n) - (22.0 if mode else 0.0),
            "internal_mw_th": rng.uniform(0.0, 0.3, grid.n), "solar_mw_th": rng.uniform(0.0, 0.4, grid.n),
            "occupancy": rng.choice([0.0, 0.5, 1.0], grid.n),
        }  # fmt: skip
        if with_end and i != 1:
            ends[a.id] = random_end(rng, 1.0, 30.0)
    return fleet, Context(grid, START, states, inputs, end_value=ends), rng.uniform(-40.0, 160.0, grid.n)


def run(fleet: list[Asset], context: Context, price: np.ndarray) -> SimpleNamespace:
    block = building.block(fleet, context)
    found = solve_block(block, [a.id for a in fleet], context.grid, price)
    return SimpleNamespace(**found._asdict(), results=block.read(found.x, found.duals))


def edges(q: building.Params, occupied: float) -> tuple[float, float]:
    """Lowest and highest temperature at an occupancy."""
    return (
        q.setback_min_c + occupied * (q.comfort_min_c - q.setback_min_c),
        q.setback_max_c + occupied * (q.comfort_max_c - q.setback_max_c),
    )


def next_c(q: building.Params, before_c: Any, ambient_c: float, heat_mw_th: Any, hours: float) -> Any:
    """Newton's law over a step: the distance to where the temperature is going shrinks by exp(-h U / C)."""
    going = ambient_c + heat_mw_th / q.transmittance_mw_th_per_c
    return going + (before_c - going) * math.exp(-hours * q.transmittance_mw_th_per_c / q.heat_capacity_mwh_th_per_c)


def cop(q: building.Params, ambient_c: float) -> float:
    return max(1.0, q.cop_at_20c + q.cop_slope_per_c * (ambient_c - 20.0))


def oracle(fleet: list[Asset], context: Context, price: np.ndarray) -> float:
    grid, steps, n = context.grid, context.grid.n, len(fleet)
    model = pyo.ConcreteModel()
    model.rules = pyo.ConstraintList()
    for name in ("p", "cold", "warm"):
        setattr(model, name, pyo.Var(range(n), range(steps), domain=pyo.NonNegativeReals))
    model.indoor = pyo.Var(range(n), range(steps))
    model.owed = pyo.Var(range(n), domain=pyo.NonNegativeReals)
    money: Any = 0.0
    for i, a in enumerate(fleet):
        q, sign = a.params, 1.0 if a.params.mode == "heating" else -1.0
        start = context.states[a.id].stored_mwh
        empty = q.setback_min_c if sign > 0 else q.setback_max_c
        before: Any = empty + sign * start / q.heat_capacity_mwh_th_per_c
        for t in range(steps):
            values, h, p = {k: v[t] for k, v in context.inputs[a.id].items()}, grid.minutes[t] / 60, model.p[i, t]
            gains = values["internal_mw_th"] + values["solar_mw_th"] + sign * cop(q, values["ambient_c"]) * p
            model.rules.add(model.indoor[i, t] == next_c(q, before, values["ambient_c"], gains, h))
            low, high = edges(q, values["occupancy"])
            model.rules.add(model.indoor[i, t] + model.cold[i, t] >= low)
            model.rules.add(model.indoor[i, t] - model.warm[i, t] <= high)
            model.rules.add(p <= q.max_power_mw)
            money += price[t] * h * p + q.discomfort_eur_per_c_h * h * (model.cold[i, t] + model.warm[i, t])
            before = model.indoor[i, t]
        left = sign * (before - empty) * q.heat_capacity_mwh_th_per_c
        if a.id in context.end_value:
            money -= missing_or_worth(model, f"end{i}", context, a.id, left)
        else:
            most = q.heat_capacity_mwh_th_per_c * abs(edges(q, values["occupancy"])[sign > 0] - empty)
            model.rules.add(left + model.owed[i] >= min(start, most))
            money += 1000.0 * model.owed[i]
    model.objective = pyo.Objective(expr=money)
    return solve(model)


def missing_or_worth(model: Any, name: str, context: Context, asset_id: str, left: Any) -> Any:
    """Worth of what is left; what is missing below zero costs as much as the first MWh is worth."""
    below = pyo.Var(domain=pyo.NonNegativeReals)
    model.add_component(f"{name}_below", below)
    end = context.end_value[asset_id]
    return end_worth(model, name, end, left + below, 0.0) - float(end.value[0]) * below


@pytest.mark.parametrize("with_end", [False, True])
@pytest.mark.parametrize(("seed", "name"), list(enumerate(GRIDS)))
def test_equals_the_literal_model(seed: int, name: str, with_end: bool) -> None:
    fleet, context, price = random_case(seed, GRIDS[name], with_end)
    assert run(fleet, context, price).objective == pytest.approx(oracle(fleet, context, price), rel=1e-6, abs=1e-6)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)), with_end=st.booleans())
@settings(max_examples=40, deadline=None)
def test_laws_of_every_plan(seed: int, name: str, with_end: bool) -> None:
    """Power inside its limits, and heat conserved: what a room gains is what came in."""
    fleet, context, price = random_case(seed, GRIDS[name], with_end)
    found, grid = run(fleet, context, price), context.grid
    for i, a in enumerate(fleet):
        q, sign, result = a.params, 1.0 if a.params.mode == "heating" else -1.0, found.results[a.id]
        assert np.all(found.injection[i] <= 1e-9) and np.all(-found.injection[i] <= q.max_power_mw + 1e-9)
        before = q.edge_c + sign * context.states[a.id].stored_mwh / q.heat_capacity_mwh_th_per_c
        for t, h in enumerate(grid.hours):
            values = {k: v[t] for k, v in context.inputs[a.id].items()}
            heat = values["internal_mw_th"] + values["solar_mw_th"]
            heat += sign * cop(q, values["ambient_c"]) * -found.injection[i, t]
            before = next_c(q, before, values["ambient_c"], heat, float(h))
            assert result.decisions["indoor_c"][t] == pytest.approx(before, abs=1e-5)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)))
@settings(max_examples=25, deadline=None)
def test_more_freedom_never_costs_more(seed: int, name: str) -> None:
    """A wider band, a stronger machine. What is owed without an end value is cut to the band, so all have one."""
    fleet, context, price = random_case(seed, GRIDS[name], True)
    worth = EndValue(np.array([1.0]), np.array([20.0]))
    context = replace(context, end_value={a.id: context.end_value.get(a.id, worth) for a in fleet})
    cost = run(fleet, context, price).objective
    for wider in ({"comfort_max_c": 25.0}, {"comfort_min_c": 19.0}, {"max_power_mw": 0.6}):
        freer = [replace(a, params=a.params.model_copy(update=wider)) for a in fleet]
        assert run(freer, context, price).objective <= cost + 1e-6


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)))
@settings(max_examples=25, deadline=None)
def test_a_thousand_small_buildings_are_a_big_one(seed: int, name: str) -> None:
    """Scaling every power and energy scales the cost."""
    fleet, context, price = random_case(seed, GRIDS[name], False)
    sizes = ("max_power_mw", "heat_capacity_mwh_th_per_c", "transmittance_mw_th_per_c", "discomfort_eur_per_c_h")
    small = [
        replace(a, params=a.params.model_copy(update={k: getattr(a.params, k) / 1000 for k in sizes})) for a in fleet
    ]
    heats = ("internal_mw_th", "solar_mw_th")
    inputs = {
        a: {k: v / 1000 if k in heats else v for k, v in given.items()} for a, given in context.inputs.items()
    }  # fmt: skip
    states = {a: replace(s, stored_mwh=s.stored_mwh / 1000) for a, s in context.states.items()}
    less = run(small, replace(context, inputs=inputs, states=states), price).objective
    assert 1000 * less == pytest.approx(run(fleet, context, price).objective, rel=1e-5, abs=1e-3)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)))
@settings(max_examples=25, deadline=None)
def test_no_state_is_infeasible_and_a_building_out_of_service_keeps_its_thermostat(seed: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    fleet, context, price = random_case(seed, GRIDS[name], bool(rng.integers(2)))
    states = {
        key: replace(s, stored_mwh=rng.uniform(-20.0, 20.0), available=rng.random() < 0.5)
        for key, s in context.states.items()
    }
    found = run(fleet, replace(context, states=states), price)
    for i, a in enumerate(fleet):
        if not states[a.id].available:
            held = building.default_mw(a, states[a.id], context.inputs[a.id], context.grid)
            assert found.injection[i] == pytest.approx(held, abs=1e-7)


def office(grid: TimeGrid, **inputs: Any) -> dict[str, dict[str, np.ndarray]]:
    given = {"ambient_c": 30.0, "internal_mw_th": 0.1, "solar_mw_th": 0.1, "occupancy": 1.0, **inputs}
    return {"b": {k: np.broadcast_to(v, grid.n).astype(float) for k, v in given.items()}}


def test_pre_cools_before_a_dear_hour() -> None:
    grid = GRIDS["hours"]
    price = np.full(grid.n, 50.0)
    price[5] = 500.0
    begin = {"b": state("b", 0, 0.5 * (28.0 - 23.99), True, 0)}
    found = run([asset("b")], Context(grid, START, begin, office(grid)), price)
    used, indoor = -found.injection[0], found.results["b"].decisions["indoor_c"]
    calm = used[9]
    assert indoor[4] < 23.5 and used[4] > calm + 0.05
    assert used[5] == pytest.approx(0.0, abs=1e-7)
    assert indoor[5] == pytest.approx(24.0)


def test_a_building_that_drifted_rebounds() -> None:
    """Left off until it is 1 K too warm, it then takes more than it would have, until it is back."""
    grid, price = GRIDS["hours"], np.full(GRIDS["hours"].n, 50.0)
    warm, calm = ({"b": state("b", 0, 0.5 * (28.0 - c), True, 0)} for c in (25.0, 24.0))
    drifted, steady = (run([asset("b")], Context(grid, START, s, office(grid)), price) for s in (warm, calm))
    more = steady.injection[0] - drifted.injection[0]
    assert more[0] > 0.05 and more.sum() * 3.5 > 0.45
    assert drifted.results["b"].decisions["indoor_c"][-1] == pytest.approx(24.0, abs=1e-6)


def test_leaving_the_band_costs_its_degrees() -> None:
    """0.12 MW_th of heat cannot be moved by a machine that is too small: it gets warm, and that is priced."""
    grid = TimeGrid(START, (60,) * 2)
    begin = {"b": state("b", 0, 0.5 * 4.0, True, 0)}
    weak = asset("b", max_power_mw=1e-6)
    found = run([weak], Context(grid, START, begin, office(grid, ambient_c=24.0)), np.zeros(2))
    rise = [24.0 + 0.2 / 0.04 * (1.0 - math.exp(-h * 0.04 / 0.5)) for h in (1, 2)]
    assert found.results["b"].decisions["indoor_c"] == pytest.approx(rise, abs=1e-4)
    owed = 1000.0 * 0.5 * (rise[1] - 24.0)
    assert found.objective == pytest.approx(40.0 * (sum(rise) - 48.0) + owed, rel=1e-4)


@pytest.mark.parametrize("mode", ["cooling", "heating"])
def test_default_works_at_the_edge_of_the_band(mode: str) -> None:
    grid = GRIDS["quarters"]
    a = asset("b", **(HEATED if mode == "heating" else {}))
    inputs = office(grid, ambient_c=30.0 if mode == "cooling" else 0.0)["b"]
    edge_c = 24.0 if mode == "cooling" else 21.0
    content = 0.5 * (28.0 - 24.0 if mode == "cooling" else 21.0 - 17.0)
    power = -building.default_mw(a, state("b", 0, content, True, 0), inputs, grid)
    heat = 0.04 * abs(30.0 - edge_c) + 0.2 if mode == "cooling" else 0.04 * edge_c - 0.2
    assert power == pytest.approx(np.full(grid.n, heat / (3.5 if mode == "cooling" else 3.0)))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"comfort_min_c": 25.0}, "is not below comfort_max_c"),
        ({"setback_min_c": 22.0}, "is above comfort_min_c"),
        ({"setback_max_c": 23.0}, "is below comfort_max_c"),
        ({"cop_slope_per_c": -0.2}, "below 1"),
        ({"cop_slope_per_c": 0.05}, "wrong sign for cooling"),
        ({"mode": "heating"}, "wrong sign for heating"),
        ({"discomfort_eur_per_c_h": 0.0}, "greater than 0"),
        ({"max_power_mw": -1.0}, "greater than 0"),
    ],
)
def test_bad_parameters_are_named(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        building.Params(**{**BASE, **changes})


def test_a_gap_is_a_gap() -> None:
    grid = GRIDS["hours"]
    inputs = office(grid, solar_mw_th=np.where(np.arange(grid.n) == 3, np.nan, 0.1))
    with pytest.raises(DataGap, match="b/solar_mw_th: no value at step 3"):
        building.block([asset("b")], Context(grid, START, {"b": state("b", 0, 1.0, True, 0)}, inputs))
