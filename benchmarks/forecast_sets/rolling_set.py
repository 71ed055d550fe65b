"""Score a rolling forecast of one or more series beside climatology and persistence, one field a question.

Coverage is counted where the forecast is not certain: a dark photovoltaic plant is no success of a band. Levels
are the nine of the service; refits come with every month; targets lie in [from, to].
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
    """Roll through [first, last] and score."""
    before = time.perf_counter()
    begin, end = (int(np.datetime64(d, "m").astype(np.int64)) for d in (first, last))
    parts = {}
    for name, cases in chosen.cases(data, horizon).items():
        refits = [m for m in monthly(begin - DAY, end) if len(cases.learnable(m))]
        if not refits:
            print(f"{name}: left out, nothing is known of it by {last}", file=sys.stderr)
            continue
        rolled = rolling(cases, refits, chosen.scheme(horizon), LEVELS)
        rows = scored_rows(rolled, begin, end + DAY)
        if len(rows.y):
            parts[name] = rows
    if not parts:
        raise SystemExit(f"no series has a value from {first} to {last}")
    whole = Scored(*(np.concatenate([getattr(p, f) for p in parts.values()], axis=-1) for f in Scored.__annotations__))
    return {
        "horizon": horizon, "from": first.isoformat(), "to": last.isoformat(), **scores(whole),
        "coverage_by_quarter": by_quarter(whole),
        "series": {k: scores(p) for k, p in parts.items()} if len(parts) > 1 else {},
        "wall_s": round(time.perf_counter() - before, 2),
    }  # fmt: skip


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
        "coverage": {band: round(100 * float(np.mean(hit)), 2) for band, hit in inside.items()},
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
