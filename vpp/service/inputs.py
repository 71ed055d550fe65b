"""Exogenous inputs of assets as trajectories: a scaled series, or 24 known values by local hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from vpp.domain.errors import DataGap
from vpp.domain.portfolio import Input, Portfolio
from vpp.domain.time import QUARTER, Array, TimeGrid, floor_to


@lru_cache(maxsize=256)
def _quarters(grid: TimeGrid, zone: str) -> tuple[TimeGrid, Array, Array]:
    """Quarters that cover `grid`, with the local hour 0..23 and weekday 0..6 each begins in."""
    start = floor_to(grid.start, QUARTER)
    end = floor_to(grid.end + QUARTER - timedelta(microseconds=1), QUARTER)
    fine = TimeGrid.between(start, end, QUARTER)
    local = [moment.astimezone(ZoneInfo(zone)) for moment in fine.starts]
    return fine, np.array([m.hour for m in local]), np.array([m.weekday() for m in local])


def by_local_hour(hourly: Sequence[float], grid: TimeGrid, zone: str, weekend_factor: float = 1.0) -> Array:
    """Values (24,) of the local hour as means over the steps of `grid`, (T,).

    A step longer than a quarter averages its quarters, a shorter one takes its quarter's value.
    Saturdays and Sundays are multiplied by `weekend_factor`.
    """
    fine, hours, weekdays = _quarters(grid, zone)
    values = np.asarray(hourly, dtype=float)[hours] * np.where(weekdays >= 5, weekend_factor, 1.0)
    return grid.sample(fine, values)


def trajectory(source: Input, grid: TimeGrid, zone: str, values: Mapping[str, Array]) -> Array:
    """One input over `grid`, (..., T): scale times series, or scale times the value of the local hour.

    `values[series]` (..., T) are already on `grid`. Raises DataGap for a series that is not there.
    """
    if source.series is None:
        return source.scale * by_local_hour(source.hourly, grid, zone)
    if source.series not in values:
        raise DataGap(f"series {source.series} has no values from {grid.start} to {grid.end}")
    return source.scale * values[source.series]


def trajectories(portfolio: Portfolio, grid: TimeGrid, values: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Every input of every asset over `grid`: asset -> input name -> (T,). Raises DataGap."""
    return {
        asset.id: {name: trajectory(source, grid, portfolio.zone, values) for name, source in asset.inputs.items()}
        for asset in portfolio.assets
    }


def series_used(portfolio: Portfolio) -> tuple[str, ...]:
    """Ids of the series that inputs refer to, in order of first use."""
    used = [s.series for a in portfolio.assets for s in a.inputs.values() if s.series is not None]
    return tuple(dict.fromkeys(used))
