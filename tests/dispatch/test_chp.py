"""The CHP block against a literal model, and what must hold whatever the data."""

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

from dispatch.assets import chp
from dispatch.block import Context
from tests.dispatch.block_solver import solve_block
from tests.dispatch.commitment_oracle import (
    GRIDS,
    START,
    add_machines,
    assert_minimum_times,
    end_worth,
    minimum_times,
    random_end,
    solve,
    state,
    times,
)
from vpp.domain.errors import DataGap
from vpp.domain.portfolio import Asset
from vpp.domain.time import TimeGrid

HEAT_PENALTY = 1000.0
BASE: dict[str, Any] = {
    "power_mw": 2.0, "min_power_mw": 1.0, "fuel_mw_per_mw": 2.2, "fuel_no_load_mw": 0.4, "heat_mw_per_mw": 0.9,
    "heat_no_load_mw": 0.25, "fuel_price_eur_per_mwh": 30.0, "start_cost_eur": 60.0, "min_up_h": 2.0,
    "min_down_h": 1.5, "ramp_mw_per_min": 0.02, "boiler_mw_th": 3.0, "boiler_efficiency": 0.92,
    "store_mwh_th": 4.0, "store_loss_per_h": 0.01,
}  # fmt: skip


def asset(asset_id: str, **changes: Any) -> Asset:
    return Asset(asset_id, "chp", "site", f"mp:{asset_id}", "node", None, chp.Params(**{**BASE, **changes}))


def random_case(seed: int, grid: TimeGrid, with_end: bool) -> tuple[list[Asset], Context, np.ndarray]:
    rng = np.random.default_rng(seed)
    fleet, states, inputs, ends = [], {}, {}, {}
    for i in range(3):
        a = asset(
            f"chp{i}",
            power_mw=2.0 + i, min_power_mw=rng.uniform(0.5, 1.2), start_cost_eur=rng.uniform(0.0, 150.0),
            min_up_h=rng.choice([0.0, 0.4, 2.0, 3.0]), min_down_h=rng.choice([0.0, 0.3, 1.0, 2.0]),
            ramp_mw_per_min=rng.uniform(0.01, 0.3), boiler_mw_th=rng.uniform(0.0, 4.0),
        )  # fmt: skip
        on = bool(rng.integers(2))
        fleet.append(a)
        states[a.id] = state(a.id, rng.uniform(0.2, 2.5) * on, rng.uniform(0.0, 4.0), on, int(rng.integers(0, 150)))
        inputs[a.id] = {"heat_demand_mw_th": rng.uniform(0.0, 3.0, grid.n)}
        if with_end and i != 1:
            ends[a.id] = random_end(rng, 3.0, 40.0)
    context = Context(grid, START, states, inputs, end_value=ends)
    return fleet, context, rng.uniform(-40.0, 160.0, grid.n)


def with_commitment(seed: int, fleet: list[Asset], context: Context) -> Context:
    """Some steps fixed to a plan made for another price, as a stage above would."""
    rng = np.random.default_rng(seed + 1000)
    plan = run(fleet, context, rng.uniform(0.0, 160.0, context.grid.n)).results
    fixed = {
        a.id: np.where(rng.uniform(size=context.grid.n) < 0.4, plan[a.id].commitment, -1).astype(np.int8) for a in fleet
    }
    return replace(context, committed=fixed)


def run(fleet: list[Asset], context: Context, price: np.ndarray) -> SimpleNamespace:
    block = chp.block(fleet, context)
    found = solve_block(block, [a.id for a in fleet], context.grid, price)
    return SimpleNamespace(**found._asdict(), results=block.read(found.x, found.duals))


def oracle(fleet: list[Asset], context: Context, price: np.ndarray) -> float:
    model = pyo.ConcreteModel()
    model.objective = pyo.Objective(expr=literal(model, fleet, context, price))
    return solve(model)


