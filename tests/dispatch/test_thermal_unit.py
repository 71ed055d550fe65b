"""The thermal unit's block against a literal model, and what must hold whatever the data."""

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

from dispatch.assets import thermal_unit
from dispatch.block import Context
from tests.dispatch.block_solver import solve_block
from tests.dispatch.commitment_oracle import (
    GRIDS,
    START,
    add_machines,
    assert_minimum_times,
    minimum_times,
    solve,
    state,
    times,
)
from vpp.domain.errors import DataGap
from vpp.domain.portfolio import Asset
from vpp.domain.time import TimeGrid

BASE: dict[str, Any] = {
    "power_mw": 8.0, "min_power_mw": 3.0, "min_up_h": 2.0, "min_down_h": 1.5, "ramp_up_mw_per_min": 0.05,
    "ramp_down_mw_per_min": 0.06, "start_power_mw": 4.0, "stop_power_mw": 3.5,
    "cost_curve": [(3.0, 200.0), (5.0, 300.0), (8.0, 480.0)],
    "start_prices": [(0.0, 100.0), (2.5, 250.0), (5.0, 400.0)],
}  # fmt: skip


def asset(asset_id: str, **changes: Any) -> Asset:
    values = {**BASE, **changes}
    values["cost_curve"] = [{"power_mw": a, "eur_per_h": b} for a, b in values["cost_curve"]]
    values["start_prices"] = [{"after_off_h": a, "eur": b} for a, b in values["start_prices"]]
    params = thermal_unit.Params(**values)
    return Asset(asset_id, "thermal_unit", "site", f"mp:{asset_id}", "node", None, params)


def random_asset(rng: np.random.Generator, asset_id: str) -> Asset:
    least, most = rng.uniform(1.0, 4.0), rng.uniform(5.0, 9.0)
    mw = np.sort([least, most, *rng.uniform(least, most, int(rng.integers(0, 3)))])
    slopes = np.sort(rng.uniform(10.0, 90.0, mw.size - 1))
    eur = rng.uniform(-50.0, 150.0) + np.concatenate([[0.0], np.cumsum(slopes * np.diff(mw))])
    edges = [None, float(least), float(rng.uniform(least, most)), 12.0]
    return asset(
        asset_id,
        power_mw=mw[-1], min_power_mw=mw[0], cost_curve=list(zip(mw, eur, strict=True)),
        min_up_h=rng.choice([0.0, 0.4, 1.0, 3.0]), min_down_h=rng.choice([0.0, 0.3, 1.0, 2.0]),
        ramp_up_mw_per_min=rng.uniform(0.01, 0.3), ramp_down_mw_per_min=rng.uniform(0.01, 0.3),
        start_power_mw=edges[rng.integers(4)], stop_power_mw=edges[rng.integers(4)], must_run=bool(rng.random() < 0.15),
        start_prices=list(zip([0.0, 1.2, rng.uniform(1.5, 5.0)], np.cumsum(rng.uniform(0.0, 150.0, 3)), strict=True)),
    )  # fmt: skip


def random_case(seed: int, grid: TimeGrid) -> tuple[list[Asset], Context, np.ndarray]:
    rng = np.random.default_rng(seed)
    fleet = [random_asset(rng, f"unit{i}") for i in range(3)]
    states = {}
    for a in fleet:
        on = bool(rng.integers(2))
        states[a.id] = state(a.id, rng.uniform(0.2, 9.0) * on, 0.0, on, int(rng.integers(0, 200)))
    return fleet, Context(grid, START, states, {}), rng.uniform(-40.0, 160.0, grid.n)


def with_commitment(seed: int, fleet: list[Asset], context: Context) -> Context:
    """Some steps fixed to a plan made for another price, as a stage above would."""
    rng = np.random.default_rng(seed + 1000)
    plan = run(fleet, context, rng.uniform(0.0, 160.0, context.grid.n)).results
    fixed = {
        a.id: np.where(rng.uniform(size=context.grid.n) < 0.4, plan[a.id].commitment, -1).astype(np.int8) for a in fleet
    }
    return replace(context, committed=fixed)


