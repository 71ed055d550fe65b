"""Time grids: aware UTC inside, half-open intervals, local time only for calendar days.

A local day has 92, 96 or 100 quarters, because its bounds are computed in local time and its
steps are counted in UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
QUARTER = timedelta(minutes=15)
MINUTE = timedelta(minutes=1)


def utc(moment: datetime) -> datetime:
    """`moment` in UTC. Raises ValueError for a naive time."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone")
    return moment.astimezone(UTC)


def rfc3339(moment: datetime) -> str:
    """`moment` as RFC 3339 in UTC with a trailing Z."""
    return utc(moment).isoformat().replace("+00:00", "Z")


def local_midnight(day: date, zone: str) -> datetime:
    """The first instant of the local `day`, in UTC."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def local_time(day: date, at: time, zone: str) -> datetime:
    """Local wall time `at` on `day`, in UTC."""
    return datetime.combine(day, at, ZoneInfo(zone)).astimezone(UTC)


def floor_to(moment: datetime, step: timedelta) -> datetime:
    """The last multiple of `step` since the epoch that is not after `moment`, in UTC."""
    seconds = int(step.total_seconds())
    return datetime.fromtimestamp(int(utc(moment).timestamp()) // seconds * seconds, UTC)


@dataclass(frozen=True)
class TimeGrid:
    """Consecutive intervals from `start`; `minutes[t]` is the length of interval t."""

    start: datetime
    minutes: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", utc(self.start))
        if not self.minutes or min(self.minutes) <= 0:
            raise ValueError("a time grid needs at least one interval of positive length")

    @classmethod
    def uniform(cls, start: datetime, step: timedelta, n: int) -> TimeGrid:
        """`n` intervals of length `step`."""
        return cls(start, (int(step.total_seconds()) // 60,) * n)

    @classmethod
    def between(cls, start: datetime, end: datetime, step: timedelta) -> TimeGrid:
        """Equal intervals that fill [start, end). Raises ValueError where they do not fit."""
        n, rest = divmod(utc(end) - utc(start), step)
        if rest:
            raise ValueError(f"{step} does not divide the time from {start} to {end}")
        return cls.uniform(start, step, n)

    @classmethod
    def local_day(cls, day: date, zone: str, step: timedelta = QUARTER) -> TimeGrid:
        """The local calendar `day`: 92, 96 or 100 quarters."""
        return cls.between(local_midnight(day, zone), local_midnight(day + timedelta(days=1), zone), step)

    @property
    def n(self) -> int:
        return len(self.minutes)

    @cached_property
    def hours(self) -> Array:
        """Length of each interval in hours, shape (n,)."""
        return np.asarray(self.minutes, dtype=float) / 60.0

    @cached_property
    def edges(self) -> tuple[datetime, ...]:
        """The n + 1 interval bounds."""
        offsets = np.concatenate([[0], np.cumsum(self.minutes)])
        return tuple(self.start + timedelta(minutes=int(m)) for m in offsets)

    @property
    def starts(self) -> tuple[datetime, ...]:
        return self.edges[:-1]

    @property
    def end(self) -> datetime:
        return self.edges[-1]

    def index_of(self, moment: datetime) -> int:
        """The interval that holds `moment`. Raises ValueError outside the grid."""
        if not self.start <= moment < self.end:
            raise ValueError(f"{moment} lies outside [{self.start}, {self.end})")
        return int(np.searchsorted(self._seconds, moment.timestamp(), side="right")) - 1

    @cached_property
    def _seconds(self) -> Array:
        return np.array([e.timestamp() for e in self.edges])

    def part(self, first: int, last: int) -> TimeGrid:
        """Intervals first..last-1 as a grid."""
        return TimeGrid(self.edges[first], self.minutes[first:last])

    def sample(self, source: TimeGrid, values: Array) -> Array:
        """`values` (..., source.n), means over the source's intervals, as means over this grid's.

        Energy-preserving; intervals outside the source are NaN. Returns (..., n).
        """
        at = self._seconds
        edges = source._seconds
        energy = np.concatenate(
            [np.zeros((*values.shape[:-1], 1)), np.cumsum(values * np.diff(edges), axis=-1)], axis=-1
        )
        low = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, source.n - 1)
        filled = np.take(energy, low, axis=-1) + np.take(values, low, axis=-1) * (at - edges[low])
        mean: Array = np.diff(filled, axis=-1) / np.diff(at)
        outside = (at[:-1] < edges[0]) | (at[1:] > edges[-1])
        mean[..., outside] = np.nan
        return mean


def mixed_grid(start: datetime, parts: Sequence[tuple[timedelta, datetime]]) -> TimeGrid:
    """Steps of each part's length from `start`, each part until its end; the last step may be shorter."""
    minutes: list[int] = []
    at = utc(start)
    for step, until in parts:
        while at < until:
            length = min(step, until - at)
            minutes.append(int(length.total_seconds()) // 60)
            at += length
    return TimeGrid(start, tuple(minutes))
