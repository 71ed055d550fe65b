"""Stores that may not charge and discharge at once, where only the plan itself shows that they would.

What injection is worth to a store is known before a solve as far as prices say it, and there the kinds bring their
own binaries (`assets/_exclusive`). A limit of a product, a contract, a rule or the network makes injection worth less
than any price where it binds, and where that is only the plan knows. So the plan is made without further binaries,
which is a relaxation, and those places (store, step) at which it uses both ways get one each,

    c <= P_c z,    d <= P_d (1 - z),

until a plan uses none both ways. A fleet under a network's cuts so pays for the few places that need it. Where the
time or the rounds end first, the way that keeps the content's change is left open at every place and the other one
closed: charging c and discharging d become

    c' = max(0, c - d / (eta_c eta_d)),    d' = max(0, d - eta_c eta_d c),

the same content everywhere, so that a plan is left, which is then improved. A relaxation's bound holds for what it
relaxes, so the best bound of all rounds is the plan's; not that of binaries over several stores that stand as one.

Lazy integrality as a method: A. Lodi, "The heuristic (dark) side of MIP solvers", in Hybrid Metaheuristics, Springer
2013, for repair from a relaxation; the binaries are those of Arroyo et al. 2020, see `assets/_exclusive`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp

from dispatch.block import INF, Block, Columns, Rows
from dispatch.exposure import Exposure
from dispatch.problem import TOLERANCE, Ints, Problem, groups, with_block
from dispatch.secure import Secured, secure_plan
from dispatch.warm import Warm
from vpp.domain.errors import NotSolved
from vpp.domain.network import Cut, Network
from vpp.domain.schedule import Solution
from vpp.domain.time import Array

NAME = "one_way"
ROUNDS = 8
SPARE_SHARE, SPARE_S = 0.1, 2.0
LEAST_S = 0.5
_NO_PLACE: Ints = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Ways:
    """All places (store, step) of a problem, (k,) each: columns of charging and discharging, and the round trip.

    `merged` where a store stands for several (see `aggregate`).
    """

    charge: Ints
    discharge: Ints
    round_trip: Array
    merged: bool

    @classmethod
    def of(cls, problem: Problem) -> Ways:
        """Those of every block that has two ways."""
        into, out, trip, merged = [_NO_PLACE], [_NO_PLACE], [np.empty(0)], False
        for block, first in zip(problem.blocks, problem.column_start, strict=True):
            if block.two_ways is None:
                continue
            shape = next(g.shape for g in block.columns if g.label == "charge")
            start = {g.label: at for g, at in groups(block, first)}
            places = np.arange(shape[0] * shape[1])
            into.append(start["charge"] + places)
            out.append(start["discharge"] + places)
            trip.append(np.broadcast_to(block.two_ways, shape).ravel())
            merged |= shape[0] != len(block.assets)
        return cls(np.concatenate(into), np.concatenate(out), np.concatenate(trip), merged)

    def both(self, problem: Problem, x: Array) -> Ints:
        """Places that waste energy at `x`: both ways at once."""
        allowed = [TOLERANCE * np.maximum(1.0, problem.upper[c]) for c in (self.charge, self.discharge)]
        used = (x[self.charge] > allowed[0]) & (x[self.discharge] > allowed[1])
        return np.flatnonzero(used & (self.round_trip < 1.0))

    def at(self, places: Ints) -> Ways:
        """Those of some places."""
        return Ways(self.charge[places], self.discharge[places], self.round_trip[places], self.merged)

    def charging(self, x: Array) -> Array:
        """(k,) 1 where the content is to rise: the way left open."""
        return (x[self.charge] * self.round_trip >= x[self.discharge]).astype(float)


def exclusive_block(problem: Problem, ways: Ways, at: Ints) -> Block:
    """A binary at each place `at`, 1 for charging, to stack after the blocks of `problem`."""
    charge, discharge = problem.upper[ways.charge[at]], problem.upper[ways.discharge[at]]
    into, out = _picked(problem, ways.charge[at]), _picked(problem, ways.discharge[at])
    rows = (
        Rows("charging", -INF, 0.0, own=_diagonal(-charge), across=into),
        Rows("discharging", -INF, discharge, own=_diagonal(discharge), across=out),
    )
    columns = Columns("charging", (1, at.size), 0.0, 1.0, integer=True, term="wear")
    return Block(NAME, (columns,), rows, joins=tuple(into))


def _diagonal(values: Array) -> sp.csr_array:
    return sp.csr_array(sp.diags_array(values))


def _picked(problem: Problem, columns: Ints) -> Mapping[str, sp.csr_array]:
    """Row i picks `columns[i]` of the stacked problem, as rows across the blocks these columns belong to."""
    found = {}
    for block, first in zip(problem.blocks, problem.column_start, strict=True):
        size = sum(c.size for c in block.columns)
        here = np.flatnonzero((columns >= first) & (columns < first + size))
        if here.size:
            shape = (columns.size, size)
            found[block.name] = sp.csr_array((np.ones(here.size), (here, columns[here] - first)), shape=shape)
    return found


def closed(problem: Problem, ways: Ways, x: Array) -> Problem:
    """`problem` with one way left open at every place, the one that changes the content as `x` does."""
    upper, charging = problem.upper.copy(), ways.charging(x) > 0.5
    shut = np.where(charging, ways.discharge, ways.charge)
    upper[shut] = np.maximum(problem.lower[shut], 0.0)
    return replace(problem, upper=upper)


def one_way_plan(
    problem: Problem, network: Network | None, exposure: Exposure | None, *, deadline_s: float,
    rel_gap: float = 1e-3, max_rounds: int = 8, seed_cuts: Sequence[Cut] = (),
    hint: Mapping[str, Array] | None = None, warm: Warm | None = None,
    fallback: Mapping[str, Array] | None = None,
) -> Secured:  # fmt: skip
    """`secure_plan` whose stores never use both ways at once. Raises NotSolved."""
    ways = Ways.of(problem)
    search = _Search(problem, network, exposure, ways, deadline_s, rel_gap, max_rounds)
    spare_s = min(SPARE_SHARE * deadline_s, SPARE_S) if ways.charge.size else 0.0
    first = secure_plan(
        problem, network, exposure, deadline_s=deadline_s - spare_s, rel_gap=rel_gap, max_rounds=max_rounds,
        seed_cuts=seed_cuts, hint=hint, warm=warm, fallback=fallback,
    )  # fmt: skip
    return search.run(first)


@dataclass
class _Search:
    """From a plan that may use both ways to one that does not."""

    problem: Problem
    network: Network | None
    exposure: Exposure | None
    ways: Ways
    deadline_s: float
    rel_gap: float
    max_rounds: int
    began: float = field(default_factory=time.perf_counter)

    @property
    def left_s(self) -> float:
        return self.deadline_s - (time.perf_counter() - self.began)

    def run(self, first: Secured) -> Secured:
        found, bound, at = first, first.solution.bound, np.empty(0, dtype=np.int64)
        for _ in range(ROUNDS):
            both = self.ways.both(self.problem, found.x)
            if not both.size:
                return self._told(found, first, bound)
            if self.left_s < 2.0 * min(SPARE_SHARE * self.deadline_s, SPARE_S):
                break
            at = np.union1d(at, both)
            try:
                found = self._with_binaries(found, at)
            except NotSolved:
                break
            if not self.ways.merged:
                bound = max(bound, found.solution.bound)
        if self.ways.both(self.problem, found.x).size:
            found = self._solved(closed(self.problem, self.ways, found.x), found, found.warm, self.left_s)
        return self._told(found, first, bound)

    def _with_binaries(self, found: Secured, at: Ints) -> Secured:
        block = exclusive_block(self.problem, self.ways, at)
        known = replace(found.warm, problem=with_block(self.problem, block), basis=None, plan_basis=None)
        start = np.concatenate([found.x[: self.problem.columns], self.ways.charging(found.x)[at]])
        left_s = self.left_s - min(SPARE_SHARE * self.deadline_s, SPARE_S)
        return self._solved(with_block(self.problem, block), found, replace(known, x=start), left_s)

    def _solved(self, problem: Problem, found: Secured, warm: Warm, left_s: float) -> Secured:
        return secure_plan(
            problem, self.network, self.exposure, deadline_s=max(left_s, LEAST_S), rel_gap=self.rel_gap,
            max_rounds=self.max_rounds, seed_cuts=found.live, warm=warm,
        )  # fmt: skip

    def _told(self, found: Secured, first: Secured, bound: float) -> Secured:
        if found is first:
            return found
        told, before = found.solution, first.solution
        bound = min(bound, told.objective)
        within = told.objective - bound <= self.rel_gap * max(1.0, abs(told.objective)) + TOLERANCE
        status = "violated" if told.status == "violated" else "optimal" if within else "feasible"
        wall = {k: before.wall_s.get(k, 0.0) + v for k, v in told.wall_s.items()}
        solution: Solution = replace(
            told, bound=bound, status=status, rounds=before.rounds + told.rounds,
            violations_first=before.violations_first, wall_s=wall,
        )  # fmt: skip
        return replace(found, solution=solution)
