"""Empirical quantiles by group, vectorised: the sorted values of a group, read between two of them.

Hyndman and Fan, The American Statistician 50(4), 1996, definition 7.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.calendar import Index
from forecasting.models.model import Levels
from vpp.domain.time import Array


@dataclass(frozen=True)
class GroupedQuantiles:
    """Keys (G, K) in lexicographic order and the quantiles (L, G) of each."""

    keys: Array
    quantiles: Array

    @classmethod
    def of(cls, keys: Array, values: Array, levels: Levels, least: int) -> GroupedQuantiles:
        """Quantiles of `values` (R,) by the rows of `keys` (R, K); groups of fewer than `least` are left out."""
        unique, group = np.unique(keys, axis=0, return_inverse=True)
        group = group.reshape(-1)
        count = np.bincount(group, minlength=len(unique))
        ordered = values[np.lexsort((values, group))]
        first = np.concatenate([[0], np.cumsum(count)[:-1]])
        at = np.asarray(levels)[:, None] * (count - 1)
        low = np.floor(at).astype(np.int64)
        high = np.minimum(low + 1, count - 1)
        below, above = ordered[first + low], ordered[first + high]
        enough = count >= least
        return cls(unique[enough], (below + (at - low) * (above - below))[:, enough])

    def read(self, keys: Array, otherwise: Array) -> Array:
        """Quantiles (L, R) for `keys` (R, K); `otherwise` (L, R) where a key has no group."""
        if not len(self.keys):
            return otherwise
        unique, where = np.unique(np.concatenate([self.keys, keys]), axis=0, return_inverse=True)
        where = where.reshape(-1)
        position: Index = np.full(len(unique), -1, dtype=np.int64)
        position[where[: len(self.keys)]] = np.arange(len(self.keys))
        at = position[where[len(self.keys) :]]
        found: Array = np.where(at >= 0, self.quantiles[:, at], otherwise)
        return found
