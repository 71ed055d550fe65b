"""Does the secure loop leave any limit broken? Random oversized fleets, judged by two engines that do not plan.

`python -m benchmarks.security 1-LV-rural1--2-sw --day 2016-07-12 --scale 2` plans one case (`security_case`) and prints
one JSON object as its last line; `--cases N --seed S` draws nets, days and scales (`NET all`, or a net to stay on), and
the fields become lists with totals. The plan is the service's own: `one_way_plan`, 96 steps.

`violations_first` are those of the cheapest plan without the network, by the engine of the loop; `violations_final`
those of the released plan by pandapower (`lightsim2grid=False`), `violations_final_second` by power-grid-model
(`second_engine`), both at the taps that the plan found and at the limits themselves. `wall_s` counts the plan alone:
`lp` (every linear and integer program), `ac` (power flows), `sensitivities`, `build` (rows), `total`; the verdicts are
`verdict_s`. `cost_of_security` is the plan's cost less that of the plan without a network, EUR; the margins of cuts
(1 % of rating, 0.1 % of nominal voltage) are part of it. With `--reference` it is compared with a converged optimum at
equal margins and equal on/off decisions (`security_reference`). `relaxations` names what nothing of ours could cure.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import pickle
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

import numpy as np

from benchmarks.second_engine import SecondEngine
from benchmarks.security_case import NETS, ROOT, STEPS, Draw, SecurityCase, built, draws, loaded, spec_of
from benchmarks.security_reference import converged
from dispatch.exposure import bus_injection
from dispatch.one_way import one_way_plan
from dispatch.secure import Secured
from grid_models import cache
from grid_models.model import GridModel
from vpp.domain.errors import UnknownElement

MAX_ROUNDS = 12
ALL = "all"


def plan(case: SecurityCase, deadline_s: float, rel_gap: float, *, network: bool = True) -> Secured:
    """The service's plan of a case, or the one of a world without a network."""
    where = (case.model.network, case.exposure) if network else (None, None)
    return one_way_plan(case.problem, *where, deadline_s=deadline_s, rel_gap=rel_gap, max_rounds=MAX_ROUNDS)


def net_of(net: str) -> Any:
    """The checked pandapower net from which the tables of the loop were read."""
    return pickle.loads((cache.ensure(spec_of(net), ROOT / ".cache") / cache.NET).read_bytes())


def judged(case: SecurityCase, secured: Secured, second: SecondEngine) -> dict[str, Any]:
    """What is broken by the released plan, by each engine."""
    network, began = case.model.network, time.perf_counter()
    flow = network.flow(case.grid, *bus_injection(case.exposure, secured.solution.schedule.power_mw))
    by_pandapower = network.violations(network.verdict(flow))
    by_second = second.violations(flow)
    worst = max([*by_pandapower, *by_second], key=lambda v: v.excess, default=None)
    return {
        "violations_final": len(by_pandapower), "violations_final_second": len(by_second),
        "worst": asdict(worst) if worst else None, "verdict_s": round(time.perf_counter() - began, 3),
    }  # fmt: skip


def run(case: SecurityCase, second: SecondEngine, given: argparse.Namespace) -> dict[str, Any]:
    """The fields of one case."""
    began = time.perf_counter()
    secured = plan(case, given.deadline, given.gap)
    total_s = time.perf_counter() - began
    free = plan(case, given.deadline, given.gap, network=False).solution
    told, draw = secured.solution, case.draw
    wall = {
        "lp": told.wall_s["solve"], "ac": told.wall_s["ac"] - told.wall_s["sensitivities"],
        "sensitivities": told.wall_s["sensitivities"], "build": told.wall_s["build"], "total": total_s,
    }  # fmt: skip
    cost = told.objective - free.objective
    result = {
        "net": draw.net, "day": draw.day.isoformat(), "scale": draw.scale, "seed": draw.seed,
        "assets": len(case.assets), "hosting_mw": round(case.hosting_mw, 4), "passed_over": case.passed_over,
        "incurable": case.incurable, "violations_first": told.violations_first, **judged(case, secured, second),
        "rounds": told.rounds, "status": told.status, "objective": told.objective, "gap": told.gap,
        "cost_of_security": cost, "wall_s": {name: round(s, 4) for name, s in wall.items()},
        "network_share": round((wall["ac"] + wall["sensitivities"]) / total_s, 3),
        "relaxations": [asdict(r) for r in told.relaxations],
    }  # fmt: skip
    if given.reference:
        reference = converged(case, secured) - free.objective
        error = abs(cost - reference) / max(abs(reference), 1e-9)
        result |= {"cost_of_security_reference": reference, "cost_of_security_error_pct": 100.0 * error}
    return result


