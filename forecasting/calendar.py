"""Local calendar and sun over UTC quarter-hours.

Time is counted in quarters since 1970-01-01T00:00Z. A local day is of one of three classes: workday,
Saturday, Sunday or holiday. Easter follows the anonymous Gregorian algorithm (Meeus, Astronomical
Algorithms, 1991, ch. 8). The sun's elevation e at latitude f, declination d and hour angle w is

    sin e = sin f sin d + cos f cos d cos w

with d and the equation of time by the Fourier series of Spencer (Search 2(5), 1971, p. 172), as printed in
NOAA's "General Solar Position Calculations"; its error is far below the sun's movement in a quarter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from vpp.domain.time import Array, utc

Index = NDArray[np.int64]
WORKDAY, SATURDAY, SUNDAY = 0, 1, 2
PER_DAY = 96
_EPOCH_DAY = date(1970, 1, 1)


def quarter_of(moment: datetime) -> int:
    """The number of the UTC quarter that holds `moment`. Raises ValueError for a naive time."""
    return int(utc(moment).timestamp()) // 900


def moment_of(quarter: int) -> datetime:
    """The start of a UTC quarter."""
    return datetime.fromtimestamp(quarter * 900, UTC)


def easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    m = (32 + 2 * e + 2 * i - h - k) % 7
    n = (a + 11 * h + 22 * m) // 451
    month, day = divmod(h + m - 7 * n + 114, 31)
    return date(year, month, day + 1)


def german_holidays(year: int) -> frozenset[date]:
    """Holidays of all German states."""
    fixed = ((1, 1), (5, 1), (10, 3), (12, 25), (12, 26))
    moving = (-2, 1, 39, 50)
    return frozenset(
        [date(year, m, d) for m, d in fixed] + [easter(year) + timedelta(days=offset) for offset in moving]
    )


def solar_elevation_deg(quarters: Index, latitude: float, longitude: float) -> Array:
    """Elevation of the sun in degrees in the middle of each UTC quarter; longitude positive east."""
    seconds = quarters * 900.0 + 450.0
    year_start = quarters.astype("datetime64[s]")
    days = (quarters // PER_DAY).astype("datetime64[D]")
    year_start = days.astype("datetime64[Y]").astype("datetime64[D]")
    hour = seconds % 86400.0 / 3600.0
    g = 2 * np.pi / 365.0 * ((days - year_start).astype(float) + (hour - 12.0) / 24.0)
    declination = (
        0.006918 - 0.399912 * np.cos(g) + 0.070257 * np.sin(g) - 0.006758 * np.cos(2 * g)
        + 0.000907 * np.sin(2 * g) - 0.002697 * np.cos(3 * g) + 0.00148 * np.sin(3 * g)
    )  # fmt: skip
    equation_min = 229.18 * (
        0.000075 + 0.001868 * np.cos(g) - 0.032077 * np.sin(g) - 0.014615 * np.cos(2 * g) - 0.040849 * np.sin(2 * g)
    )
    hour_angle = np.deg2rad((hour * 60.0 + equation_min + 4.0 * longitude) / 4.0 - 180.0)
    f = np.deg2rad(latitude)
    sine = np.sin(f) * np.sin(declination) + np.cos(f) * np.cos(declination) * np.cos(hour_angle)
    elevation: Array = np.rad2deg(np.arcsin(np.clip(sine, -1.0, 1.0)))
    return elevation


@dataclass(frozen=True)
class Days:
    """Calendar columns of consecutive UTC quarters from `first`, all of shape (n,).

    `offset` is local minus UTC time in quarters, `of_day` the local quarter of the day (0..95),
    `weekday` Monday 0, holidays as Sunday 6; `elevation_deg` the sun's.
    """

    first: int
    offset: Index
    of_day: Index
    weekday: Index
    day_class: Index
    day_of_year: Index
    elevation_deg: Array

    def lagged(self, at: Index, days: Index) -> Index:
        """Positions of the same local quarter `days` days before positions `at` (both broadcast).

        Positions before the first column come out negative or clipped to its offset.
        """
        back = at - PER_DAY * days
        shifted: Index = back + self.offset[at] - self.offset[np.clip(back, 0, len(self.offset) - 1)]
        return shifted


@dataclass(frozen=True)
class Calendar:
    """Where and when: time zone, position (degrees, east positive), holidays of a year."""

    zone: str = "Europe/Berlin"
    latitude: float = 53.6
    longitude: float = 11.4
    holidays: Callable[[int], frozenset[date]] = german_holidays

    def days(self, first: int, n: int) -> Days:
        """Columns for `n` UTC quarters from quarter number `first`."""
        return _days(self, first, n)


@lru_cache(maxsize=16)
def _days(calendar: Calendar, first: int, n: int) -> Days:
    quarters = np.arange(first, first + n, dtype=np.int64)
    zone = ZoneInfo(calendar.zone)
    hours = np.arange(first // 4, (first + n - 1) // 4 + 1)
    offsets = [datetime.fromtimestamp(int(h) * 3600, zone).utcoffset() for h in hours]
    hourly = np.array([int((o or timedelta()).total_seconds()) // 900 for o in offsets], dtype=np.int64)
    offset = hourly[quarters // 4 - first // 4]
    day, of_day = np.divmod(quarters + offset, PER_DAY)
    unique, where = np.unique(day, return_inverse=True)
    dates = [_EPOCH_DAY + timedelta(days=int(d)) for d in unique]
    weekday = np.array([6 if d in calendar.holidays(d.year) else d.weekday() for d in dates], dtype=np.int64)[where]
    day_class = np.where(weekday < 5, WORKDAY, np.where(weekday == 5, SATURDAY, SUNDAY))
    of_year = np.array([d.timetuple().tm_yday for d in dates], dtype=np.int64)[where]
    elevation = solar_elevation_deg(quarters, calendar.latitude, calendar.longitude)
    return Days(first, offset, of_day, weekday, day_class, of_year, elevation)
