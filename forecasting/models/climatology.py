"""Climatology: what the series was at this time of day on days of this kind.

`climatology` takes all known days with the same `of_day` and `weekday`; `recent_climatology` those of the last 90
days with the same `of_day` and `day_class` (workday, Saturday, Sunday or holiday).
A group with too few values is read as the time of day alone, then as all values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.cases import Cases
from forecasting.models.grouped import GroupedQuantiles
from forecasting.models.model import Levels
from vpp.domain.time import Array

LEAST = 3
RECENT_MINUTES = 90 * 1440


@dataclass(frozen=True)
class Climatology:
    """Quantiles by the columns `keys`, by the first of them, and of all (L,)."""

    keys: tuple[str, str]
    fine: GroupedQuantiles
    coarse: GroupedQuantiles
    overall: Array

    def predict(self, cases: Cases) -> Array:
        rough = np.repeat(self.overall[:, None], len(cases), axis=1)
        return self.fine.read(cases.select(self.keys), self.coarse.read(cases.select(self.keys[:1]), rough))


def climatology(cases: Cases, levels: Levels) -> Climatology:
    """Quantiles of all known values by time of day and weekday."""
    return _by(("of_day", "weekday"), cases, levels)


def recent_climatology(cases: Cases, levels: Levels) -> Climatology:
    """Quantiles of the last 90 days' values by time of day and class of day."""
    return _by(("of_day", "day_class"), cases.rows(cases.target >= cases.target.max() - RECENT_MINUTES), levels)


def _by(keys: tuple[str, str], cases: Cases, levels: Levels) -> Climatology:
    _, once = np.unique(cases.target, return_index=True)
    key, y = cases.select(keys)[once], cases.y[once]
    return Climatology(
        keys, GroupedQuantiles.of(key, y, levels, LEAST), GroupedQuantiles.of(key[:, :1], y, levels, LEAST),
        np.quantile(y, levels),
    )  # fmt: skip
