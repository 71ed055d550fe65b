"""Online conformal calibration: every level is read where the past lay under it as often as it should.

A row's quantiles are a function Q of the normal score z. The quantile of level a is read at z_a + t_a + u_ga instead
of z_a: t for all rows, u for the row's group (its lead and the height of its median). Where a distribution has two
humps, a site that works or rests, a small step of the level stays on its hump; a step in the value would not. When
outcomes become known, both offsets follow

    t_a <- t_a + rate (a - mean[y < q_a]) phi(0) / phi(z_a),

quantile tracking, whose coverage over n steps errs by at most (range of t) / (rate n) whatever the series does
(Gibbs and Candes, NeurIPS 2021; Angelopoulos, Candes and Tibshirani, NeurIPS 2023); phi, the normal density, lets
tails follow as fast as the middle. The debt d, the sum of the misses of the last weeks, moves every level by
relief d phi(0) / phi(z_a) on top: what a band failed to cover last month it makes up for in the next (the error
integration of Angelopoulos et al.), so that coverage holds over a quarter and not in the long run only.

A miss is read in two parts: its odd part over the levels says that the bands are too wide or too narrow, its even part
that all of them lie too high or too low. The errors of a day come together, so the even part is mostly the luck of a
day, and who follows it chases yesterday's weather: only LOCATION of it is followed. How fast to follow the width, a
series' `Pace` says.

Outcomes of one issue count as one observation, because their errors come together. An outcome that equals its
quantile, as a calm does at a bound, lies inside every closed band that ends there: it counts as over the lower levels
and under the upper ones; a row without any spread teaches nothing. A level moves for itself, before crossed levels are
sorted, so that each keeps its own feedback. Beyond the outermost levels Q goes on as a normal distribution with the
spread of the row.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtri

from forecasting.calendar import Index
from vpp.domain.time import Array

LOCATION = 0.1
MEMORY_DAYS = 35.0
DRIFT = 0.8
_MIDDLE = 0.5


@dataclass(frozen=True)
class Pace:
    """How fast a series' calibration follows: the rate a day, and the relief a debt brings. Where the size of errors
    changes from week to week it must be fast; where it is mostly the weather's luck, haste costs sharpness."""

    rate_a_day: float = 0.2
    relief: float = 0.2


USUAL_PACE = Pace()


@dataclass
class Tracker:
    """Offsets t (L,) and u (G, L) in normal scores, the debt (L,) in days of misses; `days` between issues.

    Raises ValueError for levels that are not symmetric around the median.
    """

    levels: Array
    groups: int
    days: float
    rate_a_day: float = USUAL_PACE.rate_a_day
    relief: float = USUAL_PACE.relief
    common: Array = field(init=False)
    own: Array = field(init=False)
    debt: Array = field(init=False)

    def __post_init__(self) -> None:
        if not np.allclose(self.levels + self.levels[::-1], 1.0):
            raise ValueError("a calibration needs levels that pair around the median")
        self.common = np.zeros(len(self.levels))
        self.own = np.zeros((self.groups, len(self.levels)))
        self.debt = np.zeros(len(self.levels))

    @property
    def rate(self) -> Array:
        """Step (L,) of each level: neighbouring issues share most of their error, so it falls with their distance."""
        step: Array = self.rate_a_day * np.sqrt(min(self.days, 1.0)) * _stretch(self.levels)
        return step

    @property
    def offset(self) -> Array:
        """What all rows are moved by (L,)."""
        offset: Array = self.common + self.relief * _stretch(self.levels) * self.debt
        return offset

    @property
    def drifted(self) -> bool:
        """Whether the median had to be moved so far that the models want a refit."""
        return bool(np.abs(self.offset[len(self.levels) // 2]) > DRIFT)

    def moved(self, quantiles: Array, group: Index) -> Array:
        """Quantiles (L, R) read at the moved levels; neighbours may cross."""
        return read_at(quantiles, ndtri(self.levels), self.offset[:, None] + self.own[group].T)

    def learn(self, issued: Array, y: Array, group: Index) -> None:
        """Follow outcomes `y` (R,) of quantiles (L, R) as `moved` made them; gaps teach nothing."""
        there = np.isfinite(y)
        if not there.any():
            return
        q, outcome, own = issued[:, there], y[there], group[there]
        miss = _miss(q, outcome, self.levels[:, None])
        followed = (miss - miss[::-1]) / 2 + LOCATION * (miss + miss[::-1]) / 2
        mean = followed.mean(axis=1)
        self.common = self.common + self.rate * mean
        self.debt = self.debt * np.exp(-self.days / MEMORY_DAYS) + mean * min(self.days, 1.0)
        membership = own[:, None] == np.arange(self.groups)
        self.own = self.own + self.rate * (followed @ membership).T / len(outcome)


def _stretch(levels: Array) -> Array:
    """phi(0) / phi(z_a) of each level (L,)."""
    stretch: Array = np.exp(ndtri(levels) ** 2 / 2)
    return stretch


def _miss(quantiles: Array, y: Array, level: Array) -> Array:
    """Level (L, 1) less whether `y` (R,) lies under its quantile (L, R)."""
    under = np.where(level < _MIDDLE, y < quantiles, y <= quantiles)
    nothing = (quantiles[0] == quantiles[-1]) | ((level == _MIDDLE) & (y == quantiles))
    miss: Array = np.where(nothing, 0.0, level - under)
    return miss


def read_at(quantiles: Array, score: Array, offset: Array) -> Array:
    """Quantiles (L, R), known at normal scores `score` (L,), read `offset` (L, R) scores away."""
    at = score[:, None] + offset
    k = np.clip(np.searchsorted(score, at, side="right") - 1, 0, len(score) - 2)
    row = np.arange(quantiles.shape[1])[None]
    below, above = quantiles[k, row], quantiles[k + 1, row]
    share = np.clip((at - score[k]) / (score[k + 1] - score[k]), 0.0, 1.0)
    slope = (quantiles[-1] - quantiles[0]) / (score[-1] - score[0])
    beyond = np.minimum(at - score[0], 0.0) + np.maximum(at - score[-1], 0.0)
    moved: Array = below + share * (above - below) + beyond * slope
    return moved
