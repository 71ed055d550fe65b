"""What every simulated device is: a state that one minute of physics moves on.

Injection is positive, consumption negative; power is the mean over the minute, energy the value at its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from vpp.domain.command import Quantity

HOURS = 1.0 / 60.0
"""Length of one step."""

Inputs = Mapping[str, float]


class PhysicalParams(BaseModel):
    """Parameters a device obeys; prices and costs among an asset's parameters are none of its business."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


@dataclass(slots=True)
class State:
    """The device as it stands: MW over the last minute, MWh now, on or off and for how many minutes."""

    power_mw: float = 0.0
    stored_mwh: float = 0.0
    on: bool = False
    minutes_in_state: int = 1_000_000

    def count(self, on: bool) -> None:
        """Count one more minute that was spent `on` (or off)."""
        self.minutes_in_state = self.minutes_in_state + 1 if on == self.on else 1
        self.on = on


@dataclass(frozen=True, slots=True)
class Order:
    """What a command asks: MW of injection, on (1) or off (0), or EUR/MWh; `number` counts the writes."""

    quantity: Quantity
    value: float
    number: int


class Device(Protocol):
    """One kind of device; `accepts` names the quantities it can be commanded in, `details` what it can tell."""

    accepts: frozenset[Quantity]
    details: tuple[str, ...]
    state: State

    def step(self, order: Order | None, inputs: Inputs, minute: int) -> None:
        """Move the state over the minute that starts `minute` minutes after the Unix epoch; None is the default."""

    def steady_mw(self, inputs: Inputs, minute: int) -> float:
        """Default behaviour from `minute` on while the inputs are these, MW."""

    def detail(self) -> tuple[float, ...]:
        """Values of `details` over the last minute."""


def switchable(state: State, min_on_h: float, min_off_h: float) -> bool:
    """Whether the interlock lets the device leave its present state: it has been in it long enough."""
    return state.minutes_in_state >= 60.0 * (min_on_h if state.on else min_off_h)


def clip(value: float, lower: float, upper: float) -> float:
    """`value` inside [lower, upper]; where they cross, `upper` wins."""
    return min(max(value, lower), upper)
