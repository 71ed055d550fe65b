"""The automatic choice: every model there is, the naive ones first; the blend decides by the past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from forecasting.cases import Cases
from forecasting.fitted import Scheme
from forecasting.gates import Horizon
from forecasting.models.boosting import boosting, boosting_change
from forecasting.models.climatology import climatology, recent_climatology
from forecasting.models.linear import linear
from forecasting.models.model import Fit
from forecasting.models.persistence import persistence
from vpp.domain.time import Array

NAIVE: Mapping[str, Fit] = {
    "climatology": climatology, "recent_climatology": recent_climatology, "persistence": persistence,
}  # fmt: skip
LEARNT: Mapping[str, Fit] = {"linear": linear, "boosting": boosting, "boosting_change": boosting_change}
LEAD_EDGES: Mapping[Horizon, tuple[int, ...]] = {"day-ahead": (), "intraday": (120,)}


@dataclass(frozen=True)
class Bounds:
    """The physics of a series: quantiles inside [lower, upper], and 0 on rows where the feature `dark` is 1."""

    lower: float
    upper: float
    dark: str | None = None

    def __call__(self, cases: Cases, quantiles: Array) -> Array:
        inside = np.clip(quantiles, self.lower, self.upper)
        return np.where(cases.column(self.dark) > 0, 0.0, inside) if self.dark is not None else inside


def automatic(horizon: Horizon, lower: float = -np.inf, upper: float = np.inf, dark: str | None = None) -> Scheme:
    """All models, for a series within [lower, upper]."""
    return Scheme({**NAIVE, **LEARNT}, len(NAIVE), LEAD_EDGES[horizon], Bounds(lower, upper, dark))
