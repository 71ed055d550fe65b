"""The rules by which a series is screened, each from what it did before (`forecasting/screen.py` states them)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from forecasting.calendar import PER_DAY, Index
from forecasting.meter_rows import Finding, Mask, spans
from vpp.domain.time import Array

MEMORY_DAYS = 28
LEAST_DAYS = 7
LEAST_LIKE = 3
FROZEN_QUARTERS = 8
SPIKE_STEPS = 3.0
BOUND_SLACK = 0.05
ANOMALY_SCALES = 8.0
SHIFT_SCALES = 2.0
SHIFT_DAYS = 3
ONE_SIDED_SHARE = 0.9
NIGHT_SHARE = 0.02
STRAY_SHARE = 0.02
SLIPS = ((1000.0, 1, 3), (4.0, 3, 5))
SLIP_SLACK = 1.2
_SHARES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
_STRIDE = 4


@dataclass(frozen=True)
class Past:
    """One series from quarter `first`, and what its days before say of every quarter.

    All (N,): values `x`, whether the sun is down, the median of like days, the scale s of deviations from it, the
    99.5th percentile of steps, and the least and greatest value; NaN where too little is known.
    """

    name: str
    first: int
    lower: float
    upper: float
    x: Array
    dark: Mask
    usual: Array
    scale: Array
    step: Array
    least: Array
    most: Array


def _runs(x: Array) -> tuple[Index, Index]:
    """Start and length of each run of equal values; gaps are runs of one."""
    start = np.flatnonzero(np.concatenate([[True], x[1:] != x[:-1]]))
    return start, np.diff(np.append(start, len(x)))


def _frozen(past: Past) -> list[Finding]:
    start, length = _runs(past.x)
    out = []
    for k in np.flatnonzero((length > FROZEN_QUARTERS) & np.isfinite(past.x[start])):
        value, a = past.x[start[k]], int(start[k])
        earlier = (start >= a - MEMORY_DAYS * PER_DAY) & (start + length < a) & (length > 1)
        usual_length = np.quantile(length[earlier], 0.99) if earlier.any() else 0.0
        limit = int(max(FROZEN_QUARTERS, 2 * usual_length))
        rests = np.unique(start[earlier & (length > FROZEN_QUARTERS // 2) & (past.x[start] == value)] // PER_DAY)
        at_rest = value in (0.0, past.lower, past.upper) or len(rests) >= LEAST_LIKE
        if length[k] > limit and not at_rest:
            first = past.first + a
            out.append(Finding(first, first + int(length[k]), "frozen", past.name, first + limit + 1))
    return out


def _spikes(past: Past) -> list[Finding]:
    x, limit = past.x, SPIKE_STEPS * past.step
    outside = (x > past.most + limit / SPIKE_STEPS) | (x < past.least - limit / SPIKE_STEPS)
    out = []
    for width in (1, 2):
        before = np.concatenate([np.full(1, np.nan), x[:-1]])
        after = np.concatenate([x[width:], np.full(width, np.nan)])
        there, back = x - before, np.roll(x, 1 - width) - after
        jump = (np.abs(there) > limit) & (np.abs(back) > limit) & (there * back > 0) & outside
        jump[len(x) - width + 1 :] = False
        for a in past.first + np.flatnonzero(jump & np.roll(outside, 1 - width)):
            out.append(Finding(int(a), int(a) + width, "spike", past.name, int(a) + width + 1))
    return out


def _slips(past: Past) -> list[Finding]:
    size = np.nan_to_num(np.abs(past.usual))
    clear = (size > NIGHT_SHARE * np.quantile(size, 0.95)) & (np.abs(past.x) > 0)
    log = np.full(len(past.x), np.nan)
    log[clear] = np.log(np.abs(past.x[clear] / past.usual[clear]))
    out = set()
    for factor, length, least in SLIPS:
        level, low, high = _windows(np.abs(past.x), length)
        for f in (factor, 1 / factor):
            for w in np.flatnonzero(_only_with(level, low, high, f, least)):
                out.add(_edged(past, log, float(np.log(f)), (int(w) * _STRIDE, length * PER_DAY)))
    return _merged(out)


def _windows(size: Array, length: int) -> tuple[Array, Array, Array]:
    """Quantiles (W, Q) of windows of `length` days, and their range (W, Q) each over such windows in D."""
    if len(size) < (LEAST_DAYS + length) * PER_DAY:
        return (np.zeros((0, len(_SHARES))),) * 3
    view = np.lib.stride_tricks.sliding_window_view(size, length * PER_DAY)[::_STRIDE]
    level = np.quantile(view, _SHARES, axis=1).T
    back = np.arange(length, MEMORY_DAYS + 1) * (PER_DAY // _STRIDE)
    at = np.arange(len(view))[:, None] - back
    enough = (at >= 0) & (at[:, LEAST_DAYS - 1 : LEAST_DAYS] >= 0)
    past = np.where(enough[..., None], level[np.maximum(at, 0)], np.nan)
    low = np.fmin.reduce(past, axis=1, initial=np.inf)
    high = np.fmax.reduce(past, axis=1, initial=-np.inf)
    return level, low, high


def _only_with(level: Array, low: Array, high: Array, factor: float, least: int) -> Mask:
    """Windows (W,) whose quantiles fit the range of D after division by `factor` and mostly lie outside before.

    A quantile counts where it is not at rest; at least `least` must.
    """
    counts = high > NIGHT_SHARE * high[:, -1:]
    fits = (level / factor >= low / SLIP_SLACK) & (level / factor <= high * SLIP_SLACK)
    beyond = level > high * SLIP_SLACK if factor > 1 else level < low / SLIP_SLACK
    enough = (counts.sum(axis=1) >= least) & np.isfinite(level).all(axis=1)
    out: Mask = enough & (fits | ~counts).all(axis=1) & (2 * (beyond & counts).sum(axis=1) > counts.sum(axis=1))
    return out


def _edged(past: Past, log: Array, target: float, window: tuple[int, int]) -> Finding:
    """The slip around `window` (start, length), its edges where the logarithms turn from 0 to `target` and back:
    the least absolute misfit."""
    end = window[0] + window[1]
    a, b = max(0, window[0] - window[1]), min(len(log), end + MEMORY_DAYS * PER_DAY)
    gain = np.nan_to_num(np.abs(log[a:b]) - np.abs(log[a:b] - target))
    total = np.concatenate([[0.0], np.cumsum(gain)])
    stop = int(np.argmax(total - np.minimum.accumulate(total)))
    start = int(np.argmin(total[: stop + 1]))
    return Finding(past.first + a + start, past.first + a + stop, "unit_slip", past.name, past.first + end)


def _merged(findings: set[Finding]) -> list[Finding]:
    """Of findings that overlap the earliest found, as long as all of them."""
    out: list[Finding] = []
    for f in sorted(findings):
        if out and f.start < out[-1].end:
            out[-1] = replace(out[-1], end=max(out[-1].end, f.end), found=min(out[-1].found, f.found))
        else:
            out.append(f)
    return out


def _night(past: Past) -> list[Finding]:
    hit = np.zeros(len(past.x), dtype=bool)
    for begin in range(LEAST_DAYS * PER_DAY, len(hit), PER_DAY):
        before, today = slice(max(0, begin - MEMORY_DAYS * PER_DAY), begin), slice(begin, begin + PER_DAY)
        night, least = past.x[before][past.dark[before]], NIGHT_SHARE * past.most[begin]
        night = night[np.isfinite(night)]
        if len(night) >= LEAST_DAYS * 4 and np.quantile(np.abs(night), 1 - STRAY_SHARE) < least / 4:
            hit[today] = past.dark[today] & (past.x[today] > least)
    return spans(past.name, "night_production", hit, past.first)


def _outside(past: Past) -> list[Finding]:
    there = past.x[np.isfinite(past.x)]
    size = past.upper - past.lower if np.isfinite(past.upper - past.lower) else np.quantile(np.abs(there), 0.99)
    hit = (past.x < past.lower - BOUND_SLACK * size) | (past.x > past.upper + BOUND_SLACK * size)
    return spans(past.name, "out_of_bounds", hit, past.first)


def _score(past: Past) -> Array:
    least = np.fmax(1e-3 * np.fmax(np.abs(past.most), np.abs(past.least)), 1e-12)
    score: Array = (past.x - past.usual) / np.fmax(past.scale, least)
    return score


def _anomalies(past: Past) -> list[Finding]:
    return spans(past.name, "anomaly", np.abs(_score(past)) > ANOMALY_SCALES, past.first)


def _counts(mask: Mask, length: int) -> Index:
    """True columns among the `length` before each of N + 1 ends; before the first `length` among fewer."""
    total = np.concatenate([[0], np.cumsum(mask)])
    counts: Index = total - np.concatenate([np.zeros(length, dtype=np.int64), total])[: len(total)]
    return counts


def _shifts(past: Past) -> list[Finding]:
    score, length = _score(past), SHIFT_DAYS * PER_DAY
    hit = np.zeros(len(score), dtype=bool)
    ends = np.arange(length, len(score) + 1, 4)
    known, above, below = (_counts(m, length)[ends] for m in (np.isfinite(score), score > 0, score < 0))
    one_sided = np.maximum(above, below) >= ONE_SIDED_SHARE * known
    for end in ends[one_sided & (known >= length // 2)]:
        window = score[end - length : end]
        there = window[np.isfinite(window)]
        low, middle, high = np.quantile(there, (0.05, 0.5, 0.95))
        if (low > 0 and middle > SHIFT_SCALES) or (high < 0 and middle < -SHIFT_SCALES):
            hit[end - length : end] = True
    return [replace(f, found=f.start + length) for f in spans(past.name, "level_shift", hit, past.first)]


def _gaps(past: Past) -> list[Finding]:
    begun = np.arange(len(past.x)) >= np.argmax(np.isfinite(past.x))
    return spans(past.name, "gap", np.isnan(past.x) & begun, past.first)


RULES: tuple[Callable[[Past], list[Finding]], ...] = (
    _gaps, _frozen, _spikes, _slips, _night, _anomalies, _outside, _shifts,
)  # fmt: skip
