"""What a group can hold for how long, when and where it comes back, and at what price: the answer over time.

Over the blocks of the group's kinds, held to the plan before step t0 and free after it (see `leeway`), with on/off as
planned and the network's cuts over everything that is not the group's as planned:

    hold      the most d with  sum of p[t] >= plan[t] + d  (up) or <= plan[t] - d  (down)  for every t of a window
    rebound   the plan that holds it, less the cheapest plan without an order, after the window, bus by bus
    merit     the price per MWh, on top of the energy's, from which on the group moves by so much in one interval

Every plan is secured like any other, the steps after the window included. The merit curve is the supply function
d(price) of the linear program; its steps are found exactly by bisection on the lines of its optimal value, the
parametric method of M. J. Eisner and D. G. Severance, "Mathematical techniques for efficient record segmentation in
large shared databases", J. ACM 23(4), 1976. A convex cost makes the prices rise with the MW.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from dispatch.block import Block, Columns, Rows
from dispatch.exposure import Exposure
from dispatch.flexibility import WORTH_PER_MWH, Direction, flexible_power, group_map, held_mw
from dispatch.leeway import free_from
from dispatch.one_way import Ways, closed
from dispatch.problem import Problem, columns_of, with_block
from dispatch.secure import secure_plan
from dispatch.solvers.highs_door import Living
from vpp.domain.errors import NotSolved
from vpp.domain.network import Cut, Network
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array

HOLD_S, LP_S, ROUNDS, CLOSINGS = 4.0, 2.0, 5, 8
SAME_MW, SAME_EUR = 1e-4, 1e-6
MOST_PRICES = 31
FELT_MW = 1e-3


@dataclass(frozen=True)
class Group:
    """The assets `members` in a problem of `leeway.near_plan`, `base_mw` (T,) their planned sum, t0 the first step."""

    problem: Problem
    members: tuple[str, ...]
    base_mw: Array
    t0: int
    network: Network | None = None
    exposure: Exposure | None = None

    @property
    def rows(self) -> list[int]:
        return [self.problem.asset_ids.index(a) for a in self.members]

    @property
    def free(self) -> Problem:
        """The problem with the members free from t0 on."""
        return replace(self.problem, cost=free_from(self.problem, self.rows, self.t0))


@dataclass(frozen=True)
class Held:
    """MW held over `steps` and the plan that holds it; no plan and `why` where none was found."""

    mw: float
    steps: tuple[int, ...]
    schedule: Schedule | None
    why: str = ""


def cheapest(group: Group, block: Block | None = None) -> Schedule:
    """The cheapest secured plan of the group from t0 on, with what `block` adds. Raises NotSolved.

    Where a store would go both ways at once, the way against the change of its content is closed and the plan made
    anew: a plan that every store can follow, which may hold a little less than the best.
    """
    problem, cuts = group.free if block is None else with_block(group.free, block), tuple[Cut, ...]()
    ways = Ways.of(problem)
    for _ in range(CLOSINGS):
        found = secure_plan(
            problem, group.network, group.exposure, deadline_s=HOLD_S, max_rounds=ROUNDS, seed_cuts=cuts
        )
        both, cuts = ways.both(problem, found.x), found.cuts
        if not both.size:
            break
        problem = closed(problem, ways.at(both), found.x)
    else:
        raise NotSolved("no plan was found whose stores go one way at a time")
    if found.solution.status == "violated":
        raise NotSolved("a limit of the network is broken whatever the group does")
    return found.solution.schedule


def hold(group: Group, steps: Sequence[int], direction: Direction) -> Held:
    """The most that the group holds over `steps` beyond its plan."""
    ids, grid = group.problem.asset_ids, group.problem.grid
    block = flexible_power(group.members, ids, grid, steps, group.base_mw, direction)
    try:
        plan = cheapest(group, block)
    except NotSolved as why:
        return Held(0.0, tuple(steps), None, str(why))
    return Held(held_mw(plan, group.members, steps, group.base_mw, direction), tuple(steps), plan)


def rebound_mw(group: Group, held: Held, undisturbed: Schedule) -> Array:
    """(members, T) injection that the order adds after its window; zeros up to its end and where nothing is held."""
    if held.schedule is None:
        return np.zeros((len(group.members), group.problem.grid.n))
    moved: Array = (held.schedule.power_mw - undisturbed.power_mw)[group.rows]
    moved[:, : max(held.steps) + 1] = 0.0
    return np.where(np.abs(moved) > FELT_MW, moved, 0.0)


@dataclass(frozen=True)
class _Point:
    price: float
    mw: float
    cost: float


def merit(group: Group, t: int, low_mw: float, high_mw: float) -> list[tuple[float, float]]:
    """(MW beyond the plan, price per MWh): down with negative MW, up with positive, in rising order of MW.

    Moving to a MW takes the price beside it or more; `low_mw` and `high_mw` are the least and most sum in step t.
    Where prices of the plan and of this program differ, the group may move for nothing: a price is never negative.
    """
    curve = _Supply(group, t, low_mw, high_mw)
    low, still, high = (curve.at(price) for price in (-WORTH_PER_MWH, 0.0, WORTH_PER_MWH))
    steps = curve.steps(low, still, MOST_PRICES) + curve.steps(still, high, MOST_PRICES)
    up = [(mw, max(price, 0.0)) for mw, price in steps if mw > SAME_MW]
    down: list[tuple[float, float]] = []
    levels = [low.mw, *(mw for mw, _ in steps)]
    for level, (_, price) in zip(levels, steps, strict=False):
        if level < -SAME_MW:
            down.append((level, max(-price, 0.0)))
    return down + up


class _Supply:
    """d(price) of one step."""

    def __init__(self, group: Group, t: int, low_mw: float, high_mw: float) -> None:
        free, base = group.free, float(group.base_mw[t])
        room = min(low_mw - base, 0.0), max(high_mw - base, 0.0)
        column = Columns("moved_mw", (1, 1), *room, term="flexibility")
        total = group_map(group.members, free.asset_ids, [t], free.grid.n)
        rows = Rows("moved", base, base, own=sp.csr_array([[-1.0]]), injection=total)
        self.problem = with_block(free, Block("moved", (column,), (rows,)))
        self.column = columns_of(self.problem, "moved", "moved_mw")
        self.living, self.hours = Living(self.problem), float(free.grid.hours[t])

    def at(self, price: float) -> _Point:
        self.living.set_cost(self.column, np.array([-price * self.hours]))
        raw = self.living.solve_lp(LP_S)
        moved = float(raw.x[self.column[0]])
        return _Point(price, moved, raw.objective + price * self.hours * moved)

    def steps(self, low: _Point, high: _Point, prices: int) -> list[tuple[float, float]]:
        """(MW, price from which on it is reached) between two points, `low` left out; where more than `prices` would
        have to be asked, steps that lie side by side are one at their mean price.
        """
        if high.mw - low.mw < SAME_MW:
            return []
        price = (high.cost - low.cost) / (self.hours * (high.mw - low.mw))
        if prices <= 0:
            return [(high.mw, price)]
        between = self.at(price)
        line = high.cost - price * self.hours * high.mw
        if between.cost - price * self.hours * between.mw > line - SAME_EUR:
            return [(high.mw, price)]
        half = (prices - 1) // 2
        return self.steps(low, between, half) + self.steps(between, high, half)
