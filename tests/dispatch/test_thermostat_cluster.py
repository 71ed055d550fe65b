"""The thermostat cluster block against a literal model of one mean unit, and what must hold whatever the data."""

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

from dispatch.assets import thermostat_cluster
from dispatch.block import Context
from tests.dispatch.block_solver import solve_block
from tests.dispatch.commitment_oracle import GRIDS, START, random_end, solve, state, times
from tests.dispatch.test_building import missing_or_worth
from vpp.domain.portfolio import Asset
from vpp.domain.time import TimeGrid

BASE: dict[str, Any] = {
    "count": 400, "unit_kw": 1.5, "cop_at_20c": 3.6, "cop_slope_per_c": -0.05, "unit_heat_capacity_kwh_th_per_c": 2.0,
    "unit_transmittance_kw_th_per_c": 0.2, "set_c": 24.0, "band_c": 2.0, "min_on_min": 5.0, "min_off_min": 10.0,
    "discomfort_eur_per_unit_c_h": 0.5, "patience_c_h_per_day": 6.0, "fatigue_eur_per_unit_c_h": 0.3,
}  # fmt: skip
HEATED = {"mode": "heating", "cop_slope_per_c": 0.05, "set_c": 20.0}


def asset(asset_id: str, **changes: Any) -> Asset:
    q = thermostat_cluster.Params(**{**BASE, **changes})
    return Asset(asset_id, "thermostat_cluster", "site", f"mp:{asset_id}", "node", None, q)


def random_case(seed: int, grid: TimeGrid, with_end: bool) -> tuple[list[Asset], Context, np.ndarray]:
    """Two classes of air-conditioners and one of heat pumps."""
    rng = np.random.default_rng(seed)
    fleet, states, inputs, ends = [], {}, {}, {}
    for i, mode in enumerate((dict[str, Any](), HEATED, dict[str, Any]())):
        a = asset(
            f"c{i}", count=int(rng.integers(100, 900)), min_on_min=rng.choice([0.0, 5.0, 30.0]),
            min_off_min=rng.choice([0.0, 3.0, 40.0]), patience_c_h_per_day=rng.uniform(0.5, 10.0), **mode,
        )  # fmt: skip
        fleet.append(a)
        full = 2.0 * a.params.set_mwh_th
        states[a.id] = state(a.id, -rng.uniform(0.0, 1.0) * a.params.power_mw, full * rng.uniform(-0.2, 1.2), True, 0)
        spent = float(np.random.default_rng([seed, i]).uniform(0.0, 0.6)) * a.params.patience_c_h_per_day
        states[a.id] = replace(states[a.id], away_c_h=spent, away_h=8.0)
        inputs[a.id] = {
            "ambient_c": rng.uniform(22.0, 38.0, grid.n) - (24.0 if mode else 0.0),
            "gains_mw_th": a.params.count * rng.uniform(0.0, 0.8, grid.n) / 1000.0,
        }
        if with_end and i != 1:
            ends[a.id] = random_end(rng, 1.0, 30.0)
    return fleet, Context(grid, START, states, inputs, end_value=ends), rng.uniform(-40.0, 160.0, grid.n)


def run(fleet: list[Asset], context: Context, price: np.ndarray) -> SimpleNamespace:
    block = thermostat_cluster.block(fleet, context)
    found = solve_block(block, [a.id for a in fleet], context.grid, price)
    return SimpleNamespace(**found._asdict(), results=block.read(found.x, found.duals))


def mean_unit(q: thermostat_cluster.Params, before_c: Any, ambient_c: float, heat_kw: Any, hours: float) -> Any:
    """Temperature of the mean room after a step; `heat_kw` per unit."""
    going = ambient_c + heat_kw / q.unit_transmittance_kw_th_per_c
    rate = q.unit_transmittance_kw_th_per_c / q.unit_heat_capacity_kwh_th_per_c
    return going + (before_c - going) * math.exp(-hours * rate)


