"""A weighted mean of the models' quantiles, its weights chosen on past forecasts.

Averaging quantiles keeps the shape of the distributions (Lichtendahl, Grushka-Cockayne and Winkler, Management
Science 59(7), 2013). For each group of leads the weights w >= 0, sum w = 1 minimise the mean pinball loss over
forecasts whose outcomes are known by now, by majorise-minimise steps (Hunter and Lange, Journal of Computational
and Graphical Statistics 9(1), 2000): under the loss at the last miss r lies a parabola, so each step is a least
squares problem over the simplex. The best single model is taken instead where the mean does not beat it, so on the
past the blend is never worse than any model in it, the naive ones included; and a gain over the best naive model
that is not twice its standard error over days buys its weight in part only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from forecasting.calendar import Index
from forecasting.losses import pinball_by_level
from vpp.domain.time import Array

STEPS = 12
TRUST_ERRORS = 2.0
_SOFT = 1e-3
_SUM_WEIGHT = 1e3


@dataclass(frozen=True)
class Blend:
    """Weights (G, M) of M models by group of leads."""

    weights: Array

    def mix(self, quantiles: Array, group: Index) -> Array:
        """Quantiles (L, R) of `quantiles` (M, L, R) for rows of lead group `group` (R,)."""
        mixed: Array = np.einsum("mr,mlr->lr", self.weights.T[:, group], quantiles)
        return mixed


def equal(models: int, groups: int) -> Blend:
    """All models alike."""
    return Blend(np.full((groups, models), 1.0 / models))


def fitted(
    quantiles: Array, y: Array, group: Index, day: Index, groups: int, naive: int, levels: tuple[float, ...]
) -> Blend:
    """The blend of past forecasts (M, L, R) of outcomes `y` (R,), issued on `day` (R,).

    The first `naive` models are the naive ones. A group without a past takes the mean of all models.
    """
    weights = equal(len(quantiles), groups).weights
    for g in range(groups):
        rows = np.flatnonzero((group == g) & np.isfinite(y))
        if len(rows):
            weights[g] = _weights(quantiles[:, :, rows], y[rows], day[rows], naive, np.asarray(levels))
    return Blend(weights)


def _weights(q: Array, y: Array, day: Index, naive: int, levels: Array) -> Array:
    alone = pinball_by_level(q, y, levels).mean(axis=(1, 2))
    best, least = np.eye(len(q))[int(np.argmin(alone))], float(alone.min())
    unit = max(least, 1e-12)
    flat, w = q.reshape(len(q), -1) / unit, np.full(len(q), 1.0 / len(q))
    target = np.broadcast_to(y / unit, q.shape[1:]).ravel()
    pull = np.repeat(2 * levels - 1, len(y))
    for _ in range(STEPS):
        curve = 1.0 / (_SOFT + np.abs(target - w @ flat))
        w = _simplex(flat * curve @ flat.T, flat @ (curve * target + pull))
        loss = float(pinball_by_level(np.einsum("m,mlr->lr", w, q), y, levels).mean())
        if loss < least:
            best, least = w, loss
    return _trusted(best, q, y, day, int(np.argmin(alone[:naive])), levels)


def _simplex(gram: Array, right: Array) -> Array:
    """The minimum of w'Gw / 2 - r'w over w >= 0 with sum w = 1."""
    size = float(np.trace(gram)) / len(gram)
    ones = np.ones(len(gram)) * np.sqrt(_SUM_WEIGHT * size)
    root = np.linalg.cholesky(gram + np.outer(ones, ones) + 1e-9 * size * np.eye(len(gram)))
    w = nnls(root.T, np.linalg.solve(root, right + ones * np.sqrt(_SUM_WEIGHT * size)))[0]
    normed: Array = w / w.sum()
    return normed


def _trusted(w: Array, q: Array, y: Array, day: Index, rival: int, levels: Array) -> Array:
    """`w` as far as its gain over model `rival`, day by day, stands out of its own noise."""
    mixed: Array = np.einsum("m,mlr->lr", w, q)
    gain = (pinball_by_level(q[rival], y, levels) - pinball_by_level(mixed, y, levels)).mean(axis=0)
    _, at = np.unique(day, return_inverse=True)
    daily = np.bincount(at, gain) / np.bincount(at)
    error = float(np.std(daily) / np.sqrt(len(daily)))
    trust = float(np.clip(np.mean(daily) / max(TRUST_ERRORS * error, 1e-12), 0.0, 1.0))
    cautious: Array = trust * w + (1 - trust) * np.eye(len(w))[rival]
    return cautious
