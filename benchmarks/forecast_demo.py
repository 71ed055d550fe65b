"""Forecasts of the demo's series: times, and pinball loss of the models beside the seasonal naive.

`python benchmarks/forecast_demo.py` trains on what was known at 10:00 local on `--first`, forecasts each of
`--days` days from there, out of sample, and prints one JSON object as its last line. Pinball is divided by the
mean of its series before it is averaged over series; `skill` is 1 - model / naive, averaged over series. `scenarios`
are scored as `benchmarks/demo_scenarios.py` says.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from datetime import time as wall_time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.demo_scenarios import scored
from forecasting.backtest import BANDS, Score
from forecasting.pipeline import Pipeline
from grid_models.model import load_grid
from grid_models.spec import NetworkSpec
from vpp.domain.forecast import History, Series
from vpp.domain.time import QUARTER, TimeGrid, local_time
from vpp.service.bootstrap import weights_of
from vpp.service.portfolio import load_portfolio
from vpp.service.portfolio_files import SeriesFile
from vpp.service.series import load_series

ROOT = Path(__file__).resolve().parents[1]
ZONE = "Europe/Berlin"
SPEC = NetworkSpec(
    simbench="1-MV-comm--2-sw", load_growth=1.5, tap_changer="ratio", tap_dead_band_pu=0.01, drop_storage=True
)
STEEL = SeriesFile(id="steel", file="series/steel.parquet", zone=ZONE, unit="MW", upper_mw=0.65)


def demo_series() -> dict[str, Series]:
    """The distinct profiles of the demo network and the steel shop."""
    grid = load_grid(SPEC, [], ROOT / ".cache")
    return dict(grid.series) | {"steel": load_series(STEEL, ROOT / "config/demo" / STEEL.file)}


def summary(scores: Mapping[str, Score]) -> dict[str, Any]:
    """Scores averaged over series, and each series' own."""
    every = list(scores.values())
    relative = np.array([[s.pinball / s.mean_value, s.pinball_naive / s.mean_value] for s in every])
    return {
        "pinball_relative": round(float(relative[:, 0].mean()), 4),
        "pinball_relative_naive": round(float(relative[:, 1].mean()), 4),
        "skill": round(float(np.mean([1 - s.pinball / s.pinball_naive for s in every])), 4),
        "better_than_naive": f"{sum(s.pinball < s.pinball_naive for s in every)}/{len(every)}",
        "coverage": {b: round(float(np.mean([s.coverage[b] for s in every])), 3) for b in BANDS},
        "coverage_naive": {b: round(float(np.mean([s.coverage_naive[b] for s in every])), 3) for b in BANDS},
        "series": {
            k: {"source": s.source, "pinball": round(s.pinball, 5), "naive": round(s.pinball_naive, 5),
                "coverage_90": round(s.coverage["90"], 3)}
            for k, s in scores.items()
        },
    }  # fmt: skip


def timed_forecast(pipeline: Pipeline, series: Mapping[str, Series], at: datetime, steps: int) -> float:
    """Median seconds of five forecasts with 200 scenarios."""
    seconds = []
    for k in range(5):
        now = at + k * QUARTER
        before = time.perf_counter()
        pipeline.forecast(History(now, series), TimeGrid.uniform(now, QUARTER, steps), 200)
        seconds.append(time.perf_counter() - before)
    return round(float(np.median(seconds)), 3)


def timed_training(stage: str, train: Callable[[], None]) -> dict[str, float]:
    """Wall and processor seconds of `train`."""
    wall, cpu = time.perf_counter(), time.process_time()
    train()
    return {
        f"train_{stage}_s": round(time.perf_counter() - wall, 2),
        f"train_{stage}_cpu_s": round(time.process_time() - cpu, 2),
    }


def run(first: date, days: int) -> dict[str, Any]:
    """Train once, time, and score."""
    series = demo_series()
    issues: Sequence[datetime] = [local_time(first + timedelta(days=d), wall_time(10), ZONE) for d in range(days)]
    pipeline = Pipeline(weight=weights_of(load_portfolio(ROOT / "config/demo").portfolio))
    past, now = History(issues[0], series), History(issues[-1] + timedelta(days=2), series)
    times: dict[str, float] = {}
    times |= timed_training("day_ahead", lambda: pipeline.train_day_ahead(past))
    times["forecast_152_steps_s"] = timed_forecast(pipeline, series, issues[0], 152)
    day_ahead = summary(pipeline.score(now, list(issues)))
    times |= timed_training("intraday", lambda: pipeline.train_intraday(past))
    times["forecast_80_steps_s"] = timed_forecast(pipeline, series, issues[0], 80)
    intraday = [issues[0] + timedelta(hours=5 * k) for k in range(days * 24 // 5)]
    return {
        "series": len(series), "first_issue": issues[0].isoformat(), "days": days, "times": times,
        "day_ahead": day_ahead,
        "intraday": summary(pipeline.score(now, intraday, steps=24)),
        "scenarios": scored(pipeline, series, issues),
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=date.fromisoformat, default=date(2016, 7, 1))
    parser.add_argument("--days", type=int, default=11)
    given = parser.parse_args()
    print(json.dumps(run(given.first, given.days)))
