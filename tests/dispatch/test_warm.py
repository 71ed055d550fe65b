"""What one roll leaves for the next is a place to begin: the plan is as good with it as without."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from benchmarks.rolling import first_moment, next_moment, problem_at
from benchmarks.vpp_fleet import made
from dispatch.problem import Infeasible, Problem, assemble, check_solution
from dispatch.products.energy import bid_energy
from dispatch.secure import Secured, secure_plan
from dispatch.solvers.highs_door import BASIC, FREE, LOWER, UPPER, Basis, Living
from dispatch.warm import Warm, basis_on, cuts_on, plan_basis_on, plan_on
from tests.dispatch.tiny import ThreeBusNet, battery, exposure, grid, mill
from vpp.domain.network import Cut
from vpp.domain.time import QUARTER, TimeGrid

ON = grid(8)
LATER = TimeGrid.uniform(ON.start + QUARTER, QUARTER, 8)
PRICE = np.array([10.0, 30, 12, 28, 14, 26, 16, 24])
NET = ThreeBusNet(rating_mw=(2.0, 1.0))
GAP = 1e-3


def two_mills(on: TimeGrid, price: np.ndarray = PRICE) -> Problem:
    ids = ("m1", "m2", "b")
    blocks = [mill("m1", on, 0.9, 3), mill("m2", on, 0.9, 3), battery("b", on, 0.3, 0.4, 0.2)]
    return assemble(on, ids, [*blocks, bid_energy(ids, ids, on, price)])


def secured(problem: Problem, warm: Warm | None = None, network: bool = True) -> Secured:
    where = exposure([2, 2, 2], np.zeros((problem.grid.n, 3))) if network else None
    return secure_plan(problem, NET if network else None, where, deadline_s=30, rel_gap=GAP, warm=warm)


@pytest.mark.parametrize("network", [True, False])
def test_a_warm_roll_is_as_good_as_a_cold_one(network: bool) -> None:
    first = secured(two_mills(ON), network=network)
    later = two_mills(LATER, np.roll(PRICE, -1) * 1.02)
    cold, roll = secured(later, network=network), secured(later, first.warm, network=network)
    assert roll.solution.status == cold.solution.status == "optimal"
    assert abs(roll.solution.objective - cold.solution.objective) <= GAP * max(1.0, abs(cold.solution.objective)) + 1e-6
    check_solution(roll.problem, roll.x, integral=True)
    if network:
        loading = np.abs(roll.solution.schedule.power_mw.sum(0))
        assert loading.max() <= 1.0 + 1e-5


def test_the_cuts_of_steps_that_remain_are_known_at_once() -> None:
    first = secured(two_mills(ON))
    assert first.warm.cuts
    kept = cuts_on(first.warm, LATER, ("expected",))
    assert {LATER.starts[c.step] for c in kept} == {ON.starts[c.step] for c in first.warm.cuts} - {ON.start}
    assert cuts_on(first.warm, LATER, ("another",)) == []
    again = secured(two_mills(ON), first.warm)
    assert again.solution.violations_first == 0
    assert again.solution.objective == pytest.approx(first.solution.objective)


def test_cuts_stay_on_steps_of_the_same_length() -> None:
    hours = TimeGrid.uniform(ON.start, timedelta(hours=1), 2)
    cut = Cut("line 1", 0, 0, np.zeros(3), np.zeros(3), 1.0)
    warm = Warm(two_mills(ON), np.zeros(0), None, (cut,), ("expected",))
    assert cuts_on(warm, hours, ("expected",)) == []


def test_the_plan_moves_by_the_time_that_passed() -> None:
    old = two_mills(ON)
    x = np.zeros(old.columns)
    x[:8], x[8:16] = [1, 0, 1, 0, 0, 0, 0, 1], [0, 1, 0, 1, 0, 1, 0, 0]
    moved = plan_on(Warm(old, x, None, (), ()), two_mills(LATER))
    assert moved is not None
    np.testing.assert_allclose(moved[:16], [0, 1, 0, 0, 0, 0, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0])
    ids = ("m1", "m3")
    other = assemble(ON, ids, [mill("m1", ON, 0.9, 3), mill("m3", ON, 0.9, 3)])
    assert plan_on(Warm(old, x, None, (), ()), other) is None


def test_the_basis_moves_too_and_an_unbounded_rest_is_free() -> None:
    old, new = two_mills(ON), two_mills(LATER)
    column = np.full(old.columns, BASIC, dtype=np.int8)
    column[:8] = [UPPER, LOWER, UPPER, LOWER, LOWER, LOWER, LOWER, UPPER]
    net = old.columns - 8
    column[net:] = LOWER
    moved = basis_on(Warm(old, np.zeros(old.columns), Basis(column, np.full(old.rows, BASIC, np.int8)), (), ()), new)
    assert moved is not None
    assert moved.columns[:8].tolist() == [LOWER, UPPER, LOWER, LOWER, LOWER, LOWER, UPPER, UPPER]
    assert set(moved.columns[net:].tolist()) == {FREE}
    assert basis_on(Warm(old, np.zeros(old.columns), None, (), ()), new) is None
    of_plan = Basis(column, np.full(old.rows - 1, BASIC, np.int8))
    moved = plan_basis_on(Warm(old, np.zeros(old.columns), None, (), (), of_plan), new)
    assert moved is not None and moved.rows.tolist() == [BASIC] * new.rows


def test_an_lp_may_begin_anywhere_and_ends_at_the_same_optimum() -> None:
    problem = two_mills(ON)
    living, other = Living(problem), Living(problem)
    best = living.solve_lp(30.0).objective
    rng = np.random.default_rng(1)
    other.begin_at(
        Basis(rng.integers(0, 3, problem.columns).astype(np.int8), rng.integers(0, 3, problem.rows).astype(np.int8))
    )
    assert other.solve_lp(30.0).objective == pytest.approx(best)
    found = living.basis()
    assert found is not None and (found.columns == BASIC).sum() + (found.rows == BASIC).sum() == problem.rows


def test_a_roll_of_the_benchmarks_fleet_is_as_good_warm_as_cold() -> None:
    fleet = made(12, 3, 1, [], seed=3)
    problem = problem_at(fleet, first_moment(fleet), 5.0)
    first = secure_plan(problem, None, None, deadline_s=60, rel_gap=0.02)
    moment = next_moment(fleet, first_moment(fleet), first.solution.schedule, 4)
    later = problem_at(fleet, moment, 5.0)
    cold = secure_plan(later, None, None, deadline_s=60, rel_gap=0.02)
    roll = secure_plan(later, None, None, deadline_s=60, rel_gap=0.02, warm=first.warm)
    for found in (cold, roll):
        assert found.solution.status == "optimal"
        check_solution(later, found.x[: later.columns], integral=True)
        assert found.solution.bound <= min(cold.solution.objective, roll.solution.objective) + 1e-6


def test_a_commitment_that_no_longer_fits_is_left_behind() -> None:
    first = secured(two_mills(ON), network=False)
    on = first.x[:16].reshape(2, 8) > 0.5
    stopped = two_mills(ON)
    upper = stopped.upper.copy()
    upper[:8] = np.where(on[0], 0.0, 1.0)
    stopped = replace(stopped, upper=upper)
    with pytest.raises(Infeasible):
        known = plan_on(first.warm, stopped)
        assert known is not None
        Living(stopped).solve_fixed(known)
    again = secured(stopped, first.warm, network=False)
    assert again.solution.status == "optimal"
    assert not (again.x[:8] > 0.5)[on[0]].any()
