"""The relaxation over the convex hulls of the parts, which bounds closer than the linear one.

Every part k that integers hold together (see `parts`) is a mixture w_k of schedules v_kj it could follow; what
is in no part, x, stays as it is. Over the rows of no part,

    min  c x + sum over k, j of c_k v_kj w_kj + sum over shared limits of (y0 + r) s+ - (y0 - r) s-
    s.t. A x + sum over k, j of A_k v_kj w_kj + s+ - s- in the rows' bounds,   sum over j of w_kj = 1,   all >= 0

whose optimum z has prices y within r of the best known y0 at limits that parts share, and m_k at the weights.
With L_k part k's cheapest answer to y (its bound, see `parts`), weak duality gives

    bound(y) = z + sum over k of (L_k - m_k)   <=   the optimum, whichever schedules are known.

The answers join the schedules, y0 moves where the bound rose, r is halved where it fell, until the bound is
what is needed or meets z. Begun at the prices of the last roll, one or two rounds do.

G. B. Dantzig and P. Wolfe, Decomposition principle for linear programs, Oper. Res. 8 (1960); R. E. Marsten,
W. W. Hogan and J. W. Blankenship, The boxstep method for large-scale optimization, Oper. Res. 23 (1975).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from dispatch.heuristics import answers_of, relaxed_bounds
from dispatch.parts import Part, alone, reduced_cost
from dispatch.problem import Problem
from dispatch.solvers.highs_door import BASIC, LOWER, Basis, Living
from vpp.domain.errors import NotSolved
from vpp.domain.time import Array

ROUNDS, MET = 12, 1e-6
WIDTH, HALF, SPENT_SPARE = 0.1, 0.5, 0.8
LEFT_RELAXED = 0.5
LEAST_WIDTH_EUR_PER_MW = 0.1
INF = float("inf")


@dataclass(frozen=True)
class Hull:
    """A valid `bound`, -inf where none was found, the `prices` (rows,) it was found at, and the schedules
    that weigh most, on the columns of the parts of `x` (columns,), known ones elsewhere.
    """

    bound: float
    prices: Array
    x: Array


def hull_bound(
    problem: Problem, parts: Sequence[Part], prices: Array, known: Array, needed: float, abs_gap: float,
    deadline_s: float, basis: Basis | None = None,
) -> Hull:  # fmt: skip
    """The bound sought from `prices` (rows,) on until it is `needed`; `known` (columns,) is a feasible plan, `basis`
    that of its LP.

    The parts' answers may miss `abs_gap` in sum, in money, or a share of what the mixture's optimum has to spare.
    What does not come in time leaves the bound lower.
    """
    began = time.perf_counter()
    master, best = _Master(problem, parts, prices, known, basis), Hull(-INF, prices, known)
    for _ in range(ROUNDS):
        try:
            value, at, weight = master.solve(deadline_s - (time.perf_counter() - began))
            may_miss = max(abs_gap, SPENT_SPARE * (value - needed))
            gain = master.answer(at, weight, may_miss, deadline_s - (time.perf_counter() - began))
        except NotSolved:
            break
        bound, x = value + gain, master.mixture()
        master.move(at if bound > best.bound else None)
        best = Hull(bound, at, x) if bound > best.bound else replace(best, x=x)
        if best.bound >= needed or value - best.bound <= abs_gap:
            break
    return best


class _Master:
    """The living mixture; schedules of part k are `schedules[k]`, in the order in which their weights were added."""

    def __init__(
        self, problem: Problem, parts: Sequence[Part], prices: Array, known: Array, basis: Basis | None
    ) -> None:  # fmt: skip
        self.problem, self.parts, self.known = problem, parts, known
        self.schedules: list[list[Array]] = [[] for _ in parts]
        self.weights: list[tuple[int, int]] = []
        held = np.concatenate([p.columns for p in parts])
        free, rows = np.ones(problem.columns, dtype=bool), np.ones(problem.rows, dtype=bool)
        free[held], rows[np.concatenate([p.rows for p in parts])] = False, False
        self.rows, count = np.flatnonzero(rows), int(rows.sum())
        between = sp.csr_array(problem.matrix[self.rows])
        by_column = between.tocsc()
        self.coupling = [sp.csr_array(by_column[:, p.columns]) for p in parts]
        met = np.diff(sp.csr_array(by_column[:, held]).indptr) > 0
        at, low, high = np.flatnonzero(free), problem.row_lower[self.rows], problem.row_upper[self.rows]
        self.limits = np.flatnonzero(met & (low < high))
        self.centre = np.clip(
            prices[self.rows[self.limits]],
            np.where(np.isfinite(high[self.limits]), -INF, 0.0), np.where(np.isfinite(low[self.limits]), INF, 0.0),
        )  # fmt: skip
        size = float(np.abs(self.centre).max(initial=0.0))
        self.width = max(WIDTH * size, LEAST_WIDTH_EUR_PER_MW)
        self.slack = at.size + np.arange(2 * self.limits.size)
        pick = sp.csr_array(
            (np.ones(self.limits.size), (self.limits, np.arange(self.limits.size))), shape=(count, self.limits.size)
        )
        ones = sp.csr_array((len(parts), at.size + self.slack.size))
        unbounded = np.full(self.slack.size, INF)
        self.living = Living(
            replace(
                problem, blocks=(), column_start=(), row_start=(), extra=(),
                cost=np.concatenate([problem.cost[at], self._box()]),
                lower=np.concatenate([problem.lower[at], np.zeros(self.slack.size)]),
                upper=np.concatenate([problem.upper[at], unbounded]),
                integer=np.zeros(at.size + self.slack.size, dtype=bool),
                matrix=sp.csr_array(sp.vstack([sp.hstack([by_column[:, at], pick, -pick]), ones], format="csr")),
                row_lower=np.concatenate([low, np.ones(len(parts))]),
                row_upper=np.concatenate([high, np.ones(len(parts))]),
                power=sp.csr_array((0, at.size + self.slack.size)), power_offset=np.empty(0),
            )
        )  # fmt: skip
        self._add([(k, known[p.columns]) for k, p in enumerate(parts)])
        if basis is not None and len(basis.rows) == problem.rows and len(basis.columns) == problem.columns:
            resting, mixed = np.full(self.slack.size, LOWER), np.full(len(parts), BASIC)
            self.living.begin_at(
                Basis(
                    np.concatenate([basis.columns[at], resting, mixed]).astype(np.int8),
                    np.concatenate([basis.rows[self.rows], np.full(len(parts), LOWER)]).astype(np.int8),
                )
            )

    def solve(self, deadline_s: float) -> tuple[float, Array, Array]:
        """The optimum of the mixture, the prices (rows,) and the price of each part's weights. Raises NotSolved."""
        raw = self.living.solve_lp(deadline_s)
        assert raw.row_duals is not None
        prices = np.zeros(self.problem.rows)
        prices[self.rows] = raw.row_duals[: self.rows.size]
        first = self.slack[-1] + 1 if self.slack.size else len(raw.x) - len(self.weights)
        self.weight = raw.x[first:]
        return raw.objective, prices, raw.row_duals[self.rows.size :]

    def answer(self, prices: Array, weight: Array, abs_gap: float, deadline_s: float) -> float:
        """What the parts' answers to `prices` add to the mixture's optimum; they join it. Raises NotSolved.

        A part whose own relaxation is near its cheapest known schedule is bounded by it and gives no answer, as long
        as all these miss no more than a share of `abs_gap`.
        """
        began, reduced, known = time.perf_counter(), reduced_cost(self.problem, prices), self.known.copy()
        owns, least = [alone(self.problem, part, reduced, prices) for part in self.parts], []
        for part, own, schedules in zip(self.parts, owns, self.schedules, strict=True):
            costs = [float(own.cost @ v) for v in schedules]
            known[part.columns] = schedules[int(np.argmin(costs))]
            least.append(min(costs))
        relaxed = relaxed_bounds(owns, deadline_s)
        missed = np.array(least) - relaxed
        order = np.argsort(missed, kind="stable")
        near = order[np.cumsum(missed[order]) <= LEFT_RELAXED * abs_gap]
        gain = float(relaxed[near].sum() - weight.sum())
        number = {id(p): k for k, p in enumerate(self.parts)}
        asked, found = [self.parts[k] for k in sorted(set(range(len(self.parts))) - set(near.tolist()))], []
        left_s, rest = deadline_s - (time.perf_counter() - began), abs_gap - float(missed[near].sum())
        for part, _, answer in answers_of(self.problem, asked, prices, left_s, rest, known):
            if answer is None:
                raise NotSolved("late: a part gave no answer")
            gain += answer.bound
            found.append((number[id(part)], answer.x))
        self._add(found)
        return gain

    def move(self, prices: Array | None) -> None:
        """The box around other prices (rows,), wider where they were at its edge; half as wide where there are none."""
        if prices is None:
            self.width *= HALF
        else:
            centre = prices[self.rows[self.limits]]
            at_edge = np.abs(centre - self.centre) >= (1.0 - MET) * self.width
            self.width *= 1.0 / HALF if at_edge.any() else 1.0
            self.centre = centre
        self.living.set_cost(self.slack, self._box())

    def mixture(self) -> Array:
        """The known plan with the schedule of each part that weighs most (columns,)."""
        x, most = self.known.copy(), np.full(len(self.parts), -INF)
        for (k, j), weight in zip(self.weights, self.weight, strict=False):
            if weight > most[k]:
                x[self.parts[k].columns], most[k] = self.schedules[k][j], weight
        return x

    def _box(self) -> Array:
        return np.concatenate([self.centre + self.width, self.width - self.centre])

    def _add(self, found: Sequence[tuple[int, Array]]) -> None:
        if not found:
            return
        columns, cost = [], []
        for k, x in found:
            one = np.zeros(len(self.parts))
            one[k] = 1.0
            columns.append(np.concatenate([self.coupling[k] @ x, one]))
            cost.append(float(self.problem.cost[self.parts[k].columns] @ x))
            self.weights.append((k, len(self.schedules[k])))
            self.schedules[k].append(x)
        matrix = sp.csc_array(np.stack(columns, axis=1))
        self.living.add_columns(np.array(cost), np.zeros(len(cost)), np.full(len(cost), INF), matrix)
