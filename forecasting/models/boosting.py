"""Gradient-boosted quantiles of the value itself, or of its change against the persistence guess.

Trees cannot go beyond the values they saw; a series that drifts is better learnt by its change. Boosters are trained
for a few of the levels; the others are read between them, on a straight line over normal scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from forecasting import lightgbm_quantiles as trees
from forecasting.cases import Cases
from forecasting.models.model import Levels
from forecasting.models.persistence import GUESS
from vpp.domain.time import Array

CORE: Levels = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True)
class Boosting:
    """Boosters at the levels `core`, of the value, or of the change where `of_change`; asked for `levels`."""

    model: trees.QuantileModel
    core: Levels
    levels: Levels
    of_change: bool

    def predict(self, cases: Cases) -> Array:
        made = between(self.model.predict(cases.x), self.core, self.levels)
        return made + _anchor(cases) if self.of_change else made


def boosting(cases: Cases, levels: Levels) -> Boosting:
    """Quantiles of the value."""
    return _boosting(cases, levels, cases.y, of_change=False)


def boosting_change(cases: Cases, levels: Levels) -> Boosting:
    """Quantiles of the change against the guess."""
    return _boosting(cases, levels, cases.y - _anchor(cases), of_change=True)


def _boosting(cases: Cases, levels: Levels, y: Array, *, of_change: bool) -> Boosting:
    core = core_of(levels)
    return Boosting(trees.train(trees.TrainingSet(cases.x, y), core), core, levels, of_change)


def core_of(levels: Levels) -> Levels:
    """Those of `levels` that lie nearest to the core ones, the outermost included."""
    nearest = [levels[int(np.argmin(np.abs(np.asarray(levels) - a)))] for a in CORE]
    return tuple(sorted({levels[0], levels[-1], *nearest}))


def between(quantiles: Array, core: Levels, levels: Levels) -> Array:
    """Quantiles (L, R) at `levels` of those (C, R) at `core`, which spans them."""
    if len(core) == 1:
        return np.repeat(quantiles, len(levels), axis=0)
    score, known = ndtri(levels), ndtri(core)
    k = np.clip(np.searchsorted(known, score, side="right") - 1, 0, len(core) - 2)
    share = ((score - known[k]) / (known[k + 1] - known[k]))[:, None]
    read: Array = (1 - share) * quantiles[k] + share * quantiles[k + 1]
    return read


def _anchor(cases: Cases) -> Array:
    guess = cases.column(GUESS)
    return np.where(np.isfinite(guess), guess, 0.0)
