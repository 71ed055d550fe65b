"""Gradient-boosted quantiles of the value itself, or of its change against the persistence guess.

Trees cannot go beyond the values they saw; a series that drifts is better learnt by its change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting import lightgbm_quantiles as trees
from forecasting.cases import Cases
from forecasting.models.model import Levels
from forecasting.models.persistence import GUESS
from vpp.domain.time import Array


@dataclass(frozen=True)
class Boosting:
    """Boosters of the value, or of the change where `of_change`."""

    model: trees.QuantileModel
    of_change: bool

    def predict(self, cases: Cases) -> Array:
        made = self.model.predict(cases.x)
        return made + _anchor(cases) if self.of_change else made


def boosting(cases: Cases, levels: Levels) -> Boosting:
    """Quantiles of the value."""
    return Boosting(trees.train(trees.TrainingSet(cases.x, cases.y), levels), False)


def boosting_change(cases: Cases, levels: Levels) -> Boosting:
    """Quantiles of the change against the guess."""
    return Boosting(trees.train(trees.TrainingSet(cases.x, cases.y - _anchor(cases)), levels), True)


def _anchor(cases: Cases) -> Array:
    guess = cases.column(GUESS)
    return np.where(np.isfinite(guess), guess, 0.0)
