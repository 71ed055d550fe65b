"""Calibrated sums: of many joint scenarios those are taken whose sums are spread as past sums turned out.

The sum over a day, or over a day and all series of a plant, is what is sold; its distribution follows from the
dependence of errors, and a small mistake in that shows in every band. Of M candidate scenarios sorted by their sum, K
are taken at the probabilities Phi(z_k + t(z_k)), z_k the normal scores of (k + 1/2) / K and t the offsets that online
quantile tracking of past sums has reached (the rule of `forecasting/conformal.py`, slower, because a day has one sum):

    t_a <- t_a + rate (a - [y < q_a]) phi(0) / phi(z_a).

Between its levels t is read linearly, beyond them it is constant. Where past sums were covered as they should be, t
is zero and every (M / K)-th is taken. No candidate is taken twice, so a spread that is wrong by half is mended in part
only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr, ndtri

from forecasting.calendar import Index
from forecasting.models.model import Levels
from vpp.domain.time import Array

RATE = 0.03


@dataclass
class SumCalibration:
    """The offsets (L,) of one sum, whose forecasts are told at quantile `levels`.

    `weight` (S,) is what each series counts for: 1 for generation, -1 for load, 0 for a price; 1 for all where None.
    """

    levels: Levels
    weight: Array | None = None
    offset: Array = field(init=False)

    def __post_init__(self) -> None:
        self.offset = np.zeros(len(self.levels))

    def chosen(self, candidates: Array, count: int) -> Array:
        """`count` of `candidates` (M, S, T), in their order. Raises ValueError for fewer than `count`."""
        taken: Array = candidates[self.taken(self.sums(candidates), count)]
        return taken

    def taken(self, sums: Array, count: int) -> Index:
        """Positions (K,), rising, of the `count` candidates to take of those with `sums` (M,)."""
        if len(sums) < count:
            raise ValueError(f"cannot take {count} of {len(sums)} scenarios")
        order = np.argsort(sums, kind="stable")
        score = ndtri((np.arange(count) + 0.5) / count)
        moved = ndtr(score + np.interp(score, ndtri(np.asarray(self.levels)), self.offset))
        rank = np.clip(np.sort(moved) * len(order), 0, len(order) - 1).astype(np.int64)
        rank = np.maximum.accumulate(rank - np.arange(count)) + np.arange(count)
        top = len(order) - count + np.arange(count)
        positions: Index = np.sort(order[np.minimum(rank, top)])
        return positions

    def quantiles(self, scenarios: Array) -> Array:
        """Quantiles (L,) of the sum of `scenarios` (K, S, T)."""
        made: Array = np.quantile(self.sums(scenarios), self.levels)
        return made

    def sums(self, scenarios: Array) -> Array:
        """Sum over steps and weighted series (K,) of `scenarios` (K, S, T)."""
        total: Array = scenarios.sum(axis=2) @ (np.ones(scenarios.shape[1]) if self.weight is None else self.weight)
        return total

    def learn(self, issued: Array, y: float) -> None:
        """Follow the sum `y` that came of a forecast with quantiles `issued` (L,); a gap teaches nothing."""
        if np.isfinite(issued).all() and np.isfinite(y):
            miss = np.where(y == issued, 0.0, np.asarray(self.levels) - (y < issued))
            self.offset = self.offset + RATE * np.exp(ndtri(np.asarray(self.levels)) ** 2 / 2) * miss