def start_c(q: thermostat_cluster.Params, stored_mwh: float) -> float:
    per_unit = stored_mwh * 1000.0 / q.count / q.unit_heat_capacity_kwh_th_per_c
    warm = q.set_c + q.band_c / 2.0
    return warm - per_unit if q.mode == "cooling" else q.set_c - q.band_c / 2.0 + per_unit


def cop(q: thermostat_cluster.Params, ambient_c: float) -> float:
    return max(1.0, q.cop_at_20c + q.cop_slope_per_c * (ambient_c - 20.0))


def oracle(fleet: list[Asset], context: Context, price: np.ndarray) -> float:
    """Units counted as a real number that run, start and stop; temperatures of the mean unit."""
    grid, steps, n = context.grid, context.grid.n, len(fleet)
    model, at = pyo.ConcreteModel(), times(context.grid)
    model.rules = pyo.ConstraintList()
    midnight = 60 * grid.start.hour + grid.start.minute
    days = (midnight + at[-1]) // 1440 + 1
    for name in ("running", "started", "stopped", "outside", "away"):
        setattr(model, name, pyo.Var(range(n), range(steps), domain=pyo.NonNegativeReals))
    model.tired = pyo.Var(range(n), range(days), domain=pyo.NonNegativeReals)
    model.indoor = pyo.Var(range(n), range(steps))
    model.owed = pyo.Var(range(n), domain=pyo.NonNegativeReals)
    money: Any = 0.0
    for i, a in enumerate(fleet):
        q, sign, begin = a.params, 1.0 if a.params.mode == "heating" else -1.0, context.states[a.id]
        before, count = start_c(q, begin.stored_mwh), -begin.power_mw * 1000.0 / q.unit_kw
        for t in range(steps):
            h, ambient = grid.minutes[t] / 60, context.inputs[a.id]["ambient_c"][t]
            heat = context.inputs[a.id]["gains_mw_th"][t] * 1000.0 / q.count
            heat = heat + sign * cop(q, ambient) * q.unit_kw * model.running[i, t] / q.count
            model.rules.add(model.indoor[i, t] == mean_unit(q, before, ambient, heat, h))
            model.rules.add(model.running[i, t] - count == model.started[i, t] - model.stopped[i, t])
            recent = [s for s in range(t + 1) if at[t] - at[s] < q.min_on_min or s == t]
            model.rules.add(sum(model.started[i, s] for s in recent) <= model.running[i, t])
            recent = [s for s in range(t + 1) if at[t] - at[s] < q.min_off_min or s == t]
            model.rules.add(sum(model.stopped[i, s] for s in recent) <= q.count - model.running[i, t])
            off_set = model.indoor[i, t] - q.set_c
            for side in (1.0, -1.0):
                model.rules.add(side * off_set - q.band_c / 2.0 <= model.outside[i, t])
                model.rules.add(side * off_set <= model.away[i, t])
            money += price[t] * h * model.running[i, t] * q.unit_kw / 1000.0
            money += q.count * q.discomfort_eur_per_unit_c_h * h * model.outside[i, t]
            before, count = model.indoor[i, t], model.running[i, t]
        for d in range(days):
            mine = [t for t in range(steps) if (midnight + at[t]) // 1440 == d]
            hours = sum(grid.minutes[t] for t in mine) / 60 + (begin.away_h if d == 0 else 0.0)
            spent = begin.away_c_h if d == 0 else 0.0
            felt = sum(grid.minutes[t] / 60 * model.away[i, t] for t in mine)
            model.rules.add(felt - model.tired[i, d] <= max(q.patience_c_h_per_day * hours / 24 - spent, 0.0))
            money += q.count * q.fatigue_eur_per_unit_c_h * model.tired[i, d]
        per_degree = q.count * q.unit_heat_capacity_kwh_th_per_c / 1000.0
        left = per_degree * (sign * (before - q.set_c) + q.band_c / 2.0)
        if a.id in context.end_value:
            money -= missing_or_worth(model, f"end{i}", context, a.id, left)
        else:
            model.rules.add(left + model.owed[i] >= min(begin.stored_mwh, per_degree * q.band_c))
            money += 1000.0 * model.owed[i]
    model.objective = pyo.Objective(expr=money)
    return solve(model)


@pytest.mark.parametrize("with_end", [False, True])
@pytest.mark.parametrize(("seed", "name"), [*enumerate(GRIDS), (9, "minutes"), (10, "long")])
def test_equals_the_literal_model(seed: int, name: str, with_end: bool) -> None:
    grid = TimeGrid(START, (15,) * 8 + (120,) * 20) if name == "long" else GRIDS[name]
    fleet, context, price = random_case(seed, grid, with_end)
    assert run(fleet, context, price).objective == pytest.approx(oracle(fleet, context, price), rel=1e-6, abs=1e-6)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)), with_end=st.booleans())
