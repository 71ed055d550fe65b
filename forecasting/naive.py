"""Seasonal naive quantiles: what the same local quarter was on the last like days.

For each target quarter the sample is the values of the same local quarter and its two neighbours on the
last days of the same class (workday, Saturday, Sunday or holiday) that were known at the issue time; its
empirical quantiles (Hyndman and Fan, The American Statistician 50(4), 1996, definition 7) are the forecast.
Gaps are left out of the sample, never read as zero. With too few like days any day serves, then any value.
"""

from __future__ import annotations

import numpy as np

from forecasting.calendar import Days, Index
from forecasting.features import like_days, same_quarter
from forecasting.panel import Panel
from vpp.domain.errors import DataGap
from vpp.domain.time import Array

LIKE_SAMPLES = 10
ENOUGH = 3
_LOOK_BACK = (70, 400)


def sample_quantiles(sample: Array, levels: Array) -> Array:
    """Empirical quantiles of `sample` (..., J) over what is there: (L, ...), NaN where nothing is."""
    ordered = np.sort(sample, axis=-1)
    count = np.isfinite(sample).sum(axis=-1)
    at = levels.reshape((-1,) + (1,) * count.ndim) * np.maximum(count - 1, 0)
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    expanded = np.broadcast_to(ordered, (len(levels), *ordered.shape))
    below = np.take_along_axis(expanded, low[..., None], axis=-1)[..., 0]
    above = np.take_along_axis(expanded, high[..., None], axis=-1)[..., 0]
    value: Array = below + (at - low) * (above - below)
    return value


def _first(values: Array, n: int) -> Array:
    """The first `n` days (last axis) that have a value, NaN elsewhere."""
    rank = np.cumsum(np.isfinite(values), axis=-1)
    return np.where(rank <= n, values, np.nan)


def _samples(panel: Panel, days: Days, target: Index, end: Index, look_back: int) -> tuple[Array, Array]:
    """Like-day and any-day samples (S, R, 3 * days) with the neighbouring quarters."""
    lags = np.arange(1, min(look_back, panel.n // 96 + 2) + 1)
    like = like_days(days, target, lags)[None] > 0
    near = np.clip(target[:, None] + np.array([0, -1, 1])[None, :], 0, len(days.offset) - 1)
    past = [same_quarter(panel, days, near[:, k], end, lags) for k in range(near.shape[1])]
    alike = [_first(np.where(like, p, np.nan), LIKE_SAMPLES) for p in past]
    any_day = [_first(p, LIKE_SAMPLES) for p in past]
    return np.concatenate(alike, axis=-1), np.concatenate(any_day, axis=-1)


def naive_quantiles(panel: Panel, days: Days, target: Index, end: Index, levels: tuple[float, ...]) -> Array:
    """Quantiles (S, L, R) of `target` columns (R,) from the `end` (S, R) columns known then.

    `days` covers panel and targets from the panel's first quarter. Bounds are applied. Raises DataGap
    for a series without a single value.
    """
    level = np.asarray(levels)
    out = np.full((len(panel.ids), len(levels), len(target)), np.nan)
    todo = np.arange(len(panel.ids))
    for look_back in _LOOK_BACK:
        if len(todo):
            part = panel.select(todo.tolist())
            alike, any_day = _samples(part, days, target, end[todo], look_back)
            enough = np.isfinite(alike).sum(axis=-1, keepdims=True) >= ENOUGH
            out[todo] = np.moveaxis(sample_quantiles(np.where(enough, alike, any_day), level), 0, 1)
            todo = todo[np.isnan(out[todo]).any(axis=(1, 2))]
    for i in todo:
        known = panel.values[i, : int(end[i].min())]
        if not np.isfinite(known).any():
            raise DataGap(f"{panel.ids[i]} has no value to forecast from")
        fallback = np.nanquantile(known, level)[:, None]
        out[i] = np.where(np.isnan(out[i]), fallback, out[i])
    bounded: Array = np.clip(out, panel.lower[:, None, None], panel.upper[:, None, None])
    return bounded
