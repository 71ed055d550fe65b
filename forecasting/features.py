"""Features of a target quarter, computed only from what was known at its issue time.

Every value is read through `Panel.read` with the number of quarters known at the issue time, which
raises LookAhead beyond it; so a feature cannot use the future, whatever this file does. All functions
are vectorised over series (S) and rows (R): a row is one issue time and one target quarter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.calendar import PER_DAY, Days, Index
from forecasting.panel import Panel
from vpp.domain.time import Array

SEASONAL_DAYS = 28
LIKE_DAYS = 4
NAMES: tuple[str, ...] = (
    "quarter_sin", "quarter_cos", "weekday", "day_class", "elevation_deg", "lead",
    "lag_latest", "lag_next", "lag_7", "like_latest", "like_mean", "quarter_week_mean",
    "last_day_mean", "last_week_mean", "last_hour_mean", "hour_deviation", "last_value", "last_ramp",
)  # fmt: skip
DAY_AHEAD: tuple[str, ...] = tuple(n for n in NAMES if n not in ("last_value", "last_ramp"))
INTRADAY: tuple[str, ...] = tuple(n for n in NAMES if n not in ("quarter_week_mean", "last_week_mean", "lag_next"))


def columns(names: tuple[str, ...]) -> list[int]:
    """Positions of feature `names` in the last axis of a `Rows.x`."""
    return [NAMES.index(n) for n in names]


@dataclass(frozen=True)
class Rows:
    """Features x (S, R, F) in the order of NAMES, and the seasonal value (S, R) of each target."""

    x: Array
    seasonal: Array


@dataclass(frozen=True)
class Extra:
    """More features (R, F) of the rows of one series, by name."""

    names: tuple[str, ...]
    x: Array


@dataclass(frozen=True)
class _Sums:
    """Running sums of values and of their count, (S, N + 1), for means over any window."""

    total: Array
    count: Array

    @classmethod
    def of(cls, values: Array) -> _Sums:
        valid = np.isfinite(values)
        zero = np.zeros((len(values), 1))
        return cls(
            np.concatenate([zero, np.cumsum(np.where(valid, values, 0.0), axis=1)], axis=1),
            np.concatenate([zero, np.cumsum(valid, axis=1)], axis=1),
        )

    def mean(self, end: Index, length: int) -> Array:
        """Mean of the `length` values before `end` (S, R); NaN where all of them are gaps."""
        row = np.arange(len(self.total))[:, None]
        start = np.maximum(end - length, 0)
        count = self.count[row, end] - self.count[row, start]
        total = self.total[row, end] - self.total[row, start]
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def nan_mean(values: Array, axis: int = -1) -> Array:
    """Mean over what is there, NaN where nothing is."""
    valid = np.isfinite(values)
    count = valid.sum(axis=axis)
    total: Array = np.where(valid, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def nth_valid(values: Array, n: int) -> Array:
    """The n-th (0 first) value that is there along the last axis, NaN where there is none."""
    valid = np.isfinite(values)
    hit = valid & (np.cumsum(valid, axis=-1) == n + 1)
    at = np.argmax(hit, axis=-1)
    found: Array = np.take_along_axis(values, at[..., None], axis=-1)[..., 0]
    return np.where(hit.any(axis=-1), found, np.nan)


def same_quarter(panel: Panel, days: Days, target: Index, end: Index, lags: Index) -> Array:
    """Values of the same local quarter `lags` (J,) days before `target` (R,): (S, R, J), NaN if not known."""
    at = days.lagged(target[:, None], lags[None, :])[None]
    known = at < end[:, :, None]
    return np.where(known, panel.read(np.where(known, at, -1), end[:, :, None]), np.nan)


def like_days(days: Days, target: Index, lags: Index) -> Index:
    """1 where the day `lags` days before is of the same class as the target's, (R, J)."""
    at = np.clip(target[:, None] - PER_DAY * lags[None, :], 0, None)
    alike: Index = (days.day_class[at] == days.day_class[target][:, None]).astype(np.int64)
    return alike


def build(panel: Panel, days: Days, target: Index, end: Index, lead: Index) -> Rows:
    """Features of `target` columns (R,) with `end` (S, R) known columns and `lead` (R,) quarters ahead.

    `days` covers the panel's axis and the targets, from the panel's first quarter.
    """
    lags = np.arange(1, SEASONAL_DAYS + 1)
    past = same_quarter(panel, days, target, end, lags)
    like = np.where(like_days(days, target, lags)[None] > 0, past, np.nan)
    rank = np.cumsum(np.isfinite(like), axis=-1)
    like_mean = nan_mean(np.where(rank <= LIKE_DAYS, like, np.nan))
    week = nan_mean(past[..., :8])
    seasonal = np.where(np.isfinite(like_mean), like_mean, week)
    sums = _Sums.of(panel.values)
    hour = sums.mean(end, 4)
    hour_before = nan_mean(np.stack([sums.mean(np.maximum(end - PER_DAY * d, 0), 4) for d in range(1, 8)], axis=-1))
    angle = 2 * np.pi * days.of_day[target] / PER_DAY
    last = panel.read(end - 1, end)
    shared = (np.sin(angle), np.cos(angle), days.weekday[target], days.day_class[target], days.elevation_deg[target])
    own = (
        nth_valid(past, 0), nth_valid(past, 1), past[..., 6], nth_valid(like, 0), like_mean, week,
        sums.mean(end, PER_DAY), sums.mean(end, 7 * PER_DAY), hour, hour - hour_before, last,
        last - panel.read(end - 2, end),
    )  # fmt: skip
    blocks = [np.broadcast_to(np.asarray(c, dtype=float), seasonal.shape) for c in (*shared, lead, *own)]
    return Rows(_without_gaps(np.stack(blocks, axis=-1), seasonal), seasonal)


def _without_gaps(x: Array, seasonal: Array) -> Array:
    """Gaps in levels become the seasonal value, gaps in differences zero: a booster reads NaN as zero."""
    difference = np.isin(NAMES, ("hour_deviation", "last_ramp"))
    return np.where(np.isnan(x), np.where(difference, 0.0, seasonal[..., None]), x)
