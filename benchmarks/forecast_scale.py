"""Time of fitting and of forecasting many assets: 96 steps at nine quantile levels for each.

`python benchmarks/forecast_scale.py --assets 1000`; the last line is one JSON object. Every asset is a load of its own
(a working week, a wandering level, noise) with 90 days of quarter-hours, forecast day-ahead by the automatic scheme:
`fit_s` fits all its models, one thread each; `predict_features_s` is from series to cases, `predict_s` from cases to
calibrated quantiles, on one core. `--fitted N` fits N assets only and lets the others be served by these in turn; then
`fit_s` is the time of those N.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from forecasting import blend
from forecasting.calendar import Calendar, Days
from forecasting.cases import Cases
from forecasting.conformal import Tracker
from forecasting.fitted import Condition, Fitted
from forecasting.gates import asked, cases_of
from forecasting.panel import Panel
from forecasting.schemes import automatic
from vpp.domain.forecast import LEVELS
from vpp.domain.time import Array

DAYS, FIRST_DAYS = 90, 8
START = 17_532 * 96
Made = TypeVar("Made")


def load(asset: int, days: Days) -> Array:
    """Load (N,) of one asset in MW."""
    rng, n = np.random.default_rng(asset), len(days.of_day)
    work = np.where(days.day_class == 0, 1.0, rng.uniform(0.1, 0.6))
    shape = np.exp(-(((days.of_day - rng.uniform(40, 60)) / rng.uniform(10, 25)) ** 2)) * work
    level = np.repeat(np.cumsum(rng.normal(0, 0.05, n // 96 + 1)), 96)[:n]
    made: Array = np.maximum(0.2 + shape * np.exp(level) + 0.05 * rng.standard_normal(n), 0.0)
    return made


def history(asset: int, days: Days) -> tuple[Panel, Cases]:
    """The series of an asset as known at the last gate but one, and the cases it learns from."""
    values = load(asset, days)[: DAYS * 96]
    bounds = np.zeros(1), np.full(1, np.inf)
    panel = Panel((str(asset),), START, values[None], np.array([len(values)]), np.zeros(1, dtype=np.int64), *bounds)
    issue, target = asked("day-ahead", days, panel.n, 1)
    late = issue >= FIRST_DAYS * 96
    return panel, cases_of(panel, days, issue[late], target[late], 1)


def next_day(panel: Panel, days: Days) -> Cases:
    """The 96 cases of the last day of `panel`, issued at 10:00 of the day before."""
    target = np.arange(panel.n - 96, panel.n)
    return cases_of(panel, days, np.full(96, panel.n - 96 - 56), target, 1)


def fitted(cases: Cases) -> Fitted:
    """Every model of the automatic scheme, mixed alike, with a calibration that has yet to learn."""
    scheme = automatic("day-ahead", lower=0.0)
    models, condition = scheme.fit(cases, LEVELS), Condition.of(cases.y)
    groups = len(scheme.lead_edges) + 1
    tracker = Tracker(np.asarray(LEVELS), condition.groups(scheme), 1.0)
    return Fitted(scheme, LEVELS, models, blend.equal(len(models), groups), condition, tracker)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """One run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=int, required=True)
    parser.add_argument("--fitted", type=int, default=None, help="fit so many assets only (default: all)")
    given = parser.parse_args(arguments)
    fits = given.assets if given.fitted is None else given.fitted
    if not 1 <= fits <= given.assets:
        parser.error(f"cannot fit {fits} of {given.assets} assets")
    days, cores = Calendar("UTC").days(START, (DAYS + 2) * 96), len(os.sched_getaffinity(0))
    made = [history(k, days) for k in range(fits)]
    panels = [made[k % fits][0] for k in range(given.assets)]
    with ThreadPoolExecutor(cores) as pool:
        models, fit = timed(lambda: list(pool.map(fitted, [cases for _, cases in made])))
    asks, features = timed(lambda: [next_day(panel, days) for panel in panels])
    answers, predict = timed(lambda: [models[k % fits].forecast(ask) for k, ask in enumerate(asks)])
    if any(a.shape != (len(LEVELS), 96) or not np.isfinite(a).all() for a in answers):
        raise AssertionError("an asset was not forecast")
    times = {"fit": fit, "predict": predict, "predict_features": features}
    return {
        "assets": given.assets, "fitted": fits, **{f"{k}_s": round(wall, 2) for k, (wall, _) in times.items()},
        **{f"{k}_cpu_s": round(cpu, 2) for k, (_, cpu) in times.items()}, "cores": cores,
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }  # fmt: skip


def timed(work: Callable[[], Made]) -> tuple[Made, tuple[float, float]]:
    """What `work` returns, and its time by the clock and by the processor."""
    before, used = time.perf_counter(), time.process_time()
    made = work()
    return made, (time.perf_counter() - before, time.process_time() - used)


if __name__ == "__main__":
    print(json.dumps(main()))
