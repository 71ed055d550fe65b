"""Joint scenarios by a Gaussian copula around the quantile forecast.

Normal scores z (S series, T steps) follow z[t] = r z[t-1] + e[t] with r (S,) the series' persistence over
the time between steps and e of covariance Q, chosen so that the stationary correlation of z over series is
C: Q_ij = C_ij (1 - r_i r_j). Each score becomes a value through the series' own quantile function,
x = F^-1(Phi(z)) (Pinson et al., Wind Energy 12, 2009: scenarios from marginals and a Gaussian dependence).
C and r come from the ranks of de-seasonalised history. Beyond the outermost levels the quantile function
goes on with the slope of its last segment, inside the physical bounds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from scipy.special import ndtr, ndtri

from forecasting.calendar import Days, Index
from forecasting.features import nan_mean, same_quarter
from forecasting.panel import Panel
from vpp.domain.time import Array, rfc3339

DEFAULT_PERSISTENCE = 0.95
_DAYS = 28


@dataclass(frozen=True)
class Dependence:
    """Correlation over series (S, S) and persistence per quarter (S,) of normal scores."""

    correlation: Array
    persistence: Array


def normal_scores(values: Array) -> Array:
    """Ranks of each row (S, N) mapped to the standard normal; NaN stays, ties share their middle rank."""
    out = np.full(values.shape, np.nan)
    for i, row in enumerate(values):
        there = np.isfinite(row)
        v = row[there]
        if len(v):
            ordered = np.sort(v)
            rank = (np.searchsorted(ordered, v, "left") + np.searchsorted(ordered, v, "right")) / 2
            out[i, there] = ndtri(np.clip(rank / len(v), 0.5 / len(v), 1 - 0.5 / len(v)))
    return out


def dependence(panel: Panel, days: Days) -> Dependence:
    """Fit to the last four weeks of `panel`, each value against its week's mean at the same local quarter."""
    n = panel.n
    at: Index = np.arange(max(0, n - _DAYS * 96), n)
    end = np.minimum(at[None, :], panel.end[:, None])
    usual = nan_mean(same_quarter(panel, days, at, end, np.arange(1, 8)))
    scores = normal_scores(panel.values[:, at] - usual)
    there = np.isfinite(scores)
    z = np.where(there, scores, 0.0)
    both = there.astype(float)
    spread = np.sqrt(np.maximum((z**2) @ both.T, 1e-12))
    correlation = np.where(both @ both.T >= 96, (z @ z.T) / (spread * spread.T), 0.0)
    pairs = there[:, 1:] & there[:, :-1]
    energy = np.where(pairs, z[:, 1:] ** 2, 0.0).sum(axis=1)
    moved = np.where(pairs, z[:, 1:] * z[:, :-1], 0.0).sum(axis=1)
    lag_one = np.where(pairs.sum(axis=1) >= 96, moved / np.maximum(energy, 1e-12), DEFAULT_PERSISTENCE)
    return Dependence(nearest_correlation(correlation), np.clip(lag_one, 0.0, 0.999))


def nearest_correlation(matrix: Array) -> Array:
    """`matrix` with its eigenvalues made positive and its diagonal one."""
    symmetric = (matrix + matrix.T) / 2
    np.fill_diagonal(symmetric, 1.0)
    value, vector = np.linalg.eigh(symmetric)
    positive = (vector * np.maximum(value, 1e-6)) @ vector.T
    scale = np.sqrt(np.diag(positive))
    result: Array = positive / np.outer(scale, scale)
    return result


def seed_of(issued_at: datetime, series: Sequence[str]) -> int:
    """A seed that depends on the issue time and the series only."""
    text = rfc3339(issued_at) + "\n" + "\n".join(series)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def copula(shape: Dependence, count: int, steps: int, seed: int) -> Array:
    """Correlated uniforms (K, S, T), deterministic in `seed`."""
    r = shape.persistence
    noise = covariance_root(shape.correlation * (1 - np.outer(r, r)))
    white = np.random.default_rng(seed).standard_normal((steps, count, len(r)))
    white[0] = white[0] @ np.linalg.cholesky(shape.correlation).T
    white[1:] = white[1:] @ noise.T
    for t in range(1, steps):
        white[t] += r * white[t - 1]
    uniform: Array = ndtr(np.ascontiguousarray(white.transpose(1, 2, 0)))
    return uniform


def covariance_root(covariance: Array) -> Array:
    """A factor A with A A^T = `covariance`, negative eigenvalues cut, its variances kept."""
    value, vector = np.linalg.eigh(covariance)
    root = vector * np.sqrt(np.maximum(value, 0.0))
    kept = np.sqrt(np.diag(covariance) / np.maximum((root**2).sum(axis=1), 1e-15))
    scaled: Array = root * kept[:, None]
    return scaled


def from_quantiles(uniform: Array, quantiles: Array, levels: Sequence[float], lower: Array, upper: Array) -> Array:
    """Values (K, S, T) of `uniform` under `quantiles` (S, L, T) with tails inside `lower`, `upper` (S,)."""
    a = np.asarray(levels)
    bottom = quantiles[:, :1] - (quantiles[:, 1:2] - quantiles[:, :1]) * a[0] / (a[1] - a[0])
    top = quantiles[:, -1:] + (quantiles[:, -1:] - quantiles[:, -2:-1]) * (1 - a[-1]) / (a[-1] - a[-2])
    knots = np.concatenate([bottom, quantiles, top], axis=1)
    knots = np.clip(knots, lower[:, None, None], upper[:, None, None])
    edges = np.concatenate([[0.0], a, [1.0]])
    segment = np.searchsorted(edges[1:-1], uniform, side="right")
    share = (uniform - edges[segment]) / np.diff(edges)[segment]
    series, step = np.ogrid[: uniform.shape[1], : uniform.shape[2]]
    low = knots[series[None], segment, step[None]]
    high = knots[series[None], segment + 1, step[None]]
    value: Array = low + share * (high - low)
    return value
