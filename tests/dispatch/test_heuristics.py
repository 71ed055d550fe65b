"""Plans of our own: feasible, near the optimum, and bounds that no plan undercuts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dispatch.block import INF, Rows
from dispatch.heuristics import (
    balanced_responses,
    best_responses,
    guided_rounding,
    known_integers,
    repriced_responses,
)  # fmt: skip
from dispatch.parts import integer_parts
from dispatch.problem import Problem, assemble, group_rows, with_rows
from dispatch.products.energy import bid_energy
from dispatch.solvers import highs_door
from dispatch.solvers.highs_door import Living
from dispatch.solvers.raw import Raw
from tests.dispatch.random_fleet import plan, random_fleet
from tests.dispatch.tiny import battery, grid, mill
from vpp.domain.errors import NotSolved

ON = grid(8)
PRICE = np.array([10.0, 30, 12, 28, 14, 26, 16, 24])
FOREVER = 60.0
MILLS = ("m1", "m2", "m3")


def mills(*runs: int, limit_mw: float = INF) -> Problem:
    """Mills of 1 MW that run so many steps each at a market price, at most `limit_mw` together; a small battery."""
    names = MILLS[: len(runs)]
    ids = (*names, "b")
    blocks = [mill(name, ON, 1.0, n, cost=0.1 * np.arange(8)) for name, n in zip(names, runs, strict=True)]
    blocks += [battery("b", ON, 0.2, 0.4, 0.2), bid_energy(ids, ids, ON, PRICE)]
    problem = assemble(ON, ids, blocks)
    return with_rows(problem, Rows("limit", -limit_mw, INF, injection=group_rows(ids, ids, 8)))


def relaxed(problem: Problem) -> Raw:
    return Living(problem).solve_lp(FOREVER)


def fractional(problem: Problem) -> Raw:
    """Prices of the relaxation with a point that leaves every integer open."""
    raw = relaxed(problem)
    return replace(raw, x=np.where(problem.integer, 0.5, raw.x))


def test_mills_are_parts_of_their_own_and_what_is_fixed_is_none() -> None:
    problem = mills(3, 4)
    parts = integer_parts(problem)
    assert [p.columns.tolist() for p in parts] == [list(range(8)), list(range(8, 16))]
    assert [p.rows.tolist() for p in parts] == [[0], [1]]
    fixed = replace(problem, upper=np.where(np.arange(problem.columns) < 8, problem.lower, problem.upper))
    assert [p.columns[0] for p in integer_parts(fixed)] == [8]
    assert integer_parts(assemble(ON, ("b",), [battery("b", ON, 1.0, 1.0, 0.5)])) == []


@pytest.mark.parametrize("seed", range(4))
def test_parts_of_a_random_fleet_share_no_column_and_keep_every_row_of_theirs(seed: int) -> None:
    problem = plan(random_fleet(seed, "quarters"), seed, gap=0.1).problem
    parts = integer_parts(problem)
    columns = np.concatenate([p.columns for p in parts]) if parts else np.empty(0, dtype=int)
    assert len(set(columns.tolist())) == columns.size
    assert set(np.flatnonzero(problem.integer & (problem.lower < problem.upper))) <= set(columns.tolist())
    for part in parts:
        assert part.matrix.nnz == problem.matrix[part.rows].nnz


def test_where_only_a_price_is_shared_the_answers_are_the_optimum_and_so_is_the_bound() -> None:
    problem = mills(3, 5, 2)
    best = Living(problem).solve_mip(FOREVER, 0.0).objective
    raw = relaxed(problem)
    answers = best_responses(problem, integer_parts(problem), fractional(problem), FOREVER, 0.0)
    assert Living(problem).solve_fixed(answers.x).objective == pytest.approx(best)
    honest = best_responses(problem, integer_parts(problem), raw, FOREVER, 0.0)
    assert raw.objective + honest.gain == pytest.approx(best)


@pytest.mark.parametrize("limit_mw", [2.2, 2.5, INF])
def test_the_bound_of_the_answers_lies_between_relaxation_and_optimum(limit_mw: float) -> None:
    problem = mills(3, 4, 5, limit_mw=limit_mw)
    best = Living(problem).solve_mip(FOREVER, 0.0).objective
    raw = relaxed(problem)
    answers = best_responses(problem, integer_parts(problem), raw, FOREVER, 0.0)
    assert answers.gain >= 0.0
    assert raw.objective + answers.gain <= best + 1e-6


def test_answers_that_pass_a_shared_limit_are_balanced() -> None:
    problem = mills(3, 4, 5, limit_mw=2.2)
    parts, raw = integer_parts(problem), relaxed(problem)
    greedy = np.zeros(problem.columns)
    for k, runs in enumerate((3, 4, 5)):
        greedy[8 * k + np.argsort(PRICE)[:runs]] = 1.0
    with pytest.raises(NotSolved):
        Living(problem).solve_fixed(greedy)
    balanced = balanced_responses(problem, parts, raw, greedy, FOREVER, 0.0)
    assert Living(problem).solve_fixed(balanced).objective >= raw.objective - 1e-6
    np.testing.assert_allclose([balanced[8 * k : 8 * k + 8].sum() for k in range(3)], [3, 4, 5])


def test_rounding_stays_nearest_to_the_relaxed_commitment() -> None:
    problem = mills(2, 3)
    point = relaxed(problem).x.copy()
    point[:8] = [0.9, 0.2, 0.7, 0, 0, 0.1, 0.1, 0]
    point[8:16] = [0, 0.6, 0.1, 0.6, 0.1, 0.8, 0.4, 0.4]
    rounded = guided_rounding(problem, integer_parts(problem), point, FOREVER)
    assert np.flatnonzero(rounded[:8]).tolist() == [0, 2]
    assert np.flatnonzero(rounded[8:16] > 0.5).tolist() == [1, 3, 5]


def test_repriced_answers_are_a_commitment_of_the_problem() -> None:
    problem = mills(3, 4, 5, limit_mw=2.2)
    living, raw = Living(problem), relaxed(problem)
    best = living.solve_fixed(living.solve_mip(FOREVER, 0.0).x)
    x = repriced_responses(problem, integer_parts(problem), raw, best, FOREVER, 0.0)
    np.testing.assert_allclose([x[8 * k : 8 * k + 8].sum() for k in range(3)], [3, 4, 5])
    with pytest.raises(ValueError, match="prices"):
        repriced_responses(problem, integer_parts(problem), raw, replace(best, row_duals=None), FOREVER, 0.0)


def test_a_part_that_finds_nothing_in_time_keeps_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = mills(3, 4)
    known = Living(problem).solve_mip(FOREVER, 0.0).x
    monkeypatch.setattr(highs_door, "_run", lambda *_: (_ for _ in ()).throw(NotSolved("late")))
    point = Raw(np.where(problem.integer, 0.5, known), np.zeros(problem.rows), 0.0, 0.0, "optimal")
    parts = integer_parts(problem)
    answers = best_responses(problem, parts, point, FOREVER, 0.0, known)
    assert answers.gain == 0.0
    np.testing.assert_allclose(answers.x[:16], known[:16])
    np.testing.assert_allclose(guided_rounding(problem, parts, point.x, FOREVER, known)[:16], known[:16])
    with pytest.raises(NotSolved):
        guided_rounding(problem, parts, point.x, FOREVER)


def test_known_commitments_are_taken_inside_todays_bounds() -> None:
    problem = mills(3, 4)
    problem = replace(problem, upper=np.where(np.arange(problem.columns) == 0, 0.0, problem.upper))
    x = known_integers(problem, {"m1": np.ones(8), "m2": np.zeros(8)})
    assert x is not None
    np.testing.assert_allclose(x[:16], np.r_[0.0, np.ones(7), np.zeros(8)])
    assert known_integers(problem, {"m1": np.ones(8)}) is None
