"""One asset alone against a plan: its own physics, the plan's prices, and the room that the others leave.

    min  c @ x - sum over t of h[t] price[t] p[t]         over the block of its kind,
    s.t. effect (p' - p) <= slack for every limit that binds several assets, where they are asked for

Others that share its equipment (assets of its kind at its site) keep the commitment of the plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from dispatch.block import INF, Block, Context, Rows
from dispatch.problem import Problem, assemble, groups, injection, with_rows
from dispatch.registry import KINDS
from dispatch.solvers.highs_door import Living
from dispatch.solvers.raw import Raw
from vpp.domain.errors import NotSolved
from vpp.domain.portfolio import Asset
from vpp.domain.prices import Coupling, Prices
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array

DEADLINE_S, GAP = 1.5, 1e-4
ROOM = 1e-6
RUNS_MW = 1e-3
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Answer:
    """What the asset does in one variant: its cost and a bound below it, power (T,), on/off (T,) where it has it,
    and the point with its duals.
    """

    cost_eur: float
    bound_eur: float
    power_mw: Array
    on: Array | None
    raw: Raw


@dataclass(frozen=True)
class OneAsset:
    """The asset's problem; `on` are its on/off columns (T,) or None, `row` its place in the fleet."""

    asset: Asset
    problem: Problem
    on: Ints | None
    planned_mw: Array
    planned_on: Array | None
    couplings: tuple[Coupling, ...]
    row: int

    @property
    def block(self) -> Block:
        return self.problem.blocks[0]

    def labels(self) -> dict[str, Ints]:
        """Rows of the asset's own inequalities by label, and of couplings by part.

        Left out are those that say what on and off mean: a row of one step over on/off and other power.
        """
        found: dict[str, Ints] = {}
        first = 0
        for rows in self.block.rows:
            at = np.arange(first, first + rows.size)
            first += rows.size
            if (self.problem.row_lower[at] < self.problem.row_upper[at]).any() and not self._defines_on(at):
                found[rows.label] = at
        for part in dict.fromkeys(c.part for c in self.couplings):
            found[part] = first + np.flatnonzero([c.part == part for c in self.couplings])
        return found

    def _defines_on(self, rows: Ints) -> bool:
        if self.on is None:
            return False
        power = np.zeros(self.problem.columns, dtype=bool)
        power[self.problem.power.indices] = True
        power[self.on] = False
        mine = self.problem.matrix[rows]
        mine = mine[np.flatnonzero(abs(mine[:, self.on]).sum(axis=1) > 0.0)]
        columns = mine.indices
        step = np.full(self.problem.columns, -1)
        for group, start in groups(self.block, 0):
            step[start : start + group.size] = np.arange(group.size) % group.shape[1]
        starts, counts = mine.indptr[:-1], np.diff(mine.indptr)
        if not len(starts) or not power[columns].any():
            return False
        first = np.repeat(step[columns[starts]], counts)
        return bool((step[columns] == first).all())

    def windows(self) -> Iterator[tuple[str, Ints]]:
        """Columns of contents: without power, inside a window, and tied to their own step before by an equality."""
        p = self.problem
        moves = abs(p.power).sum(axis=0)
        equal = p.matrix[np.flatnonzero(p.row_lower == p.row_upper)]
        for group, start in groups(self.block, 0):
            at = np.arange(start, start + group.size)
            inside = np.isfinite(p.lower[at]).all() and np.isfinite(p.upper[at]).all()
            if group.integer or group.shape[1] != p.grid.n or moves[at].any() or not inside:
                continue
            if (np.diff(sp.csr_array(equal[:, start : start + group.size]).indptr) > 1).any():
                yield group.label, at

    def movers(self, t: int) -> Ints:
        """Columns that make the asset's power at step `t` and are not fixed."""
        at = self.row * self.problem.grid.n + t
        mine = self.problem.power.indices[self.problem.power.indptr[at] : self.problem.power.indptr[at + 1]]
        return self.open(mine.astype(np.int64))

    def open(self, columns: Ints) -> Ints:
        """Those of `columns` that are not fixed."""
        return columns[self.problem.lower[columns] < self.problem.upper[columns]]

    @property
    def switches(self) -> bool:
        """Whether it is on or off: by a column of its own, or because integers alone make its power, as tasks do."""
        moved = [self.movers(t) for t in range(self.problem.grid.n)]
        return self.on is not None or all(self.problem.integer[columns].all() for columns in moved)

    def switched(self, t: int, on: bool) -> OneAsset:
        """The asset forced on or off at step `t`; one without an on/off column is on where it takes power."""
        if self.on is not None:
            return self._bounded(self.on[t : t + 1], float(on), float(on))
        at = self.row * self.problem.grid.n + t
        own, offset = self.problem.power[at : at + 1], float(self.problem.power_offset[at])
        lower, upper = (-INF, -RUNS_MW) if on else (-RUNS_MW / 2.0, INF)
        forced = Rows("forced", lower - offset, upper - offset, own=sp.csr_array(own))
        return replace(self, problem=with_rows(self.problem, forced))

    def as_planned(self) -> OneAsset:
        """The asset with the commitment of the plan at every step."""
        if self.on is None or self.planned_on is None:
            return self
        return self._bounded(self.on, self.planned_on, self.planned_on)

    def without(self, rows: Ints) -> OneAsset:
        """The asset without some of its rows."""
        low, high = self.problem.row_lower.copy(), self.problem.row_upper.copy()
        low[rows], high[rows] = -INF, INF
        return replace(self, problem=replace(self.problem, row_lower=low, row_upper=high))

    def wider(self, columns: Ints, *, below: bool) -> OneAsset:
        """The asset with a content that may fall below its window, or rise above it."""
        low, high = self.problem.lower[columns], self.problem.upper[columns]
        return self._bounded(columns, low - 1e3 if below else low, high if below else high + 1e3)

    def _bounded(self, columns: Ints, low: Array | float, high: Array | float) -> OneAsset:
        lower, upper = self.problem.lower.copy(), self.problem.upper.copy()
        lower[columns], upper[columns] = low, high
        return replace(self, problem=replace(self.problem, lower=lower, upper=upper))

    def solve(self) -> Answer | None:
        """The optimum, None where there is none."""
        try:
            living = Living(self.problem)
            raw = living.solve_mip(DEADLINE_S, GAP)
            fixed = living.solve_fixed(raw.x) if raw.row_duals is None else raw
        except NotSolved:
            return None
        power = injection(self.problem, fixed.x)[self.row]
        bound = min(raw.bound, fixed.objective)
        return Answer(fixed.objective, bound, power, None if self.on is None else np.round(fixed.x[self.on]), fixed)


