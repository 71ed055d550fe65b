"""Build and hand-over of the fleet case (`fleet_case`) in our blocks or in another modelling layer.

`python benchmarks/fleet.py --assets N --layer ours|linopy|cvxpy|pyomo` prints one JSON object as its last
line. `build_s` is from the case's data (ours: assets with states and inputs, as the service holds them, made
in `data_s`) to the stated model, `handover_s` until it lies in HiGHS, ready to run; imports are in neither.
`user_s` and `system_s` are the processor's time in both, in the program and in the operating system: the
second is first use of memory, dear on a virtual machine whose host takes free memory back. `peak_rss_mb` is the
process's, imports included and before anything is solved; `lp_objective` is the optimum of the relaxation, up to
1,000 assets.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.fleet_case import (
    HIGH_SHARE,
    HOURS,
    LOW_SHARE,
    MINIMUM_TIMES_H,
    MISSED_EUR_PER_MWH,
    PEAK_EUR_PER_MW,
    START_EUR,
    STEPS,
    WEAR_EUR_PER_MWH,
    Case,
    fleet_case,
)
from benchmarks.fleet_peers import LAYERS, relaxed_optimum
from dispatch.assets import battery, process
from dispatch.block import INF, Block, Columns, Context, Rows, eye, stack
from dispatch.problem import Problem, assemble
from dispatch.products.energy import bid_energy
from dispatch.registry import KINDS
from dispatch.solvers.highs_door import NEVER_S, Living
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.time import Array, TimeGrid

INSTALL = "make setup (development packages)"
LP_UP_TO = 1_000
LEAST_ASSETS = 6
START = datetime(2016, 7, 12, tzinfo=UTC)
LAYER_NAMES = ("ours", *LAYERS)


@dataclass(frozen=True)
class Fleet:
    """The case as the service holds it: assets by kind and what is known of them."""

    assets: dict[str, list[Asset]]
    context: Context

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(a.id for members in self.assets.values() for a in members)


def fleet_of(case: Case) -> Fleet:
    """Assets, states and inputs; a tonne of product is counted as the MWh that made it."""
    grid = TimeGrid.uniform(START, timedelta(hours=HOURS), STEPS)
    assets: dict[str, list[Asset]] = {"battery": [], "process": []}
    states: dict[str, AssetState] = {}
    inputs: dict[str, dict[str, Array]] = {}

    def add(kind: str, params: Any, stored_mwh: float, given: dict[str, Array]) -> None:
        name = f"{kind}-{len(assets[kind])}"
        assets[kind].append(Asset(name, kind, "site", f"mp:{name}", "node", None, params))
        states[name] = AssetState(name, START, START, 0.0, stored_mwh)
        inputs[name] = given

    b, q = case.batteries, case.loads
    for i, eta in enumerate(b.eta.tolist()):
        params = battery.Params(
            power_mw=b.power_mw[i], capacity_mwh=b.capacity_mwh[i], charge_efficiency=eta, discharge_efficiency=eta,
            wear_eur_per_mwh=WEAR_EUR_PER_MWH, soc_min=LOW_SHARE, soc_max=HIGH_SHARE,
        )  # fmt: skip
        add("battery", params, float(b.start_mwh[i]), {})
    for j, k in enumerate(q.make.tolist()):
        run_h, stop_h = MINIMUM_TIMES_H[k]
        silo = process.Silo(
            id=f"store-{j}", capacity_t=q.capacity_mwh[j], kwh_per_t=1000.0, missed_eur_per_t=MISSED_EUR_PER_MWH
        )
        load = process.Params(
            power_mw=q.power_mw[j], kwh_per_t=1000.0, min_run_h=run_h, min_stop_h=stop_h, start_cost_eur=START_EUR,
            silo=silo,
        )  # fmt: skip
        add("process", load, float(q.start_mwh[j]), {"shipments_t_per_h": q.drawn_mw[j]})
    return Fleet(assets, Context(grid, START, states, inputs))


def site_block(case: Case, ids: Sequence[str], grid: TimeGrid) -> Block:
    """The connection's net injection at a price within its limit, and a charge on its highest consumption."""
    energy = bid_energy(ids, ids, grid, case.price_eur_per_mwh)
    net = replace(energy.columns[0], lower=-case.connection_mw, upper=case.connection_mw)
    peak = Columns("peak_mw", (1, 1), cost=PEAK_EUR_PER_MW, term="fee")
    wide = [net.size, peak.size]
    of_net = {0: eye(grid.n)}
    of_peak = {1: sp.csr_array(np.ones((grid.n, 1)))}
    rows = (
        replace(energy.rows[0], own=stack(wide, of_net, grid.n)),
        Rows("above_peak", 0.0, INF, own=stack(wide, of_net | of_peak, grid.n)),
    )
    return Block("site", (net, peak), rows)


