"""Fixed load: p = -load. Nothing moves it, so it accepts no command."""

from __future__ import annotations

from vpp.domain.command import Quantity
from vpp.plant.device import Inputs, Order, PhysicalParams, State
from vpp.plant.making import Making

INPUTS: tuple[str, ...] = ("load_mw",)
STORES = False


class Params(PhysicalParams):
    """A fixed load has no limits of its own."""


class Fixed:
    """One load that follows its series."""

    accepts: frozenset[Quantity] = frozenset()
    details: tuple[str, ...] = ()

    def __init__(self, params: Params, state: State) -> None:
        self.state = state

    def step(self, order: Order | None, inputs: Inputs, minute: int) -> None:
        """Consume."""
        self.state.power_mw = self.steady_mw(inputs, minute)
        self.state.count(self.state.power_mw != 0.0)

    def steady_mw(self, inputs: Inputs, minute: int) -> float:
        """The load as an injection."""
        return -inputs["load_mw"]

    def detail(self) -> tuple[float, ...]:
        return ()


def build(making: Making) -> Fixed:
    """From its parameters, in its initial state."""
    return Fixed(Params.model_validate(making.params), making.state)