def run(fleet: list[Asset], context: Context, price: np.ndarray) -> SimpleNamespace:
    block = thermal_unit.block(fleet, context)
    found = solve_block(block, [a.id for a in fleet], context.grid, price)
    return SimpleNamespace(**found._asdict(), results=block.read(found.x, found.duals))


def start_price(q: thermal_unit.Params, off_min: float) -> float:
    return [p.eur for p in q.start_prices if 60.0 * p.after_off_h <= off_min + 1e-6][-1]


def oracle(fleet: list[Asset], context: Context, price: np.ndarray) -> float:
    model = pyo.ConcreteModel()
    model.objective = pyo.Objective(expr=literal(model, fleet, context, price))
    return solve(model)


def literal(model: Any, fleet: Sequence[Asset], context: Context, price: np.ndarray) -> Any:
    """Plain binaries, a segment variable a cost point and a price for every pause a start can end; money spent."""
    grid, steps, n, at = context.grid, context.grid.n, len(fleet), times(context.grid)
    add_machines(model, n, steps)
    model.p = pyo.Var(range(n), range(steps), domain=pyo.NonNegativeReals)
    model.weight = pyo.Var(range(n), range(steps), range(6), domain=pyo.NonNegativeReals)
    model.start_eur = pyo.Var(range(n), range(steps), domain=pyo.NonNegativeReals)
    money = 0.0
    for i, a in enumerate(fleet):
        q, before = a.params, context.states[a.id]
        committed = np.array(context.committed.get(a.id, np.full(steps, -1)))
        committed = np.where((committed < 0) & q.must_run, 1, committed)
        minimum_times(model, i, before, grid, q.min_up_h * 60, q.min_down_h * 60, committed)
        last_p = min(max(before.power_mw, q.min_power_mw), q.power_mw) if before.on else 0.0
        last_on, lowest = int(before.on), last_p
        for t in range(steps):
            h, d, p, on = grid.minutes[t] / 60, grid.minutes[t], model.p[i, t], model.on[i, t]
            su = max(q.min_power_mw, q.ramp_up_mw_per_min * d if q.start_power_mw is None else q.start_power_mw)
            sd = max(q.min_power_mw, q.ramp_down_mw_per_min * d if q.stop_power_mw is None else q.stop_power_mw)
            if committed[t] == 0:
                sd = max(sd, lowest)
            model.rules.add(p <= q.power_mw * on)
            model.rules.add(p >= q.min_power_mw * on)
            model.rules.add(p - last_p <= q.ramp_up_mw_per_min * d * last_on + su * model.start[i, t])
            model.rules.add(last_p - p <= q.ramp_down_mw_per_min * d * on + sd * model.stop[i, t])
            points = [model.weight[i, t, k] for k in range(len(q.cost_curve))]
            model.rules.add(sum(points) == on)
            model.rules.add(sum(w * c.power_mw for w, c in zip(points, q.cost_curve, strict=True)) == p)
            money += h * sum(w * c.eur_per_h for w, c in zip(points, q.cost_curve, strict=True)) - h * price[t] * p
            for s in range(t):
                ran_since = sum(model.on[i, r] for r in range(s + 1, t)) + (1 - model.on[i, s])
                eur = start_price(q, at[t] - at[s + 1]) if s + 1 < t else start_price(q, 0.0)
                model.rules.add(model.start_eur[i, t] >= eur * (model.start[i, t] - ran_since))
            since_grid = sum(model.on[i, r] for r in range(t))
            eur = start_price(q, at[t] + (before.minutes_in_state if not before.on else 0.0))
            model.rules.add(model.start_eur[i, t] >= eur * (model.start[i, t] - since_grid))
            money += model.start_eur[i, t]
            last_p, last_on, lowest = p, on, max(lowest - q.ramp_down_mw_per_min * d, q.min_power_mw)
    return money


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(("seed", "name"), [(s, n) for s in range(3) for n in GRIDS])
def test_equals_the_literal_model(seed: int, name: str, fixed: bool) -> None:
    fleet, context, price = random_case(seed, GRIDS[name])
    if fixed:
        context = with_commitment(seed, fleet, context)
    assert run(fleet, context, price).objective == pytest.approx(oracle(fleet, context, price), rel=1e-6, abs=1e-6)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)), fixed=st.booleans())
