"""What the page shows of forecasts: the last one, and what was measured of its series so far."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from forecasting.track_record import outcomes
from vpp.domain.forecast import Forecast
from vpp.domain.time import QUARTER, Array, TimeGrid, floor_to
from vpp.service.system import System

BEFORE = timedelta(hours=12)


@dataclass(frozen=True)
class ForecastView:
    """A forecast and what was measured (S, N) of its series over `grid`: since half a day before it, until now."""

    forecast: Forecast
    grid: TimeGrid
    measured: Array


def view_of(system: System, forecast: Forecast | None, now: datetime) -> ForecastView | None:
    """None without a forecast."""
    if forecast is None:
        return None
    begin = floor_to(forecast.grid.start, QUARTER) - BEFORE
    grid = TimeGrid.between(begin, max(floor_to(now, QUARTER), begin + QUARTER), QUARTER)
    return ForecastView(forecast, grid, outcomes(system.history(now), forecast.series, grid))
