"""How far assets may leave a plan in one interval: each alone, with what stores hold by then, and a way back.

For interval t the injections before t are the plan's, so the stores hold what the plan leaves in them; the injections
after t are free, within the physics of the kind and to the end of the plan, so that a full store is emptied and a
missed departure is not the price; on/off is as planned at every step. Then

    high[t], low[t] = the injection in t at the optimum of   min  c @ x - h @ (price p) -+ WORTH h[t] p[t] + far

over the block of the kind, where WORTH is above every price of energy and comfort and below every slack (unmet heat,
a missed departure), and `far` keeps the plan before t: AWAY per MWh beside it, so that a plan that a device no longer
follows is met as nearly as can be. A store that charges and discharges at once would make room by wasting energy: the
direction not asked for costs WASTE in t, and both cost WAYS after t and WAYS_BEFORE before it, where the plan has set
what they come to.

Assets that work on one store (a silo) are asked together where they lie at one bus; elsewhere they stay as planned,
as do assets inside their notice and those for which no such optimum is found. A machine that is on or off as a whole
has no range; what it gives or takes by a start or a stop in t (`switched`) is the same optimum with its integers free
from then on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from dispatch.block import Block, Columns, Context, Rows
from dispatch.problem import Bools, Ints, Problem, assemble, groups, injection, with_block
from dispatch.registry import KINDS
from dispatch.solvers.highs_door import Living, solve_alone
from vpp.domain.errors import NotSolved
from vpp.domain.portfolio import Asset
from vpp.domain.time import Array, TimeGrid

WORTH, AWAY, WASTE, WAYS = 600.0, 50_000.0, 10_000.0, 100.0
WAYS_BEFORE, SWITCH_GAP_EUR = 5_000.0, 5.0
COMMIT_S, LP_S = 3.0, 2.0
NEAR = "as planned"


@dataclass(frozen=True)
class Unit:
    """Assets at one bus that are asked together: one, or all that work on one store; `near` share their block."""

    members: tuple[str, ...]
    near: tuple[Asset, ...]


@dataclass(frozen=True)
class Range:
    """Injection (steps,) of a unit's sum, least and most; `why` is empty unless it is held to the plan."""

    low_mw: Array
    high_mw: Array
    why: str = ""


def units(fleet: Sequence[Asset], group: Sequence[str]) -> tuple[list[Unit], list[str]]:
    """The units of the assets `group` of `fleet`, and those that share a store with an asset elsewhere."""
    found, apart, seen = [], [], set()
    for asset in (a for a in fleet if a.id in set(group)):
        if asset.id in seen:
            continue
        near = tuple(a for a in fleet if (a.kind, a.site) == (asset.kind, asset.site))
        store = _store(asset)
        sharing = [a for a in near if a.id == asset.id or (store is not None and _store(a) == store)]
        alike = {(a.bus, a.tan_phi) for a in sharing}
        seen |= {a.id for a in sharing}
        if len(alike) > 1 or not {a.id for a in sharing} <= set(group):
            apart += [a.id for a in sharing if a.id in group]
        else:
            found.append(Unit(tuple(a.id for a in sharing), near))
    return found, apart


def _store(asset: Asset) -> str | None:
    found = KINDS[asset.kind].store(asset)
    return found[0] if found else None


def as_planned(planned_mw: Array, grid: TimeGrid) -> Block:
    """Columns over_mw and under_mw (N, T): how far the injections lie above and below `planned_mw` (N, T)."""
    size, shape = planned_mw.size, planned_mw.shape
    one = sp.eye_array(size)
    sides = tuple(Columns(label, shape, cost=AWAY * grid.hours, term="penalties") for label in ("over_mw", "under_mw"))
    own, flat = sp.csr_array(sp.hstack([-one, one], format="csr")), planned_mw.ravel()
    return Block(NEAR, sides, (Rows(NEAR, flat, flat, own, sp.csr_array(one)),))


def committed(problem: Problem) -> Problem:
    """The linear program that is left of a problem held to its plan when its integers are those of the plan.

    Binaries that only keep a store one way are left open. Raises NotSolved where no integers are found in time.
    """
    integer = np.flatnonzero(problem.integer & ~_one_way_binaries(problem))
    lower, upper = problem.lower.copy(), problem.upper.copy()
    if len(integer):
        x = solve_alone(problem, COMMIT_S, rel_gap=1e-4).x
        lower[integer] = upper[integer] = np.round(x[integer])
    return replace(problem, lower=lower, upper=upper, integer=np.zeros(problem.columns, dtype=bool))


def _one_way_binaries(problem: Problem) -> Bools:
    found = np.zeros(problem.columns, dtype=bool)
    for block, first in zip(problem.blocks, problem.column_start, strict=True):
        for group, at in groups(block, first):
            if block.two_ways is not None and group.label == "charging":
                found[at : at + group.size] = True
    return found


def near_plan(assets: Sequence[Asset], context: Context, planned: Mapping[str, Array], earned: Array) -> Problem:
    """The problem `around_plan` with its integers as `committed` leaves them. Raises NotSolved."""
    return committed(around_plan(assets, context, planned, earned))


