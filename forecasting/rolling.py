"""A rolling forecast: fit, forecast, learn from what came, again and again, never looking ahead.

At each refit every model learns from the cases known then. The blend of a stretch between two refits is chosen
on earlier stretches, forecast as they would have been (before the first there are a few trial stretches). The
calibration goes issue by issue: first it learns from the outcomes that became known, then it forecasts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forecasting import blend, conformal
from forecasting.calendar import Index
from forecasting.cases import Cases
from forecasting.models.model import Fit, Levels
from vpp.domain.time import Array

DAY = 1440
TRIALS = 3
TRIAL_DAYS = 21
BLEND_DAYS = 120


@dataclass(frozen=True)
class Rolled:
    """Quantiles (L, R) of `cases` (R rows), each made with what was known at its issue.

    `single` are those of each model, `raw` their blend, `calibrated` the blend after calibration; NaN columns
    before the first refit.
    """

    cases: Cases
    levels: Levels
    single: Mapping[str, Array]
    raw: Array
    calibrated: Array
    weights: Mapping[int, Array]


@dataclass(frozen=True)
class Scheme:
    """How to forecast one series: models by name (the first `naive` are the naive ones), lead groups by their
    edges in minutes, and the bounds that a row's quantiles keep."""

    models: Mapping[str, Fit]
    naive: int
    lead_edges: tuple[int, ...] = ()
    bounds: Callable[[Cases, Array], Array] = lambda cases, quantiles: quantiles
    most_rows: int = 40_000


def rolling(cases: Cases, refits: Sequence[int], scheme: Scheme, levels: Levels) -> Rolled:
    """Forecast every case issued from the first refit on; `refits` are moments in minutes, rising."""
    first = int(refits[0])
    trials = [first - DAY * TRIAL_DAYS * k for k in range(TRIALS, 0, -1)]
    trials = [m for m in trials if len(cases.learnable(m)) >= len(cases.learnable(first)) / 4]
    moments = [*trials, *refits]
    m = len(scheme.models)
    single = np.full((m, len(levels), len(cases)), np.nan)
    for k, moment in enumerate(moments):
        until = moments[k + 1] if k + 1 < len(moments) else np.inf
        ahead = np.flatnonzero((cases.issue >= moment) & (cases.issue < until))
        if len(ahead):
            single[:, :, ahead] = fit_and_predict(cases, moment, ahead, scheme, levels)
    raw, weights = _blended(cases, single, trials, refits, scheme, levels)
    calibrated = calibrate(cases, raw, levels, scheme, first)
    return Rolled(cases, levels, dict(zip(scheme.models, single, strict=True)), raw, calibrated, weights)


def fit_and_predict(cases: Cases, moment: int, ahead: Index, scheme: Scheme, levels: Levels) -> Array:
    """Quantiles (M, L, A) of rows `ahead` by models that know what was known at `moment`."""
    past = cases.learnable(moment)
    past = past.rows(np.arange(len(past))[-scheme.most_rows :])
    asked = cases.rows(ahead)
    return np.stack([scheme.bounds(asked, fit(past, levels).predict(asked)) for fit in scheme.models.values()])


def lead_group(cases: Cases, edges: Sequence[int]) -> Index:
    """Group (R,) of each row by its lead."""
    group: Index = np.searchsorted(np.asarray(edges), cases.lead, side="right").astype(np.int64)
    return group


def _blended(
    cases: Cases, single: Array, trials: Sequence[int], refits: Sequence[int], scheme: Scheme, levels: Levels
) -> tuple[Array, dict[int, Array]]:
    group, groups = lead_group(cases, scheme.lead_edges), len(scheme.lead_edges) + 1
    raw = np.full(single.shape[1:], np.nan)
    forecast = np.isfinite(single).all(axis=(0, 1))
    day = cases.issue // DAY
    weights = {}
    moments = [*trials[1:], *refits]
    for k, moment in enumerate(moments):
        until = moments[k + 1] if k + 1 < len(moments) else np.inf
        past = np.flatnonzero(
            forecast & (cases.known <= moment) & (cases.issue >= moment - BLEND_DAYS * DAY) & np.isfinite(cases.y)
        )
        chosen = blend.fitted(single[:, :, past], cases.y[past], group[past], day[past], groups, scheme.naive, levels)
        weights[moment] = chosen.weights
        ahead = np.flatnonzero((cases.issue >= moment) & (cases.issue < until))
        raw[:, ahead] = chosen.mix(single[:, :, ahead], group[ahead])
    return raw, weights


def calibrate(cases: Cases, raw: Array, levels: Levels, scheme: Scheme, first: int) -> Array:
    """Quantiles (L, R) of `raw`, moved online; rows before `first` only teach."""
    made = np.flatnonzero(np.isfinite(raw).all(axis=0))
    group, groups = _condition(cases, raw, made, scheme)
    issues, start = np.unique(cases.issue[made], return_index=True)
    days = float(np.median(np.diff(issues))) / DAY if len(issues) > 1 else 1.0
    trackers = conformal.Trackers(np.asarray(levels), groups, days)
    every = np.full((len(trackers.rate), *raw.shape), np.nan)
    out, spread = np.full(raw.shape, np.nan), conformal.spread_of(raw)
    learnt = made[np.argsort(cases.known[made], kind="stable")]
    known, upto = cases.known[learnt], 0
    for issue, rows in zip(issues, np.split(made, start[1:]), strict=True):
        now = int(np.searchsorted(known, issue, side="right"))
        if now > upto:
            new = learnt[upto:now]
            trackers.learn(every[:, :, new], cases.y[new], group[new])
            upto = now
        moved = trackers.moved(raw[:, rows], spread[rows], group[rows])
        every[:, :, rows] = scheme.bounds(cases.rows(rows), moved)
        out[:, rows] = every[trackers.best][:, rows]
    out[:, cases.issue < first] = np.nan
    return np.sort(out, axis=0)


def _condition(cases: Cases, raw: Array, made: Index, scheme: Scheme) -> tuple[Index, int]:
    """Group (R,) of each row by its lead and the height of its median, and their number.

    Heights are thirds of the values, above the least one, that were known before the first forecast.
    """
    lead = lead_group(cases, scheme.lead_edges)
    before = cases.y[(cases.known <= cases.issue[made[0]]) & np.isfinite(cases.y)] if len(made) else cases.y[:0]
    high = before[before > before.min()] if len(before) else before
    edges = np.unique(np.quantile(high, (1 / 3, 2 / 3))) if len(high) else high
    height = np.searchsorted(edges, np.nan_to_num(raw[len(raw) // 2]))
    return lead * (len(edges) + 1) + height, (len(scheme.lead_edges) + 1) * (len(edges) + 1)
