"""What the rules of the kinds are told, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vpp.domain.portfolio import Asset
from vpp.domain.time import Array, TimeGrid

SLACK_EUR_PER_MWH_TH = 1000.0
Costs = dict[str, float]


@dataclass(frozen=True)
class Trace:
    """One asset over `grid`: power (T,) MW, running (T,) 0/1, content before the start and at each end (MWh);
    `minutes_before` in its state before the grid, a long time where nobody knows."""

    asset: Asset
    grid: TimeGrid
    power_mw: Array
    on: Array
    was_on: bool
    start_mwh: float
    stored_mwh: Array
    inputs: Mapping[str, Array]
    available: bool = True
    minutes_before: float = np.inf

    @property
    def starts(self) -> int:
        before = np.concatenate([[float(self.was_on)], self.on[:-1]])
        return int(np.sum((self.on > 0.5) & (before < 0.5)))

    def inflow_mwh(self, loss_per_h: float) -> Array:
        """Net energy that must have entered the store in each step, (T,)."""
        before = np.concatenate([[self.start_mwh], self.stored_mwh[:-1]])
        flow: Array = self.stored_mwh - before * np.maximum(0.0, 1.0 - loss_per_h * self.grid.hours)
        return flow


def alone(rule: Callable[[Trace], Costs]) -> Callable[[Sequence[Trace]], list[Costs]]:
    """The rule of a kind whose assets do not depend on each other."""
    return lambda traces: [rule(trace) for trace in traces]
