"""What surrounds each device, quarter by quarter and minute by minute: its inputs."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from vpp.domain.time import Array
from vpp.plant.moments import QUARTER_S
from vpp.plant.spec import InputSpec, Spec
from vpp.plant.truth import MINUTES, Truth


class Conditions:
    """Inputs of every device, from the true series and the values by local hour."""

    def __init__(self, spec: Spec, truth: Truth) -> None:
        self.truth = truth
        self._zone = ZoneInfo(spec.zone)
        self._inputs = [tuple(a.inputs.items()) for a in spec.assets]
        self._series = [tuple(i.series for i in a.inputs.values() if i.series) for a in spec.assets]

    def quarter(self, k: int) -> list[dict[str, float]]:
        """Mean inputs of each device over quarter `k`."""
        row, hour = self.truth.quarter(k), self._hour(k)
        return [{name: self._value(i, row, hour) for name, i in inputs} for inputs in self._inputs]

    def minutes(self, k: int) -> list[list[dict[str, float]]]:
        """Inputs of each device in each of the 15 minutes of quarter `k`, [minute][device]."""
        p, _ = self.truth.minutes(k)
        hour = self._hour(k)
        columns = [p[:, m] for m in range(MINUTES)]
        return [
            [{name: self._value(i, column, hour) for name, i in inputs} for inputs in self._inputs]
            for column in columns
        ]

    def gap(self, device: int, k: int) -> bool:
        """Whether a series behind the device has no value in quarter `k`, so that its meter has none."""
        return any(self.truth.gap(s, k) for s in self._series[device])

    def _hour(self, k: int) -> int:
        return datetime.fromtimestamp(k * QUARTER_S, UTC).astimezone(self._zone).hour

    def _value(self, source: InputSpec, row: Array, hour: int) -> float:
        if source.series is None:
            return source.scale * source.hourly[hour]
        return source.scale * float(row[self.truth.index[source.series]])
