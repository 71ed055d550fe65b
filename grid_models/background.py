"""Injections of everything in the network that is not ours, as per-unit series times a map to buses.

p_bus = P_map' · p_series,  q_bus = Q_map' · q_series;  injection positive, so load maps are negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpp.domain.time import Array


@dataclass(frozen=True)
class Background:
    """`p_map` and `q_map` (S,B) in MW and Mvar per unit of each series; rows in order of `series`."""

    series: tuple[str, ...]
    p_map: Array
    q_map: Array

    def injection(self, p_values: Array, q_values: Array) -> tuple[Array, Array]:
        """Per-unit values (..., S, T) to bus injections in MW and Mvar, each (..., T, B).

        `q_values` of generation series are 0 by convention (they run at unity power factor).
        """
        p = np.swapaxes(p_values, -1, -2) @ self.p_map
        q = np.swapaxes(q_values, -1, -2) @ self.q_map
        return p, q


def q_ratio(p_values: Array, q_values: Array) -> Array:
    """Least-squares q/p of per-unit histories (S,T), gaps ignored; (S,), 0 where nothing is known."""
    seen = np.isfinite(p_values) & np.isfinite(q_values)
    p, q = np.where(seen, p_values, 0.0), np.where(seen, q_values, 0.0)
    square = (p * p).sum(axis=-1)
    ratio: Array = np.divide((p * q).sum(axis=-1), square, out=np.zeros_like(square), where=square > 0)
    return ratio
