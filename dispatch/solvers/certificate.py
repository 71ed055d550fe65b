"""A lower bound that needs no trust in a solver: the Lagrangian at any duals; and a problem with rows added."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from dispatch.problem import Problem
from vpp.domain.time import Array


def certified_bound(problem: Problem, row_duals: Array | None) -> float:
    """A lower bound on the relaxation from any duals (rows,): the Lagrangian's minimum over the columns' bounds.

    Duals of the wrong sign count as 0; a reduced cost that an infinite bound would exploit gives -inf.
    """
    y = np.zeros(problem.rows) if row_duals is None else np.asarray(row_duals, dtype=float)
    y = np.where((y > 0.0) & np.isneginf(problem.row_lower) | (y < 0.0) & np.isposinf(problem.row_upper), 0.0, y)
    at = np.where(y > 0.0, problem.row_lower, problem.row_upper)
    reduced = problem.cost - problem.matrix.T @ y
    end = np.where(reduced > 0.0, problem.lower, problem.upper)
    used, held = reduced != 0.0, y != 0.0
    return problem.offset + float(y[held] @ at[held]) + float(reduced[used] @ end[used])


def with_rows_below(problem: Problem, rows: sp.csr_array, lower: Array, upper: Array) -> Problem:
    """The problem with `rows` (m,columns) between `lower` and `upper` (m,) below its own."""
    return replace(
        problem, matrix=sp.csr_array(sp.vstack([problem.matrix, rows], format="csr")),
        row_lower=np.concatenate([problem.row_lower, lower]), row_upper=np.concatenate([problem.row_upper, upper]),
    )  # fmt: skip
