"""Restoring supply in open rings: after an outage one normally open point is closed.

An open point is a line or transformer with open switches at its ends, or an open switch between buses. It helps where
it joins nodes that the outage cut off with nodes that are still supplied. Of those that help, the best
leaves the least load dark, breaks limits in the fewest steps and loads its worst element least; limits
are those after a fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from grid_models.batch import Engine, node_injection, unique_rows
from grid_models.compile import BUS_BUS, BUS_LINE, BUS_TRAFO, State, Switching, compile_state, switched
from grid_models.islands import Islands, find_islands
from grid_models.screening import PostFaultLimits, Screened, judge, spread
from grid_models.tables import Ints, NetTables
from grid_models.taps import Solved, settle, solve_at
from vpp.domain.time import Array


@dataclass(frozen=True)
class OpenPoint:
    """A place that could be closed: `switches` by number, between two bus positions."""

    name: str
    switches: tuple[int, ...]
    ends: tuple[int, int]


@dataclass(frozen=True)
class Restored:
    """An outage with one open point closed and (1,T) results, whose `unsupplied_mw` is what stays dark.

    `state` and `solved` are the switching state and its node voltages at every step.
    """

    point: OpenPoint
    screened: Screened
    state: State
    solved: Solved

    @property
    def rank(self) -> tuple[float, int, float]:
        """Smaller is better."""
        found = self.screened
        highest = float(np.nan_to_num(found.usage, nan=np.inf).max())
        return float(found.unsupplied_mw.sum()), int(found.violated.sum()), highest


def open_points(tables: NetTables, switching: Switching) -> list[OpenPoint]:
    """Every open point of a switching state; what is out of service is none."""
    in_service, closed = switched(tables, switching)
    s, lines, trafos = tables.switches, tables.lines, tables.trafos
    found = [
        OpenPoint(f"switch {s.number[w]}", (int(s.number[w]),), (int(s.bus[w]), int(s.element[w])))
        for w in np.flatnonzero((s.kind == BUS_BUS) & ~closed)
    ]
    for kind, name, number, on, first, second in (
        (BUS_LINE, "line", lines.number, in_service, lines.from_bus, lines.to_bus),
        (BUS_TRAFO, "trafo", trafos.number, trafos.in_service, trafos.hv_bus, trafos.lv_bus),
    ):
        open_at = np.flatnonzero((s.kind == kind) & ~closed)
        for e in np.unique(s.element[open_at]):
            if on[e]:
                switches = tuple(map(int, s.number[open_at[s.element[open_at] == e]]))
                found.append(OpenPoint(f"{name} {number[e]}", switches, (int(first[e]), int(second[e]))))
    return found


def helping(state: State, dead: Ints, points: Sequence[OpenPoint]) -> list[OpenPoint]:
    """The open points that join a node in `dead` with one that is still supplied."""
    dark = set(dead.tolist())
    ends = [(p, [int(state.node[b]) for b in p.ends]) for p in points]
    return [p for p, (a, b) in ends if min(a, b) >= 0 and (a in dark) != (b in dark)]


@dataclass(frozen=True)
class Reswitching:
    """What outages are reswitched on: net injections (T,B) in MW, Mvar and tap positions (T,X) before them.

    `controlled` lets taps follow their voltage after the point is closed; otherwise they stay.
    `loading_pct` (E,) are the limits after a fault, None for the emergency ratings.
    """

    tables: NetTables
    switching: Switching
    p_mw: Array
    q_mvar: Array
    taps: Ints
    controlled: bool = True
    loading_pct: Array | None = None

    def every(self, branches: Sequence[int]) -> Iterator[tuple[int, Restored | None]]:
        """The best reclosing after the outage of each element that cuts nodes off; None where nothing helps."""
        for branch, tried in self.tried(branches):
            yield branch, min(tried, key=lambda r: r.rank, default=None)

    def tried(self, branches: Sequence[int]) -> Iterator[tuple[int, list[Restored]]]:
        """Every reclosing that helps after the outage of each element that cuts nodes off."""
        before = compile_state(self.tables, self.switching)
        islands = islands_of(before, self.taps[0])
        points = open_points(self.tables, self.switching)
        for branch in branches:
            dead = islands.behind(branch)
            if len(dead):
                yield branch, [self.closing(branch, p, before) for p in helping(before, dead, points)]

    def closing(self, branch: int, point: OpenPoint, before: State) -> Restored:
        """Flow with one element out and `point` closed at all steps."""
        (lines_out, moved), count = self.switching, len(self.tables.lines.number)
        closed = tuple(sorted({**dict(moved), **dict.fromkeys(point.switches, True)}.items()))
        tables = self.tables
        if branch < count:
            lines_out = tuple(sorted({*lines_out, int(tables.lines.number[branch])}))
        else:
            in_service = tables.trafos.in_service.copy()
            in_service[branch - count] = False
            tables = replace(tables, trafos=replace(tables.trafos, in_service=in_service))
        state = compile_state(tables, (lines_out, closed))
        dark = (state.node < 0) & (before.node >= 0)
        unsupplied = np.maximum(-self.p_mw[:, dark], 0.0).sum(axis=1)
        limits = PostFaultLimits.of(state, self.loading_pct)
        solved, screened = settled(state, self.p_mw, self.q_mvar, self.taps, limits, self.controlled)
        return Restored(point, replace(screened, unsupplied_mw=unsupplied[None]), state, solved)


def settled(
    state: State, p_mw: Array, q_mvar: Array, taps: Ints, limits: PostFaultLimits, controlled: bool = True
) -> tuple[Solved, Screened]:
    """Flows of bus injections (T,B) in `state` and (1,T) results; `controlled` taps move from `taps` (T,X)."""
    engines: dict[tuple[int, ...], Engine] = {}

    def engine_of(position: tuple[int, ...]) -> Engine:
        if position not in engines:
            engines[position] = Engine.of(state, position)
        return engines[position]

    s = node_injection(state, p_mw, q_mvar)
    solved = settle(state, engine_of, s, taps) if controlled else solve_at(engine_of, s, taps)
    parts = [(rows, judge(engine_of(at), solved.v[rows], s[rows], limits)) for at, rows in unique_rows(solved.taps)]
    return solved, spread(parts, len(s))


def islands_of(state: State, taps: Ints) -> Islands:
    """What each element's outage cuts off in a switching state."""
    return find_islands(state, np.flatnonzero(state.branches(taps).ft))
