"""Normal scores of past forecasts: where in its own distribution each outcome fell.

z = Phi^-1(F(y)) with F the distribution that the forecast's quantiles state (`forecasting/scenarios.py`), its
outcomes at an atom (a bound, a dark quarter) drawn uniformly over the atom: the distributional transform, under
which z is standard normal for a calibrated forecast (Rueschendorf, Journal of Statistical Planning and Inference
139(11), 2009). Only forecasts made before their outcomes tell how errors come together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from forecasting.calendar import Index
from forecasting.cases import Cases
from forecasting.models.model import Levels
from forecasting.scenarios import knots
from vpp.domain.time import Array

REMEMBERED = 120
DAY = 1440
_OUTERMOST = 2e-3


@dataclass(frozen=True)
class PastScores:
    """Scores (N, S, T) of N issues of S series at leads `lead` (T,) in minutes, NaN for gaps.

    `known` (N, S, T) is when each outcome became known; times are minutes in one clock.
    """

    issue: Index
    lead: Index
    scores: Array
    known: Array

    def at(self, moment: int, lead: Index) -> Array:
        """Scores (N, S, T) of the last issues (at most `REMEMBERED`) at leads `lead` (T,), as known at `moment`."""
        seen = np.where(self.known <= moment, self.scores, np.nan)
        kept = np.flatnonzero(np.isfinite(seen).any(axis=(1, 2)))[-REMEMBERED:]
        column = np.minimum(np.searchsorted(self.lead, lead), len(self.lead) - 1)
        return np.where(self.lead[column] == lead, seen[kept][..., column], np.nan)


def normal_score(quantiles: Array, y: Array, levels: Levels, lower: float, upper: float, seed: int = 0) -> Array:
    """Score (R,) of outcomes `y` (R,) under `quantiles` (L, R); NaN where either is missing."""
    edges, at = knots(quantiles[None], levels, np.array([lower]), np.array([upper]))
    row, value = np.arange(len(y)), at[0]
    below, upto = (value < y).sum(axis=0), (value <= y).sum(axis=0)
    k = np.clip(below, 1, len(edges) - 1)
    width = value[k, row] - value[k - 1, row]
    share = np.clip((y - value[k - 1, row]) / np.where(width > 0, width, 1.0), 0.0, 1.0)
    between = np.where(below == 0, 0.0, edges[k - 1] + share * (edges[k] - edges[k - 1]))
    first, last = edges[np.clip(below, 0, len(edges) - 1)], edges[np.clip(upto - 1, 0, len(edges) - 1)]
    drawn = first + np.random.default_rng(seed).random(len(y)) * (last - first)
    u = np.where(upto > below, drawn, between)
    there = np.isfinite(y) & np.isfinite(value).all(axis=0)
    score: Array = np.where(there, ndtri(np.clip(u, _OUTERMOST, 1 - _OUTERMOST)), np.nan)
    return score


def joint(series: Sequence[Cases], scores: Sequence[Array]) -> PastScores:
    """Scores (R,) of each series' cases side by side, by issue and lead; a lead that a series lacks is a gap.

    Raises ValueError where there is no series.
    """
    if not series:
        raise ValueError("no series to join")
    issue = np.unique(np.concatenate([c.issue for c in series]))
    lead = np.unique(np.concatenate([c.lead for c in series]))
    out = np.full((len(issue), len(series), len(lead)), np.nan)
    known = np.full(out.shape, np.inf)
    for i, (cases, score) in enumerate(zip(series, scores, strict=True)):
        at = np.searchsorted(issue, cases.issue), i, np.searchsorted(lead, cases.lead)
        out[at], known[at] = score, cases.known
    return PastScores(issue, lead, out, known)


@dataclass(frozen=True)
class Track:
    """Scores (S, N) of targets at minutes `first`, `first` + `step`, ..., each of one forecast, NaN for gaps.

    `known` (S, N) is when each outcome became known.
    """

    first: int
    step: int
    scores: Array
    known: Array

    def days_before(self, moment: int, target: Index, days: Index) -> Array:
        """Scores (N, S, T) at the clock times of `target` (T,) as many `days` (N,) before, as known at `moment`.

        So a forecast of any hour and length learns from forecasts that were made once a day.
        """
        at = (target - DAY * days[:, None] - self.first) // self.step
        inside, at = (at >= 0) & (at < self.scores.shape[1]), np.clip(at, 0, self.scores.shape[1] - 1)
        seen: Array = np.where(inside & (self.known[:, at] <= moment), self.scores[:, at], np.nan)
        return seen.transpose(1, 0, 2)
