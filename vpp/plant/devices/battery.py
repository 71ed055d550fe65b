"""Battery: e[t] = e[t-1]*(1 - loss*h) + h*(eta_c*c[t] - d[t]/eta_d), soc_min*E <= e <= soc_max*E,
charging power at most P*(1 - e[t]/E)/(1 - taper_from_soc) (constant-voltage phase as a line in the content).

Energy-reservoir model with constant efficiencies (e.g. Pozo, Contreras, Sauma, IEEE Trans. Power Syst. 29(6),
2014). One terminal: it charges (c) or discharges (d), never both. It reaches its set-point within the minute
and rests at 0 MW by default.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from vpp.domain.command import Quantity
from vpp.plant.device import HOURS, Inputs, Order, PhysicalParams, State, clip
from vpp.plant.making import Making

INPUTS: tuple[str, ...] = ()
STORES = True


class Params(PhysicalParams):
    """Rating in MW and MWh, energy window as shares of it, efficiencies at the terminals."""

    power_mw: float = Field(ge=0)
    capacity_mwh: float = Field(gt=0)
    soc_min: float = Field(0.05, ge=0, le=1)
    soc_max: float = Field(0.95, ge=0, le=1)
    charge_efficiency: float = Field(gt=0, le=1)
    discharge_efficiency: float = Field(gt=0, le=1)
    standing_loss_per_h: float = Field(0.0, ge=0, lt=1)
    taper_from_soc: float = Field(1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _window(self) -> Params:
        if self.soc_min > self.soc_max:
            raise ValueError("soc_min lies above soc_max")
        return self


class Battery:
    """One battery; a set-point that its window cannot hold for the minute is clipped."""

    accepts: frozenset[Quantity] = frozenset({"power_mw"})
    details: tuple[str, ...] = ()

    def __init__(self, params: Params, state: State) -> None:
        self.params = params
        self.state = state

    def step(self, order: Order | None, inputs: Inputs, minute: int) -> None:
        """Follow the set-point as far as rating and content allow."""
        p, state = self.params, self.state
        held = state.stored_mwh * (1.0 - p.standing_loss_per_h * HOURS)
        room = max(0.0, p.soc_max * p.capacity_mwh - held) / (p.charge_efficiency * HOURS)
        reserve = max(0.0, held - p.soc_min * p.capacity_mwh) * p.discharge_efficiency / HOURS
        wanted = order.value if order else 0.0
        power = clip(wanted, -min(room, self._acceptance(held), p.power_mw), min(reserve, p.power_mw))
        flow = power / p.discharge_efficiency if power > 0 else power * p.charge_efficiency
        state.stored_mwh = held - HOURS * flow
        state.power_mw = power
        state.count(power != 0.0)

    def _acceptance(self, held_mwh: float) -> float:
        """Charging power the cells take, so that it fits the content it leads to."""
        p = self.params
        width = 1.0 - p.taper_from_soc + p.power_mw * HOURS * p.charge_efficiency / p.capacity_mwh
        if p.taper_from_soc == 1.0 or width == 0.0:
            return p.power_mw
        return max(0.0, p.power_mw * (1.0 - held_mwh / p.capacity_mwh) / width)

    def steady_mw(self, inputs: Inputs, minute: int) -> float:
        """At rest."""
        return 0.0

    def detail(self) -> tuple[float, ...]:
        return ()


def build(making: Making) -> Battery:
    """From its parameters, in its initial state."""
    return Battery(Params.model_validate(making.params), making.state)
