"""A rolling probabilistic backtest of the steel plant, ours beside mlforecast's: same days, levels, refits, one core.

`python benchmarks/forecast_peers.py --data DIR --peer-python PYTHON`; the last line is one JSON object. The days are
`--from` to `--to`, the steel test 2018-07-01 to 2018-09-30 where they are not given. Day-ahead forecasts issued at
10:00 for the next day, nine levels, refit monthly (every 30 days for the peer, whose refits count windows). PYTHON is
an interpreter with `mlforecast` and `lightgbm`, in an environment of its own. `--way quantile` gives the peer a
LightGBM booster a level; `--way conformal` one booster with its conformal intervals over 30 windows. Both use lags of
an hour, a day and a week, rolling means and the calendar, and its `cross_validation`. Times are of fitting and
forecasting without reading data, `cpu_s` by the process; ours includes trial stretches, blend and calibration.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import importlib
import json
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.forecast_sets.reading import BadSet, span_refusal, told

FIRST, LAST = date(2018, 7, 1), date(2018, 9, 30)
LEVELS = (0.05, 0.10, 0.25, 0.40, 0.50, 0.60, 0.75, 0.90, 0.95)
STEPS, INNER_WINDOWS = 152, 30
TREES = {"learning_rate": 0.1, "num_leaves": 15, "n_estimators": 60, "num_threads": 1, "verbosity": -1}


def ours(data: Path, first: date, last: date) -> dict[str, Any]:
    """The automatic pipeline."""
    from benchmarks.forecast_sets.rolling_set import DAY, mean_pinball, monthly, scored_rows
    from benchmarks.forecast_sets.sites import SETS
    from forecasting.rolling import rolling

    begin, end = (int(np.datetime64(d, "m").astype(np.int64)) for d in (first, last))
    cases = SETS["steel"].cases(data, "day-ahead")["steel"]
    cases = cases.rows(cases.target < end + DAY)
    if not len(cases.learnable(begin - DAY)) or not np.any(cases.target >= begin):
        raise BadSet(f"steel has nothing to learn from before {first}, or nothing to forecast from then to {last}")
    before, used = time.perf_counter(), time.process_time()
    rolled = rolling(cases, monthly(begin - DAY, end), SETS["steel"].scheme("day-ahead"), LEVELS)
    wall, cpu = time.perf_counter() - before, time.process_time() - used
    scored = scored_rows(rolled, begin, end + DAY)
    return {"wall_s": wall, "cpu_s": cpu, "pinball": mean_pinball(scored.calibrated, scored.y), "n": len(scored.y)}


def peer(data: Path, first: date, last: date, way: str) -> dict[str, Any]:
    """mlforecast's rolling cross-validation; runs in the peer's environment."""
    pd, mlforecast, utils = (importlib.import_module(name) for name in ("pandas", "mlforecast", "mlforecast.utils"))
    table = pd.read_parquet(data / "steel_industry/steel_15min_2018.parquet")
    end = pd.Timestamp(last + timedelta(days=1))
    table = table[table["ts"] < end]
    frame = pd.DataFrame({"unique_id": "steel", "ds": table["ts"].astype("M8[ns]"), "y": table["usage_kwh"]})
    asked: dict[str, Any] = {"n_windows": (last - first).days + 1, "h": STEPS, "step_size": 96, "refit": 30}
    if way == "conformal":
        asked["prediction_intervals"] = utils.PredictionIntervals(n_windows=INNER_WINDOWS, h=STEPS)
        asked["level"] = [20, 50, 80, 90]
    forecaster = _forecaster(way)
    before, used = time.perf_counter(), time.process_time()
    made = forecaster.cross_validation(frame, **asked)
    wall, cpu = time.perf_counter() - before, time.process_time() - used
    made = made[made["ds"] >= made["cutoff"].dt.normalize() + pd.Timedelta(days=1)]
    made = made[(made["ds"] >= pd.Timestamp(first)) & (made["ds"] < end)]
    names = [f"q{a}" for a in LEVELS] if way == "quantile" else [_interval(a) for a in LEVELS]
    quantiles, y = np.sort(made[names].to_numpy().T, axis=0), made["y"].to_numpy()
    gates = made["cutoff"].dt.hour * 60 + made["cutoff"].dt.minute
    miss, level = y - quantiles, np.asarray(LEVELS)[:, None]
    return {
        "wall_s": wall, "cpu_s": cpu, "pinball": float(np.maximum(level * miss, (level - 1) * miss).mean()),
        "n": len(y), "version": mlforecast.__version__, "last_known_minute": sorted({int(g) for g in gates}),
    }  # fmt: skip


def _forecaster(way: str) -> Any:
    lightgbm, mlforecast, lag = (
        importlib.import_module(name) for name in ("lightgbm", "mlforecast", "mlforecast.lag_transforms")
    )
    by_level = {f"q{a}": lightgbm.LGBMRegressor(objective="quantile", alpha=a, **TREES) for a in LEVELS}
    return mlforecast.MLForecast(
        models=by_level if way == "quantile" else {"mean": lightgbm.LGBMRegressor(**TREES)}, freq="15min",
        lags=[1, 2, 4, 96, 192, 672], date_features=["dayofweek", "hour", "minute"], num_threads=1,
        lag_transforms={1: [lag.RollingMean(4), lag.RollingMean(96)], 96: [lag.RollingMean(672)]},
    )  # fmt: skip


def _interval(level: float) -> str:
    """The peer's name of the bound of a central interval at quantile `level`."""
    share = round(100 * abs(2 * level - 1))
    return "mean" if share == 0 else f"mean-{'lo' if level < 0.5 else 'hi'}-{share}"


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """One run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--from", dest="first", type=date.fromisoformat, default=FIRST)
    parser.add_argument("--to", dest="last", type=date.fromisoformat, default=LAST)
    parser.add_argument("--way", choices=["quantile", "conformal"], default="quantile")
    parser.add_argument(
        "--peer-python", default=None, help="interpreter with mlforecast; without it only ours is timed"
    )
    parser.add_argument("--as-peer", action="store_true", help="run the peer's side in this interpreter")
    given = parser.parse_args(arguments)
    if wrong := span_refusal(given.data, given.first, given.last):
        parser.error(wrong)
    if given.as_peer:
        return peer(given.data, given.first, given.last, given.way)
    out: dict[str, Any] = {"set": "steel", "ours": ours(given.data, given.first, given.last), "way": given.way}
    if given.peer_python is not None:
        command = [
            given.peer_python, __file__, "--as-peer", "--data", str(given.data), "--from", str(given.first), "--to",
            str(given.last), "--way", given.way,
        ]  # fmt: skip
        answer = subprocess.run(command, check=False, capture_output=True, text=True)
        if answer.returncode:
            raise BadSet(f"the peer failed: {(answer.stderr.strip().splitlines() or ['without a word'])[-1]}")
        out["mlforecast"] = json.loads(answer.stdout.splitlines()[-1])
        for field in ("wall_s", "cpu_s"):
            out[f"{field[:-2]}_ratio"] = round(out["mlforecast"][field] / out["ours"][field], 2)
    return out


if __name__ == "__main__":
    told(__file__, main)
