"""Rolling scores of a forecaster and of the seasonal naive, side by side.

Pinball loss of level a: max(a (y - q), (a - 1)(y - q)), averaged over levels, steps and issue times (Gneiting
and Raftery, JASA 102, 2007). Coverage is the share of values inside a central band. A step whose value is a
gap is not scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from forecasting.calendar import Calendar, quarter_of
from forecasting.naive import naive_quantiles
from forecasting.panel import Panel
from vpp.domain.errors import LookAhead
from vpp.domain.forecast import LEVELS, History
from vpp.domain.ports import Forecaster
from vpp.domain.time import QUARTER, Array, TimeGrid

BANDS: Mapping[str, tuple[int, int]] = {"50": (2, 6), "80": (1, 7), "90": (0, 8)}


@dataclass(frozen=True)
class Score:
    """Scores of one series over `steps` scored steps; pinball in the unit of the series."""

    source: str
    pinball: float
    pinball_naive: float
    coverage: Mapping[str, float]
    coverage_naive: Mapping[str, float]
    mean_value: float
    steps: int


def pinball(quantiles: Array, actual: Array, levels: Sequence[float] = LEVELS) -> Array:
    """Loss (..., T), averaged over the levels, of `quantiles` (..., L, T) against `actual` (..., T)."""
    level = np.asarray(levels)[:, None]
    miss = actual[..., None, :] - quantiles
    loss: Array = np.maximum(level * miss, (level - 1) * miss).mean(axis=-2)
    return loss


def coverage(quantiles: Array, actual: Array) -> dict[str, float]:
    """Share of `actual` (T,) inside each central band of `quantiles` (L, T), gaps left out."""
    there = np.isfinite(actual)
    y, q = actual[there], quantiles[:, there]
    return {name: float(np.mean((y >= q[a]) & (y <= q[b]))) for name, (a, b) in BANDS.items()}


def rolling_scores(
    forecaster: Forecaster, history: History, issues: Sequence[datetime], steps: int, calendar: Calendar
) -> dict[str, Score]:
    """Score forecasts of `steps` quarters issued at `issues`, as far as `history` knows what came of them.

    A score is out of sample only for issues after the models' training; the caller picks them. Raises
    LookAhead for an issue time after the history's own.
    """
    if max(issues) > history.issued_at:
        raise LookAhead(f"{max(issues)} cannot be scored at {history.issued_at}")
    known = Panel.of(history)
    model, naive, actual, source = [], [], [], {}
    for at in issues:
        grid = TimeGrid.uniform(at, QUARTER, steps)
        made = forecaster.forecast(History(at, history.series), grid, 1)
        source = dict(zip(made.series, made.source, strict=True))
        past = Panel.of(History(at, history.series))
        target = np.arange(steps) + quarter_of(at) - past.first
        days = calendar.days(past.first, int(target[-1]) + 2)
        end = np.broadcast_to(past.end[:, None], (len(past.ids), steps))
        naive.append(naive_quantiles(past, days, target, end, LEVELS))
        model.append(made.quantiles)
        columns = np.arange(steps) + quarter_of(at) - known.first
        inside = columns < known.n
        actual.append(np.where(inside, known.values[:, np.minimum(columns, known.n - 1)], np.nan))
    q, rival, y = (np.concatenate(part, axis=-1) for part in (model, naive, actual))
    scored = [i for i in range(len(known.ids)) if np.isfinite(y[i]).any()]
    return {known.ids[i]: _score(source[known.ids[i]], q[i], rival[i], y[i]) for i in scored}


def _score(source: str, model: Array, naive: Array, actual: Array) -> Score:
    return Score(
        source, float(np.nanmean(pinball(model, actual))), float(np.nanmean(pinball(naive, actual))),
        coverage(model, actual), coverage(naive, actual), float(np.nanmean(actual)), int(np.isfinite(actual).sum()),
    )  # fmt: skip
