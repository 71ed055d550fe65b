"""The series the service may learn from: an archive that ends where live metering begins, then the meter.

Values after the cut exist only once a meter row brought them, so the future is not in this process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from vpp.domain.command import MeterRow
from vpp.domain.forecast import History, Series
from vpp.domain.time import QUARTER, Array, utc

PREFIX = "series:"
GROWTH = 96 * 40


class SeriesBook:
    """Mutable: rows are appended as the meter brings them."""

    def __init__(self, archive: Mapping[str, Series], cut: datetime) -> None:
        self.cut = utc(cut)
        self._series = {name: _cut(s, self.cut) for name, s in archive.items()}

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._series)

    def append(self, rows: Iterable[MeterRow]) -> None:
        """Takes the rows of points named `series:<id>`; others are not ours."""
        for row in rows:
            name = row.point.removeprefix(PREFIX)
            if row.point.startswith(PREFIX) and name in self._series:
                self._put(name, row.start, row.mw)

    def _put(self, name: str, start: datetime, value: float) -> None:
        series = self._series[name]
        at = (utc(start) - series.start) // QUARTER
        if at >= len(series.values):
            grown = np.concatenate([series.values, np.full(at + 1 - len(series.values) + GROWTH, np.nan)])
            series = self._series[name] = replace(series, values=grown)
        if at >= 0:
            series.values[at] = value

    def history(self, now: datetime) -> History:
        """What was known at `now`."""
        return History(utc(now), self._series)

    def window(self, name: str, now: datetime, span: timedelta) -> Array:
        """The last `span` of known values of one series."""
        known = self.history(now).until_known(name).values
        return known[-(span // QUARTER) :]


def _cut(series: Series, cut: datetime) -> Series:
    known = int(np.clip((cut - series.start) // QUARTER, 0, len(series.values)))
    values = np.full(max(len(series.values), known), np.nan)
    values[:known] = series.values[:known]
    return replace(series, values=values)
