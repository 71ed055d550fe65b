"""CHP with heat store and boiler: s[t] = s[t-1]*(1 - loss*h) + h*(heat + boiler - demand), 0 <= s <= S.

heat = heat_mw_per_mw*p + heat_no_load*on with min <= p <= max while on (affine part-load model, e.g. Hawkes and
Leach, Energy 32(5), 2007). On and off are interlocked by min_up_h and min_down_h; while on, p moves by at most
ramp_mw_per_min; it starts at its minimum power and unloads to it before it stops.
A set-point below half the minimum power means off. Under a set-point the store serves first and the boiler
what is left; by default the unit follows the heat demand (off where that is below the heat at minimum power)
and the boiler keeps the store where it is. Heat is never dumped: a full store throttles the unit and, below its
minimum power, trips it, whatever the interlock says.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from vpp.domain.command import Quantity
from vpp.plant.device import HOURS, Inputs, Order, PhysicalParams, State, clip, switchable
from vpp.plant.making import Making

INPUTS: tuple[str, ...] = ("heat_demand_mw_th",)
STORES = True


class Params(PhysicalParams):
    """Electric MW, thermal MW_th and MWh_th."""

    power_mw: float = Field(gt=0)
    min_power_mw: float = Field(ge=0)
    heat_mw_per_mw: float = Field(ge=0)
    heat_no_load_mw: float = 0.0
    min_up_h: float = Field(0.0, ge=0)
    min_down_h: float = Field(0.0, ge=0)
    ramp_mw_per_min: float = Field(gt=0)
    boiler_mw_th: float = Field(ge=0)
    store_mwh_th: float = Field(ge=0)
    store_loss_per_h: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _range(self) -> Params:
        if self.min_power_mw > self.power_mw:
            raise ValueError("min_power_mw lies above power_mw")
        return self


class Chp:
    """One engine, its heat store and its boiler."""

    accepts: frozenset[Quantity] = frozenset({"power_mw"})
    details: tuple[str, ...] = ("boiler_mw_th", "heat_mw_th", "missed_mw_th")

    def __init__(self, params: Params, state: State) -> None:
        self.params = params
        self.state = state
        self._told = (0.0, 0.0, 0.0)

    def step(self, order: Order | None, inputs: Inputs, minute: int) -> None:
        """Move towards the set-point, or follow the heat."""
        p, state = self.params, self.state
        demand = inputs["heat_demand_mw_th"]
        held = state.stored_mwh * (1.0 - p.store_loss_per_h * HOURS)
        power = self._reachable(order.value if order else self.steady_mw(inputs, minute))
        most = self._power_for(demand + (p.store_mwh_th - held) / HOURS)
        power = min(power, most) if most >= p.min_power_mw else 0.0
        heat = self._heat(power) if power > 0 else 0.0
        from_store = held if order else held - min(state.stored_mwh, p.store_mwh_th)
        boiler = clip(demand - heat - from_store / HOURS, 0.0, p.boiler_mw_th)
        end = held + HOURS * (heat + boiler - demand)
        state.stored_mwh = max(end, 0.0)
        state.power_mw = power
        state.count(power > 0.0)
        self._told = (boiler, heat, max(-end, 0.0) / HOURS)

    def _heat(self, power_mw: float) -> float:
        return self.params.heat_mw_per_mw * power_mw + self.params.heat_no_load_mw

    def _power_for(self, heat_mw_th: float) -> float:
        """Power that makes this much heat, any power where heat does not depend on it."""
        p = self.params
        if p.heat_mw_per_mw > 0:
            return (heat_mw_th - p.heat_no_load_mw) / p.heat_mw_per_mw
        return p.power_mw if heat_mw_th >= p.heat_no_load_mw else 0.0

    def _reachable(self, wanted_mw: float) -> float:
        p, state = self.params, self.state
        on = wanted_mw > 0 and wanted_mw >= p.min_power_mw / 2
        if on != state.on and not switchable(state, p.min_up_h, p.min_down_h):
            on = state.on
        if not on:
            unloading = state.on and state.power_mw > p.min_power_mw + p.ramp_mw_per_min
            return state.power_mw - p.ramp_mw_per_min if unloading else 0.0
        target = clip(wanted_mw, p.min_power_mw, p.power_mw)
        if not state.on:
            return min(target, max(p.min_power_mw, p.ramp_mw_per_min))
        near = clip(target, state.power_mw - p.ramp_mw_per_min, state.power_mw + p.ramp_mw_per_min)
        return max(near, p.min_power_mw)

    def steady_mw(self, inputs: Inputs, minute: int) -> float:
        """Heat-led power."""
        p = self.params
        demand = inputs["heat_demand_mw_th"]
        if demand < self._heat(p.min_power_mw):
            return 0.0
        return clip(self._power_for(demand), p.min_power_mw, p.power_mw)

    def detail(self) -> tuple[float, ...]:
        return self._told


def build(making: Making) -> Chp:
    """From its parameters, in its initial state."""
    return Chp(Params.model_validate(making.params), making.state)
