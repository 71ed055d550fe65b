"""A rolling forecast: fit, forecast, learn from what came, again and again, never looking ahead.

At each refit every model learns from the cases known then. The blend of a stretch between two refits is chosen
on earlier stretches, forecast as they would have been; before the first refit there are a few trial stretches, by
models that knew only what came before them. The calibration goes issue by issue: first it learns from the outcomes
that became known, then it forecasts. A training for operation is a rolling forecast whose last refit is now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forecasting import blend
from forecasting.calendar import Index
from forecasting.cases import Cases
from forecasting.conformal import Tracker
from forecasting.fitted import Condition, Fitted, Scheme, positions
from forecasting.models.model import Levels, Model
from vpp.domain.time import Array

DAY = 1440
BLEND_DAYS = 120
_LEAST_SHARE = 0.25


@dataclass(frozen=True)
class Trials:
    """`count` stretches of `days` before the first refit, forecast to choose the first blend and calibration."""

    count: int = 3
    days: int = 21

    def before(self, cases: Cases, first: int) -> list[int]:
        """Their beginnings, those left out that would know less than a quarter of what is known at `first`."""
        begin = [first - DAY * self.days * k for k in range(self.count, 0, -1)]
        known = np.sort(cases.known[np.isfinite(cases.y)])
        enough = _LEAST_SHARE * np.searchsorted(known, first, side="right")
        return [m for m in begin if np.searchsorted(known, m, side="right") >= max(enough, 1)]


@dataclass(frozen=True)
class Rolled:
    """Quantiles (L, R) of `cases` (R rows), each made with what was known at its issue.

    `single` are those of each model, `raw` their blend, `calibrated` the blend after calibration, NaN before the
    first refit; `fitted` is what the last refit left, its calibration having learnt from all outcomes.
    """

    cases: Cases
    levels: Levels
    single: Mapping[str, Array]
    raw: Array
    calibrated: Array
    fitted: Fitted


def rolling(
    cases: Cases, refits: Sequence[int], scheme: Scheme, levels: Levels, trials: Trials = Trials()
) -> Rolled:  # fmt: skip
    """Forecast every case issued from the first refit on; `refits` are moments in minutes, rising.

    Raises ValueError where nothing was known at the first refit.
    """
    first = int(refits[0])
    moments = [*trials.before(cases, first), *(int(m) for m in refits)]
    if not len(cases.learnable(first)):
        raise ValueError("nothing to learn from was known at the first refit")
    single = np.full((len(scheme.models), len(levels), len(cases)), np.nan)
    raw = np.full(single.shape[1:], np.nan)
    models: dict[str, Model] = {}
    chosen = blend.equal(len(scheme.models), len(scheme.lead_edges) + 1)
    for moment, until in zip(moments, [*moments[1:], np.inf], strict=True):
        models = scheme.fit(cases.learnable(moment), levels)
        chosen = blended(cases, single, moment, scheme, levels)
        ahead = np.flatnonzero((cases.issue >= moment) & (cases.issue < until))
        if len(ahead):
            asked = cases.rows(ahead)
            single[:, :, ahead] = np.stack([scheme.bounds(asked, m.predict(asked)) for m in models.values()])
            raw[:, ahead] = chosen.mix(single[:, :, ahead], scheme.lead_group(asked))
    fitted = Fitted(scheme, levels, models, chosen, *_condition(cases, raw, moments[0], scheme, levels))
    calibrated = calibrate(cases, raw, fitted)
    calibrated[:, cases.issue < first] = np.nan
    return Rolled(cases, levels, dict(zip(scheme.models, single, strict=True)), raw, calibrated, fitted)


def blended(cases: Cases, single: Array, moment: int, scheme: Scheme, levels: Levels) -> blend.Blend:
    """The blend of what was forecast of late and known by `moment`."""
    late = (cases.known <= moment) & (cases.issue >= moment - BLEND_DAYS * DAY) & np.isfinite(cases.y)
    past = np.flatnonzero(late & np.isfinite(single[0, 0]))
    group = scheme.lead_group(cases)[past]
    return blend.fitted(
        single[:, :, past], cases.y[past], group, cases.issue[past] // DAY, len(scheme.lead_edges) + 1,
        scheme.naive, levels,
    )  # fmt: skip


def _condition(cases: Cases, raw: Array, moment: int, scheme: Scheme, levels: Levels) -> tuple[Condition, Tracker]:
    condition = Condition.of(cases.y[cases.known <= moment])
    issues = np.unique(cases.issue[np.isfinite(raw).all(axis=0)])
    days = float(np.median(np.diff(issues))) / DAY if len(issues) > 1 else 1.0
    pace = scheme.pace
    return condition, Tracker(np.asarray(levels), condition.groups(scheme), days, pace.rate_a_day, pace.relief)


def calibrate(cases: Cases, raw: Array, fitted: Fitted) -> Array:
    """Quantiles (L, R) of `raw` moved by the tracker of `fitted`, which learns all outcomes on the way."""
    made: Index = np.flatnonzero(np.isfinite(raw).all(axis=0))
    asked = cases.rows(made)
    group = fitted.condition.group(fitted.scheme, asked, raw[:, made])
    moved = np.full((len(raw), len(made)), np.nan)
    order = np.argsort(asked.known, kind="stable")
    known, upto = asked.known[order], 0
    for issue, rows in [*positions(asked.issue), (np.inf, np.arange(0))]:
        now = int(np.searchsorted(known, issue, side="right"))
        new, upto = order[upto:now], now
        if len(new):
            fitted.tracker.learn(moved[:, new], asked.y[new], group[new])
        moved[:, rows] = fitted.moved(asked.rows(rows), raw[:, made[rows]], group[rows])
    out = np.full(raw.shape, np.nan)
    out[:, made] = np.sort(moved, axis=0)
    return out
