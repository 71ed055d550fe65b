"""Quarter-hour meters: the mean power of each metering point and the value of each series.

Before the plant's start every device is taken at its default behaviour under the true series. A quarter in
which a series behind a metering point has a gap has no row.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from vpp.domain.time import Array
from vpp.plant.conditions import Conditions
from vpp.plant.fleet import Fleet
from vpp.plant.moments import QUARTER_S, text_of
from vpp.plant.spec import Spec
from vpp.plant.truth import MINUTES

Row = tuple[str, str, int, float]


class Meters:
    """Rows of ended quarters, from `first` (quarters since the Unix epoch)."""

    def __init__(self, spec: Spec, fleet: Fleet, conditions: Conditions) -> None:
        self._conditions = conditions
        self._truth = conditions.truth
        self.points = tuple(dict.fromkeys(a.metering_point for a in spec.assets))
        self._point_of = np.array([self.points.index(a.metering_point) for a in spec.assets])
        self.start = int(spec.start.timestamp()) // QUARTER_S
        self.first = max(_history_start(spec), self._truth.first)
        end = int(spec.end.timestamp()) // QUARTER_S
        self._mw = np.full((end - self.first, len(self.points)), np.nan)
        self.until = self.first
        for k in range(self.first, self.start):
            inputs = conditions.quarter(k)
            self.record(k, np.array([d.steady_mw(i, k * MINUTES) for d, i in zip(fleet.devices, inputs, strict=True)]))

    def record(self, k: int, mean_mw: Array) -> None:
        """Close quarter `k` with the mean of each device, MW (N,)."""
        row = np.zeros(len(self.points))
        np.add.at(row, self._point_of, mean_mw)
        for device, point in enumerate(self._point_of):
            if self._conditions.gap(device, k):
                row[point] = np.nan
        self._mw[k - self.first] = row
        self.until = k + 1

    def rows(self, start_s: float, end_s: float) -> Iterator[Row]:
        """(point, start, minutes, MW or per unit) of ended quarters that lie in [start, end)."""
        first = max(int(-(-start_s // QUARTER_S)), self.first)
        for k in range(first, min(int(end_s // QUARTER_S), self.until)):
            at = text_of(k * QUARTER_S)
            for point, mw in zip(self.points, self._mw[k - self.first].tolist(), strict=True):
                if mw == mw:
                    yield point, at, 15, mw
            column = self._truth.measured[:, k - self._truth.first].tolist()
            for series, value in zip(self._truth.ids, column, strict=True):
                if value == value:
                    yield f"series:{series}", at, 15, value


def _history_start(spec: Spec) -> int:
    """The quarter `history_days` local calendar days before the plant's start."""
    local = spec.start.astimezone(ZoneInfo(spec.zone)).replace(tzinfo=None) - timedelta(days=spec.history_days)
    begin: datetime = local.replace(tzinfo=ZoneInfo(spec.zone)).astimezone(UTC)
    return int(begin.timestamp()) // QUARTER_S
