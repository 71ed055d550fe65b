"""Share of joint scenarios without violation under the day's plan, and what the room for them costs.

`python -m benchmarks.scenario_share --day 2016-07-12` plans the day as `vpp plan` does and prints one JSON object as
its last line. Clean is a scenario whose AC power flow, with our assets at the plan and everybody else at their draw,
keeps every limit at every step; what real time would do against it is not in the share. `share_planned` is over the
scenarios the plan was made with, `share_fresh` over `--fresh` others of the same forecast (`--seed`), `share_bare`
over those for a plan that is secure on the mean forecast alone. `share_reachable` bounds what any plan can reach: a
scenario counts as lost where one violated (element, step) stays violated with every asset at the end of its range
that relieves it most (linearised there, each row alone, energy and commitment forgotten).
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from dispatch.certify import scenario_violations
from dispatch.exposure import Exposure, Scenarios, bus_injection, scenario_injection
from dispatch.problem import Problem
from forecasting import pipeline
from forecasting.scenarios import seed_of
from vpp.domain.network import Cut, Network, Violation
from vpp.domain.time import Array
from vpp.service.assemble import exposure_of, problem_of, scenarios_of
from vpp.service.cascade import plan_of
from vpp.service.plan import plan_day, prepare_day
from vpp.service.settings import Settings
from vpp.service.situation import Situation
from vpp.service.system import System

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "config" / "demo"
CACHE = ROOT / ".cache" / "vpp"
WORST = 5


def fresh(system: System, s: Situation, count: int, seed: int) -> Situation:
    """The situation with other draws of the same forecast."""

    def other(issued_at: datetime, series: Sequence[str]) -> int:
        return seed_of(issued_at, series) ^ seed

    with mock.patch.object(pipeline, "seed_of", other):
        return replace(s, forecast=system.forecast(s.now, s.grid, count))


def broken(s: Situation, exposure: Exposure, power_mw: Array) -> tuple[list[Violation], float]:
    """Every violation of a plan (N,T) in the scenarios of `s`, and the share of scenarios without any."""
    network, scenarios = _side(s), _drawn(s, power_mw)
    found = scenario_violations(power_mw, network, exposure, scenarios, s.grid)
    return found, 1.0 - len({v.case for v in found}) / len(scenarios.p_background_mw)


def _side(s: Situation) -> Network:
    assert s.grid_side is not None
    return s.grid_side.network


def _drawn(s: Situation, power_mw: Array) -> Scenarios:
    found = scenarios_of(s, power_mw)
    assert found is not None
    return found


def reach_mw(problem: Problem) -> tuple[Array, Array]:
    """The least and the greatest injection (N,T) of every asset, by the bounds of its columns alone."""
    width = problem.power.shape[1]
    low, high = problem.lower[:width], problem.upper[:width]
    up, down = problem.power.maximum(0), problem.power.minimum(0)
    with np.errstate(invalid="ignore"):
        least, most = up @ low + down @ high, up @ high + down @ low
    shape = len(problem.asset_ids), problem.grid.n
    return (least + problem.power_offset).reshape(shape), (most + problem.power_offset).reshape(shape)


def lost(s: Situation, exposure: Exposure, power_mw: Array, dirty: Sequence[int], problem: Problem) -> list[int]:
    """The scenarios among `dirty` that no plan keeps clean."""
    if not dirty:
        return []
    low, high = reach_mw(problem)
    p, q = scenario_injection(exposure, power_mw, _drawn(s, power_mw))
    p0, q0 = bus_injection(exposure, power_mw)
    chosen = list(dirty)
    flow = _side(s).flow(s.grid, np.concatenate([p0[:1], p[chosen]]), np.concatenate([q0[:1], q[chosen]]))
    found = set()
    for cut in _side(s).cuts(flow, per_step=10**6):
        if cut.case and _stays(cut, exposure, power_mw, low, high, flow.p_mw, flow.q_mvar):
            found.add(chosen[cut.case - 1])
    return sorted(found)


def _stays(
    cut: Cut, exposure: Exposure, power_mw: Array, low: Array, high: Array, p_mw: Array, q_mvar: Array
) -> bool:
    """Whether a cut stays violated with every asset at its best end."""
    effect = exposure.incidence @ cut.dp + exposure.tan_phi * (exposure.incidence @ cut.dq)
    past = float(cut.dp @ p_mw[cut.case, cut.step] + cut.dq @ q_mvar[cut.case, cut.step]) - cut.limit
    acts = effect != 0.0
    best = np.where(effect > 0.0, low[:, cut.step], high[:, cut.step])
    relief = float((effect * (power_mw[:, cut.step] - best))[acts].sum())
    return past > relief


def measured(portfolio: Path, day: date, count: int, seed: int) -> dict[str, Any]:
    """Plan the day with and without room for the scenarios, and count."""
    settings = Settings(cache_dir=CACHE, models_dir=CACHE / "models")
    system, issued = prepare_day(portfolio, day, settings, "sqlite://", lambda _done, _of: None)
    planning = time.process_time()
    s, run = plan_day(system, issued, secure=True)
    plan_cpu_s = round(time.process_time() - planning, 2)
    exposure, others = exposure_of(s), fresh(system, s, count, seed)
    if run.solution is None or run.certificate is None or exposure is None:
        raise SystemExit(f"no secured plan to measure: {run.level}, {run.reason}")
    power_mw = run.schedule.power_mw
    began, cpu = time.perf_counter(), time.process_time()
    found, share = broken(others, exposure, power_mw)
    count_s = {"wall": round(time.perf_counter() - began, 2), "cpu": round(time.process_time() - cpu, 2)}
    dirty = sorted({int(v.case.split()[1]) for v in found})
    hopeless = lost(others, exposure, power_mw, dirty, problem_of(s))
    bare = plan_of(s, replace(exposure, errors=None)).solution
    _, share_bare = broken(others, exposure, bare.schedule.power_mw)
    return {
        "day": day.isoformat(), "scenarios": count, "steps": s.grid.n, "verdict": run.certificate.verdict,
        "level": run.level, "status": run.solution.status,
        "share_planned": run.certificate.share_clean, "share_fresh": share, "share_bare": share_bare,
        "share_reachable": 1.0 - len(hopeless) / count,
        "dirty_by_element": dict(Counter(e for e, _ in {(v.element, v.case) for v in found}).most_common(WORST)),
        "rows_broken": len({(v.element, v.step) for v in found}),
        "worst": max(((v.excess, v.element, v.step, v.value, v.limit) for v in found), default=None),
        "objective": run.solution.objective, "bound": run.solution.bound, "gap": run.solution.gap,
        "objective_bare": bare.objective, "gap_bare": bare.gap,
        "cost_of_room_pct": 100.0 * (run.solution.objective / bare.objective - 1.0),
        "rounds": run.solution.rounds, "wall_s": {k: round(v, 2) for k, v in run.wall_s.items()},
        "plan_cpu_s": plan_cpu_s,
        "wall_bare_s": {k: round(v, 2) for k, v in bare.wall_s.items()}, "count_s": count_s,
    }  # fmt: skip


def main() -> None:
    """Prints the figures of one day."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portfolio", type=Path, default=DEMO)
    parser.add_argument("--day", type=date.fromisoformat, default=date(2016, 7, 12))
    parser.add_argument("--fresh", type=int, default=200, help="scenarios other than those planned with")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.seed == 0 or given.fresh < 1:
        parser.error("--seed must not be 0, whose draws are those planned with, and --fresh at least 1")
    print(json.dumps(measured(given.portfolio, given.day, given.fresh, given.seed)))


if __name__ == "__main__":
    main()
