"""How to forecast a price: the naive models and the regressions by the hour; the blend decides by the past.

A price has no physical bound, below zero neither.
"""

from __future__ import annotations

from forecasting.fitted import Scheme
from forecasting.gates import Horizon
from forecasting.models.hourly_lasso import hourly_lasso
from forecasting.price_features import day_ahead_design, intraday_design
from forecasting.schemes import LEAD_EDGES, NAIVE

MOST_ROWS = 200_000


def price_scheme(horizon: Horizon, outside: tuple[str, ...]) -> Scheme:
    """The scheme of a price moved by the forecasts `outside`."""
    design = day_ahead_design(outside) if horizon == "day-ahead" else intraday_design(outside)
    models = {**NAIVE, "hourly_lasso": hourly_lasso(design)}
    return Scheme(models, len(NAIVE), LEAD_EDGES[horizon], most_rows=MOST_ROWS)