def around_plan(assets: Sequence[Asset], context: Context, planned: Mapping[str, Array], earned: Array) -> Problem:
    """The blocks of `assets` with `as_planned`, a MWh of injection worth `earned` (T,)."""
    kinds = dict.fromkeys(a.kind for a in assets)
    blocks = [KINDS[k].block([a for a in assets if a.kind == k], context) for k in kinds]
    ids = tuple(a.id for a in assets)
    mw = np.array([planned[a] for a in ids])
    problem = with_block(assemble(context.grid, ids, blocks), as_planned(mw, context.grid))
    worth = np.tile(earned * context.grid.hours, len(ids))
    offset = problem.offset - float(worth @ problem.power_offset)
    return replace(problem, cost=problem.cost - problem.power.T @ worth, offset=offset)


def switched(
    near: Sequence[Asset], members: Sequence[str], context: Context, planned: Mapping[str, Array], earned: Array,
    t: int, sign: float,
) -> dict[str, float] | None:  # fmt: skip
    """MW that each of `members` injects in step t more (`sign` +1) or less than planned when on and off are free from
    then on; None where nothing of `near` is on or off as a whole. Raises NotSolved.
    """
    problem = around_plan(near, context, planned, earned)
    if not (problem.integer & ~_one_way_binaries(problem)).any():
        return None
    rows = [problem.asset_ids.index(m) for m in members]
    steps, hours = problem.grid.n, float(problem.grid.hours[t])
    total = np.asarray(problem.power[[r * steps + t for r in rows]].sum(axis=0)).ravel()
    cost = free_from(problem, rows, t) - sign * WORTH * hours * total
    x = solve_alone(replace(problem, cost=cost), COMMIT_S, rel_gap=1e-9, abs_gap=SWITCH_GAP_EUR).x
    power = injection(problem, x)
    return {m: float(power[r, t] - planned[m][t]) for m, r in zip(members, rows, strict=True)}


class Near:
    """Assets of one kind and site, held to their plan up to a step and free from it on."""

    def __init__(self, assets: Sequence[Asset], context: Context, planned: Mapping[str, Array], earned: Array) -> None:
        """Raises NotSolved where the plan's on/off is not found."""
        self.problem = near_plan(assets, context, planned, earned)
        self.living = Living(self.problem)
        self.grid, self.ids = context.grid, [a.id for a in assets]
        self.ways = ways_of(self.problem)

    def extreme(self, members: Sequence[str], t: int, sign: float) -> float:
        """The most (`sign` +1) or least (-1) that `members` inject in sum at step t, MW. Raises NotSolved."""
        rows = [self.ids.index(a) for a in members]
        cost = free_from(self.problem, rows, t)
        steps = self.grid.n
        total = np.asarray(self.problem.power[[r * steps + t for r in rows]].sum(axis=0)).ravel()
        cost -= sign * WORTH * self.grid.hours[t] * total
        for columns, direction in self.ways:
            of_step = columns.reshape(-1, steps)
            cost[of_step[:, t + 1 :]] += WAYS * self.grid.hours[t + 1 :]
            cost[of_step[:, t]] += WASTE * self.grid.hours[t] * (direction != sign)
        self.living.set_cost(np.arange(len(cost)), cost)
        return float(injection(self.problem, self.living.solve_lp(LP_S).x)[rows, t].sum())


def free_from(problem: Problem, rows: Sequence[int], t: int) -> Array:
    """The costs of a problem `near_plan` with the injections `rows` free from step t on, and no waste before it."""
    cost, steps = problem.cost.copy(), problem.grid.n
    block, first = next(
        (b, at) for b, at in zip(problem.blocks, problem.column_start, strict=True) if b.name == NEAR
    )
    for group, start in groups(block, first):
        at = (start + np.asarray(rows)[:, None] * steps + np.arange(t, steps)).ravel()
        cost[at] = 0.0
        assert group.size == len(problem.asset_ids) * steps
    for columns, _ in ways_of(problem):
        before = columns.reshape(-1, steps)[:, :t]
        cost[before] += WAYS_BEFORE * problem.grid.hours[:t]
    return cost


def ways_of(problem: Problem) -> list[tuple[Ints, float]]:
    """Columns of charging (-1) and discharging (+1) of the blocks of stores that must not do both."""
    found = []
    for block, first in zip(problem.blocks, problem.column_start, strict=True):
        if block.two_ways is not None:
            for group, at in groups(block, first):
                if group.label in ("charge", "discharge"):
                    found.append((np.arange(at, at + group.size), 1.0 if group.label == "discharge" else -1.0))
    return found


def ranges(
    unit: Unit, context: Context, planned: Mapping[str, Array], earned: Array, steps: Sequence[int],
    near: Near | None = None,
) -> Range:  # fmt: skip
    """The range of a unit's sum at each of `steps`; it always holds the plan. `near` is that of `unit.near`."""
    base = np.sum([planned[a] for a in unit.members], axis=0)[list(steps)]
    try:
        near = near or Near(unit.near, context, planned, earned)
        ends = [[near.extreme(unit.members, t, sign) for t in steps] for sign in (-1.0, 1.0)]
    except NotSolved as why:
        return Range(base, base, str(why))
    low, high = np.array(ends)
    return Range(np.minimum(low, base), np.maximum(high, base))