def totals(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Every field as a list, and what they come to."""
    lists = {name: [r[name] for r in results] for name in results[0]}
    names = results[0]["wall_s"]
    wall = {name: [r["wall_s"][name] for r in results] for name in names}
    rounds, share = np.array(lists["rounds"]), np.array(lists["network_share"])
    summed = {name: round(float(sum(values)), 3) for name, values in wall.items()}
    found: dict[str, Any] = {
        "cases": len(results), **{n: int(sum(lists[n])) for n in (
            "violations_first", "violations_final", "violations_final_second")},
        "cases_violated": sum(bool(a or b) for a, b in zip(
            lists["violations_final"], lists["violations_final_second"], strict=True)),
        "cases_not_binding": int(sum(v == 0 for v in lists["violations_first"])),
        "most_rounds": int(rounds.max()), "cases_over_10_rounds": int((rounds > 10).sum()),
        "wall_s": summed, "network_share": round((summed["ac"] + summed["sensitivities"]) / summed["total"], 3),
        "most_network_share": float(share.max()), "cases_network_share_over_half": int((share > 0.5).sum()),
        "cost_of_security": float(sum(lists["cost_of_security"])),
    }  # fmt: skip
    if "cost_of_security_error_pct" in lists:
        found["most_cost_of_security_error_pct"] = max(lists["cost_of_security_error_pct"])
    return {**lists, "wall_s": wall, "totals": found}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", nargs="?", default=ALL, help=f"SimBench code, or {ALL} with --cases")
    parser.add_argument("--day", type=date.fromisoformat, default=date(2016, 7, 12))
    parser.add_argument("--scale", type=float, default=2.0, help="rated power of the fleet over the hosting capacity")
    parser.add_argument("--cases", type=int, help="draw so many nets, days and scales")
    parser.add_argument("--first", type=int, default=0, help="begin at this one of the drawn cases")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=STEPS, help="steps around noon")
    parser.add_argument("--no-mills", action="store_true", help="elastic loads in place of on/off mills")
    parser.add_argument("--reference", action="store_true", help="compare with a converged optimum; slow")
    parser.add_argument("--gap", type=float, default=1e-3)
    parser.add_argument("--deadline", type=float, default=60.0)
    given = parser.parse_args()
    if given.scale <= 0 or (given.cases is not None and given.cases < 1) or not 1 <= given.steps <= STEPS:
        parser.error(f"--scale is positive, --cases at least 1, --steps from 1 to {STEPS}")
    if given.cases is None and given.net == ALL:
        parser.error(f"{ALL} nets need --cases")
    return given


def main() -> None:
    """Plans the cases, has them judged, and prints the figures."""
    given = _arguments()
    nets = NETS if given.net == ALL else (given.net,)
    one = Draw(given.net, given.day, given.scale, given.seed)
    drawn = draws(given.cases, given.seed, nets) if given.cases else [one]
    results, left_out = [], list[str]()
    open_net: tuple[str, GridModel, SecondEngine] | None = None
    for draw in sorted(drawn[given.first :], key=lambda d: d.net):
        if open_net is None or open_net[0] != draw.net:
            if open_net is not None:
                open_net[1].network.close()
            try:
                open_net = draw.net, loaded(draw.net), SecondEngine(net_of(draw.net))
            except UnknownElement as why:
                raise SystemExit(f"net {draw.net}: {why}") from why
        try:
            case = built(
                draw, open_net[1], steps=given.steps, integers=not given.no_mills, any_day=given.cases is None
            )
        except ValueError as why:
            print(f"left out: {why}", file=sys.stderr)
            left_out.append(draw.net)
            continue
        results.append(run(case, open_net[2], given))
        last = results[-1]
        print(" ".join(f"{k}={last[k]}" for k in (
            "net", "day", "scale", "seed", "violations_first", "violations_final", "violations_final_second", "rounds",
            "status", "network_share")), flush=True)  # fmt: skip
    if not results:
        raise SystemExit("no case could be built")
    print(json.dumps({**totals(results), "left_out": left_out} if given.cases else results[0]))


if __name__ == "__main__":
    main()
