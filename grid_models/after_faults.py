"""The contingencies of a network that a certificate lists, each on the expected case at every step.

One transformer out, where others feed what it fed; every planned switching state at all steps and not
only at those it is planned for; every line and transformer out; in open rings, what cuts load off with
the open point closed that helps best. After an outage the emergency ratings hold, in a planned state the
normal ones. Taps follow their voltages, except where every element goes out and the first moment is meant.
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
from vpp.domain.network import Contingency, FaultCheck

ALWAYS: tuple[ContingencyKind, ...] = ("one_transformer_out", "planned_switching")


@dataclass(frozen=True)
class Grid:
    """What is checked: stretches of a flow, and by name the switching states planned during its time.

    `planned` are (name, switching, its state).
    """

    tables: NetTables
    stretches: Sequence[Stretch]
    planned: Sequence[tuple[str, Switching, State]]


def checks(grid: Grid, asked: Sequence[ContingencyKind]) -> tuple[FaultCheck, ...]:
    """Those always made and those asked for; only the latter bind."""
    kinds = [*ALWAYS, *(k for k in asked if k not in ALWAYS)]
    return tuple(_check(kind, kind in asked, *CHECKS[kind](grid)) for kind in kinds)


def one_transformer_out(grid: Grid) -> tuple[list[Contingency], str]:
    """Every transformer that others can stand in for; the note names those that feed something alone."""
    found, alone = [], set()
    lines = len(grid.tables.lines.number)
    for part in grid.stretches:
        islands, live = islands_of(part.state, part.taps[0]), np.flatnonzero(part.state.trafo_live)
        for element in lines + live:
            name = grid.tables.elements[element]
            dead = islands.behind(int(element))
            if len(dead):
                alone.add(name)
            else:
                found.append(_settled(grid, name, without(part.state, int(element), dead), part))
    note = f"{', '.join(sorted(alone))}: nothing else feeds what it feeds" if alone else ""
    return found, note


def planned_switching(grid: Grid) -> tuple[list[Contingency], str]:
    """Every planned state at the steps of the others."""
    found = []
    for name, switching, state in grid.planned:
        for part in grid.stretches:
            if part.switching != switching:
                found.append(_settled(grid, name, state, part, normal=True))
    return found, "" if found else "no other switching state is planned"


def n_minus_one(grid: Grid) -> tuple[list[Contingency], str]:
    """Every line and transformer that carries current."""
    return single_outages(grid.tables, grid.stretches, None, None), ""


def reswitching(grid: Grid) -> tuple[list[Contingency], str]:
    """Every outage that cuts nodes off, with an open point closed; the note names those that none helps."""
    found = reswitched(grid.tables, grid.stretches, None, None)
    helpless = sorted({c.outage for c in found if c.remedy is None})
    note = f"{', '.join(helpless)}: no open point restores it" if helpless else ""
    return [c for c in found if c.remedy is not None], note


CHECKS: dict[ContingencyKind, Callable[[Grid], tuple[list[Contingency], str]]] = {
    "one_transformer_out": one_transformer_out, "planned_switching": planned_switching,
    "n_minus_one": n_minus_one, "reswitching": reswitching,
}  # fmt: skip


def _check(kind: str, binding: bool, found: list[Contingency], note: str) -> FaultCheck:
    broken = sorted((c for c in found if c.violated_steps), key=lambda c: c.severity, reverse=True)
    return FaultCheck(kind, binding, len(found), tuple(broken), note)


def _settled(grid: Grid, name: str, state: State, part: Stretch, normal: bool = False) -> Contingency:
    """A stretch in another state, its taps moving from where they were."""
    limits = PostFaultLimits.of(state, max_loading(state) if normal else None)
    _, found = settled(state, part.p_mw, part.q_mvar, part.taps, limits)
    dark = (state.node < 0) & (part.state.node >= 0)
    lost = np.maximum(-part.p_mw[:, dark], 0.0).sum(axis=1)
    return contingency(grid.tables, name, None, replace(found, unsupplied_mw=lost[None]), first=part.first)
