"""PV or wind behind an inverter that can curtail:

    p = min(set-point, available, capacity, S/sqrt(1 + tan_phi^2)),    p >= 0

By default everything available is fed in.
"""

from __future__ import annotations

from math import hypot

from pydantic import Field

from vpp.domain.command import Quantity
from vpp.plant.device import Inputs, Order, PhysicalParams, State, clip
from vpp.plant.making import Making

INPUTS: tuple[str, ...] = ("available_mw",)
STORES = False


class Params(PhysicalParams):
    """Rating of the unit, MW, and of its inverter, MVA."""

    capacity_mw: float = Field(ge=0)
    s_rating_mva: float = Field(ge=0)


class Generation:
    """One curtailable unit; a set-point is a ceiling."""

    accepts: frozenset[Quantity] = frozenset({"power_mw"})
    details: tuple[str, ...] = ("available_mw",)

    def __init__(self, params: Params, state: State, tan_phi: float) -> None:
        self.state = state
        self._most_mw = min(params.capacity_mw, params.s_rating_mva / hypot(1.0, tan_phi))
        self._available_mw = 0.0

    def step(self, order: Order | None, inputs: Inputs, minute: int) -> None:
        """Feed in what is available, up to the set-point."""
        self._available_mw = self.steady_mw(inputs, minute)
        ceiling = order.value if order else self._available_mw
        self.state.power_mw = clip(ceiling, 0.0, self._available_mw)
        self.state.count(self.state.power_mw > 0.0)

    def steady_mw(self, inputs: Inputs, minute: int) -> float:
        """All that is available."""
        return clip(inputs["available_mw"], 0.0, self._most_mw)

    def detail(self) -> tuple[float, ...]:
        return (self._available_mw,)


def build(making: Making) -> Generation:
    """From its parameters, in its initial state."""
    return Generation(Params.model_validate(making.params), making.state, making.tan_phi)
