"""The mistakes of known importers and engines, each shown to matter and shown not to be made here."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pytest

from grid_models import cache
from grid_models.batch import Engine, node_injection
from grid_models.compile import State, compile_state, switching_of
from grid_models.model import AcNetwork
from grid_models.spec import NetworkSpec
from grid_models.tables import Complex
from tests.grid_models.conftest import CACHE, quarters
from tests.grid_models.meshed_net import meshed_net
from tests.grid_models.small_net import small_net
from tests.grid_models.test_agreement import PUBLISHED, imported
from vpp.domain.errors import UnknownElement


def solved(net: Any, folder: Path) -> tuple[State, Engine, Complex]:
    """A net's own injections through the importer: state, engine and node voltages (1,n)."""
    folder.mkdir(exist_ok=True)
    _, tables, p, q = imported(net, folder)
    state = compile_state(tables, switching_of((), {}))
    engine = Engine.of(state, tuple(map(int, tables.trafos.tap_pos)))
    v, converged = engine.solve(node_injection(state, p[None], q[None]))
    assert converged.all()
    return state, engine, v


def test_an_open_switch_carries_nothing_and_a_closed_one_does(tmp_path: Path) -> None:
    """Trap: importers that connect every line whatever its switches say."""
    loadings = []
    for closed in (False, True):
        net = small_net()
        net.switch.loc[1, "closed"] = closed
        _, engine, v = solved(net, tmp_path / str(closed))
        loadings.append(engine.loading(v)[0, 3])
    assert loadings[0] < 2.0 < 10.0 < loadings[1]


def test_a_phase_shift_moves_active_power_in_a_mesh(tmp_path: Path) -> None:
    """Trap: importers that drop the angle of a tap, or take its sign from the wrong side."""
    flows = []
    for position in (-6, 6):
        net = meshed_net("symmetrical")
        net.trafo.loc[0, "tap_pos"] = position
        state, engine, v = solved(net, tmp_path / str(position))
        i_f, _ = engine.currents(v)
        at = len(state.tables.lines.number)
        flows.append(float((v[0, state.from_node[at]] * np.conj(i_f[0, at])).real))
        pp.runpp(net, lightsim2grid=False, numba=False)
        assert flows[-1] == pytest.approx(net.res_trafo.p_hv_mw[0], abs=1e-4)
    assert abs(flows[0] - flows[1]) > 20.0


def test_a_source_is_of_infinite_strength(tmp_path: Path) -> None:
    """Trap: importers that put a short-circuit impedance behind every source."""
    net = small_net()
    net.ext_grid["s_sc_max_mva"], net.ext_grid["rx_max"] = 50.0, 0.1
    net.load["p_mw"] *= 4.0
    _, engine, v = solved(net, tmp_path)
    assert engine.bus_voltage(v)[0, 0] == pytest.approx(1.01, abs=1e-12)
    pp.runpp(net, lightsim2grid=False, numba=False)
    np.testing.assert_allclose(engine.bus_voltage(v)[0], net.res_bus.vm_pu, atol=1e-6)


def test_the_far_end_of_a_charged_cable_counts(tmp_path: Path) -> None:
    """Trap: loading read at the from end only. A long cable carries its charging current at one end."""
    for first, second in ((3, 5), (5, 3)):
        net = small_net()
        net.line.loc[2, ["from_bus", "to_bus"]] = first, second
        net.line.loc[2, "length_km"], net.line.loc[2, "c_nf_per_km"] = 30.0, 600.0
        net.load["p_mw"] = 0.0
        _, engine, v = solved(net, tmp_path / str(first))
        near, far = (ends[0, 2] for ends in engine.loading_ends(v))
        assert abs(near - far) > 5.0
        assert engine.loading(v)[0, 2] == max(near, far)
        pp.runpp(net, lightsim2grid=False, numba=False)
        assert engine.loading(v)[0, 2] == pytest.approx(net.res_line.loading_percent[2], abs=1e-4)


