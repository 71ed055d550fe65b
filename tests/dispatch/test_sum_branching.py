"""Bounds from sums of units and the root's cuts, against the optimum of small unit-commitment cases."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest

from benchmarks import pglib, uc_check, uc_problem
from dispatch.solvers.highs_door import Living, with_root_cuts
from dispatch.solvers.mip_search import search
from dispatch.solvers.sum_branching import SumTree
from tests.dispatch.uc_cases import random_case

EXACT = 1e-9
SEEDS = range(3)


def built(seed: int, *, counted: bool = True) -> uc_problem.Case:
    case = json.dumps(random_case(seed, steps=12, kinds=3))
    return uc_problem.build(pglib.Instance.model_validate_json(case), counted=counted)


def optimum(case: uc_problem.Case) -> float:
    return Living(case.problem).solve_mip(120.0, EXACT).objective


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_sum_is_integral_in_the_best_plan(seed: int, counted: bool) -> None:
    case = built(seed, counted=counted)
    sums = uc_problem.sums(case).matrix @ Living(case.problem).solve_mip(120.0, EXACT).x
    assert np.abs(sums - np.round(sums)).max() < 1e-5


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_tree_searched_to_its_end_finds_the_optimum_and_never_more(seed: int, threads: int) -> None:
    case = built(seed, counted=False)
    best = optimum(case)
    tree = SumTree(case.problem, uc_problem.sums(case), best * 1.01, time.perf_counter() + 120.0, 0.0)
    workers = [threading.Thread(target=tree.work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert tree.bound == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_tree_left_early_bounds_every_plan_from_below(seed: int) -> None:
    case = built(seed)
    best = optimum(case)
    tree = SumTree(case.problem, uc_problem.sums(case), np.inf, time.perf_counter() + 120.0, 0.02)
    assert tree.bound == -np.inf
    tree.cutoff = best * 1.01
    tree.work()
    assert best * 1.01 * 0.98 <= tree.bound <= best + 1e-6 * best


@pytest.mark.parametrize("seed", SEEDS)
def test_cuts_of_the_root_leave_the_best_plan_or_tell_what_it_costs(seed: int) -> None:
    case = built(seed)
    cut, known = with_root_cuts(case.problem, 60.0)
    best = optimum(case)
    assert known >= best - 1e-6 * best
    assert cut.rows >= case.problem.rows
    left = Living(cut).solve_mip(120.0, EXACT).objective if known > best * (1.0 + 1e-6) else known
    assert left == pytest.approx(best, rel=1e-6)
    assert Living(cut).solve_lp(60.0).objective >= Living(case.problem).solve_lp(60.0).objective - 1e-6 * best


def test_cuts_stop_when_told() -> None:
    case = built(0)
    cut, known = with_root_cuts(case.problem, 60.0, lambda: True)
    assert cut.rows == case.problem.rows
    assert known >= optimum(case) * (1.0 - 1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_search_with_sums_ends_at_a_plan_and_its_certified_bound(seed: int) -> None:
    case = built(seed)
    found, best = search(case.problem, 60.0, 1e-3, lambda: uc_problem.sums(case)), optimum(case)
    assert found.bound <= best + 1e-6 * best <= found.objective + 2e-6 * best
    assert found.gap <= 1e-3 + 1e-9
    raw = random_case(seed, steps=12, kinds=3)
    cost, faults = uc_check.check(raw, uc_problem.solution(case, found.x))
    assert faults == []
    assert cost <= found.objective + 1e-5 * found.objective
