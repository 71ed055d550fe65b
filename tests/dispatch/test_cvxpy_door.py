"""The convex door agrees with HiGHS, tracks its target, and refuses everything but an optimum."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from dispatch.block import INF, Rows
from dispatch.problem import Problem, assemble, columns_of, group_rows, injection, with_rows
from dispatch.products.energy import position_energy
from dispatch.solvers.cvxpy_door import RealTime
from dispatch.solvers.highs_door import Living
from tests.dispatch.tiny import battery, generator, grid, load, mill
from vpp.domain.errors import NotSolved

ON = grid(15, minutes=1)
IDS = ("g", "b", "l", "m")


def minute_problem(seed: int = 0, on: int = 1) -> Problem:
    """A generator, a battery, a load and a mill whose commitment is fixed, against a firm position."""
    rng = np.random.default_rng(seed)
    fixed = mill("m", ON, 0.5, runs=15 * on)
    price = rng.uniform(20, 90, 15)
    energy = position_energy(IDS, IDS, ON, rng.uniform(-1, 1, 15), price, 0.3)
    blocks = [generator("g", ON, 2.0, 50.0), battery("b", ON, 1.0, 1.0, 0.5), load("l", rng.uniform(0, 2, 15)), fixed]
    problem = assemble(ON, IDS, [*blocks, energy])
    at = columns_of(problem, "m", "on")
    lower, upper = problem.lower.copy(), problem.upper.copy()
    lower[at], upper[at] = on, on
    return replace(problem, lower=lower, upper=upper)


NOTHING = np.zeros((4, 15))


@pytest.mark.parametrize("seed", range(3))
def test_both_doors_find_the_same_optimum(seed: int) -> None:
    problem = minute_problem(seed)
    _, objective = RealTime(problem, 0).solve(problem, NOTHING, 0.0, deadline_s=30.0)
    assert objective == pytest.approx(Living(problem).solve_lp(30.0).objective, abs=1e-4)


def test_cuts_bind_as_rows_do() -> None:
    problem = minute_problem()
    cut, limit = np.array([[1.0, 1.0, 0.0, 0.0]]), np.full((1, 15), 0.4)
    cap = Rows("cap", -INF, limit[0], injection=group_rows(IDS, ("g", "b"), 15))
    x, objective = RealTime(problem, 3).solve(problem, NOTHING, 0.0, cuts=cut, cut_limits=limit, deadline_s=30.0)
    expected = Living(with_rows(problem, cap)).solve_lp(30.0).objective
    assert objective == pytest.approx(expected, abs=1e-3)
    assert (injection(problem, x)[:2].sum(0) <= 0.4 + 1e-5).all()
    assert expected > Living(problem).solve_lp(30.0).objective + 1e-3


def test_cuts_see_the_load_that_is_an_offset() -> None:
    problem = minute_problem()
    cut, limit = np.array([[1.0, 1.0, 1.0, 1.0]]), np.full((1, 15), -0.9)
    x, _ = RealTime(problem, 1).solve(problem, NOTHING, 0.0, cuts=cut, cut_limits=limit, deadline_s=30.0)
    assert (injection(problem, x).sum(0) <= -0.9 + 1e-4).all()


def test_a_heavy_weight_tracks_the_target() -> None:
    problem = minute_problem()
    target, weight = NOTHING.copy(), np.zeros((4, 15))
    target[0], weight[0] = np.linspace(0.2, 1.8, 15), 1e4
    x, _ = RealTime(problem, 0).solve(problem, target, weight, deadline_s=30.0)
    np.testing.assert_allclose(injection(problem, x)[0], target[0], atol=1e-3)


def test_one_compilation_serves_other_numbers_and_coefficients() -> None:
    first, other = minute_problem(0), minute_problem(7)
    matrix = other.matrix.copy()
    matrix.data[matrix.indices == columns_of(other, "b", "p_mw")[3]] *= 0.5
    other = replace(other, matrix=matrix)
    door = RealTime(first, 0)
    door.solve(first, NOTHING, 0.0, deadline_s=30.0)
    assert door.fits(other)
    _, objective = door.solve(other, NOTHING, 0.0, deadline_s=30.0)
    assert objective == pytest.approx(Living(other).solve_lp(30.0).objective, abs=1e-4)


def test_another_shape_is_refused() -> None:
    problem = minute_problem()
    other = with_rows(problem, Rows("cap", -INF, 0.0, injection=group_rows(IDS, ("g",), 15)))
    door = RealTime(problem, 1)
    assert not door.fits(other)
    with pytest.raises(ValueError, match="shape"):
        door.solve(other, NOTHING, 0.0, deadline_s=30.0)
    with pytest.raises(ValueError, match="cuts"):
        door.solve(problem, NOTHING, 0.0, cuts=np.ones((2, 4)), cut_limits=np.ones((2, 15)), deadline_s=30.0)


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
def test_infeasible_late_and_nonsense_raise() -> None:
    problem = minute_problem()
    door = RealTime(problem, 0)
    generator_at = columns_of(problem, "g", "p_mw")
    upper = problem.upper.copy()
    upper[columns_of(problem, "b", "e_mwh")] = 0.1
    with pytest.raises(NotSolved, match="infeasible"):
        door.solve(replace(problem, upper=upper), NOTHING, 0.0, deadline_s=30.0)
    with pytest.raises(NotSolved):
        door.solve(problem, NOTHING, 0.0, deadline_s=1e-6)
    with pytest.raises(NotSolved, match="late"):
        door.solve(problem, NOTHING, 0.0, deadline_s=0.0)
    with pytest.raises(NotSolved, match="target"):
        door.solve(problem, np.full((4, 15), np.nan), 1.0, deadline_s=30.0)
    pinned = problem.upper.copy()
    pinned[generator_at] = 0.0
    x, _ = door.solve(replace(problem, upper=pinned), NOTHING, 0.0, deadline_s=30.0)
    np.testing.assert_allclose(x[generator_at], 0.0, atol=1e-6)


def test_twenty_assets_solve_within_a_fraction_of_their_minute() -> None:
    ids = tuple(f"a{i}" for i in range(20))
    blocks = [battery(a, ON, 1.0, 4.0, 2.0) if i % 2 else generator(a, ON, 1.0 + i, 50.0) for i, a in enumerate(ids)]
    problem = assemble(ON, ids, [*blocks, position_energy(ids, ids, ON, np.full(15, 9.0), np.full(15, 50.0), 0.2)])
    door = RealTime(problem, 4)
    door.solve(problem, np.ones((20, 15)), 1.0, deadline_s=30.0)
    began = time.process_time()
    for k in range(5):
        door.solve(problem, np.full((20, 15), 0.1 * k), 1.0, deadline_s=30.0)
    assert (time.process_time() - began) / 5 < 0.2