def test_taps_without_a_type_are_refused_or_typed_and_never_silent(tmp_path: Path) -> None:
    """Trap: SimBench names no tap type, and pandapower then ignores the position."""
    silent = small_net()
    silent.trafo["tap_changer_type"], silent.trafo["tap_pos"] = None, 5
    with pytest.raises(UnknownElement, match="trafo 0: tap data and no tap changer type"):
        imported(silent, tmp_path)
    pp.runpp(silent, lightsim2grid=False, numba=False)
    net, tables, _, _ = imported(silent, tmp_path, tap_changer="ratio")
    assert (net.trafo.tap_changer_type == "Ratio").all() and (tables.trafos.tap_pos == 5).all()
    pp.runpp(net, lightsim2grid=False, numba=False)
    assert (silent.res_bus.vm_pu - net.res_bus.vm_pu).abs().max() > 0.02


def test_a_stated_tap_type_is_kept(tmp_path: Path) -> None:
    """Trap: an importer that types what is missing and overwrites what is there."""
    net, _, _, _ = imported(meshed_net("ideal_degrees"), tmp_path, tap_changer="ratio")
    assert net.trafo.tap_changer_type.tolist() == ["Ideal", "Ratio", "Ratio"]


def test_a_source_that_one_outage_cuts_off_leaves_the_other(tmp_path: Path) -> None:
    """Two sources of one net and one of an island: each feeds what it reaches, the rest is named."""
    net = meshed_net()
    net.gen.loc[3, "in_service"] = False
    _, tables, _, _ = imported(net, tmp_path)
    state = compile_state(tables, switching_of((), {}))
    assert len(state.slack_v) == 2 and set(state.islands_without_source) == {(8,), (9, 10)}
    alone = compile_state(tables, switching_of((2, 3), {}))
    assert (alone.node[[3, 7]] == -1).all() and set(alone.islands_without_source) == {(8,), (9, 10), (3, 7)}


def test_a_machine_alone_feeds_nothing_as_in_pandapower(tmp_path: Path) -> None:
    net = meshed_net()
    net.gen.loc[3, "slack"] = False
    state, engine, v = solved(net, tmp_path)
    pp.runpp(net, lightsim2grid=False, numba=False)
    assert set(state.islands_without_source) == {(8,), (9, 10)}
    np.testing.assert_allclose(engine.bus_voltage(v)[0], net.res_bus.vm_pu, atol=1e-6)


def test_two_set_points_at_one_node_are_named(tmp_path: Path) -> None:
    net = meshed_net()
    net.gen.loc[2, "vm_pu"] = 1.03
    _, tables, _, _ = imported(net, tmp_path)
    with pytest.raises(UnknownElement, match="gen 1 and gen 2: one node and two voltage set-points"):
        compile_state(tables, switching_of((), {}))
    compile_state(tables, switching_of((), {0: False}))
    both = meshed_net()
    pp.create_ext_grid(both, 0, vm_pu=1.03)
    _, tables, _, _ = imported(both, tmp_path)
    with pytest.raises(UnknownElement, match="ext_grid 0 and ext_grid 2: one node and two voltages"):
        compile_state(tables, switching_of((), {}))


def test_a_long_net_in_resonance_without_its_load_is_solved() -> None:
    """Trap: Newton begun at the voltages of the idle net, which stand far above 1 pu where lines are long."""
    tables, background, series, _ = cache.read(cache.ensure(PUBLISHED["case118"], CACHE))
    state = compile_state(tables, switching_of((), {}))
    engine = Engine.of(state, tuple(map(int, tables.trafos.tap_pos)))
    one = np.ones((len(series), 1))
    v, converged = engine.solve(node_injection(state, *background.injection(one, one)))
    assert converged.all() and np.abs(engine.w).max() > 2.0 and 0.9 < np.abs(v).min() < np.abs(v).max() < 1.1


