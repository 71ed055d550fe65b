"""Quantiles of an hourly load for weeks ahead, when the weather of those weeks is not known.

Three models, whose quantiles are averaged with equal weights (Lichtendahl, Grushka-Cockayne and Winkler, Management
Science 59(7), 2013):

    two play temperature paths of `weather_scenarios` through a load model of `temperature_load` and add a share of
    its past errors at the same hour and season: one on the mean of the best stations, one on the mean of all;
    one is a quantile booster of the load itself, told the calendar, the climate and what the last days' and the last
    month's departures from it say of the target.

A scenario model alone is blind to what its regression misses, a booster alone to weather it has not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecasting import lightgbm_quantiles as trees
from forecasting import stations as choice
from forecasting.calendar import Index
from forecasting.losses import pinball_by_level
from forecasting.temperature_load import HOURS_A_YEAR, Clock, Holidays, Weather, fitted
from forecasting.weather_scenarios import Climate, influence, paths, recent
from vpp.domain.errors import LookAhead
from vpp.domain.time import Array

SEASON_DAYS = 60
DRAWS = 3
LEAST_SIZE = 0.1
SHARES = (0.0, 0.25, 0.5, 1.0)
TRIALS = 8
TRIAL_STEP_H = 2190
LEAST_YEARS = 2.0
BOOSTED_LEVELS = (0.01, 0.05, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.95, 0.99)
SETTLING_DAYS = 30


@dataclass(frozen=True)
class Past:
    """What is known at the issue: hours (N,) since 1970 without a hole, in the load's own clock, the load (N,) with
    NaN for gaps, and temperatures (N, W) of W stations. Raises ValueError for hours with a hole.
    """

    hours: Index
    load: Array
    stations: Array
    holidays: Holidays

    def __post_init__(self) -> None:
        if np.any(np.diff(self.hours) != 1):
            raise ValueError("the hours of the past must follow each other")
        if not np.isfinite(self.stations).all():
            raise ValueError("a station has gaps: fill or leave it out by name")


def month_ahead(past: Past, ahead: Index, levels: Sequence[float]) -> Array:
    """Quantiles (L, n) of the load in the hours `ahead` (n,). Raises LookAhead where `past` reaches into them."""
    if int(past.hours[-1]) >= int(ahead[0]):
        raise LookAhead(f"the past reaches {int(past.hours[-1] - ahead[0]) + 1} hours into the time asked for")
    clock, coming = Clock.of(past.hours, past.holidays), Clock.of(ahead, past.holidays)
    best = past.stations[:, choice.chosen(clock, past.stations, past.load)].mean(axis=1)
    every = past.stations.mean(axis=1)
    share = error_share(clock, every, past.load, len(ahead))
    members = [Scenarios.of(clock, t, past.load, coming).quantiles(share, levels) for t in (best, every)]
    members.append(boosted_quantiles(clock, best, past.load, coming, levels))
    mean: Array = np.mean(members, axis=0)
    return mean


@dataclass(frozen=True)
class Scenarios:
    """Loads (D, n) that temperature paths give, and errors (D, n) of the load model drawn for them.

    An error is drawn in units of the load it belongs to, at least LEAST_SIZE of the mean load.
    """

    response: Array
    error: Array

    @classmethod
    def of(cls, clock: Clock, temperature: Array, load: Array, coming: Clock) -> Scenarios:
        """Scenarios of the hours `coming` (n) that follow `clock`, `temperature` and `load` (N,)."""
        weather = Weather.of(temperature[:, None], len(temperature))
        model = fitted(clock, weather, load)
        made = paths(clock.hours, temperature, coming.hours)
        count, n = made.shape
        before = np.repeat(temperature[-24 * SETTLING_DAYS :, None], count, axis=1)
        repeated = coming.rows(np.tile(np.arange(n), count))
        response = model.predict(repeated, Weather.of(np.concatenate([before, made.T]), n)).reshape(count, n)
        least = LEAST_SIZE * float(np.nanmean(np.abs(load)))
        explained, drawn = model.predict(clock, weather), np.repeat(response, DRAWS, axis=0)
        error = _season_errors(clock, (load - explained) / np.maximum(explained, least), coming, len(drawn))
        return cls(drawn, error * np.maximum(drawn, least))

    def quantiles(self, share: float, levels: Sequence[float]) -> Array:
        """Quantiles (L, n) of the loads with `share` of the error."""
        made: Array = np.quantile(self.response + share * self.error, levels, axis=0)
        return made


def error_share(clock: Clock, temperature: Array, load: Array, n: int) -> float:
    """The share of the error that lost least over past stretches of `n` hours, spread over the seasons.

    A load model errs most in the weather it has seen least, and its scenarios are widest there: all of the errors of
    a season, added to each of its hours, can widen what is already wide. Without a past of two years it is 1.
    """
    losses = []
    begun = np.cumsum(np.isfinite(load))
    for k in range(TRIALS):
        at = len(load) - n - k * TRIAL_STEP_H
        if at < 0 or begun[at] < LEAST_YEARS * HOURS_A_YEAR:
            break
        known, then = np.arange(at), np.arange(at, at + n)
        made = Scenarios.of(clock.rows(known), temperature[:at], load[:at], clock.rows(then))
        lost = [pinball_by_level(made.quantiles(s, BOOSTED_LEVELS), load[then], BOOSTED_LEVELS) for s in SHARES]
        losses.append([float(np.nanmean(each)) for each in lost])
    return SHARES[int(np.argmin(np.mean(losses, axis=0)))] if losses else 1.0


def _season_errors(clock: Clock, error: Array, coming: Clock, count: int) -> Array:
    """Past errors (count, n) drawn for each hour of `coming` from the same hour of the day and season."""
    rng = np.random.default_rng(0)
    middle = coming.day_of_year[len(coming.hours) // 2]
    apart = np.abs((clock.day_of_year - middle + 182) % 365 - 182)
    near = np.isfinite(error) & (apart <= SEASON_DAYS)
    out = np.empty((count, len(coming.hours)))
    for hour in np.unique(coming.of_day):
        at = np.flatnonzero(coming.of_day == hour)
        out[:, at] = rng.choice(error[near & (clock.of_day == hour)], (count, len(at)))
    return out


def boosted_quantiles(clock: Clock, temperature: Array, load: Array, coming: Clock, levels: Sequence[float]) -> Array:
    """Quantiles (L, n) of boosters that learnt from as many hours ahead of earlier issues, one every n hours."""
    n, size = len(coming.hours), len(clock.hours)
    climate = Climate.of(clock.hours, temperature)
    z = (temperature - climate.mean(clock.hours)) / climate.deviation(clock.hours)
    fades = influence(z, -(-n // 24))
    issues = np.arange(size - n, 24 * SETTLING_DAYS - 1, -n)[::-1]
    rows = (issues[:, None] + np.arange(n)).ravel()
    origin = int(coming.hours[0])
    x = _direct_columns(clock.rows(rows), climate, recent(z, issues), fades, origin)
    model = trees.train(trees.TrainingSet(x, load[rows]), BOOSTED_LEVELS)
    made = model.predict(_direct_columns(coming, climate, recent(z, np.array([size])), fades, origin))
    return np.stack([np.interp(levels, BOOSTED_LEVELS, column) for column in made.T], axis=1)


def _direct_columns(clock: Clock, climate: Climate, departures: Array, fades: Array, origin_h: int) -> Array:
    """Columns of the hours of issues (I, n), row by row; `departures` (I, 3) are those at each issue."""
    n = len(clock.hours) // len(departures)
    day = np.arange(n) // 24
    expected = (departures @ fades.T)[:, day].ravel()
    mean, deviation = climate.mean(clock.hours), climate.deviation(clock.hours)
    return np.stack(
        [
            clock.of_day, clock.weekday, clock.day_of_year, clock.holiday, clock.beside,
            (clock.hours - origin_h) / HOURS_A_YEAR, np.tile(day, len(departures)), mean, deviation, expected,
            mean + deviation * expected, *np.repeat(departures, n, axis=0).T,
        ],
        axis=1,
    ).astype(float)  # fmt: skip
