"""Batch AC power flow of the demo network against a pandapower loop and power-grid-model.

`python -m benchmarks.ac` solves 96 steps x 50 scenarios at held taps and prints one JSON object as
its last line. The pandapower loop is timed on a sample of the cases and scaled; all engines are
compared on the voltages they find. power-grid-model is left out where it is not installed.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from grid_models.batch import Engine
from grid_models.compile import compile_state, switching_of
from grid_models.model import AcNetwork, load_grid
from grid_models.spec import NetworkSpec
from vpp.domain.network import Flow
from vpp.domain.time import QUARTER, Array, TimeGrid

ROOT = Path(__file__).resolve().parents[1]
SPEC = NetworkSpec(
    simbench="1-MV-comm--2-sw", load_growth=1.5, tap_changer="ratio", tap_dead_band_pu=0.01, drop_storage=True
)


def injections(steps: int, scenarios: int) -> tuple[AcNetwork, TimeGrid, Array, Array]:
    """A winter day's background, every bus varied by up to 30 % in each scenario."""
    model = load_grid(SPEC, [], ROOT / ".cache")
    grid = TimeGrid.uniform(datetime(2016, 1, 18, 23, tzinfo=UTC), QUARTER, steps)
    first = (grid.start - next(iter(model.series.values())).start) // QUARTER
    at = slice(first, first + steps)
    names = model.background.series
    p_values = np.array([model.series[s].values[at] for s in names])
    q_values = np.array([model.q_values[s][at] if s in model.q_values else np.zeros(steps) for s in names])
    p, q = model.background.injection(p_values, q_values)
    factor = np.random.default_rng(1).uniform(0.7, 1.3, (scenarios, steps, p.shape[-1]))
    return model.network, grid, factor * p, factor * q


def batch(network: AcNetwork, grid: TimeGrid, p: Array, q: Array) -> tuple[Flow, float]:
    """Our engine at held taps: flow and seconds, the first call's inverse included."""
    taps = np.zeros((*p.shape[:2], 2), dtype=np.int64)
    started = time.perf_counter()
    return network.flow(grid, p, q, taps), time.perf_counter() - started


def pandapower_loop(network: AcNetwork, flow: Flow, sample: int) -> tuple[float, float]:
    """Seconds a case and greatest voltage difference over the first `sample` steps of case 0."""
    few, _ = batch(network, flow.grid.part(0, sample), flow.p_mw[:1, :sample], flow.q_mvar[:1, :sample])
    network.verdict(few)
    started = time.perf_counter()
    answer = network.verdict(few)
    return (time.perf_counter() - started) / sample, float(np.abs(answer.vm_pu - few.vm_pu).max())


def power_grid_model(network: AcNetwork, flow: Flow) -> tuple[float, float] | None:
    """Seconds of the whole batch and greatest voltage difference, or None where it is not installed."""
    try:
        import power_grid_model as pgm
    except ImportError:
        return None
    engine = Engine.of(compile_state(network._tables, switching_of((), {})), (0, 0))
    node = engine.state.node
    used = np.flatnonzero((node >= 0) & (node < engine.state.n))
    loads = rows(pgm, "sym_load", id=10_000 + used, node=node[used], status=1, type=0, p_specified=0.0, q_specified=0.0)
    cases = flow.p_mw.shape[0] * flow.p_mw.shape[1]
    update = pgm.initialize_array("update", "sym_load", (cases, len(used)))
    update["id"] = loads["id"]
    update["p_specified"] = -1e6 * flow.p_mw.reshape(cases, -1)[:, used]
    update["q_specified"] = -1e6 * flow.q_mvar.reshape(cases, -1)[:, used]
    model = pgm.PowerGridModel({**pgm_branches(pgm, engine), "sym_load": loads})
    started = time.perf_counter()
    out = model.calculate_power_flow(
        update_data={pgm.ComponentType.sym_load: update}, threading=0, error_tolerance=1e-10,
        output_component_types=[pgm.ComponentType.node, pgm.ComponentType.generic_branch],
    )  # fmt: skip
    seconds = time.perf_counter() - started
    found = out[pgm.ComponentType.node]["u_pu"][:, node[used]]
    return seconds, float(np.abs(found - flow.vm_pu.reshape(cases, -1)[:, used]).max())


