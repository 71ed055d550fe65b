"""What a secure plan costs at best: a converged local optimum of the AC problem at equal margins.

Successive linear programs in a trust region, from two starts: the plan of the loop and the plan of a world without a
network. On/off decisions are those of the loop's plan, so what is left is smooth and the cost of cuts alone is
compared. At each point every branch and bus that uses more than `NEAR_PCT` of its limit is linearised anew and nothing
is kept of the points before, which is what the loop does not do; the margins are those of the loop's cuts.

    min  c x + price * excess    s.t.  the problem's rows,  dp p + dq q - excess <= limit - margin,  |p - p_k| <= r P

A step is taken where the exact cost, with the excess of the power flow in place of the linear one, falls by a tenth of
what was promised; else r is halved. It ends where what is promised is below `PROMISED` of the cost, or r is spent.
Fletcher and Sainz de la Maza, Nonlinear programming and nonsmooth optimization by successive linear programming, Math.
Prog. 43 (1989).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from benchmarks.security_case import SecurityCase
from dispatch.block import Rows
from dispatch.cut_pool import EXCESS_EUR_PER_MWH, MARGIN_LOADING_PCT, MARGIN_VOLTAGE_PCT, cut_block, cut_rows
from dispatch.exposure import bus_injection
from dispatch.problem import Problem, injection, with_block, with_rows
from dispatch.secure import Secured
from dispatch.solvers.highs_door import Living
from vpp.domain.network import Cut, Flow
from vpp.domain.time import Array

NEAR_PCT, PER_STEP = 80.0, 1000
STEPS, FIRST_RADIUS, LEAST_RADIUS = 60, 1.0, 1e-4
TAKEN, PROMISED = 0.1, 1e-7


@dataclass(frozen=True)
class Point:
    """A plan with its exact cost: money and priced excess of the power flow, and its linearisation."""

    x: Array
    cost: float
    cuts: list[Cut]


def converged(case: SecurityCase, secured: Secured) -> float:
    """The least cost found, EUR. Raises NotSolved where the problem itself has no plan."""
    problem = case.problem
    x = secured.x[: problem.columns]
    fixed = _fixed(problem, x)
    free = Living(fixed).solve_lp(60.0).x
    return min(_descended(case, fixed, start).cost for start in (x, free))


def _fixed(problem: Problem, x: Array) -> Problem:
    at = problem.integer
    lower, upper = problem.lower.copy(), problem.upper.copy()
    lower[at] = upper[at] = np.round(x[at])
    return replace(problem, lower=lower, upper=upper)


def _descended(case: SecurityCase, problem: Problem, start: Array) -> Point:
    point, radius = _point(case, problem, start), FIRST_RADIUS
    for _ in range(STEPS):
        x, promised_cost = _step(case, problem, point, radius)
        promised = point.cost - promised_cost
        if promised <= PROMISED * max(1.0, abs(point.cost)):
            break
        tried = _point(case, problem, x)
        if point.cost - tried.cost >= TAKEN * promised:
            point, radius = tried, min(FIRST_RADIUS, 2.0 * radius)
        else:
            radius /= 2.0
        if radius < LEAST_RADIUS:
            break
    return point


def _step(case: SecurityCase, problem: Problem, point: Point, radius: float) -> tuple[Array, float]:
    """The linear program's plan within `radius` of rated power, and what it promises to cost."""
    grid, p = case.grid, injection(problem, point.x)
    block, _ = cut_block("cuts", point.cuts, case.exposure, grid)
    size = np.repeat(np.abs(p).max(axis=1) + _rated(case), grid.n) * radius
    near = Rows("near", p.ravel() - size, p.ravel() + size, injection=sp.csr_array(sp.eye_array(p.size)))
    grown = with_rows(with_block(problem, block), near)
    raw = Living(grown).solve_lp(60.0)
    return raw.x[: problem.columns], raw.objective


def _rated(case: SecurityCase) -> Array:
    """(N,) MW, the size of each asset; that of elastic loads is what they take."""
    return np.array([getattr(a.params, "power_mw", getattr(a.params, "capacity_mw", 0.0)) for a in case.assets])


def _point(case: SecurityCase, problem: Problem, x: Array) -> Point:
    network, exposure = case.model.network, case.exposure
    p, q = bus_injection(exposure, injection(problem, x))
    flow = network.flow(case.grid, p, q)
    cuts = [_with_margin(c) for c in network.cuts(flow, near_pct=NEAR_PCT, per_step=PER_STEP)]
    return Point(x, problem.objective(x) + _excess_cost(case, cuts, flow, injection(problem, x)), cuts)


def _with_margin(cut: Cut) -> Cut:
    margin = MARGIN_VOLTAGE_PCT if cut.element.startswith("bus") else MARGIN_LOADING_PCT
    return replace(cut, limit=cut.limit - margin)


def _excess_cost(case: SecurityCase, cuts: list[Cut], flow: Flow, power_mw: Array) -> float:
    """Priced excess of a point, whose own linearisation is exact there. A step without solution costs the most."""
    matrix, rhs, kept = cut_rows(cuts, case.exposure, case.grid)
    past = np.maximum(matrix @ power_mw.ravel() - rhs, 0.0)
    price = EXCESS_EUR_PER_MWH * case.grid.hours[np.array([c.step for c in kept], dtype=np.int64)]
    lost = float((~flow.converged).sum()) * EXCESS_EUR_PER_MWH * float(np.abs(power_mw).sum())
    return float(price @ past) + lost
