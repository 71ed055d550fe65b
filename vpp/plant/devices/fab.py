"""A high-tech plant: the process takes its load, utilities serve it out of stores that its control keeps at one fill.

x is the sum of all stores, MWh of their machines' electricity: x[t] = x[t-1] (1 - loss H) + H (P - need), where
P is what the utilities take together and 0 <= x <= the sum of store_mwh. Utility u takes its share of the need
and its store's part of what x gains, inside min_power_mw to max_power_mw; where one machine is at its end, the
plant lets the fill go no faster. Where no fill can serve the need, it goes short. By default the fill stays.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from vpp.domain.command import Quantity
from vpp.plant.device import HOURS, Inputs, Order, PhysicalParams, State, clip
from vpp.plant.making import Making

INPUTS: tuple[str, ...] = ("process_mw", "utilities_mw")
STORES = True


class UtilityParams(PhysicalParams):
    """One utility: machine limits in MW, its store in MWh, its share of the need."""

    name: str
    min_power_mw: float = Field(0.0, ge=0)
    max_power_mw: float = Field(gt=0)
    store_mwh: float = Field(gt=0)
    share: float = Field(gt=0, le=1)

    @model_validator(mode="after")
    def _range(self) -> UtilityParams:
        if self.min_power_mw > self.max_power_mw:
            raise ValueError("min_power_mw lies above max_power_mw")
        return self


class Params(PhysicalParams):
    """All utilities of the plant."""

    utilities: tuple[UtilityParams, ...] = Field(min_length=1)
    loss_per_h: float = Field(0.0, ge=0, lt=1)


class Fab:
    """One plant."""

    accepts: frozenset[Quantity] = frozenset({"power_mw"})
    details: tuple[str, ...] = ("utilities_mw", "short_mwh")

    def __init__(self, params: Params, state: State) -> None:
        self.params = params
        self.state = state
        self._full = sum(u.store_mwh for u in params.utilities)
        self._taken = self._short = 0.0

    def step(self, order: Order | None, inputs: Inputs, minute: int) -> None:
        """Follow the set-point of the whole load as far as machines and stores allow."""
        state, process, need = self.state, max(inputs["process_mw"], 0.0), max(inputs["utilities_mw"], 0.0)
        kept = state.stored_mwh * (1.0 - self.params.loss_per_h * HOURS)
        keeping = (state.stored_mwh - kept) / HOURS
        gain = -order.value - process - need if order else keeping
        lowest, highest = self._gains(need)
        gain = clip(gain, lowest, max(lowest, highest))
        gain = clip(gain, -kept / HOURS, (self._full - kept) / HOURS)
        self._taken = self._machines(need, gain)
        self._short = max(0.0, need + gain - self._taken) * HOURS
        state.stored_mwh = kept + HOURS * gain
        state.power_mw = -(process + self._taken)
        state.count(True)

    def _gains(self, need_mw: float) -> tuple[float, float]:
        """The slowest and fastest the common fill may move, MW, for every machine to keep up."""
        units = self.params.utilities
        lowest = max((u.min_power_mw - u.share * need_mw) * self._full / u.store_mwh for u in units)
        highest = min((u.max_power_mw - u.share * need_mw) * self._full / u.store_mwh for u in units)
        return lowest, highest

    def _machines(self, need_mw: float, gain_mw: float) -> float:
        """What the machines take for a need and a gain of the fill."""
        return sum(
            clip(u.share * need_mw + gain_mw * u.store_mwh / self._full, u.min_power_mw, u.max_power_mw)
            for u in self.params.utilities
        )

    def steady_mw(self, inputs: Inputs, minute: int) -> float:
        """The power that keeps the fill."""
        need = max(inputs["utilities_mw"], 0.0)
        lost = self.params.loss_per_h * self.state.stored_mwh
        return -(max(inputs["process_mw"], 0.0) + self._machines(need, lost))

    def detail(self) -> tuple[float, ...]:
        return (self._taken, self._short)


def build(making: Making) -> Fab:
    """From its parameters, in its initial state."""
    return Fab(Params.model_validate(making.params), making.state)
