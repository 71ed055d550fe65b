"""Tap control: what taps do, where the voltage ends, and that pandapower's controller agrees."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pytest
from pandapower.control import ContinuousTapControl, DiscreteTapControl

from grid_models.model import GridModel, load_grid
from grid_models.spec import NetworkSpec
from tests.grid_models.conftest import SPEC, Demo, quarters
from tests.grid_models.small_net import small_net
from vpp.domain.errors import UnknownElement
from vpp.domain.network import Flow
from vpp.domain.time import TimeGrid

SET_POINT = 1.025


@pytest.fixture(scope="module")
def swinging(model: GridModel) -> Flow:
    """Injections that swing between heavy load and heavy feed-in, in the normal switching state."""
    rng = np.random.default_rng(11)
    n, buses = 60, len(model.network.buses)
    level = 0.35 * np.sin(np.arange(n) / 9.0)[:, None]
    p = level + rng.normal(0.0, 0.02, (4, n, buses))
    return model.network.flow(quarters(datetime(2016, 3, 1, tzinfo=UTC), n), p, 0.4 * p)


def test_taps_of_type_ratio_move_the_checked_voltages(model: GridModel, demo: Demo) -> None:
    at = slice(0, 1)
    means = []
    for tap in (-2, 0, 2):
        taps = np.full((1, 1, 2), tap)
        flow = model.network.flow(demo.grid.part(0, 1), demo.p_mw[None, at], demo.q_mvar[None, at], taps)
        assert (flow.taps == tap).all()
        means.append(np.nanmean(model.network.verdict(flow).vm_pu[0, 0, 2:]))
    assert means[0] > means[1] > means[2]
    assert means[0] - means[2] > 0.02


def controlled(model: GridModel, flow: Flow) -> Any:
    return flow.vm_pu[..., [model.network.buses.index(b) for b in (2, 4)]]


def test_the_voltage_ends_inside_the_dead_band(model: GridModel, swinging: Flow) -> None:
    assert swinging.converged.all()
    assert len(np.unique(swinging.taps[0, :, 0])) > 2
    assert np.abs(controlled(model, swinging) - SET_POINT).max() <= SPEC.tap_dead_band_pu


def test_parallel_transformers_move_together(swinging: Flow) -> None:
    np.testing.assert_array_equal(swinging.taps[..., 0], swinging.taps[..., 1])


def test_cases_that_begin_at_the_voltages_of_the_first_end_where_they_would_from_no_load(
    model: GridModel, swinging: Flow
) -> None:
    alone = model.network.flow(swinging.grid, swinging.p_mw, swinging.q_mvar, swinging.taps)
    assert len(np.unique(swinging.taps[1:])) > 2 and alone.converged.all()
    np.testing.assert_allclose(swinging.vm_pu, alone.vm_pu, atol=1e-9)
    np.testing.assert_allclose(swinging.loading_pct, alone.loading_pct, atol=1e-6)


def test_a_tap_moves_only_when_the_step_before_would_leave_the_band(model: GridModel, swinging: Flow) -> None:
    held = swinging.taps[:1].copy()
    held[0, 1:] = swinging.taps[0, :-1]
    kept = model.network.flow(swinging.grid, swinging.p_mw[:1], swinging.q_mvar[:1], held)
    outside = (np.abs(controlled(model, kept) - SET_POINT) > SPEC.tap_dead_band_pu).any(axis=-1)[0]
    moved = (held != swinging.taps[:1]).any(axis=-1)[0]
    np.testing.assert_array_equal(moved[1:], outside[1:])
    assert moved[1:].any() and not moved[1:].all()


def test_a_scenario_inside_the_band_keeps_the_trajectory_s_taps(model: GridModel, swinging: Flow) -> None:
    lead = np.repeat(swinging.taps[:1], 3, axis=0)
    kept = model.network.flow(swinging.grid, swinging.p_mw[1:], swinging.q_mvar[1:], lead)
    outside = (np.abs(controlled(model, kept) - SET_POINT) > SPEC.tap_dead_band_pu).any(axis=-1)
    np.testing.assert_array_equal((swinging.taps[1:] != lead).any(axis=-1), outside)


def test_pandapower_s_own_controller_would_move_none_of_them(
    model: GridModel, swinging: Flow, bare_net: Callable[[bool], Any]
) -> None:
    net = bare_net(False)
    low, high = SET_POINT - SPEC.tap_dead_band_pu, SET_POINT + SPEC.tap_dead_band_pu
    for trafo in net.trafo.index:
        DiscreteTapControl(net, trafo, low, high, side="lv")
    for t in range(0, swinging.grid.n, 6):
        net.load["p_mw"], net.load["q_mvar"] = -swinging.p_mw[0, t], -swinging.q_mvar[0, t]
        net.trafo["tap_pos"] = swinging.taps[0, t]
        pp.runpp(net, run_control=True, calculate_voltage_angles=True, numba=False, lightsim2grid=False)
        assert net.trafo.tap_pos.tolist() == swinging.taps[0, t].tolist()
    net.trafo["tap_pos"] = swinging.taps[0, t] + 3
    pp.runpp(net, run_control=True, calculate_voltage_angles=True, numba=False, lightsim2grid=False)
    assert net.trafo.tap_pos.tolist() != (swinging.taps[0, t] + 3).tolist()


def test_a_controller_of_the_net_becomes_an_automatic_tap(tmp_path: Path) -> None:
    net = small_net()
    net.load[["p_mw", "q_mvar"]] *= 5.0
    DiscreteTapControl(net, 0, 0.985, 1.015, side="lv")
    pp.to_json(net, str(tmp_path / "net.json"))
    model = load_grid(NetworkSpec(file=str(tmp_path / "net.json")), [], tmp_path / "cache")
    trafos = model.network._tables.trafos
    assert trafos.controlled.tolist() == [True, False]
    assert (trafos.set_point_pu[0], trafos.dead_band_pu[0]) == pytest.approx((1.0, 0.015))
    p, q = model.background.injection(np.ones((1, 1)), np.ones((1, 1)))
    flow = model.network.flow(quarters(datetime(2016, 3, 1, tzinfo=UTC), 1), p[None], q[None])
    pp.runpp(net, run_control=True, lightsim2grid=False, numba=False)
    assert net.trafo.tap_pos.tolist() == flow.taps[0, 0].tolist() != [0, 0]
    np.testing.assert_allclose(flow.vm_pu[0, 0], net.res_bus.vm_pu, atol=1e-6)


def test_other_controllers_are_refused_by_name(tmp_path: Path) -> None:
    net = small_net()
    ContinuousTapControl(net, 0, 1.02)
    pp.to_json(net, str(tmp_path / "net.json"))
    with pytest.raises(UnknownElement, match="controller 0"):
        load_grid(NetworkSpec(file=str(tmp_path / "net.json")), [], tmp_path / "cache")


@pytest.mark.parametrize(("delay_min", "step_min", "waits"), [(0, 1, 0), (3, 1, 2), (3, 2, 1), (3, 15, 0)])
def test_a_tap_waits_its_delay_out_and_then_moves_into_the_band(
    tmp_path: Path, delay_min: int, step_min: int, waits: int
) -> None:
    net = small_net()
    DiscreteTapControl(net, 0, 0.985, 1.015, side="lv")
    pp.to_json(net, str(tmp_path / "net.json"))
    spec = NetworkSpec(file=str(tmp_path / "net.json"), tap_delay_minutes=delay_min)
    model = load_grid(spec, [], tmp_path / "cache")
    p, q = model.background.injection(np.ones((1, 1)), np.ones((1, 1)))
    heavy = np.array([0, 0, 0, 1, 1, 0, 1, 1, 1, 1, 1])[:, None]
    grid = TimeGrid.uniform(datetime(2016, 3, 1, tzinfo=UTC), timedelta(minutes=step_min), len(heavy))
    flow = model.network.flow(grid, (p + 4.0 * heavy * p)[None], (q + 4.0 * heavy * q)[None])
    taps = flow.taps[0, :, 0]
    light, loaded = taps[0], taps[-1]
    assert light != loaded
    moved = np.flatnonzero(taps == loaded)
    assert moved[0] == {0: 3, 1: 4, 2: 8}[waits]