@settings(max_examples=20, deadline=None)
def test_laws_of_every_plan(seed: int, name: str, fixed: bool) -> None:
    fleet, context, price = random_case(seed, GRIDS[name])
    if fixed:
        context = with_commitment(seed, fleet, context)
    found, grid = run(fleet, context, price), context.grid
    for i, a in enumerate(fleet):
        q, before, p, on = a.params, context.states[a.id], found.injection[i], found.results[a.id].commitment
        assert_minimum_times(on, before, grid, q.min_up_h * 60, q.min_down_h * 60)
        assert np.all(p <= q.power_mw * on + 1e-6)
        assert np.all(p >= q.min_power_mw * on - 1e-6)
        running, minutes = on[1:] + on[:-1] == 2, np.asarray(grid.minutes[1:])
        assert np.all(np.diff(p)[running] <= (q.ramp_up_mw_per_min * minutes)[running] + 1e-6)
        assert np.all(-np.diff(p)[running] <= (q.ramp_down_mw_per_min * minutes)[running] + 1e-6)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)))
@settings(max_examples=20, deadline=None)
def test_no_state_and_no_commitment_is_infeasible(seed: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    fleet, context, price = random_case(seed, GRIDS[name])
    states = {
        key: replace(s, power_mw=rng.uniform(-1.0, 12.0), available=rng.random() < 0.8)
        for key, s in context.states.items()
    }
    fixed = {a.id: rng.integers(-1, 2, context.grid.n).astype(np.int8) for a in fleet}
    found = run(fleet, replace(context, states=states, committed=fixed), price)
    for a in fleet:
        if not states[a.id].available:
            assert not found.results[a.id].commitment.any()


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)))
@settings(max_examples=10, deadline=None)
def test_more_freedom_never_costs_more(seed: int, name: str) -> None:
    fleet, context, price = random_case(seed, GRIDS[name])
    freer = [
        replace(a, params=a.params.model_copy(update={"ramp_up_mw_per_min": 9.0, "min_down_h": 0.0, "must_run": False}))
        for a in fleet
    ]
    assert run(freer, context, price).objective <= run(fleet, context, price).objective + 1e-6


def test_a_unit_that_must_run_starts_as_soon_as_it_may_and_stays() -> None:
    grid = GRIDS["hours"]
    context = Context(grid, START, {"unit": state("unit", 0.0, 0.0, False, 30)}, {})
    on = run([asset("unit", must_run=True, min_down_h=3.0)], context, np.full(grid.n, -50.0)).results["unit"].commitment
    assert on.tolist() == [0.0] * 3 + [1.0] * (grid.n - 3)


def test_a_warm_start_is_cheaper_than_a_cold_one() -> None:
    grid = GRIDS["hours"]
    price = np.where(np.arange(grid.n) == 4, 500.0, -50.0)
    paid = {}
    for since in (60, 600):
        context = Context(grid, START, {"unit": state("unit", 0.0, 0.0, False, since)}, {})
        unit = asset("unit", min_up_h=0.0, start_prices=[(0.0, 100.0), (6.0, 350.0)])
        paid[since] = run([unit], context, price).objective
    assert paid[600] - paid[60] == pytest.approx(250.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"min_power_mw": 9.0}, "is above power_mw"),
        ({"cost_curve": [(3.0, 200.0), (8.0, 480.0), (8.0, 500.0)]}, "do not rise"),
        ({"cost_curve": [(3.0, 200.0), (5.0, 300.0), (8.0, 400.0)]}, "not convex"),
        ({"cost_curve": [(2.0, 200.0), (8.0, 480.0)]}, "does not run from"),
        ({"start_prices": [(1.0, 5.0)]}, "do not begin"),
        ({"start_prices": [(0.0, 5.0), (2.0, 4.0)]}, "do not rise"),
        ({"stop_power_mw": 2.0}, "stop_power_mw 2.0 is below"),
    ],
)
def test_inconsistent_parameters_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        asset("unit", **changes)


def test_a_missing_state_is_named() -> None:
    with pytest.raises(DataGap, match="unit/state"):
        thermal_unit.block([asset("unit")], Context(GRIDS["hours"], START, {}, {}))
