"""What is broken most is bounded at every step and both ways, and only where a plan could get there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dispatch.exposure import Case
from dispatch.problem import assemble
from dispatch.products.energy import bid_energy
from dispatch.secure import secure_plan
from dispatch.seeding import SEEDED, broken_most, reach, within_reach
from tests.dispatch.tiny import ThreeBusNet, battery, exposure, generator, grid, idle, load, mill, with_cases
from vpp.domain.network import Cut, Violation

ON = grid(8)
PRICE = np.array([40.0, 10.0, 12.0, 14.0, 16.0, 70.0, 60.0, 50.0])


def broken(element: str, step: int, case: str = "expected") -> Violation:
    return Violation(element, step, 120.0, 100.0, "%", case)


def test_the_elements_broken_at_most_steps_of_a_case_are_asked_for_at_all_of_them() -> None:
    many = [broken(f"line {k}", t) for k in range(SEEDED + 2) for t in range(k + 1)]
    asked = broken_most([*many, broken("trafo 0", 3, "lost"), broken("network", 1)], ("expected", "lost"), 8)
    assert set(asked) == {(c, t) for c in (0, 1) for t in range(8)}
    assert set(asked[0, 7]) == {f"line {k}" for k in range(2, SEEDED + 2)}
    assert set(asked[1, 0]) == {"trafo 0"}
    assert set(broken_most(many, ("expected", "lost"), 8, {(0, "line 7"), (1, "line 6")})[0, 0]) == {
        f"line {k}" for k in range(1, SEEDED + 1)
    }
    assert broken_most([broken("network", 1)], ("expected",), 8) == {}


def test_reach_is_what_the_bounds_allow_each_asset() -> None:
    ids = ("b", "g", "m", "l")
    blocks = [
        battery("b", ON, 0.5, 2.0, 1.0), generator("g", ON, 2.0, 0.0, lower=0.25), mill("m", ON, 0.9, 2),
        load("l", np.full(8, 0.3)),
    ]  # fmt: skip
    low, high = (v.reshape(4, 8) for v in reach(assemble(ON, ids, blocks)))
    np.testing.assert_allclose(low, np.repeat([[-0.5], [0.25], [-0.9], [-0.3]], 8, axis=1))
    np.testing.assert_allclose(high, np.repeat([[0.5], [2.0], [0.0], [-0.3]], 8, axis=1))


@pytest.mark.parametrize(("limit", "kept"), [(45.0, True), (55.0, False)])
def test_a_cut_that_no_plan_can_pass_is_left_out(limit: float, kept: bool) -> None:
    problem = assemble(ON, ("b", "g"), [battery("b", ON, 0.5, 2.0, 1.0), generator("g", ON, 2.0, 0.0)])
    where = exposure([2, 2], np.zeros((8, 3)))
    charging = Cut("line 1", 0, 0, np.array([0.0, 0.0, -100.0]), np.zeros(3), limit)
    found = within_reach([charging], where, ON, reach(problem))
    assert found == ([charging] if kept else [])
    fixed = with_cases(where, Case("fixed", np.zeros((2, 8), dtype=bool), np.zeros((2, 8))))
    assert within_reach([replace(charging, case=1)], fixed, ON, reach(problem)) == [], "nobody acts in that case"


def test_what_has_no_bound_can_be_anywhere() -> None:
    problem = assemble(ON, ("i",), [idle("i", ON)])
    cut = Cut("line 1", 0, 0, np.array([0.0, 0.0, -100.0]), np.zeros(3), 1e9)
    assert within_reach([cut], exposure([2], np.zeros((8, 3))), ON, reach(problem)) == [cut]


def test_a_store_that_would_charge_elsewhere_and_come_back_harder_settles_in_two_rounds() -> None:
    """Charging from step to step and discharging the other way past the same line are known after the first round."""
    ids = ("b",)
    problem = assemble(ON, ids, [battery("b", ON, 3.0, 3.0, 1.0), bid_energy(ids, ids, ON, PRICE)])
    secured = secure_plan(problem, ThreeBusNet(rating_mw=(9.0, 1.0)), exposure([2], np.zeros((8, 3))), deadline_s=30)
    assert secured.solution.violations_first > 0
    assert secured.solution.status == "optimal" and secured.solution.rounds <= 2
    assert np.abs(secured.solution.schedule.power_mw).max() <= 0.99 + 1e-6
