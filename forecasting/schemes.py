"""The automatic choice: every model there is, the naive ones first; the blend decides by the past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from forecasting.conformal import Pace
from forecasting.fitted import Bounds, Scheme
from forecasting.gates import Horizon
from forecasting.models.boosting import boosting, boosting_change
from forecasting.models.climatology import climatology, recent_climatology
from forecasting.models.linear import linear
from forecasting.models.model import Fit
from forecasting.models.persistence import persistence, seasonal_naive

NAIVE: Mapping[str, Fit] = {
    "climatology": climatology, "recent_climatology": recent_climatology, "persistence": persistence,
}  # fmt: skip
SEASONAL: Mapping[str, Fit] = {**NAIVE, "seasonal_naive": seasonal_naive}
LEARNT: Mapping[str, Fit] = {"linear": linear, "boosting": boosting, "boosting_change": boosting_change}
LEAD_EDGES: Mapping[Horizon, tuple[int, ...]] = {"day-ahead": (), "intraday": (120,)}


def automatic(horizon: Horizon, lower: float = -np.inf, upper: float = np.inf, dark: str | None = None) -> Scheme:
    """All models, for a series within [lower, upper]."""
    return Scheme({**SEASONAL, **LEARNT}, len(SEASONAL), LEAD_EDGES[horizon], Bounds(lower, upper, dark))


def drifting(horizon: Horizon) -> Scheme:
    """All models for a mix of power plants, whose errors change size from week to week: the calibration hurries."""
    return replace(automatic(horizon, lower=0.0), pace=Pace(rate_a_day=0.3, relief=0.3))


def weather_load(horizon: Horizon) -> Scheme:
    """All models for a load whose errors are mostly those of the weather: its calibration takes its time."""
    return replace(automatic(horizon, lower=0.0), pace=Pace(rate_a_day=0.12, relief=0.1))
