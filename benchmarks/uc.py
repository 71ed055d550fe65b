"""Solve a public unit-commitment case to a certified gap.

    python benchmarks/uc.py INSTANCE.json --gap 0.001 --time-limit 60 [--lp] [--singly] [--solution sol.json]

Prints one JSON object as its last line: `objective, bound, gap, lp_bound, rows, cols, build_s, solve_s,
peak_rss_mb`. `build_s` is from the parsed file to the assembled problem, `solve_s` from there to the plan, the
hand-over to the solver included; rows and columns are those handed over, identical units counted, or with
`--singly` each by itself. With `--lp` only the relaxation is solved: `objective` and `gap` are null. The plan is
re-priced and checked unit by unit by `benchmarks/uc_check.py`: one that it refuses ends the run with status 1.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import pglib, uc_check, uc_problem
from dispatch.solvers.highs_door import Living
from dispatch.solvers.mip_search import certified_bound, search
from vpp.domain.errors import NotSolved

AGREE = 1e-6


def main() -> int:
    """Solve the case named on the command line and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("instance", type=Path)
    parser.add_argument("--gap", type=float, default=0.001)
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds for the solve")
    parser.add_argument("--lp", action="store_true", help="the relaxation only")
    parser.add_argument("--singly", action="store_true", help="do not count identical units")
    parser.add_argument("--solution", type=Path, help="where to write the plan")
    given = parser.parse_args()
    try:
        instance = pglib.read(given.instance)
    except (OSError, ValueError) as why:
        parser.error(f"{given.instance} is no instance: {why}")
    began = time.perf_counter()
    case = uc_problem.build(instance, counted=not given.singly)
    built = time.perf_counter()
    figures: dict[str, Any] = {"objective": None, "bound": None, "gap": None}
    if given.lp:
        relaxed = Living(case.problem).solve_lp(given.time_limit)
        figures["lp_bound"] = relaxed.objective
        figures["bound"] = certified_bound(case.problem, relaxed.row_duals)
        solved, faults = time.perf_counter(), []
    else:
        found = search(case.problem, given.time_limit, given.gap)
        solved = time.perf_counter()
        plan = uc_problem.solution(case, found.x)
        faults = _verdict(given.instance, plan, found.objective)
        figures |= {"objective": found.objective, "bound": found.bound, "gap": found.gap, "lp_bound": found.lp_bound}
        if given.solution:
            given.solution.write_text(json.dumps(plan))
    figures |= {
        "rows": case.problem.rows, "cols": case.problem.columns, "build_s": round(built - began, 3),
        "solve_s": round(solved - built, 3),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }  # fmt: skip
    for fault in faults:
        print(f"refused: {fault}", file=sys.stderr)
    print(json.dumps(figures))
    return 1 if faults else 0


def _verdict(path: Path, plan: dict[str, Any], objective: float) -> list[str]:
    """What the independent check finds; the plan's own cost may be less than the model's, never more."""
    cost, faults = uc_check.check(json.loads(path.read_text()), plan)
    if cost > objective + AGREE * max(1.0, abs(objective)):
        faults.append(f"the plan costs {cost}, the model says {objective}")
    return faults


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NotSolved as why:
        sys.exit(f"no plan: {why}")
