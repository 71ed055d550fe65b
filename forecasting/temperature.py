"""What measured temperatures say of a load, without a weather forecast.

Load follows the temperature of the hour and, because buildings store heat, the smoothed temperatures of the days
before (the recency effect: Wang, Liu and Hong, International Journal of Forecasting 32(3), 2016). Of a target only
temperatures known at the issue are used: the latest ones, exponential means

    s[t] = s[t-1] + (1 - exp(-1/tau)) (T[t] - s[t-1])

of a few time constants tau, and the same time of day on the last days, whose mean stands for the season.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from forecasting.calendar import PER_DAY, Days, Index
from forecasting.features import Extra, nan_mean, nth_valid, same_quarter
from forecasting.gates import MoreFeatures
from forecasting.panel import Panel
from vpp.domain.time import Array

MEMORY_H = (6.0, 24.0, 72.0)
SEASON_DAYS = 21


def exponential_mean(values: Array, steps: float) -> Array:
    """Exponential means along axis 0 with a time constant of `steps`; a gap reads as the value before it.

    They begin at the first value; before it they are NaN.
    """
    there = np.isfinite(values)
    at = np.where(there, np.arange(len(values)).reshape((-1,) + (1,) * (values.ndim - 1)), 0)
    filled = np.take_along_axis(values, np.maximum.accumulate(at, axis=0), axis=0)
    begun = np.logical_or.accumulate(there, axis=0)
    first = np.take_along_axis(values, np.argmax(there, axis=0)[None], axis=0)
    held = np.where(begun, filled, first)
    keep = np.exp(-1.0 / steps)
    means = lfilter([1.0 - keep], [1.0, -keep], held, axis=0, zi=keep * held[:1])[0]
    out: Array = np.where(begun, means, np.nan)
    return out


def temperature_features(temperature: Panel) -> MoreFeatures:
    """Features from the one series of `temperature`, on the axis of the load and known as late as it."""
    memory = [
        Panel(
            temperature.ids, temperature.first, exponential_mean(temperature.values.T, 4.0 * h).T, temperature.end,
            temperature.late, temperature.lower, temperature.upper,
        )
        for h in MEMORY_H
    ]  # fmt: skip
    names = (
        "temp_latest", "temp_anomaly", *(f"temp_memory_{h:g}h" for h in MEMORY_H), "temp_same", "temp_same_before",
        "temp_week_ago", "temp_same_3d", "temp_season", "temp_expected", "year_sin", "year_cos", "trend",
    )  # fmt: skip

    def features(panel: Panel, days: Days, target: Index, end: Index) -> Extra:
        if (temperature.first, temperature.n) != (panel.first, panel.n):
            raise ValueError("temperature and load must be on one axis")
        latest = temperature.read(end - 1, end)[0]
        same = same_quarter(temperature, days, target, end, np.arange(1, SEASON_DAYS + 1))[0]
        season = nan_mean(same)
        anomaly = latest - _season_of_latest(temperature, days, end)
        ahead_days = (target - end[0] + 1) / PER_DAY
        expected = season + anomaly * np.exp(-ahead_days)
        angle = 2 * np.pi * days.day_of_year[target] / 365.25
        own = [latest, anomaly, *(m.read(end - 1, end)[0] for m in memory)]
        x = [
            *own, nth_valid(same, 0), nth_valid(same, 1), same[:, 6], nan_mean(same[:, :4]), season, expected,
            np.sin(angle), np.cos(angle), (panel.first + target) / (PER_DAY * 365.25),
        ]  # fmt: skip
        return Extra(names, np.stack(x, axis=1))

    return features


def _season_of_latest(temperature: Panel, days: Days, end: Index) -> Array:
    """Mean of the last days at the time of day of the latest known value (R,)."""
    ends, where = np.unique(end[0], return_inverse=True)
    known = ends[None, :]
    before = same_quarter(temperature, days, np.maximum(ends - 1, 0), known, np.arange(1, SEASON_DAYS + 1))
    season: Array = nan_mean(before[0])[where]
    return season
