"""Temperature paths for weeks ahead, when no weather forecast is given.

A path replays what another year did: its departure from the climate in the same season, in units of the season's
deviation, shifted by some days to and fro (Xie and Hong, IEEE Transactions on Smart Grid 9(1), 2018, on shifted-date
scenarios). The climate is a regression on harmonics of the year and the day. What today's weather still says is put
in by regression: with z the departures of the last day, the last days and the last month,

    path(d) = replay(d) + b(d)' (z now - z at the replay's start),

where b(d) is what past departures d days ahead followed from z. So paths begin at the present and forget it as the
weather does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.calendar import Index
from vpp.domain.time import Array

SHIFT_DAYS = 15
SHIFT_STEP = 2
_YEAR_HARMONICS = 4
_DAY_HARMONICS = 3
_RECENT_DAYS = (1, 5, 30)
_FIRST_HOURS = 0.3


@dataclass(frozen=True)
class Climate:
    """Mean and deviation of temperature by hour of the year."""

    mean_coefficients: Array
    deviation_coefficients: Array

    @classmethod
    def of(cls, hours: Index, temperature: Array) -> Climate:
        """The climate of `temperature` (N,) at `hours` (N,) since 1970."""
        mean = _least_squares(_mean_columns(hours), temperature)
        departure = temperature - _mean_columns(hours) @ mean
        days = len(hours) // 24
        daily = departure[len(hours) - 24 * days :].reshape(days, 24).mean(axis=1)
        x = _year_columns(hours[len(hours) - 24 * days :: 24], 2)
        return cls(mean, _least_squares(x, np.log(np.abs(daily) + 0.5)))

    def mean(self, hours: Index) -> Array:
        """Mean temperature at `hours`."""
        value: Array = _mean_columns(hours) @ self.mean_coefficients
        return value

    def deviation(self, hours: Index) -> Array:
        """The size of departures at `hours`."""
        value: Array = np.exp(_year_columns(hours, 2) @ self.deviation_coefficients)
        return value


def paths(hours: Index, temperature: Array, ahead: Index) -> Array:
    """Equally likely temperature paths (S, n) for the hours `ahead` (n,) that follow `hours` (N,).

    Raises ValueError where the past is too short for a replay.
    """
    climate = Climate.of(hours, temperature)
    z = (temperature - climate.mean(hours)) / climate.deviation(hours)
    n, days = len(ahead), -(-len(ahead) // 24)
    starts = replay_starts(hours, ahead)
    if not len(starts):
        raise ValueError(f"no earlier year has the {days} days that are asked for")
    gap = recent(z, np.array([len(z)])) - recent(z, starts)
    faded = gap @ influence(z, days).T
    first = _FIRST_HOURS * gap[:, :1] + (1 - _FIRST_HOURS) * faded[:, :1]
    at = np.concatenate([[0.0], np.arange(days) + 0.5])
    hour = (np.arange(n) + 0.5) / 24
    known = np.stack([np.interp(hour, at, row) for row in np.concatenate([first, faded], axis=1)])
    made: Array = climate.mean(ahead) + climate.deviation(ahead) * (z[starts[:, None] + np.arange(n)] + known)
    return made


def replay_starts(hours: Index, ahead: Index) -> Index:
    """Positions in `hours` where replays begin: the date of `ahead` in every earlier year, shifted by days."""
    first, n = int(ahead[0]), len(ahead)
    begin = np.datetime64(first, "h").astype("M8[D]")
    years = np.arange(1, (first - int(hours[0])) // 8766 + 2)
    month, within = begin.astype("M8[M]"), begin - begin.astype("M8[M]").astype("M8[D]")
    same = ((month - 12 * years).astype("M8[D]") + within).astype("M8[h]").astype(np.int64) + first % 24
    shifts = 24 * np.arange(-SHIFT_DAYS, SHIFT_DAYS + 1, SHIFT_STEP)
    start: Index = (same[:, None] + shifts).ravel() - int(hours[0])
    return start[(start >= 24 * max(_RECENT_DAYS)) & (start + n <= len(hours))]


def recent(z: Array, at: Index) -> Array:
    """Mean departures over the last days before positions `at` (A,): (A, 3)."""
    total = np.concatenate([[0.0], np.cumsum(z)])
    return np.stack([(total[at] - total[at - 24 * d]) / (24 * d) for d in _RECENT_DAYS], axis=1)


def influence(z: Array, days: int) -> Array:
    """Coefficients b (days, 3) of daily departures 0, 1, ... days ahead, smoothed over neighbouring days."""
    issues = np.arange(24 * max(_RECENT_DAYS) + len(z) % 24, len(z), 24)
    x, daily = recent(z, issues), z[len(z) % 24 :].reshape(-1, 24).mean(axis=1)
    at = issues // 24
    raw = []
    for d in range(days):
        there = at + d < len(daily)
        raw.append(_least_squares(x[there], daily[at[there] + d]))
    day = np.arange(days)
    kernel = np.exp(-0.5 * ((day[None, :] - day[:, None]) / (0.3 * day[:, None] + 0.3)) ** 2)
    smooth: Array = kernel @ np.array(raw) / kernel.sum(axis=1, keepdims=True)
    return smooth


def _mean_columns(hours: Index) -> Array:
    year, day = _year_columns(hours, _YEAR_HARMONICS), 2 * np.pi * (hours % 24) / 24
    daily = [f(k * day) for k in range(1, _DAY_HARMONICS + 1) for f in (np.sin, np.cos)]
    return np.concatenate([year, *(year[:, :5] * d[:, None] for d in daily)], axis=1)


def _year_columns(hours: Index, harmonics: int) -> Array:
    angle = 2 * np.pi * hours / (24 * 365.2425)
    waves = [f(k * angle) for k in range(1, harmonics + 1) for f in (np.sin, np.cos)]
    return np.stack([np.ones(len(hours)), *waves], axis=1)


def _least_squares(x: Array, y: Array) -> Array:
    return np.asarray(np.linalg.lstsq(x, y, rcond=None)[0], dtype=np.float64)
