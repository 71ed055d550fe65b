"""The public unit-commitment format: our problem, counted or not, against the literal model; hand-back and check."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from benchmarks import pglib, uc_check, uc_problem
from dispatch.block import Block
from dispatch.problem import Problem, assemble
from dispatch.solvers.highs_door import Living
from dispatch.solvers.mip_search import certified_bound, search
from tests.dispatch.random_fleet import price_block
from tests.dispatch.uc_cases import literal_optimum, random_case

EXACT = 1e-9


def instance(case: dict[str, Any]) -> pglib.Instance:
    return pglib.Instance.model_validate_json(json.dumps(case))


def relaxation(problem: Problem) -> float:
    return Living(problem).solve_lp(60.0).objective


@pytest.mark.parametrize("seed", range(8))
def test_counted_and_single_units_reach_the_literal_optimum(seed: int) -> None:
    case = random_case(seed)
    expected = literal_optimum(case)
    for counted in (True, False):
        built = uc_problem.build(instance(case), counted=counted)
        found = Living(built.problem).solve_mip(120.0, EXACT)
        assert found.objective == pytest.approx(expected, rel=1e-6)
        cost, faults = uc_check.check(case, uc_problem.solution(built, found.x))
        assert faults == []
        assert cost == pytest.approx(expected, rel=1e-6)


@given(st.integers(0, 10_000))
@settings(max_examples=12, deadline=None)
def test_classes_hand_back_what_breaks_nothing_and_costs_no_more(seed: int) -> None:
    """Also far from the optimum, where the class's matching may be worse than the units'."""
    case = random_case(seed, copies=4)
    built = uc_problem.build(instance(case))
    found = search(built.problem, 60.0, 0.05)
    cost, faults = uc_check.check(case, uc_problem.solution(built, found.x))
    assert faults == []
    assert cost <= found.objective + 1e-5 * found.objective
    assert found.bound <= found.objective + 1e-6 and found.gap <= 0.05 + 1e-9


def test_only_units_whose_ramps_never_bind_are_counted() -> None:
    case = random_case(3, kinds=6)
    units = list(case["thermal_generators"].values())
    built = uc_problem.build(instance(case))
    for rows in built.classes.members:
        members = [units[i] for i in rows]
        slow = any(
            min(u["ramp_up_limit"], u["ramp_down_limit"]) < u["power_output_maximum"] - u["power_output_minimum"] - 1e-9
            for u in members
        )
        assert len(members) == 1 or not slow
    assert sorted(np.concatenate(built.classes.members)) == list(range(len(units)))
    assert len(built.classes.members) < len(units)
    alone = uc_problem.build(instance(case), counted=False)
    assert alone.problem.columns > built.problem.columns


@pytest.mark.parametrize("seed", range(6))
def test_the_relaxation_of_a_unit_whose_ramps_never_bind_is_integral(seed: int) -> None:
    """One such unit against a price: its starts, stops, limits, segments and priced starts form the hull."""
    rng = np.random.default_rng(seed)
    case = random_case(seed, steps=16, kinds=1, copies=1)
    del case["thermal_generators"]["peaker"]
    unit = case["thermal_generators"]["unit0-0"]
    reach = unit["power_output_maximum"] - unit["power_output_minimum"]
    unit |= {"ramp_up_limit": 2 * reach, "ramp_down_limit": 2 * reach, "must_run": 0}
    built = uc_problem.build(instance(case))
    model = built.model
    block = Block("thermal", model.columns, model.rows, built.problem.blocks[0].assets, model.power)
    priced = _priced(block, built, rng.uniform(-20.0, 120.0, 16))
    found = Living(priced).solve_mip(60.0, EXACT)
    assert relaxation(priced) == pytest.approx(found.objective, rel=1e-7, abs=1e-6)


def _priced(block: Block, built: uc_problem.Case, price: np.ndarray) -> Problem:
    """The first block alone, its power sold at a price."""
    grid = built.problem.grid
    return assemble(grid, block.assets, [block, price_block(block.assets, grid, price)])


@pytest.mark.parametrize("seed", range(6))
def test_the_bound_of_the_duals_is_that_of_the_relaxation(seed: int) -> None:
    problem = uc_problem.build(instance(random_case(seed))).problem
    relaxed = Living(problem).solve_lp(60.0)
    assert relaxed.row_duals is not None
    assert certified_bound(problem, relaxed.row_duals) == pytest.approx(relaxed.objective, rel=1e-9)
    worse = relaxed.row_duals * np.random.default_rng(seed).uniform(0.5, 1.5, problem.rows)
    assert certified_bound(problem, worse) <= relaxed.objective + 1e-6


PLANTED: dict[str, tuple[str, Any, str]] = {
    "output": ("power_mw", lambda x: [v + 500.0 for v in x], "outside its limits"),
    "commitment": ("on", lambda x: [1 - v for v in x], "outside its limits"),
    "fraction": ("on", lambda x: [0.5 for _ in x], "on is 0.5"),
}


@pytest.mark.parametrize("fault", sorted(PLANTED))
def test_the_check_finds_a_planted_fault(fault: str) -> None:
    case = random_case(1)
    built = uc_problem.build(instance(case))
    plan = uc_problem.solution(built, search(built.problem, 60.0, 1e-3).x)
    key, change, words = PLANTED[fault]
    name = max(plan["thermal"], key=lambda g: sum(plan["thermal"][g]["on"]))
    broken = copy.deepcopy(plan)
    broken["thermal"][name][key] = change(plan["thermal"][name][key])
    _, faults = uc_check.check(case, broken)
    assert any(name in f and words in f for f in faults)


UNIT: dict[str, Any] = {
    "must_run": 0, "power_output_minimum": 10.0, "power_output_maximum": 50.0, "ramp_up_limit": 15.0,
    "ramp_down_limit": 15.0, "ramp_startup_limit": 20.0, "ramp_shutdown_limit": 20.0, "time_up_minimum": 3,
    "time_down_minimum": 2, "power_output_t0": 20.0, "unit_on_t0": 1, "time_up_t0": 5, "time_down_t0": 0,
    "startup": [{"lag": 2, "cost": 10.0}, {"lag": 3, "cost": 30.0}],
    "piecewise_production": [{"mw": 10.0, "cost": 100.0}, {"mw": 30.0, "cost": 300.0}, {"mw": 50.0, "cost": 700.0}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("on", "power", "words"),
    [
        ([1, 1, 1, 1], [20.0, 36.0, 36.0, 36.0], "ramps from"),
        ([0, 0, 1, 1], [0.0, 0.0, 25.0, 25.0], "starts or stops at 25"),
        ([1, 0, 0, 0], [25.0, 0.0, 0.0, 0.0], "starts or stops at 25"),
        ([0, 1, 1, 1], [0.0, 10.0, 10.0, 10.0], "changes after 1 h of 2 h"),
        ([0, 0, 1, 0], [0.0, 0.0, 10.0, 0.0], "changes after 1 h of 3 h"),
    ],
)
def test_the_check_knows_every_limit_of_a_unit(on: list[int], power: list[float], words: str) -> None:
    assert any(words in fault for fault in uc_check.unit_faults("g", UNIT, on, power))
    assert list(uc_check.unit_faults("g", UNIT, [1, 1, 1, 1], [20.0, 35.0, 30.0, 20.0])) == []
    assert list(uc_check.unit_faults("g", {**UNIT, "must_run": 1}, [0, 0, 0, 0], [0.0] * 4)) != []


def test_the_check_prices_output_and_starts() -> None:
    assert uc_check.priced(UNIT, [0, 0, 1, 1], [0.0, 0.0, 10.0, 40.0]) == pytest.approx(10.0 + 100.0 + 500.0)
    assert uc_check.priced(UNIT, [0, 0, 0, 1], [0.0, 0.0, 0.0, 30.0]) == pytest.approx(30.0 + 300.0)
    assert uc_check.headroom(UNIT, [1, 1, 0, 1], [20.0, 18.0, 0.0, 10.0]) == pytest.approx([15.0, 2.0, 0.0, 10.0])


def test_all_faults_of_an_instance_are_named_at_once() -> None:
    case = random_case(0)
    first, second = list(case["thermal_generators"].values())[:2]
    first["power_output_maximum"] = "many"
    second["startup"] = [{"lag": 5, "cost": 1.0}, {"lag": 3, "cost": 2.0}]
    with pytest.raises(ValidationError) as refused:
        instance(case)
    assert "power_output_maximum" in str(refused.value) and "do not rise" in str(refused.value)
