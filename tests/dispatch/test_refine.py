"""A cut that holds the plan where its element has room is replaced; what is exceeded is named; a rebound is a load."""

from __future__ import annotations

import numpy as np
import pytest

from dispatch.assets import price_elastic
from dispatch.certify import certify
from dispatch.cut_pool import DEEPEST_PCT, EXCESS_EUR_PER_MWH, MARGIN_LOADING_PCT
from dispatch.cutting import Cutting
from dispatch.problem import assemble, check_solution
from dispatch.products.energy import bid_energy
from dispatch.secure import secure_plan, solve_secure
from dispatch.solvers.raw import Raw
from tests.dispatch.oracle_tools import asset_of, context_of
from tests.dispatch.tiny import ThreeBusNet, exposure, generator, grid, load
from vpp.domain.schedule import Solution

ON = grid(4)
PRICE = np.array([10.0, 20.0, 30.0, 40.0])
QUIET = np.zeros((4, 3))


@pytest.mark.parametrize("bend", [-0.08, 0.3])
def test_a_continuous_plan_ends_at_the_curved_limit_from_either_side(bend: float) -> None:
    """Where loading grows ever more slowly, a cut from far away is too strict; where it grows faster, too lax."""
    net = ThreeBusNet(rating_mw=(9.0, 1.0), bend=bend)
    problem = assemble(ON, ("g",), [generator("g", ON, 3.0, 0.0), bid_energy(("g",), ("g",), ON, PRICE)])
    secured = secure_plan(problem, net, exposure([2], QUIET), deadline_s=30, rel_gap=1e-3, max_rounds=10)
    exact = (np.sqrt(1 + 4 * bend * (1 - MARGIN_LOADING_PCT / 100)) - 1) / (2 * bend)
    np.testing.assert_allclose(secured.solution.schedule.power_mw[0], exact, rtol=5e-4)
    assert secured.solution.status == "optimal"
    assert secured.solution.rounds <= 6
    assert len(secured.live) < len(secured.cuts) or bend > 0


def test_a_limit_that_nothing_of_ours_can_keep_is_named_with_what_it_lacks() -> None:
    """Others take 1.2 MW behind line 1 of 1 MW; a generator of 0.15 MW gives all it has."""
    background = QUIET.copy()
    background[1, 2] = -1.2
    net = ThreeBusNet(rating_mw=(9.0, 1.0))
    problem = assemble(ON, ("g",), [generator("g", ON, 0.15, 500.0), bid_energy(("g",), ("g",), ON, PRICE)])
    solution = solve_secure(problem, net, exposure([2], background), deadline_s=30)
    assert solution.status == "violated"
    (named,) = solution.relaxations
    assert (named.element, named.step, named.case, named.unit) == ("line 1", 1, "expected", "%")
    assert named.by == pytest.approx(5.0)
    assert named.excess_mw == pytest.approx(0.05 + MARGIN_LOADING_PCT / 100.0, abs=DEEPEST_PCT / 100.0 + 1e-9)
    assert named.price_eur == pytest.approx(named.excess_mw * EXCESS_EUR_PER_MWH * 0.25)


def test_a_limit_on_which_nobody_of_ours_acts_is_named_without_a_price() -> None:
    background = QUIET.copy()
    background[2, 2] = -1.3
    problem = assemble(ON, ("l",), [load("l", np.full(4, 0.1)), bid_energy(("l",), ("l",), ON, PRICE)])
    solution = solve_secure(problem, ThreeBusNet(rating_mw=(9.0, 1.0)), exposure([1], background), deadline_s=30)
    assert [(r.element, r.step, round(r.by, 6), r.excess_mw, r.price_eur) for r in solution.relaxations] == [
        ("line 1", 2, 30.0, 0.0, 0.0)
    ]


def event_answer(net: ThreeBusNet | None, owed_mw: np.ndarray | float = 0.0) -> Solution:
    """A load of 0.9 MW behind line 1 (1 MW) that is paid to reduce in the second hour and takes most of it back."""
    on = grid(16)
    price = np.where(np.arange(16) // 4 == 1, 400.0, 60.0)
    params = price_elastic.Params(
        min_share=0.5, max_share=1.6, elasticity=-0.3, reference_price_eur_per_mwh=60.0, substitution=0.9, window_h=1.0
    )
    mill = asset_of("mill", "price_elastic", params)
    inputs = {"mill": {"load_mw": np.full(16, 0.9), "owed_mw": np.broadcast_to(owed_mw, 16)}}
    block = price_elastic.block([mill], context_of(on, {}, inputs))
    problem = assemble(on, ("mill",), [block, bid_energy(("mill",), ("mill",), on, price)])
    where = exposure([2], np.zeros((16, 3)))
    plan = secure_plan(problem, net, where if net else None, deadline_s=30, rel_gap=1e-5)
    if net is not None:
        assert certify(plan.solution.schedule.power_mw, net, where, None, on).verdict == "clean"
    return plan.solution


def test_the_rebound_after_an_event_is_kept_inside_the_limit_of_its_bus() -> None:
    free, secured = event_answer(None), event_answer(ThreeBusNet(rating_mw=(9.0, 1.0)))
    event, after = slice(4, 8), slice(8, 12)
    assert -free.schedule.power_mw[0, event].max() < 0.8
    assert (-free.schedule.power_mw[0, after] > 1.04).sum() >= 3, "what comes back breaks the limit where nobody looks"
    assert secured.violations_first > 0
    assert -secured.schedule.power_mw[0].min() <= 1.0 - MARGIN_LOADING_PCT / 100.0 + 1e-6
    assert -secured.schedule.power_mw[0, event].sum() > -free.schedule.power_mw[0, event].sum(), "so it reduces less"


def test_what_an_event_before_the_plan_brings_back_is_a_load_of_its_bus_too() -> None:
    owed_mw = np.where(np.arange(16) < 3, 0.3, 0.0)
    secured = event_answer(ThreeBusNet(rating_mw=(9.0, 1.0)), owed_mw)
    assert secured.violations_first >= 3
    assert -secured.schedule.power_mw[0].min() <= 1.0 - MARGIN_LOADING_PCT / 100.0 + 1e-6


@pytest.mark.parametrize(("power_mw", "excess_mw"), [(0.995, 0.0), (1.2, 0.21)])
def test_a_plan_comes_with_rows_that_it_keeps_whatever_cuts_came_after_it(power_mw: float, excess_mw: float) -> None:
    """A clean plan is inside its margin at worst, so later cuts are freed; a violated one pays for exceeding them."""
    problem = assemble(ON, ("g",), [generator("g", ON, 3.0, 0.0), bid_energy(("g",), ("g",), ON, PRICE)])
    cutting = Cutting(problem, ThreeBusNet(rating_mw=(9.0, 1.0)), exposure([2], QUIET))
    cutting.begin([])
    assert cutting.cut(cutting.check(Raw(np.full(8, 1.5), None, 0.0, 0.0, "optimal")))
    point = cutting.check(Raw(np.full(8, power_mw), None, 0.0, 0.0, "optimal"))
    assert bool(point.violations) == (excess_mw > 0.0)
    x = cutting.completed(point)
    check_solution(cutting.grown, x, integral=False)
    np.testing.assert_allclose(cutting.exceeded(x).max(), excess_mw, atol=1e-9)
    assert len(cutting.pool.live) == (0 if excess_mw == 0.0 else len(cutting.pool.cuts))
