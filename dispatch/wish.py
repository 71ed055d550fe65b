"""What a device should do, and what it will do: the two ends of `follow`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.time import Array, TimeGrid

INF = float("inf")


@dataclass(frozen=True)
class Wish:
    """What one asset should do if it can: power (T,) MW of injection, inside [lower_mw, upper_mw].

    Machines take half their (minimum) power or more as on; NaN wishes no answer of a price-taker.
    `hold_store`: heat is topped up so that the store stays where it is, instead of being taken from it first.
    """

    asset: Asset
    state: AssetState
    grid: TimeGrid
    power_mw: Array
    inputs: Mapping[str, Array]
    lower_mw: Array | float = -INF
    upper_mw: Array | float = INF
    hold_store: bool = False

    @property
    def wanted_mw(self) -> Array:
        """The power wished inside the limits, (T,)."""
        wanted: Array = np.minimum(np.maximum(self.power_mw, self.lower_mw), self.upper_mw)
        return wanted


@dataclass
class Path:
    """What it will do."""

    power_mw: Array
    on: Array | None = None
    stored_mwh: Array | None = None
    decisions: dict[str, Array] = field(default_factory=dict)


@dataclass
class Switch:
    """On/off state with the minutes spent in it and the minimum run and stop times, hours."""

    on: bool
    minutes: float
    run_h: float
    stop_h: float

    @classmethod
    def of(cls, state: AssetState, run_h: float, stop_h: float) -> Switch:
        """The switch of a device as it stands; what is out of service is off and stays off."""
        if not state.available:
            return cls(False, 0.0, run_h, INF)
        return cls(state.on, float(state.minutes_in_state), run_h, stop_h)

    @property
    def held_minutes(self) -> float:
        """Minutes until the state may change, 0 where it may now."""
        return max(0.0, 60.0 * (self.run_h if self.on else self.stop_h) - self.minutes)

    def may_change(self) -> bool:
        return self.held_minutes <= 1e-6

    def step(self, on: bool, minutes: int) -> None:
        """Spend `minutes` on or off."""
        if on != self.on:
            self.on, self.minutes = on, 0.0
        self.minutes += minutes
