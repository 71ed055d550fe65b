"""A user's own pandapower file: parsed, solved as pandapower solves it, and cached."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandapower as pp
import pytest

from grid_models.model import load_grid
from grid_models.spec import NetworkSpec
from tests.grid_models.conftest import CACHE, SPEC, quarters
from tests.grid_models.small_net import small_net
from vpp.domain.portfolio import Outage

START = datetime(2016, 3, 1, tzinfo=UTC)
TAPS = ((0, 0), (-9, 4), (5, -3), (9, 9))


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("dead_end", [False, True])
def test_equals_pandapower_on_what_the_demo_does_not_have(tmp_path: Path, closed: bool, dead_end: bool) -> None:
    net = small_net()
    net.bus.loc[5, "in_service"] = not dead_end
    net.switch.loc[0, "closed"] = closed
    pp.to_json(net, str(tmp_path / "net.json"))
    model = load_grid(NetworkSpec(file=str(tmp_path / "net.json"), load_growth=1.3), [], tmp_path / "cache")
    p, q = model.background.injection(np.ones((1, len(TAPS))), np.ones((1, len(TAPS))))
    flow = model.network.flow(quarters(START, len(TAPS)), p[None], q[None], np.array(TAPS)[None])
    net.load["scaling"] *= 1.3
    for t, taps in enumerate(TAPS):
        net.trafo["tap_pos"] = taps
        pp.runpp(net, calculate_voltage_angles=True, numba=False, lightsim2grid=False, tolerance_mva=1e-11)
        np.testing.assert_allclose(flow.vm_pu[0, t], net.res_bus.vm_pu, atol=1e-8)
        loading = np.r_[net.res_line.loading_percent, net.res_trafo.loading_percent]
        np.testing.assert_allclose(flow.loading_pct[0, t], loading, atol=1e-6)
    verdict = model.network.verdict(flow)
    np.testing.assert_allclose(verdict.vm_pu, flow.vm_pu, atol=1e-8)
    np.testing.assert_allclose(verdict.loading_pct, flow.loading_pct, atol=1e-6)


def test_fused_buses_share_one_voltage_and_the_coefficients_of_cuts(tmp_path: Path) -> None:
    net = small_net()
    pp.to_json(net, str(tmp_path / "net.json"))
    tie = Outage("tie", START, datetime(2016, 3, 2, tzinfo=UTC), (), {0: True})
    model = load_grid(NetworkSpec(file=str(tmp_path / "net.json"), load_growth=6.0), [tie], tmp_path / "cache")
    p, q = model.background.injection(np.ones((1, 1)), np.ones((1, 1)))
    flow = model.network.flow(quarters(START, 1), p[None], q[None])
    assert flow.vm_pu[0, 0, 3] == flow.vm_pu[0, 0, 4]
    cuts = model.network.cuts(flow, near_pct=5.0, per_step=50)
    assert cuts and all(c.dp[3] == c.dp[4] and c.dq[3] == c.dq[4] and c.dp[0] == 0.0 for c in cuts)
    buses = [c.element for c in cuts if c.element.startswith("bus")]
    assert {"bus 3", "bus 4"} & set(buses)
    assert len(buses) == len(set(buses)) and not {"bus 3", "bus 4"} <= set(buses)


def test_second_load_is_fast_and_leaves_pandapower_alone() -> None:
    code = (
        "import sys, time; from pathlib import Path; from grid_models.model import load_grid;"
        "from grid_models.spec import NetworkSpec;"
        f"spec = NetworkSpec.model_validate_json({SPEC.model_dump_json()!r}); t = time.perf_counter();"
        f"load_grid(spec, [], Path({str(CACHE)!r})); print(time.perf_counter() - t, 'pandapower' in sys.modules)"
    )
    load_grid(SPEC, [], CACHE)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert float(out[0]) < 1.0 and out[1] == "False"


def test_the_cache_follows_the_file_s_content(tmp_path: Path) -> None:
    net, path = small_net(), tmp_path / "net.json"
    pp.to_json(net, str(path))
    spec = NetworkSpec(file=str(path))
    before = load_grid(spec, [], tmp_path / "cache").background.p_map.sum()
    net.load["p_mw"] += 1.0
    pp.to_json(net, str(path))
    after = load_grid(spec, [], tmp_path / "cache").background.p_map.sum()
    assert after == pytest.approx(before - 1.5)
    started = time.perf_counter()
    load_grid(spec, [], tmp_path / "cache")
    assert time.perf_counter() - started < 1.0
