"""A line of a water works: x[t] = x[t-1] (1 - loss H) + H (P - need), 0 <= x <= capacity, P = 0 or min <= P <= max.

The basin's own controls guard it: a pause ends when it has lasted longest_pause_h or when the basin would run
dry, and begins only after recovery_h of running and from a content of recovered_share * capacity; a full basin
throttles the line to its least power, and what still comes over its edge is lost. A set-point below half the
least power means off. By default the line keeps its content and pauses where its least power overfills the basin.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from vpp.domain.command import Quantity
from vpp.plant.device import HOURS, Inputs, Order, PhysicalParams, State, clip
from vpp.plant.making import Making

INPUTS: tuple[str, ...] = ("need_mw",)
STORES = True


class Params(PhysicalParams):
    """MW, and the MWh of electricity that fill the basin."""

    max_power_mw: float = Field(gt=0)
    min_power_mw: float = Field(gt=0)
    capacity_mwh: float = Field(gt=0)
    loss_per_h: float = Field(0.0, ge=0, lt=1)
    longest_pause_h: float | None = Field(None, gt=0)
    recovery_h: float = Field(0.0, ge=0)
    recovered_share: float = Field(0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _range(self) -> Params:
        if self.min_power_mw > self.max_power_mw:
            raise ValueError("min_power_mw lies above max_power_mw")
        return self


class Waterline:
    """Blowers or pumps on one basin."""

    accepts: frozenset[Quantity] = frozenset({"power_mw"})
    details: tuple[str, ...] = ("lacking_mwh", "wasted_mwh")

    def __init__(self, params: Params, state: State) -> None:
        self.params = params
        self.state = state
        self._lacking = self._wasted = 0.0

    def step(self, order: Order | None, inputs: Inputs, minute: int) -> None:
        """Run or pause for the minute as the basin allows."""
        p, state = self.params, self.state
        held = state.stored_mwh * (1.0 - p.loss_per_h * HOURS) - HOURS * inputs["need_mw"]
        wanted = -order.value if order else self._own(inputs, held)
        on = self._runs(wanted, held)
        to_full = clip((p.capacity_mwh - held) / HOURS, p.min_power_mw, p.max_power_mw)
        to_empty = clip(-held / HOURS, p.min_power_mw, p.max_power_mw)
        used = clip(wanted, to_empty, max(to_empty, to_full)) if on else 0.0
        content = held + HOURS * used
        self._lacking, self._wasted = max(0.0, -content), max(0.0, content - p.capacity_mwh)
        state.stored_mwh = clip(content, 0.0, p.capacity_mwh)
        state.power_mw = -used
        state.count(on)

    def _runs(self, wanted: float, held_mwh: float) -> bool:
        p, state = self.params, self.state
        if state.on:
            stoppable = state.minutes_in_state >= 60.0 * p.recovery_h
            recovered = state.stored_mwh >= p.recovered_share * p.capacity_mwh - 1e-9
            if not (stoppable and recovered):
                return True
        elif p.longest_pause_h is not None and state.minutes_in_state + 1 > 60.0 * p.longest_pause_h:
            return True
        return wanted >= p.min_power_mw / 2.0 or held_mwh < 0.0

    def _own(self, inputs: Inputs, held_mwh: float) -> float:
        """What keeps the content; nothing where the least power would overfill the basin."""
        p = self.params
        keeps = clip((self.state.stored_mwh - held_mwh) / HOURS, p.min_power_mw, p.max_power_mw)
        overfills = keeps <= p.min_power_mw and held_mwh + HOURS * keeps > p.capacity_mwh
        return 0.0 if overfills else keeps

    def steady_mw(self, inputs: Inputs, minute: int) -> float:
        """The power that meets the need; a need below the least power is met in turns of running and pausing."""
        return -clip(inputs["need_mw"], 0.0, self.params.max_power_mw)

    def detail(self) -> tuple[float, ...]:
        return (self._lacking, self._wasted)


def build(making: Making) -> Waterline:
    """From its parameters, in its initial state."""
    return Waterline(Params.model_validate(making.params), making.state)
