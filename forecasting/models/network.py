"""Quantiles by a small neural network, learnt from the cases of many series together.

Two hidden layers of rectifiers and one output a level minimise the mean pinball loss by Adam with decoupled weight
decay (Kingma and Ba, ICLR 2015; Loshchilov and Hutter, ICLR 2019), on a rate that falls as half a cosine. A few
networks from different starts are averaged, which takes out the noise of each (Lakshminarayanan et al., NeurIPS
2017). Each leaves out every n-th week, and what it says of those weeks shows how far its quantiles miss where it has
not learnt: each level is moved, in units of the spread, until the weeks left out lie under it as often as they
should (cross-conformal: Vovk, Annals of Mathematics and Artificial Intelligence 74, 2015). Of many levels a few are
learnt and those between them interpolated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from forecasting.cases import Cases
from forecasting.models.inputs import Inputs
from forecasting.models.model import Fit, Levels
from vpp.domain.time import Array

Weights = list[NDArray[np.float32]]
LEARNT_LEVELS: Levels = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
PATTERNS = 15
MEMBERS = 4
PASSES = 5
HIDDEN = (128, 64)
BATCH = 256
RATE = 2e-3
DECAY = 1.0
_BETAS = (0.9, 0.99)
_UNIT_DEVIATIONS = 3.3
_WEEK = 7 * 1440
_LEAST_SPREAD = 1e-3


@dataclass(frozen=True)
class Network:
    """Averaged networks; `weights` are per member the matrices and offsets of its layers, y in units of `unit`;
    `offset` (L,) moves the learnt levels, in units of the spread."""

    inputs: Inputs
    weights: tuple[Weights, ...]
    unit: float
    offset: Array
    learnt: Levels
    levels: Levels

    def predict(self, cases: Cases) -> Array:
        x = self.inputs.of(cases)
        made = np.mean([_answer(w, x) for w in self.weights], axis=0)
        ordered = np.sort(made + self.offset[:, None] * _spread(made), axis=0) * self.unit
        return ordered if self.levels == self.learnt else between(self.learnt, ordered, self.levels)


def _spread(quantiles: Array) -> Array:
    """Width (R,) of the outermost levels."""
    width: Array = quantiles[-1] - quantiles[0]
    return width


def between(known: Levels, quantiles: Array, levels: Levels) -> Array:
    """Quantiles at `levels` (L, R), linear between those at `known` (K, R), flat beyond them."""
    at = np.clip(np.searchsorted(known, levels) - 1, 0, len(known) - 2)
    low, high = np.asarray(known)[at], np.asarray(known)[at + 1]
    share = np.clip((np.asarray(levels) - low) / (high - low), 0.0, 1.0)[:, None]
    made: Array = quantiles[at] * (1 - share) + quantiles[at + 1] * share
    return made


def network(
    without: Sequence[str] = (), members: int = MEMBERS, passes: int = PASSES, patterns: int = PATTERNS
) -> Fit:
    """A fit of `members` networks that each go `passes` times through the cases.

    Columns whose names begin with one of `without` are not inputs; `field_*` enter as `patterns` components.
    """

    def fit(cases: Cases, levels: Levels) -> Network:
        learnt = levels if len(levels) <= len(LEARNT_LEVELS) else LEARNT_LEVELS
        inputs = Inputs.learnt(cases, without, patterns)
        unit = float(np.std(cases.y)) * _UNIT_DEVIATIONS or 1.0
        x, y = inputs.of(cases), (cases.y / unit).astype(np.float32)
        fold = cases.target // _WEEK % members if members > 1 else np.full(len(y), -1)
        left_out: Array = np.full((len(learnt), len(y)), np.nan)
        weights = []
        for k in range(members):
            mine = fold != k
            weights.append(_trained(x[mine], y[mine], learnt, passes, np.random.default_rng(k)))
            left_out[:, ~mine] = _answer(weights[k], x[~mine])
        return Network(inputs, tuple(weights), unit, _missed(left_out, y, learnt), learnt, levels)

    return fit


def _missed(left_out: Array, y: NDArray[np.float32], levels: Levels) -> Array:
    """Offsets (L,) in units of the spread that bring the share of `y` under each level of `left_out` to the level."""
    there = np.isfinite(left_out[0])
    if not there.any():
        return np.zeros(len(levels))
    q = left_out[:, there]
    misses = (y[there] - q) / np.maximum(_spread(q), _LEAST_SPREAD)
    return np.array([np.quantile(miss, a) for miss, a in zip(misses, levels, strict=True)])


def _answer(weights: Weights, x: NDArray[np.float32]) -> Array:
    """Sorted quantiles (L, R) of one member."""
    return np.sort(_forward(weights, x)[-1].T.astype(np.float64), axis=0)


def _trained(
    x: NDArray[np.float32], y: NDArray[np.float32], levels: Levels, passes: int, draw: np.random.Generator
) -> Weights:
    weights = _begun(x.shape[1], y, levels, draw)
    moments = [(np.zeros_like(w), np.zeros_like(w)) for w in weights]
    batches = max(1, len(x) // BATCH)
    level, step = np.asarray(levels, dtype=np.float32), 0
    for _ in range(passes):
        for rows in np.array_split(draw.permutation(len(x)), batches):
            rate = RATE * 0.5 * (1 + np.cos(np.pi * step / (passes * batches)))
            step += 1
            _adam(weights, moments, _gradients(weights, x[rows], y[rows], level), rate, step)
    return weights


def _begun(inputs: int, y: NDArray[np.float32], levels: Levels, draw: np.random.Generator) -> Weights:
    """Random matrices, then offsets; the outputs begin at the quantiles of `y`."""
    sizes = (inputs, *HIDDEN, len(levels))
    matrices = [draw.standard_normal((a, b)) * np.sqrt(2 / a) for a, b in pairwise(sizes)]
    matrices[-1] *= 0.1
    offsets = [np.zeros(n) for n in sizes[1:-1]] + [np.quantile(y, levels)]
    return [w.astype(np.float32) for w in (*matrices, *offsets)]


def _forward(weights: Weights, x: NDArray[np.float32]) -> Weights:
    """The inputs and the outputs of every layer."""
    layers = len(weights) // 2
    out = [x]
    for k in range(layers):
        z = out[-1] @ weights[k] + weights[layers + k]
        out.append(np.maximum(z, 0, out=z) if k + 1 < layers else z)
    return out


def _gradients(
    weights: Weights, x: NDArray[np.float32], y: NDArray[np.float32], level: NDArray[np.float32]
) -> Weights:
    layers = len(weights) // 2
    out = _forward(weights, x)
    back = (np.where(out[-1] > y[:, None], 1 - level, -level) / len(y)).astype(np.float32)
    gradients: Weights = [back] * len(weights)
    for k in reversed(range(layers)):
        gradients[k], gradients[layers + k] = out[k].T @ back, back.sum(axis=0)
        if k:
            back = (back @ weights[k].T) * (out[k] > 0)
    return gradients


def _adam(
    weights: Weights, moments: list[tuple[NDArray[np.float32], NDArray[np.float32]]], gradients: Weights,
    rate: float, step: int,
) -> None:  # fmt: skip
    """One step in place; only the matrices decay."""
    first, second = (1 - b**step for b in _BETAS)
    for k, (w, (m, v), g) in enumerate(zip(weights, moments, gradients, strict=True)):
        m += (1 - _BETAS[0]) * (g - m)
        v += (1 - _BETAS[1]) * (g * g - v)
        w -= np.float32(rate) * (m / first) / (np.sqrt(v / second) + np.float32(1e-8))
        if k < len(weights) // 2:
            w *= np.float32(1 - rate * DECAY)
