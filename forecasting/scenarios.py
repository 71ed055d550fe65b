"""Joint scenarios by a Gaussian copula around the quantile forecast.

Normal scores z (S series, T steps) become values through the series' own quantile function, x = F^-1(Phi(z))
(Pinson et al., Wind Energy 12, 2009: scenarios from marginals and a Gaussian dependence). Their correlation is

    w R + (1 - w) A,    w = N / (N + 5)

with R the correlation of the scores z_d (S, T) that N past forecasts of equal leads turned out to have
(`forecasting/past_scores.py`), its parts between two series i, j multiplied by s + (1 - s) C_ij, s = N / (N + 30), and
A an autoregression, z[t] = r z[t-1] + e[t], with r (S,) the series' persistence over the time between steps and e of
covariance Q, chosen so that the stationary correlation of z over series is C: Q_ij = C_ij (1 - r_i r_j). R is never
built: sum_d g_d z_d with g standard normal has it, which makes each scenario a mixture of errors that came together
before; the z_d are turned onto their principal axes and g is stratified on each (McKay, Beckman and Conover,
Technometrics 21, 1979), so that few scenarios state the sum of a day well. Leads beyond those of the past forecasts go
on as the autoregression from there. Without past forecasts C and r come from the ranks of de-seasonalised history; with
both, a series follows R only as far as it holds errors together longer than A does: R's share is such that the variance
of the mean over the steps is that which past means had. Where A already says more than that it is kept, because
quantiles are rather too narrow than too wide and a sum told too certain costs more. Beyond the outermost levels the
quantile function goes on with the slope of its last segment, inside the physical bounds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from scipy.special import ndtr, ndtri

from forecasting.calendar import Days, Index
from forecasting.features import nan_mean, same_quarter
from forecasting.panel import Panel
from vpp.domain.time import Array, rfc3339

DEFAULT_PERSISTENCE = 0.95
PRIOR_DAYS = 5.0
PRIOR_DAYS_ACROSS = 30.0
_DAYS = 28


@dataclass(frozen=True)
class Dependence:
    """Correlation over series (S, S), persistence per step (S,) and past scores (N, S, T), NaN for gaps.

    `share` (S,) is how far each series follows its past scores; 1 for all where None.
    """

    correlation: Array
    persistence: Array
    past: Array = field(default_factory=lambda: np.zeros((0, 0, 0)))
    share: Array | None = None

    @classmethod
    def of(cls, past: Array, usual: Dependence | None = None) -> Dependence:
        """Fit to past scores (N, S, T); few days leave no correlation and a default persistence.

        With what is `usual`, few days leave that, A keeps its persistence, and each series takes its own share of R.
        """
        there = np.isfinite(past)
        z = np.where(there, past, 0.0)
        flat, both = np.moveaxis(z, 1, 0).reshape(z.shape[1], -1), np.moveaxis(there, 1, 0).reshape(z.shape[1], -1)
        pairs = np.sqrt(np.maximum((flat**2) @ both.T.astype(float), 1e-12))
        shrink = np.where(both.any(axis=1), len(past) / (len(past) + PRIOR_DAYS), 0.0)
        prior = usual or cls(np.eye(len(flat)), np.full(len(flat), DEFAULT_PERSISTENCE))
        trust, seen = np.sqrt(np.outer(shrink, shrink)), (flat @ flat.T) / (pairs * pairs.T)
        correlation = nearest_correlation(trust * seen + (1 - trust) * prior.correlation)
        if usual is not None:
            return cls(correlation, usual.persistence, past, _share(past, usual.persistence))
        near = there[..., 1:] & there[..., :-1]
        moved, before = (np.where(near, z[..., 1:] * v, 0.0).sum(axis=(0, 2)) for v in (z[..., :-1], z[..., 1:]))
        lag_one = np.where(before > 0, moved / np.maximum(before, 1e-12), DEFAULT_PERSISTENCE)
        return cls(correlation, np.clip(shrink * lag_one + (1 - shrink) * prior.persistence, 0.0, 0.999), past)


def _share(past: Array, persistence: Array) -> Array:
    """The share w (S,) of past scores (N, S, T) at which w v_R + (1 - w) v_A is the variance that their means had.

    0 where v_R, that of scores of one size, is not more than v_A, that of an autoregression of `persistence` (S,).
    """
    there = np.isfinite(past)
    z, steps = np.where(there, past, 0.0), np.maximum(there.sum(axis=2), 1)
    size = np.sqrt((z**2).sum(axis=0) / np.maximum(there.sum(axis=0), 1))
    days = np.maximum(there.any(axis=2).sum(axis=0), 1)
    came, alike = (((v.sum(axis=2) / steps) ** 2).sum(axis=0) / days for v in (z, z / np.where(size > 0, size, 1.0)))
    lag = np.arange(1, past.shape[2])
    usual = (past.shape[2] + 2 * ((past.shape[2] - lag) * persistence[:, None] ** lag).sum(axis=1)) / past.shape[2] ** 2
    more = alike - usual
    share: Array = np.where(more > 0, np.clip((came - usual) / np.where(more > 0, more, 1.0), 0.0, 1.0), 0.0)
    return share


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
    rng = np.random.default_rng(seed)
    white = rng.standard_normal((steps, count, len(r)))
    white[0] = white[0] @ np.linalg.cholesky(shape.correlation).T
    white[1:] = white[1:] @ noise.T
    drawn, weight = _of_past(shape.past[..., :steps], shape.correlation, count, rng)
    weight = weight if shape.share is None else weight * shape.share
    told = np.append(weight.any(axis=1), np.zeros(steps + 1 - len(weight), dtype=bool))
    smooth = np.zeros_like(white[0])
    for t in range(steps):
        smooth = white[t] + r * smooth
        white[t] = smooth
        if told[t]:
            white[t] = np.sqrt(weight[t]) * drawn[t] + np.sqrt(1 - weight[t]) * smooth
            smooth = smooth if told[t + 1] else white[t]
    uniform: Array = ndtr(np.ascontiguousarray(white.transpose(1, 2, 0)))
    return uniform


def _of_past(past: Array, correlation: Array, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Normal draws (T, K, S) with the correlation of `past` (N, S, T), and the weight (T, S) they deserve."""
    there = np.isfinite(past)
    z = np.where(there, past, 0.0)
    size = np.sqrt((z**2).sum(axis=0))
    n = np.where(size > 0, there.sum(axis=0), 0)
    scaled = z / np.where(size > 0, size, 1.0)
    flat = scaled.reshape(len(scaled), scaled.shape[1] * scaled.shape[2])
    scaled = (np.linalg.eigh(flat @ flat.T)[1].T @ flat).reshape(scaled.shape)
    kept = len(past) / (len(past) + PRIOR_DAYS_ACROSS) if past.shape[1] > 1 else 1.0
    shared, own = _stratified((1, len(past)), count, rng), _stratified(past.shape[1:2] + past.shape[:1], count, rng)
    own = np.tensordot(np.linalg.cholesky(correlation), own, axes=(1, 0)) if len(past) else own
    g = np.sqrt(kept) * shared + np.sqrt(1 - kept) * own
    drawn = np.swapaxes(g, 1, 2) @ scaled.transpose(1, 0, 2)
    return drawn.transpose(2, 1, 0), (n / (n + PRIOR_DAYS)).T


