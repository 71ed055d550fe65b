"""A class of thermostats: count units of unit_kw, each with its room, of which the plant lives the mean.

T += H / C * (U (ambient - T) + gains -+ COP P),  C and U those of all rooms together, 0 <= P <= count * unit_kw.
A unit that started less than min_on_min ago runs on, one that stopped less than min_off_min ago rests:
compressors refuse anything else. By themselves the units hold set_c; an order is followed while the mean stays
within band_c / 2 of it, at whose ends the thermostats take over again.
"""

from __future__ import annotations

from collections import deque

from pydantic import Field

from vpp.domain.command import Quantity
from vpp.plant.device import Inputs, Order, PhysicalParams, State, clip
from vpp.plant.devices.rooms import Mode, Room
from vpp.plant.making import Making

INPUTS: tuple[str, ...] = ("ambient_c", "gains_mw_th")
STORES = True
MOST_MIN = 120


class Params(PhysicalParams):
    """kW and kWh of one unit and its room, degrees Celsius, minutes."""

    mode: Mode = "cooling"
    count: int = Field(ge=1)
    unit_kw: float = Field(gt=0)
    cop_at_20c: float = Field(gt=0)
    cop_slope_per_c: float = 0.0
    unit_heat_capacity_kwh_th_per_c: float = Field(gt=0)
    unit_transmittance_kw_th_per_c: float = Field(gt=0)
    set_c: float
    band_c: float = Field(gt=0)
    min_on_min: float = Field(0.0, ge=0, le=MOST_MIN)
    min_off_min: float = Field(0.0, ge=0, le=MOST_MIN)


class Thermostats:
    """All units of the class."""

    accepts: frozenset[Quantity] = frozenset({"power_mw"})
    details: tuple[str, ...] = ("indoor_c", "running")

    def __init__(self, params: Params, state: State) -> None:
        self.params = params
        self.state = state
        self._all_mw = params.count * params.unit_kw / 1000.0
        self._changes: deque[float] = deque(maxlen=MOST_MIN)
        share = params.count / 1000.0
        capacity = share * params.unit_heat_capacity_kwh_th_per_c
        transmittance = share * params.unit_transmittance_kw_th_per_c
        edge = params.set_c + (0.5 if params.mode == "cooling" else -0.5) * params.band_c
        self._room = Room(params.mode, capacity, transmittance, edge)

    def step(self, order: Order | None, inputs: Inputs, minute: int) -> None:
        """Follow the set-point inside the comfort band and the minimum times, the thermostats without one."""
        p, state = self.params, self.state
        cop, ambient, gains = self._cop_at(inputs["ambient_c"]), inputs["ambient_c"], inputs["gains_mw_th"]
        indoor = self._room.indoor_c(state.stored_mwh)
        limits = (self._room.power_to(c, indoor, cop, ambient, gains) for c in (self._room.edge_c, self._far_c()))
        least, most = (clip(power, 0.0, self._all_mw) for power in limits)
        own = clip(self._room.power_to(p.set_c, indoor, cop, ambient, gains), 0.0, self._all_mw)
        wanted = clip(-order.value if order else own, least, max(least, most))
        held = sum(rise for rise in self._last(p.min_on_min) if rise > 0.0)
        free = self._all_mw + sum(fall for fall in self._last(p.min_off_min) if fall < 0.0)
        used = clip(wanted, clip(held, 0.0, self._all_mw), clip(free, 0.0, self._all_mw))
        self._changes.append(used + state.power_mw)
        state.stored_mwh = self._room.stored_mwh(self._room.after(indoor, cop, used, ambient, gains))
        state.power_mw = -used
        state.count(used > 0.0)

    def _last(self, minutes: float) -> list[float]:
        """Changes of power within the last `minutes`."""
        count = max(0, round(minutes) - 1)
        return list(self._changes)[-count:] if count else []

    def _far_c(self) -> float:
        """The limit of the band the units run towards."""
        return self._room.edge_c + self._room.sign * self.params.band_c

    def _cop_at(self, ambient_c: float) -> float:
        return max(1.0, self.params.cop_at_20c + self.params.cop_slope_per_c * (ambient_c - 20.0))

    def steady_mw(self, inputs: Inputs, minute: int) -> float:
        """The power that keeps the set-point."""
        ambient = inputs["ambient_c"]
        needed = self._room.power_at(self.params.set_c, self._cop_at(ambient), ambient, inputs["gains_mw_th"])
        return -clip(needed, 0.0, self._all_mw)

    def detail(self) -> tuple[float, ...]:
        return (self._room.indoor_c(self.state.stored_mwh), -self.state.power_mw * 1000.0 / self.params.unit_kw)


def build(making: Making) -> Thermostats:
    """From its parameters, in its initial state."""
    return Thermostats(Params.model_validate(making.params), making.state)
