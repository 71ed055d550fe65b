"""CVXPY: real-time tracking, compiled once and re-solved with new numbers every minute.

    min  cost @ x + sum(weight (P - target)^2) + price @ excess
    s.t. row_lower <= A x <= row_upper,  lower <= x <= upper,  C P - excess <= limit,  P = G x + offset

Everything that changes between minutes is a parameter (DPP), bounds are constraints, and the
coefficients of A enter as `R (values * (S x))` so that a new coefficient needs no new compilation.
Integers are inputs here: their columns equal a parameter. Any status but optimal is NotSolved.

A. Agrawal et al., Differentiable convex optimization layers, NeurIPS 2019 (DPP); P. Goulart, Y. Chen,
Clarabel: an interior-point solver for conic programs with quadratic objectives (2024).
"""

from __future__ import annotations

import time
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from dispatch.problem import Problem, check_solution
from vpp.domain.errors import NotSolved
from vpp.domain.time import Array

EXCESS_EUR_PER_MWH = 20_000.0
ACCURACY = {"tol_gap_abs": 1e-6, "tol_gap_rel": 1e-6, "tol_feas": 1e-7}


class RealTime:
    """One compiled shape: sparsity of the rows, power map and finite bounds as in the `problem` it is made from."""

    def __init__(self, problem: Problem, n_cut_rows: int) -> None:
        self.n_cut_rows = n_cut_rows
        self._shape = _shape(problem)
        n, steps = len(problem.asset_ids), problem.grid.n
        x = self._x = cp.Variable(problem.columns)
        moved = cp.reshape(problem.power @ x, (n, steps), order="C")
        self._cost = cp.Parameter(problem.columns)
        self._root, self._aim = cp.Parameter((n, steps), nonneg=True), cp.Parameter((n, steps))
        objective = self._cost @ x + cp.sum_squares(cp.multiply(self._root, moved) - self._aim)
        self._coefficients = cp.Parameter(max(1, problem.matrix.nnz))
        self._sides: list[tuple[cp.Parameter, str, NDArray[np.int64]]] = []
        constraints = [*self._box(x), *self._rows(x, problem.matrix)]
        if n_cut_rows:
            self._cut, self._cut_limit = cp.Parameter((n_cut_rows, n)), cp.Parameter((n_cut_rows, steps))
            excess = cp.Variable((n_cut_rows, steps), nonneg=True)
            constraints.append(self._cut @ moved - excess <= self._cut_limit)
            objective += EXCESS_EUR_PER_MWH * cp.sum(excess @ problem.grid.hours)
        self._compiled = cp.Problem(cp.Minimize(objective), constraints)
        assert self._compiled.is_dpp()

    def _side(self, name: str, at: NDArray[np.int64]) -> cp.Parameter:
        parameter = cp.Parameter(len(at))
        self._sides.append((parameter, name, at))
        return parameter

    def _box(self, x: cp.Variable) -> list[Any]:
        fixed, low, high = self._shape["fixed"], self._shape["low"], self._shape["high"]
        return [
            *([x[fixed] == self._side("lower", fixed)] if len(fixed) else []),
            *([x[low] >= self._side("lower", low)] if len(low) else []),
            *([x[high] <= self._side("upper", high)] if len(high) else []),
        ]

    def _rows(self, x: cp.Variable, matrix: sp.csr_array) -> list[Any]:
        if not matrix.nnz:
            return []
        nnz, at = matrix.nnz, np.arange(matrix.nnz)
        spread = sp.csr_array((np.ones(nnz), (at, matrix.indices)), shape=(nnz, matrix.shape[1]))
        row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        gather = sp.csr_array((np.ones(nnz), (row, at)), shape=(matrix.shape[0], nnz))
        value = gather @ cp.multiply(self._coefficients, spread @ x)
        equal, low, high = self._shape["row_equal"], self._shape["row_low"], self._shape["row_high"]
        return [
            *([value[equal] == self._side("row_lower", equal)] if len(equal) else []),
            *([value[low] >= self._side("row_lower", low)] if len(low) else []),
            *([value[high] <= self._side("row_upper", high)] if len(high) else []),
        ]

    def fits(self, problem: Problem) -> bool:
        """Whether `problem` differs from the compiled one in numbers only."""
        other = _shape(problem)
        return all(np.array_equal(other[k], v) for k, v in self._shape.items())

    def solve(
        self,
        problem: Problem,
        target_mw: Array,
        weight: Array | float,
        *,
        cuts: Array | None = None,
        cut_limits: Array | None = None,
        deadline_s: float,
    ) -> tuple[Array, float]:
        """x (columns,) and the objective, for a problem that `fits`.

        `target_mw` (N,T) is tracked at `weight` (N,T), currency per MW^2; `cuts` (K,N) and `cut_limits` (K,T)
        fill the first rows of C P <= limit, the others stay empty. Raises ValueError for a misfit,
        NotSolved for any status but optimal, a late answer, or nonsense.
        """
        if not self.fits(problem):
            raise ValueError("the problem has another shape than the compiled one")
        began = time.perf_counter()
        self._fill(problem, target_mw, weight)
        self._fill_cuts(problem, cuts, cut_limits)
        if deadline_s <= 0:
            raise NotSolved("late: no time was left to solve")
        try:
            self._compiled.solve(
                solver=cp.CLARABEL, ignore_dpp=False, enforce_dpp=True, time_limit=deadline_s, **ACCURACY
            )
        except cp.SolverError as failure:
            raise NotSolved(f"Clarabel: {failure}") from failure
        if self._compiled.status != cp.OPTIMAL or self._x.value is None:
            raise NotSolved(f"no optimum: {self._compiled.status}")
        if time.perf_counter() - began > deadline_s:
            raise NotSolved(f"late: {time.perf_counter() - began:.3f} s of {deadline_s:.3f} s")
        x = np.asarray(self._x.value, dtype=float)
        check_solution(problem, x, integral=True)
        return np.clip(x, problem.lower, problem.upper), float(self._compiled.value) + problem.offset

    def _fill(self, problem: Problem, target_mw: Array, weight: Array | float) -> None:
        n, steps = len(problem.asset_ids), problem.grid.n
        root = np.sqrt(np.broadcast_to(np.asarray(weight, dtype=float), (n, steps)))
        aim = root * (target_mw - problem.power_offset.reshape(n, steps))
        if not np.isfinite(aim).all():
            raise NotSolved("nonsense: a target is missing")
        self._cost.value, self._root.value, self._aim.value = problem.cost, root, aim
        if problem.matrix.nnz:
            self._coefficients.value = problem.matrix.data
        for parameter, name, at in self._sides:
            parameter.value = getattr(problem, name)[at]

    def _fill_cuts(self, problem: Problem, cuts: Array | None, cut_limits: Array | None) -> None:
        given = 0 if cuts is None else len(cuts)
        if given > self.n_cut_rows:
            raise ValueError(f"{given} cuts for {self.n_cut_rows} compiled rows")
        if not self.n_cut_rows:
            return
        n, steps = len(problem.asset_ids), problem.grid.n
        c, limit = np.zeros((self.n_cut_rows, n)), np.ones((self.n_cut_rows, steps))
        if cuts is not None and cut_limits is not None:
            c[:given], limit[:given] = cuts, cut_limits - cuts @ problem.power_offset.reshape(n, steps)
        self._cut.value, self._cut_limit.value = c, limit


def _shape(problem: Problem) -> dict[str, NDArray[Any]]:
    """What a compilation depends on: sparsity, the power map, which sides are finite or equal."""
    fixed = problem.integer
    equal = problem.row_lower == problem.row_upper
    return {
        "indptr": problem.matrix.indptr,
        "indices": problem.matrix.indices,
        "power_at": problem.power.indices,
        "power": problem.power.data,
        "hours": problem.grid.hours,
        "fixed": np.flatnonzero(fixed),
        "low": np.flatnonzero(np.isfinite(problem.lower) & ~fixed),
        "high": np.flatnonzero(np.isfinite(problem.upper) & ~fixed),
        "row_equal": np.flatnonzero(equal),
        "row_low": np.flatnonzero(np.isfinite(problem.row_lower) & ~equal),
        "row_high": np.flatnonzero(np.isfinite(problem.row_upper) & ~equal),
    }
