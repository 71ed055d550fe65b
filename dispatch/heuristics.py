"""Plans of our own, because a general solver has no useful one after a second.

Best responses: every part that integers hold together (a silo with its mills, an engine with its heat)
answers the relaxation's prices alone, to optimality; all answers together are a commitment, and what they
gain over the relaxation raises the certified bound (see `parts`). A part whose relaxed values are integral
already has given its answer. Asked again at prices that lean towards those of the plan this gave, the parts
see what their answers did to what they share, and often find a cheaper plan together.
Balance: where the answers together pass a limit that assets share, or leave one unused that has a price, they
are given anew one after the other, each at prices moved by what is passed or left.
Guided rounding: a part stays as near to the relaxed commitment as its own rows allow,

    min  sum over integers of x (1 - 2 relaxed),      the L1 distance for binaries,

which keeps what the prices left undecided where the network wanted it.
Known commitments: those of the last plan, or of any other, inside today's bounds.

E. Balas and C. H. Martin, Pivot and complement: a heuristic for 0-1 programming, Management Sci. 26
(1980), for the rounding; A. Frangioni, About Lagrangian methods in integer optimization, Ann. Oper.
Res. 139 (2005), for plans from prices.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from dispatch.parts import Part, alone, is_integral, reduced_cost
from dispatch.problem import Problem, groups
from dispatch.solvers.highs_door import Living, solve_alone
from dispatch.solvers.raw import Raw
from vpp.domain.errors import NotSolved
from vpp.domain.time import Array

LEAST_S, SEVERAL = 0.02, 4.0
WAVE = 4
WORKERS = min(WAVE, os.cpu_count() or 1)
ROUNDING_GAP = 0.05
OWN_PRICES = 0.1
SWEEPS, STEP = 2, 0.25
SMALL = 1e-6


@dataclass(frozen=True)
class Responses:
    """`x` (columns,) with the integers of every answer; `gain` is what they raise the relaxation's bound by."""

    x: Array
    gain: float


def best_responses(
    problem: Problem, parts: Sequence[Part], relaxed: Raw, deadline_s: float, abs_gap: float, known: Array | None = None
) -> Responses:
    """Each open part's cheapest answer to the prices of `relaxed` (with duals), to `abs_gap` in sum.

    A part that finds none in time keeps `known` (columns,), a feasible point, or what is relaxed, rounded.
    Raises ValueError for a relaxation without duals.
    """
    asked = [p for p in parts if not is_integral(problem, p, relaxed.x)]
    x, gain = relaxed.x.copy(), 0.0
    for part, own, answer in answers_of(problem, asked, _prices(relaxed), deadline_s, abs_gap, known):
        if answer is not None:
            x[part.columns] = answer.x
            gain += max(0.0, answer.bound - float(own.cost @ relaxed.x[part.columns]))
        elif known is not None:
            x[part.columns] = known[part.columns]
    return Responses(x, gain)


def repriced_responses(
    problem: Problem, parts: Sequence[Part], relaxed: Raw, plan: Raw, deadline_s: float, abs_gap: float
) -> Array:
    """Answers of all parts to prices between those of the relaxation and those of a plan, which know its commitment.

    (columns,) with their integers; a part that finds none in time keeps the plan's. Both have duals on all rows.
    """
    prices = (1.0 - OWN_PRICES) * _prices(relaxed)
    prices[: len(_prices(plan))] += OWN_PRICES * _prices(plan)
    x = np.concatenate([plan.x, np.zeros(problem.columns - len(plan.x))])
    for part, _, answer in answers_of(problem, parts, prices, deadline_s, abs_gap, None):
        if answer is not None:
            x[part.columns] = answer.x
    return x


def balanced_responses(
    problem: Problem, parts: Sequence[Part], relaxed: Raw, x: Array, deadline_s: float, abs_gap: float
) -> Array:
    """Answers `x` (columns,) of all parts, given anew one after the other where together they miss a shared limit.

    A limit that is passed, or that had a price and is not used, changes its price for the part asked next.
    """
    began, x, matrix = time.perf_counter(), x.copy(), problem.matrix.tocsc()
    prices, size = _prices(relaxed), _reach(problem, parts)
    priced = (np.abs(prices) > SMALL) & (size > 0.0)
    usual = float(np.abs(prices[priced]).mean()) if priced.any() else 1.0
    step = np.where(size > 0.0, np.where(priced, STEP * np.abs(prices), usual) / np.maximum(size, SMALL), 0.0)
    wanted, activity = problem.matrix @ relaxed.x, problem.matrix @ x
    for number, part in enumerate([*parts] * SWEEPS):
        left = deadline_s - (time.perf_counter() - began)
        off = _missed(activity, np.where(priced, wanted, np.nan), size, problem)
        if left <= 0 or not off.any():
            break
        columns = matrix[:, part.columns]
        if not (columns.T @ off).any():
            continue
        moved = prices - step * off
        own = alone(problem, part, reduced_cost(problem, moved), moved)
        with suppress(NotSolved):
            share = _share(left, SWEEPS * len(parts) - number)
            answer = solve_alone(own, share, abs_gap=abs_gap / len(parts), start=x[part.columns])
            activity += columns @ (answer.x - x[part.columns])
            x[part.columns] = answer.x
    return x