def problem_of(case: Case, fleet: Fleet) -> Problem:
    """The case through the kinds' own blocks."""
    ids, context = fleet.ids, fleet.context
    blocks = [KINDS[kind].block(members, context) for kind, members in fleet.assets.items()]
    return assemble(context.grid, ids, [*blocks, site_block(case, ids, context.grid)])


def measure_ours(assets: int) -> dict[str, Any]:
    """Build by blocks and `assemble`, hand-over by the HiGHS door."""
    began = time.perf_counter()
    case = fleet_case(assets)
    fleet = fleet_of(case)
    gc.collect()
    ready, used = time.perf_counter(), processor_s()
    problem = problem_of(case, fleet)
    built = time.perf_counter()
    living = Living(problem)
    handed = time.perf_counter()
    return {
        "data_s": ready - began, "build_s": built - ready, "handover_s": handed - built, **processor_s(used),
        "rows": problem.rows, "cols": problem.columns, "nnz": problem.matrix.nnz, "peak_rss_mb": peak_rss_mb(),
        "lp_objective": living.solve_lp(NEVER_S, interior=True).objective if assets <= LP_UP_TO else None,
    }  # fmt: skip


def measure_peer(assets: int, layer: str) -> dict[str, Any]:
    """The same case in another layer."""
    began = time.perf_counter()
    case = fleet_case(assets)
    data_s, used = time.perf_counter() - began, processor_s()
    handed = LAYERS[layer](case)
    used, highs, peak = processor_s(used), handed.highs, peak_rss_mb()
    return {
        "data_s": data_s, "build_s": handed.build_s, "handover_s": handed.handover_s, **used,
        "rows": highs.getNumRow(), "cols": highs.getNumCol(), "nnz": highs.getNumNz(), "peak_rss_mb": peak,
        "lp_objective": relaxed_optimum(highs) if assets <= LP_UP_TO else None,
    }  # fmt: skip


def processor_s(since: Mapping[str, float] | None = None) -> dict[str, float]:
    """Seconds of the processor that this process used, `since` an earlier answer or altogether."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    now = {"user_s": used.ru_utime, "system_s": used.ru_stime}
    return {name: s - (since[name] if since else 0.0) for name, s in now.items()}


def peak_rss_mb() -> float:
    """Largest resident memory of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0, 1)


def run(assets: int, layer: str) -> dict[str, Any]:
    """The figures of one layer; SystemExit with one line where the layer is not installed."""
    if layer != "ours" and importlib.util.find_spec(layer) is None:
        raise SystemExit(f"--layer {layer} needs the package {layer}: {INSTALL}")
    found = measure_ours(assets) if layer == "ours" else measure_peer(assets, layer)
    return {"layer": layer, "assets": assets} | {k: round(v, 4) if k.endswith("_s") else v for k, v in found.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=int, default=1_000)
    parser.add_argument("--layer", choices=LAYER_NAMES, default="ours")
    given = parser.parse_args()
    if given.assets < LEAST_ASSETS:
        parser.error(f"a fleet needs at least {LEAST_ASSETS} assets")
    print(json.dumps(run(given.assets, given.layer)))
