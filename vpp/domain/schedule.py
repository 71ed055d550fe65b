"""What a stage run produces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from vpp.domain.network import Certificate, Relaxation
from vpp.domain.prices import Prices
from vpp.domain.time import Array, TimeGrid


@dataclass(frozen=True)
class Schedule:
    """Power (N,T) and reactive power (N,T) of N assets over `grid`, and what power does not determine.

    `commitment` is 0/1 per step for kinds that have it, `stored_mwh` the content at each interval's
    end, `decisions` further trajectories by name, `marginal_value` the value of stored energy in
    currency per MWh at each interval's end (duals of the energy balance), `products` what each contract
    or product comes to, by its id (reserve held, peak reached).
    """

    asset_ids: tuple[str, ...]
    grid: TimeGrid
    power_mw: Array
    q_mvar: Array
    commitment: Mapping[str, Array] = field(default_factory=dict)
    stored_mwh: Mapping[str, Array] = field(default_factory=dict)
    decisions: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    marginal_value: Mapping[str, Array] = field(default_factory=dict)
    products: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)

    def power_of(self, asset_id: str) -> Array:
        """(T,) of one asset."""
        row: Array = self.power_mw[self.asset_ids.index(asset_id)]
        return row


@dataclass(frozen=True)
class Solution:
    """A schedule with what the solver and the security loop say of it; `costs` by term, money spent positive.

    `prices` are those of its last linear program, where it had one with duals. `relaxations` name the limits that
    nothing of ours can keep.
    """

    schedule: Schedule
    objective: float
    bound: float
    status: str
    costs: Mapping[str, float]
    rounds: int = 0
    violations_first: int = 0
    wall_s: Mapping[str, float] = field(default_factory=dict)
    prices: Prices | None = None
    relaxations: tuple[Relaxation, ...] = ()

    @property
    def gap_abs(self) -> float:
        return abs(self.objective - self.bound)

    @property
    def gap(self) -> float:
        return self.gap_abs / max(1.0, abs(self.objective))


@dataclass(frozen=True)
class DispatchRun:
    """One stage run as recorded: level of the ladder and why, certificate, digests, wall times."""

    id: str
    stage: str
    purpose: str
    cycle_start: datetime
    issued_at: datetime
    level: str
    reason: str
    solution: Solution | None
    schedule: Schedule
    certificate: Certificate | None
    inputs_digest: str
    wall_s: Mapping[str, float]
    released: bool = True
    inputs: Mapping[str, Any] = field(default_factory=dict)