def rows(pgm: Any, component: str, **columns: Any) -> Any:
    """Input rows of a component, as many as it has ids."""
    array = pgm.initialize_array("input", component, len(np.atleast_1d(columns["id"])))
    for name, values in columns.items():
        array[name] = values
    return array


def pgm_branches(pgm: Any, engine: Engine) -> dict[str, Any]:
    """Nodes and slack; every branch as a generic pi branch, or a shunt where one end is open."""
    state, b, n = engine.state, engine.branches, engine.state.n
    u_rated = np.zeros(n + 1)
    live = state.node >= 0
    u_rated[state.node[live]] = state.tables.buses.vn_kv[live] * 1e3
    slack = complex(state.slack_v[0])
    source = rows(pgm, "source", id=9_000, node=n, status=1, sk=1e20, u_ref=abs(slack), u_ref_angle=np.angle(slack))
    whole = np.abs(b.tf) > 0.0
    f, t = state.from_node[whole], state.to_node[whole]
    shift = np.deg2rad(np.r_[np.zeros(len(state.tables.lines.number)), state.tables.trafos.shift_degree])[whole]
    ratio = np.sqrt(np.abs(b.tt[whole] / b.ff[whole]))
    series = -b.tf[whole] * ratio * np.exp(1j * shift)
    shunt, base = 2.0 * (b.tt[whole] - series), u_rated[t] ** 2 / 1e6
    branch = rows(
        pgm, "generic_branch", id=5_000 + np.arange(len(f)), from_node=f, to_node=t, from_status=1, to_status=1,
        r1=(1 / series).real * base, x1=(1 / series).imag * base, g1=shunt.real / base, b1=shunt.imag / base,
        k=ratio, theta=shift,
    )  # fmt: skip
    open_ = ~whole & (np.abs(b.ff) + np.abs(b.tt) > 0.0)
    at = np.where(np.abs(b.ff[open_]) > 0.0, state.from_node[open_], state.to_node[open_])
    siemens = (b.ff + b.tt)[open_] * 1e6 / u_rated[at] ** 2
    shunts = rows(
        pgm, "shunt", id=8_000 + np.arange(len(at)), node=at, status=1, g1=siemens.real, b1=siemens.imag
    )
    return {"node": rows(pgm, "node", id=np.arange(n + 1), u_rated=u_rated), "source": source,
            "generic_branch": branch, "shunt": shunts}  # fmt: skip


def main() -> None:
    """Times the three engines and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=96)
    parser.add_argument("--scenarios", type=int, default=50)
    parser.add_argument("--sample", type=int, default=30, help="cases of the pandapower loop")
    given = parser.parse_args()
    network, grid, p, q = injections(given.steps, given.scenarios)
    batch(network, grid, p, q)
    flow, ours_s = batch(network, grid, p, q)
    cases = given.steps * given.scenarios
    loop_s, loop_error = pandapower_loop(network, flow, min(given.sample, given.steps))
    result: dict[str, Any] = {
        "cases": cases, "ours_s": round(ours_s, 4), "pandapower_s": round(loop_s * cases, 1),
        "pandapower_ms_per_case": round(loop_s * 1e3, 2), "ratio_pandapower": round(loop_s * cases / ours_s, 1),
        "max_difference_pu": loop_error,
    }  # fmt: skip
    peer = power_grid_model(network, flow)
    if peer is not None:
        result |= {"power_grid_model_s": round(peer[0], 4), "ratio_power_grid_model": round(peer[0] / ours_s, 2),
                   "max_difference_power_grid_model_pu": peer[1]}  # fmt: skip
    print(f"{cases} cases: ours {ours_s:.3f} s, pandapower {loop_s * cases:.1f} s (from {given.sample} cases)")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
