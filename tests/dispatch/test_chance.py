"""Margins that most scenarios keep at once: by hand on rows of one and two, and on the net of three buses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dispatch import cut_pool, cutting
from dispatch.certify import certify
from dispatch.chance import PLANNED_SHARE, Joint, spread
from dispatch.exposure import Errors, Exposure, Scenarios
from dispatch.problem import Problem, assemble
from dispatch.products.energy import bid_energy
from dispatch.secure import secure_plan
from tests.dispatch.tiny import ThreeBusNet, exposure, grid, idle, load
from vpp.domain.network import TARGET_SHARE, Certificate, Cut
from vpp.domain.time import Array

ON = grid(4)
NET = ThreeBusNet(rating_mw=(2.0, 1.0))
QUIET = np.zeros((4, 3))
IDS = ("g",)


def row(step: int) -> Cut:
    """Line 1 loads by 100 % per MW taken at bus 2."""
    return Cut("line 1", step, 0, np.array([0.0, 0.0, -100.0]), np.zeros(3), 100.0)


def errors_at_bus_2(taken_mw: Array) -> Errors:
    """Errors of what bus 2 takes (K,T) in MW."""
    p = np.zeros((*taken_mw.shape, 3))
    p[:, :, 2] = -taken_mw
    return Errors(p, np.zeros_like(p))


def joint(taken_mw: Array, carried_mw: float, lost: tuple[bool, ...]) -> Joint:
    p = np.zeros((4, 3))
    p[:, 2] = -carried_mw
    rows = [row(t) for t in range(len(lost))]
    return Joint.of(rows, np.array(lost), p, np.zeros_like(p), errors_at_bus_2(taken_mw))


def one_step_each(steps: int, count: int) -> Array:
    """Of `count` scenarios each errs at one of the first `steps` steps, by 1/m, 2/m .. 1 of 0.2 MW, m a step."""
    k = np.arange(count)
    taken = np.zeros((count, 4))
    taken[k, k % steps] = 0.2 * (k // steps + 1) / (count // steps)
    return taken


def test_one_row_keeps_the_ordered_error_of_its_rank() -> None:
    taken = np.zeros((99, 4))
    taken[:, 0] = np.arange(1, 100) / 100.0
    one = joint(taken, 1.0, (False,))
    assert one.room == pytest.approx([0.0])
    assert one.band(0.95) * spread(row(0), one.added[0]) == pytest.approx(95.0), "the 95th of 99: ceil(0.95 * 100)"
    assert one.share == 0.0
    assert joint(taken, 0.055, (False,)).share == pytest.approx(94 / 99)


def test_rows_together_ask_for_more_than_each_alone() -> None:
    """Two rows that never err together: each alone keeps 95 % at 0.18 MW, both together only 90 %."""
    taken = one_step_each(2, 200)
    two = joint(taken, 1.0, (False, False))
    alone = [errors_at_bus_2(taken).passed(row(t), 0.95) for t in range(2)]
    assert alone == pytest.approx([18.0, 18.0], abs=0.1)
    assert (two.added <= np.array(alone)[:, None]).all(axis=0).mean() == pytest.approx(0.9, abs=0.01)
    margin = two.band(0.95) * np.array([spread(row(t), two.added[t]) for t in range(2)])
    assert margin == pytest.approx([19.2, 19.2]), "the 191st of 200, two of each size: 0.96 of 0.2 MW"
    assert (two.added <= margin[:, None] + 1e-9).all(axis=0).mean() >= 0.95


def test_what_a_plan_does_not_come_near_asks_for_nothing() -> None:
    taken = one_step_each(1, 200)
    assert joint(taken, 0.5, (False,)).band(0.95) == 0.0
    assert joint(taken, 0.5, (False,)).share == 1.0
    assert joint(-taken, 1.0, (False,)).band(0.95) == 0.0, "errors that only relieve it"


def test_scenarios_that_nothing_cures_widen_no_other_row() -> None:
    """Row 1 is lost to whatever errs there; of the hundred that are left, 96 stay below 0.192 MW."""
    taken = one_step_each(2, 200)
    taken[1::2, 0] = taken[1::2, 1]
    half = joint(taken, 1.0, (False, True))
    assert half.band(0.95) * spread(row(0), half.added[0]) == pytest.approx(19.2)
    assert joint(taken, 1.0, (True, True)).band(0.95) == 0.0


def sold(errors: Errors | None) -> tuple[Problem, Exposure]:
    """A source behind line 1 sells what it carries, on average as much as the line takes."""
    problem = assemble(ON, IDS, [idle("g", ON, 5.0), bid_energy(IDS, IDS, ON, np.full(4, 50.0))])
    return problem, replace(exposure([2], QUIET), errors=errors)


def test_a_plan_keeps_the_margin_known_by_hand() -> None:
    """Surpluses of up to 0.2 MW, each scenario's at one of four steps: 198 of 200 kept asks for all of 0.2 MW."""
    problem, where = sold(errors_at_bus_2(-one_step_each(4, 200)))
    secured = secure_plan(problem, NET, where, deadline_s=30)
    assert secured.solution.status == "optimal"
    np.testing.assert_allclose(secured.solution.schedule.power_mw, 0.8, atol=1e-6)


