"""Which open point is closed after an outage, against pandapower trying each."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pytest

from grid_models.compile import switching_of
from grid_models.reswitching import OpenPoint, Reswitching, open_points
from grid_models.tables import NetTables
from tests.grid_models.conftest import solve_pandapower
from tests.grid_models.ring_net import COUPLER, TIE, meshed_net, ring_net
from tests.grid_models.test_contingencies import bare, loaded
from vpp.domain.time import Array

NOTHING = switching_of((), {})


def case(tables: NetTables, p: Array, loading_pct: Array | None = None, controlled: bool = False) -> Reswitching:
    """Normal ratings unless others are given."""
    loading_pct = np.full(len(tables.elements), 100.0) if loading_pct is None else loading_pct
    return Reswitching(tables, NOTHING, p, 0.2 * p, np.zeros((len(p), 2), dtype=np.int64), controlled, loading_pct)


def feeders(tables: NetTables, steps: int) -> Array:
    p = -np.random.default_rng(4).uniform(0.2, 0.9, (steps, len(tables.buses.number)))
    p[:, :2] = 0.0
    return p


def test_both_kinds_of_open_points_are_found_and_only_those_that_are_open(tmp_path: Path) -> None:
    tables = loaded(ring_net(), tmp_path).network._tables
    assert open_points(tables, NOTHING) == [
        OpenPoint(f"switch {COUPLER}", (COUPLER,), (9, 10)), OpenPoint(f"line {TIE}", (0,), (5, 8)),
    ]  # fmt: skip
    assert [p.name for p in open_points(tables, switching_of((), {COUPLER: True}))] == [f"line {TIE}"]
    assert [p.name for p in open_points(tables, switching_of((TIE,), {}))] == [f"switch {COUPLER}"]


def by_pandapower(net: Any, line: int, switch: int, p: Array) -> tuple[Array, float]:
    """Greatest loading per step and unsupplied MW with one line out and one switch closed."""
    net = copy.deepcopy(net)
    net.line.loc[line, "in_service"] = False
    net.switch.loc[switch, "closed"] = True
    worst, dark = np.zeros(len(p)), 0.0
    for t in range(len(p)):
        vm, loading = solve_pandapower(net, p[t], 0.2 * p[t], (0, 0))
        worst[t] = np.nanmax(loading)
        dark += -p[t, np.isnan(vm)].sum()
    return worst, dark


@pytest.mark.parametrize("line", [0, 1, 2, 4, 5, 6, 8, 9])
def test_the_best_open_point_is_the_one_pandapower_finds(tmp_path: Path, line: int) -> None:
    net = ring_net()
    tables = loaded(net, tmp_path).network._tables
    p = feeders(tables, 3)
    (found,) = dict(case(tables, p).every([line])).values()
    lean = bare(net)
    tried = {number: by_pandapower(lean, line, number, p) for number in (0, COUPLER)}
    rated = {n: (dark, int((worst > 100.001).sum()), worst.max()) for n, (worst, dark) in tried.items()}
    lost = by_pandapower(lean, line, 0, p)[1]
    best = min(rated, key=lambda n: rated[n])
    assert (found is not None and found.point.switches == (best,)) or lost == rated[COUPLER][0] > 0.0
    if found is not None:
        worst, dark = tried[found.point.switches[0]]
        np.testing.assert_allclose(100.0 * found.screened.usage[0], worst, atol=1e-6)
        assert found.screened.unsupplied_mw.sum() == pytest.approx(dark, abs=1e-9)


def test_where_no_open_point_reaches_the_dark_part_nothing_helps(tmp_path: Path) -> None:
    net = ring_net()
    net.switch = net.switch.drop(0)
    net.line.loc[TIE, "in_service"] = False
    tables = loaded(net, tmp_path).network._tables
    assert dict(case(tables, feeders(tables, 2)).every([3, 8]))[3] is None


def test_in_a_meshed_net_nothing_is_reswitched(tmp_path: Path) -> None:
    tables = loaded(meshed_net(), tmp_path).network._tables
    assert dict(case(tables, feeders(tables, 2)).every(range(8))) == {}


def test_emergency_ratings_decide_what_is_clean(tmp_path: Path) -> None:
    tables = loaded(ring_net(rating_ka=0.15), tmp_path).network._tables
    p = feeders(tables, 4)
    count = len(tables.elements)
    rated = dict(case(tables, p).every([0]))[0]
    wide = dict(case(tables, p, np.full(count, 400.0)).every([0]))[0]
    assert rated is not None and wide is not None
    assert rated.screened.violated.any() and not wide.screened.violated.any()
    np.testing.assert_allclose(rated.screened.usage, 4.0 * wide.screened.usage, rtol=1e-9)


def test_taps_follow_after_reclosing_only_where_they_are_controlled(tmp_path: Path) -> None:
    net = ring_net()
    net.trafo["autoTap"], net.trafo["autoTapSide"], net.trafo["autoTapSetp"] = 1, "lv", 1.05
    tables = loaded(net, tmp_path).network._tables
    p = feeders(tables, 2)
    held, moved = (dict(case(tables, p, controlled=c).every([1]))[1] for c in (False, True))
    assert held is not None and moved is not None
    assert (moved.screened.vm_low_pu > held.screened.vm_low_pu).all()


def test_a_transformer_outage_restores_like_a_line_outage(tmp_path: Path) -> None:
    """A second, separate supply takes the ring over when its only transformer goes."""
    net = ring_net()
    pp.create_bus(net, 20.0, min_vm_pu=0.95, max_vm_pu=1.05)
    pp.create_transformer_from_parameters(
        net, 0, 11, sn_mva=25.0, vn_hv_kv=110.0, vn_lv_kv=20.0, vkr_percent=0.4, vk_percent=11.0, pfe_kw=15.0,
        i0_percent=0.1, shift_degree=150.0,
    )  # fmt: skip
    pp.create_switch(net, 11, 1, "b", closed=False, type="CB")
    net.trafo.loc[1, "in_service"] = False
    tables = loaded(net, tmp_path).network._tables
    p = feeders(tables, 1)
    first = len(tables.lines.number)
    taps = np.zeros((1, 3), dtype=np.int64)
    rated = np.full(len(tables.elements), 100.0)
    found = dict(Reswitching(tables, NOTHING, p, 0.2 * p, taps, False, rated).every([first]))[first]
    assert found is not None and found.point.switches == (2,) and found.screened.unsupplied_mw.sum() == 0.0
    lean = bare(net)
    lean.trafo.loc[0, "in_service"], lean.switch.loc[2, "closed"] = False, True
    _, loading = solve_pandapower(lean, p[0], 0.2 * p[0], (0, 0, 0))
    assert found.screened.usage[0, 0] == pytest.approx(np.nanmax(loading) / 100.0, abs=1e-8)