def one_asset(
    asset: Asset,
    fleet: Sequence[Asset],
    context: Context,
    schedule: Schedule,
    prices: Prices,
    *,
    room: bool,
) -> OneAsset:
    """`asset` with those of `fleet` that share its kind and site.

    With `room` the limits over several assets are rows and their prices left out; else they are prices.
    """
    near = [a for a in fleet if a.kind == asset.kind and a.site == asset.site]
    ids = tuple(a.id for a in near)
    block = KINDS[asset.kind].block(near, context)
    problem = assemble(context.grid, ids, [block])
    listed = {c.part for c in prices.couplings} if room else set()
    price = np.array([prices.of(a, context.grid.n, listed) for a in ids])
    earned = (price * context.grid.hours).ravel()
    cost = problem.cost - problem.power.T @ earned
    columns = _on_columns(block, context.grid.n)
    if not room:
        _add_running(cost, columns, prices.couplings)
    problem = replace(problem, cost=cost, offset=problem.offset - float(earned @ problem.power_offset))
    problem = _others_as_planned(problem, columns, asset.id, schedule.commitment)
    ours = tuple(c for c in prices.couplings if room and c.sense and asset.id in {*c.effect, *c.effect_on})
    planned_on = schedule.commitment.get(asset.id)
    row = ids.index(asset.id)
    one = OneAsset(
        asset, problem, columns.get(asset.id), schedule.power_of(asset.id),
        None if planned_on is None else np.round(planned_on), ours, row,
    )  # fmt: skip
    return replace(one, problem=with_rows(problem, _room(one))) if ours else one


def _on_columns(block: Block, steps: int) -> dict[str, Ints]:
    """On/off columns (T,) by asset, where the block has one row of them per asset."""
    for group, start in groups(block, 0):
        if group.label == "on" and group.shape == (len(block.assets), steps):
            return {a: start + i * steps + np.arange(steps) for i, a in enumerate(block.assets)}
    return {}


def _add_running(cost: Array, columns: Mapping[str, Ints], couplings: Sequence[Coupling]) -> None:
    """What rules over on/off charge a running asset: the reduced cost c - a y."""
    for c in couplings:
        for asset, effect in c.effect_on.items():
            if asset in columns:
                cost[columns[asset][c.step]] -= effect * c.dual_eur


def _others_as_planned(
    problem: Problem, columns: Mapping[str, Ints], asset: str, commitment: Mapping[str, Array]
) -> Problem:
    lower, upper = problem.lower.copy(), problem.upper.copy()
    for other, at in columns.items():
        if other != asset and other in commitment:
            lower[at] = upper[at] = np.round(commitment[other])
    return replace(problem, lower=lower, upper=upper)


def _room(one: OneAsset) -> Rows:
    """The limits over several assets as rows over this one's change: what the others use stays used."""
    steps, m = one.problem.grid.n, len(one.couplings)
    effect = np.array([c.effect.get(one.asset.id, 0.0) for c in one.couplings])
    running = np.array([c.effect_on.get(one.asset.id, 0.0) for c in one.couplings])
    step = np.array([c.step for c in one.couplings])
    sense = np.array([c.sense for c in one.couplings])
    used = effect * one.planned_mw[step]
    own = sp.csr_array((m, one.problem.columns))
    if one.on is not None and one.planned_on is not None:
        used = used + running * one.planned_on[step]
        own = sp.csr_array((running, (np.arange(m), one.on[step])), shape=own.shape)
    slack = np.maximum(np.array([c.slack for c in one.couplings]), 0.0) + ROOM
    at = np.arange(m), one.row * steps + step
    over = sp.csr_array((effect, at), shape=(m, len(one.problem.power_offset)))
    lower, upper = np.where(sense < 0, used - slack, -INF), np.where(sense > 0, used + slack, INF)
    return Rows("room", lower, upper, own, over)
