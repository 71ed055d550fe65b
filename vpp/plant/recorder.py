"""What truly happened, minute by minute, for whoever evaluates the run afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vpp.domain.time import Array
from vpp.plant.device import Device
from vpp.plant.moments import MINUTE_S, text_of
from vpp.plant.spec import AssetSpec
from vpp.plant.truth import MINUTES, Truth


class Recorder:
    """Power, default power, content and on/off of each device in each minute since `first` (minutes since 1970)."""

    def __init__(self, assets: Sequence[AssetSpec], devices: Sequence[Device], first: int, minutes: int) -> None:
        self._assets, self._devices = assets, devices
        self._first = first
        self._until = first
        self._power = np.zeros((minutes, len(assets)))
        self._default = np.zeros((minutes, len(assets)))
        self._stored = np.zeros((minutes, len(assets)))
        self._on = np.zeros((minutes, len(assets)), dtype=np.int8)
        self._details = np.zeros((minutes, sum(len(d.details) for d in devices)))

    def record(self, minute: int, default_mw: Sequence[float]) -> None:
        """Take down the devices' states at the end of `minute`, and what each would have done by itself in it."""
        at = minute - self._first
        states = [d.state for d in self._devices]
        self._power[at] = [s.power_mw for s in states]
        self._default[at] = default_mw
        self._stored[at] = [s.stored_mwh for s in states]
        self._on[at] = [s.on for s in states]
        self._details[at] = [value for d in self._devices for value in d.detail()]
        self._until = minute + 1

    def mean_mw(self, first: int, last: int) -> Array:
        """Mean power of each device over minutes first..last-1, (N,)."""
        mean: Array = self._power[first - self._first : last - self._first].mean(axis=0)
        return mean

    def table(self, start_s: float, end_s: float, truth: Truth) -> dict[str, Any]:
        """Minutes of [start, end) that have passed: starts, then lists per asset and per series."""
        first = max(int(-(-start_s // MINUTE_S)), self._first)
        last = max(first, min(int(end_s // MINUTE_S), self._until))
        part = slice(first - self._first, last - self._first)
        power = self._power[part]
        tan_phi = np.array([a.tan_phi for a in self._assets])
        p, q = _series(truth, first, last)
        return {
            "starts": [text_of(m * MINUTE_S) for m in range(first, last)],
            "power_mw": self._columns(power),
            "default_mw": self._columns(self._default[part]),
            "q_mvar": self._columns(power * tan_phi),
            "stored_mwh": self._columns(self._stored[part]),
            "on": self._columns(self._on[part]),
            "detail": self._detail_columns(part),
            "series": dict(zip(truth.ids, p.tolist(), strict=True)),
            "q_series": dict(zip(truth.ids, q.tolist(), strict=True)),
        }

    def _columns(self, values: np.ndarray[Any, Any]) -> dict[str, list[float]]:
        return {a.id: column for a, column in zip(self._assets, values.T.tolist(), strict=True)}

    def _detail_columns(self, part: slice) -> dict[str, dict[str, list[float]]]:
        columns = iter(self._details[part].T.tolist())
        return {
            a.id: {name: next(columns) for name in d.details}
            for a, d in zip(self._assets, self._devices, strict=True)
            if d.details
        }


def _series(truth: Truth, first: int, last: int) -> tuple[Array, Array]:
    """Minute values p and q (S, minutes) of minutes first..last-1."""
    if first >= last:
        empty: Array = np.zeros((len(truth.ids), 0))
        return empty, empty
    quarters = range(first // MINUTES, -(-last // MINUTES))
    both = [truth.minutes(k) for k in quarters]
    skip = first - quarters.start * MINUTES
    part = slice(skip, skip + last - first)
    p, q = (np.concatenate([pair[i] for pair in both], axis=1)[:, part] for i in (0, 1))
    return p, q
