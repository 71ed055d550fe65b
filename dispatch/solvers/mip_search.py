"""A plan with its certified gap for a problem whose relaxation is nearly integral.

    1. the relaxation by dual simplex, whose duals give a bound that needs no trust (`certified_bound`)
    2. integers that the relaxation settles for some steps around are taken from it, the rest is solved;
       the window widens while that finds no plan
    3. integers whose reduced cost says that moving them costs more than a small share of the objective are
       held at their bound, the rest is solved from the best plan so far
    4. the whole problem, from the best plan, with little effort on further plans: what is missing is the bound

and it ends as soon as the gap is closed. Steps 2 and 3 are neighbourhoods of the relaxation (E. Danna,
E. Rothberg and C. Le Pape, "Exploring relaxation induced neighborhoods to improve MIP solutions", Math. Prog.
102, 2005). It works on any `Problem`. The bound is the best of the relaxation's, the whole problem's, and
step 3's: a plan outside a window of reduced costs costs more than the relaxation by the window's width, so the
lesser of that and the window's own bound holds for every plan.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from dispatch.problem import Problem
from dispatch.solvers.highs_door import HEURISTIC_EFFORT, Living
from dispatch.solvers.raw import Raw
from vpp.domain.errors import NotSolved
from vpp.domain.time import Array

WINDOWS: Final = (1, 3, 8)
NEAR_SHARE: Final = 0.15
HELD_SHARE: Final = 0.25
HELD_COST: Final = 1e-4
FINER: Final = 0.3
PROVING_EFFORT: Final = 0.01


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
        return _gap(self.objective, self.bound)


@dataclass
class _Search:
    """What is known so far, and what time is left."""

    living: Living
    relaxed: Raw
    bound: float
    ends: float
    rel_gap: float
    best: Raw | None = None

    @property
    def left_s(self) -> float:
        return self.ends - time.perf_counter()

    @property
    def start(self) -> Array | None:
        return None if self.best is None else self.best.x

    @property
    def done(self) -> bool:
        return self.best is not None and _gap(self.best.objective, self.bound) <= self.rel_gap

    def keep(self, found: Raw) -> None:
        if self.best is None or found.objective < self.best.objective:
            self.best = found


def search(problem: Problem, deadline_s: float, rel_gap: float) -> Found:
    """The best plan found within `deadline_s`, no longer than `rel_gap` needs. Raises Infeasible or NotSolved."""
    ends = time.perf_counter() + deadline_s
    living = Living(problem)
    relaxed = living.solve_lp(deadline_s)
    bound = min(relaxed.objective, certified_bound(problem, relaxed.row_duals))
    known = _Search(living, relaxed, bound, ends, rel_gap)
    for step in (_near, _held, _whole):
        if not known.done:
            step(known)
    if known.best is None:
        raise NotSolved("late: the time limit passed without a solution")
    best = known.best
    return Found(best.x, best.objective, min(known.bound, best.objective), relaxed.objective)


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


def _near(known: _Search) -> None:
    """Plans near the relaxation, from ever wider windows until there is one."""
    for steps in WINDOWS:
        try:
            seconds = NEAR_SHARE * known.left_s
            known.keep(known.living.solve_near(known.relaxed.x, seconds, FINER * known.rel_gap, steps))
        except NotSolved:
            continue
        return


def _held(known: _Search) -> None:
    """The best plan with every integer held whose move costs more than the window, and the bound that gives."""
    problem, duals = known.living.problem, known.relaxed.row_duals
    if duals is None:
        return
    width = HELD_COST * abs(known.relaxed.objective)
    reduced = problem.cost - problem.matrix.T @ duals
    held = np.flatnonzero(problem.integer & (np.abs(reduced) > width))
    values = np.where(reduced[held] > 0.0, problem.lower[held], problem.upper[held])
    try:
        seconds = HELD_SHARE * known.left_s
        found = known.living.solve_held(held, values, seconds, FINER * known.rel_gap, known.start)
    except NotSolved:
        return
    known.keep(found)
    known.bound = max(known.bound, min(found.bound, known.relaxed.objective + width))


def _whole(known: _Search) -> None:
    """The whole problem: its bound, and a plan where there is none yet or a better one."""
    effort = HEURISTIC_EFFORT if known.best is None else PROVING_EFFORT
    none = np.empty(0, dtype=np.int64)
    try:
        found = known.living.solve_held(none, np.empty(0), known.left_s, known.rel_gap, known.start, effort)
    except NotSolved:
        if known.best is None:
            raise
        return
    known.keep(found)
    known.bound = max(known.bound, found.bound)


def _gap(objective: float, bound: float) -> float:
    return abs(objective - bound) / max(1.0, abs(objective))