@settings(max_examples=30, deadline=None)
def test_laws_of_every_plan(seed: int, name: str, with_end: bool) -> None:
    """No more units than there are, heat conserved, nobody switched back too early."""
    fleet, context, price = random_case(seed, GRIDS[name], with_end)
    found, grid, at = run(fleet, context, price), context.grid, times(GRIDS[name])
    for i, a in enumerate(fleet):
        q, used = a.params, -found.injection[i]
        assert np.all(used >= -1e-9) and np.all(used <= q.count * q.unit_kw / 1000.0 + 1e-9)
        before, sign = start_c(q, context.states[a.id].stored_mwh), 1.0 if q.mode == "heating" else -1.0
        change = np.diff(np.append(-context.states[a.id].power_mw, used))
        for t, h in enumerate(grid.hours):
            ambient = context.inputs[a.id]["ambient_c"][t]
            heat = context.inputs[a.id]["gains_mw_th"][t] + sign * cop(q, ambient) * used[t]
            before = mean_unit(q, before, ambient, heat * 1000.0 / q.count, float(h))
            assert found.results[a.id].decisions["indoor_c"][t] == pytest.approx(before, abs=1e-5)
            young = [s for s in range(t) if at[t] - at[s] < q.min_on_min]
            assert used[t] >= sum(max(change[s], 0.0) for s in young) - 1e-7


def test_a_roll_has_no_new_patience() -> None:
    """What was spent of the day before the plan leaves less; beyond its share every degree-hour is paid."""
    fleet, context, price = random_case(3, GRIDS["hours"], False)
    costs = []
    for spent in (0.0, 2.0, 100.0):
        states = {a: replace(s, away_c_h=spent, away_h=8.0) for a, s in context.states.items()}
        costs.append(run(fleet, replace(context, states=states), price).objective)
    assert costs[0] < costs[1] - 1e-3 < costs[2] - 2e-3


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)))
@settings(max_examples=25, deadline=None)
def test_more_freedom_never_costs_more(seed: int, name: str) -> None:
    """More patience, shorter minimum times."""
    fleet, context, price = random_case(seed, GRIDS[name], False)
    cost = run(fleet, context, price).objective
    for wider in ({"patience_c_h_per_day": 12.0}, {"min_on_min": 0.0}, {"min_off_min": 0.0}):
        freer = [replace(a, params=a.params.model_copy(update=wider)) for a in fleet]
        assert run(freer, context, price).objective <= cost + 1e-6


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)))
@settings(max_examples=25, deadline=None)
def test_a_class_of_twice_the_units_costs_twice(seed: int, name: str) -> None:
    """Exact aggregation: a class is as good as its units."""
    fleet, context, price = random_case(seed, GRIDS[name], False)
    twice = [replace(a, params=a.params.model_copy(update={"count": 2 * a.params.count})) for a in fleet]
    states = {k: replace(s, power_mw=2 * s.power_mw, stored_mwh=2 * s.stored_mwh) for k, s in context.states.items()}
    inputs = {k: {**v, "gains_mw_th": 2 * v["gains_mw_th"]} for k, v in context.inputs.items()}
    doubled = run(twice, replace(context, states=states, inputs=inputs), price).objective
    assert doubled == pytest.approx(2 * run(fleet, context, price).objective, rel=1e-6, abs=1e-5)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)))
