"""A plan that is known is never lost: solvers that are late leave the best one, with a bound that holds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dispatch import heuristics, secure
from dispatch.problem import Problem, assemble, check_solution
from dispatch.products.energy import bid_energy
from dispatch.secure import secure_plan
from dispatch.solvers.highs_door import Living
from dispatch.solvers.raw import Raw
from tests.dispatch.tiny import ThreeBusNet, battery, exposure, grid, mill
from vpp.domain.errors import NotSolved

ON = grid(8)
PRICE = np.array([10.0, 30, 12, 28, 14, 26, 16, 24])
NET = ThreeBusNet(rating_mw=(3.0, 1.5))
MILLS = ("m1", "m2", "m3")
HINT = {m: np.r_[np.ones(3), np.zeros(5)] for m in MILLS}
Patch = pytest.MonkeyPatch


def coupled() -> Problem:
    """Three mills behind a line that carries two of them: the answers to prices alone do not fit together."""
    ids = (*MILLS, "b")
    blocks = [mill(m, ON, 0.7, 3) for m in MILLS] + [battery("b", ON, 0.2, 0.4, 0.2)]
    return assemble(ON, ids, [*blocks, bid_energy(ids, ids, ON, PRICE)])


def late(*_: object, **__: object) -> Raw:
    raise NotSolved("late: the time limit passed without a solution")


@pytest.fixture(scope="module")
def optimum() -> float:
    where = exposure([2] * 4, np.zeros((8, 3)))
    return secure_plan(coupled(), NET, where, deadline_s=60, rel_gap=0.0).solution.objective


@pytest.fixture
def no_mip(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Living, "solve_mip", late)
    monkeypatch.setattr(Living, "solve_near", late)


@pytest.mark.usefixtures("no_mip")
def test_without_any_mip_the_plan_comes_from_our_own_heuristics(optimum: float) -> None:
    where = exposure([2] * 4, np.zeros((8, 3)))
    found = secure_plan(coupled(), NET, where, deadline_s=30, rel_gap=0.0)
    check_solution(found.problem, found.x, integral=True)
    assert np.abs(found.solution.schedule.power_mw.sum(0)).max() <= 1.5 + 1e-5
    assert found.solution.bound <= optimum + 1e-6 <= found.solution.objective + 2e-6
    assert found.solution.status in ("optimal", "feasible")


@pytest.mark.usefixtures("no_mip")
def test_where_every_part_is_late_too_the_known_commitment_is_the_plan(monkeypatch: Patch, optimum: float) -> None:
    monkeypatch.setattr(heuristics, "solve_alone", late)
    where = exposure([2] * 4, np.zeros((8, 3)))
    spread = {m: np.roll(HINT[m], 2 * k) for k, m in enumerate(MILLS)}
    found = secure_plan(coupled(), NET, where, deadline_s=30, rel_gap=0.0, hint=spread)
    for m in MILLS:
        np.testing.assert_allclose(found.solution.schedule.commitment[m], spread[m])
    assert found.solution.bound <= optimum + 1e-6
    assert found.solution.gap > 0.0
    assert found.solution.status == "feasible"


@pytest.mark.usefixtures("no_mip")
def test_a_fallback_is_the_plan_where_nothing_better_was_in_time(monkeypatch: Patch, optimum: float) -> None:
    monkeypatch.setattr(heuristics, "solve_alone", late)
    spread = {m: np.roll(HINT[m], 2 * k) for k, m in enumerate(MILLS)}
    where = exposure([2] * 4, np.zeros((8, 3)))
    found = secure_plan(coupled(), NET, where, deadline_s=30, rel_gap=0.0, fallback=spread)
    check_solution(found.problem, found.x, integral=True)
    assert found.solution.status != "violated"
    assert found.solution.bound <= optimum + 1e-6


def test_without_any_plan_the_reason_is_raised(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Living, "solve_fixed", late)
    with pytest.raises(NotSolved, match="late: the time limit passed"):
        secure_plan(coupled(), None, None, deadline_s=30, rel_gap=0.0, hint=HINT)


def stopping_after(calls: int, monkeypatch: Patch) -> Callable[[], int]:
    """The clock of the search stands still until so many fixed LPs were solved, then the deadline is over."""
    solved = [0]
    original = Living.solve_fixed

    def counted(self: Living, x: np.ndarray, deadline_s: float = 1e6) -> Raw:
        solved[0] += 1
        return original(self, x, max(deadline_s, 1.0))

    monkeypatch.setattr(Living, "solve_fixed", counted)
    monkeypatch.setattr(secure._Search, "left_s", property(lambda _: 20.0 if solved[0] < calls else 0.0))
    return lambda: solved[0]


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_at_the_deadline_the_best_plan_so_far_is_returned(calls: int, monkeypatch: Patch, optimum: float) -> None:
    count = stopping_after(calls, monkeypatch)
    where = exposure([2] * 4, np.zeros((8, 3)))
    found = secure_plan(coupled(), NET, where, deadline_s=20, rel_gap=0.0, hint=HINT)
    assert count() == calls
    check_solution(found.problem, found.x, integral=True)
    assert found.solution.bound <= optimum + 1e-6
    assert found.solution.bound <= found.solution.objective


def test_a_plan_that_keeps_the_limits_beats_a_cheaper_one_that_does_not(optimum: float) -> None:
    where = exposure([2] * 4, np.zeros((8, 3)))
    found = secure_plan(coupled(), NET, where, deadline_s=30, rel_gap=0.0, hint=HINT)
    assert found.solution.status == "optimal"
    assert found.solution.objective == pytest.approx(optimum, rel=2e-3), "a cut that returns is a little deeper"
    assert np.abs(found.solution.schedule.power_mw.sum(0)).max() <= 1.5 + 1e-5
