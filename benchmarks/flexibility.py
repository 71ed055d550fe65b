"""The flexibility answer on the demo grid: time of a region, share of feasible corners, and how near the optimum it is.

`python -m benchmarks.flexibility` makes (or with --plan reads) the demo day's plan, draws intervals and places by a
seed, and prints one JSON object as its last line:

    interval_s        16 directions of one interval: ranges, regions and, as `verdict_s`, the reference engine's verdict
    answer_s          whole answers over PT4H: regions, corridor, rebound, merit curve, verdict (`wall_s.total`)
    share_feasible    of all corners, by the reference engine
    optimum_ratio     what the search reaches over the best of an exhaustive sampling of the P-Q plane at one bus, the
                      smallest over all directions; `polygon_ratio` the same for the published, inner polygon
    overstated        P-Q area that an answer without the network would claim, over the published one

`--scale K` lets the assets of the single intervals move K times as far, so that the network binds where the demo's
own fleet stays inside it.

`cpu_s` is processor time of this process, for machines that are busy with other work.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import time
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from dispatch.convex import SIDES, area, beyond, hull
from dispatch.pq_region import Around, Cell, Region, Spot
from dispatch.pq_search import regions
from vpp.domain.schedule import Schedule
from vpp.domain.stage import DAY_AHEAD
from vpp.domain.time import Array
from vpp.service.desk import PLAN
from vpp.service.flexibility_answer import answer
from vpp.service.flexibility_place import Place
from vpp.service.knowledge import gather
from vpp.service.node_flexibility import Asked, around_of, judged, plan_flow, reach_of, spots_of
from vpp.service.plan import parse_plan, plan_day, prepare_day, schedule_of
from vpp.service.settings import from_env
from vpp.service.situation import Situation

ROOT = Path(__file__).resolve().parents[1]
SAMPLES, SMALLEST_SHARE = 101, 0.01


def situation_of(portfolio: Path, day: date, plan: Path | None) -> tuple[Situation, Schedule]:
    """The day-ahead situation of a day with its plan, made or read."""
    system, issued = prepare_day(portfolio, day, from_env(os.environ), "sqlite://", lambda *_: None)
    if plan is None:
        s, run = plan_day(system, issued, secure=True)
        return s, run.schedule
    s = gather(system, DAY_AHEAD, PLAN, issued, scenarios=0)
    return s, schedule_of(parse_plan(plan.read_text(), s.portfolio.index), s.portfolio.index)


def groups(s: Situation) -> list[tuple[str, ...]]:
    """The controllable assets of every bus, and of every congestion point."""
    able = [a for a in s.portfolio.assets if a.control != "none"]
    buses = sorted({a.bus for a in able if a.bus is not None})
    places = [(b,) for b in buses] + [c.buses for c in s.portfolio.congestion_points]
    return [tuple(a.id for a in able if a.bus in place) for place in places]


def scaled(spot: Spot, factor: float) -> Spot:
    """The question of a fleet that can move `factor` times as far from its plan."""
    cells = tuple(Cell(c.bus, c.planned + factor * (c.corners - c.planned), c.planned) for c in spot.cells)
    return replace(spot, cells=cells)


def one_interval(s: Situation, plan: Schedule, assets: tuple[str, ...], t: int, factor: float) -> dict[str, Any]:
    """Times of one region of 16 directions, and its corners."""
    flow, asked = plan_flow(s, plan), Asked(s, plan, assets, t, t + 1)
    began, spent = time.perf_counter(), time.process_time()
    around, spots = around_of(asked, flow), [scaled(spot, factor) for spot in spots_of(asked, reach_of(asked))]
    found = regions(around, spots, 16)
    wall, cpu = time.perf_counter() - began, time.process_time() - spent
    found, dropped = judged(around, spots, found)
    return {
        "wall": wall, "cpu": cpu, "verdict": time.perf_counter() - began - wall, "region": found[0], "spot": spots[0],
        "around": around, "corners": len(found[0].corners) + dropped, "clean": len(found[0].corners),
    }  # fmt: skip


def sampled_ratio(around: Around, spot: Spot, found: Region) -> tuple[float, float]:
    """Smallest share of the best sample that the search and the polygon reach, from the plan's point outwards.

    The samples cover what the assets can do at one bus; what is missed counts against a hundredth of that where the
    best sample lies nearer to the plan.
    """
    corners = spot.cells[0].corners
    sides = [np.linspace(corners[:, axis].min(), corners[:, axis].max(), SAMPLES) for axis in (0, 1)]
    points = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2)
    points = points[beyond(hull(corners), points) <= 1e-9]
    broken = around.broken(around.flow([spot], points[:, None, None]))
    good = points[[(c + 1, 0) not in broken for c in range(len(points))]]
    base = found.directions @ found.planned
    best = (good @ found.directions.T).max(axis=0) - base
    told = np.maximum(best, SMALLEST_SHARE * float((points @ found.directions.T).max()))
    polygon: Array = (found.corners @ found.directions.T).max(axis=0) - base
    return float(((found.reached - base + told - best) / told).min()), float(((polygon + told - best) / told).min())


def quantiles(values: list[float]) -> dict[str, float]:
    """Median, 95th percentile and greatest."""
    return {"p50": round(float(np.median(values)), 4), "p95": round(float(np.quantile(values, 0.95)), 4),
            "max": round(max(values), 4)}  # fmt: skip


def ratios(told: list[dict[str, Any]], most: int) -> tuple[list[float], list[float]]:
    """Of the intervals at one bus that the network bounds, at most `most`."""
    bound = [
        i for i in told
        if len(i["spot"].cells) == 1 and len(i["region"].corners) > 2 and not i["region"].violated
        and area(i["region"].corners) < np.cos(np.pi / SIDES) * i["region"].free_area
    ][:most]  # fmt: skip
    found = [sampled_ratio(i["around"], i["spot"], i["region"]) for i in bound]
    return [a for a, _ in found], [b for _, b in found]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portfolio", type=Path, default=ROOT / "config" / "demo")
    parser.add_argument("--day", type=date.fromisoformat, default=date(2016, 7, 12))
    parser.add_argument("--plan", type=Path, help="a plan written by `vpp plan`")
    parser.add_argument("--intervals", type=int, default=60)
    parser.add_argument("--answers", type=int, default=6)
    parser.add_argument("--sampled", type=int, default=10, help="intervals compared with exhaustive sampling")
    parser.add_argument("--scale", type=float, default=1.0, help="of what assets can do in single intervals")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    s, plan = situation_of(given.portfolio, given.day, given.plan)
    rng, places = np.random.default_rng(given.seed), groups(s)
    picks = [(places[rng.integers(len(places))], int(rng.integers(s.grid.n))) for _ in range(given.intervals)]
    one_interval(s, plan, *picks[0], given.scale)
    told = [one_interval(s, plan, *pick, given.scale) for pick in picks]
    points = [Place(point=c.id) for c in s.portfolio.congestion_points]
    asked = points + [Place(bus=str(s.portfolio.asset(places[i][0]).bus)) for i in rng.permutation(len(places) - 1)]
    begins = [s.grid.starts[t] for t in rng.integers(s.grid.n - 16, size=given.answers)]
    answers = [answer(s, plan, asked[i % len(asked)], t, timedelta(hours=4)) for i, t in enumerate(begins)]
    corners = sum(i["corners"] for i in told) + sum(a["certificate"]["corners"] for a in answers)
    clean = sum(i["clean"] for i in told) + sum(a["certificate"]["corners_clean"] for a in answers)
    searched, polygons = ratios(told, given.sampled)
    free, inner = (sum(v) for v in ([i["region"].free_area for i in told], [_area(i["region"]) for i in told]))
    print(json.dumps({
        "intervals": len(told), "directions": 16, "scale": given.scale,
        "interval_s": quantiles([i["wall"] for i in told]),
        "cpu_s": quantiles([i["cpu"] for i in told]), "verdict_s": quantiles([i["verdict"] for i in told]),
        "answers": len(answers), "answer_s": quantiles([a["wall_s"]["total"] for a in answers]),
        "corners": corners, "corners_clean": clean, "share_feasible": clean / corners if corners else None,
        "sampled": len(searched), "optimum_ratio": min(searched, default=None),
        "polygon_ratio": min(polygons, default=None), "overstated": free / inner if inner else None,
        "violated_plans": sum(bool(i["region"].violated) for i in told),
    }))  # fmt: skip


def _area(region: Region) -> float:
    return area(region.corners) if len(region.corners) > 2 else 0.0


if __name__ == "__main__":
    main()
