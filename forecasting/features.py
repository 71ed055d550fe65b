"""Features of a target quarter, computed only from what was known at its issue time.

Values are read through two doors: single ones through `Panel.read`, sums and maxima over a window through `Running`.
Each is told the number of quarters known at the issue time and raises LookAhead beyond it, so a window moved too far
by mistake is an error and not a leak. All functions are vectorised over series (S) and rows (R): a row is one issue
time and one target quarter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.calendar import PER_DAY, Days, Index
from forecasting.panel import Panel
from vpp.domain.errors import LookAhead
from vpp.domain.time import Array

SEASONAL_DAYS = 28
LIKE_DAYS = 4
NAMES: tuple[str, ...] = (
    "quarter_sin", "quarter_cos", "weekday", "day_class", "elevation_deg", "lead",
    "lag_latest", "lag_next", "lag_7", "like_latest", "like_mean", "quarter_week_mean",
    "last_day_mean", "last_week_mean", "last_hour_mean", "hour_deviation", "last_value", "last_ramp",
)  # fmt: skip


@dataclass(frozen=True)
class Extra:
    """More features (R, F) of the rows of one series, by name."""

    names: tuple[str, ...]
    x: Array


@dataclass(frozen=True)
class Running:
    """What columns 0..e-1 accumulate to, for every e: values (S, N + 1), of which each row may ask up to `known`.

    `known` is (S, R). Asking past it raises LookAhead.
    """

    values: Array
    known: Index

    @classmethod
    def sums(cls, values: Array, known: Index) -> Running:
        """Sums of `values` (S, N)."""
        return cls(np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1), known)

    def upto(self, end: Index) -> Array:
        """What the columns before `end` (S, R) accumulate to."""
        if np.any(end > self.known):
            late = int(np.max(end - self.known))
            raise LookAhead(f"a feature asked for a window that ends {late} quarters past what was known")
        return self.values[np.arange(len(self.values))[:, None], end]

    def over(self, end: Index, length: int) -> Array:
        """The difference that the `length` columns before `end` (S, R) make."""
        return self.upto(end) - self.upto(np.maximum(end - length, 0))


@dataclass(frozen=True)
class Means:
    """Means over any window that was known, from running sums of values and of their count."""

    total: Running
    count: Running

    @classmethod
    def of(cls, values: Array, known: Index) -> Means:
        valid = np.isfinite(values)
        return cls(Running.sums(np.where(valid, values, 0.0), known), Running.sums(valid, known))

    def mean(self, end: Index, length: int) -> Array:
        """Mean of the `length` values before `end` (S, R); NaN where all of them are gaps."""
        count, total = self.count.over(end, length), self.total.over(end, length)
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


def build(panel: Panel, days: Days, target: Index, end: Index, lead: Index) -> Array:
    """Features (S, R, F), named by NAMES, of `target` columns (R,) `lead` (R,) quarters ahead.

    `end` (S, R) is how many columns of each series were known; `days` covers the panel's axis and the
    targets, from the panel's first quarter.
    """
    lags = np.arange(1, SEASONAL_DAYS + 1)
    past = same_quarter(panel, days, target, end, lags)
    like = np.where(like_days(days, target, lags)[None] > 0, past, np.nan)
    rank = np.cumsum(np.isfinite(like), axis=-1)
    like_mean = nan_mean(np.where(rank <= LIKE_DAYS, like, np.nan))
    week = nan_mean(past[..., :8])
    seasonal = np.where(np.isfinite(like_mean), like_mean, week)
    sums = Means.of(panel.values, end)
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
    return _without_gaps(np.stack(blocks, axis=-1), seasonal)


def _without_gaps(x: Array, seasonal: Array) -> Array:
    """Gaps in levels become the seasonal value, gaps in differences zero: a booster reads NaN as zero."""
    difference = np.isin(NAMES, ("hour_deviation", "last_ramp"))
    return np.where(np.isnan(x), np.where(difference, 0.0, seasonal[..., None]), x)
