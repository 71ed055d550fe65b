"""A few weighted scenarios in place of many: fast forward selection.

Of scenarios x_i with probabilities p_i those kept, J, shall minimise the Kantorovich distance to all,

    D(J) = sum_i p_i min_{j in J} |x_i - x_j|,

and each that is dropped gives its probability to the nearest one kept. Forward selection takes, one after the other,
the scenario that lowers D most (Heitsch and Roemisch, Computational Optimization and Applications 24, 2003,
algorithm 2.4). By the triangle inequality the means of both sets lie no farther apart than D.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.calendar import Index
from vpp.domain.time import Array


@dataclass(frozen=True)
class Reduced:
    """Positions (n,) of the scenarios kept, in rising order, their probabilities (n,), and the distance D."""

    kept: Index
    weight: Array
    distance: float


def reduced(scenarios: Array, n: int, weight: Array | None = None, scale: Array | None = None) -> Reduced:
    """Keep `n` of `scenarios` (K, S, T) with probabilities `weight` (K,), equal ones where None.

    `scale` (S,) divides each series in the distance, so that MW and EUR/MWh can stand side by side. Raises ValueError
    unless 1 <= n <= K.
    """
    count = len(scenarios)
    if not 1 <= n <= count:
        raise ValueError(f"cannot keep {n} of {count} scenarios")
    p = np.full(count, 1.0 / count) if weight is None else weight / weight.sum()
    distance = distances(scenarios if scale is None else scenarios / scale[:, None])
    nearest, kept = np.full(count, np.inf), list[int]()
    for _ in range(n):
        left = p @ np.minimum(nearest[:, None], distance)
        left[kept] = np.inf
        kept.append(int(np.argmin(left)))
        nearest = np.minimum(nearest, distance[:, kept[-1]])
    chosen = np.sort(np.array(kept, dtype=np.int64))
    home = np.argmin(distance[:, chosen], axis=1)
    home[chosen] = np.arange(n)
    gathered: Array = np.bincount(home, p, minlength=n).astype(np.float64)
    return Reduced(chosen, gathered, float(p @ nearest))


def distances(scenarios: Array) -> Array:
    """Euclidean distance (K, K) between scenarios (K, ...)."""
    flat = scenarios.reshape(len(scenarios), -1)
    flat = flat - flat.mean(axis=0)
    square = (flat**2).sum(axis=1)
    apart: Array = np.sqrt(np.maximum(square[:, None] + square - 2 * flat @ flat.T, 0.0))
    np.fill_diagonal(apart, 0.0)
    return apart