def test_a_case_without_solution_among_machines_is_nan_and_harms_no_other(tmp_path: Path) -> None:
    _, tables, p, q = imported(meshed_net(), tmp_path)
    state = compile_state(tables, switching_of((), {}))
    engine = Engine.of(state, tuple(map(int, tables.trafos.tap_pos)))
    s = node_injection(state, np.repeat(p[None], 5, axis=0), np.repeat(q[None], 5, axis=0))
    alone, _ = engine.solve(s[:1])
    s[3] *= 200.0
    v, converged = engine.solve(s)
    assert converged.tolist() == [True, True, True, False, True] and np.isnan(v[3]).any()
    np.testing.assert_allclose(v[[0, 1, 2, 4]], np.repeat(alone, 4, axis=0), atol=1e-9)


def test_cases_that_begin_near_their_end_reach_it_with_machines_too(tmp_path: Path) -> None:
    _, tables, p, q = imported(meshed_net(), tmp_path)
    state = compile_state(tables, switching_of((), {}))
    engine = Engine.of(state, tuple(map(int, tables.trafos.tap_pos)))
    factor = np.linspace(0.4, 1.6, 7)[:, None]
    s = node_injection(state, factor * p, factor * q)
    v, _ = engine.solve(s)
    again, converged = engine.solve(s, v[::-1].copy())
    unknown = v.copy()
    unknown[2] = np.nan
    without, _ = engine.solve(s, unknown)
    assert converged.all()
    np.testing.assert_allclose(again, v, atol=1e-9)
    np.testing.assert_allclose(without, v, atol=1e-9)
    far, converged = engine.solve(s[:1], 0.02 * v[:1] * np.exp(1j * np.arange(state.n)))
    assert converged.all()
    np.testing.assert_allclose(far, v[:1], atol=1e-9)


def test_the_digest_names_the_model() -> None:
    folder = cache.ensure(PUBLISHED["oberrhein"], CACHE)
    tables, again = cache.read(folder)[0], cache.read(folder)[0]
    assert tables.digest == again.digest and len(tables.digest) == 64
    moved = replace(again, trafos=replace(again.trafos, tap_pos=again.trafos.tap_pos + 1))
    other_delay = replace(again, tap_delay_minutes=2.0)
    assert len({tables.digest, moved.digest, other_delay.digest}) == 3


def test_emergency_ratings_are_stated_and_never_below_the_normal_limit(tmp_path: Path) -> None:
    net = small_net()
    net.line["max_loading_percent"] = [60.0, 100.0, 130.0, 100.0]
    _, tables, _, _ = imported(net, tmp_path, emergency={"line_pct": 120.0, "trafo_pct": 140.0, "minutes": 15.0})
    assert tables.lines.emergency_loading_pct.tolist() == [120.0, 120.0, 130.0, 120.0]
    assert tables.trafos.emergency_loading_pct.tolist() == [140.0, 140.0]
    assert set(tables.lines.emergency_minutes) == set(tables.trafos.emergency_minutes) == {15.0}
    assert NetworkSpec(file="a").emergency.model_dump() == {"line_pct": 120.0, "trafo_pct": 120.0, "minutes": 30.0}


def test_the_verdict_of_a_net_with_machines_is_pandapower_s_at_the_same_injections(tmp_path: Path) -> None:
    _, tables, p, q = imported(meshed_net(), tmp_path)
    folder = next((tmp_path / "cache").iterdir())
    network = AcNetwork(tables, [], partial(cache.reference, folder))
    grid = quarters(datetime(2016, 3, 1, tzinfo=UTC), 4)
    factor = np.array([0.5, 0.8, 1.0, 1.3])[:, None]
    flow = network.flow(grid, (factor * p)[None], (factor * q)[None])
    verdict = network.verdict(flow)
    assert flow.converged.all() and verdict.converged.all()
    np.testing.assert_allclose(verdict.vm_pu, flow.vm_pu, atol=1e-6)
    np.testing.assert_allclose(verdict.loading_pct, flow.loading_pct, atol=1e-4)
