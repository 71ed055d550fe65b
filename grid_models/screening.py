"""What single outages do to a network at every step: the highest loading and the furthest voltage of each.

A loading is the greater of both ends' currents over the element's limit after the fault, a voltage is
measured against the narrowest band of all buses fused in its node. Elements and nodes that an outage
cuts off have neither; the load they lose is summed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grid_models.batch import Engine
from grid_models.compile import State
from grid_models.contingencies import Outcome, outcomes
from grid_models.tables import Bools, Complex, Ints, NetTables
from vpp.domain.network import LOADING_TOLERANCE_PCT, VOLTAGE_TOLERANCE_PU
from vpp.domain.time import Array


def emergency_loading(tables: NetTables) -> Array:
    """What every rated element may carry after a fault for its `emergency_minutes`, in % of its rating (E,)."""
    return np.concatenate([tables.lines.emergency_loading_pct, tables.trafos.emergency_loading_pct])


@dataclass(frozen=True)
class PostFaultLimits:
    """Limits after a fault: `loading_pct` (E,) in % of rating, band `low_pu`, `high_pu` (n,) of the nodes."""

    loading_pct: Array
    low_pu: Array
    high_pu: Array

    @classmethod
    def of(cls, state: State, loading_pct: Array | None = None) -> PostFaultLimits:
        """The tables' voltage bands and emergency ratings, or `loading_pct` (E,) instead of these."""
        tables = state.tables
        low, high = np.zeros(state.n + 1), np.full(state.n + 1, 2.0)
        inner = (state.node >= 0) & (state.node < state.n)
        node = np.where(inner, state.node, state.n)
        np.maximum.at(low, node, np.nan_to_num(tables.buses.min_vm_pu, nan=0.0))
        np.minimum.at(high, node, np.nan_to_num(tables.buses.max_vm_pu, nan=2.0))
        limit = emergency_loading(tables) if loading_pct is None else loading_pct
        return cls(limit, low[:-1], high[:-1])


@dataclass(frozen=True)
class Screened:
    """O outages at T steps, each array (O,T) but the last.

    `usage` is the greatest loading over its limit and `element` where; `excess_pu` the furthest distance past
    the voltage band (negative inside), `bus` where, a position, `vm_pu` the voltage and `bound_pu` the limit
    there; `vm_low_pu` and `vm_high_pu` are the extreme voltages, `unsupplied_mw` the consumption cut off,
    `limit_pct` (E,) the limits of loading. What did not converge is NaN, its places 0.
    """

    usage: Array
    element: Ints
    excess_pu: Array
    bus: Ints
    vm_pu: Array
    bound_pu: Array
    vm_low_pu: Array
    vm_high_pu: Array
    unsupplied_mw: Array
    converged: Bools
    limit_pct: Array

    @property
    def violated(self) -> Bools:
        """(O,T) no solution, or past a limit by more than the tolerances."""
        limit_pct = self.limit_pct[self.element]
        over = self.usage * limit_pct > limit_pct + LOADING_TOLERANCE_PCT
        return np.asarray(~self.converged | over | (self.excess_pu > VOLTAGE_TOLERANCE_PU), dtype=np.bool_)


def screen(engine: Engine, branches: Ints, v: Complex, s: Complex, limits: PostFaultLimits) -> Screened:
    """Outages of `branches` (O,) from base voltages (T,n) of node injections (T,n)."""
    parts = outcomes(engine, branches, v, s)
    return _collect(engine, parts, branches, s, limits)


def judge(engine: Engine, v: Complex, s: Complex, limits: PostFaultLimits) -> Screened:
    """The engine's own state, nothing out, as one outage (1,T); v, s (T,n), NaN where there is no solution."""
    fixed = np.tile(engine.state.slack_v, (len(v), 1))
    good = np.asarray(np.isfinite(v).all(axis=1), dtype=np.bool_)[None]
    whole = Outcome(slice(0, 1), np.concatenate([v, fixed], axis=1).T[None], good, (np.zeros(0, dtype=np.int64),))
    return _collect(engine, [whole], np.array([-1]), s, limits)


def spread(parts: Sequence[tuple[Ints, Screened]], steps: int) -> Screened:
    """The same outages over disjoint columns of `steps` steps as one."""
    names = [f.name for f in fields(Screened) if f.name != "limit_pct"]
    whole: dict[str, NDArray[Any]] = {}
    for columns, part in parts:
        for name in names:
            values = getattr(part, name)
            whole.setdefault(name, np.zeros((len(values), steps), values.dtype))[:, columns] = values
    return Screened(**whole, limit_pct=parts[0][1].limit_pct)