def literal(model: Any, fleet: Sequence[Asset], context: Context, price: np.ndarray) -> Any:
    """Variables and rules of `fleet` in `model`; the money it spends. A store above its size drains by itself."""
    grid, steps, n = context.grid, context.grid.n, len(fleet)
    add_machines(model, n, steps)
    names = ("p", "boiler", "store", "unmet", "dumped")
    for name in names:
        setattr(model, name, pyo.Var(range(n), range(steps), domain=pyo.NonNegativeReals))
    money = 0.0
    for i, a in enumerate(fleet):
        q, before = a.params, context.states[a.id]
        committed = context.committed.get(a.id, np.full(steps, -1))
        minimum_times(model, i, before, grid, q.min_up_h * 60, q.min_down_h * 60, committed)
        last_p = min(max(before.power_mw, q.min_power_mw), q.power_mw) if before.on else 0.0
        last_on, last_s, lowest, untouched = int(before.on), before.stored_mwh, last_p, before.stored_mwh
        for t in range(steps):
            h, p, on = grid.minutes[t] / 60, model.p[i, t], model.on[i, t]
            ramp = q.ramp_mw_per_min * grid.minutes[t]
            stop_limit = max(q.min_power_mw, ramp)
            if committed[t] == 0:
                stop_limit = max(stop_limit, lowest)
            model.rules.add(p <= q.power_mw * on)
            model.rules.add(p >= q.min_power_mw * on)
            model.rules.add(p - last_p <= ramp * last_on + max(q.min_power_mw, ramp) * model.start[i, t])
            model.rules.add(last_p - p <= ramp * on + stop_limit * model.stop[i, t])
            heat = q.heat_mw_per_mw * p + q.heat_no_load_mw * on + model.boiler[i, t]
            heat += model.unmet[i, t] - model.dumped[i, t]
            demand = context.inputs[a.id]["heat_demand_mw_th"][t]
            model.rules.add(model.store[i, t] == last_s * (1 - q.store_loss_per_h * h) + h * (heat - demand))
            untouched *= 1 - q.store_loss_per_h * h
            model.rules.add(model.store[i, t] <= max(q.store_mwh_th, untouched))
            model.rules.add(model.boiler[i, t] <= q.boiler_mw_th)
            fuel = q.fuel_mw_per_mw * p + q.fuel_no_load_mw * on + model.boiler[i, t] / q.boiler_efficiency
            money += h * q.fuel_price_eur_per_mwh * fuel + q.start_cost_eur * model.start[i, t] - h * price[t] * p
            money += h * HEAT_PENALTY * (model.unmet[i, t] + model.dumped[i, t])
            last_p, last_on, last_s = p, on, model.store[i, t]
            lowest = max(lowest - ramp, q.min_power_mw)
        if a.id in context.end_value:
            money -= end_worth(model, f"end{i}", context.end_value[a.id], last_s, 0.0)
        else:
            model.rules.add(last_s >= before.stored_mwh)
    return money


@pytest.mark.parametrize("with_end", [False, True])
@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(("seed", "name"), list(enumerate(GRIDS)))
def test_equals_the_literal_model(seed: int, name: str, fixed: bool, with_end: bool) -> None:
    fleet, context, price = random_case(seed, GRIDS[name], with_end)
    if fixed:
        context = with_commitment(seed, fleet, context)
    assert run(fleet, context, price).objective == pytest.approx(oracle(fleet, context, price), rel=1e-6, abs=1e-6)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)), with_end=st.booleans(), fixed=st.booleans())
