"""Batteries behind one connection that binds, one price both ways: our blocks beside the bare sparse LP.

`python benchmarks/storage_fleet.py --batteries N [--peers DIR]` plans 96 quarters through the battery kind, a
fixed load and the connection's limit, and prints one JSON object as its last line. `total_s` is from the case's
arrays to the schedule: assets, blocks, hand-over, solution, read-out. The case is drawn here; where the folder
of peers is given or found (../shared/peers beside the project) its own case is compared, number by number, and
its bare LP is timed in the same process: `bare_s` from arrays to optimum, `ratio` = total_s / bare_s. With
`--repeat` each is run that often, alternately, and the medians are printed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from dispatch.assets import battery, fixed_load
from dispatch.block import Block, Context
from dispatch.problem import Problem, assemble, read_schedule
from dispatch.products.energy import bid_energy
from dispatch.registry import KINDS
from dispatch.solvers.highs_door import NEVER_S, Living
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.schedule import Schedule
from vpp.domain.time import TimeGrid

STEPS, HOURS, SEED = 96, 0.25, 7
START = datetime(2016, 7, 12, tzinfo=UTC)
HOURLY_EUR_PER_MWH = (
    50, 55, 60, 75, 90, 85, 52.5, 45, 47.5, 45, 42.5, 50, 40, 25, 20, 20, 27.5, 40, 60, 65, 70, 62.5, 50, 35,
)  # fmt: skip
LOW_SHARE, HIGH_SHARE = 0.1, 0.95
PEERS = Path(__file__).resolve().parents[2] / "shared" / "peers"


def storage_case(batteries: int) -> dict[str, Any]:
    """The shared case for `batteries`: names and values as the peers' file has them; consumption is positive in it."""
    draw = np.random.default_rng(SEED).uniform
    capacity = draw(0.5, 2.0, batteries)
    power = capacity * draw(0.25, 0.6, batteries)
    efficiency = np.sqrt(draw(0.85, 0.95, batteries))
    start = capacity * draw(0.3, 0.7, batteries)
    base = power.sum() * (0.6 + 0.3 * np.sin(np.linspace(0, 2 * np.pi, STEPS)))
    return {
        "n": batteries, "capacity_mwh": capacity, "power_mw": power, "efficiency": efficiency, "start_mwh": start,
        "min_mwh": LOW_SHARE * capacity, "max_mwh": HIGH_SHARE * capacity,
        "price_eur_per_mwh": np.repeat(np.array(HOURLY_EUR_PER_MWH, dtype=float), 4), "base_mw": base,
        "connection_mw": base.max() + 0.35 * power.sum(),
    }  # fmt: skip


def problem_of(case: Mapping[str, Any]) -> Problem:
    """The case through the kinds' blocks."""
    grid = TimeGrid.uniform(START, timedelta(hours=HOURS), STEPS)
    peak = fixed_load.Params(peak_mw=case["base_mw"].max())
    base = Asset("base", "fixed_load", "site", "mp:base", "node", None, peak)
    fleet, states = [], {}
    for i, eta in enumerate(case["efficiency"].tolist()):
        name = f"battery-{i}"
        params = battery.Params(
            power_mw=case["power_mw"][i], capacity_mwh=case["capacity_mwh"][i], soc_min=LOW_SHARE, soc_max=HIGH_SHARE,
            charge_efficiency=eta, discharge_efficiency=eta, wear_eur_per_mwh=0.0,
        )  # fmt: skip
        fleet.append(Asset(name, "battery", "site", f"mp:{name}", "node", None, params))
        states[name] = AssetState(name, START, START, 0.0, float(case["start_mwh"][i]))
    context = Context(grid, START, states, {"base": {"load_mw": case["base_mw"]}})
    ids = (*(a.id for a in fleet), base.id)
    blocks = [KINDS["battery"].block(fleet, context), KINDS["fixed_load"].block([base], context)]
    return assemble(grid, ids, [*blocks, connection(case, ids, grid)])


def connection(case: Mapping[str, Any], ids: tuple[str, ...], grid: TimeGrid) -> Block:
    """Net injection sold and bought at the price, within the connection's limit."""
    energy = bid_energy(ids, ids, grid, case["price_eur_per_mwh"])
    net = replace(energy.columns[0], lower=-case["connection_mw"], upper=case["connection_mw"])
    return replace(energy, columns=(net,))


def plan(case: Mapping[str, Any]) -> tuple[float, Schedule]:
    """Cost and schedule. Raises NotSolved."""
    problem = problem_of(case)
    raw = Living(problem).solve_lp(NEVER_S)
    return raw.objective, read_schedule(problem, raw.x, raw.row_duals, np.zeros(len(problem.asset_ids)))


def ours(case: Mapping[str, Any]) -> tuple[float, float]:
    """Seconds and cost."""
    began = time.perf_counter()
    objective, _ = plan(case)
    return time.perf_counter() - began, objective


def bare_lp(peers: Path, case: Mapping[str, Any]) -> tuple[float, float]:
    """Seconds and cost of the peers' bare LP on its own case. Raises ValueError where that case is another one."""
    sys.path.insert(0, str(peers))
    try:
        theirs = importlib.import_module("storage_case").case(case["n"])
        solved = importlib.import_module("bare_lp").solve(theirs)
    finally:
        sys.path.remove(str(peers))
    other = [name for name, values in theirs.items() if not np.array_equal(values, case[name])]
    if other:
        raise ValueError(f"the peers' case differs in {', '.join(other)}")
    return solved["build_s"] + solved["solve_s"], solved["objective"]


def run(batteries: int, peers: Path | None, repeat: int) -> dict[str, Any]:
    """The figures; those of the bare LP are null without its folder."""
    case = storage_case(batteries)
    timed = [(ours(case), bare_lp(peers, case) if peers else None) for _ in range(repeat)]
    total_s, objective = float(np.median([own[0] for own, _ in timed])), timed[0][0][1]
    found: dict[str, Any] = {"batteries": batteries, "total_s": round(total_s, 4), "objective": round(objective, 6)}
    bare = [b for _, b in timed if b is not None]
    if not bare:
        return found | {"bare_s": None, "bare_objective": None, "ratio": None}
    bare_s = float(np.median([b[0] for b in bare]))
    return found | {
        "bare_s": round(bare_s, 4), "bare_objective": bare[0][1], "ratio": round(total_s / bare_s, 3),
        "cost_difference": abs(objective - bare[0][1]) / abs(bare[0][1]),
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batteries", type=int, default=100)
    parser.add_argument("--peers", type=Path, default=PEERS if PEERS.is_dir() else None)
    parser.add_argument("--repeat", type=int, default=1)
    given = parser.parse_args()
    if given.batteries < 1:
        parser.error("a fleet needs at least one battery")
    print(json.dumps(run(given.batteries, given.peers, given.repeat)))
