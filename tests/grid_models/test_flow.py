"""The batch engine against pandapower, its behaviour without a solution, and the verdict."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest

from grid_models import cache
from grid_models.batch import Engine
from grid_models.compile import compile_state, switching_of
from grid_models.model import AcNetwork, GridModel
from tests.grid_models.conftest import CACHE, DAY, OUTAGE, SPEC, Demo, quarters, solve_pandapower, with_extra
from vpp.domain.errors import UnknownElement
from vpp.domain.portfolio import Outage

OUTSIDE = datetime(2016, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("outage", [False, True])
def test_equals_pandapower_for_random_injections_and_taps(
    model: GridModel, bare_net: Callable[[bool], Any], outage: bool
) -> None:
    rng = np.random.default_rng(7 + outage)
    n, buses = 8, len(model.network.buses)
    p = rng.uniform(-0.35, 0.25, (1, n, buses))
    q = rng.uniform(-0.15, 0.1, (1, n, buses))
    taps = rng.integers(-9, 10, (1, n, 2))
    taps[0, : n // 2, 1] = taps[0, : n // 2, 0]
    flow = model.network.flow(quarters(OUTAGE.start if outage else OUTSIDE, n), p, q, taps)
    net = bare_net(outage)
    assert flow.converged.all()
    for t in range(n):
        vm, loading = solve_pandapower(net, p[0, t], q[0, t], taps[0, t])
        np.testing.assert_allclose(flow.vm_pu[0, t], vm, atol=1e-8)
        np.testing.assert_allclose(flow.loading_pct[0, t], loading, atol=1e-6)


@pytest.mark.parametrize(("before_min", "closed"), [(30, 2), (20, 1), (16, 1), (14, 0)])
def test_an_outage_that_touches_a_step_counts_for_all_of_it(
    model: GridModel, demo: Demo, before_min: int, closed: int
) -> None:
    """One that begins a minute before a step ends has taken the line out of that whole step."""
    grid = quarters(OUTAGE.start - timedelta(minutes=before_min), 4)
    still = np.repeat(demo.p_mw[:1], 4, axis=0)[None]
    flow = model.network.flow(grid, still, np.zeros_like(still))
    line_84 = flow.loading_pct[0, :, model.network.elements.index("line 84")]
    assert (line_84[:closed] > 1.0).all() and (line_84[closed:] == 0.0).all()


def test_an_outage_that_ends_inside_a_step_lasts_to_its_end(model: GridModel, demo: Demo) -> None:
    grid = quarters(OUTAGE.end - timedelta(minutes=5), 2)
    still = np.repeat(demo.p_mw[:1], 2, axis=0)[None]
    flow = model.network.flow(grid, still, np.zeros_like(still))
    line_84 = flow.loading_pct[0, :, model.network.elements.index("line 84")]
    assert line_84[0] == 0.0 and line_84[1] > 1.0


def test_verdict_equals_the_batch_engine_and_runpp_from_scratch(
    model: GridModel, demo: Demo, bare_net: Callable[[bool], Any]
) -> None:
    """The verdict recycles pandapower's matrices between steps; nothing of it may show."""
    p, q = with_extra(demo, model, 7.0)
    part = slice(40, 64)
    flow = model.network.flow(demo.grid.part(40, 64), p[None, part], q[None, part])
    verdict = model.network.verdict(flow)
    assert len({tuple(x) for x in flow.taps[0]}) > 1
    np.testing.assert_allclose(verdict.vm_pu, flow.vm_pu, atol=1e-8)
    np.testing.assert_allclose(verdict.loading_pct, flow.loading_pct, atol=1e-6)
    net = bare_net(True)
    for t in range(0, 24, 5):
        vm, loading = solve_pandapower(net, p[part][t], q[part][t], flow.taps[0, t])
        np.testing.assert_allclose(verdict.vm_pu[0, t], vm, atol=1e-9)
        np.testing.assert_allclose(verdict.loading_pct[0, t], loading, atol=1e-6)


