"""HiGHS, directly: the road of every production run.

Cuts settle on a living LP, which keeps its basis when rows are added and may begin at the basis of an
earlier problem; the MIP is a fresh instance with the rows of that moment. HiGHS counts `time_limit` over
the life of an instance, so it is set to the time already run plus what remains. A first plan comes from
the MIP near the relaxation: integers that the relaxation settles for some steps around are taken from it.
A solution is used only after its status and after it was checked against the bounds, the rows and
integrality: anything else is NotSolved.

E. Danna, E. Rothberg, C. Le Pape, Exploring relaxation induced neighborhoods, Math. Prog. 102 (2005);
Q. Huangfu, J. A. J. Hall, Parallelizing the dual revised simplex method, Math. Prog. Comp. 10 (2018).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import highspy
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from dispatch.block import Block, Rows
from dispatch.problem import Infeasible, Ints, Problem, check_solution, groups, with_block, with_rows
from dispatch.solvers.raw import Raw
from vpp.domain.errors import NotSolved
from vpp.domain.time import Array

THREADS: Final = 1
ROWWISE, MINIMISE = 2, 1
NEVER_S: Final = 1e6
DOUBTED: Final = (
    highspy.HighsModelStatus.kInfeasible,
    highspy.HighsModelStatus.kUnboundedOrInfeasible,
    highspy.HighsModelStatus.kUnknown,
)
FEASIBLE: Final = 2
NEAR_STEPS: Final = 3
INTEGRAL: Final = 1e-6
HEURISTIC_EFFORT: Final = 0.05
SMALLEST_GAP: Final = 1e-6
FEW_INTEGERS: Final = 200
SUB_MIPS: Final = ("mip_heuristic_run_rins", "mip_heuristic_run_rens", "mip_heuristic_run_root_reduced_cost")


@dataclass(frozen=True)
class Basis:
    """Status of columns and rows at a vertex: one of LOWER, BASIC, UPPER, FREE each."""

    columns: NDArray[np.int8]
    rows: NDArray[np.int8]


LOWER, BASIC, UPPER, FREE = (
    int(s)
    for s in (
        highspy.HighsBasisStatus.kLower, highspy.HighsBasisStatus.kBasic,
        highspy.HighsBasisStatus.kUpper, highspy.HighsBasisStatus.kZero,
    )
)  # fmt: skip


class Living:
    """A problem whose LP relaxation stays warm while rows and blocks are added."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._integers = np.flatnonzero(problem.integer).astype(np.int32)
        self._lp = _loaded(problem, integral=False)

    def basis(self) -> Basis | None:
        """The basis of the last LP; None where there is none."""
        found = self._lp.getBasis()
        if not found.valid:
            return None
        return Basis(*(np.fromiter(map(int, s), np.int8, len(s)) for s in (found.col_status, found.row_status)))

    def begin_at(self, basis: Basis) -> None:
        """Where the next LP begins; it need not be a basis of this problem, HiGHS makes it one."""
        given = highspy.HighsBasis()
        status = {int(s): s for s in highspy.HighsBasisStatus.__members__.values()}
        given.col_status = [status[int(k)] for k in basis.columns]
        given.row_status = [status[int(k)] for k in basis.rows]
        given.valid, given.alien = True, True
        _done(self._lp.setBasis(given))

    def add_rows(self, rows: Sequence[Rows] | Rows) -> None:
        """Further rows over injections, or over all columns (`own`)."""
        self._adopt(with_rows(self.problem, rows))

    def add_block(self, block: Block) -> None:
        """A further block that does not inject. Raises ValueError where it has integers or injects."""
        if any(c.integer for c in block.columns):
            raise ValueError(f"{block.name}: integers cannot be added to a living problem")
        self._adopt(with_block(self.problem, block))

    def add_columns(self, cost: Array, lower: Array, upper: Array, matrix: sp.csc_array) -> None:
        """Continuous columns (k,) of no block with their `matrix` (rows, k)."""
        had = self.problem
        self._adopt(
            replace(
                had, cost=np.concatenate([had.cost, cost]), lower=np.concatenate([had.lower, lower]),
                upper=np.concatenate([had.upper, upper]),
                integer=np.concatenate([had.integer, np.zeros(len(cost), dtype=bool)]),
                matrix=sp.csr_array(sp.hstack([had.matrix, matrix], format="csr")),
            )
        )  # fmt: skip

    def _adopt(self, grown: Problem) -> None:
        new = slice(self.problem.columns, grown.columns)
        count = grown.columns - self.problem.columns
        if count:
            beside = sp.csc_array(grown.matrix[: self.problem.rows, new])
            bounds = grown.cost[new], grown.lower[new], grown.upper[new]
            starts, indices = beside.indptr[:-1].astype(np.int32), beside.indices.astype(np.int32)
            _done(self._lp.addCols(count, *bounds, beside.nnz, starts, indices, beside.data))
        below = grown.matrix[self.problem.rows :]
        if below.shape[0]:
            low, high = grown.row_lower[self.problem.rows :], grown.row_upper[self.problem.rows :]
            starts, indices = below.indptr[:-1].astype(np.int32), below.indices.astype(np.int32)
            _done(self._lp.addRows(below.shape[0], low, high, below.nnz, starts, indices, below.data))
        self.problem = grown

    def free_rows(self, rows: Sequence[int]) -> None:
        """Rows that bound nothing from now on, of the LP and of later MIPs; they keep their place."""
        at = np.asarray(rows, dtype=np.int32)
        low, high = self.problem.row_lower.copy(), self.problem.row_upper.copy()
        low[at], high[at] = -np.inf, np.inf
        _done(self._lp.changeRowsBounds(len(at), at, low[at], high[at]))
        self.problem = replace(self.problem, row_lower=low, row_upper=high)

    def set_cost(self, columns: Ints, cost: Array) -> None:
        """New costs of some columns, of the LP only; later MIPs do not see them."""
        at = np.asarray(columns, dtype=np.int32)
        _done(self._lp.changeColsCost(len(at), at, np.asarray(cost, dtype=float)))

    def solve_lp(self, deadline_s: float, *, interior: bool = False) -> Raw:
        """The relaxation. Raises Infeasible or NotSolved.

        `interior` solves it by interior point and crossover, which pays at the first solution of fleets of on/off
        machines; batteries and every later solution are faster by the simplex method.
        """
        self._lp.setOptionValue("solver", "ipm" if interior else "choose")
        try:
            return self._relaxed(deadline_s, fixed=None)
        finally:
            self._lp.setOptionValue("solver", "choose")

    def solve_fixed(self, x_integer: Array, deadline_s: float = NEVER_S) -> Raw:
        """The LP with the integers fixed at `x_integer` (at least the columns up to the last integer), with duals."""
        values = np.round(np.asarray(x_integer, dtype=float)[self._integers])
        if len(values):
            _done(self._lp.changeColsBounds(len(values), self._integers, values, values))
        try:
            return self._relaxed(deadline_s, fixed=values)
        finally:
            if len(values):
                low, high = self.problem.lower[self._integers], self.problem.upper[self._integers]
                _done(self._lp.changeColsBounds(len(values), self._integers, low, high))

    def _relaxed(self, deadline_s: float, fixed: Array | None) -> Raw:
        status = _run(self._lp, deadline_s)
        if status != highspy.HighsModelStatus.kOptimal:
            _refuse(status)
        solution = self._lp.getSolution()
        x = np.array(solution.col_value)
        check_solution(self.problem, x, integral=fixed is not None)
        objective = float(self._lp.getInfo().objective_function_value)
        return Raw(x, np.array(solution.row_dual), objective, objective, "optimal")

    def solve_mip(self, deadline_s: float, rel_gap: float, start: Array | None = None) -> Raw:
        """The problem with integers, `start` as a first incumbent. Raises Infeasible or NotSolved."""
        if not len(self._integers):
            return self.solve_lp(deadline_s)
        return solve_alone(self.problem, deadline_s, rel_gap=rel_gap, start=start)

    def solve_near(
        self, relaxed: Array, deadline_s: float, rel_gap: float, steps: int = NEAR_STEPS, start: Array | None = None
    ) -> Raw:
        """The problem with every integer fixed that the relaxation settles, and its neighbours in time too.

        What stays free is within `steps` of a fractional value, or differs from the incumbent `start`.
        The plan is feasible for the whole problem; its `bound` is -inf. Raises Infeasible or NotSolved.
        """
        settled = _settled(self.problem, relaxed, steps)
        if start is not None:
            settled = settled[np.abs(start[settled] - relaxed[settled]) < 0.5]
        values = np.round(relaxed[settled])
        highs = _loaded(self.problem, integral=True)
        highs.setOptionValue("mip_root_presolve_only", True)
        if len(values):
            _done(highs.changeColsBounds(len(values), settled, values, values))
        _offer(highs, self.problem, start)
        highs.setOptionValue("mip_rel_gap", rel_gap)
        return replace(_integral(highs, self.problem, deadline_s), bound=-np.inf)

    def solve_held(
        self, held: Ints, values: Array, deadline_s: float, rel_gap: float, start: Array | None = None,
        heuristic_effort: float = HEURISTIC_EFFORT,
    ) -> Raw:  # fmt: skip
        """The problem with the columns `held` (m,) fixed at `values` (m,), `start` as a first incumbent.

        The plan is feasible for the whole problem; its `bound` holds for plans with these values only.
        `heuristic_effort` is the share of work that HiGHS spends on heuristics. Raises Infeasible or NotSolved.
        """
        highs = _loaded(self.problem, integral=True)
        highs.setOptionValue("mip_heuristic_effort", heuristic_effort)
        if len(held):
            _done(highs.changeColsBounds(len(held), np.asarray(held, dtype=np.int32), values, values))
        _offer(highs, self.problem, start)
        highs.setOptionValue("mip_rel_gap", rel_gap)
        return _integral(highs, self.problem, deadline_s)


