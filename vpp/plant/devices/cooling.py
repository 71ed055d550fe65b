"""Data-centre cooling with a cold store: s[t] = s[t-1]*(1 - loss*h) + h*(COP*P - heat), 0 <= s <= S.

COP = cop_at_20c + cop_slope_per_c*(ambient - 20), linear in the outdoor temperature (ASHRAE Handbook, Systems and
Equipment), at least 1. Inlet temperature: inlet_max - (inlet_max - inlet_min)*s/S.
Device protection holds the store inside its window: a chiller ordered too low is raised before the aisle
overheats, one ordered too high is throttled when the store is full. Only where full power does not suffice
does the content fall below zero and the inlet rise above its maximum. By default the content stays constant.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from vpp.domain.command import Quantity
from vpp.plant.device import HOURS, Inputs, Order, PhysicalParams, State, clip
from vpp.plant.making import Making

INPUTS: tuple[str, ...] = ("heat_mw_th", "ambient_c")
STORES = True


class Params(PhysicalParams):
    """Electric MW, thermal MW_th and MWh_th, degrees Celsius."""

    max_power_mw: float = Field(gt=0)
    min_power_mw: float = Field(0.0, ge=0)
    cop_at_20c: float = Field(gt=0)
    cop_slope_per_c: float = 0.0
    store_mwh_th: float = Field(gt=0)
    loss_per_h: float = Field(0.0, ge=0, lt=1)
    inlet_min_c: float
    inlet_max_c: float

    @model_validator(mode="after")
    def _range(self) -> Params:
        if self.min_power_mw > self.max_power_mw:
            raise ValueError("min_power_mw lies above max_power_mw")
        if self.inlet_min_c >= self.inlet_max_c:
            raise ValueError("inlet_min_c is not below inlet_max_c")
        return self


class Cooling:
    """One chiller with its chilled-water store."""

    accepts: frozenset[Quantity] = frozenset({"power_mw"})
    details: tuple[str, ...] = ("inlet_c", "cop")

    def __init__(self, params: Params, state: State) -> None:
        self.params = params
        self.state = state
        self._cop = params.cop_at_20c

    def step(self, order: Order | None, inputs: Inputs, minute: int) -> None:
        """Follow the set-point inside the band."""
        p, state = self.params, self.state
        self._cop = self._cop_at(inputs["ambient_c"])
        heat = inputs["heat_mw_th"]
        held = state.stored_mwh * (1.0 - p.loss_per_h * HOURS)
        to_empty = (heat - held / HOURS) / self._cop
        to_full = (heat + (p.store_mwh_th - held) / HOURS) / self._cop
        wanted = -order.value if order else -self.steady_mw(inputs, minute)
        used = clip(wanted, max(p.min_power_mw, to_empty), min(p.max_power_mw, max(to_full, 0.0)))
        state.stored_mwh = min(held + HOURS * (self._cop * used - heat), p.store_mwh_th)
        state.power_mw = -used
        state.count(used > 0.0)

    def _cop_at(self, ambient_c: float) -> float:
        return max(1.0, self.params.cop_at_20c + self.params.cop_slope_per_c * (ambient_c - 20.0))

    def steady_mw(self, inputs: Inputs, minute: int) -> float:
        """The power that keeps the content."""
        p = self.params
        losses = p.loss_per_h * max(self.state.stored_mwh, 0.0)
        needed = (inputs["heat_mw_th"] + losses) / self._cop_at(inputs["ambient_c"])
        return -clip(needed, p.min_power_mw, p.max_power_mw)

    def detail(self) -> tuple[float, ...]:
        p = self.params
        inlet = p.inlet_max_c - (p.inlet_max_c - p.inlet_min_c) * self.state.stored_mwh / p.store_mwh_th
        return (inlet, self._cop)


def build(making: Making) -> Cooling:
    """From its parameters, in its initial state."""
    return Cooling(Params.model_validate(making.params), making.state)
