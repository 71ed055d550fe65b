"""The utilities block against a literal model, and what must hold whatever the data."""

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

from dispatch.assets import utilities
from dispatch.block import Context
from tests.dispatch.block_solver import solve_block
from tests.dispatch.commitment_oracle import GRIDS, START, end_worth, random_end, solve, state
from vpp.domain.errors import DataGap
from vpp.domain.portfolio import Asset
from vpp.domain.time import TimeGrid

PENALTY = 1000.0
CHILLERS = {"name": "chillers", "min_power_mw": 0.2, "max_power_mw": 1.2, "store_mwh": 0.6, "share": 0.6}
AIR = {"name": "compressed_air", "min_power_mw": 0.1, "max_power_mw": 0.5, "store_mwh": 0.05, "share": 0.25}
WATER = {"name": "pure_water", "max_power_mw": 0.4, "store_mwh": 0.4, "share": 0.15}
BASE: dict[str, Any] = {
    "utilities": (CHILLERS, AIR, WATER), "process_peak_mw": 3.5, "band_share": 0.08, "loss_per_h": 0.02,
}  # fmt: skip


def asset(asset_id: str, **changes: Any) -> Asset:
    q = utilities.Params(**{**BASE, **changes})
    return Asset(asset_id, "utilities", "site", f"mp:{asset_id}", "node", None, q)


def random_case(seed: int, grid: TimeGrid, with_end: bool) -> tuple[list[Asset], Context, np.ndarray]:
    """Two plants with three utilities, one with a single one; sometimes the need is more than machines can serve."""
    rng = np.random.default_rng(seed)
    fleet, states, inputs, ends = [], {}, {}, {}
    alone = ({**CHILLERS, "share": 1.0},)
    for i in range(3):
        changes = {"utilities": alone} if i == 1 else {}
        a = asset(f"fab{i}", band_share=rng.uniform(0.02, 0.2), loss_per_h=rng.choice([0.0, 0.05]), **changes)
        fleet.append(a)
        states[a.id] = state(a.id, -3.0, a.params.store_mwh * rng.uniform(0.0, 1.1), True, 0)
        high = rng.choice([1.0, 1.5, 2.2])
        inputs[a.id] = {"process_mw": rng.uniform(2.0, 3.5, grid.n), "utilities_mw": rng.uniform(0.5, high, grid.n)}
        if with_end and i != 1:
            ends[a.id] = random_end(rng, 0.5, 80.0)
    return fleet, Context(grid, START, states, inputs, end_value=ends), rng.uniform(-40.0, 160.0, grid.n)


def run(fleet: list[Asset], context: Context, price: np.ndarray) -> SimpleNamespace:
    block = utilities.block(fleet, context)
    found = solve_block(block, [a.id for a in fleet], context.grid, price)
    return SimpleNamespace(**found._asdict(), results=block.read(found.x, found.duals))


def band(q: utilities.Params, process: float, need: float) -> tuple[float, float]:
    least = process + sum(u.min_power_mw for u in q.utilities)
    most = process + sum(u.max_power_mw for u in q.utilities)
    low, high = ((1 + sign * q.band_share) * (process + need) for sign in (-1, 1))
    return min(max(low, least), most), min(max(high, least), most)


