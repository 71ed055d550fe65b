"""The HiGHS door returns checked optima, or NotSolved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dispatch.block import INF, Rows
from dispatch.problem import Infeasible, Problem, assemble, check_solution, group_rows, with_rows
from dispatch.products.energy import bid_energy
from dispatch.solvers.highs_door import Living
from tests.dispatch.tiny import battery, generator, grid, load, mill
from vpp.domain.errors import NotSolved

ON = grid(8)
PRICE = np.array([10.0, 10, 20, 20, 80, 80, 40, 40])
FOREVER = 60.0
IDS = ("m", "b", "l")


def plant() -> Problem:
    blocks = [mill("m", ON, 2.0, runs=3), battery("b", ON, 1.0, 1.0, 0.5), load("l", np.ones(8))]
    return assemble(ON, IDS, [*blocks, bid_energy(IDS, IDS, ON, PRICE)])


def test_the_mip_finds_the_optimum_known_by_hand() -> None:
    raw = Living(plant()).solve_mip(FOREVER, 0.0)
    milling, base = 2.0 * (10 + 10 + 20) / 4, PRICE.sum() / 4
    assert raw.objective == pytest.approx(milling + base + _best_trading(), abs=1e-6)
    assert set(np.flatnonzero(np.round(raw.x[:8]))) in ({0, 1, 2}, {0, 1, 3})
    assert raw.bound <= raw.objective + 1e-9
    assert raw.status == "optimal"


def _best_trading() -> float:
    """The store (0.5 of 1 MWh, 0.25 MWh a step) by dynamic programming over its five levels."""
    best = {2: 0.0}
    for price in PRICE:
        moves = ((level, level + d, v + price * 0.25 * d) for level, v in best.items() for d in (-1, 0, 1))
        reached: dict[int, float] = {}
        for _, to, value in moves:
            if 0 <= to <= 4:
                reached[to] = min(value, reached.get(to, INF))
        best = reached
    return min(v for level, v in best.items() if level >= 2)


def test_the_relaxation_bounds_the_mip_and_fixing_reproduces_it_with_duals() -> None:
    living = Living(plant())
    relaxed, mip = living.solve_lp(FOREVER), living.solve_mip(FOREVER, 0.0)
    fixed = living.solve_fixed(mip.x)
    assert relaxed.objective <= mip.objective + 1e-6
    assert fixed.objective == pytest.approx(mip.objective)
    assert fixed.row_duals is not None
    again = living.solve_lp(FOREVER)
    assert again.objective == pytest.approx(relaxed.objective), "fixing must not outlive its call"


def test_duals_are_the_change_of_the_objective_with_the_row() -> None:
    problem = assemble(ON, ("g", "l"), [generator("g", ON, 5.0, 30.0), load("l", np.ones(8))])
    balance = Rows("balance", 0.0, 0.0, injection=group_rows(("g", "l"), ("g", "l"), 8))
    living = Living(problem)
    living.add_rows(balance)
    raw = living.solve_lp(FOREVER)
    assert raw.row_duals is not None
    np.testing.assert_allclose(raw.row_duals, 30.0 / 4)


def test_rows_added_to_the_living_lp_equal_a_fresh_one() -> None:
    cap = Rows("cap", -2.5, INF, injection=group_rows(IDS, IDS, 8))
    living = Living(plant())
    before = living.solve_lp(FOREVER).objective
    living.add_rows(cap)
    after = living.solve_lp(FOREVER)
    assert after.objective == pytest.approx(Living(living.problem).solve_lp(FOREVER).objective)
    assert after.objective > before
    assert living.solve_mip(FOREVER, 0.0, start=after.x).objective >= after.objective - 1e-6


def test_the_mip_near_the_relaxation_is_feasible_for_the_whole_and_claims_no_bound() -> None:
    problem = with_rows(plant(), Rows("cap", -2.4, INF, injection=group_rows(IDS, IDS, 8)))
    living = Living(problem)
    relaxed, whole = living.solve_lp(FOREVER), living.solve_mip(FOREVER, 0.0)
    near = living.solve_near(relaxed.x, FOREVER, 0.0, steps=1)
    check_solution(problem, near.x, integral=True)
    assert near.objective >= whole.objective - 1e-6
    assert near.bound == -INF
    everything_free = living.solve_near(relaxed.x, FOREVER, 0.0, steps=8)
    assert everything_free.objective == pytest.approx(whole.objective)


def test_what_the_relaxation_settles_stays() -> None:
    problem = plant()
    relaxed = Living(problem).solve_mip(FOREVER, 0.0).x.copy()
    ran = np.round(relaxed[:8])
    relaxed[7] = 0.5
    near = Living(problem).solve_near(relaxed, FOREVER, 0.0, steps=1)
    np.testing.assert_allclose(near.x[:6], ran[:6], atol=1e-6)


def test_infeasible_late_and_unbounded_raise() -> None:
    living = Living(plant())
    with pytest.raises(NotSolved, match="late"):
        living.solve_lp(0.0)
    with pytest.raises(NotSolved, match="late"):
        living.solve_mip(1e-9, 0.0)
    living.add_rows(Rows("never", 99.0, INF, injection=group_rows(IDS, IDS, 8)))
    with pytest.raises(Infeasible):
        living.solve_lp(FOREVER)
    with pytest.raises(Infeasible):
        living.solve_mip(FOREVER, 0.0)
    free = assemble(ON, ("g",), [generator("g", ON, INF, -1.0)])
    with pytest.raises(NotSolved, match="no optimum"):
        Living(free).solve_lp(FOREVER)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({0: np.nan}, "finite"), ({0: 1.1}, "bound"), ({0: 0.0}, "row"), ({0: 0.5, 1: 0.5, 2: 1.0, 3: 1.0}, "integer")],
)
def test_nonsense_is_refused(change: dict[int, float], reason: str) -> None:
    problem = plant()
    x = Living(problem).solve_mip(FOREVER, 0.0).x
    check_solution(problem, x, integral=True)
    x[:8] = [1, 1, 1, 0, 0, 0, 0, 0]
    for at, value in change.items():
        x[at] = value
    relaxed = replace(problem, row_lower=np.where(np.arange(problem.rows) > 0, -INF, problem.row_lower))
    relaxed = replace(relaxed, row_upper=np.where(np.arange(problem.rows) > 0, INF, problem.row_upper))
    with pytest.raises(NotSolved, match=reason):
        check_solution(relaxed, x, integral=True)


def test_time_limit_counts_from_each_call() -> None:
    living = Living(plant())
    for _ in range(5):
        assert living.solve_lp(0.5).status == "optimal"


def test_interior_point_and_simplex_find_the_same_optimum_and_keep_the_basis_for_later() -> None:
    on, ids = grid(6), ("l", "g", "b")
    power = np.array([1.0, 2.0, 3.0, 1.0, 0.5, 2.5])
    blocks = [load("l", power), generator("g", on, 4.0, np.arange(6) * 10.0), battery("b", on, 1.0, 2.0, 1.0)]
    total = Rows("total", 0.0, 0.0, injection=group_rows(ids, ids, 6))
    living = Living(assemble(on, ids, blocks, [total]))
    interior = living.solve_lp(60.0, interior=True)
    assert interior.objective == pytest.approx(Living(living.problem).solve_lp(60.0).objective, rel=1e-9)
    assert living.solve_lp(60.0).objective == pytest.approx(interior.objective, rel=1e-9)
