"""Score a rolling forecast of one or more series beside climatology and persistence, one field a question.

Coverage is counted where the forecast is not certain: a dark photovoltaic plant is no success of a band. Levels
are the nine of the service; refits come with every month; targets lie in [from, to]. What of that range could not be
scored, because nothing came or nothing had been learnt by then, is counted as `missing` and named on standard error.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.forecast_sets.reading import BadSet
from forecasting.calendar import Index
from forecasting.cases import Cases
from forecasting.fitted import Scheme
from forecasting.gates import Horizon
from forecasting.losses import covered, crps, pinball_by_level
from forecasting.rolling import Rolled, rolling
from vpp.domain.forecast import LEVELS
from vpp.domain.time import Array

DAY = 1440
FULL_DAYS = 82


@dataclass(frozen=True)
class RollingSet:
    """A data set: `cases(data, horizon)` by series, and the scheme that forecasts them."""

    cases: Callable[[Path, Horizon], Mapping[str, Cases]]
    scheme: Callable[[Horizon], Scheme]


@dataclass(frozen=True)
class Scored:
    """What came and what was said of all scored rows of a run."""

    y: Array
    day: Index
    calibrated: Array
    raw: Array
    climatology: Array
    persistence: Array


def run(chosen: RollingSet, data: Path, first: date, last: date, horizon: Horizon) -> dict[str, Any]:
    """Roll through [first, last] and score. Raises BadSet where there is nothing to score."""
    before = time.perf_counter()
    begin, end = (int(np.datetime64(d, "m").astype(np.int64)) for d in (first, last))
    parts, wanted, left_out = {}, 0, {}
    for name, cases in chosen.cases(data, horizon).items():
        asked = rows_asked(cases, begin, end + DAY)
        refits = [m for m in monthly(begin - DAY, end) if len(cases.learnable(m))]
        rolled = rolling(cases, refits, chosen.scheme(horizon), LEVELS) if refits else None
        rows = scored_rows(rolled, begin, end + DAY) if rolled else None
        wanted += asked
        if rows is None or not len(rows.y):
            left_out[name] = nothing_of(cases, begin, end)
            print(f"{name}: left out, {left_out[name]}", file=sys.stderr)
            continue
        parts[name] = rows
        if len(rows.y) < asked:
            span = f"from {_day(rows.day.min())} to {_day(rows.day.max())}"
            print(f"{name}: {len(rows.y)} of {asked} forecasts asked for are scored, {span}", file=sys.stderr)
    if not parts:
        raise BadSet(f"nothing to score from {first} to {last}")
    whole = Scored(*(np.concatenate([getattr(p, f) for p in parts.values()], axis=-1) for f in Scored.__annotations__))
    return {
        "horizon": horizon, "from": first.isoformat(), "to": last.isoformat(), **scores(whole),
        "scored_from": _day(whole.day.min()), "scored_to": _day(whole.day.max()),
        "missing": wanted - len(whole.y), "left_out": left_out,
        "coverage_by_quarter": by_quarter(whole),
        "series": {k: scores(p) for k, p in parts.items()} if len(parts) > 1 else {},
        "wall_s": round(time.perf_counter() - before, 2),
    }  # fmt: skip


def _day(day: int | np.integer[Any]) -> str:
    return str(np.datetime64(int(day), "D"))


def rows_asked(cases: Cases, begin: int, end: int) -> int:
    """How many forecasts of targets in [begin, end) there would be, were the file whole; 0 for an empty one."""
    target, times = np.unique(cases.target, return_counts=True)
    if len(target) < 2:
        return 0
    return (end - begin) // int(np.median(np.diff(target))) * int(np.median(times))


def nothing_of(cases: Cases, begin: int, end: int) -> str:
    """Why no target from day `begin` to day `end` (minutes) was scored."""
    came = np.isfinite(cases.y)
    if not came.any():
        return "it has no value to learn from"
    held = cases.target[came]
    if not np.any((held >= begin) & (held < end + DAY)):
        return f"what can be forecast of it runs from {_day(held.min() // DAY)} to {_day(held.max() // DAY)}"
    known = np.datetime64(int(cases.known[came].min()), "m")
    last = np.datetime64(monthly(begin - DAY, end)[-1], "m")
    return f"the first outcome to learn from was known at {known}, the last refit was at {last}"


def monthly(begin: int, end: int) -> list[int]:
    """`begin` and the first minute of every later month up to `end`."""
    months = np.arange(np.datetime64(begin, "m").astype("M8[M]") + 1, np.datetime64(end, "m").astype("M8[M]") + 1)
    return [begin, *(int(m) for m in months.astype("M8[m]").astype(np.int64))]


def scored_rows(rolled: Rolled, begin: int, end: int) -> Scored:
    """Rows with a value whose targets start in [begin, end)."""
    c = rolled.cases
    at = np.flatnonzero((c.target >= begin) & (c.target < end) & np.isfinite(c.y) & np.isfinite(rolled.raw).all(axis=0))
    q = [f[:, at] for f in (rolled.calibrated, rolled.raw, rolled.single["climatology"], rolled.single["persistence"])]
    return Scored(c.y[at], c.target[at] // DAY, *q)


def scores(s: Scored) -> dict[str, Any]:
    """The fields of one line."""
    uncertain = s.calibrated[-1] > s.calibrated[0]
    inside = covered(s.calibrated[:, uncertain], s.y[uncertain], LEVELS)
    return {
        "pinball": mean_pinball(s.calibrated, s.y), "crps": round(crps(s.calibrated, s.y, LEVELS), 6),
        "mae": round(float(np.mean(np.abs(s.y - s.calibrated[LEVELS.index(0.5)]))), 6),
        "coverage": {b: round(100 * float(np.mean(hit)), 2) if hit.size else None for b, hit in inside.items()},
        "pinball_uncalibrated": mean_pinball(s.raw, s.y),
        "pinball_climatology": mean_pinball(s.climatology, s.y),
        "pinball_persistence": mean_pinball(s.persistence, s.y),
        "n": len(s.y), "certain_share": round(1 - float(np.mean(uncertain)), 4),
    }  # fmt: skip


def mean_pinball(quantiles: Array, y: Array) -> float:
    """Mean loss over levels and rows."""
    return round(float(pinball_by_level(quantiles, y, LEVELS).mean()), 6)


def by_quarter(s: Scored) -> dict[str, dict[str, float]]:
    """Coverage in per cent of each calendar quarter that was scored on nine tenths of its days or more."""
    out = {}
    month = s.day.astype("M8[D]").astype("M8[M]").astype(np.int64)
    for quarter in np.unique(month // 3):
        rows = month // 3 == quarter
        if len(np.unique(s.day[rows])) >= FULL_DAYS:
            rows &= s.calibrated[-1] > s.calibrated[0]
            hits = covered(s.calibrated[:, rows], s.y[rows], LEVELS)
            name = f"{1970 + quarter // 4}-Q{quarter % 4 + 1}"
            out[name] = {band: round(100 * float(np.mean(hit)), 2) for band, hit in hits.items()}
    return out
