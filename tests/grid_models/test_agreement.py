"""Engine and pandapower on nets of every kind: 1e-6 pu and 1e-4 %-points at both ends of every element."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pytest

from grid_models import cache
from grid_models.batch import Engine, node_injection
from grid_models.compile import compile_state, switching_of
from grid_models.spec import NetworkSpec
from grid_models.tables import NetTables
from tests.grid_models.conftest import CACHE
from tests.grid_models.meshed_net import PHASE_SHIFTERS, meshed_net
from tests.grid_models.small_net import small_net
from vpp.domain.time import Array

VOLTAGE_PU, LOADING_PCT = 1e-6, 1e-4
PUBLISHED = {
    "mv": NetworkSpec(simbench="1-MV-comm--2-sw", tap_changer="ratio", drop_storage=True),
    "hv": NetworkSpec(simbench="1-HV-mixed--0-sw", tap_changer="ratio", drop_storage=True),
    "ehv": NetworkSpec(simbench="1-EHV-mixed--0-sw", tap_changer="ratio", drop_storage=True),
    "lv": NetworkSpec(simbench="1-LV-rural1--0-sw", tap_changer="ratio", drop_storage=True),
    "oberrhein": NetworkSpec(pandapower="mv_oberrhein"),
    "case118": NetworkSpec(pandapower="case118"),
    "case300": NetworkSpec(pandapower="case300"),
}


def both_ends(net: Any) -> tuple[Array, Array]:
    """Loading in % at the from or high-voltage end and at the other, by the currents pandapower found."""
    line, trafo = net.line, net.trafo
    rating = line.max_i_ka * line.df * line.parallel
    power = trafo.sn_mva * trafo.parallel * trafo.df / np.sqrt(3.0)
    return (
        100.0 * np.r_[net.res_line.i_from_ka / rating, net.res_trafo.i_hv_ka * trafo.vn_hv_kv / power],
        100.0 * np.r_[net.res_line.i_to_ka / rating, net.res_trafo.i_lv_ka * trafo.vn_lv_kv / power],
    )


def injected(net: Any) -> Any:
    """The net with a load per bus in place of all that injects constant power."""
    net = copy.deepcopy(net)
    for table in ("load", "sgen"):
        net[table] = net[table].iloc[:0]
    for table, columns in (("gen", ["p_mw"]), ("ward", ["ps_mw", "qs_mvar"]), ("dcline", ["p_mw", "loss_mw"])):
        net[table][columns] = 0.0
    for bus in net.bus.index:
        pp.create_load(net, bus, 0.0, 0.0)
    return net


def random_taps(tables: NetTables, cases: int, rng: np.random.Generator) -> Any:
    t = tables.trafos
    return np.array([rng.integers(t.tap_min, t.tap_max + 1) for _ in range(cases)])


def compare(
    net: Any, tables: NetTables, p: Array, q: Array, taps: Any, lines_out: Any = (), switches: Any = ()
) -> None:
    """Every case (K,B) at positions (K,X) of one switching state by both engines, dark buses included."""
    net = injected(net)
    net.line.loc[list(lines_out), "in_service"] = False
    for number, closed in dict(switches).items():
        net.switch.loc[number, "closed"] = closed
    state = compile_state(tables, switching_of(tuple(lines_out), dict(switches)))
    for k in range(len(p)):
        engine = Engine.of(state, tuple(map(int, taps[k])))
        v, converged = engine.solve(node_injection(state, p[k : k + 1], q[k : k + 1]))
        assert converged.all()
        net.load["p_mw"], net.load["q_mvar"], net.trafo["tap_pos"] = -p[k], -q[k], taps[k]
        pp.runpp(net, lightsim2grid=False, numba=False, tolerance_mva=1e-7)
        np.testing.assert_allclose(engine.bus_voltage(v)[0], net.res_bus.vm_pu, atol=VOLTAGE_PU, rtol=0.0)
        for ours, theirs in zip(engine.loading_ends(v), both_ends(net), strict=True):
            np.testing.assert_allclose(ours[0], np.nan_to_num(theirs), atol=LOADING_PCT, rtol=0.0)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_nets_at_random_injections_and_taps(name: str) -> None:
    spec, rng, cases = PUBLISHED[name], np.random.default_rng(len(name)), 4
    folder = cache.ensure(spec, CACHE)
    tables, background, series, q_values = cache.read(folder)
    ids, at = background.series, rng.integers(0, 35_000, cases)
    q_per_unit = [q_values[s][at] if s in q_values else np.zeros(cases) for s in ids]
    p, q = background.injection(np.array([series[s].values[at] for s in ids]), np.array(q_per_unit))
    factor = rng.uniform(0.7, 1.2, p.shape)
    taps = random_taps(tables, cases, rng)
    near = np.clip(taps, tables.trafos.tap_pos - 3, tables.trafos.tap_pos + 3)
    compare(pickle.loads((folder / cache.NET).read_bytes()), tables, factor * p, factor * q, near)


@pytest.mark.parametrize("name", ["mv", "oberrhein", "hv"])
def test_random_switching_states_with_islands_and_rings(name: str) -> None:
    """Opened and closed switches of every kind, fused and split buses, lines out, some of it in the dark."""
    folder = cache.ensure(PUBLISHED[name], CACHE)
    tables, net = cache.read(folder)[0], pickle.loads((folder / cache.NET).read_bytes())
    rng, dark = np.random.default_rng(8), 0
    level = np.where(tables.buses.vn_kv > 60.0, 4.0, 0.05)
    for _ in range(5):
        moved = rng.choice(tables.switches.number, 12, replace=False)
        closed = dict(zip(tables.switches.number, tables.switches.closed, strict=True))
        switches = {int(n): bool(~closed[n]) for n in moved}
        lines_out = rng.choice(tables.lines.number, 2, replace=False).tolist()
        p = -level * rng.uniform(0.0, 1.0, (1, len(level)))
        near = np.clip(random_taps(tables, 1, rng), tables.trafos.tap_pos - 3, tables.trafos.tap_pos + 3)
        compare(net, tables, p, 0.3 * p, near, lines_out, switches)
        dark += len(compile_state(tables, switching_of(tuple(lines_out), switches)).islands_without_source)
    assert dark > 0


def imported(net: Any, folder: Path, **given: Any) -> tuple[Any, NetTables, Array, Array]:
    """A net through its file: as checked, as tables, and what it injects (B,)."""
    pp.to_json(net, str(folder / "net.json"))
    compiled = cache.ensure(NetworkSpec(file=str(folder / "net.json"), **given), folder / "cache")
    tables, background, _, _ = cache.read(compiled)
    p, q = background.injection(np.ones((1, 1)), np.ones((1, 1)))
    return pickle.loads((compiled / cache.NET).read_bytes()), tables, p[0], q[0]


@pytest.mark.parametrize("shifter", PHASE_SHIFTERS)
def test_phase_shifters_machines_and_sources_at_random_injections_and_taps(tmp_path: Path, shifter: str) -> None:
    net, tables, p, q = imported(meshed_net(shifter), tmp_path)
    rng = np.random.default_rng(3)
    factor = rng.uniform(0.2, 1.6, (6, len(p)))
    compare(net, tables, factor * p, factor * q, random_taps(tables, 6, rng))


def test_a_net_s_own_injections_are_those_pandapower_solves(tmp_path: Path) -> None:
    """Machines, wards and direct current lines inject what their rows say, to the last table."""
    original = meshed_net()
    pp.runpp(original, lightsim2grid=False, numba=False, tolerance_mva=1e-9)
    _, tables, p, q = imported(meshed_net(), tmp_path)
    state = compile_state(tables, switching_of((), {}))
    engine = Engine.of(state, tuple(map(int, tables.trafos.tap_pos)))
    v, _ = engine.solve(node_injection(state, p[None], q[None]))
    np.testing.assert_allclose(engine.bus_voltage(v)[0], original.res_bus.vm_pu, atol=VOLTAGE_PU, rtol=0.0)
    for ours, theirs in zip(engine.loading_ends(v), both_ends(original), strict=True):
        np.testing.assert_allclose(ours[0], theirs, atol=LOADING_PCT, rtol=0.0)


@pytest.mark.parametrize("closed", [False, True])
def test_fused_buses_and_open_ends_on_either_side_of_a_transformer(tmp_path: Path, closed: bool) -> None:
    raw = small_net()
    raw.switch.loc[0, "closed"] = closed
    pp.create_bus(raw, 20.0)
    pp.create_switch(raw, 5, 6, "b", closed=True, type="CB")
    pp.create_switch(raw, 1, 0, "t", closed=False, type="CB")
    net, tables, p, q = imported(raw, tmp_path)
    rng = np.random.default_rng(4)
    factor = rng.uniform(0.2, 1.6, (4, len(p)))
    compare(net, tables, factor * p, factor * q, random_taps(tables, 4, rng))
