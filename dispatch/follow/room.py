"""Rooms: the wished power as far as the temperature stays inside its band.

Stated in contents: with g = tau (1 - k) a MW_th through a step adds g, and a content fades by k = exp(-h / tau).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpp.domain.time import Array


@dataclass(frozen=True)
class Room:
    """`load_mw_th` (T,) is what the room loses at the content 0; `cop` (T,); `capacity` MWh_th/K, `rate` 1/h."""

    capacity: float
    rate_per_h: float
    edge_c: float
    sign: float
    cop: Array
    load_mw_th: Array
    hours: Array

    @classmethod
    def of(
        cls, cools: bool, capacity: float, transmittance: float, edge_c: float, cop: Array, ambient_c: Array,
        gains_mw_th: Array, hours: Array,
    ) -> Room:  # fmt: skip
        """From the parameters of the equation; cold is useful where it `cools`."""
        sign = 1.0 if cools else -1.0
        load = sign * (transmittance * (ambient_c - edge_c) + gains_mw_th)
        return cls(capacity, transmittance / capacity, edge_c, sign, cop, load, hours)

    def content(self, indoor_c: Array | float) -> Array:
        """MWh_th at a temperature."""
        return np.asarray(self.sign * self.capacity * (self.edge_c - np.asarray(indoor_c, dtype=float)))

    def indoor(self, content: Array) -> Array:
        """Degrees at contents (T,)."""
        return np.asarray(self.edge_c - self.sign * content / self.capacity)

    def after(self, content: float, used_mw: float, t: int) -> float:
        """Content at the end of step t."""
        fade = float(np.exp(-self.hours[t] * self.rate_per_h))
        return content * fade + (1.0 - fade) / self.rate_per_h * float(self.cop[t] * used_mw - self.load_mw_th[t])

    def power_to(self, content: float, target: float, t: int) -> float:
        """Power that ends step t at `target`; negative where the room gets there by itself."""
        fade = float(np.exp(-self.hours[t] * self.rate_per_h))
        gain = (1.0 - fade) / self.rate_per_h
        return float((target - content * fade + gain * self.load_mw_th[t]) / (gain * self.cop[t]))