def solve_alone(
    problem: Problem, deadline_s: float, *, rel_gap: float = 0.0, abs_gap: float = 0.0, start: Array | None = None
) -> Raw:
    """A problem with integers in an instance of its own, to either gap. Raises Infeasible or NotSolved.

    One of few integers is done in a third of the time without presolve and without sub-MIPs near the incumbent.
    """
    highs = _loaded(problem, integral=True)
    if problem.integer.sum() <= FEW_INTEGERS:
        highs.setOptionValue("presolve", "off")
        for search in SUB_MIPS:
            highs.setOptionValue(search, False)
    _offer(highs, problem, start)
    highs.setOptionValue("mip_rel_gap", rel_gap)
    highs.setOptionValue("mip_abs_gap", abs_gap or SMALLEST_GAP)
    return _integral(highs, problem, deadline_s)


def _offer(highs: Any, problem: Problem, start: Array | None) -> None:
    if start is not None:
        integers = np.flatnonzero(problem.integer).astype(np.int32)
        highs.setSolution(len(integers), integers, np.round(np.asarray(start, dtype=float)[integers]))


def _integral(highs: Any, problem: Problem, deadline_s: float) -> Raw:
    status, info = _run(highs, deadline_s), highs.getInfo()
    late = status == highspy.HighsModelStatus.kTimeLimit
    if status != highspy.HighsModelStatus.kOptimal and not (late and info.primal_solution_status == FEASIBLE):
        _refuse(status)
    x = np.array(highs.getSolution().col_value)
    check_solution(problem, x, integral=True)
    objective, bound = float(info.objective_function_value), float(info.mip_dual_bound)
    return Raw(x, None, objective, min(bound, objective), "time_limit" if late else "optimal")