def oracle(fleet: list[Asset], context: Context, price: np.ndarray) -> float:
    """Fill by fill: every store holds the same share of what it could."""
    grid = context.grid
    model = pyo.ConcreteModel()
    model.rules = pyo.ConstraintList()
    model.plants = pyo.Block(range(len(fleet)))
    money: Any = 0.0
    for i, a in enumerate(fleet):
        b, q, steps = model.plants[i], a.params, range(grid.n)
        units, whole = range(len(q.utilities)), sum(u.store_mwh for u in q.utilities)
        b.fill = pyo.Var(steps, domain=pyo.NonNegativeReals)
        for name in ("p", "lacking", "wasted"):
            setattr(b, name, pyo.Var(units, steps, domain=pyo.NonNegativeReals))
        before = untouched = context.states[a.id].stored_mwh / whole
        for t in steps:
            h, left = grid.minutes[t] / 60, 1 - q.loss_per_h * grid.minutes[t] / 60
            process, need = (context.inputs[a.id][k][t] for k in ("process_mw", "utilities_mw"))
            untouched *= left
            model.rules.add(b.fill[t] <= max(1.0, untouched))
            for k, u in enumerate(q.utilities):
                served = h * (b.p[k, t] - u.share * need) + b.lacking[k, t] - b.wasted[k, t]
                model.rules.add(u.store_mwh * b.fill[t] == u.store_mwh * before * left + served)
                model.rules.add(b.p[k, t] >= u.min_power_mw)
                model.rules.add(b.p[k, t] <= u.max_power_mw)
                money += PENALTY * (b.lacking[k, t] + b.wasted[k, t])
            load = process + sum(b.p[k, t] for k in units)
            low, high = band(q, process, need)
            model.rules.add(load >= low)
            model.rules.add(load <= high)
            money += price[t] * h * load
            before = b.fill[t]
        if a.id in context.end_value:
            money -= end_worth(model, f"end{i}", context.end_value[a.id], whole * before, 0.0)
        else:
            model.rules.add(before >= min(context.states[a.id].stored_mwh / whole, max(1.0, untouched)))
    model.objective = pyo.Objective(expr=money)
    return solve(model)


@pytest.mark.parametrize("with_end", [False, True])
@pytest.mark.parametrize(("seed", "name"), [*enumerate(GRIDS), *((k + 20, g) for k, g in enumerate(GRIDS))])
def test_equals_the_literal_model(seed: int, name: str, with_end: bool) -> None:
    fleet, context, price = random_case(seed, GRIDS[name], with_end)
    assert run(fleet, context, price).objective == pytest.approx(oracle(fleet, context, price), rel=1e-6, abs=1e-6)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)), with_end=st.booleans())
@settings(max_examples=40, deadline=None)
def test_laws_of_every_plan(seed: int, name: str, with_end: bool) -> None:
    """The load is process and machines, inside the band; every store's energy is conserved at the common fill."""
    fleet, context, price = random_case(seed, GRIDS[name], with_end)
    found, grid = run(fleet, context, price), context.grid
    for i, a in enumerate(fleet):
        q, told, stored = a.params, found.results[a.id].decisions, found.results[a.id].stored_mwh
        process, need = (context.inputs[a.id][k] for k in ("process_mw", "utilities_mw"))
        assert -found.injection[i] == pytest.approx(process + sum(told[f"{u.name}_mw"] for u in q.utilities), abs=1e-6)
        before = np.append(context.states[a.id].stored_mwh, stored[:-1])
        for u in q.utilities:
            part, slack = u.store_mwh / q.store_mwh, told[f"{u.name}_lacking_mwh"] - told[f"{u.name}_wasted_mwh"]
            gained = (told[f"{u.name}_mw"] - u.share * need) * grid.hours + slack
            assert part * (stored - before * (1 - q.loss_per_h * grid.hours)) == pytest.approx(gained, abs=1e-5)
        for t in range(grid.n):
            low, high = band(q, process[t], need[t])
            assert low - 1e-6 <= -found.injection[i, t] <= high + 1e-6


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)))
@settings(max_examples=25, deadline=None)
def test_more_freedom_never_costs_more(seed: int, name: str) -> None:
    fleet, context, price = random_case(seed, GRIDS[name], True)
    cost = run(fleet, context, price).objective
    freer = [replace(a, params=a.params.model_copy(update={"band_share": 0.3})) for a in fleet]
    assert run(freer, context, price).objective <= cost + 1e-5


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)))
@settings(max_examples=20, deadline=None)
def test_kilowatts_or_megawatts_do_not_matter(seed: int, name: str) -> None:
    """A hundredth of every power and energy is a hundredth of the cost."""
    fleet, context, price = random_case(seed, GRIDS[name], False)
    sizes, small = ("min_power_mw", "max_power_mw", "store_mwh"), []
    for a in fleet:
        units = tuple(u.model_copy(update={k: getattr(u, k) / 100 for k in sizes}) for u in a.params.utilities)
        small.append(replace(a, params=a.params.model_copy(update={"utilities": units})))
    inputs = {a: {k: v / 100 for k, v in given.items()} for a, given in context.inputs.items()}
    states = {a: replace(s, stored_mwh=s.stored_mwh / 100) for a, s in context.states.items()}
    less = run(small, replace(context, inputs=inputs, states=states), price).objective
    assert 100 * less == pytest.approx(run(fleet, context, price).objective, rel=1e-5, abs=1e-3)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(GRIDS)))
