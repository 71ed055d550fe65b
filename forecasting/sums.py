"""Calibrated sums: of many joint scenarios those are taken whose sums are spread as past sums turned out.

The sum over a day, or over a day and all series of a plant, is what is sold; its distribution follows from the
dependence of errors, and a small mistake in that shows in every band. Of M candidate scenarios sorted by their sum, K
are taken at the probabilities Phi(z_k + t(z_k)), z_k the normal scores of (k + 1/2) / K and t the offsets that online
quantile tracking of past sums has reached (`forecasting/conformal.py`); between its levels t is read linearly, beyond
them it is constant. Where past sums were covered as they should be, t is zero and every (M / K)-th is taken. No
candidate is taken twice, so a spread that is wrong by half is mended in part only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr, ndtri

from forecasting.conformal import Tracker
from forecasting.models.model import Levels
from vpp.domain.time import Array


@dataclass
class SumCalibration:
    """The offsets of one sum, forecast once in `days` days at quantile `levels`."""

    levels: Levels
    days: float = 1.0
    tracker: Tracker = field(init=False)

    def __post_init__(self) -> None:
        self.tracker = Tracker(np.asarray(self.levels), 1, self.days)

    def chosen(self, candidates: Array, count: int) -> Array:
        """`count` of `candidates` (M, ...), in the candidates' order. Raises ValueError for fewer than `count`."""
        if len(candidates) < count:
            raise ValueError(f"cannot take {count} of {len(candidates)} scenarios")
        order = np.argsort(candidates.reshape(len(candidates), -1).sum(axis=1), kind="stable")
        score = ndtri((np.arange(count) + 0.5) / count)
        moved = ndtr(score + np.interp(score, ndtri(np.asarray(self.levels)), self.tracker.common))
        rank = np.clip(np.sort(moved) * len(order), 0, len(order) - 1).astype(np.int64)
        rank = np.maximum.accumulate(rank - np.arange(count)) + np.arange(count)
        top = len(order) - count + np.arange(count)
        taken: Array = candidates[np.sort(order[np.minimum(rank, top)])]
        return taken

    def quantiles(self, scenarios: Array) -> Array:
        """Quantiles (L,) of the sum of `scenarios` (K, ...)."""
        made: Array = np.quantile(scenarios.reshape(len(scenarios), -1).sum(axis=1), self.levels)
        return made

    def learn(self, issued: Array, y: float) -> None:
        """Follow the sum `y` that came of a forecast with quantiles `issued` (L,); a gap teaches nothing."""
        if np.isfinite(issued).all():
            self.tracker.learn(issued[:, None], np.array([y]), np.zeros(1, dtype=np.int64))
