"""How cases become inputs of a model that learns from many columns.

Columns `field_*`, the same quantity at many places and hours, enter as their first principal components, learnt from
the cases the model learns from; the other columns enter as they are. All are standardised, and a missing value is
read as its column's mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.cases import Cases
from vpp.domain.time import Array

FIELD = "field_"
_SAMPLE = 6000
_FARTHEST = 5.0


@dataclass(frozen=True)
class Inputs:
    """Columns taken as they are, and `field` columns with the basis (F, P) they enter by."""

    plain: tuple[str, ...]
    field: tuple[str, ...]
    field_mean: Array
    basis: Array
    mean: Array
    scale: Array

    def of(self, cases: Cases) -> NDArray[np.float32]:
        """Standardised inputs (R, I)."""
        z = (self._joined(cases) - self.mean) / self.scale
        return np.where(np.isfinite(z), np.clip(z, -_FARTHEST, _FARTHEST), 0.0).astype(np.float32)

    def _joined(self, cases: Cases) -> Array:
        field = np.nan_to_num(cases.select(self.field) - self.field_mean)
        return np.concatenate([cases.select(self.plain), field @ self.basis], axis=1)

    @classmethod
    def learnt(cls, cases: Cases, without: Sequence[str], patterns: int) -> Inputs:
        """The inputs of `cases`, of all columns but those whose names begin with one of `without`, and `patterns`
        components."""
        field = tuple(n for n in cases.names if n.startswith(FIELD))
        plain = tuple(n for n in cases.names if n not in field and not n.startswith(tuple(without)))
        mean, basis = _patterns(cases.select(field), patterns)
        none = np.zeros(len(plain) + basis.shape[1])
        raw = cls(plain, field, mean, basis, none, none + 1)._joined(cases)
        there = np.isfinite(raw)
        count = np.maximum(there.sum(axis=0), 1)
        centre = np.where(there, raw, 0.0).sum(axis=0) / count
        deviation = np.sqrt(np.where(there, (raw - centre) ** 2, 0.0).sum(axis=0) / count)
        return cls(plain, field, mean, basis, centre, np.where(deviation > 1e-9, deviation, 1.0))


def _patterns(field: Array, count: int) -> tuple[Array, Array]:
    """Means (F,) and the basis (F, P) of the `count` main patterns of `field` (R, F), each column scaled alike."""
    if not field.shape[1]:
        return np.zeros(0), np.zeros((0, 0))
    rows = field[:: max(1, len(field) // _SAMPLE)]
    rows = rows[np.isfinite(rows).all(axis=1)]
    mean = rows.mean(axis=0)
    deviation = np.maximum(rows.std(axis=0), 1e-9)
    _, vectors = np.linalg.eigh(np.cov((rows - mean) / deviation, rowvar=False))
    return mean, vectors[:, ::-1][:, :count] / deviation[:, None]
