"""Batch power flow, N-1 and reswitching of whole days against loops of pandapower.

`python benchmarks/grid.py powerflow|n-1|reswitching NET --day D [--engine E]` with a SimBench code,
`mv_oberrhein` or `case118`. `engine_s` runs from element tables and injections to the verdict on every
case, compilation included, the median of several runs; parsing the net is on neither side. Taps stay
where the net has them, on both sides. The pandapower loops are timed on `sampled_cases` (stretches of
steps of alterations drawn by seed) and scaled to all `cases`; `..._cpu` count the process's own time,
which other work on the machine disturbs less. What is compared in voltage, loading and verdict are the
sampled cases of the day, and as many of the day scaled step by step so that its median case meets a
limit, half of them drawn from those within 2 % of one: `near_limit_share` of the latter are (of the
rating, or 2 % of half the voltage band). The last line is one JSON object.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import grid_pandapower
from benchmarks.grid_cases import STEPS, GridCase, grid_case
from benchmarks.grid_pandapower import NUMBA, Loop, Stretch, broken
from benchmarks.grid_peers import PEERS
from benchmarks.grid_studies import NEAR, STUDIES, Answers, near_limit

Made = TypeVar("Made")
STRETCH = 24
ENOUGH_S = 60.0


@dataclass
class Compared:
    """Greatest differences, verdict mismatches and cases near a limit of what was compared."""

    dv_pu: float = 0.0
    dloading_pct: float = 0.0
    mismatches: int = 0
    cases: int = 0
    near: int = 0

    def add(self, case: GridCase, answers: Answers, loop: Loop) -> None:
        """Every case of a pandapower loop; a bus dark on one side alone is a mismatch too."""
        for (row, t), theirs in loop.found.items():
            mine = answers.detail(row, t)
            self.cases += 1
            self.near += bool(abs(answers.used[row, t] - 1.0) <= NEAR)
            verdict = True if theirs is None else broken(case, *theirs, answers.limit_pct)
            self.mismatches += verdict != bool(answers.violated[row, t])
            if theirs is None or mine is None:
                continue
            self.mismatches += not np.array_equal(np.isnan(mine[0]), np.isnan(theirs[0]))
            self.dv_pu = max(self.dv_pu, float(np.nanmax(np.abs(mine[0] - theirs[0]))))
            self.dloading_pct = max(self.dloading_pct, float(np.abs(mine[1] - theirs[1]).max()))


def timed(make: Callable[[], Made], runs: int) -> tuple[Made, float, float]:
    """What `make` gives and its median seconds, by the wall and of this process, after one run to warm caches."""
    made, seconds, cpu_s = make(), [], []
    while len(seconds) < runs and sum(seconds) < ENOUGH_S:
        started, cpu = time.perf_counter(), time.process_time()
        made = make()
        seconds.append(time.perf_counter() - started)
        cpu_s.append(time.process_time() - cpu)
    return made, statistics.median(seconds), statistics.median(cpu_s)


def sampled(answers: Answers, cases: int, seed: int) -> list[Stretch]:
    """Alterations drawn by seed, each with consecutive steps from a drawn one; all of them if `cases` allows."""
    rng, count = np.random.default_rng(seed), len(answers.alterations)
    if cases >= count * STEPS:
        return [Stretch(row, change, range(STEPS)) for row, change in enumerate(answers.alterations)]
    drawn = min(count, max(1, cases // STRETCH))
    length = min(STEPS, max(1, cases // drawn))
    rows = np.sort(rng.choice(count, drawn, replace=False))
    firsts = rng.integers(0, STEPS - length + 1, drawn)
    return [
        Stretch(int(row), answers.alterations[row], range(int(first), int(first) + length))
        for row, first in zip(rows, firsts, strict=True)
    ]


def near_and_far(answers: Answers, cases: int, seed: int) -> list[Stretch]:
    """Cases drawn by seed, up to half of them from those within 2 % of a limit."""
    rng = np.random.default_rng(seed)
    near = np.abs(answers.used - 1.0) <= NEAR
    drawn: list[tuple[int, int]] = []
    for mask in (near, ~near):
        at = np.argwhere(mask)
        share = rng.choice(len(at), min(len(at), cases // 2), replace=False)
        drawn += [(int(row), int(t)) for row, t in at[share]]
    rows = sorted({row for row, _ in drawn})
    return [Stretch(r, answers.alterations[r], sorted(t for row, t in drawn if row == r)) for r in rows]


def measure(kind: str, case: GridCase, given: argparse.Namespace) -> dict[str, Any]:
    """All figures of one study of one day."""
    study = STUDIES[kind]
    answers, engine_s, cpu_s = timed(lambda: study(case), given.runs)
    cases = len(answers.alterations) * STEPS
    if not cases:
        raise SystemExit(f"{case.name}: no outage can be answered by closing an open point")
    stretches = sampled(answers, given.sample, given.seed)
    default = grid_pandapower.run(case, stretches, best=False)
    best = grid_pandapower.run(case, stretches, best=True, recycle=kind == "powerflow")
    scaled = near_limit(case, study, given.seed)
    day, tight = Compared(), Compared()
    day.add(case, answers, default)
    hard = study(scaled)
    few = near_and_far(hard, len(default.found), given.seed)
    tight.add(scaled, hard, grid_pandapower.run(scaled, few, best=False))
    per_case = cases / len(default.found)
    loops = {"pandapower_s": default.seconds * per_case, "pandapower_best_s": best.seconds * per_case}
    found: dict[str, Any] = {
        "engine_s": round(engine_s, 4),
        **{name: round(seconds, 2) for name, seconds in loops.items()},
        "ratio": round(loops["pandapower_s"] / engine_s, 1),
        "ratio_best": round(loops["pandapower_best_s"] / engine_s, 1),
        "engine_cpu_s": round(cpu_s, 4),
        "ratio_cpu": round(default.cpu_s * per_case / cpu_s, 1),
        "ratio_best_cpu": round(best.cpu_s * per_case / cpu_s, 1),
        "max_dv_pu": max(day.dv_pu, tight.dv_pu),
        "max_dloading_pct": max(day.dloading_pct, tight.dloading_pct),
        "verdict_mismatches": day.mismatches + tight.mismatches,
        "cases": cases,
        "sampled_cases": len(default.found),
        "compared_cases": day.cases + tight.cases,
        "near_limit_share": round(tight.near / tight.cases, 4),
        "violated_share": round(float(answers.violated.mean()), 4),
        "numba": NUMBA,
    }
    if given.engine != "ours":
        peer, peer_s, _ = timed(PEERS[given.engine](kind, case), 1)
        found |= {"peer": given.engine, "peer_s": round(peer_s, 4), "ratio_peer": round(peer_s / engine_s, 2),
                  "max_dv_peer_pu": peer.differs(answers)}  # fmt: skip
    return found


def main() -> None:
    """Measures one study of one net on one day and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=sorted(STUDIES))
    parser.add_argument("net")
    parser.add_argument("--day", type=date.fromisoformat, required=True, help="a day of 2016, as 2016-01-19")
    parser.add_argument("--engine", choices=["ours", *sorted(PEERS)], default="ours", help="one to time beside ours")
    parser.add_argument("--sample", type=int, default=480, help="cases of the pandapower loops")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    case = grid_case(given.net, given.day)
    found = measure(given.study, case, given)
    print(f"{given.study} of {given.net} on {given.day}: {found['cases']} cases")
    print(json.dumps({"net": given.net, "study": given.study, "day": str(given.day)} | found))


if __name__ == "__main__":
    main()
