"""Which weather stations stand for a load: those whose mean temperature explains it best out of sample.

Stations are ranked by how well a load model on each alone forecasts the last two years from the years before, with
the temperature that came; then the mean of the best one, two, ... is tried in the same way, and the number that
errs least is taken (Hong, Wang and White, International Journal of Forecasting 31(2), 2015).
"""

from __future__ import annotations

import numpy as np

from forecasting.calendar import Index
from forecasting.temperature_load import HOURS_A_YEAR, Clock, Weather, fitted
from vpp.domain.time import Array

TRIAL_YEARS = 2.0
MOST_TRIAL_SHARE = 0.4
HOURS_TRIED = (2, 8, 14, 20)
COUNTS = (1, 2, 3, 4, 6, 8, 10, 15)


def chosen(clock: Clock, stations: Array, load: Array) -> Index:
    """Columns of `stations` (N, W) whose mean serves `load` (N,) best; all where only one is there."""
    if stations.shape[1] == 1:
        return np.array([0], dtype=np.int64)
    there = np.flatnonzero(np.isfinite(load))
    trial_h = int(min(TRIAL_YEARS * HOURS_A_YEAR, MOST_TRIAL_SHARE * len(there)))
    cut = int(there[-1]) + 1 - trial_h
    alone = [miss(clock, stations[:, j], load, cut) for j in range(stations.shape[1])]
    order = np.argsort(alone, kind="stable")
    counts = [k for k in COUNTS if k <= len(order)]
    together = [miss(clock, stations[:, order[:k]].mean(axis=1), load, cut) for k in counts]
    best: Index = order[: counts[int(np.argmin(together))]]
    return best


def miss(clock: Clock, temperature: Array, load: Array, cut: int) -> float:
    """Mean absolute error over some hours of the day from position `cut` on, of the model of what lies before."""
    weather = Weather.of(temperature[:, None], len(temperature))
    before, after = np.arange(cut), np.arange(cut, len(load))
    model = fitted(clock.rows(before), weather.rows(before), load[before], HOURS_TRIED)
    error = model.predict(clock.rows(after), weather.rows(after)) - load[after]
    return float(np.nanmean(np.abs(error)))