@settings(max_examples=30, deadline=None)
def test_no_state_and_no_need_is_infeasible(seed: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    fleet, context, price = random_case(seed, GRIDS[name], bool(rng.integers(2)))
    states = {
        key: replace(s, stored_mwh=rng.uniform(-1.0, 4.0), available=rng.random() < 0.5)
        for key, s in context.states.items()
    }
    inputs = {k: {**v, "utilities_mw": rng.uniform(-0.5, 6.0) * v["utilities_mw"]} for k, v in context.inputs.items()}
    found = run(fleet, replace(context, states=states, inputs=inputs), price)
    for i, a in enumerate(fleet):
        if not states[a.id].available:
            held = utilities.default_mw(a, states[a.id], inputs[a.id], context.grid)
            assert found.injection[i] == pytest.approx(held, abs=1e-7)


def test_utilities_fill_before_a_dear_hour_within_the_band() -> None:
    grid = TimeGrid(START, (15,) * 16)
    price = np.full(grid.n, 50.0)
    price[8:12] = 300.0
    inputs = {"fab": {"process_mw": np.full(grid.n, 3.0), "utilities_mw": np.full(grid.n, 1.2)}}
    found = run([asset("fab")], Context(grid, START, {"fab": state("fab", -4.2, 0.1, True, 0)}, inputs), price)
    used, stored = -found.injection[0], found.results["fab"].stored_mwh
    assert used[8:12] == pytest.approx(np.full(4, 0.92 * 4.2))
    assert stored[7] > 0.33 and stored[11] < stored[7] - 0.3
    assert found.results["fab"].marginal_value[7] > found.results["fab"].marginal_value[14]


def test_default_keeps_the_fill() -> None:
    grid = GRIDS["quarters"]
    inputs = {"process_mw": np.full(grid.n, 3.0), "utilities_mw": np.full(grid.n, 1.2)}
    begin = state("fab", 0, 0.5, True, 0)
    for loss in (0.0, 0.02):
        power = utilities.default_mw(asset("fab", loss_per_h=loss), begin, inputs, grid)
        assert -power == pytest.approx(np.full(grid.n, 4.2 + loss * 0.5))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"utilities": (CHILLERS, AIR)}, "add up to 0.85"),
        ({"utilities": ({**CHILLERS, "share": 0.5}, {**CHILLERS, "share": 0.5})}, "the same name"),
        ({"utilities": ({**CHILLERS, "share": 1.0, "min_power_mw": 2.0},)}, "chillers: min_power_mw 2.0 is above"),
        ({"utilities": ()}, "at least 1"),
        ({"band_share": 0.9}, "less than or equal to 0.5"),
        ({"process_peak_mw": 0.0}, "greater than 0"),
    ],
)
def test_bad_parameters_are_named(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        utilities.Params(**{**BASE, **changes})


def test_a_gap_is_a_gap() -> None:
    grid = GRIDS["hours"]
    inputs = {"fab": {"process_mw": np.full(grid.n, np.nan), "utilities_mw": np.full(grid.n, 1.2)}}
    with pytest.raises(DataGap, match="fab/process_mw: no value at step 0"):
        utilities.block([asset("fab")], Context(grid, START, {"fab": state("fab", 0, 0.5, True, 0)}, inputs))
