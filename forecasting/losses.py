"""The loss every forecast is judged by, and the coverage of its bands.

Pinball loss of level a at miss d = y - q: max(a d, (a - 1) d) (Gneiting and Raftery, JASA 102, 2007). The
continuous ranked probability score is twice its integral over the levels; over a finite set of levels it is
read by the trapezoid rule with flat tails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vpp.domain.time import Array

BANDS: Mapping[str, float] = {"50": 0.50, "80": 0.80, "90": 0.90}


def pinball_by_level(quantiles: Array, y: Array, levels: Sequence[float] | Array) -> Array:
    """Loss (..., L, R) of `quantiles` (..., L, R) against `y` (R,)."""
    level = np.asarray(levels)[:, None]
    miss = y - quantiles
    loss: Array = np.maximum(level * miss, (level - 1) * miss)
    return loss


def crps(quantiles: Array, y: Array, levels: Sequence[float]) -> float:
    """Mean continuous ranked probability score of `quantiles` (L, R)."""
    a = np.asarray(levels)
    edges = np.concatenate([[0.0], (a[1:] + a[:-1]) / 2, [1.0]])
    return float(2 * np.diff(edges) @ np.nanmean(pinball_by_level(quantiles, y, levels), axis=1))


def band_of(levels: Sequence[float], share: float) -> tuple[int, int]:
    """Positions of the levels that bound the central band of `share`. Raises ValueError if they are not there."""
    edges = [np.flatnonzero(np.isclose(levels, edge)) for edge in ((1 - share) / 2, (1 + share) / 2)]
    if not all(len(e) for e in edges):
        raise ValueError(f"levels {tuple(levels)} have no central band of {share:.0%}")
    return int(edges[0][0]), int(edges[1][0])


def covered(quantiles: Array, y: Array, levels: Sequence[float]) -> dict[str, Array]:
    """Whether `y` (R,) lies inside each central band of `quantiles` (L, R); NaN where `y` is a gap."""
    out = {}
    for name, share in BANDS.items():
        a, b = band_of(levels, share)
        inside = (y >= quantiles[a]) & (y <= quantiles[b])
        out[name] = np.where(np.isfinite(y), inside, np.nan)
    return out


def energy_score(scenarios: Array, y: Array) -> float:
    """Energy score of `scenarios` (K, ...) against `y` (...): E|x - y| - E|x - x'| / 2, fair for finite K.

    Gneiting and Raftery, JASA 102, 2007; the fair form by Ferro, Quarterly Journal of the Royal Meteorological
    Society 140, 2014. Raises ValueError for fewer than two scenarios.
    """
    if len(scenarios) < 2:
        raise ValueError("an energy score needs two scenarios or more")
    x = (scenarios - y).reshape(len(scenarios), -1)
    square = (x**2).sum(axis=1)
    apart = np.sqrt(np.maximum(square[:, None] + square - 2 * x @ x.T, 0.0))
    np.fill_diagonal(apart, 0.0)
    return float(np.sqrt(square).mean() - apart.sum() / (2 * len(x) * (len(x) - 1)))
