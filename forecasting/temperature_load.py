"""Hourly load as a function of calendar and temperature, one ridge regression an hour of the day.

    load = c + calendar + g0(T) + sum_k gk(Tk) + sum_j hj(T[t-j]) + interactions + error,

with T the temperature of the hour, Tk its exponential means over a few hours to days (heat stored in buildings: the
recency effect of Wang, Liu and Hong, International Journal of Forecasting 32(3), 2016), and g, h restricted cubic
splines (Harrell, Regression Modeling Strategies, 2015, section 2.4.5) with knots at quantiles of what was seen. The
splines of T and of its daily mean interact with each other, the season, rest days and the trend. Coefficients
minimise weighted squares plus a ridge on standardised columns; older years weigh less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from forecasting.calendar import Index
from forecasting.temperature import exponential_mean
from vpp.domain.time import Array

MEMORY_H = (3.0, 24.0, 72.0)
LAGS_H = (1, 2, 24)
SETTLING_H = 240
RIDGE = 1.0
FADING_YEARS = 4.0
HOURS_A_YEAR = 8766.0
_KNOTS = (0.02, 0.15, 0.32, 0.5, 0.68, 0.85, 0.98)
_SEASONS = 3
_EPOCH_DAY = date(1970, 1, 1)

Holidays = Callable[[int], frozenset[date]]


@dataclass(frozen=True)
class Clock:
    """Calendar columns (R,) of hours counted since 1970 in the load's own clock.

    `holiday` and `beside` (the day before or after one) are 0 or 1; `weekday` is Monday 0.
    """

    hours: Index
    of_day: Index
    weekday: Index
    day_of_year: Index
    holiday: Array
    beside: Array

    @classmethod
    def of(cls, hours: Index, holidays: Holidays) -> Clock:
        """Columns of `hours`."""
        unique, where = np.unique(hours // 24, return_inverse=True)
        dates = [_EPOCH_DAY + timedelta(days=int(d)) for d in unique]
        free = [d in holidays(d.year) for d in dates]
        near = [any((d + timedelta(days=k)) in holidays((d + timedelta(days=k)).year) for k in (-1, 1)) for d in dates]
        of_year = np.array([d.timetuple().tm_yday for d in dates], dtype=np.int64)
        return cls(
            hours, hours % 24, (hours // 24 + 3) % 7, of_year[where],
            np.array(free, dtype=float)[where], np.array(near, dtype=float)[where],
        )  # fmt: skip

    def rows(self, at: Index) -> Clock:
        """Some rows."""
        return Clock(
            self.hours[at], self.of_day[at], self.weekday[at], self.day_of_year[at], self.holiday[at], self.beside[at]
        )


@dataclass(frozen=True)
class Weather:
    """Temperature of rows (R,), its exponential means (R, K) and its values some hours before (R, J)."""

    now: Array
    memory: Array
    before: Array

    @classmethod
    def of(cls, paths: Array, last: int) -> Weather:
        """The last `last` hours of `paths` (N, S): rows path by path. The hours before give the memory."""

        def rows(values: Array) -> Array:
            return values[-last:].T.ravel()

        memory = [rows(exponential_mean(paths, tau)) for tau in MEMORY_H]
        held = np.concatenate([np.repeat(paths[:1], max(LAGS_H), axis=0), paths])
        before = [rows(held[max(LAGS_H) - lag : len(held) - lag]) for lag in LAGS_H]
        return cls(rows(paths), np.stack(memory, axis=1), np.stack(before, axis=1))

    def rows(self, at: Index) -> Weather:
        """Some rows."""
        return Weather(self.now[at], self.memory[at], self.before[at])


@dataclass(frozen=True)
class LoadModel:
    """Regressions of the hours of the day `of_day`: mean, scale and coefficients of each one's columns."""

    knots: Array
    origin_h: int
    of_day: tuple[int, ...]
    fits: tuple[tuple[Array, Array, Array, float], ...]

    def predict(self, clock: Clock, weather: Weather) -> Array:
        """Load (R,); NaN at hours of the day the model was not fitted for."""
        out = np.full(len(clock.hours), np.nan)
        for hour, (mean, scale, coefficients, constant) in zip(self.of_day, self.fits, strict=True):
            at = np.flatnonzero(clock.of_day == hour)
            x = columns(clock.rows(at), weather.rows(at), self.knots, self.origin_h)
            out[at] = constant + (x - mean) / scale @ coefficients
        return out


def fitted(clock: Clock, weather: Weather, load: Array, of_day: tuple[int, ...] = tuple(range(24))) -> LoadModel:
    """The model of `load` (R,), whose gaps (NaN) and first hours, while the memory settles, are not used."""
    usable = np.isfinite(load) & np.isfinite(weather.now)
    usable[:SETTLING_H] = False
    knots, origin = np.quantile(weather.now[usable], _KNOTS), int(clock.hours[-1])
    fits = []
    for hour in of_day:
        at = np.flatnonzero(usable & (clock.of_day == hour))
        x = columns(clock.rows(at), weather.rows(at), knots, origin)
        weight = np.exp((clock.hours[at] - origin) / (FADING_YEARS * HOURS_A_YEAR))
        mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-9
        constant = float(np.average(load[at], weights=weight))
        z = (x - mean) / scale
        gram = (z * weight[:, None]).T @ z + RIDGE * np.eye(z.shape[1])
        fits.append((mean, scale, np.linalg.solve(gram, z.T @ (weight * (load[at] - constant))), constant))
    return LoadModel(knots, origin, of_day, tuple(fits))


def columns(clock: Clock, weather: Weather, knots: Array, origin_h: int) -> Array:
    """Columns (R, C) of the regression; the trend is in years from `origin_h` and bends a year before it."""
    angle = 2 * np.pi * clock.day_of_year / 365.25
    season = np.stack([f(k * angle) for k in range(1, _SEASONS + 1) for f in (np.sin, np.cos)], axis=1)
    rest = np.maximum(clock.holiday, clock.weekday >= 5)[:, None]
    trend = ((clock.hours - origin_h) / HOURS_A_YEAR)[:, None]
    now = spline(weather.now, knots)
    memory = [spline(m, knots) for m in weather.memory.T]
    day = memory[1]
    few = knots[[0, 2, -3, -1]]
    both = (now[:, :3, None] * day[:, None, :3]).reshape(len(now), -1)
    return np.concatenate(
        [
            season, clock.weekday[:, None] == np.arange(7), clock.holiday[:, None], clock.beside[:, None],
            trend, np.maximum(trend + 1, 0), now, *memory, *(spline(b, few) for b in weather.before.T),
            *(part * by for part in (now, day) for by in (season[:, :1], season[:, 1:2], rest, trend)),
            season[:, :4] * rest, season[:, :4] * trend, both,
        ],
        axis=1,
    )  # fmt: skip


def spline(x: Array, knots: Array) -> Array:
    """Restricted cubic spline basis (R, K - 1): cubic between K knots, straight beyond the outer ones."""

    def cube(knot: float) -> Array:
        return np.maximum(x - knot, 0.0) ** 3

    before, last = knots[-2], knots[-1]
    bends = [
        cube(k) - cube(before) * (last - k) / (last - before) + cube(last) * (before - k) / (last - before)
        for k in knots[:-2]
    ]
    return np.stack([x, *(b / (last - knots[0]) ** 2 for b in bends)], axis=1)