def _stratified(shape: tuple[int, ...], count: int, rng: np.random.Generator) -> Array:
    """Standard normals (*shape, K), one in each K-th of probability."""
    rank = rng.permuted(np.broadcast_to(np.arange(count), (*shape, count)), axis=-1)
    drawn: Array = ndtri((rank + 0.5) / count)
    return drawn


def covariance_root(covariance: Array) -> Array:
    """A factor A with A A^T = `covariance`, negative eigenvalues cut, its variances kept."""
    value, vector = np.linalg.eigh(covariance)
    root = vector * np.sqrt(np.maximum(value, 0.0))
    kept = np.sqrt(np.diag(covariance) / np.maximum((root**2).sum(axis=1), 1e-15))
    scaled: Array = root * kept[:, None]
    return scaled


def knots(quantiles: Array, levels: Sequence[float], lower: Array, upper: Array) -> tuple[Array, Array]:
    """Levels (L + 2,) from 0 to 1 and values (S, L + 2, T) between which the quantile functions are straight."""
    a = np.asarray(levels)
    bottom = quantiles[:, :1] - (quantiles[:, 1:2] - quantiles[:, :1]) * a[0] / (a[1] - a[0])
    top = quantiles[:, -1:] + (quantiles[:, -1:] - quantiles[:, -2:-1]) * (1 - a[-1]) / (a[-1] - a[-2])
    at = np.clip(np.concatenate([bottom, quantiles, top], axis=1), lower[:, None, None], upper[:, None, None])
    return np.concatenate([[0.0], a, [1.0]]), at


def from_quantiles(uniform: Array, quantiles: Array, levels: Sequence[float], lower: Array, upper: Array) -> Array:
    """Values (K, S, T) of `uniform` under `quantiles` (S, L, T) with tails inside `lower`, `upper` (S,)."""
    edges, at = knots(quantiles, levels, lower, upper)
    segment = np.searchsorted(edges[1:-1], uniform, side="right")
    share = (uniform - edges[segment]) / np.diff(edges)[segment]
    series, step = np.ogrid[: uniform.shape[1], : uniform.shape[2]]
    low = at[series[None], segment, step[None]]
    high = at[series[None], segment + 1, step[None]]
    value: Array = low + share * (high - low)
    return value
