"""A lower bound for a problem with near-identical machines, by branching on their sums.

A branch on one of several near-identical units moves the relaxation little, because another takes its place;
a branch on how many of them run, start or stop does. Each row of `Sums` is integral in every solution wanted, so

    sum <= floor(value)   or   sum >= ceil(value)

leaves out none of them. The tree is searched best bound first on the relaxation with the root's cuts; the sum to
branch on is found by strong branching with short solves, among those with the best average gain so far, which
sums of one family share while they have none of their own (T. Achterberg, T. Koch, A. Martin, "Branching rules
revisited", Oper. Res. Letters 33, 2005). A node's bound is that of its duals (`certified_bound`), not of a status;
a node whose relaxation cannot be below the plan known is closed. The bound is the least over the open nodes.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import scipy.sparse as sp

from dispatch.problem import Ints, Problem
from dispatch.solvers.certificate import certified_bound, with_rows_below
from dispatch.solvers.highs_door import NodeBasis, Nodes, Solved
from vpp.domain.time import Array

TRIED, IN_VAIN, RELIABLE = 8, 5, 4
SHORT_ITERATIONS: Final = 250
LESSER: Final = 5.0 / 6.0
INTEGRAL: Final = 1e-4
LEAST_PART: Final = 0.05
PATIENCE_S: Final = 0.05


@dataclass(frozen=True)
class Sums:
    """`matrix` (K,columns): sums that are integral wherever the integers are; `family` (K,) is which are alike."""

    matrix: sp.csr_array
    family: Ints


@dataclass(frozen=True)
class Node:
    """Sums `of` (m,) held between `lower` and `upper` (m,); no solution within costs less than `bound`."""

    bound: float
    of: Ints
    lower: Array
    upper: Array
    basis: NodeBasis | None

    def held(self, k: int, lower: float, upper: float) -> Node:
        """The node with sum k held between these as well."""
        at = np.flatnonzero(self.of == k)
        if not at.size:
            return replace(
                self, of=np.append(self.of, k), lower=np.append(self.lower, lower), upper=np.append(self.upper, upper)
            )
        low, high = self.lower.copy(), self.upper.copy()
        low[at], high[at] = np.maximum(low[at], lower), np.minimum(high[at], upper)
        return replace(self, lower=low, upper=high)


class SumTree:
    """The open nodes, those at work, and what branching on each sum has gained; `work` from as many threads as wanted.

    `problem` is the relaxation with whatever cuts it has. `cutoff` is what the best solution known costs and may fall
    meanwhile; `bound` is at most that. `x` is the solution of the last node solved.
    """

    def __init__(self, problem: Problem, sums: Sums, cutoff: float, ends: float, rel_gap: float) -> None:
        """`ends` is a `time.perf_counter`; a bound within `rel_gap` of the cutoff ends the work, too."""
        self.problem, self.sums, self.cutoff, self.ends, self.rel_gap = problem, sums, cutoff, ends, rel_gap
        self.x: Array | None = None
        none = np.empty(0)
        self._number = itertools.count()
        self._open = [(-np.inf, next(self._number), Node(-np.inf, none.astype(np.int64), none, none, None))]
        self._at_work: dict[int, float] = {}
        self._settled = np.inf
        self._changed = threading.Condition()
        self._gain, self._tries = np.zeros((sums.family.size, 2)), np.zeros((sums.family.size, 2))

    @property
    def bound(self) -> float:
        """A lower bound on every solution of the problem."""
        with self._changed:
            bounds = [self.cutoff, self._settled, *self._at_work.values()]
            return min([*bounds, self._open[0][0]] if self._open else bounds)

    def work(self) -> None:
        """Search until the bound is close enough or time is up."""
        worker = _Worker(self)
        while (node := self.take()) is not None:
            parts = [node]
            try:
                parts = worker.parts(node)
            finally:
                self.give(parts)

    def stop(self) -> None:
        """End the work after the relaxations now being solved."""
        self.ends = -np.inf

    @property
    def _wanted(self) -> bool:
        known = np.isfinite(self.cutoff)
        close = self.cutoff - self.rel_gap * max(1.0, abs(self.cutoff)) if known else np.inf
        return time.perf_counter() < self.ends and self.bound < min(close, self._settled)

    def take(self) -> Node | None:
        """The open node of least bound; None once there is nothing left to do."""
        with self._changed:
            while self._wanted and (self._open or self._at_work):
                if self._open:
                    bound, _, node = heapq.heappop(self._open)
                    self._at_work[threading.get_ident()] = bound
                    return node
                self._changed.wait(PATIENCE_S)
            return None

    def give(self, nodes: list[Node]) -> None:
        """What the node last taken became: those of its parts that may hold a better solution."""
        with self._changed:
            for node in nodes:
                if node.bound < self.cutoff:
                    heapq.heappush(self._open, (node.bound, next(self._number), node))
            self._at_work.pop(threading.get_ident(), None)
            self._changed.notify_all()

    def settle(self, bound: float) -> None:
        """A node in which every sum is integral stays as it is."""
        with self._changed:
            self._settled = min(self._settled, bound)

    def least_open(self) -> float:
        """The bound of the best other open node."""
        with self._changed:
            return self._open[0][0] if self._open else np.inf

    def learn(self, k: int, side: int, gain: float, part: float) -> None:
        """A branch on sum k that moved it by `part` has raised the relaxation by `gain`."""
        with self._changed:
            self._gain[k, side] += gain / max(part, LEAST_PART)
            self._tries[k, side] += 1.0

    def expected(self, k: Ints, below: Array) -> tuple[Array, Array, Array]:
        """Gains (m,) down and up of branching on sums `k` (m,) that are `below` (m,) above their floor, and which of
        them are known well enough."""
        with self._changed:
            gain, tries = self._gain.copy(), self._tries.copy()
        family, sides = self.sums.family, []
        for side, part in ((0, below), (1, 1.0 - below)):
            total, number = (np.bincount(family, v[:, side], minlength=int(family.max()) + 1) for v in (gain, tries))
            overall = total.sum() / max(number.sum(), 1.0)
            alike = np.where(number > 0, total / np.maximum(number, 1.0), overall)[family[k]]
            own = gain[k, side] / np.maximum(tries[k, side], 1.0)
            sides.append(np.where(tries[k, side] > 0, own, alike) * part)
        return sides[0], sides[1], tries[k].min(axis=1) >= RELIABLE


class _Worker:
    """One thread: it takes a node, solves it, and gives back its two parts."""

    def __init__(self, tree: SumTree) -> None:
        self.tree, self.problem, self.lp = tree, tree.problem, Nodes(tree.problem, tree.ends - time.perf_counter())

    def parts(self, node: Node) -> list[Node]:
        """Its two parts, none where it is closed, itself where it is no longer the best or time is short."""
        found = self._solve(node)
        if found is None:
            return [node]
        if found.value >= self.tree.cutoff:
            return []
        self.tree.x = found.x
        node = replace(node, bound=max(node.bound, self._certified(node, found)), basis=found.basis)
        if node.bound > self.tree.least_open():
            return [node]
        chosen = self._choice(node, found)
        if chosen is None:
            self.tree.settle(node.bound)
        return chosen or []

    def _solve(self, node: Node, iterations: int | None = None) -> Solved | None:
        rows = self.tree.sums.matrix[node.of]
        left = self.tree.ends - time.perf_counter()
        basis = self.lp.basis if node.basis is None else node.basis
        return self.lp.solve(rows, node.lower, node.upper, basis, left, self.tree.cutoff, iterations)

    def _certified(self, node: Node, found: Solved) -> float:
        if found.row_duals is None:
            return node.bound
        rows = self.tree.sums.matrix[node.of]
        return certified_bound(with_rows_below(self.problem, rows, node.lower, node.upper), found.row_duals)

    def _choice(self, node: Node, found: Solved) -> list[Node] | None:
        """The two parts of the branch that lifts the lesser of both most; None where every sum is integral."""
        value = self.tree.sums.matrix @ found.x
        below = value - np.floor(value)
        open_ = np.flatnonzero((below > INTEGRAL) & (below < 1.0 - INTEGRAL))
        down, up, known = self.tree.expected(open_, below[open_])
        best, vain, seen = -1.0, 0, set[float]()
        chosen: list[Node] | None = None
        wider = replace(node, basis=found.basis.grown(found.basis.rows + 1))
        for i in np.argsort(-_score(down, up)):
            k = int(open_[i])
            parent = node if k in node.of else wider
            if len(seen) >= TRIED or vain >= IN_VAIN:
                break
            if round(value[k], 4) in seen:
                continue
            seen.add(round(value[k], 4))
            sides = parent.held(k, -np.inf, np.floor(value[k])), parent.held(k, np.ceil(value[k]), np.inf)
            gains, parts = (float(down[i]), float(up[i])), list(sides)
            if not known[i]:
                gains, parts = self._tried(k, float(below[k]), found.value, sides)
            score = float(_score(np.float64(gains[0]), np.float64(gains[1])))
            best, chosen, vain = (score, parts, 0) if score > best else (best, chosen, vain + 1)
            if len(parts) < 2:
                break
        return chosen

    def _tried(
        self, k: int, below: float, value: float, sides: tuple[Node, Node]
    ) -> tuple[tuple[float, float], list[Node]]:
        """The gains of a branch by short solves, and its parts that are still open."""
        gains, parts = [0.0, 0.0], []
        for side, node in enumerate(sides):
            found = self._solve(node, SHORT_ITERATIONS)
            if found is None:
                parts.append(node)
                continue
            gains[side] = min(found.value, self.tree.cutoff) - value
            self.tree.learn(k, side, gains[side], below if side == 0 else 1.0 - below)
            if found.value < self.tree.cutoff:
                bound = max(node.bound, self._certified(node, found))
                parts.append(replace(node, bound=bound, basis=found.basis))
        return (gains[0], gains[1]), parts


def _score(down: Array | np.float64, up: Array | np.float64) -> Array:
    """What a branch is worth by what it lifts both sides, (m,) or one."""
    return LESSER * np.minimum(down, up) + (1.0 - LESSER) * np.maximum(down, up)
