"""A plan with its certified gap for a problem whose relaxation is nearly integral.

    1. the relaxation by dual simplex, whose duals give a bound that needs no trust (`certified_bound`)
    2. integers that the relaxation settles for some steps around are taken from it, the rest is solved
       (E. Danna, E. Rothberg and C. Le Pape, "Exploring relaxation induced neighborhoods to improve MIP
       solutions", Math. Prog. 102, 2005); the window widens while that finds no plan
    3. where the gap is still too wide, the whole problem, from that plan

It works on any `Problem`. The bound is the better of the relaxation's and the whole problem's.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from dispatch.problem import Problem
from dispatch.solvers.highs_door import Living, Raw
from vpp.domain.errors import NotSolved
from vpp.domain.time import Array

WINDOWS: Final = (1, 3, 8)
NEAR_SHARE: Final = 0.3
FINER: Final = 0.3


@dataclass(frozen=True)
class Found:
    """The best plan x (columns,), its objective, a lower bound on every plan's, and the relaxation's bound."""

    x: Array
    objective: float
    bound: float
    lp_bound: float

    @property
    def gap(self) -> float:
        """|objective - bound| / max(1, |objective|)."""
        return abs(self.objective - self.bound) / max(1.0, abs(self.objective))


def search(problem: Problem, deadline_s: float, rel_gap: float) -> Found:
    """The best plan found within `deadline_s`, no longer than `rel_gap` needs. Raises Infeasible or NotSolved."""
    ends = time.perf_counter() + deadline_s
    living = Living(problem)
    relaxed = living.solve_lp(deadline_s)
    bound = min(relaxed.objective, certified_bound(problem, relaxed.row_duals))
    best = _near(living, relaxed, ends, rel_gap, bound)
    if best is None or _gap(best.objective, bound) > rel_gap:
        try:
            start = None if best is None else best.x
            whole = living.solve_mip(ends - time.perf_counter(), rel_gap, start)
        except NotSolved:
            if best is None:
                raise
        else:
            bound = max(bound, whole.bound)
            best = whole if best is None or whole.objective < best.objective else best
    assert best is not None
    return Found(best.x, best.objective, min(bound, best.objective), relaxed.objective)


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


def _near(living: Living, relaxed: Raw, ends: float, rel_gap: float, bound: float) -> Raw | None:
    """The best plan near the relaxation, from ever wider windows until one is good enough."""
    best: Raw | None = None
    for steps in WINDOWS:
        left = NEAR_SHARE * (ends - time.perf_counter())
        try:
            found = living.solve_near(relaxed.x, left, FINER * rel_gap, steps)
        except NotSolved:
            continue
        best = found if best is None or found.objective < best.objective else best
        if _gap(best.objective, bound) <= rel_gap:
            break
    return best


def _gap(objective: float, bound: float) -> float:
    return abs(objective - bound) / max(1.0, abs(objective))
