"""Regularised linear quantile regression.

Minimises the pinball loss of each level plus a ridge on standardised coefficients, by the majorise-minimise
steps of Hunter and Lange (Journal of Computational and Graphical Statistics 9(1), 2000): the loss at residual r
lies under a parabola through the last residual, so every step is one weighted least-squares solution

    (X'WX + c I) b = X'(W y + 2a - 1),   W = 1 / (e + |r|).

A feature that is missing is read as its mean over what the model learnt from, which leaves it without influence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.cases import Cases
from forecasting.models.model import Levels
from vpp.domain.time import Array

STEPS = 25
RIDGE = 1e-2
_SOFT = 1e-3


@dataclass(frozen=True)
class Linear:
    """Coefficients (L, F + 1) on features standardised by `mean` and `scale` (F,); the last is the constant."""

    mean: Array
    scale: Array
    unit: float
    coefficients: Array

    def predict(self, cases: Cases) -> Array:
        raw = self.unit * self.coefficients @ standardised(cases.x, self.mean, self.scale).T
        ordered: Array = np.sort(raw, axis=0)
        return ordered


def standardised(x: Array, mean: Array, scale: Array) -> Array:
    """Features with mean 0 and deviation 1, missing ones 0, and a column of ones: (R, F + 1)."""
    z = np.where(np.isfinite(x), (x - mean) / scale, 0.0)
    return np.concatenate([np.clip(z, -5.0, 5.0), np.ones((len(z), 1))], axis=1)


def linear(cases: Cases, levels: Levels) -> Linear:
    """One regression a level, each begun at its neighbour's solution."""
    there = np.isfinite(cases.x)
    count = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, cases.x, 0.0).sum(axis=0) / count
    deviation = np.sqrt(np.where(there, (cases.x - mean) ** 2, 0.0).sum(axis=0) / count)
    scale = np.where(deviation > 0, deviation, 1.0)
    unit = float(np.std(cases.y)) or 1.0
    z, y = standardised(cases.x, mean, scale), cases.y / unit
    b: Array = np.asarray(np.linalg.lstsq(z, y, rcond=1e-8)[0], dtype=np.float64)
    fitted = []
    for a in levels:
        b = _regress(z, y, a, b)
        fitted.append(b)
    return Linear(mean, scale, unit, np.stack(fitted))


def _regress(z: Array, y: Array, level: float, b: Array) -> Array:
    ridge = RIDGE * len(y) * np.eye(z.shape[1])
    ridge[-1, -1] = 1e-9
    pull = z.sum(axis=0) * (2 * level - 1)
    for _ in range(STEPS):
        weight = 1.0 / (_SOFT + np.abs(y - z @ b))
        weighted = z * weight[:, None]
        b = np.linalg.solve(weighted.T @ z + ridge, weighted.T @ y + pull)
    return b
