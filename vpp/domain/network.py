"""What dispatch may know of a network: flows, violations, cuts, certificates.

Buses and elements are array positions; names such as "line 84", "trafo 0", "bus 95" are for people.
A violation is one (element, step) above 100 % of its rating or outside its voltage band by more
than the tolerances.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vpp.domain.time import Array, TimeGrid

LOADING_TOLERANCE_PCT = 1e-3
VOLTAGE_TOLERANCE_PU = 1e-6
TARGET_SHARE = 0.95
"""Of the joint scenarios, what a plan is to keep without a violation."""


@dataclass(frozen=True)
class Violation:
    """`value` and `limit` in `unit` ("%" of rating or "pu"); `case` names the state checked."""

    element: str
    step: int
    value: float
    limit: float
    unit: Literal["%", "pu"]
    case: str = "expected"

    @property
    def excess(self) -> float:
        """Distance past the limit, in units of the limit, so that kinds compare."""
        return abs(self.value - self.limit) / abs(self.limit)


@dataclass(frozen=True)
class Relaxation:
    """The least that a limit which nothing of ours can keep must be wider, `by` in `unit` ("%" of rating or "pu").

    `excess_mw` is the same in MW of the asset that acts best, `price_eur` what the plan pays for it; both are 0 where
    no asset acts on the element.
    """

    element: str
    step: int
    case: str
    by: float
    unit: Literal["%", "pu"]
    excess_mw: float
    price_eur: float


@dataclass(frozen=True)
class Flow:
    """AC results of C cases and T steps: vm_pu (C,T,B), loading_pct (C,T,E), taps (C,T,X), converged (C,T).

    `p_mw`, `q_mvar` (C,T,B) are the net injections they belong to.
    """

    grid: TimeGrid
    p_mw: Array
    q_mvar: Array
    vm_pu: Array
    loading_pct: Array
    taps: NDArray[np.int64]
    converged: NDArray[np.bool_]

    def case(self, case: int) -> Flow:
        """One case, as a flow of one case."""
        at = slice(case, case + 1)
        return Flow(
            self.grid, self.p_mw[at], self.q_mvar[at], self.vm_pu[at], self.loading_pct[at], self.taps[at],
            self.converged[at],
        )  # fmt: skip


@dataclass(frozen=True)
class Loading:
    """The highest use of a limit: `loading_pct` of the rating of `element` where `limit_pct` is allowed."""

    element: str
    step: int
    loading_pct: float
    limit_pct: float


@dataclass(frozen=True)
class Voltage:
    """The voltage furthest past its band; `excess_pu` is the distance past `limit_pu`, negative inside."""

    bus: str
    step: int
    vm_pu: float
    limit_pu: float
    excess_pu: float


@dataclass(frozen=True)
class Contingency:
    """An outage over all steps, with the open point that was closed (`remedy`) where it was reswitched.

    `unsupplied_mw` is the most consumption that is cut off in a step. `loading` and `voltage` are None where
    no step has a solution; `steps` are those with an element or bus past its limit, `unsolved_steps` of them
    without a solution.
    """

    outage: str
    remedy: str | None
    unsupplied_mw: float
    steps: tuple[int, ...]
    unsolved_steps: int
    loading: Loading | None
    voltage: Voltage | None

    @property
    def violated_steps(self) -> int:
        """How many steps are past a limit."""
        return len(self.steps)

    @property
    def severity(self) -> float:
        """For ranking: the greatest excess, in units of the limit or per unit; infinite without a solution."""
        if self.unsolved_steps or self.loading is None or self.voltage is None:
            return float("inf")
        return max(self.loading.loading_pct / self.loading.limit_pct - 1.0, self.voltage.excess_pu)

    @property
    def violations(self) -> tuple[Violation, ...]:
        """The worst loading and voltage where they are past their limits, or that there is no solution."""
        case = self.outage if self.remedy is None else f"{self.outage}, {self.remedy} closed"
        found = [Violation("network", 0, 0.0, 1.0, "pu", case)] if self.unsolved_steps else []
        at, v = self.loading, self.voltage
        if at is not None and at.loading_pct > at.limit_pct + LOADING_TOLERANCE_PCT:
            found.append(Violation(at.element, at.step, at.loading_pct, at.limit_pct, "%", case))
        if v is not None and v.excess_pu > VOLTAGE_TOLERANCE_PU:
            found.append(Violation(v.bus, v.step, v.vm_pu, v.limit_pu, "pu", case))
        return tuple(found)


@dataclass(frozen=True)
class Relief:
    """What can be done within minutes after a fault: net injections (T,B) in MW, Mvar once it is done."""

    name: str
    p_mw: Array
    q_mvar: Array


@dataclass(frozen=True)
class FaultCheck:
    """Contingencies of one kind in the expected case: `broken` are those past a limit, worst first.

    After outages the limits are emergency ratings, which hold for minutes. Outages that keep these and not
    the normal ones are `relieved` (outage to relief) where something brings them back, else `lasting`.
    `checked` counts all; `note` says what could not be checked. Only a `binding` check can make a
    certificate's verdict "violated".
    """

    name: str
    binding: bool
    checked: int
    broken: tuple[Contingency, ...]
    note: str = ""
    relieved: Mapping[str, str] = field(default_factory=dict)
    lasting: tuple[Contingency, ...] = ()


@dataclass(frozen=True)
class Cut:
    """Linear row  dp·p + dq·q <= limit  over net bus injections (B,) of one step of one case.

    `likely` is how likely something breaks where the row is passed: less than one where it keeps room for errors.
    """

    element: str
    step: int
    case: int
    dp: Array
    dq: Array
    limit: float
    likely: float = 1.0


Asked = Mapping[tuple[int, int], Collection[str]]


class Network(Protocol):
    """A network model that can be checked and linearised."""

    @property
    def buses(self) -> tuple[int, ...]:
        """Bus numbers in array order."""

    @property
    def taps(self) -> tuple[int, ...]:
        """Tap positions every flow starts from."""

    def starting_at(self, taps: Sequence[int]) -> Network:
        """The same network with other tap positions to start from."""

    @property
    def elements(self) -> tuple[str, ...]:
        """Names of the rated elements in array order of `loading_pct`."""

    def flow(
        self, grid: TimeGrid, p_mw: Array, q_mvar: Array, taps: NDArray[np.int64] | None = None
    ) -> Flow:
        """Batch AC power flow of net injections (C,T,B); taps are controlled unless given (C,T,X)."""

    def verdict(self, flow: Flow, case: int = 0) -> Flow:
        """One case of `flow` again by the reference engine at the same taps."""

    def violations(self, flow: Flow, names: Sequence[str] = ("expected",)) -> list[Violation]:
        """Every violation, cases named by `names`; a step that did not converge is one of its own."""

    def cuts(self, flow: Flow, near_pct: float = 100.0, per_step: int = 5, asked: Asked | None = None) -> list[Cut]:
        """Linear cuts for what is violated (or above `near_pct` of its rating), worst first per step.

        `asked` names elements by (case, step); then these alone are linearised, whatever they use.
        """


@runtime_checkable
class FaultNetwork(Protocol):
    """A network that knows its own contingencies."""

    def after_faults(self, flow: Flow, reliefs: Sequence[Relief] = ()) -> tuple[FaultCheck, ...]:
        """What outages and switching lead to at every step of the expected case, case 0 of `flow`."""


@runtime_checkable
class RankedNetwork(Protocol):
    """A network that tries its outages one by one; both lists are worst first."""

    def n_minus_one(self, flow: Flow) -> list[Contingency]:
        """Every element that carries current out alone at every step of case 0."""

    def reswitched(self, flow: Flow) -> list[Contingency]:
        """Of those the ones that cut buses off, each with the open point closed that helps best."""


@dataclass(frozen=True)
class Certificate:
    """What was checked and found. `verdict` is "clean" or "violated"; `contingencies` counts violations.

    `checked` names everything that was looked at; `after_faults` are contingencies of the network.
    `share_clean` of the `scenarios` keep every limit with our assets at the plan and all else at the scenario's draw.
    """

    verdict: Literal["clean", "violated"]
    engine: str
    scenarios: int
    share_clean: float
    worst: Violation | None
    contingencies: Mapping[str, int]
    violations: tuple[Violation, ...]
    worst_scenario: Violation | None = None
    checked: tuple[str, ...] = ()
    after_faults: tuple[FaultCheck, ...] = ()

    @property
    def misses_target(self) -> bool:
        """Whether fewer scenarios than `TARGET_SHARE` are clean; never where none were looked at."""
        return self.scenarios > 0 and self.share_clean < TARGET_SHARE