@settings(max_examples=15, deadline=None)
def test_laws_of_every_plan(seed: int, name: str, with_end: bool, fixed: bool) -> None:
    fleet, context, price = random_case(seed, GRIDS[name], with_end)
    if fixed:
        context = with_commitment(seed, fleet, context)
    found, grid = run(fleet, context, price), context.grid
    for i, a in enumerate(fleet):
        q, before, result, p = a.params, context.states[a.id], found.results[a.id], found.injection[i]
        assert_minimum_times(result.commitment, before, grid, q.min_up_h * 60, q.min_down_h * 60)
        assert np.all(p <= q.power_mw * result.commitment + 1e-6)
        assert np.all(p >= q.min_power_mw * result.commitment - 1e-6)
        heat = result.decisions["heat_mw_th"]
        assert heat == pytest.approx(q.heat_mw_per_mw * p + q.heat_no_load_mw * result.commitment, abs=1e-5)
        content = before.stored_mwh
        for t, h in enumerate(grid.hours):
            supply = heat[t] + result.decisions["boiler_mw_th"][t] + result.decisions["unmet_mw_th"][t]
            supply -= result.decisions["dumped_mw_th"][t] + context.inputs[a.id]["heat_demand_mw_th"][t]
            content = content * (1 - q.store_loss_per_h * h) + h * supply
            assert result.stored_mwh[t] == pytest.approx(content, abs=1e-5)
        assert np.all(result.stored_mwh >= -1e-6)
        assert np.all(result.stored_mwh <= q.store_mwh_th + 1e-6)
        running = result.commitment[1:] + result.commitment[:-1] == 2
        limit = q.ramp_mw_per_min * np.asarray(grid.minutes[1:])
        assert np.all(np.abs(np.diff(p))[running] <= limit[running] + 1e-6)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_heat_is_always_met_where_the_boiler_suffices(seed: int) -> None:
    fleet, context, price = random_case(seed, GRIDS["mixed"], with_end=True)
    fleet = [replace(a, params=a.params.model_copy(update={"boiler_mw_th": 3.5})) for a in fleet]
    found = run(fleet, context, price)
    for a in fleet:
        assert found.results[a.id].decisions["unmet_mw_th"] == pytest.approx(0.0, abs=1e-6)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)))
