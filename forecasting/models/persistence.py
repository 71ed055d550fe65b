"""Persistence: the guess that nothing changes, with the changes that came of it.

The guess is the column `persistence` (the latest value known at the issue: the last one for short leads, the
same time of the last known day for long ones); its quantiles are the guess plus those of its past errors at the
same lead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.cases import Cases
from forecasting.models.grouped import GroupedQuantiles
from forecasting.models.model import Levels
from vpp.domain.time import Array

GUESS = "persistence"
LEAST = 20


@dataclass(frozen=True)
class Persistence:
    """Quantiles of the past errors by lead and of all (L,); of the values themselves where there is no guess."""

    errors: GroupedQuantiles
    overall: Array
    values: Array

    def predict(self, cases: Cases) -> Array:
        rough = np.repeat(self.overall[:, None], len(cases), axis=1)
        guess = cases.column(GUESS)
        made = guess + self.errors.read(cases.lead[:, None].astype(float), rough)
        return np.where(np.isfinite(guess), made, self.values[:, None])


def persistence(cases: Cases, levels: Levels) -> Persistence:
    """Past errors of the guess by lead."""
    error = cases.y - cases.column(GUESS)
    there = np.isfinite(error)
    lead = cases.lead[there, None].astype(float)
    overall = np.quantile(error[there], levels) if there.any() else np.zeros(len(levels))
    return Persistence(
        GroupedQuantiles.of(lead, error[there], levels, LEAST), overall, np.quantile(cases.y, levels)
    )  # fmt: skip
