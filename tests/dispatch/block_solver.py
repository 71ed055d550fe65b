"""Solves one block alone against a linear price on its injection, straight through highspy.

minimise   sum of cost * x  -  sum over assets and steps of price[t] * h[t] * p[i,t]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import highspy
import numpy as np
import scipy.sparse as sp

from dispatch.block import Block, Rows
from vpp.domain.time import Array, TimeGrid

GAP = 1e-9


class Solved(NamedTuple):
    """Objective, columns, injection (N, T) of `asset_ids`, duals by label of the rows (empty for a MIP)."""

    objective: float
    x: Array
    injection: Array
    duals: Mapping[str, Array]


def power_map(block: Block, asset_ids: Sequence[str], steps: int) -> tuple[sp.csr_array, Array]:
    """(N*T, columns) and (N*T,): the injections of `asset_ids` from the block's columns."""
    n_columns = sum(c.size for c in block.columns)
    if block.power is None:
        return sp.csr_array((len(asset_ids) * steps, n_columns)), np.zeros(len(asset_ids) * steps)
    at = np.array([list(asset_ids).index(a) for a in block.assets], dtype=int)
    target = (at[:, None] * steps + np.arange(steps)).ravel()
    lift = sp.csr_array(
        (np.ones(target.size), (target, np.arange(target.size))), shape=(len(asset_ids) * steps, target.size)
    )
    offset = np.broadcast_to(np.asarray(block.power_offset, dtype=float), (target.size,))
    return sp.csr_array(lift @ block.power), np.asarray(lift @ offset)


def _spread(values: Sequence[tuple[Array | float, int]]) -> Array:
    return np.concatenate([np.zeros(0), *(np.broadcast_to(np.asarray(v, float).ravel(), (m,)) for v, m in values)])


def _row_matrix(rows: Rows, power: sp.csr_array, n_columns: int) -> sp.csr_array:
    matrix = sp.csr_array((rows.size, n_columns))
    if rows.own is not None:
        matrix = matrix + rows.own
    if rows.injection is not None:
        matrix = matrix + rows.injection @ power
    return sp.csr_array(matrix)


def solve_block(
    block: Block,
    asset_ids: Sequence[str],
    grid: TimeGrid,
    price_eur_per_mwh: Array,
    *,
    extra_rows: Sequence[Rows] = (),
) -> Solved:
    """The optimum of `block` when injection earns `price_eur_per_mwh` (T,). Raises AssertionError unless optimal."""
    steps = grid.n
    power, offset = power_map(block, asset_ids, steps)
    n_columns = sum(c.size for c in block.columns)
    earned = np.tile(np.asarray(price_eur_per_mwh) * grid.hours, len(asset_ids))
    cost = _spread([(c.cost, c.size) for c in block.columns]) - power.T @ earned
    all_rows = [*block.rows, *extra_rows]
    matrix = sp.csr_array(
        sp.vstack([sp.csr_array((0, n_columns)), *(_row_matrix(r, power, n_columns) for r in all_rows)])
    )
    shift = [np.zeros(r.size) if r.injection is None else r.injection @ offset for r in all_rows]
    row_lower = _spread([(np.asarray(r.lower, float) - s, r.size) for r, s in zip(all_rows, shift, strict=True)])
    row_upper = _spread([(np.asarray(r.upper, float) - s, r.size) for r, s in zip(all_rows, shift, strict=True)])
    lower, upper = (
        _spread([(c.lower, c.size) for c in block.columns]),
        _spread([(c.upper, c.size) for c in block.columns]),
    )
    integer = _spread([(float(c.integer), c.size) for c in block.columns]) > 0.5
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = n_columns, matrix.shape[0]
    model.col_cost_, model.col_lower_, model.col_upper_ = cost, lower, upper
    model.row_lower_, model.row_upper_ = row_lower, row_upper
    model.offset_ = float(block.offset - earned @ offset)
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_, model.a_matrix_.index_, model.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
    if integer.any():
        model.integrality_ = [highspy.HighsVarType.kInteger if i else highspy.HighsVarType.kContinuous for i in integer]
    solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    for option, value in (("output_flag", False), ("mip_rel_gap", GAP), ("mip_abs_gap", 1e-9), ("threads", 1)):
        solver.setOptionValue(option, value)
    solver.passModel(model)
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        solver.setOptionValue("presolve", "off")
        solver.run()
    status = solver.getModelStatus()
    assert status == highspy.HighsModelStatus.kOptimal, f"{block.name}: {solver.modelStatusToString(status)}"
    solution = solver.getSolution()
    x = np.asarray(solution.col_value)
    duals: dict[str, Array] = {}
    if not integer.any():
        values, at = np.asarray(solution.row_dual), 0
        for rows in all_rows:
            duals[rows.label] = values[at : at + rows.size]
            at += rows.size
    injection = (power @ x + offset).reshape(len(asset_ids), steps)
    return Solved(float(solver.getInfo().objective_function_value), x, injection, duals)
