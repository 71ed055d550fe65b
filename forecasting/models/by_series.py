"""One model for each series of a joint table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from forecasting.cases import Cases
from forecasting.models.model import Fit, Levels, Model
from vpp.domain.time import Array


@dataclass(frozen=True)
class BySeries:
    """Models by the value of the column `series`."""

    series: str
    models: Mapping[float, Model]
    levels: Levels

    def predict(self, cases: Cases) -> Array:
        """Raises KeyError for a series that no model has learnt."""
        of = cases.column(self.series)
        out = np.full((len(self.levels), len(cases)), np.nan)
        for key in np.unique(of):
            out[:, of == key] = self.models[float(key)].predict(cases.rows(of == key))
        return out


def by_series(fit: Fit, series: str) -> Fit:
    """A fit of `fit` to each series alone, told apart by the column `series`."""

    def each(cases: Cases, levels: Levels) -> BySeries:
        of = cases.column(series)
        return BySeries(series, {float(k): fit(cases.rows(of == k), levels) for k in np.unique(of)}, levels)

    return each