def test_a_case_without_solution_is_reported_and_harms_no_other(model: GridModel, demo: Demo) -> None:
    p = np.stack([demo.p_mw[:3], demo.p_mw[:3]])
    p[1, 1, 50] = -400.0
    flow = model.network.flow(demo.grid.part(0, 3), p, np.zeros_like(p))
    assert flow.converged.tolist() == [[True] * 3, [True, False, True]]
    found = model.network.violations(flow, ("expected", "wild"))
    assert [(v.element, v.step, v.case) for v in found] == [("network", 1, "wild")]
    assert not model.network.verdict(flow, 1).converged[0, 1]
    assert model.network.verdict(flow, 1).converged[0, 2]
    assert not [c for c in model.network.cuts(flow) if c.case == 1 and c.step == 1]


def test_newton_finds_what_the_fixed_point_finds(model: GridModel) -> None:
    engine = Engine.of(compile_state(model.network._tables, switching_of((), {})), (0, 0))
    s = np.random.default_rng(3).uniform(-0.3, 0.1, (1, engine.state.n)).astype(np.complex128)
    s += 0.3j * s
    assert np.abs(engine.polar.newton(s[0]) - engine.solve(s)[0][0]).max() < 1e-9


def test_a_dead_bus_is_nan_and_violates_by_name_only_if_it_carries_load(
    model: GridModel, demo: Demo, bare_net: Callable[[bool], Any]
) -> None:
    cut_off = Outage("dead", OUTAGE.start, OUTAGE.end, (84,), {})
    network = AcNetwork(model.network._tables, [cut_off], partial(cache.reference, cache.ensure(SPEC, CACHE)))
    flow = network.flow(demo.grid.part(0, 1), demo.p_mw[None, :1], demo.q_mvar[None, :1])
    dead = np.isnan(flow.vm_pu[0, 0])
    net = bare_net(False)
    net.line.loc[84, "in_service"] = False
    vm, _ = solve_pandapower(net, demo.p_mw[0], demo.q_mvar[0], flow.taps[0, 0])
    assert dead.any() and (dead == np.isnan(vm)).all() and flow.converged.all()
    loaded = {f"bus {b}" for b, d, p in zip(network.buses, dead, demo.p_mw[0], strict=True) if d and p != 0.0}
    found = network.violations(flow)
    assert {v.element for v in found} == loaded and {v.value for v in found} == {0.0}
    verdict = network.verdict(flow)
    assert {v.element for v in network.violations(verdict)} == loaded
    empty = network.flow(demo.grid.part(0, 1), np.where(dead, 0.0, demo.p_mw[None, :1]), np.zeros((1, 1, len(dead))))
    assert network.violations(empty) == []


def test_outages_of_unknown_things_raise_by_name(model: GridModel) -> None:
    for outage, name in (
        (Outage("a", OUTAGE.start, OUTAGE.end, (999,), {}), "line 999"),
        (Outage("b", OUTAGE.start, OUTAGE.end, (), {888: True}), "switch 888"),
    ):
        with pytest.raises(UnknownElement, match=name):
            AcNetwork(model.network._tables, [outage], partial(cache.reference, CACHE))


@pytest.mark.parametrize(("extra_mw", "loading", "vm", "breaks"), [(7.0, 142.0, 0.94, True), (2.0, 66.0, 0.977, False)])
def test_demo_day_breaks_at_seven_megawatts_and_holds_at_two(
    model: GridModel, demo: Demo, extra_mw: float, loading: float, vm: float, breaks: bool
) -> None:
    p, q = with_extra(demo, model, extra_mw)
    flow = model.network.flow(demo.grid, p[None], q[None])
    assert demo.grid.starts[0].date() < DAY
    assert flow.loading_pct.max() == pytest.approx(loading, abs=3.0)
    assert np.nanmin(flow.vm_pu) == pytest.approx(vm, abs=0.006)
    found = model.network.violations(flow)
    assert bool(found) == breaks
    if breaks:
        assert {v.element.split()[0] for v in found} == {"line", "bus"}
