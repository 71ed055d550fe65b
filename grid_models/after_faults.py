"""The contingencies of a network that a certificate lists, each on the expected case at every step.

One transformer out, where others feed what it fed; every planned switching state at all steps and not
only at those it is planned for; every line and transformer out; in open rings, what cuts load off with
the open point closed that helps best. After an outage the emergency ratings hold, in a planned state the
normal ones. What an outage leaves between the two has to be relieved while the emergency rating lasts,
by the reliefs at hand. Taps follow their voltages, except where every element goes out and the first
moment is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from grid_models.compile import State, Switching
from grid_models.islands import without
from grid_models.limits import max_loading
from grid_models.ranking import Stretch, contingency, reswitched, single_outages
from grid_models.reswitching import islands_of, settled
from grid_models.screening import PostFaultLimits
from grid_models.spec import ContingencyKind
from grid_models.tables import NetTables
from vpp.domain.network import Contingency, FaultCheck, Relief
from vpp.domain.time import Array

ALWAYS: tuple[ContingencyKind, ...] = ("one_transformer_out", "planned_switching")


@dataclass(frozen=True)
class Grid:
    """What is checked: stretches of a flow, and by name the switching states planned during its time.

    `planned` are (name, switching, its state), `reliefs` what can be done after an outage.
    """

    tables: NetTables
    stretches: Sequence[Stretch]
    planned: Sequence[tuple[str, Switching, State]]
    reliefs: Sequence[Relief] = ()

    def relieved(self, relief: Relief, steps: Sequence[int]) -> Grid:
        """The same with a relief's injections at some steps."""
        return replace(self, stretches=[_replaced(part, relief, set(steps)) for part in self.stretches])


Found = tuple[list[Contingency], str]


def checks(grid: Grid, asked: Sequence[ContingencyKind]) -> tuple[FaultCheck, ...]:
    """Those always made and those asked for; only the latter bind."""
    kinds = [*ALWAYS, *(k for k in asked if k not in ALWAYS)]
    return tuple(_check(kind, kind in asked, grid) for kind in kinds)


def one_transformer_out(grid: Grid, names: Sequence[str] | None, loading_pct: Array | None) -> Found:
    """Every transformer that others can stand in for; the note names those that feed something alone."""
    found, alone = [], set()
    lines = len(grid.tables.lines.number)
    for part in grid.stretches:
        islands, live = islands_of(part.state, part.taps[0]), np.flatnonzero(part.state.trafo_live)
        for element in map(int, lines + live):
            name = grid.tables.elements[element]
            dead = islands.behind(element)
            if len(dead):
                alone.add(name)
            elif names is None or name in names:
                found.append(_settled(grid, name, without(part.state, element, dead), part, loading_pct))
    note = f"{', '.join(sorted(alone))}: nothing else feeds what it feeds" if alone else ""
    return found, note


def planned_switching(grid: Grid, names: Sequence[str] | None, loading_pct: Array | None) -> Found:
    """Every planned state at the steps of the others."""
    found = [
        _settled(grid, name, state, part, max_loading(state))
        for name, switching, state in grid.planned
        for part in grid.stretches
        if part.switching != switching
    ]
    return found, "" if found else "no other switching state is planned"


def n_minus_one(grid: Grid, names: Sequence[str] | None, loading_pct: Array | None) -> Found:
    """Every line and transformer that carries current."""
    return single_outages(grid.tables, grid.stretches, names, loading_pct), ""


def reswitching(grid: Grid, names: Sequence[str] | None, loading_pct: Array | None) -> Found:
    """Every outage that cuts nodes off, with an open point closed; the note names those that none helps."""
    found = reswitched(grid.tables, grid.stretches, names, loading_pct)
    helpless = sorted({c.outage for c in found if c.remedy is None})
    note = f"{', '.join(helpless)}: no open point restores it" if helpless else ""
    return [c for c in found if c.remedy is not None], note


CHECKS: dict[ContingencyKind, Callable[[Grid, Sequence[str] | None, Array | None], Found]] = {
    "one_transformer_out": one_transformer_out, "planned_switching": planned_switching,
    "n_minus_one": n_minus_one, "reswitching": reswitching,
}  # fmt: skip


def _check(kind: ContingencyKind, binding: bool, grid: Grid) -> FaultCheck:
    found, note = CHECKS[kind](grid, None, None)
    broken = {c.outage for c in found if c.violated_steps}
    relieved: dict[str, str] = {}
    lasting: list[Contingency] = []
    if kind != "planned_switching":
        for c in CHECKS[kind](grid, None, _normal(grid.tables))[0]:
            if not c.violated_steps or c.outage in broken:
                continue
            relief = _relief(kind, grid, c)
            if relief is None:
                lasting.append(c)
            else:
                relieved[c.outage] = relief
    worst = (sorted(cs, key=lambda c: c.severity, reverse=True) for cs in ([c for c in found if c.steps], lasting))
    first, second = map(tuple, worst)
    return FaultCheck(kind, binding, len(found), first, note, relieved, second)


def _relief(kind: ContingencyKind, grid: Grid, broken: Contingency) -> str | None:
    """The first relief that brings an outage back to normal ratings where it is past them."""
    for relief in grid.reliefs:
        after, _ = CHECKS[kind](grid.relieved(relief, broken.steps), [broken.outage], _normal(grid.tables))
        if not any(set(c.steps) & set(broken.steps) for c in after):
            return relief.name
    return None


def _normal(tables: NetTables) -> Array:
    return np.concatenate([tables.lines.max_loading_pct, tables.trafos.max_loading_pct])


def _replaced(part: Stretch, relief: Relief, steps: set[int]) -> Stretch:
    own = range(part.first, part.first + len(part.taps))
    moved = np.array([t in steps for t in own])[:, None]
    p, q = (np.where(moved, new[own.start : own.stop], old) for new, old in (
        (relief.p_mw, part.p_mw), (relief.q_mvar, part.q_mvar)
    ))  # fmt: skip
    return replace(part, p_mw=p, q_mvar=q)


def _settled(grid: Grid, name: str, state: State, part: Stretch, loading_pct: Array | None) -> Contingency:
    """A stretch in another state, its taps moving from where they were."""
    limits = PostFaultLimits.of(state, loading_pct)
    _, found = settled(state, part.p_mw, part.q_mvar, part.taps, limits)
    dark = (state.node < 0) & (part.state.node >= 0)
    lost = np.maximum(-part.p_mw[:, dark], 0.0).sum(axis=1)
    return contingency(grid.tables, name, None, replace(found, unsupplied_mw=lost[None]), first=part.first)
