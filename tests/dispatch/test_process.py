"""The process block against a literal model, and what must hold whatever the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyomo.environ as pyo
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dispatch.assets import process
from dispatch.block import Context, EndValue
from dispatch.check import process as check_process
from dispatch.check.tools import Plan
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
from vpp.domain.errors import DataGap, InputFaults
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.time import TimeGrid

SILO: dict[str, Any] = {
    "id": "cement", "capacity_t": 400.0, "min_t": 20.0, "kwh_per_t": 36.0, "missed_eur_per_t": 60.0,
}  # fmt: skip
BASE: dict[str, Any] = {
    "power_mw": 1.5, "kwh_per_t": 36.0, "min_run_h": 2.0, "min_stop_h": 1.0, "start_cost_eur": 40.0, "silo": SILO,
}  # fmt: skip
LONG = TimeGrid(START, (60,) * 4 + (240,) * 7)


def asset(asset_id: str, **changes: Any) -> Asset:
    return Asset(asset_id, "process", "site", f"mp:{asset_id}", "node", None, process.Params(**{**BASE, **changes}))


def random_case(seed: int, grid: TimeGrid, with_end: bool) -> tuple[list[Asset], Context, np.ndarray]:
    """Two silos: one of three mills with a crew of two, one of a single mill."""
    rng = np.random.default_rng(seed)
    silos = [
        {**SILO, "id": "x", "min_t": rng.uniform(0, 60)},
        {**SILO, "id": "y", "kwh_per_t": 40.0, "capacity_t": 150},
    ]
    content_mwh = [rng.uniform(0.0, 400.0) * 0.036, rng.uniform(0.0, 150.0) * 0.040]
    shipments = [rng.uniform(0.0, 120.0, grid.n), rng.uniform(0.0, 50.0, grid.n)]
    fleet, states, inputs, ends = [], {}, {}, {}
    for i, g in enumerate((0, 1, 0, 0)):
        a = asset(
            f"mill{i}", silo=silos[g], power_mw=rng.uniform(1.0, 1.8), kwh_per_t=rng.uniform(30.0, 45.0),
            min_run_h=rng.choice([0.0, 0.5, 2.0]), min_stop_h=rng.choice([0.0, 0.4, 1.0]),
            start_cost_eur=rng.uniform(0.0, 80.0), crew_limit=2 if g == 0 else None,
            max_starts_per_day=int(rng.integers(1, 3)) if rng.random() < 0.7 else None,
        )  # fmt: skip
        on = bool(rng.integers(2)) and i < 3
        fleet.append(a)
        states[a.id] = state(a.id, -1.0 * on, content_mwh[g] / (3 if g == 0 else 1), on, int(rng.integers(0, 140)))
        ages_h = np.random.default_rng([seed, i]).uniform(10.0, 24.0, 1 + i % 2)
        states[a.id] = replace(states[a.id], started=tuple(grid.start - timedelta(hours=h) for h in ages_h))
        inputs[a.id] = {"shipments_t_per_h": shipments[g], "rota": np.ones(grid.n)}
        if with_end and i != 1:
            ends[a.id] = random_end(rng, 4.0, 90.0)
    return fleet, Context(grid, START, states, inputs, end_value=ends), rng.uniform(-20.0, 160.0, grid.n)


def with_commitment(seed: int, fleet: list[Asset], context: Context) -> Context:
    """Some steps fixed to a plan made for another price, as a stage above would."""
    rng = np.random.default_rng(seed + 1000)
    plan = run(fleet, context, rng.uniform(0.0, 160.0, context.grid.n)).results
    fixed = {
        a.id: np.where(rng.uniform(size=context.grid.n) < 0.4, plan[a.id].commitment, -1).astype(np.int8) for a in fleet
    }
    return replace(context, committed=fixed)


def run(fleet: list[Asset], context: Context, price: np.ndarray) -> SimpleNamespace:
    block = process.block(fleet, context)
    found = solve_block(block, [a.id for a in fleet], context.grid, price)
    return SimpleNamespace(**found._asdict(), results=block.read(found.x, found.duals))


def silo_money(model: Any, name: str, mills: list[int], fleet: Sequence[Asset], context: Context) -> Any:
    """Balance, limits and crew of one silo; what is missed or spilled and what is left, in money."""
    grid, steps, money = context.grid, context.grid.n, 0.0
    silo = fleet[mills[0]].params.silo
    first = context.states[fleet[mills[0]].id]
    opening = first.stored_mwh * len(mills) * 1000 / silo.kwh_per_t
    content, floor = opening, min(opening, silo.min_t)
    may_spill = any(
        (context.committed.get(fleet[i].id, np.full(steps, -1)) == 1).any()
        or (context.states[fleet[i].id].on
            and context.states[fleet[i].id].minutes_in_state < fleet[i].params.min_run_h * 60)
        for i in mills
    )  # fmt: skip
    crew = min((fleet[i].params.crew_limit for i in mills if fleet[i].params.crew_limit is not None), default=99)
    for t in range(steps):
        h = grid.minutes[t] / 60
        shipped = h * context.inputs[fleet[mills[0]].id]["shipments_t_per_h"][t]
        made = sum(h * fleet[i].params.power_mw * 1000 / fleet[i].params.kwh_per_t * model.on[i, t] for i in mills)
        missed, spilled = model.missed[name, t], model.spilled[name, t]
        model.rules.add(model.silo[name, t] == content + made - shipped + missed - spilled)
        model.rules.add(model.silo[name, t] <= silo.capacity_t)
        model.rules.add(model.silo[name, t] >= floor)
        model.rules.add(missed <= shipped)
        if not may_spill:
            model.rules.add(spilled == 0)
        model.rules.add(sum(model.on[i, t] for i in mills) <= crew)
        money += silo.missed_eur_per_t * (missed + spilled)
        content = model.silo[name, t]
    ends = [context.end_value[fleet[i].id] for i in mills if fleet[i].id in context.end_value]
    if ends:
        pieces = sorted(
            ((float(v), float(w)) for e in ends for v, w in zip(e.value, e.width_mwh, strict=True)), reverse=True
        )
        merged = EndValue(np.array([w for _, w in pieces]), np.array([v for v, _ in pieces]))
        last_mwh = content * silo.kwh_per_t / 1000
        missing = pyo.Var(bounds=(0, (silo.min_t - floor) * silo.kwh_per_t / 1000))
        model.add_component(f"short_{name}", missing)
        money += pieces[0][0] * missing
        money -= end_worth(model, f"end_{name}", merged, last_mwh + missing, silo.min_t * silo.kwh_per_t / 1000)
    return money


def oracle(fleet: list[Asset], context: Context, price: np.ndarray) -> float:
    model = pyo.ConcreteModel()
    model.objective = pyo.Objective(expr=literal(model, fleet, context, price))
    return solve(model)


def literal(model: Any, fleet: Sequence[Asset], context: Context, price: np.ndarray) -> Any:
    """Variables and rules of `fleet` in `model`, in tonnes, silos as plain lists of mills; the money it spends."""
    grid, steps, n = context.grid, context.grid.n, len(fleet)
    add_machines(model, n, steps)
    silo_ids = sorted({a.params.silo.id for a in fleet})
    for name in ("silo", "missed", "spilled"):
        setattr(model, name, pyo.Var(silo_ids, range(steps), domain=pyo.NonNegativeReals))
    money, at = 0.0, times(grid)
    for i, a in enumerate(fleet):
        q, before = a.params, context.states[a.id]
        committed = context.committed.get(a.id, np.full(steps, -1))
        minimum_times(model, i, before, grid, q.min_run_h * 60, q.min_stop_h * 60, committed)
        if q.max_starts_per_day is not None:
            past = [(s - grid.start).total_seconds() / 60 for s in before.started]
            for t in range(steps):
                starts = [model.start[i, s] for s in range(t + 1) if at[t] - at[s] < 1440]
                left = q.max_starts_per_day - sum(at[t] - s < 1440 for s in past)
                model.rules.add(sum(starts) <= max(left, 0))
        for t in range(steps):
            money += q.start_cost_eur * model.start[i, t]
            money += price[t] * grid.minutes[t] / 60 * q.power_mw * model.on[i, t]
    for name in silo_ids:
        mills = [i for i, a in enumerate(fleet) if a.params.silo.id == name]
        money += silo_money(model, name, mills, fleet, context)
    return money


@pytest.mark.parametrize("with_end", [False, True])
@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(("seed", "grid"), list(enumerate(GRIDS.values())))
def test_equals_the_literal_model(seed: int, grid: TimeGrid, fixed: bool, with_end: bool) -> None:
    fleet, context, price = random_case(seed, grid, with_end)
    if fixed:
        context = with_commitment(seed, fleet, context)
    assert run(fleet, context, price).objective == pytest.approx(oracle(fleet, context, price), rel=1e-6, abs=1e-6)


def test_equals_the_literal_model_over_two_days() -> None:
    fleet, context, price = random_case(5, LONG, with_end=True)
    assert run(fleet, context, price).objective == pytest.approx(oracle(fleet, context, price), rel=1e-6, abs=1e-6)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)), with_end=st.booleans(), fixed=st.booleans())
@settings(max_examples=12, deadline=None)
def test_laws_of_every_plan(seed: int, name: str, with_end: bool, fixed: bool) -> None:
    fleet, context, price = random_case(seed, GRIDS[name], with_end)
    if fixed:
        context = with_commitment(seed, fleet, context)
    found, grid = run(fleet, context, price), context.grid
    on = np.array([found.results[a.id].commitment for a in fleet])
    for i, a in enumerate(fleet):
        q = a.params
        assert_minimum_times(on[i], context.states[a.id], grid, q.min_run_h * 60, q.min_stop_h * 60)
        assert found.injection[i] == pytest.approx(-q.power_mw * on[i], abs=1e-5)
    for mills in ([0, 2, 3], [1]):
        first = found.results[fleet[mills[0]].id].decisions
        silo = fleet[mills[0]].params.silo
        made = sum(fleet[i].params.power_mw * 1000 / fleet[i].params.kwh_per_t * on[i] for i in mills)
        shipments = context.inputs[fleet[mills[0]].id]["shipments_t_per_h"]
        change = grid.hours * (made - shipments) + first["missed_t"] - first["spilled_t"]
        opening = context.states[fleet[mills[0]].id].stored_mwh * len(mills) / silo.mwh_per_t
        assert first["silo_t"] == pytest.approx(opening + np.cumsum(change), abs=1e-3)
        assert first["silo_t"].max() <= silo.capacity_t + 1e-4
        assert first["silo_t"].min() >= min(opening, silo.min_t) - 1e-4
        assert np.all(first["missed_t"] <= grid.hours * shipments + 1e-6)
        for i in mills:
            share = found.results[fleet[i].id].stored_mwh
            assert share * len(mills) == pytest.approx(first["silo_t"] * silo.kwh_per_t / 1000, abs=1e-6)
    assert on[[0, 2, 3]].sum(axis=0).max() <= 2


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)))
@settings(max_examples=12, deadline=None)
def test_no_state_and_no_fixed_commitment_is_infeasible(seed: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    fleet, context, price = random_case(seed, GRIDS[name], with_end=bool(rng.integers(2)))
    states = {
        key: replace(s, stored_mwh=rng.uniform(-1.0, 15.0), on=bool(rng.integers(2)), available=rng.random() < 0.8)
        for key, s in context.states.items()
    }
    fixed = {a.id: rng.integers(0, 2, context.grid.n).astype(np.int8) for a in fleet}
    run(fleet, replace(context, states=states), price)
    run(fleet, replace(context, states=states, committed=fixed), price)


def test_a_full_silo_that_must_run_spills_and_a_free_mill_stops() -> None:
    grid = GRIDS["hours"]
    inputs = {"mill": {"shipments_t_per_h": np.zeros(grid.n), "rota": np.ones(grid.n)}}
    full = Context(grid, START, {"mill": state("mill", -1.5, 400.0 * 0.036, True, 500)}, inputs)
    cheap = np.full(grid.n, -200.0)
    stopped = run([asset("mill")], full, cheap)
    assert not stopped.results["mill"].commitment.any()
    committed = {"mill": np.array([1, 1, 1] + [0] * 11, dtype=np.int8)}
    forced = run([asset("mill")], replace(full, committed=committed), cheap).results["mill"].decisions
    assert forced["spilled_t"].sum() == pytest.approx(3 * 1500 / 36)
    assert forced["silo_t"].max() <= 400.0 + 1e-6


def test_an_empty_silo_misses_shipments_at_their_price() -> None:
    grid = GRIDS["hours"]
    inputs = {"mill": {"shipments_t_per_h": np.full(grid.n, 10.0), "rota": np.ones(grid.n)}}
    context = Context(
        grid, START, {"mill": state("mill", 0.0, 20 * 0.036, False, 500)}, inputs,
        {"mill": np.zeros(grid.n, dtype=np.int8)},
    )  # fmt: skip
    found = run([asset("mill")], context, np.full(grid.n, 50.0))
    assert found.objective == pytest.approx(10.0 * 14 * 60.0)
    assert found.results["mill"].decisions["missed_t"] == pytest.approx(np.full(grid.n, 10.0))
    assert found.results["mill"].marginal_value[0] == pytest.approx(60.0 / 0.036)


def test_starts_in_a_day_are_limited() -> None:
    inputs = {"mill": {"shipments_t_per_h": np.full(LONG.n, 20.0), "rota": np.ones(LONG.n)}}
    context = Context(LONG, START, {"mill": state("mill", 0.0, 7.0, False, 500)}, inputs)
    price = np.where(np.arange(LONG.n) % 2, 300.0, 10.0)
    q = {"start_cost_eur": 0.0, "min_run_h": 0.0, "min_stop_h": 0.0}
    day = np.array(times(LONG)) // 1440
    free = run([asset("mill", **q)], context, price).results["mill"].commitment
    assert (np.diff(np.append(0, free))[day == 0] > 0).sum() > 1
    bound = run([asset("mill", **q, max_starts_per_day=1)], context, price).results["mill"].commitment
    starts = np.diff(np.append(0, bound)) > 0
    at = np.array(times(LONG))[starts]
    assert np.all(np.diff(at) >= 1440)


def test_starts_before_the_plan_count_until_they_are_a_day_old() -> None:
    """Four starts since morning: the next comes when the first of them is 24 h old, and check finds a fifth."""
    grid = TimeGrid(START, (60,) * 24)
    inputs = {"mill": {"shipments_t_per_h": np.full(grid.n, 1.0), "rota": np.ones(grid.n)}}
    price = np.where(np.arange(grid.n) % 2, 10.0, 300.0)
    mill = asset("mill", start_cost_eur=0.0, min_run_h=0.0, min_stop_h=0.0, max_starts_per_day=4)
    fresh = state("mill", 0.0, 21 * 0.036, False, 500)
    morning = replace(fresh, started=tuple(START - timedelta(hours=h) for h in (4, 3, 2, 1)))
    plans = {}
    for name, known in (("fresh", fresh), ("morning", morning)):
        context = Context(grid, START, {"mill": known}, inputs)
        found = run([mill], context, price)
        assert found.objective == pytest.approx(oracle([mill], context, price), rel=1e-6)
        plans[name] = found
    early = plans["fresh"].results["mill"].commitment
    assert np.flatnonzero(np.diff(np.append(0, early)) > 0)[0] < 20
    assert not plans["morning"].results["mill"].commitment[:20].any()

    def faults(name: str, known: AssetState) -> set[str]:
        found = plans[name]
        result = found.results["mill"]
        plan = Plan(mill, known, grid, found.injection[0], result.commitment, result.decisions, inputs["mill"])
        return {fault.field for fault in check_process.recompute([plan])[0].faults}

    assert "max_starts_per_day" not in faults("fresh", fresh) | faults("morning", morning)
    assert "max_starts_per_day" in faults("fresh", morning)


def test_default_is_the_rota() -> None:
    grid = GRIDS["hours"]
    rota = np.tile([0.0, 1.0], grid.n)[: grid.n]
    assert process.default_mw(asset("mill"), None, {"rota": rota}, grid) == pytest.approx(-1.5 * rota)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"silo": {**SILO, "min_t": 500.0}}, "is not below capacity_t"),
        ({"silo": {**SILO, "capacity_t": 50.0}}, "does not fit into the silo"),
        ({"power_mw": -1.0}, "greater than 0"),
        ({"kwh_per_t": float("nan")}, "finite"),
        ({"mwh_per_t": 0.1}, "Extra inputs"),
    ],
)
def test_bad_parameters_are_named(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        process.Params(**{**BASE, **changes})


def test_two_descriptions_of_one_silo_are_refused() -> None:
    mills = [asset("a"), asset("b", silo={**SILO, "capacity_t": 300.0})]
    with pytest.raises(InputFaults, match="b/silo: differs from a"):
        process.silos_of(mills)


def test_missing_shipments_and_states_are_gaps() -> None:
    grid = GRIDS["hours"]
    with pytest.raises(DataGap, match="shipments_t_per_h"):
        process.block([asset("a")], Context(grid, START, {"a": state("a", 0.0, 1.0, False, 0)}, {}))
    with pytest.raises(DataGap, match="a/state"):
        process.block([asset("a")], Context(grid, START, {}, {}))
