"""A room of one heat capacity, minute by minute: T += H / C * (U (ambient - T) + gains + moved).

H is one minute, short against the hours C / U of a room, so the explicit step will do (as in Callaway, Energy
Conversion and Management 50(5), 2009). `moved` is the heat the machine brings: COP * P, negative where it cools.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vpp.plant.device import HOURS

Mode = Literal["cooling", "heating"]


@dataclass(frozen=True, slots=True)
class Room:
    """MWh_th/K and MW_th/K; the content is 0 at `edge_c` and counts what the machine has done beyond it."""

    mode: Mode
    capacity: float
    transmittance: float
    edge_c: float

    @property
    def sign(self) -> float:
        """Heat into the room per heat moved."""
        return -1.0 if self.mode == "cooling" else 1.0

    def indoor_c(self, stored_mwh: float) -> float:
        """Temperature at a content."""
        return self.edge_c + self.sign * stored_mwh / self.capacity

    def stored_mwh(self, indoor_c: float) -> float:
        """Content at a temperature."""
        return self.sign * (indoor_c - self.edge_c) * self.capacity

    def after(self, indoor_c: float, cop: float, used_mw: float, ambient_c: float, gains_mw_th: float) -> float:
        """Temperature a minute later."""
        flow = self.transmittance * (ambient_c - indoor_c) + gains_mw_th + self.sign * cop * used_mw
        return indoor_c + HOURS * flow / self.capacity

    def power_to(self, target_c: float, indoor_c: float, cop: float, ambient_c: float, gains_mw_th: float) -> float:
        """Power that is at `target_c` a minute later; negative where the room gets beyond it by itself."""
        flow = (target_c - indoor_c) * self.capacity / HOURS
        return self.sign * (flow - self.transmittance * (ambient_c - indoor_c) - gains_mw_th) / cop

    def power_at(self, indoor_c: float, cop: float, ambient_c: float, gains_mw_th: float) -> float:
        """Power that keeps `indoor_c`."""
        return self.power_to(indoor_c, indoor_c, cop, ambient_c, gains_mw_th)
