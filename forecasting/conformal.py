"""Online conformal calibration: every quantile is moved until the past lies under it as often as it should.

A quantile q_l of a row with spread s becomes q_l + s (t_l + u_gl): t for all rows, u for the row's group (its
lead and the height of its median). When outcomes become known, both follow the subgradient of their pinball loss

    t_l <- t_l + rate (a_l - mean[y < q_l]),

quantile tracking, whose coverage over n steps errs by at most (range of t) / (rate n) whatever the series does
(Gibbs and Candes, NeurIPS 2021; Angelopoulos, Candes and Tibshirani, NeurIPS 2023). Outcomes of one issue count as
one observation, because their errors come together; an outcome that equals its quantile, as at a bound, teaches
nothing. The level moves for itself, before crossed levels are sorted, so that each keeps its own feedback.

How fast to follow, and whether groups differ, depends on the series: trackers of a few rates, with groups and
without, run side by side, and the one whose quantiles lost least in the last weeks is believed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from forecasting.calendar import Index
from forecasting.losses import pinball_by_level
from vpp.domain.time import Array

RATES_A_DAY = (0.04, 0.08)
OWN_SHARES = (0.0, 0.5)
DRIFT = 0.35
MEMORY_DAYS = 30.0


@dataclass
class Trackers:
    """Offsets t (K, L) and u (K, G, L) in units of spread, of K trackers; issues are `days` apart."""

    levels: Array
    groups: int
    days: float
    common: Array = field(init=False)
    own: Array = field(init=False)
    loss: Array = field(init=False)

    def __post_init__(self) -> None:
        fast, own = np.meshgrid(RATES_A_DAY, OWN_SHARES)
        self.rate = fast.ravel() * np.sqrt(min(self.days, 1.0))
        self.share = own.ravel()
        self.common = np.zeros((len(self.rate), len(self.levels)))
        self.own = np.zeros((len(self.rate), self.groups, len(self.levels)))
        self.loss = np.zeros(len(self.rate))

    @property
    def best(self) -> int:
        """The tracker that lost least of late."""
        return int(np.argmin(self.loss))

    @property
    def drifted(self) -> bool:
        """Whether the median had to be moved so far that the models want a refit."""
        return bool(np.abs(self.common[self.best, len(self.levels) // 2]) > DRIFT)

    def moved(self, quantiles: Array, spread: Array, group: Index) -> Array:
        """Quantiles (K, L, R) of `quantiles` (L, R) with the offsets of each tracker; neighbours may cross."""
        offset = self.common[:, :, None] + np.moveaxis(self.own[:, group], 1, 2)
        shifted: Array = quantiles + spread * offset
        return shifted

    def learn(self, issued: Array, y: Array, group: Index) -> None:
        """Follow outcomes `y` (R,) of quantiles (K, L, R) as `moved` made them; gaps teach nothing."""
        there = np.isfinite(y)
        if not there.any():
            return
        q, outcome, own = issued[:, :, there], y[there], group[there]
        miss = np.where(outcome == q, 0.0, self.levels[:, None] - (outcome < q))
        self.common = self.common + self.rate[:, None] * miss.mean(axis=2)
        membership = own[:, None] == np.arange(self.groups)
        total = np.moveaxis(miss @ membership, 1, 2) / len(outcome)
        self.own = self.own + (self.share * self.rate)[:, None, None] * total
        lost = pinball_by_level(np.sort(q, axis=1), outcome, self.levels).mean(axis=(1, 2))
        self.loss = self.loss * np.exp(-self.days / MEMORY_DAYS) + lost


def spread_of(quantiles: Array) -> Array:
    """Width (R,) of the outermost levels, the unit of an offset."""
    width: Array = quantiles[-1] - quantiles[0]
    return width
