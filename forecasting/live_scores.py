"""Scores of forecasts that were issued, as their outcomes come: the model against the seasonal naive.

    pinball of level a at miss d = y - q: max(a d, (a - 1) d)

averaged over levels and quarters (Gneiting and Raftery, JASA 102, 2007). A band covers what lies inside it; the
reliability of a level is the share of outcomes below its quantile (Murphy and Winkler, Applied Statistics 26(1),
1977). An outcome that equals its quantile, as the zero of a photovoltaic night does, counts half. Days are kept as
sums, so that the score of a window is that of all its quarters together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forecasting.losses import covered, pinball_by_level
from vpp.domain.learnt import DayForecast, DayScore
from vpp.domain.time import Array

LEAST_OUTCOMES = 3 * 96
LEAST_COVERAGE_90 = 0.80
SAME = 1e-9


@dataclass(frozen=True)
class LiveScore:
    """One series over a window: mean pinball in its unit, coverage by band, share of outcomes below each level."""

    source: str
    pinball: float
    pinball_naive: float
    coverage: Mapping[str, float]
    reliability: tuple[float, ...]
    n: int

    @property
    def worse(self) -> bool:
        """Whether enough outcomes say that the naive would have been better."""
        return self.n >= LEAST_OUTCOMES and self.pinball > self.pinball_naive * (1 + SAME)

    @property
    def overconfident(self) -> bool:
        """Whether enough outcomes say that the 90 % band is far too narrow."""
        return self.n >= LEAST_OUTCOMES and self.coverage["90"] < LEAST_COVERAGE_90


def day_scores(made: DayForecast, actual: Array) -> list[DayScore]:
    """The scores of every series of `made` with an outcome in `actual` (S, T), whose gaps are NaN, and a naive."""
    found = []
    for i, name in enumerate(made.series):
        there = np.isfinite(actual[i]) & np.isfinite(made.naive[i]).all(axis=0)
        if not there.any():
            continue
        y, q, rival = actual[i, there], made.quantiles[i][:, there], made.naive[i][:, there]
        loss, loss_naive = (float(pinball_by_level(p, y, made.levels).mean(axis=0).sum()) for p in (q, rival))
        below = ((y < q) + 0.5 * (y == q)).sum(axis=1)
        found.append(DayScore(
            name, made.grid.start, made.source[i], len(y), loss, loss_naive,
            {band: int(inside.sum()) for band, inside in covered(q, y, made.levels).items()}, tuple(below.tolist()),
        ))  # fmt: skip
    return found


def over_window(scores: Sequence[DayScore]) -> dict[str, LiveScore]:
    """The score of each series over all its days in `scores`, which come in order of time."""
    days: dict[str, list[DayScore]] = defaultdict(list)
    for score in scores:
        days[score.series].append(score)
    return {name: _summed(own) for name, own in days.items()}


def _summed(days: Sequence[DayScore]) -> LiveScore:
    n = sum(d.n for d in days)
    return LiveScore(
        days[-1].source, sum(d.pinball for d in days) / n, sum(d.pinball_naive for d in days) / n,
        {band: sum(d.inside[band] for d in days) / n for band in days[-1].inside},
        tuple((np.sum([d.below for d in days], axis=0) / n).tolist()), n,
    )  # fmt: skip
