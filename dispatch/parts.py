"""The parts of a problem that integers hold together, each alone at the prices of everything it shares.

With y the duals of the relaxation, a part k (columns K, rows R of its own) meets the rest only through
the other rows, whose prices turn its cost into a problem of its own:

    L_k = min  (c_K - A[not R, K]' y[not R]) x   over the part's rows, bounds and integers

The Lagrangian bound is the relaxation's value plus, for every part, L_k less what the relaxed point pays
for the part at these prices, which is the part's own linear minimum. So the bound never falls below the
relaxation, and where a market price is all that assets share it is the optimum.

A. M. Geoffrion, Lagrangean relaxation for integer programming, Math. Prog. Study 2 (1974).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from dispatch.problem import Bools, Ints, Problem
from vpp.domain.time import Array

INTEGRAL = 1e-6


@dataclass(frozen=True)
class Part:
    """Columns (k,) and rows (m,) of the whole problem; `matrix` (m, k) are its rows over its columns."""

    columns: Ints
    rows: Ints
    matrix: sp.csr_array


def integer_parts(problem: Problem) -> list[Part]:
    """Connected parts of the kinds' own rows that hold an integer column which is not fixed."""
    columns, rows = _of_kinds(problem)
    if not columns.any():
        return []
    at_columns, at_rows = np.flatnonzero(columns), np.flatnonzero(rows)
    whole = problem.matrix[at_rows]
    inside = sp.csr_array(whole[:, at_columns])
    alone = np.diff(inside.indptr) == np.diff(whole.indptr)
    at_rows, inside = at_rows[alone], sp.csr_array(inside[alone])
    width = len(at_columns)
    row, column = inside.nonzero()
    size = width + inside.shape[0]
    links: sp.csr_array[np.float64, tuple[int, int]] = sp.csr_array(
        (np.ones(len(row)), (width + row, column)), shape=(size, size)
    )
    _, label = connected_components(links, directed=False)
    open_ = (problem.integer & (problem.lower < problem.upper))[at_columns]
    found = []
    for k in np.unique(label[:width][open_]):
        own, of_rows = np.flatnonzero(label[:width] == k), np.flatnonzero(label[width:] == k)
        found.append(Part(at_columns[own], at_rows[of_rows], sp.csr_array(inside[of_rows][:, own])))
    return found


def _of_kinds(problem: Problem) -> tuple[Bools, Bools]:
    """Columns and rows of the blocks that own assets and decide on integers, those that others extend included."""
    columns, rows = np.zeros(problem.columns, dtype=bool), np.zeros(problem.rows, dtype=bool)
    joined = {name for block in problem.blocks for name in block.joins}
    for block, first, row in zip(problem.blocks, problem.column_start, problem.row_start, strict=True):
        decides = (block.assets or block.joins) and any(c.integer for c in block.columns)
        if decides or block.name in joined:
            columns[first : first + sum(c.size for c in block.columns)] = True
            rows[row : row + sum(r.size for r in block.rows)] = True
    return columns, rows


def alone(problem: Problem, part: Part, reduced: Array, row_duals: Array) -> Problem:
    """The part as a problem of its own; `reduced` (columns,) is cost less the price of every row."""
    cost = reduced[part.columns] + part.matrix.T @ row_duals[part.rows]
    size = part.columns.size
    return replace(
        problem, blocks=(), cost=np.asarray(cost), lower=problem.lower[part.columns], upper=problem.upper[part.columns],
        integer=problem.integer[part.columns], matrix=part.matrix, row_lower=problem.row_lower[part.rows],
        row_upper=problem.row_upper[part.rows], power=sp.csr_array((0, size)), power_offset=np.empty(0), offset=0.0,
        column_start=(), row_start=(),
    )  # fmt: skip


def reduced_cost(problem: Problem, row_duals: Array) -> Array:
    """(columns,) cost less the price of every row."""
    reduced: Array = problem.cost - problem.matrix.T @ row_duals
    return reduced


def is_integral(problem: Problem, part: Part, x: Array) -> bool:
    """Whether the relaxed point (columns,) has integers in the part already."""
    value = x[part.columns][problem.integer[part.columns]]
    return bool((np.abs(value - np.round(value)) <= INTEGRAL).all())
