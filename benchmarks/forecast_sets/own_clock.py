"""Series of the data sets on the service's axis of UTC quarters, read in each set's own clock.

An hourly value is the mean of its four quarters. A clock without daylight saving is carried as if it were UTC, with
the longitude moved by the clock's offset so that the sun stands right.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.forecast_sets.reading import BadSet, minutes
from forecasting.calendar import Calendar, Days, Index
from forecasting.meter_rows import placed
from forecasting.panel import Panel
from vpp.domain.time import Array


@dataclass(frozen=True)
class OwnClock:
    """One series, its calendar with two days beyond its end, and quarters a value."""

    panel: Panel
    days: Days
    step: int


def own_clock(
    name: str, start: Array | pd.Series[Any], values: Array, step: int,
    *, lower: float = 0.0, upper: float = np.inf, latitude: float = 50.0, longitude: float = 10.0,
    offset_h: float = 0.0, holidays: Callable[[int], frozenset[date]] = lambda year: frozenset(),
) -> OwnClock:  # fmt: skip
    """`values` (N,) of intervals that begin at `start` (N,) datetime64 and last `step` quarters.

    A gap is NaN, and so is an interval that is told twice with two values; faults are named on standard error.
    Raises BadSet where there is no row, or a stamp that does not begin a quarter.
    """
    if not len(start):
        raise BadSet(f"{name}: there are no rows")
    quarter: Index = minutes(name, start, 15) // 15
    each = (quarter[:, None] + np.arange(step)).ravel()
    rows = placed(name, each, np.repeat(values, step))
    for fault in rows.findings:
        begin, end = (np.datetime64(q * 900, "s") for q in (fault.start, fault.end))
        print(f"{name}: {fault.kind} from {begin} to {end}", file=sys.stderr)
    first, axis, n = rows.first, rows.values, len(rows.values)
    bounds = (np.array([lower]), np.array([upper]))
    panel = Panel((name,), first, axis[None], np.array([n]), np.array([0]), *bounds)
    calendar = Calendar("UTC", latitude, longitude - 15.0 * offset_h, holidays)
    return OwnClock(panel, calendar.days(first, n + 2 * 96), step)
