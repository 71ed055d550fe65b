"""Persistence and the seasonal naive: a guess that needs no model, with the errors that came of it.

Persistence guesses the latest value known at the issue (the last one for short leads, the same time of the last
known day for long ones), the seasonal naive the mean of the last four like days at that time. The quantiles are the
guess plus those of its past errors, at the same lead or at the same time of day.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.cases import Cases
from forecasting.models.grouped import GroupedQuantiles
from forecasting.models.model import Levels
from vpp.domain.time import Array

GUESS, SEASONAL, OF_DAY = "persistence", "like_mean", "of_day"
LEAST = 20


@dataclass(frozen=True)
class Persistence:
    """Quantiles of the past errors of the column `guess`, by `of_day` or else by lead, and of all (L,).

    Where there is no guess the quantiles are those of the `values` (L,) themselves.
    """

    errors: GroupedQuantiles
    overall: Array
    values: Array
    guess: str = GUESS
    by_of_day: bool = False

    def predict(self, cases: Cases) -> Array:
        rough = np.repeat(self.overall[:, None], len(cases), axis=1)
        guess = cases.column(self.guess)
        made = guess + self.errors.read(_key(cases, self.by_of_day), rough)
        return np.where(np.isfinite(guess), made, self.values[:, None])


def persistence(cases: Cases, levels: Levels) -> Persistence:
    """Past errors of the latest value by lead."""
    return _with_errors(cases, levels, GUESS, by_of_day=False)


def seasonal_naive(cases: Cases, levels: Levels) -> Persistence:
    """Past errors of the like days' mean by time of day."""
    return _with_errors(cases, levels, SEASONAL, by_of_day=True)


def _key(cases: Cases, by_of_day: bool) -> Array:
    key: Array = cases.column(OF_DAY) if by_of_day else cases.lead.astype(float)
    return key[:, None]


def _with_errors(cases: Cases, levels: Levels, guess: str, *, by_of_day: bool) -> Persistence:
    error = cases.y - cases.column(guess)
    there = np.isfinite(error)
    overall = np.quantile(error[there], levels) if there.any() else np.zeros(len(levels))
    errors = GroupedQuantiles.of(_key(cases, by_of_day)[there], error[there], levels, LEAST)
    return Persistence(errors, overall, np.quantile(cases.y, levels), guess, by_of_day)
