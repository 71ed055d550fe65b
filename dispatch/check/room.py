"""A room, recomputed: C dT/dt = U (ambient - T) + gains -+ COP p, over a step of constant inputs:

T[t] = T_inf + (T[t-1] - T_inf) exp(-h U / C),     T_inf = ambient + (gains -+ COP p) / U

Walked in temperatures, not in contents; the content is the distance to `edge_c` times C.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpp.domain.time import Array

REPORTED_C = 1e-2


@dataclass(frozen=True)
class Room:
    """Capacity MWh_th/K, transmittance MW_th/K; `cools` or heats; `cop`, `ambient_c`, `gains_mw_th`, `hours` (T,)."""

    capacity: float
    transmittance: float
    edge_c: float
    cools: bool
    cop: Array
    ambient_c: Array
    gains_mw_th: Array
    hours: Array

    @property
    def _moves(self) -> Array:
        """Heat into the room per electricity, (T,)."""
        return -self.cop if self.cools else self.cop

    def start_c(self, stored_mwh: float) -> float:
        return self.edge_c - (stored_mwh if self.cools else -stored_mwh) / self.capacity

    def stored(self, indoor_c: Array) -> Array:
        """Contents (T,) at temperatures (T,)."""
        below: Array = (self.edge_c - indoor_c) * self.capacity
        return below if self.cools else -below

    def temperatures(self, stored_mwh: float, used_mw: Array) -> Array:
        """Temperature at each interval's end, (T,), of a room whose machine takes `used_mw` (T,)."""
        indoor, found = self.start_c(stored_mwh), np.empty(len(used_mw))
        settled = self.ambient_c + (self.gains_mw_th + self._moves * used_mw) / self.transmittance
        fades = np.exp(-self.hours * self.transmittance / self.capacity)
        for t, (final, fade) in enumerate(zip(settled, fades, strict=True)):
            indoor = final + (indoor - final) * fade
            found[t] = indoor
        return found

    def thermostat(self, stored_mwh: float, target_c: Array, most_mw: float) -> Array:
        """Power (T,) that ends each step on the good side of `target_c` (T,) where it suffices."""
        indoor, used = self.start_c(stored_mwh), np.empty(len(target_c))
        fades = np.exp(-self.hours * self.transmittance / self.capacity)
        for t, fade in enumerate(fades):
            final = (target_c[t] - indoor * fade) / (1.0 - fade)
            heat = self.transmittance * (final - self.ambient_c[t]) - self.gains_mw_th[t]
            used[t] = min(max(heat / self._moves[t], 0.0), most_mw)
            final = self.ambient_c[t] + (self.gains_mw_th[t] + self._moves[t] * used[t]) / self.transmittance
            indoor = final + (indoor - final) * fade
        return used


def linear_cop(cop_at_20c: float, slope_per_c: float, ambient_c: Array) -> Array:
    """(T,)."""
    return np.maximum(1.0, cop_at_20c + slope_per_c * (ambient_c - 20.0))
