"""Batch outages against pandapower with the element out of service, and what must hold for any outage."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grid_models.batch import Engine, node_injection
from grid_models.compile import compile_state, switching_of
from grid_models.contingencies import outcomes
from grid_models.islands import find_islands, without
from grid_models.model import GridModel, load_grid
from grid_models.screening import PostFaultLimits, judge, screen
from grid_models.spec import NetworkSpec
from grid_models.tables import Complex, NetTables
from tests.grid_models.conftest import Demo, solve_pandapower
from tests.grid_models.ring_net import meshed_net, ring_net
from tests.grid_models.small_net import small_net
from vpp.domain.time import Array

NETS: dict[str, Callable[[], Any]] = {"ring": ring_net, "meshed": meshed_net, "small": small_net}


def loaded(net: Any, folder: Path) -> GridModel:
    pp.to_json(net, str(folder / "net.json"))
    return load_grid(NetworkSpec(file=str(folder / "net.json"), tap_changer="ratio"), [], folder / "cache")


def bare(net: Any) -> Any:
    """One zero load per bus."""
    net = copy.deepcopy(net)
    net.load, net.sgen = net.load.iloc[:0], net.sgen.iloc[:0]
    pp.create_loads(net, net.bus.index, p_mw=np.zeros(len(net.bus)), q_mvar=np.zeros(len(net.bus)))
    return net


def out(net: Any, tables: NetTables, element: int) -> Any:
    """A copy of the net with one element out of service."""
    net, lines = copy.deepcopy(net), len(tables.lines.number)
    if element < lines:
        net.line.loc[tables.lines.number[element], "in_service"] = False
    else:
        net.trafo.loc[tables.trafos.number[element - lines], "in_service"] = False
    return net


def at_base(tables: NetTables, p: Array, q: Array, taps: tuple[int, ...]) -> tuple[Engine, Complex, Complex]:
    engine = Engine.of(compile_state(tables, switching_of((), {})), taps)
    s = node_injection(engine.state, p, q)
    return engine, engine.solve(s)[0], s


def equal_to_pandapower(net: Any, tables: NetTables, p: Array, q: Array, taps: tuple[int, ...]) -> int:
    """Compares every outage at every step; returns how many of them cut something off."""
    engine, v, s = at_base(tables, p, q, taps)
    branches = np.flatnonzero((engine.branches.ff != 0.0) | (engine.branches.tt != 0.0))
    rated = np.full(len(tables.elements), 100.0)
    seen = screen(engine, branches, v, s, PostFaultLimits.of(engine.state, rated))
    islands = 0
    for part in outcomes(engine, branches, v, s):
        assert part.converged.all()
        for o, branch in enumerate(branches[part.outages]):
            case = out(net, tables, int(branch))
            ours = part.voltages(o, engine.state.n)
            islands += bool(len(part.dead[o]))
            row = part.outages.start + o
            for t in range(len(p)):
                vm, loading = solve_pandapower(case, p[t], q[t], taps)
                np.testing.assert_allclose(engine.bus_voltage(ours[t : t + 1])[0], vm, atol=1e-8)
                found = np.nan_to_num(engine.loading(ours[t : t + 1])[0])
                found[branch] = 0.0
                np.testing.assert_allclose(found, np.nan_to_num(loading), atol=3e-5)
                checked_buses = (engine.state.node >= 0) & (engine.state.node < engine.state.n)
                assert seen.usage[row, t] == pytest.approx(np.nanmax(loading) / 100.0, abs=3e-7)
                assert np.isnan(vm[checked_buses]).all() or seen.vm_low_pu[row, t] == pytest.approx(
                    np.nanmin(vm[checked_buses]), abs=1e-8
                )
    return islands


@pytest.mark.parametrize("name", NETS)
def test_every_outage_equals_pandapower(name: str, tmp_path: Path) -> None:
    net = NETS[name]()
    tables = loaded(net, tmp_path).network._tables
    rng = np.random.default_rng(3)
    p = rng.uniform(-1.5, 0.8, (4, len(net.bus)))
    q = rng.uniform(-0.4, 0.3, (4, len(net.bus)))
    taps = tuple(map(int, rng.integers(-3, 4, len(net.trafo))))
    assert (equal_to_pandapower(bare(net), tables, p, q, taps) == 0) == (name == "meshed")


def test_outages_of_the_demo_net_equal_pandapower(
    model: GridModel, demo: Demo, bare_net: Callable[[bool], Any]
) -> None:
    """A seeded choice of outages at the day's heaviest and lightest steps."""
    tables = model.network._tables
    steps = np.argsort(demo.p_mw.sum(axis=1))[[0, -1]]
    engine, v, s = at_base(tables, demo.p_mw[steps], demo.q_mvar[steps], (-2, -2))
    branches = np.random.default_rng(5).choice(len(tables.elements), 12, replace=False)
    branches = np.append(branches[: -1], len(tables.elements) - 1)
    net = bare_net(False)
    for part in outcomes(engine, branches, v, s):
        for o, branch in enumerate(branches[part.outages]):
            case = out(net, tables, int(branch))
            for k, t in enumerate(steps):
                vm, loading = solve_pandapower(case, demo.p_mw[t], demo.q_mvar[t], (-2, -2))
                ours = part.voltages(o, engine.state.n)[k : k + 1]
                np.testing.assert_allclose(engine.bus_voltage(ours)[0], vm, atol=1e-8)
                found = np.nan_to_num(engine.loading(ours)[0])
                found[branch] = 0.0
                np.testing.assert_allclose(found, np.nan_to_num(loading), atol=3e-5)