def _collect(
    engine: Engine, parts: Iterable[Outcome], branches: Ints, s: Complex, limits: PostFaultLimits
) -> Screened:
    shape = (len(branches), len(s))
    usage, excess, vm, bound, low, high = (np.full(shape, np.nan) for _ in range(6))
    element, bus = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    converged = np.zeros(shape, dtype=bool)
    lost = np.zeros(shape)
    ends, buses = _Ends.of(engine, limits), first_bus(engine.state)
    for part in parts:
        at = part.outages
        converged[at] = part.converged
        usage[at], element[at] = ends.highest(part, branches[at])
        excess[at], node, vm[at], bound[at], low[at], high[at] = _furthest(part, engine.state.n, limits)
        bus[at] = buses[node]
        for o, nodes in enumerate(part.dead, start=at.start):
            lost[o] = np.maximum(-s[:, nodes].real, 0.0).sum(axis=1)
    for values in (usage, excess, vm, bound, low, high):
        values[~converged] = np.nan
    for places in (element, bus):
        places[~converged] = 0
    return Screened(usage, element, excess, bus, vm, bound, low, high, lost, converged, limits.loading_pct)


@dataclass(frozen=True)
class _Ends:
    """Branches `live` (L,) that carry current, their end nodes, and admittances over their limits (2,L,1)."""

    live: Ints
    from_node: Ints
    to_node: Ints
    own: Complex
    across: Complex

    @classmethod
    def of(cls, engine: Engine, limits: PostFaultLimits) -> _Ends:
        b, state = engine.branches, engine.state
        live = np.flatnonzero((b.ff != 0.0) | (b.tt != 0.0))
        weight = np.stack([state.percent_from, state.percent_to])[:, live] / limits.loading_pct[live]
        own, across = np.stack([b.ff, b.tt])[:, live], np.stack([b.ft, b.tf])[:, live]
        return cls(live, state.from_node[live], state.to_node[live],
                   (own * weight)[:, :, None], (across * weight)[:, :, None])  # fmt: skip

    def highest(self, part: Outcome, branches: Ints) -> tuple[Array, Ints]:
        """Greatest usage (c,T) and the element that has it."""
        v_f, v_t = part.v[:, self.from_node], part.v[:, self.to_node]
        squared = _squared(self.own[0] * v_f + self.across[0] * v_t)
        np.maximum(squared, _squared(self.own[1] * v_t + self.across[1] * v_f), out=squared)
        for o, (nodes, branch) in enumerate(zip(part.dead, branches, strict=True)):
            dark = self.live == branch
            if len(nodes):
                dark |= np.isin(self.from_node, nodes) | np.isin(self.to_node, nodes)
            squared[o, dark] = 0.0
        where = squared.argmax(axis=1)
        value = np.take_along_axis(squared, where[:, None], axis=1)[:, 0]
        return np.sqrt(value), self.live[where]


def _furthest(part: Outcome, n: int, limits: PostFaultLimits) -> tuple[Array, Ints, Array, Array, Array, Array]:
    """Furthest past the band (c,T), the node, its voltage and limit, and the lowest and highest voltage of all."""
    vm = np.sqrt(_squared(part.v[:, :n]))
    past = np.maximum(limits.low_pu[:, None] - vm, vm - limits.high_pu[:, None])
    for o, nodes in enumerate(part.dead):
        past[o, nodes], vm[o, nodes] = -np.inf, np.nan
    where = past.argmax(axis=1)
    value, there = (np.take_along_axis(x, where[:, None], axis=1)[:, 0] for x in (past, vm))
    low, high = limits.low_pu[where], limits.high_pu[where]
    bound = np.where(low - there >= there - high, low, high)
    return value, where, there, bound, np.fmin.reduce(vm, axis=1), np.fmax.reduce(vm, axis=1)


def _squared(x: Complex) -> Array:
    return np.asarray(x.real**2 + x.imag**2)


def first_bus(state: State) -> Ints:
    """The first bus of each node (n,), as positions."""
    node, bus = np.unique(state.node, return_index=True)
    return bus[(node >= 0) & (node < state.n)]
