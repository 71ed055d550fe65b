"""What one roll leaves for the next: cuts, a basis, prices and a commitment, moved to the next grid.

Columns and rows keep their block, label and asset; a step takes what the last roll had at its start, a
step past the last roll's end what it had last. The next roll begins at this basis, tries this
commitment first and knows these cuts; each is only a place to begin, so a run without them gives an
equally valid plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dispatch.block import Block
from dispatch.problem import Ints, Problem, groups
from dispatch.solvers.highs_door import BASIC, FREE, LOWER, UPPER, Basis
from vpp.domain.network import Cut
from vpp.domain.time import Array, TimeGrid

Statuses = NDArray[np.int8]
Span = tuple[str, str, tuple[str, ...], int, int]


@dataclass(frozen=True)
class Warm:
    """The last roll's problem with its plan `x` (columns,), the bases of its relaxation and of its plan, the
    cuts that mattered, a cut's case counted in `cases`, and the `prices` (rows,) of its best bound.
    """

    problem: Problem
    x: Array
    basis: Basis | None
    cuts: tuple[Cut, ...]
    cases: tuple[str, ...]
    plan_basis: Basis | None = None
    prices: Array | None = None


def cuts_on(warm: Warm, grid: TimeGrid, cases: Sequence[str]) -> list[Cut]:
    """The cuts of steps that `grid` has too, in its numbers, for the cases that are still looked at."""
    starts = {(t, m): i for i, (t, m) in enumerate(zip(grid.starts, grid.minutes, strict=True))}
    old = list(zip(warm.problem.grid.starts, warm.problem.grid.minutes, strict=True))
    found = []
    for cut in warm.cuts:
        step, case = starts.get(old[cut.step]), warm.cases[cut.case]
        if step is not None and case in cases:
            found.append(replace(cut, step=step, case=list(cases).index(case)))
    return found


def plan_on(warm: Warm, problem: Problem) -> Array | None:
    """The last plan's integers inside today's bounds (columns,); None where a column is not known."""
    source = _moved(warm.problem, problem, "columns")
    if (source[problem.integer] < 0).any():
        return None
    x = np.where(source >= 0, warm.x[np.maximum(source, 0)], 0.0)
    x[problem.integer] = np.round(x[problem.integer])
    return np.clip(x, problem.lower, problem.upper)


def prices_on(warm: Warm, problem: Problem) -> Array | None:
    """The prices (rows,) on today's rows; new ones have none."""
    if warm.prices is None:
        return None
    source = _moved(warm.problem, problem, "rows")
    known = (source >= 0) & (source < len(warm.prices))
    return np.where(known, warm.prices[np.where(known, source, 0)], 0.0)


def basis_on(warm: Warm, problem: Problem) -> Basis | None:
    """The relaxation's basis on today's columns and rows; what is new rests at a bound, new rows are not held."""
    return None if warm.basis is None else _on(warm, warm.basis, problem)


def plan_basis_on(warm: Warm, problem: Problem) -> Basis | None:
    """The basis of the last plan, whose integers were fixed, likewise."""
    return None if warm.plan_basis is None else _on(warm, warm.plan_basis, problem)


def _on(warm: Warm, basis: Basis, problem: Problem) -> Basis:
    at_columns, at_rows = (_moved(warm.problem, problem, what) for what in ("columns", "rows"))
    column = _taken(basis.columns, at_columns, LOWER)
    row = _taken(basis.rows, at_rows, BASIC)
    return Basis(_resting(column, problem.lower, problem.upper), _resting(row, problem.row_lower, problem.row_upper))


def _taken(status: Statuses, source: Ints, otherwise: int) -> Statuses:
    """Statuses from where `source` says, `otherwise` where it is negative or lies beyond a basis of fewer rows."""
    known = (source >= 0) & (source < len(status))
    return np.where(known, status[np.where(known, source, 0)], otherwise).astype(np.int8)


def _resting(status: Statuses, lower: Array, upper: Array) -> Statuses:
    """Statuses that rest at a bound that exists."""
    status = np.where((status == LOWER) & ~np.isfinite(lower), UPPER, status)
    status = np.where((status == UPPER) & ~np.isfinite(upper), np.where(np.isfinite(lower), LOWER, FREE), status)
    return status.astype(np.int8)


def _moved(old: Problem, new: Problem, what: str) -> Ints:
    """For each column or row of `new` the one of `old` it continues, -1 where there is none."""
    known = {span[:2]: span for span in _spans(old, what)}
    before = _steps_before(old.grid, new.grid)
    found = np.full(new.columns if what == "columns" else new.rows, -1, dtype=np.int64)
    for name, label, assets, first, size in _spans(new, what):
        if (name, label) not in known:
            continue
        _, _, had, start, had_size = known[name, label]
        if had != assets:
            continue
        count, rest = divmod(size, new.grid.n)
        if not rest and count * old.grid.n == had_size:
            at = (np.arange(count)[:, None] * old.grid.n + before).ravel()
        elif size == had_size:
            at = np.arange(size)
        else:
            continue
        found[first : first + size] = start + at
    return found


def _steps_before(old: TimeGrid, new: TimeGrid) -> Ints:
    """(T,) the step of `old` in which each step of `new` begins; its first or last one outside."""
    starts = np.array([t.timestamp() for t in old.starts])
    at = np.searchsorted(starts, [t.timestamp() for t in new.starts], side="right") - 1
    return np.clip(at, 0, old.n - 1).astype(np.int64)


def _spans(problem: Problem, what: str) -> Iterator[Span]:
    """Block, label, assets, first position and size of every column group, or of every band of rows."""
    for block, first, row in zip(problem.blocks, problem.column_start, problem.row_start, strict=True):
        if what == "columns":
            for group, start in groups(block, first):
                yield block.name, group.label, block.assets, start, group.size
        else:
            yield from _row_spans(block, row)
    if what == "rows":
        for row, rows in problem.extra:
            yield "", rows.label, (), row, rows.size


def _row_spans(block: Block, row: int) -> Iterator[Span]:
    for rows in block.rows:
        yield block.name, rows.label, block.assets, row, rows.size
        row += rows.size