def share_kept(errors: Errors, fresh: Errors) -> tuple[float, float]:
    """The share of the scenarios planned with and of fresh ones that the plan's certificate tells."""
    problem, where = sold(errors)
    power = secure_plan(problem, NET, where, deadline_s=30).solution.schedule.power_mw
    found = []
    for drawn in (errors, fresh):
        free = np.full((len(drawn.p_mw), 1, 4), np.inf)
        found.append(certify(power, NET, where, Scenarios(drawn.p_mw, drawn.q_mvar, free, np.zeros_like(free)), ON))
    assert {c.verdict for c in found} == {"clean"}
    return found[0].share_clean, found[1].share_clean


@pytest.mark.parametrize("dependence", [0.0, 0.9])
def test_fresh_scenarios_are_kept_however_errors_depend(dependence: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the joint margin 95 % of other draws are clean; where it is dropped, independent steps break one by one."""
    rng = np.random.default_rng(3)

    def drawn() -> Errors:
        shared, own = rng.normal(size=(200, 1)), rng.normal(size=(200, 4))
        return errors_at_bus_2(0.05 * (np.sqrt(dependence) * shared + np.sqrt(1 - dependence) * own))

    errors, fresh = drawn(), drawn()
    planned, others = share_kept(errors, fresh)
    assert planned >= PLANNED_SHARE
    assert others >= TARGET_SHARE
    for module in (cut_pool, cutting):
        monkeypatch.setattr(module, "PLANNED_SHARE", 0.0)
    single, others_single = share_kept(errors, fresh)
    assert single < planned
    assert others_single < others
    if not dependence:
        assert single < TARGET_SHARE and others_single < TARGET_SHARE


def test_a_limit_that_others_break_keeps_no_plan_from_settling() -> None:
    """Somebody else's load at bus 2 errs past line 1 where nothing of ours is: no excess is paid for it."""
    taken = np.full((200, 4), 0.0)
    taken[::4, 1] = 0.5
    background = QUIET.copy()
    background[:, 2] = -0.7
    problem = assemble(ON, IDS, [load("g", np.full(4, 0.1)), bid_energy(IDS, IDS, ON, np.full(4, 50.0))])
    where = replace(exposure([1], background), errors=errors_at_bus_2(taken))
    solution = secure_plan(problem, NET, where, deadline_s=30).solution
    assert (solution.status, solution.costs.get("network", 0.0)) == ("optimal", 0.0)


def test_a_certificate_misses_its_target_only_where_scenarios_say_so() -> None:
    told = Certificate("clean", "x", 200, 0.945, None, {}, ())
    assert told.misses_target
    assert not replace(told, share_clean=TARGET_SHARE).misses_target
    assert not replace(told, scenarios=0, share_clean=float("nan")).misses_target
