"""The water works block against a literal model, and what must hold whatever the data."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyomo.environ as pyo
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dispatch.assets import water_works
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
)
from vpp.domain.errors import DataGap
from vpp.domain.portfolio import Asset
from vpp.domain.time import TimeGrid

PENALTY = 1000.0
BLOWERS: dict[str, Any] = {
    "max_power_mw": 0.6, "min_power_mw": 0.2, "capacity_mwh": 0.4, "loss_per_h": 0.02, "longest_pause_h": 0.75,
    "recovery_h": 1.0, "recovered_share": 0.6, "start_cost_eur": 3.0,
}  # fmt: skip
PUMPS: dict[str, Any] = {
    "max_power_mw": 1.0, "min_power_mw": 0.5, "capacity_mwh": 3.0, "recovery_h": 0.5, "start_cost_eur": 8.0,
}  # fmt: skip


def asset(asset_id: str, base: dict[str, Any] = BLOWERS, **changes: Any) -> Asset:
    q = water_works.Params(**{**base, **changes})
    return Asset(asset_id, "water_works", "site", f"mp:{asset_id}", "node", None, q)


def random_case(seed: int, grid: TimeGrid, with_end: bool) -> tuple[list[Asset], Context, np.ndarray]:
    """Two lines of blowers and one of pumps."""
    rng = np.random.default_rng(seed)
    fleet, states, inputs, ends = [], {}, {}, {}
    for i, base in enumerate((BLOWERS, PUMPS, BLOWERS)):
        a = asset(
            f"w{i}", base, recovery_h=rng.choice([0.0, 0.4, 1.5]), recovered_share=rng.choice([0.0, 0.5, 0.9]),
            longest_pause_h=rng.choice([0.3, 0.75, 2.0]) if base is BLOWERS else None,
        )  # fmt: skip
        on = bool(rng.integers(2))
        fleet.append(a)
        content = a.params.capacity_mwh * rng.uniform(0.0, 1.1)
        states[a.id] = state(a.id, -0.4 * on, content, on, int(rng.integers(0, 90)))
        inputs[a.id] = {"need_mw": a.params.max_power_mw * rng.uniform(0.1, 0.9, grid.n)}
        if with_end and i != 1:
            ends[a.id] = random_end(rng, 0.5, 90.0)
    return fleet, Context(grid, START, states, inputs, end_value=ends), rng.uniform(-40.0, 160.0, grid.n)


def run(fleet: list[Asset], context: Context, price: np.ndarray) -> SimpleNamespace:
    block = water_works.block(fleet, context)
    found = solve_block(block, [a.id for a in fleet], context.grid, price)
    return SimpleNamespace(**found._asdict(), results=block.read(found.x, found.duals))


def with_commitment(seed: int, fleet: list[Asset], context: Context) -> Context:
    """Some steps fixed to a plan made for another price, as a stage above would."""
    rng = np.random.default_rng(seed + 1000)
    above = run(fleet, context, rng.uniform(0.0, 160.0, context.grid.n)).results
    told = {a.id: rng.uniform(size=context.grid.n) < 0.4 for a in fleet}
    fixed = {k: np.where(known, above[k].commitment, -1).astype(np.int8) for k, known in told.items()}
    return replace(context, committed=fixed)


def basin(model: Any, i: int, a: Asset, context: Context, price: np.ndarray) -> Any:
    """Balance, power and money of one line; the last content stays behind as `model.content[i, last]`."""
    grid, q, begin, money = context.grid, a.params, context.states[a.id], 0.0
    before, untouched = begin.stored_mwh, begin.stored_mwh
    for t in range(grid.n):
        h, p, left = grid.minutes[t] / 60, model.p[i, t], 1 - q.loss_per_h * grid.minutes[t] / 60
        untouched *= left
        gained = h * (p - context.inputs[a.id]["need_mw"][t]) + model.lacking[i, t] - model.wasted[i, t]
        model.rules.add(model.content[i, t] == before * left + gained)
        model.rules.add(model.content[i, t] <= max(q.capacity_mwh, untouched))
        model.rules.add(p >= q.min_power_mw * model.on[i, t])
        model.rules.add(p <= q.max_power_mw * model.on[i, t])
        was_on = int(begin.on) if t == 0 else model.on[i, t - 1]
        if context.committed.get(a.id, {t: -1})[t] != 0:
            model.rules.add(before >= q.recovered_share * q.capacity_mwh * (was_on - model.on[i, t]))
        money += price[t] * h * p + q.start_cost_eur * model.start[i, t]
        money += PENALTY * (model.lacking[i, t] + model.wasted[i, t])
        before = model.content[i, t]
    if a.id not in context.end_value:
        model.rules.add(before >= min(begin.stored_mwh, max(q.capacity_mwh, untouched)))
        return money
    return money - end_worth(model, f"end{i}", context.end_value[a.id], before, 0.0)


def pauses(model: Any, i: int, a: Asset, context: Context) -> Any:
    """Whenever all of a stretch longer than the longest pause would be off, one of its steps is not.

    A line that has been ordered off may be late at a price.
    """
    grid, q, begin, money = context.grid, a.params, context.states[a.id], 0.0
    ordered_off = (context.committed.get(a.id, np.full(grid.n, -1)) == 0).any()
    if q.longest_pause_h is None:
        return money
    for last in range(grid.n):
        late = model.overdue[i, last] if ordered_off else 0.0
        money += PENALTY * q.max_power_mw * grid.minutes[last] / 60 * late
        length = 0.0
        for first in range(last, -1, -1):
            length += grid.minutes[first] / 60
            before = begin.minutes_in_state / 60 if first == 0 and not begin.on else 0.0
            if length + before > q.longest_pause_h + 1e-9:
                model.rules.add(sum(model.on[i, t] for t in range(first, last + 1)) + late >= 1)
    return money


def oracle(fleet: list[Asset], context: Context, price: np.ndarray) -> float:
    grid, n = context.grid, len(fleet)
    model = pyo.ConcreteModel()
    add_machines(model, n, grid.n)
    for name in ("p", "content", "lacking", "wasted", "overdue"):
        setattr(model, name, pyo.Var(range(n), range(grid.n), domain=pyo.NonNegativeReals))
    money: Any = 0.0
    for i, a in enumerate(fleet):
        fixed = context.committed.get(a.id, np.full(grid.n, -1))
        minimum_times(model, i, context.states[a.id], grid, 60 * a.params.recovery_h, 0.0, fixed)
        money += pauses(model, i, a, context)
        money += basin(model, i, a, context, price)
    model.objective = pyo.Objective(expr=money)
    return solve(model)


@pytest.mark.parametrize("with_end", [False, True])
@pytest.mark.parametrize(("seed", "name"), [*enumerate(GRIDS), *((k + 20, g) for k, g in enumerate(GRIDS))])
def test_equals_the_literal_model(seed: int, name: str, with_end: bool) -> None:
    fleet, context, price = random_case(seed, GRIDS[name], with_end)
    assert run(fleet, context, price).objective == pytest.approx(oracle(fleet, context, price), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("seed", "name"), [(k + 40, g) for k, g in enumerate([*GRIDS, *GRIDS])])
def test_equals_the_literal_model_under_a_commitment_from_above(seed: int, name: str) -> None:
    fleet, context, price = random_case(seed, GRIDS[name], True)
    context = with_commitment(seed, fleet, context)
    assert run(fleet, context, price).objective == pytest.approx(oracle(fleet, context, price), rel=1e-6, abs=1e-6)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)), with_end=st.booleans())
@settings(max_examples=30, deadline=None)
def test_laws_of_every_plan(seed: int, name: str, with_end: bool) -> None:
    fleet, context, price = random_case(seed, GRIDS[name], with_end)
    found, grid = run(fleet, context, price), context.grid
    for i, a in enumerate(fleet):
        q, begin, result, used = a.params, context.states[a.id], found.results[a.id], -found.injection[i]
        on, content = result.commitment, begin.stored_mwh
        assert_minimum_times(on, begin, grid, 60 * q.recovery_h, 0.0)
        assert np.all(used >= on * q.min_power_mw - 1e-6) and np.all(used <= on * q.max_power_mw + 1e-6)
        pause, was_on = 0 if begin.on else begin.minutes_in_state, begin.on
        for t, h in enumerate(grid.hours):
            if was_on and not on[t]:
                assert content >= q.recovered_share * q.capacity_mwh - 1e-5
            pause, was_on = (0 if on[t] else pause + grid.minutes[t]), bool(on[t])
            assert q.longest_pause_h is None or pause <= 60 * q.longest_pause_h + 1e-6
            slack = result.decisions["lacking_mwh"][t] - result.decisions["wasted_mwh"][t]
            content = content * (1 - q.loss_per_h * h) + h * (used[t] - context.inputs[a.id]["need_mw"][t]) + slack
            assert result.stored_mwh[t] == pytest.approx(content, abs=1e-5)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)))
@settings(max_examples=20, deadline=None)
def test_more_freedom_never_costs_more(seed: int, name: str) -> None:
    """A longer pause, a shorter recovery, a bigger basin that starts as full as the small one."""
    fleet, context, price = random_case(seed, GRIDS[name], True)
    cost = run(fleet, context, price).objective
    for wider in ({"longest_pause_h": None}, {"recovery_h": 0.0}, {"recovered_share": 0.0}):
        freer = [replace(a, params=a.params.model_copy(update=wider)) for a in fleet]
        assert run(freer, context, price).objective <= cost + 1e-5


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)))
@settings(max_examples=15, deadline=None)
def test_kilowatts_or_megawatts_do_not_matter(seed: int, name: str) -> None:
    """A hundredth of every power, energy and start cost is a hundredth of the cost."""
    fleet, context, price = random_case(seed, GRIDS[name], False)
    sizes = ("max_power_mw", "min_power_mw", "capacity_mwh", "start_cost_eur")
    small = [
        replace(a, params=a.params.model_copy(update={k: getattr(a.params, k) / 100 for k in sizes})) for a in fleet
    ]
    inputs = {a: {k: v / 100 for k, v in given.items()} for a, given in context.inputs.items()}
    states = {a: replace(s, stored_mwh=s.stored_mwh / 100) for a, s in context.states.items()}
    less = run(small, replace(context, inputs=inputs, states=states), price).objective
    assert 100 * less == pytest.approx(run(fleet, context, price).objective, rel=1e-4, abs=1e-2)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)))
@settings(max_examples=40, deadline=None)
def test_no_state_and_no_commitment_is_infeasible(seed: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    fleet, context, price = random_case(seed, GRIDS[name], bool(rng.integers(2)))
    states = {}
    for key, s in context.states.items():
        content, since = rng.uniform(-1.0, 6.0), int(rng.integers(0, 900))
        states[key] = replace(s, stored_mwh=content, available=rng.random() < 0.7, minutes_in_state=since)
    fixed = {a.id: rng.choice([-1, -1, 0, 1], context.grid.n).astype(np.int8) for a in fleet}
    found = run(fleet, replace(context, states=states, committed=fixed), price)
    for i, a in enumerate(fleet):
        if not states[a.id].available:
            assert not found.injection[i].any()


def test_blowers_pause_while_it_is_dear_and_then_recover() -> None:
    """45 minutes are borne, the third dear hour is not; before and after the pause the line runs above its need."""
    grid = TimeGrid(START, (15,) * 24)
    price = np.full(grid.n, 60.0)
    price[8:16] = 400.0
    begin, need = {"w": state("w", -0.3, 0.3, True, 600)}, {"w": {"need_mw": np.full(grid.n, 0.3)}}
    found = run([asset("w")], Context(grid, START, begin, need), price)
    on, content = found.results["w"].commitment, found.results["w"].stored_mwh
    off = np.flatnonzero(on < 0.5)
    assert 3 <= len(off) <= 6 and set(off) <= set(range(8, 16))
    runs = np.split(off, np.flatnonzero(np.diff(off) > 1) + 1)
    assert max(len(r) for r in runs) <= 3
    assert content[off[0] - 1] > 0.39
    assert found.results["w"].decisions["lacking_mwh"].sum() == pytest.approx(0.0, abs=1e-9)


def test_a_pause_that_lasted_long_enough_ends_at_once() -> None:
    grid = TimeGrid(START, (15,) * 8)
    begin, need = state("w", 0.0, 0.35, False, 45), {"w": {"need_mw": np.full(grid.n, 0.05)}}
    found = run([asset("w")], Context(grid, START, {"w": begin}, need), np.full(grid.n, 300.0))
    assert found.results["w"].commitment[0] == 1.0
    half = replace(begin, minutes_in_state=30)
    later = run([asset("w")], Context(grid, START, {"w": half}, need), np.full(grid.n, 300.0))
    assert later.results["w"].commitment[:2].tolist() == [0.0, 1.0]


def test_an_ordered_pause_beyond_the_longest_is_paid_for() -> None:
    grid = TimeGrid(START, (15,) * 8)
    need, begin = {"w": {"need_mw": np.full(grid.n, 0.2)}}, {"w": state("w", -0.2, 0.35, True, 600)}
    ordered = {"w": np.array([0, 0, 0, 0, -1, -1, -1, -1], dtype=np.int8)}
    free = Context(grid, START, begin, need)
    cost, forced = (run([asset("w")], c, np.zeros(grid.n)).objective for c in (free, replace(free, committed=ordered)))
    assert forced - cost == pytest.approx(PENALTY * 0.6 * 0.25 + 3.0)


def test_default_keeps_the_content_and_pauses_where_it_cannot() -> None:
    grid = GRIDS["quarters"]
    a = asset("w", loss_per_h=0.0)
    power = -water_works.default_mw(a, state("w", 0, 0.3, True, 0), {"need_mw": np.full(grid.n, 0.35)}, grid)
    assert power == pytest.approx(np.full(grid.n, 0.35))
    weak = -water_works.default_mw(a, state("w", 0, 0.3, True, 0), {"need_mw": np.full(grid.n, 0.05)}, grid)
    assert set(weak) == {0.0, 0.2} and float(weak @ grid.hours) == pytest.approx(0.05 * 5.0, abs=0.15)
    out = replace(state("w", 0, 0.3, False, 0), available=False)
    assert not water_works.default_mw(a, out, {"need_mw": np.full(grid.n, 0.35)}, grid).any()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"min_power_mw": 0.7}, "is above max_power_mw"),
        ({"min_power_mw": 0.0}, "greater than 0"),
        ({"recovered_share": 1.5}, "less than or equal to 1"),
        ({"longest_pause_h": 0.0}, "greater than 0"),
        ({"capacity_mwh": -1.0}, "greater than 0"),
        ({"pause_h": 1.0}, "Extra inputs"),
    ],
)
def test_bad_parameters_are_named(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        water_works.Params(**{**BLOWERS, **changes})


def test_a_gap_in_the_need_is_a_gap() -> None:
    grid = GRIDS["hours"]
    need = {"w": {"need_mw": np.where(np.arange(grid.n) == 3, np.nan, 0.3)}}
    with pytest.raises(DataGap, match="no value at step 3"):
        water_works.block([asset("w")], Context(grid, START, {"w": state("w", 0, 0.3, True, 0)}, need))
