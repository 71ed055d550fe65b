"""Calendar: local days, holidays and the sun."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pytest

from forecasting.calendar import Calendar, easter, german_holidays, moment_of, quarter_of, solar_elevation_deg


@pytest.mark.parametrize(("year", "month", "day"), [(2016, 3, 27), (2019, 4, 21), (2024, 3, 31), (2038, 4, 25)])
def test_easter(year: int, month: int, day: int) -> None:
    assert easter(year) == date(year, month, day)


def test_holidays_of_2016() -> None:
    assert {date(2016, 3, 25), date(2016, 3, 28), date(2016, 5, 5), date(2016, 5, 16)} < german_holidays(2016)
    assert len(german_holidays(2016)) == 9


def test_quarters_round_trip_and_naive_times_are_refused() -> None:
    moment = datetime(2016, 7, 11, 8, 15, tzinfo=UTC)
    assert moment_of(quarter_of(moment)) == moment
    with pytest.raises(ValueError, match="time zone"):
        quarter_of(datetime(2016, 7, 11))


@pytest.mark.parametrize(
    ("day", "length", "holiday"), [(datetime(2016, 3, 26, 23), 92, True), (datetime(2016, 10, 29, 22), 100, False)]
)
def test_a_local_day_of_changing_clocks(day: datetime, length: int, holiday: bool) -> None:
    first = quarter_of(day.replace(tzinfo=UTC))
    days = Calendar().days(first, 110)
    assert days.of_day[0] == 0
    assert days.of_day[length] == 0
    assert days.weekday[length - 1] == 6
    assert days.weekday[length] == (6 if holiday else 0)


def test_lag_keeps_the_local_quarter_over_the_clock_change() -> None:
    first = quarter_of(datetime(2016, 3, 20, 23, tzinfo=UTC))
    days = Calendar().days(first, 96 * 12)
    at = np.arange(96 * 9, 96 * 10)
    for lag in (1, 2, 7):
        back = days.lagged(at, np.array(lag))
        assert (days.of_day[back] == days.of_day[at]).all()


def test_holidays_count_as_sundays() -> None:
    days = Calendar().days(quarter_of(datetime(2016, 5, 4, 22, tzinfo=UTC)), 96)
    assert set(days.weekday) == {6}
    assert set(days.day_class) == {2}


def test_sun_at_solstice_and_equinox() -> None:
    year = np.arange(quarter_of(datetime(2016, 1, 1, tzinfo=UTC)), quarter_of(datetime(2017, 1, 1, tzinfo=UTC)))
    elevation = solar_elevation_deg(year, 53.6, 11.4)
    assert elevation.max() == pytest.approx(90 - 53.6 + 23.44, abs=0.1)
    assert elevation.min() == pytest.approx(-(90 - 53.6) - 23.44, abs=0.1)
    noon = elevation[quarter_of(datetime(2016, 3, 20, tzinfo=UTC)) - year[0] :][:96].max()
    assert noon == pytest.approx(90 - 53.6, abs=0.4)
    june = quarter_of(datetime(2016, 6, 21, 11, 15, tzinfo=UTC))
    assert abs(int(np.argmax(elevation)) + int(year[0]) - june) % 96 in (0, 1, 95)
