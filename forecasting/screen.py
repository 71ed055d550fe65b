"""An unsupervised screen of meter and weather series: what cannot be a measurement becomes a gap with a name.

Each rule compares a quarter with what the series did before it, so a screen at an issue time sees only what was
known then, and what it found stays found when more is known, but for the edges of a slip. Rules, over the 28 days D
before the day of quarter t:

    frozen            one value for longer than 2 h and than twice the 99th percentile of runs in D; not a bound of
                      the series, nor a value it rested at on other days
    spike             up to two quarters that jump, there and back, by more than 3 times the 99.5th percentile of
                      steps in D, and beyond what D saw
    unit_slip         a day (factor 1000) or three (factor 4) whose quantiles lie outside what such windows had in D,
                      and inside when divided by the factor; its edges are where the ratio to the like days' medians
                      turns; a series at rest half the time, as power of the sun, is judged for 1000 only
    night_production  above 2 % of the peak with the sun 6 degrees below the horizon, in a series that in D was below
                      0.5 % in 98 % of such quarters
    anomaly           |x - median of like days (same local quarter, same class of day)| / s > 8, with s the larger of
                      1.4826 MAD of those days (Hampel, JASA 69, 1974) and the 95th percentile of such deviations in
                      D over 1.96: a site that works or rests has a wide s, a cooling load a narrow one
    out_of_bounds     beyond a bound of the series by 5 % of its range
    level_shift       three days on one side of the like days' medians, by 2 s in the middle

A level shift may be the new truth: it is named and left in place. All else is a gap in what `screened` returns.
Nothing is filled. Rules judge the values as they came, so no verdict depends on another.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from forecasting.calendar import PER_DAY, Days, Index
from forecasting.features import like_days, same_quarter
from forecasting.meter_rows import Finding
from forecasting.panel import Panel
from forecasting.screen_rules import LEAST_DAYS, LEAST_LIKE, MEMORY_DAYS, RULES, Past
from vpp.domain.time import Array

NIGHT_DEG = -6.0
NAMED_ONLY = frozenset({"level_shift"})


def screened(panel: Panel, days: Days) -> tuple[Panel, tuple[Finding, ...]]:
    """`panel` with what the rules found as gaps, and the findings with gaps of the data itself.

    `days` covers the panel's axis from its first quarter.
    """
    values, named = panel.values.copy(), list[Finding]()
    for i in np.flatnonzero(np.isfinite(values).any(axis=1)):
        past = _past(panel.select([int(i)]), days)
        found = [f for rule in RULES for f in rule(past)]
        for f in found:
            if f.kind not in NAMED_ONLY:
                values[i, f.start - panel.first : f.end - panel.first] = np.nan
        named += found
    return replace(panel, values=values), tuple(sorted(named))


def _like(panel: Panel, days: Days) -> tuple[Array, Array]:
    """Median and 1.4826 MAD (N,) of the same local quarter on earlier days of the same class, for a panel of one."""
    at: Index = np.arange(panel.n, dtype=np.int64)
    lags = np.arange(1, MEMORY_DAYS + 1)
    past = same_quarter(panel, days, at, at[None], lags)[0]
    past = np.where(like_days(days, at, lags) > 0, past, np.nan)
    few = np.isfinite(past).sum(axis=-1) < LEAST_LIKE
    past[few] = 0.0
    usual = np.nanmedian(past, axis=-1)
    spread = 1.4826 * np.nanmedian(np.abs(past - usual[:, None]), axis=-1)
    return np.where(few, np.nan, usual), np.where(few, np.nan, spread)


def _past(panel: Panel, days: Days) -> Past:
    """The statistics of the days before each day, the same for all its quarters, for a panel of one."""
    x, (usual, spread) = panel.values[0], _like(panel, days)
    off, step = np.abs(x - usual), np.abs(np.diff(x, prepend=np.nan))
    out = np.full((4, len(x)), np.nan)
    for begin in range(LEAST_DAYS * PER_DAY, len(x), PER_DAY):
        before = slice(max(0, begin - MEMORY_DAYS * PER_DAY), begin)
        for k, (v, share) in enumerate(((off, 0.95), (step, 0.995), (x, 0.001), (x, 0.999))):
            there = v[before][np.isfinite(v[before])]
            if len(there) >= LEAST_DAYS * PER_DAY // 2:
                out[k, begin : begin + PER_DAY] = np.quantile(there, share)
    return Past(
        panel.ids[0], panel.first, float(panel.lower[0]), float(panel.upper[0]), x,
        days.elevation_deg[: panel.n] < NIGHT_DEG, usual, np.fmax(spread, out[0] / 1.96), out[1], out[2], out[3],
    )  # fmt: skip
