"""The problem a real VPP has: thousands of user batteries, some mills and engines, one network, one deadline.

`python -m benchmarks.vpp_uc --storages 2000 --processes 30 --chp 5 --network 1-MV-comm--2-sw --deadline 60`
prints one JSON object as its last line. The day has 96 quarters at the prices of `vpp_fleet`.

The network is the SimBench net with its own loads and generators of that day (2016-07-12, loads times
`--load-growth`) and its own storage left out. The fleet sits on the buses that carry load in the data set,
drawn evenly from `--seed`, so that small feeders get as many batteries as strong ones; in the valley of
prices all of them would charge at once, which no feeder end holds. Whether the network binds is in
`violations_first`, the number of (element, step) that the relaxation without cuts violates.

The expected case and the case in which control is lost (batteries at rest, mills off, engines heat-led) are
kept. The margins of every plan apply. `violations_final` is counted by the AC engine at the limits.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.vpp_fleet import Fleet, made, problem, quarters
from dispatch.exposure import Case, Exposure, bus_injection
from dispatch.registry import KINDS
from dispatch.secure import secure_plan
from grid_models.model import GridModel, load_grid
from grid_models.spec import NetworkSpec
from vpp.domain.errors import UnknownElement
from vpp.domain.time import QUARTER, TimeGrid

ROOT = Path(__file__).resolve().parents[1]
STEPS = 96


def loaded(code: str, growth: float) -> GridModel:
    """The SimBench net `code` with its series, its loads times `growth`."""
    spec = NetworkSpec(
        simbench=code, load_growth=growth, tap_changer="ratio", tap_dead_band_pu=0.01, drop_storage=True
    )  # fmt: skip
    return load_grid(spec, [], ROOT / ".cache")


def exposure_of(model: GridModel, fleet: Fleet, grid: TimeGrid) -> Exposure:
    """The day's loads and generators behind the fleet, which is summed per bus."""
    first = (grid.start - next(iter(model.series.values())).start) // QUARTER
    at, names = slice(first, first + grid.n), model.background.series
    p_values = np.array([model.series[s].values[at] for s in names])
    q_values = np.array([model.q_values[s][at] if s in model.q_values else np.zeros(grid.n) for s in names])
    p, q = model.background.injection(p_values, q_values)
    position = {bus: i for i, bus in enumerate(model.network.buses)}
    column = [position[a.bus] for a in fleet.assets if a.bus is not None]
    shape = (len(column), len(position))
    incidence = sp.csr_array((np.ones(len(column)), (np.arange(len(column)), column)), shape=shape)
    inputs = fleet.inputs(grid)
    lost = np.array([KINDS[a.kind].default_mw(a, fleet.states[a.id], inputs[a.id], grid) for a in fleet.assets])
    nothing_kept = Case("all_devices_at_default", np.zeros(lost.shape, dtype=bool), lost)
    return Exposure(incidence, np.zeros(len(column)), p, q, (nothing_kept,))


def load_buses(model: GridModel) -> list[int]:
    """Buses with a load of the data set, by number."""
    one = np.ones((len(model.background.series), 1))
    p, _ = model.background.injection(one, one * 0.0)
    return [bus for bus, mw in zip(model.network.buses, p[0], strict=True) if mw < 0.0]


def main() -> None:
    """Builds the case, plans it, and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storages", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=30)
    parser.add_argument("--chp", type=int, default=5)
    parser.add_argument("--network", default="1-MV-comm--2-sw", help="SimBench code, or none")
    parser.add_argument("--deadline", type=float, default=60.0)
    parser.add_argument("--gap", type=float, default=0.005)
    parser.add_argument("--load-growth", type=float, default=1.5)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    counts = given.storages, given.processes, given.chp
    if min(counts) < 0 or not any(counts):
        parser.error("numbers of assets are 0 or more, and one of them at least 1")
    try:
        model = None if given.network == "none" else loaded(given.network, given.load_growth)
    except UnknownElement as why:
        parser.error(f"argument --network: {why}")
    grid = quarters(STEPS)
    fleet = made(given.storages, given.processes, given.chp, load_buses(model) if model else [], given.seed)
    exposure = exposure_of(model, fleet, grid) if model else None
    print(json.dumps(run(fleet, grid, model, exposure, given)))


def run(
    fleet: Fleet, grid: TimeGrid, model: GridModel | None, exposure: Exposure | None, given: argparse.Namespace
) -> dict[str, Any]:
    """The benchmark's fields; the clock runs from the start of build to the plan."""
    began = time.perf_counter()
    whole = problem(fleet, grid)
    build_s = time.perf_counter() - began
    secured = secure_plan(
        whole, model.network if model else None, exposure,
        deadline_s=given.deadline - build_s, rel_gap=given.gap, max_rounds=20,
    )  # fmt: skip
    wall_s = time.perf_counter() - began
    solution = secured.solution
    final = 0
    if model is not None and exposure is not None:
        flow = model.network.flow(grid, *bus_injection(exposure, solution.schedule.power_mw))
        final = len(model.network.violations(flow, exposure.names))
    return {
        "storages": given.storages, "processes": given.processes, "chp": given.chp, "network": given.network,
        "objective": solution.objective, "bound": solution.bound, "gap": solution.gap, "gap_abs": solution.gap_abs,
        "status": solution.status, "rounds": solution.rounds, "cuts": len(secured.cuts),
        "violations_first": solution.violations_first, "violations_final": final, "wall_s": round(wall_s, 2),
        "build_s": round(build_s, 2), "solve_s": round(solution.wall_s["solve"], 2),
        "ac_s": round(solution.wall_s["ac"], 2), "cpu_s": round(time.process_time(), 2),
        "rows": whole.rows, "cols": whole.columns,
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0, 1),
    }  # fmt: skip


if __name__ == "__main__":
    main()
