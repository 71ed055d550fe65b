"""Price and check a solution of a PGLib-UC case from its commitments and powers alone.

    python benchmarks/uc_check.py INSTANCE.json sol.json

Written from MODEL.pdf of Power Grid Lib - Unit Commitment, generator by generator and hour by hour; it shares
nothing with the model. Prints one JSON object: `cost`, `violations` (their number) and `faults` (the first 20 in
words), and ends with status 1 where there are any.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MW = 1e-4
SHOWN = 20


def priced(unit: dict[str, Any], on: list[int], power: list[float]) -> float:
    """Money of one generator: starts by hours off line, and output by the lines between its cost points."""
    total, was_on, off = 0.0, bool(unit["unit_on_t0"]), int(unit["time_down_t0"])
    for running, mw in zip(on, power, strict=True):
        if running and not was_on:
            total += [s["cost"] for s in unit["startup"] if s["lag"] <= off or s is unit["startup"][0]][-1]
        if running:
            total += _output_cost(unit["piecewise_production"], mw)
        off = 0 if running else off + 1
        was_on = bool(running)
    return total


def _output_cost(points: list[dict[str, float]], mw: float) -> float:
    for low, high in itertools.pairwise(points):
        if mw <= high["mw"] or high is points[-1]:
            return low["cost"] + (high["cost"] - low["cost"]) * (mw - low["mw"]) / (high["mw"] - low["mw"])
    return points[0]["cost"]


def unit_faults(name: str, unit: dict[str, Any], on: list[int], power: list[float]) -> Iterator[str]:
    """Broken limits of one generator: minimum and maximum, must-run, minimum times, ramps, starts and stops."""
    was_on, lasted = bool(unit["unit_on_t0"]), int(unit["time_up_t0"] or unit["time_down_t0"])
    before = float(unit["power_output_t0"]) if was_on else 0.0
    low, high = unit["power_output_minimum"], unit["power_output_maximum"]
    for t, (running, mw) in enumerate(zip(on, power, strict=True)):
        if running not in (0, 1):
            yield f"{name} at {t}: on is {running}"
        if not low * running - MW <= mw <= high * running + MW:
            yield f"{name} at {t}: {mw} MW is outside its limits"
        if unit["must_run"] and not running:
            yield f"{name} at {t}: must run"
        if bool(running) != was_on:
            least = unit["time_up_minimum"] if was_on else unit["time_down_minimum"]
            if lasted < least:
                yield f"{name} at {t}: changes after {lasted} h of {least} h"
            edge, limit = (mw, unit["ramp_startup_limit"]) if running else (before, unit["ramp_shutdown_limit"])
            if edge > max(min(limit, low + unit["ramp_up_limit" if running else "ramp_down_limit"]), low) + MW:
                yield f"{name} at {t}: starts or stops at {edge} MW above {limit} MW"
            lasted = 0
        elif running and not -unit["ramp_down_limit"] - MW <= mw - before <= unit["ramp_up_limit"] + MW:
            yield f"{name} at {t}: ramps from {before} to {mw} MW"
        was_on, before, lasted = bool(running), mw, lasted + 1


def headroom(unit: dict[str, Any], on: list[int], power: list[float]) -> list[float]:
    """MW of spinning reserve one generator can give each hour, by its ramp and its start and stop limits."""
    low, found = unit["power_output_minimum"], []
    above = (unit["power_output_t0"] - low) if unit["unit_on_t0"] else 0.0
    was_on = bool(unit["unit_on_t0"])
    for t, (running, mw) in enumerate(zip(on, power, strict=True)):
        most = unit["power_output_maximum"]
        if running and not was_on:
            most = min(most, max(unit["ramp_startup_limit"], low))
        if t + 1 < len(on) and not on[t + 1]:
            most = min(most, max(unit["ramp_shutdown_limit"], low))
        if was_on:
            most = min(most, low + above + unit["ramp_up_limit"])
        found.append(max(most - mw, 0.0) if running else 0.0)
        was_on, above = bool(running), mw - low if running else 0.0
    return found


def check(instance: dict[str, Any], solution: dict[str, Any]) -> tuple[float, list[str]]:
    """Cost and every fault of `solution`."""
    hours = instance["time_periods"]
    cost, faults = 0.0, []
    supply, reserve = [0.0] * hours, [0.0] * hours
    for kind, key in (("thermal", "thermal_generators"), ("renewable", "renewable_generators")):
        if set(solution[kind]) != set(instance[key]):
            return 0.0, [f"{kind}: the names differ from the instance's"]
    for name, unit in instance["thermal_generators"].items():
        on, power = solution["thermal"][name]["on"], solution["thermal"][name]["power_mw"]
        if not len(on) == len(power) == hours:
            return 0.0, [f"{name}: not {hours} values"]
        cost += priced(unit, on, power)
        faults += unit_faults(name, unit, on, power)
        for t, extra in enumerate(headroom(unit, on, power)):
            supply[t], reserve[t] = supply[t] + power[t], reserve[t] + extra
    for name, source in instance["renewable_generators"].items():
        limits = source["power_output_minimum"], source["power_output_maximum"], solution["renewable"][name]
        for t, (low, high, mw) in enumerate(zip(*limits, strict=True)):
            supply[t] += mw
            if not low - MW <= mw <= high + MW:
                faults.append(f"{name} at {t}: {mw} MW is outside its limits")
    for t, (made, wanted) in enumerate(zip(supply, instance["demand"], strict=True)):
        if abs(made - wanted) > MW * max(1.0, wanted / 100.0):
            faults.append(f"hour {t}: {made} MW for a demand of {wanted} MW")
        if reserve[t] < instance["reserves"][t] - MW * max(1.0, wanted / 100.0):
            faults.append(f"hour {t}: {reserve[t]} MW of reserve for {instance['reserves'][t]} MW")
    return cost, faults


def main() -> int:
    """Check the files named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("instance", type=Path)
    parser.add_argument("solution", type=Path)
    given = parser.parse_args()
    try:
        instance, solution = (json.loads(path.read_text()) for path in (given.instance, given.solution))
    except (OSError, ValueError) as why:
        parser.error(str(why))
    cost, faults = check(instance, solution)
    print(json.dumps({"cost": cost, "violations": len(faults), "faults": faults[:SHOWN]}))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
