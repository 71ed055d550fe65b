"""Thermal unit: a biomass plant or a gas engine without heat.

    on and off interlocked by min_up_h and min_down_h;   min <= p <= max while on
    -ramp_down <= p[t] - p[t-1] <= ramp_up per minute;   at most start_power after a start, stop_power before a stop

Limits as in B. Knueven, J. Ostrowski and J.-P. Watson, INFORMS Journal on Computing 32(4), 2020, minute by minute.
A set-point below half the minimum power means off. A unit above its stop power unloads to it first. By default it
unloads to minimum power and stops, or stays there if it must run; one that must run starts as soon as it may.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from vpp.domain.command import Quantity
from vpp.plant.device import Inputs, Order, PhysicalParams, State, clip, switchable
from vpp.plant.making import Making

INPUTS: tuple[str, ...] = ()
STORES = False


class Params(PhysicalParams):
    """MW, and MW per minute."""

    power_mw: float = Field(gt=0)
    min_power_mw: float = Field(ge=0)
    min_up_h: float = Field(0.0, ge=0)
    min_down_h: float = Field(0.0, ge=0)
    ramp_up_mw_per_min: float = Field(gt=0)
    ramp_down_mw_per_min: float = Field(gt=0)
    start_power_mw: float | None = Field(None, ge=0)
    stop_power_mw: float | None = Field(None, ge=0)
    must_run: bool = False

    @model_validator(mode="after")
    def _range(self) -> Params:
        if self.min_power_mw > self.power_mw:
            raise ValueError("min_power_mw lies above power_mw")
        return self


class Thermal:
    """One unit."""

    accepts: frozenset[Quantity] = frozenset({"power_mw"})
    details: tuple[str, ...] = ()

    def __init__(self, params: Params, state: State) -> None:
        self.params = params
        self.state = state

    def step(self, order: Order | None, inputs: Inputs, minute: int) -> None:
        """Move towards the set-point, or towards the default."""
        power = self._reachable(order.value if order else self.steady_mw(inputs, minute))
        self.state.power_mw = power
        self.state.count(power > 0.0)

    def _reachable(self, wanted_mw: float) -> float:
        p, state = self.params, self.state
        on = p.must_run or (wanted_mw > 0 and wanted_mw >= p.min_power_mw / 2)
        if on != state.on and not switchable(state, p.min_up_h, p.min_down_h):
            on = state.on
        lowest = max(p.min_power_mw, state.power_mw - p.ramp_down_mw_per_min)
        if not on:
            edge = p.ramp_down_mw_per_min if p.stop_power_mw is None else p.stop_power_mw
            return lowest if state.on and state.power_mw > max(edge, p.min_power_mw) else 0.0
        if state.on:
            return clip(max(wanted_mw, lowest), lowest, min(p.power_mw, state.power_mw + p.ramp_up_mw_per_min))
        edge = p.ramp_up_mw_per_min if p.start_power_mw is None else p.start_power_mw
        return clip(max(wanted_mw, p.min_power_mw), p.min_power_mw, min(p.power_mw, max(edge, p.min_power_mw)))

    def steady_mw(self, inputs: Inputs, minute: int) -> float:
        """Minimum power where it must run, else off."""
        return self.params.min_power_mw if self.params.must_run else 0.0

    def detail(self) -> tuple[float, ...]:
        return ()


def build(making: Making) -> Thermal:
    """From its parameters, in its initial state."""
    return Thermal(Params.model_validate(making.params), making.state)
