"""HVAC of a building: one room of heat capacity C and transmittance U, cooled or heated by 0 <= P <= P_max.

T += H / C * (U (ambient - T) + internal + solar -+ COP P),  COP = cop_at_20c + cop_slope_per_c * (ambient - 20) >= 1.
Its thermostat works at the edge of the band of the occupancy: as little as keeps the building from getting too
warm (too cold). An order is followed inside the setback band, at whose limits the thermostat takes over.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from vpp.domain.command import Quantity
from vpp.plant.device import Inputs, Order, PhysicalParams, State, clip
from vpp.plant.devices.rooms import Mode, Room
from vpp.plant.making import Making

INPUTS: tuple[str, ...] = ("ambient_c", "internal_mw_th", "solar_mw_th", "occupancy")
STORES = True


class Params(PhysicalParams):
    """Electric MW, thermal MWh_th/K and MW_th/K, degrees Celsius."""

    mode: Mode = "cooling"
    max_power_mw: float = Field(gt=0)
    cop_at_20c: float = Field(gt=0)
    cop_slope_per_c: float = 0.0
    heat_capacity_mwh_th_per_c: float = Field(gt=0)
    transmittance_mw_th_per_c: float = Field(gt=0)
    comfort_min_c: float
    comfort_max_c: float
    setback_min_c: float
    setback_max_c: float

    @model_validator(mode="after")
    def _range(self) -> Params:
        if not self.setback_min_c <= self.comfort_min_c < self.comfort_max_c <= self.setback_max_c:
            raise ValueError("the comfort band does not lie inside the setback band")
        return self


class Hvac:
    """One building."""

    accepts: frozenset[Quantity] = frozenset({"power_mw"})
    details: tuple[str, ...] = ("indoor_c", "cop")

    def __init__(self, params: Params, state: State) -> None:
        self.params = params
        self.state = state
        self._cop = params.cop_at_20c
        edge = params.setback_max_c if params.mode == "cooling" else params.setback_min_c
        self._room = Room(params.mode, params.heat_capacity_mwh_th_per_c, params.transmittance_mw_th_per_c, edge)

    def step(self, order: Order | None, inputs: Inputs, minute: int) -> None:
        """Follow the set-point inside the setback band, the thermostat without one."""
        p, state = self.params, self.state
        ambient, gains = inputs["ambient_c"], inputs["internal_mw_th"] + inputs["solar_mw_th"]
        self._cop = self._cop_at(ambient)
        indoor = self._room.indoor_c(state.stored_mwh)
        limits = (self._room.power_to(c, indoor, self._cop, ambient, gains) for c in self._ends())
        least, most = (clip(power, 0.0, p.max_power_mw) for power in limits)
        own = self._room.power_to(self._edge_c(inputs["occupancy"]), indoor, self._cop, ambient, gains)
        wanted = -order.value if order else clip(own, 0.0, p.max_power_mw)
        used = clip(wanted, least, most) if least <= most else least
        state.stored_mwh = self._room.stored_mwh(self._room.after(indoor, self._cop, used, ambient, gains))
        state.power_mw = -used
        state.count(used > 0.0)

    def _ends(self) -> tuple[float, float]:
        """The setback limit the machine works against, and the one it works towards."""
        p = self.params
        warm, cold = p.setback_max_c, p.setback_min_c
        return (warm, cold) if p.mode == "cooling" else (cold, warm)

    def _edge_c(self, occupancy: float) -> float:
        """Where the thermostat works at an occupancy."""
        p, there = self.params, clip(occupancy, 0.0, 1.0)
        day, night = (p.comfort_max_c, p.setback_max_c) if p.mode == "cooling" else (p.comfort_min_c, p.setback_min_c)
        return night + there * (day - night)

    def _cop_at(self, ambient_c: float) -> float:
        return max(1.0, self.params.cop_at_20c + self.params.cop_slope_per_c * (ambient_c - 20.0))

    def steady_mw(self, inputs: Inputs, minute: int) -> float:
        """The power that keeps the edge of the band."""
        gains, ambient = inputs["internal_mw_th"] + inputs["solar_mw_th"], inputs["ambient_c"]
        needed = self._room.power_at(self._edge_c(inputs["occupancy"]), self._cop_at(ambient), ambient, gains)
        return -clip(needed, 0.0, self.params.max_power_mw)

    def detail(self) -> tuple[float, ...]:
        return (self._room.indoor_c(self.state.stored_mwh), self._cop)


def build(making: Making) -> Hvac:
    """From its parameters, in its initial state."""
    return Hvac(Params.model_validate(making.params), making.state)
