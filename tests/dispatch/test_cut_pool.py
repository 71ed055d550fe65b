"""Few cuts a round, deeper where they return, and the same rows over groups as over assets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from dispatch.chance import PLANNED_SHARE
from dispatch.cut_pool import (
    HANDFUL,
    MARGIN_LOADING_PCT,
    CutPool,
    alike,
    bus_block,
    cut_rows,
    group_cut_rows,
)  # fmt: skip
from dispatch.exposure import Case, Errors, Exposure, bus_injection
from dispatch.problem import assemble, injection, with_block
from dispatch.products.energy import bid_energy
from dispatch.secure import secure_plan
from dispatch.solvers.highs_door import Living
from tests.dispatch.tiny import ThreeBusNet, exposure, grid, idle, mill, with_cases
from vpp.domain.network import Cut, Flow

ON = grid(4)
QUIET = np.zeros((4, 3))
NET = ThreeBusNet(rating_mw=(2.0, 1.0))


def cut(element: str, step: int = 0, case: int = 0, limit: float = 100.0) -> Cut:
    return Cut(element, step, case, np.array([0.0, 0.0, -100.0]), np.zeros(3), limit)


def flow(power_mw: float, cases: int = 1) -> Flow:
    p = np.zeros((cases, 4, 3))
    p[..., 2] = -power_mw
    return NET.flow(ON, p, np.zeros_like(p))


def test_a_round_takes_one_cut_per_element_and_step_the_one_missed_most() -> None:
    pool = CutPool(("expected", "lost"))
    offered = [cut("line 1", limit=90.0), cut("line 1", case=1, limit=50.0), cut("line 1", step=1), cut("bus 2")]
    taken = pool.taken(offered, flow(1.2, cases=2))
    assert [(c.element, c.step, c.case) for c in taken] == [("bus 2", 0, 0), ("line 1", 0, 1), ("line 1", 1, 0)]
    assert {c.limit for c in taken if c.case == 1} == {50.0 - MARGIN_LOADING_PCT}


def test_a_step_gets_a_handful() -> None:
    pool = CutPool(("expected",))
    offered = [cut(f"line {k}", limit=100.0 - k) for k in range(HANDFUL + 3)]
    taken = pool.taken(offered, flow(1.2))
    assert len(taken) == HANDFUL
    assert {c.element for c in taken} == {f"line {k}" for k in range(3, HANDFUL + 3)}, "the ones missed most"


def test_what_is_near_is_cut_once_and_what_returns_is_cut_deeper() -> None:
    pool = CutPool(("expected",))
    near = pool.taken([cut("line 1", limit=100.0)], flow(0.98))
    pool.add(near, near)
    assert pool.taken([cut("line 1", limit=100.0)], flow(0.98)) == [], "kept, and known"
    limits = []
    for _ in range(3):
        again = pool.taken([cut("line 1", limit=100.0)], flow(1.004))
        pool.add(again, again)
        limits += [c.limit for c in again]
    assert limits[0] == 100.0 - MARGIN_LOADING_PCT
    assert limits[1] < limits[0]
    assert limits[0] - limits[2] <= 0.2 + 1e-9


def test_what_nobody_acts_on_is_not_taken_again() -> None:
    pool = CutPool(("expected",))
    offered = [cut("line 1")]
    pool.add([], offered)
    assert pool.taken(offered, flow(1.2)) == []


def test_a_plan_has_at_most_one_cut_per_line_and_period_in_each_round() -> None:
    ids = ("m1", "m2")
    prices = np.array([10.0, 20.0, 30.0, 40.0])
    problem = assemble(ON, ids, [mill("m1", ON, 0.9, 2), mill("m2", ON, 0.9, 2), bid_energy(ids, ids, ON, prices)])
    secured = secure_plan(problem, NET, exposure([2, 2], QUIET), deadline_s=30, rel_gap=0.0)
    counted = [(c.element, c.step) for c in secured.cuts]
    assert max(map(counted.count, counted)) <= secured.solution.rounds
    rows = [b for b in secured.problem.blocks if b.name.startswith("cuts")]
    assert sum(b.columns[0].size for b in rows) == len(secured.cuts)


def crowd(count: int) -> tuple[Exposure, tuple[str, ...]]:
    """Assets spread over buses 1 and 2, every other one with reactive power."""
    bus = np.arange(count) % 2 + 1
    where = exposure(bus.tolist(), QUIET)
    tan_phi = np.where(np.arange(count) % 4 < 2, 0.0, 0.3)
    return Exposure(where.incidence, tan_phi, QUIET, QUIET), tuple(f"a{i}" for i in range(count))


def test_groups_are_one_bus_and_one_tan_phi_and_only_where_they_pay() -> None:
    where, _ = crowd(24)
    groups = alike(where)
    assert groups is not None and groups.count == 4
    for g in range(4):
        members = np.flatnonzero(groups.group == g)
        assert len({int(where.incidence[[i], :].indices[0]) for i in members}) == 1
        assert len(set(where.tan_phi[members])) == 1
    assert alike(crowd(8)[0]) is None
    half = Case("half", np.arange(24)[:, None] + np.zeros(4) < 12, np.zeros((24, 4)))
    assert alike(with_cases(where, half)) is None
    lost = Case("lost", np.zeros((24, 4), dtype=bool), np.zeros((24, 4)))
    assert alike(with_cases(where, lost)) is not None


def test_rows_over_groups_equal_rows_over_assets() -> None:
    where, ids = crowd(24)
    groups = alike(where)
    assert groups is not None
    problem = assemble(ON, ids, [idle(a, ON, 1.0) for a in ids])
    grown = with_block(problem, bus_block(groups, ON))
    cuts = [
        Cut("line 1", t, 0, np.array([0.0, -20.0, -100.0]), np.array([0.0, 5.0, -30.0]), 90.0) for t in range(4)
    ]  # fmt: skip
    p = np.random.default_rng(1).uniform(-1.0, 1.0, (24, 4))
    sums = (groups.matrix(4) @ p.ravel()).ravel()
    x = np.concatenate([p.ravel(), sums])
    np.testing.assert_allclose(grown.matrix @ x, 0.0, atol=1e-12)
    np.testing.assert_allclose(injection(grown, x), p)
    direct, rhs, kept = cut_rows(cuts, where, ON)
    grouped, rhs_grouped, kept_grouped = group_cut_rows(cuts, where, ON, groups, problem.columns, grown.columns)
    np.testing.assert_allclose(grouped @ x, direct @ p.ravel())
    np.testing.assert_allclose(rhs_grouped, rhs)
    assert kept == kept_grouped == cuts
    buses, _ = bus_injection(where, p)
    assert buses.shape == (1, 4, 3)


@pytest.mark.parametrize("count", [8, 24])
def test_a_crowd_settles_on_the_limit_whichever_way_its_cuts_are_written(count: int) -> None:
    """Generators behind line 1 sell as much as it carries."""
    bus = [2] * count
    ids = tuple(f"g{i}" for i in range(count))
    where = exposure(bus, QUIET)
    where = Exposure(where.incidence, np.linspace(0.0, 0.01, count) if count == 8 else np.zeros(count), QUIET, QUIET)
    blocks = [*(idle(a, ON, 0.5) for a in ids), bid_energy(ids, ids, ON, np.full(4, 50.0))]
    secured = secure_plan(assemble(ON, ids, blocks), NET, where, deadline_s=30)
    assert (alike(where) is None) == (count == 8)
    assert secured.solution.status == "optimal"
    np.testing.assert_allclose(secured.solution.schedule.power_mw.sum(0), 1.0 - MARGIN_LOADING_PCT / 100.0, rtol=1e-6)
    assert Living(secured.problem).solve_lp(10.0).objective == pytest.approx(secured.solution.objective)
    assert sp.issparse(secured.problem.matrix)


def test_a_cut_keeps_what_most_errors_add() -> None:
    """Line 1 loads by 100 % per MW taken at bus 2; of a hundred errors five take more than 0.095 MW there."""
    taken = np.arange(100.0) / 1000.0
    p = np.zeros((100, 4, 3))
    p[:, 1, 2] = -taken
    errors = Errors(p, np.zeros_like(p))
    assert errors.passed(cut("line 1", step=1), 0.95) == pytest.approx(np.quantile(taken, 0.95) * 100.0)
    assert errors.passed(cut("line 1", step=0), 0.95) == 0.0
    assert Errors(-p, p).passed(cut("line 1", step=1), 0.95) == 0.0, "errors that only relieve it ask for no margin"
    pool = CutPool(("expected",), errors)
    plain, wary = pool.taken([cut("line 1"), cut("line 1", step=1)], flow(1.2))
    assert plain.limit == 100.0 - MARGIN_LOADING_PCT
    assert wary.limit == pytest.approx(plain.limit - 100.0 * np.quantile(taken, 0.95))


def test_a_plan_leaves_room_for_the_errors_of_the_forecast() -> None:
    """Generators behind line 1 sell what it carries in at least 95 % of the background's joint errors."""
    ids = tuple(f"g{i}" for i in range(4))
    where = exposure([2] * 4, QUIET)
    off = np.random.default_rng(5).normal(0.0, [[0.02, 0.05, 0.1, 0.2]], (200, 4))
    p = np.zeros((200, 4, 3))
    p[..., 2] = off
    blocks = [*(idle(a, ON, 0.5) for a in ids), bid_energy(ids, ids, ON, np.full(4, 50.0))]
    problem = assemble(ON, ids, blocks)
    wary = secure_plan(problem, NET, replace(where, errors=Errors(p, np.zeros_like(p))), deadline_s=30)
    sold = wary.solution.schedule.power_mw.sum(axis=0)
    kept = (np.abs(sold + off) <= 1.0 + 1e-9).mean(axis=0)
    assert (kept >= 0.95).all()
    assert (np.diff(sold) < 0.0).all(), "the wider the errors, the more room is left"
    assert (np.abs(sold[:, None] + off.T) <= 1.0 + 1e-9).all(axis=0).mean() >= PLANNED_SHARE, "all steps at once"
    assert (sold > 0.4).all()