def _settled(problem: Problem, relaxed: Array, steps: int) -> NDArray[np.int32]:
    """Integer columns whose relaxed values are integral from `steps` before to `steps` after."""
    settled = [np.empty(0, dtype=np.int64)]
    for block, first in zip(problem.blocks, problem.column_start, strict=True):
        for group, start in groups(block, first):
            if group.integer:
                value = relaxed[start : start + group.size].reshape(group.shape)
                open_ = np.abs(value - np.round(value)) > INTEGRAL
                width = np.ones(2 * steps + 1)
                near = np.array([np.convolve(row, width, mode="full")[steps:-steps] > 0.5 for row in open_])
                settled.append(start + np.flatnonzero(~near))
    return np.concatenate(settled).astype(np.int32)


def _loaded(problem: Problem, *, integral: bool) -> Any:
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("threads", THREADS)
    a = problem.matrix
    kinds = (problem.integer & integral).astype(np.int32)
    _done(
        highs.passModel(
            problem.columns, problem.rows, a.nnz, ROWWISE, MINIMISE, problem.offset,
            problem.cost, problem.lower, problem.upper, problem.row_lower, problem.row_upper,
            a.indptr.astype(np.int32, copy=False), a.indices.astype(np.int32, copy=False), a.data, kinds,
        )
    )  # fmt: skip
    return highs


def _done(status: Any) -> None:
    if status == highspy.HighsStatus.kError:
        raise NotSolved("HiGHS refused the model")


def _run(highs: Any, deadline_s: float) -> Any:
    """The status after a run; where presolve calls the problem infeasible or gives up, a second opinion without it."""
    began = time.perf_counter()
    status = _once(highs, deadline_s)
    if status in DOUBTED:
        highs.setOptionValue("presolve", "off")
        try:
            status = _once(highs, deadline_s - (time.perf_counter() - began))
        finally:
            highs.setOptionValue("presolve", "choose")
    return status


def _once(highs: Any, deadline_s: float) -> Any:
    if deadline_s <= 0:
        raise NotSolved("late: no time was left to solve")
    highs.setOptionValue("time_limit", highs.getRunTime() + deadline_s)
    _done(highs.run())
    return highs.getModelStatus()


def _refuse(status: Any) -> None:
    name = str(status).rsplit(".k", 1)[-1]
    if status == highspy.HighsModelStatus.kInfeasible:
        raise Infeasible("infeasible")
    if status == highspy.HighsModelStatus.kTimeLimit:
        raise NotSolved("late: the time limit passed without a solution")
    raise NotSolved(f"no optimum: {name}")