def test_an_outage_equals_a_network_compiled_without_the_element(tmp_path: Path) -> None:
    tables = loaded(ring_net(), tmp_path).network._tables
    p = np.random.default_rng(1).uniform(-1.0, 0.3, (3, len(tables.buses.number)))
    engine, _, _ = at_base(tables, p, 0.2 * p, (0, 0))
    islands = find_islands(engine.state, np.flatnonzero(engine.branches.ft))
    for branch in range(len(tables.lines.number)):
        number = int(tables.lines.number[branch])
        compiled = compile_state(tables, switching_of((number,), {}))
        ours = without(engine.state, branch, islands.behind(branch))
        assert (ours.node == compiled.node).all() and ours.n == compiled.n
        admittances = [state.admittance(state.branches(np.array([0, 0]))).toarray() for state in (ours, compiled)]
        np.testing.assert_array_equal(*admittances)


def test_what_the_batch_cannot_settle_is_solved_alone_or_reported(tmp_path: Path) -> None:
    """Close to the nose the fixed point fails and Newton does not; beyond it both do, and only there."""
    tables = loaded(ring_net(), tmp_path).network._tables
    heavy = np.zeros((3, len(tables.buses.number)))
    heavy[:, 5] = [-1.0, -12.0, -90.0]
    heavy[:, 10] = [-1.0, -12.0, 0.0]
    engine, v, s = at_base(tables, heavy, 0.1 * heavy, (0, 0))
    found = screen(engine, np.array([4]), v, s, PostFaultLimits.of(engine.state))
    assert found.converged[0, 0] and not found.converged[0, 2]
    assert np.isnan(found.usage[0, 2]) and found.violated[0, 2] and not found.violated[0, 0]


def test_limits_after_the_fault_decide(tmp_path: Path) -> None:
    """Emergency ratings, 120 % where nothing else is said, unless others are given."""
    tables = loaded(ring_net(rating_ka=0.1), tmp_path).network._tables
    p = np.zeros((1, len(tables.buses.number)))
    p[0, 2:6] = -1.3
    engine, v, s = at_base(tables, p, 0.2 * p, (0, 0))
    rated = screen(engine, np.array([10]), v, s, PostFaultLimits.of(engine.state))
    assert rated.violated.all() and rated.usage[0, 0] > 1.0
    limit = 120.0 * rated.usage[0, 0]
    for limit_pct, broken in ((limit - 0.01, True), (limit + 0.01, False), (limit - 5e-4, False)):
        limits = PostFaultLimits.of(engine.state, np.full(len(tables.elements), limit_pct))
        assert screen(engine, np.array([10]), v, s, limits).violated[0, 0] == broken


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1.2, 0.6), min_size=11, max_size=11), st.integers(0, 11))
def test_dead_and_supplied_load_are_all_load_and_the_rest_is_a_network_without_the_branch(
    engine: Engine, p_mw: list[float], branch: int
) -> None:
    p = np.array([p_mw])
    s = node_injection(engine.state, p, 0.3 * p)
    v = engine.solve(s)[0]
    branches = np.array([branch])
    found = screen(engine, branches, v, s, PostFaultLimits.of(engine.state))
    part = next(iter(outcomes(engine, branches, v, s)))
    node = engine.state.node
    consumed = np.maximum(-p[0, (node >= 0) & (node < engine.state.n)], 0.0).sum()
    alive = np.isfinite(part.voltages(0, engine.state.n)[0])
    supplied = np.maximum(-s[0, alive].real, 0.0).sum()
    assert found.unsupplied_mw[0, 0] + supplied == pytest.approx(consumed)
    reduced = without(engine.state, branch, part.dead[0])
    left = Engine.of(reduced, engine.taps)
    whole = judge(engine, v, s, PostFaultLimits.of(engine.state))
    alone = judge(left, left.solve(s[:, alive])[0], s[:, alive], PostFaultLimits.of(reduced))
    assert alone.usage[0, 0] == pytest.approx(found.usage[0, 0], abs=1e-7)
    assert whole.usage[0, 0] == pytest.approx(engine.loading(v).max() / 120.0)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    tables = loaded(ring_net(), tmp_path_factory.mktemp("ring")).network._tables
    return Engine.of(compile_state(tables, switching_of((), {})), (0, 0))