def _missed(activity: Array, wanted: Array, size: Array, problem: Problem) -> Array:
    """(rows,) by how much shared limits are passed, or missed by more than half of what one part can move."""
    past = np.maximum(activity - problem.row_upper, 0.0) - np.maximum(problem.row_lower - activity, 0.0)
    off = np.where(np.isfinite(wanted), activity - wanted, past)
    least = np.where(np.isfinite(wanted), size / 2.0, SMALL)
    return np.where((size > 0.0) & (np.abs(off) > least), off, 0.0)


def _reach(problem: Problem, parts: Sequence[Part]) -> Array:
    """(rows,) by how much one column of a part can move each limit that parts share; 0 for all other rows."""
    columns = np.concatenate([p.columns for p in parts])
    width = problem.upper[columns] - problem.lower[columns]
    reach = abs(problem.matrix.tocsc()[:, columns]) @ sp.diags_array(np.where(np.isfinite(width), width, 1.0))
    most: Array = reach.max(axis=1).toarray().ravel()
    most[np.concatenate([p.rows for p in parts])] = 0.0
    return np.where(problem.row_lower < problem.row_upper, most, 0.0)


def _prices(raw: Raw) -> Array:
    if raw.row_duals is None:
        raise ValueError("best responses need prices: a point without duals has none")
    return raw.row_duals


def answers_of(
    problem: Problem, asked: Sequence[Part], prices: Array, deadline_s: float, abs_gap: float, known: Array | None
) -> Iterator[tuple[Part, Problem, Raw | None]]:  # fmt: skip
    """Each part, small ones first, its problem at `prices`, and its answer, None where none was found in time.

    Effort grows fast with size, so the gap is shared by the cube of the number of integers; what a part
    leaves of its share those after its wave may use. A wave is asked on all cores.
    """
    began, reduced, allowed = time.perf_counter(), reduced_cost(problem, prices), abs_gap
    order = sorted(asked, key=lambda p: int(problem.integer[p.columns].sum()))
    weight = np.array([float(problem.integer[p.columns].sum()) ** 3 for p in order])

    def answer(number: int, own: Problem, share: float) -> Raw | None:
        left = _share(deadline_s - (time.perf_counter() - began), len(order) - number)
        with suppress(NotSolved):
            return solve_alone(own, left, abs_gap=share, start=_of(order[number], known))
        return None

    with ThreadPoolExecutor(WORKERS) as pool:
        for first in range(0, len(order), WAVE):
            wave = range(first, min(first + WAVE, len(order)))
            owns = [alone(problem, order[k], reduced, prices) for k in wave]
            shares = allowed * weight[wave] / weight[first:].sum()
            answers = list(pool.map(answer, wave, owns, shares))
            allowed = max(0.0, allowed - sum(a.objective - a.bound for a in answers if a is not None))
            yield from zip([order[k] for k in wave], owns, answers, strict=True)


def relaxed_bounds(owns: Sequence[Problem], deadline_s: float) -> Array:
    """(parts,) optima of the relaxations of parts alone, -inf where one is late."""

    def optimum(own: Problem) -> float:
        with suppress(NotSolved):
            return Living(own).solve_lp(deadline_s).objective
        return -np.inf

    with ThreadPoolExecutor(WORKERS) as pool:
        return np.array(list(pool.map(optimum, owns)))


def guided_rounding(
    problem: Problem, parts: Sequence[Part], relaxed: Array, deadline_s: float, known: Array | None = None
) -> Array:
    """Columns (columns,) whose integers are nearest to `relaxed` part by part. Raises NotSolved where a part has none.

    A part that finds none in time keeps `known` where it is given.
    """
    began, x = time.perf_counter(), relaxed.copy()
    asked = [p for p in parts if not is_integral(problem, p, relaxed)]
    distance = np.where(problem.integer, 1.0 - 2.0 * np.clip(relaxed, 0.0, 1.0), 0.0)

    def nearest(number: int, part: Part) -> Array:
        left = _share(deadline_s - (time.perf_counter() - began), len(asked) - number)
        own = replace(alone(problem, part, problem.cost, np.zeros(problem.rows)), cost=distance[part.columns])
        try:
            return solve_alone(own, left, rel_gap=ROUNDING_GAP, start=_of(part, known)).x
        except NotSolved:
            if known is None:
                raise
            return known[part.columns]

    with ThreadPoolExecutor(WORKERS) as pool:
        for part, found in zip(asked, pool.map(nearest, range(len(asked)), asked), strict=True):
            x[part.columns] = found
    return x


def _share(left_s: float, parts: int) -> float:
    """Seconds of one of `parts` that are still to come: a few may take several times their share."""
    return min(left_s, max(LEAST_S, SEVERAL * left_s / parts))


def _of(part: Part, x: Array | None) -> Array | None:
    return None if x is None else x[part.columns]


def known_integers(problem: Problem, commitment: Mapping[str, Array]) -> Array | None:
    """Columns with the integers at known commitments (T,) by asset, inside their bounds; None where one is missing."""
    x = np.zeros(problem.columns)
    for block, first in zip(problem.blocks, problem.column_start, strict=True):
        if block.hinted is not None:
            mine = block.hinted(commitment)
            if mine is None:
                return None
            x[first : first + mine.size] = mine
            continue
        for group, start in groups(block, first):
            if not group.integer:
                continue
            if group.shape != (len(block.assets), problem.grid.n) or not set(block.assets) <= commitment.keys():
                return None
            x[start : start + group.size] = np.concatenate([commitment[a] for a in block.assets])
    return np.clip(np.round(x), problem.lower, problem.upper)
