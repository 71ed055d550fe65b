"""Backup batteries of N identical base stations: p = d - c - L, e[t] = e[t-1]*(1 - loss*h) + h*(eta_c*c - d/eta_d).

The stations share every power evenly. No export: d <= L. Their controllers keep what the present load takes in
`reserve_h` hours, soc_min*N*E + reserve_h*L/eta_d, and do not discharge below it whoever asks. They draw no more
than their connections carry. By default the batteries are filled and then kept full. Energy-reservoir
model as of the battery; reserve as in Yong et al., IEEE Trans. Smart Grid 12(5), 2021.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from vpp.domain.command import Quantity
from vpp.plant.device import HOURS, Inputs, Order, PhysicalParams, State, clip
from vpp.plant.making import Making

INPUTS: tuple[str, ...] = ("load_mw",)
STORES = True


class Params(PhysicalParams):
    """`count` stations of `site_...` each."""

    count: int = Field(ge=1)
    site_power_mw: float = Field(gt=0)
    site_capacity_mwh: float = Field(gt=0)
    site_connection_mw: float = Field(gt=0)
    reserve_h: float = Field(ge=0)
    soc_min: float = Field(0.1, ge=0, le=1)
    soc_max: float = Field(1.0, ge=0, le=1)
    charge_efficiency: float = Field(gt=0, le=1)
    discharge_efficiency: float = Field(gt=0, le=1)
    standing_loss_per_h: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _window(self) -> Params:
        if self.soc_min > self.soc_max:
            raise ValueError("soc_min lies above soc_max")
        return self


class Backup:
    """One class of stations; a set-point is the net injection of all of them."""

    accepts: frozenset[Quantity] = frozenset({"power_mw"})
    details: tuple[str, ...] = ("load_mw", "reserve_mwh")

    def __init__(self, params: Params, state: State) -> None:
        self.params = params
        self.state = state
        self._told = (0.0, 0.0)

    def step(self, order: Order | None, inputs: Inputs, minute: int) -> None:
        """Follow the set-point as far as load, connection, content and reserve allow."""
        p, state, load = self.params, self.state, -self.steady_mw(inputs, minute)
        full = p.count * p.site_capacity_mwh
        held = state.stored_mwh * (1.0 - p.standing_loss_per_h * HOURS)
        reserve = min(p.soc_max * full, p.soc_min * full + p.reserve_h * load / p.discharge_efficiency)
        rated = p.count * p.site_power_mw
        room = max(0.0, p.soc_max * full - held) / (p.charge_efficiency * HOURS)
        spare = max(0.0, held - reserve) * p.discharge_efficiency / HOURS
        wanted = order.value + load if order else -rated
        most_in = min(rated, room, max(0.0, p.count * p.site_connection_mw - load))
        battery = clip(wanted, -most_in, min(rated, load, spare))
        flow = battery / p.discharge_efficiency if battery > 0.0 else battery * p.charge_efficiency
        state.stored_mwh = held - HOURS * flow
        state.power_mw = battery - load
        state.count(battery != 0.0)
        self._told = (load, reserve)

    def steady_mw(self, inputs: Inputs, minute: int) -> float:
        """The load, with full batteries."""
        return -max(inputs["load_mw"], 0.0)

    def detail(self) -> tuple[float, ...]:
        return self._told


def build(making: Making) -> Backup:
    """From its parameters, in its initial state."""
    return Backup(Params.model_validate(making.params), making.state)
