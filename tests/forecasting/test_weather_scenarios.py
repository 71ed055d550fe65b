"""Temperature paths, the load model they are played through, and the months forecast with both."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from forecasting import stations
from forecasting.month_ahead import Past, Scenarios, error_share, month_ahead
from forecasting.temperature import exponential_mean
from forecasting.temperature_load import Clock, Weather, fitted, spline
from forecasting.weather_scenarios import Climate, influence, paths, replay_starts
from vpp.domain.errors import LookAhead

YEARS = 4
FIRST = int(np.datetime64("2017-01-01T00", "h").astype(np.int64))
HOURS = FIRST + np.arange(24 * 365 * YEARS)
AHEAD = HOURS[-1] + 1 + np.arange(24 * 14)
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def no_holidays(year: int) -> frozenset:
    return frozenset()


def made_temperature(seed: int = 3, persistence: float = 0.7) -> np.ndarray:
    """Degrees with a year, a day and weather that fades by `persistence` a day."""
    rng = np.random.default_rng(seed)
    days = len(HOURS) // 24 + 1
    weather = np.zeros(days)
    for d in range(1, days):
        weather[d] = persistence * weather[d - 1] + 4 * np.sqrt(1 - persistence**2) * rng.standard_normal()
    hour = np.arange(len(HOURS))
    season = 12 - 12 * np.cos(2 * np.pi * HOURS / (24 * 365.2425))
    return season + 3 * np.sin(2 * np.pi * (HOURS % 24 - 9) / 24) + np.interp(hour / 24, np.arange(days), weather)


def made_load(temperature: np.ndarray, per_degree: float, seed: int = 4) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(len(HOURS))
    working = 10.0 * ((HOURS // 24 + 3) % 7 < 5)
    return 100 + working + 20 * np.sin(2 * np.pi * HOURS / 24) + per_degree * np.abs(temperature - 12) + noise


@pytest.fixture(scope="module")
def temperature() -> np.ndarray:
    return made_temperature()


@pytest.fixture(scope="module")
def past(temperature: np.ndarray) -> Past:
    other = made_temperature(seed=8)
    return Past(HOURS, made_load(temperature, 1.5), np.stack([other, temperature], axis=1), no_holidays)


def test_an_exponential_mean_is_its_recursion() -> None:
    values = np.array([4.0, 8.0, np.nan, 6.0])
    share = 1 - np.exp(-1 / 2.0)
    expected, state = [], 4.0
    for value in (4.0, 8.0, 8.0, 6.0):
        state += share * (value - state)
        expected.append(state)
    assert exponential_mean(values, 2.0) == pytest.approx(expected)
    assert np.isnan(exponential_mean(np.array([np.nan, 5.0]), 2.0)[0])


def test_the_spline_is_straight_outside_its_knots() -> None:
    knots = np.array([0.0, 1.0, 3.0, 4.0])
    outside = spline(np.array([5.0, 6.0, 7.0, -3.0, -2.0, -1.0]), knots)
    assert np.diff(outside[:3], 2, axis=0) == pytest.approx(np.zeros((1, 3)), abs=1e-9)
    assert np.diff(outside[3:], 2, axis=0) == pytest.approx(np.zeros((1, 3)), abs=1e-9)
    assert np.abs(np.diff(spline(np.linspace(0, 4, 9), knots)[:, 1], 2)).max() > 0.01


def test_the_load_model_finds_the_response_it_was_made_with(temperature: np.ndarray) -> None:
    clock, weather = Clock.of(HOURS, no_holidays), Weather.of(temperature[:, None], len(HOURS))
    train, later = np.arange(24 * 365 * 3), np.arange(24 * 365 * 3, len(HOURS))
    load = made_load(temperature, 1.5)
    model = fitted(clock.rows(train), weather.rows(train), load[train])
    error = model.predict(clock.rows(later), weather.rows(later)) - load[later]
    assert np.sqrt(np.mean(error**2)) < 1.4
    assert np.std(load[later]) > 10


def test_paths_begin_at_the_present_and_forget_it() -> None:
    temperature = made_temperature()
    warm = temperature.copy()
    warm[-24 * 5 :] += 10.0
    first, last = slice(0, 24), slice(-48, None)
    calm, hot = paths(HOURS, temperature, AHEAD), paths(HOURS, warm, AHEAD)
    assert (hot[:, first].mean() - calm[:, first].mean()) > 4.0
    assert abs(hot[:, last].mean() - calm[:, last].mean()) < 1.5
    assert calm[:, first].std(axis=0).mean() < calm[:, last].std(axis=0).mean()


def test_paths_have_the_climate_and_its_spread(temperature: np.ndarray) -> None:
    made = paths(HOURS, temperature, AHEAD)[:, 24 * 7 :]
    climate = Climate.of(HOURS, temperature)
    assert made.mean() == pytest.approx(climate.mean(AHEAD[24 * 7 :]).mean(), abs=1.5)
    assert made.std(axis=0).mean() == pytest.approx(4.0, abs=1.0)


def test_departures_fade_as_the_weather_does(temperature: np.ndarray) -> None:
    z = (temperature - Climate.of(HOURS, temperature).mean(HOURS)) / 4.0
    fade = influence(z, 14)
    assert fade[0].sum() > 0.4
    assert np.abs(fade[-1].sum()) < 0.35
    assert fade[0, 0] > fade[3, 0] > fade[10, 0] - 0.05


def test_replays_lie_in_earlier_years_of_the_same_season() -> None:
    starts = replay_starts(HOURS, AHEAD)
    assert starts.max() + len(AHEAD) <= len(HOURS)
    months = (HOURS[starts]).astype("M8[h]").astype("M8[M]").astype(int) % 12
    assert set(months.tolist()) <= {11, 0}
    assert len(starts) >= 16 * (YEARS - 1)


def test_paths_need_an_earlier_year(temperature: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no earlier year"):
        paths(HOURS[-24 * 100 :], temperature[-24 * 100 :], AHEAD)


def test_a_load_that_ignores_the_weather_has_only_its_errors_as_spread(temperature: np.ndarray) -> None:
    clock, coming = Clock.of(HOURS, no_holidays), Clock.of(AHEAD, no_holidays)
    calm = Scenarios.of(clock, temperature, made_load(temperature, 0.0), coming)
    moved = Scenarios.of(clock, temperature, made_load(temperature, 2.0), coming)
    assert calm.response.std(axis=0).mean() < 0.4
    assert moved.response.std(axis=0).mean() > 4.0
    with_errors = calm.quantiles(1.0, LEVELS)
    assert np.mean(with_errors[-1] - with_errors[0]) == pytest.approx(2 * 1.645, rel=0.12)


def test_errors_grow_with_the_load_and_stay_bounded_where_there_is_almost_none(temperature: np.ndarray) -> None:
    clock, coming = Clock.of(HOURS, no_holidays), Clock.of(AHEAD, no_holidays)
    night = np.isin(HOURS % 24, (1, 2, 3))
    load = np.where(night, 0.0, 100.0) * (1 + 0.05 * np.random.default_rng(6).standard_normal(len(HOURS)))
    made = Scenarios.of(clock, temperature, load, coming)
    dark = np.isin(AHEAD % 24, (1, 2, 3))
    assert made.error[:, ~dark].std() == pytest.approx(5.0, rel=0.15)
    assert np.abs(made.error[:, dark]).max() < 1.0


def test_errors_are_added_in_full_where_they_are_all_there_is(temperature: np.ndarray) -> None:
    clock = Clock.of(HOURS, no_holidays)
    assert error_share(clock, temperature, made_load(temperature, 0.0), 24 * 14) == 1.0


def test_errors_are_added_in_full_without_a_past_to_try_them_on(temperature: np.ndarray) -> None:
    last = np.arange(len(HOURS) - 24 * 400, len(HOURS))
    clock = Clock.of(HOURS[last], no_holidays)
    assert error_share(clock, temperature[last], made_load(temperature, 2.0)[last], 24 * 14) == 1.0


def test_the_station_that_drives_the_load_is_chosen(past: Past) -> None:
    found = stations.chosen(Clock.of(past.hours, no_holidays), past.stations, past.load)
    assert found.tolist() == [1]


def test_quantiles_of_a_month_do_not_cross_and_cover_the_truth(past: Past) -> None:
    known = np.arange(len(HOURS)) < len(HOURS) - 24 * 14
    cut = Past(HOURS[known], past.load[known], past.stations[known], no_holidays)
    made = month_ahead(cut, HOURS[~known], LEVELS)
    assert made.shape == (5, 24 * 14)
    assert (np.diff(made, axis=0) >= 0).all()
    inside = (past.load[~known] >= made[0]) & (past.load[~known] <= made[-1])
    assert inside.mean() > 0.6


def test_a_past_that_reaches_into_the_asked_hours_is_refused(past: Past) -> None:
    with pytest.raises(LookAhead, match="336 hours"):
        month_ahead(past, HOURS[-24 * 14 :], LEVELS)


def test_hours_with_a_hole_and_stations_with_gaps_are_refused(past: Past) -> None:
    keep = np.arange(len(HOURS)) != 500
    with pytest.raises(ValueError, match="follow each other"):
        Past(HOURS[keep], past.load[keep], past.stations[keep], no_holidays)
    gappy = past.stations.copy()
    gappy[7, 0] = np.nan
    with pytest.raises(ValueError, match="gaps"):
        dataclasses.replace(past, stations=gappy)