@settings(max_examples=15, deadline=None)
def test_no_state_and_no_commitment_is_infeasible(seed: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    fleet, context, price = random_case(seed, GRIDS[name], with_end=bool(rng.integers(2)))
    states = {
        key: replace(
            s, power_mw=rng.uniform(-1.0, 9.0), stored_mwh=rng.uniform(-1.0, 9.0), available=rng.random() < 0.8
        )
        for key, s in context.states.items()
    }
    fixed = {a.id: rng.integers(-1, 2, context.grid.n).astype(np.int8) for a in fleet}
    found = run(fleet, replace(context, states=states, committed=fixed), price)
    for a in fleet:
        if not states[a.id].available:
            assert not found.results[a.id].commitment.any()


def test_minutes_follow_a_fixed_commitment_without_integers() -> None:
    grid = GRIDS["minutes"]
    a = asset("chp", ramp_mw_per_min=0.05, min_up_h=2.0, min_down_h=0.0)
    committed = {"chp": np.array([1] * 10 + [0] * 5, dtype=np.int8)}
    inputs = {"chp": {"heat_demand_mw_th": np.full(grid.n, 1.0)}}
    context = Context(grid, START, {"chp": state("chp", 1.3, 2.0, True, 200)}, inputs, committed)
    block = chp.block([a], context)
    assert not any(c.integer for c in block.columns)
    found = run([a], context, np.full(grid.n, 150.0))
    assert found.results["chp"].commitment.tolist() == [1.0] * 10 + [0.0] * 5
    assert found.injection[0, 9] == pytest.approx(1.0)
    assert np.abs(np.diff(found.injection[0][:10])).max() <= 0.05 + 1e-9
    assert found.injection[0, :3] == pytest.approx([1.35, 1.40, 1.35])


def test_a_commanded_stop_from_high_power_falls_at_once() -> None:
    grid = GRIDS["minutes"]
    context = Context(
        grid, START, {"chp": state("chp", 2.0, 2.0, True, 200)},
        {"chp": {"heat_demand_mw_th": np.ones(grid.n)}}, {"chp": np.zeros(grid.n, dtype=np.int8)},
    )  # fmt: skip
    assert run([asset("chp")], context, np.full(grid.n, 150.0)).injection[0] == pytest.approx(np.zeros(grid.n))


def test_marginal_value_is_what_a_little_more_heat_saves() -> None:
    grid, small = GRIDS["quarters"], 1e-3
    fleet = [asset("chp")]
    demand = np.linspace(1.5, 3.2, grid.n)
    committed = {"chp": np.zeros(grid.n, dtype=np.int8)}

    def cost(shift: np.ndarray) -> SimpleNamespace:
        states = {"chp": state("chp", 0.0, 2.0, False, 500)}
        inputs = {"chp": {"heat_demand_mw_th": demand - shift / grid.hours}}
        return run(fleet, Context(grid, START, states, inputs, committed), np.full(grid.n, 50.0))

    found = cost(np.zeros(grid.n))
    for t in (0, 7, grid.n - 1):
        shift = np.zeros(grid.n)
        shift[t] = small
        saved = (found.objective - cost(shift).objective) / small
        assert found.results["chp"].marginal_value[t] == pytest.approx(saved, rel=1e-6)
        assert saved > 30.0


def test_default_follows_heat_and_minimum_times() -> None:
    grid = GRIDS["quarters"]
    a, q = asset("chp", ramp_mw_per_min=0.3), chp.Params(**BASE)
    demand = np.full(grid.n, 1.6)
    demand[8:9] = 0.2
    demand[16:] = 0.2
    before = state("chp", 0.0, 1.0, False, 60)
    power = chp.default_mw(a, before, {"heat_demand_mw_th": demand}, grid)
    assert power[:2] == pytest.approx([0.0, 0.0])
    assert power[2:8] == pytest.approx((1.6 - q.heat_no_load_mw) / q.heat_mw_per_mw)
    assert power[8] == pytest.approx(q.min_power_mw)
    assert power[16:] == pytest.approx(np.zeros(grid.n - 16))


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)))
@settings(max_examples=60, deadline=None)
def test_default_is_a_plan_the_block_accepts(seed: int, name: str) -> None:
    fleet, context, _ = random_case(seed, GRIDS[name], with_end=False)
    for a in fleet:
        q, before, grid = a.params, context.states[a.id], context.grid
        power = chp.default_mw(a, before, context.inputs[a.id], grid)
        on = (power > 0.0).astype(float)
        assert_minimum_times(on, before, grid, q.min_up_h * 60, q.min_down_h * 60)
        assert np.all(power[on > 0] >= q.min_power_mw - 1e-9)
        assert power.max() <= q.power_mw + 1e-9
        limit = q.ramp_mw_per_min * np.asarray(grid.minutes[1:])
        up, down = on[1:] > on[:-1], on[1:] < on[:-1]
        change = np.diff(power)
        assert np.all(change <= np.where(up, np.maximum(limit, q.min_power_mw), limit) + 1e-9)
        late = np.asarray(times(grid)[1:]) * q.ramp_mw_per_min > q.power_mw
        assert np.all((-change <= np.where(down, np.maximum(limit, q.min_power_mw), limit) + 1e-9)[late])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"min_power_mw": 3.0}, "is above power_mw"),
        ({"heat_no_load_mw": -2.0}, "heat at min_power_mw is negative"),
        ({"heat_mw_per_mw": 3.0}, "exceed the fuel"),
        ({"power_mw": float("nan")}, "finite"),
        ({"ramp_mw_per_min": -1.0}, "greater than 0"),
        ({"ramp_kw_per_min": 1.0}, "Extra inputs"),
    ],
)
def test_bad_parameters_are_named(changes: dict[str, float], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        chp.Params(**{**BASE, **changes})


def test_missing_heat_demand_is_a_gap() -> None:
    context = Context(GRIDS["hours"], START, {"chp": state("chp", 0.0, 0.0, False, 0)}, {})
    with pytest.raises(DataGap, match="heat_demand_mw_th"):
        chp.block([asset("chp")], context)