@settings(max_examples=25, deadline=None)
def test_no_state_is_infeasible(seed: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    fleet, context, price = random_case(seed, GRIDS[name], bool(rng.integers(2)))
    states = {}
    for key, s in context.states.items():
        content, power = rng.uniform(-9.0, 9.0), rng.uniform(-3.0, 1.0)
        states[key] = replace(s, stored_mwh=content, power_mw=power, available=rng.random() < 0.5)
    found = run(fleet, replace(context, states=states), price)
    for i, a in enumerate(fleet):
        if not states[a.id].available:
            own = thermostat_cluster.default_mw(a, states[a.id], context.inputs[a.id], context.grid)
            assert found.injection[i] == pytest.approx(own, abs=1e-7)


def hot(grid: TimeGrid) -> dict[str, dict[str, np.ndarray]]:
    return {"c": {"ambient_c": np.full(grid.n, 32.0), "gains_mw_th": np.full(grid.n, 0.1)}}


def test_a_dear_hour_is_followed_by_a_rebound() -> None:
    """Units pause while it is dear and then take more than the 0.19 MW that hold the set-point."""
    grid = TimeGrid(START, (15,) * 24)
    price = np.full(grid.n, 60.0)
    price[8:12] = 600.0
    calm = (0.4 * 0.2 * 8.0 + 0.1) / 3.0
    found = run([asset("c")], Context(grid, START, {"c": state("c", -calm, 0.8, True, 0)}, hot(grid)), price)
    used = -found.injection[0]
    assert used[8:12].mean() < 0.5 * calm
    assert max(used[:8].max(), used[12:16].max()) > 1.3 * calm


def test_impatient_people_move_less() -> None:
    grid = TimeGrid(START, (15,) * 24)
    price = np.tile([20.0, 20.0, 300.0, 300.0], 6)
    moved = []
    for patience in (0.1, 20.0):
        a = asset("c", patience_c_h_per_day=patience, fatigue_eur_per_unit_c_h=5.0)
        found = run([a], Context(grid, START, {"c": state("c", -0.2, 0.8, True, 0)}, hot(grid)), price)
        moved.append(float(np.std(found.injection[0])))
    assert moved[0] < 0.7 * moved[1]


def test_what_has_just_started_runs_on() -> None:
    """A minute of a negative price; the units it starts must run for five."""
    grid = TimeGrid(START, (1,) * 12)
    price = np.full(grid.n, 300.0)
    price[2] = -30_000.0
    hasty, held = (
        run([asset("c", min_on_min=m)], Context(grid, START, {"c": state("c", 0.0, 0.0, False, 0)}, hot(grid)), price)
        for m in (0.0, 5.0)
    )
    assert np.sum(-hasty.injection[0] > 0.5) < 5
    running = np.flatnonzero(-held.injection[0] > 0.5)
    assert 2 in running and len(running) >= 5 and np.all(np.diff(running) == 1)


@pytest.mark.parametrize("mode", ["cooling", "heating"])
def test_default_holds_the_set_point(mode: str) -> None:
    grid = GRIDS["quarters"]
    a = asset("c", **(HEATED if mode == "heating" else {}))
    inputs = {"ambient_c": np.full(grid.n, 30.0 if mode == "cooling" else 2.0), "gains_mw_th": np.zeros(grid.n)}
    per_unit_kw_th = 0.2 * (6.0 if mode == "cooling" else 18.0)
    used = 400 * per_unit_kw_th / 1000.0 / (3.1 if mode == "cooling" else 2.7)
    for before in (None, state("c", 0.0, a.params.set_mwh_th, True, 0)):
        assert -thermostat_cluster.default_mw(a, before, inputs, grid) == pytest.approx(np.full(grid.n, used))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"count": 0}, "greater than or equal to 1"),
        ({"band_c": 0.0}, "greater than 0"),
        ({"cop_slope_per_c": 0.1}, "wrong sign"),
        ({"patience_c_h_per_day": -1.0}, "greater than 0"),
        ({"min_on_min": 500.0}, "less than or equal to 120"),
    ],
)
def test_bad_parameters_are_named(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        thermostat_cluster.Params(**{**BASE, **changes})
