"""Everything one stage run may know, as one value: the same situation gives the same schedule."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from dispatch.block import EndValue
from dispatch.product import Call as Call
from dispatch.product import Contract
from dispatch.product import UnitPosition as UnitPosition
from dispatch.rules import RuleFile
from vpp.domain.forecast import Forecast
from vpp.domain.network import Network
from vpp.domain.portfolio import Asset, AssetState, Portfolio
from vpp.domain.schedule import Schedule
from vpp.domain.stage import DAY_AHEAD, Stage
from vpp.domain.time import QUARTER, Array, TimeGrid, floor_to, local_midnight, mixed_grid

Limits = Mapping[str, tuple[Array, Array]]


class Hash(Protocol):
    """What of a hash we use."""

    def update(self, data: bytes, /) -> None:
        """Take in more bytes."""


class Background(Protocol):
    """What the network carries besides our assets."""

    @property
    def series(self) -> tuple[str, ...]:
        """Series ids in array order."""

    def injection(self, p_values: Array, q_values: Array) -> tuple[Array, Array]:
        """Net bus injections (..., T, B) in MW and Mvar of series values (..., S, T)."""


@dataclass(frozen=True)
class GridSide:
    """The network model, what else it carries, and Q/P of each background series as known now."""

    network: Network
    background: Background
    q_ratio: Array


@dataclass(frozen=True)
class Situation:
    """One stage run's knowledge at `now`; arrays are over `grid`."""

    stage: Stage
    purpose: str
    now: datetime
    grid: TimeGrid
    portfolio: Portfolio
    states: Mapping[str, AssetState]
    inputs: Mapping[str, Mapping[str, Array]]
    forecast: Forecast
    price_eur_per_mwh: Array
    fee_eur_per_mwh: Array
    deviation_factor: float
    positions: tuple[UnitPosition, ...]
    end_value: Mapping[str, EndValue] = field(default_factory=dict)
    committed: Mapping[str, NDArray[np.int8]] = field(default_factory=dict)
    limits: Limits = field(default_factory=dict)
    calls: tuple[Call, ...] = ()
    last: Schedule | None = None
    grid_side: GridSide | None = None
    given_mw: Mapping[str, Array] = field(default_factory=dict)
    """Injections (T,) of assets this stage does not decide on."""
    contracts: tuple[Contract, ...] = ()
    rules: RuleFile | None = None

    @property
    def dispatched(self) -> tuple[Asset, ...]:
        """The assets this stage decides on."""
        return tuple(a for a in self.portfolio.assets if a.id not in self.given_mw)

    def digest(self) -> str:
        """SHA-256 over everything the run depends on."""
        h = hashlib.sha256()
        h.update(f"{self.stage}|{self.purpose}|{self.now.isoformat()}|{self.grid}|{self.deviation_factor}".encode())
        h.update(repr((self.portfolio.assets, self.portfolio.trading_units, self.portfolio.outages)).encode())
        for array in (self.price_eur_per_mwh, self.fee_eur_per_mwh, self.forecast.quantiles, self.forecast.scenarios):
            h.update(np.ascontiguousarray(array).tobytes())
        for unit in self.positions:
            h.update(unit.unit.encode() + unit.mw.tobytes())
        for asset, values in sorted(self.inputs.items()):
            _named(h, asset, values)
        _named(h, "given", self.given_mw)
        for contract in self.contracts:
            h.update(repr((contract.product, contract.terms, contract.assets)).encode())
            _named(h, contract.id, contract.known)
        if self.grid_side is not None:
            h.update(repr(self.grid_side.network.taps).encode() + self.grid_side.q_ratio.tobytes())
        if self.rules is not None:
            h.update(self.rules.digest.encode())
        if self.last is not None:
            h.update(f"{self.last.asset_ids}{self.last.grid}".encode() + self.last.power_mw.tobytes())
            _named(h, "last", self.last.commitment)
        states = {k: repr(v) for k, v in sorted(self.states.items())}
        limits = {k: [v[0].tolist(), v[1].tolist()] for k, v in sorted(self.limits.items())}
        committed = {k: v.tolist() for k, v in sorted(self.committed.items())}
        values_end = {k: [v.width_mwh.tolist(), v.value.tolist()] for k, v in sorted(self.end_value.items())}
        calls = [
            (c.id, c.direction, c.baseline_mw.tolist(), c.ordered_mw.tolist(), c.missed_eur_per_mwh)
            for c in self.calls
        ]
        h.update(json.dumps([states, limits, committed, values_end, calls]).encode())
        return h.hexdigest()


def _named(h: Hash, owner: str, values: Mapping[str, Array]) -> None:
    for name, value in sorted(values.items()):
        h.update(f"{owner}/{name}".encode() + np.ascontiguousarray(value).tobytes())


def day_ahead_grid(stage: Stage, now: datetime, zone: str) -> TimeGrid:
    """Quarters from the first that begins at or after `now` to the end of the next local day (normally 152)."""
    tomorrow: date = now.astimezone(ZoneInfo(zone)).date() + timedelta(days=1)
    start = floor_to(now + QUARTER - timedelta(microseconds=1), QUARTER)
    return TimeGrid.between(start, local_midnight(tomorrow + timedelta(days=1), zone), stage.step)


def rolling_grid(stage: Stage, now: datetime, firm_until: datetime) -> TimeGrid:
    """The stage's steps over its horizon, then its coarser steps to the end of the last firm day."""
    fine_end = now + stage.horizon
    if stage.tail_step is None or firm_until <= fine_end:
        return TimeGrid.between(now, fine_end, stage.step)
    return mixed_grid(now, [(stage.step, fine_end), (stage.tail_step, firm_until)])


def grid_for(stage: Stage, now: datetime, zone: str, firm_until: datetime) -> TimeGrid:
    """The time grid of a run of `stage` at `now`."""
    return day_ahead_grid(stage, now, zone) if stage.name == DAY_AHEAD else rolling_grid(stage, now, firm_until)


Progress = Callable[[str], None]
