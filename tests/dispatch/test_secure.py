"""Cuts lead to the known optimum of a net of three buses, and the certificate refuses what it must."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from dispatch.certify import certify
from dispatch.exposure import Case, Exposure, Scenarios, bus_injection, reliefs, scenario_injection
from dispatch.problem import Problem, assemble
from dispatch.products.energy import bid_energy
from dispatch.secure import MARGIN_LOADING_PCT, cut_rows, secure_plan, solve_secure
from tests.dispatch.tiny import ThreeBusNet, exposure, generator, grid, idle, load, mill, with_cases
from vpp.domain.errors import NotSolved
from vpp.domain.network import Contingency, FaultCheck, Flow, Loading, Relief, Voltage

ON = grid(4)
PRICE = np.array([10.0, 20.0, 30.0, 40.0])
NET = ThreeBusNet(rating_mw=(2.0, 1.0))
QUIET = np.zeros((4, 3))


def two_mills(background: np.ndarray = QUIET) -> tuple[Problem, Exposure]:
    """Each mill of 0.9 MW behind line 1 (1 MW) runs two of four steps; both like the cheap ones."""
    ids = ("m1", "m2")
    blocks = [mill("m1", ON, 0.9, runs=2), mill("m2", ON, 0.9, runs=2), bid_energy(ids, ids, ON, PRICE)]
    return assemble(ON, ids, blocks), exposure([2, 2], background)


def test_without_a_network_both_mills_run_in_the_cheap_steps() -> None:
    problem, _ = two_mills()
    solution = solve_secure(problem, None, None, deadline_s=30, rel_gap=0.0)
    np.testing.assert_allclose(solution.schedule.power_mw.sum(0), [-1.8, -1.8, 0, 0], atol=1e-6)
    assert solution.objective == pytest.approx(1.8 * (10 + 20) / 4)
    assert (solution.status, solution.rounds, solution.violations_first) == ("optimal", 0, 0)


@pytest.mark.parametrize("bend", [0.0, 0.05])
def test_with_the_network_one_mill_runs_per_step(bend: float) -> None:
    problem, where = two_mills()
    net = ThreeBusNet(rating_mw=(2.0, 1.0), bend=bend)
    secured = secure_plan(problem, net, where, deadline_s=30, rel_gap=0.0)
    solution = secured.solution
    np.testing.assert_allclose(solution.schedule.power_mw.sum(0), -0.9, atol=1e-6)
    assert solution.objective == pytest.approx(0.9 * PRICE.sum() / 4)
    assert solution.status == "optimal"
    assert solution.violations_first > 0
    assert solution.rounds >= 1
    assert solution.gap <= 1e-6
    assert sum(solution.costs.values()) == pytest.approx(solution.objective)
    assert certify(solution.schedule.power_mw, net, where, None, ON).verdict == "clean"
    seeded = secure_plan(problem, net, where, deadline_s=30, rel_gap=0.0, seed_cuts=secured.cuts)
    assert seeded.solution.objective == pytest.approx(solution.objective)
    assert seeded.solution.violations_first == 0


def test_continuous_plan_settles_on_the_curved_limit() -> None:
    """A generator behind line 1: P + bend P^2 = rating less the margin at the optimum."""
    net = ThreeBusNet(rating_mw=(9.0, 1.0), bend=0.3)
    ids = ("g",)
    problem = assemble(ON, ids, [generator("g", ON, 3.0, 0.0), bid_energy(ids, ids, ON, PRICE)])
    solution = solve_secure(problem, net, exposure([2], QUIET), deadline_s=30, max_rounds=10)
    exact = (np.sqrt(1 + 4 * 0.3 * (1 - MARGIN_LOADING_PCT / 100)) - 1) / (2 * 0.3)
    assert solution.status == "optimal"
    np.testing.assert_allclose(solution.schedule.power_mw[0], exact, rtol=3e-3)


def test_background_and_fixed_parts_move_the_limit() -> None:
    """Step 0 carries 0.5 MW of others behind line 1: no mill fits there any more."""
    background = QUIET.copy()
    background[0, 2] = -0.5
    ids = ("m1", "l")
    problem = assemble(
        ON, ids, [mill("m1", ON, 0.9, runs=1), load("l", np.full(4, 0.05)), bid_energy(ids, ids, ON, PRICE)]
    )
    solution = solve_secure(problem, NET, exposure([2, 2], background), deadline_s=30, rel_gap=0.0)
    np.testing.assert_allclose(solution.schedule.power_mw[0], [0, -0.9, 0, 0], atol=1e-6)
    assert solution.status == "optimal"


def test_contingencies_bind_the_plan() -> None:
    """If m2 may start in every step on its own (case), m1 has to keep away from its steps too."""
    problem, where = two_mills()
    keep = np.ones((2, 4), dtype=bool)
    keep[1] = False
    fixed = np.zeros((2, 4))
    fixed[1, :2] = -0.9
    secured = solve_secure(problem, NET, with_cases(where, Case("m2 early", keep, fixed)), deadline_s=30, rel_gap=0.0)
    np.testing.assert_allclose(secured.schedule.power_mw, [[0, 0, -0.9, -0.9], [-0.9, -0.9, 0, 0]], atol=1e-6)


def test_what_nobody_controls_is_released_as_violated_with_the_least_excess() -> None:
    background = QUIET.copy()
    background[:, 2] = -1.2
    problem, where = two_mills(background)
    solution = solve_secure(problem, NET, where, deadline_s=30, rel_gap=0.0)
    assert solution.status == "violated"
    assert solution.costs["network"] > 0
    np.testing.assert_allclose(np.abs(solution.schedule.power_mw).sum(), 4 * 0.9, atol=1e-6)


def test_a_case_without_anything_of_ours_ends_the_rounds_at_once() -> None:
    problem, where = two_mills()
    nothing = Case("blackout", np.zeros((2, 4), dtype=bool), np.full((2, 4), -0.9))
    solution = solve_secure(problem, NET, with_cases(where, nothing), deadline_s=30, rel_gap=0.0, max_rounds=50)
    assert solution.status == "violated"
    assert solution.rounds < 6
    np.testing.assert_allclose(solution.schedule.power_mw.sum(0), -0.9, atol=1e-6)


def test_late_and_infeasible_raise() -> None:
    problem, where = two_mills()
    with pytest.raises(NotSolved, match="late"):
        solve_secure(problem, NET, where, deadline_s=0.0)
    ids = ("m",)
    never = assemble(ON, ids, [mill("m", ON, 0.9, runs=9)])
    with pytest.raises(NotSolved, match="infeasible"):
        solve_secure(never, None, None, deadline_s=30)
    with pytest.raises(ValueError, match="exposure"):
        solve_secure(problem, NET, None, deadline_s=30)


def test_cut_rows_hold_exactly_where_the_net_is_at_its_limit() -> None:
    problem, where = two_mills()
    keep = np.array([[True] * 4, [False] * 4])
    where = with_cases(where, Case("m2 fixed", keep, np.full((2, 4), -0.3)))
    power = np.array([[-0.9, -0.6, -0.7, 0.0], [-0.6, -0.9, 0.0, 0.0]])
    p, q = bus_injection(where, power)
    flow = NET.flow(ON, p, q)
    matrix, rhs, kept = cut_rows(NET.cuts(flow, near_pct=1.0), where, ON)
    left = rhs - matrix @ power.ravel()
    for margin, cut in zip(left, kept, strict=True):
        loading = flow.loading_pct[cut.case, cut.step, NET.elements.index(cut.element)]
        rating = NET.rating_mw[NET.elements.index(cut.element)]
        assert margin == pytest.approx((100.0 - loading) / 100.0 * rating)
    assert problem.rows


def test_certificate_refuses_a_plan_that_is_clean_only_on_the_expected_case() -> None:
    _, where = two_mills()
    power = np.array([[-0.9, 0.0, -0.9, 0.0], [0.0, -0.9, 0.0, -0.9]])
    assert certify(power, NET, where, None, ON).verdict == "clean"
    same_minute = Case("all at once", np.zeros((2, 4), dtype=bool), np.full((2, 4), -0.9))
    refused = certify(power, NET, with_cases(where, same_minute), None, ON)
    assert refused.verdict == "violated"
    assert refused.contingencies == {"all at once": 4}
    assert {v.case for v in refused.violations} == {"all at once"}
    assert refused.worst is not None
    assert refused.worst.value == pytest.approx(180.0)


@dataclass(frozen=True)
class Faulty(ThreeBusNet):
    """A net that knows one contingency, which overloads line 0 at step 2."""

    binding: bool = False

    def after_faults(self, flow: Flow, reliefs: Sequence[Relief] = ()) -> tuple[FaultCheck, ...]:
        assert flow.p_mw.shape[0] == 1
        broken = Contingency(
            "line 1", None, 0.0, (2,), 0, Loading("line 0", 2, 130.0, 120.0), Voltage("bus 1", 0, 1.0, 1.1, -0.1)
        )
        return (FaultCheck("n_minus_one", self.binding, 2, (broken,)),)


@pytest.mark.parametrize("binding", [False, True])
def test_contingencies_of_the_network_are_listed_and_judge_only_where_they_bind(binding: bool) -> None:
    _, where = two_mills()
    power = np.array([[-0.9, 0.0, -0.9, 0.0], [0.0, -0.9, 0.0, -0.9]])
    found = certify(power, Faulty(rating_mw=(2.0, 1.0), binding=binding), where, None, ON)
    assert found.checked == ("expected", "n_minus_one")
    assert [c.outage for f in found.after_faults for c in f.broken] == ["line 1"]
    assert found.verdict == ("violated" if binding else "clean")
    named = {(v.element, v.step, v.value, v.case) for v in found.violations}
    assert named == ({("line 0", 2, 130.0, "line 1")} if binding else set())
    assert certify(power, NET, where, None, ON).after_faults == ()


def test_reliefs_stop_what_may_be_cut_on_one_side_and_nothing_else() -> None:
    where = replace(exposure([1, 2, 2], QUIET), may_cut=np.array([True, True, False]))
    power = np.array([[2.0] * 4, [-1.0] * 4, [-0.5] * 4])
    load, generation = reliefs(where, power)
    np.testing.assert_allclose(load.p_mw[0], [0.0, 2.0, -0.5])
    np.testing.assert_allclose(generation.p_mw[0], [0.0, 0.0, -1.5])
    assert (load.name, generation.name) == ("load cut", "generation cut")
    assert reliefs(exposure([1, 2, 2], QUIET), power) == ()


def test_certificate_counts_scenarios_and_does_not_judge_them() -> None:
    _, where = two_mills()
    power = np.array([[-0.9, 0.0, 0.0, 0.0], [0.0, -0.9, 0.0, 0.0]])
    background = np.zeros((10, 4, 3))
    background[:3, 1, 2] = -0.2
    scenarios = Scenarios(background, np.zeros_like(background), np.full((10, 2, 4), np.inf), np.zeros((10, 2, 4)))
    found = certify(power, NET, where, scenarios, ON)
    assert (found.verdict, found.scenarios, found.share_clean) == ("clean", 10, pytest.approx(0.7))
    assert found.worst_scenario is not None
    assert (found.worst_scenario.step, found.worst_scenario.value) == (1, pytest.approx(110.0))
    assert found.worst is not None
    assert (found.worst.element, found.worst.value) == ("line 1", pytest.approx(90.0))


def test_reference_steps_still_leave_the_other_steps_to_the_batch() -> None:
    _, where = two_mills()
    power = np.array([[-0.9, 0.0, 0.0, -0.9], [-0.9, 0.0, 0.0, -0.9]])
    found = certify(power, NET, where, None, ON, reference_steps=slice(3, 4))
    assert [v.step for v in found.violations] == [0, 3]


def test_scenario_injection_is_capped_by_what_is_available_and_shifted_by_the_deviation() -> None:
    where = exposure([1, 2], QUIET)
    power = np.array([[2.0] * 4, [-1.0] * 4])
    available = np.full((1, 2, 4), np.inf)
    available[0, 0] = [1.0, 2.0, 3.0, 0.0]
    deviation = np.zeros((1, 2, 4))
    deviation[0, 1] = -0.5
    p, _ = scenario_injection(where, power, Scenarios(QUIET[None], QUIET[None], available, deviation))
    np.testing.assert_allclose(p[0, :, 1], [1.0, 2.0, 2.0, 0.0])
    np.testing.assert_allclose(p[0, :, 2], -1.5)


def test_marginal_values_come_from_the_final_plan() -> None:
    ids = ("m1", "x")
    problem = assemble(ON, ids, [mill("m1", ON, 0.9, 2), idle("x", ON, 1.0), bid_energy(ids, ids, ON, PRICE)])
    solution = solve_secure(problem, None, None, deadline_s=30)
    assert set(solution.schedule.marginal_value) == {"m1"}
