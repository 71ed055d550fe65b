"""The bound over the parts' hulls: never above the optimum, from any prices, and far above the relaxation's."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.vpp_fleet import made, quarters
from benchmarks.vpp_fleet import problem as fleet_problem
from dispatch import hull
from dispatch.block import INF, Rows
from dispatch.hull import hull_bound
from dispatch.parts import integer_parts
from dispatch.problem import Problem, assemble, group_rows, with_rows
from dispatch.products.energy import bid_energy
from dispatch.solvers.highs_door import Living
from dispatch.solvers.raw import Raw
from tests.dispatch.tiny import battery, grid, mill
from vpp.domain.errors import NotSolved

ON = grid(8)
PRICE = np.array([10.0, 30, 12, 28, 14, 26, 16, 24])
FOREVER = 60.0


def crowded(runs: tuple[int, ...], limit_mw: float) -> tuple[Problem, Raw]:
    """Mills of 1 MW that run so many steps each and a battery behind a limit, and the optimum."""
    names = tuple(f"m{k}" for k in range(len(runs)))
    ids = (*names, "b")
    blocks = [mill(name, ON, 1.0, n, cost=0.1 * np.arange(8)) for name, n in zip(names, runs, strict=True)]
    blocks += [battery("b", ON, 0.5, 0.4, 0.2), bid_energy(ids, ids, ON, PRICE)]
    problem = with_rows(assemble(ON, ids, blocks), Rows("limit", -limit_mw, INF, injection=group_rows(ids, ids, 8)))
    return problem, Living(problem).solve_mip(FOREVER, 0.0)


@lru_cache
def fleet() -> tuple[Problem, Raw, Raw]:
    """A small fleet behind a connection that binds, its relaxation and its optimum."""
    of = made(6, 3, 1, [], seed=3)
    problem, ids = fleet_problem(of, quarters(32)), [a.id for a in of.assets]
    problem = with_rows(problem, Rows("connection", -0.8, 0.8, injection=group_rows(ids, ids, 32)))
    living = Living(problem)
    return problem, living.solve_lp(FOREVER), living.solve_mip(FOREVER, 1e-7)


@settings(max_examples=15, deadline=None)
@given(
    runs=st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple), room=st.floats(0.0, 1.5),
    prices=st.lists(st.floats(-40.0, 40.0), min_size=8, max_size=8), needed=st.sampled_from([-INF, INF]),
    abs_gap=st.sampled_from([0.0, 0.5]),
)  # fmt: skip
def test_no_prices_bound_above_the_optimum(
    runs: tuple[int, ...], room: float, prices: list[float], needed: float, abs_gap: float
) -> None:
    problem, best = crowded(runs, -(-sum(runs) // 8) + room)
    start = np.zeros(problem.rows)
    start[-8:] = prices
    found = hull_bound(problem, integer_parts(problem), start, best.x, needed, abs_gap, FOREVER)
    assert -INF < found.bound <= best.objective + 1e-6 * max(1.0, abs(best.objective))


def test_the_bound_closes_what_the_relaxation_leaves() -> None:
    problem, raw, best = fleet()
    parts = integer_parts(problem)
    assert raw.row_duals is not None
    found = hull_bound(problem, parts, raw.row_duals, best.x, INF, 1e-6, FOREVER)
    left, was = best.objective - found.bound, best.objective - raw.objective
    assert -1e-6 <= left <= 0.5 * was
    again = hull_bound(problem, parts, found.prices, best.x, found.bound - 0.01, 1e-6, FOREVER)
    assert again.bound >= found.bound - 0.01


def test_the_search_ends_where_the_bound_is_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, raw, best = fleet()
    assert raw.row_duals is not None
    rounds: list[float] = []
    priced = hull._Master.answer
    monkeypatch.setattr(hull._Master, "answer", lambda self, *a: rounds.append(1.0) or priced(self, *a))
    found = hull_bound(problem, integer_parts(problem), raw.row_duals, best.x, -INF, 0.0, FOREVER)
    assert len(rounds) == 1 and found.bound <= best.objective + 1e-6


def test_what_is_late_bounds_nothing_and_keeps_the_known_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, raw, best = fleet()
    assert raw.row_duals is not None

    def late(*_: object) -> None:
        raise NotSolved("late")

    monkeypatch.setattr(hull._Master, "answer", late)
    found = hull_bound(problem, integer_parts(problem), raw.row_duals, best.x, INF, 0.0, FOREVER)
    assert found.bound == -INF
    np.testing.assert_array_equal(found.x, best.x)


def test_a_basis_changes_the_way_not_the_bound() -> None:
    problem, raw, best = fleet()
    assert raw.row_duals is not None
    living, parts = Living(problem), integer_parts(problem)
    living.solve_fixed(best.x)
    bounds = [
        hull_bound(problem, parts, raw.row_duals, best.x, INF, 1e-6, FOREVER, basis).bound
        for basis in (None, living.basis())
    ]
    assert bounds[0] == pytest.approx(bounds[1], abs=2e-2)
