"""Contingencies of a flow, worst first: what a certificate lists and a grid desk reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from grid_models.batch import Engine, node_injection, unique_rows
from grid_models.compile import State, Switching
from grid_models.reswitching import Reswitching
from grid_models.screening import PostFaultLimits, Screened, screen, spread
from grid_models.tables import Ints, NetTables
from vpp.domain.errors import UnknownElement
from vpp.domain.network import Contingency, Loading, Voltage
from vpp.domain.time import Array


@dataclass(frozen=True)
class Stretch:
    """Consecutive steps of one switching state: injections (T,B) and the taps (T,X) they were solved at."""

    switching: Switching
    state: State
    engine_of: Callable[[tuple[int, ...]], Engine]
    first: int
    p_mw: Array
    q_mvar: Array
    taps: Ints


def positions(tables: NetTables, names: Sequence[str] | None) -> Ints:
    """Positions of elements by name, of all where None is given. Raises UnknownElement."""
    at = {name: i for i, name in enumerate(tables.elements)}
    if names is None:
        return np.arange(len(at))
    unknown = [name for name in names if name not in at]
    if unknown:
        raise UnknownElement("; ".join(f"{name} does not exist" for name in unknown))
    return np.array([at[name] for name in names], dtype=np.int64)


def single_outages(
    tables: NetTables, stretches: Sequence[Stretch], names: Sequence[str] | None, loading_pct: Array | None
) -> list[Contingency]:
    """Every named element out alone at every step, taps where they were; worst first.

    Elements that carry nothing in any stretch are left out where no names are given.
    """
    branches = positions(tables, names)
    if names is None:
        live = np.zeros(len(branches), dtype=bool)
        for part in stretches:
            b = part.state.branches(part.taps[0])
            live |= (b.ff != 0.0) | (b.tt != 0.0)
        branches = np.flatnonzero(live)
    steps = sum(len(part.taps) for part in stretches)
    parts = [(part.first + at, x) for part in stretches for at, x in _screened(part, branches, loading_pct)]
    found = spread(parts, steps)
    rows = [contingency(tables, tables.elements[e], None, found, o) for o, e in enumerate(branches)]
    return sorted(rows, key=lambda c: c.severity, reverse=True)


def _screened(part: Stretch, branches: Ints, loading_pct: Array | None) -> list[tuple[Ints, Screened]]:
    """Results by the steps of the stretch that share tap positions."""
    s = node_injection(part.state, part.p_mw, part.q_mvar)
    limits = PostFaultLimits.of(part.state, loading_pct)
    found = []
    for taps, rows in unique_rows(part.taps):
        engine = part.engine_of(taps)
        v, _ = engine.solve(s[rows])
        found.append((rows, screen(engine, branches, v, s[rows], limits)))
    return found


def reswitched(
    tables: NetTables, stretches: Sequence[Stretch], names: Sequence[str] | None, loading_pct: Array | None
) -> list[Contingency]:
    """Every named element out that cuts load off, with the open point closed that helps best; worst first.

    Where nothing helps the outage stands with its lost load. A stretch of another switching state is
    another case: its contingencies stand beside those of the others.
    """
    branches, rows = positions(tables, names), []
    for part in stretches:
        case = Reswitching(tables, part.switching, part.p_mw, part.q_mvar, part.taps, loading_pct=loading_pct)
        for branch, best in case.every(branches.tolist()):
            if best is None:
                remedy, found = None, spread(_screened(part, np.array([branch]), loading_pct), len(part.taps))
            else:
                remedy, found = best.point.name, best.screened
            rows.append(contingency(tables, tables.elements[branch], remedy, found, 0, part.first))
    return sorted(rows, key=lambda c: c.severity, reverse=True)


def contingency(
    tables: NetTables, outage: str, remedy: str | None, found: Screened, o: int = 0, first: int = 0
) -> Contingency:
    """Row `o` of `found` as plain values; `first` is the step its columns begin at."""
    good = found.converged[o]
    unsolved, lost = int((~good).sum()), float(found.unsupplied_mw[o].max())
    steps = tuple((first + np.flatnonzero(found.violated[o])).tolist())
    if not good.any():
        return Contingency(outage, remedy, lost, steps, unsolved, None, None)
    at, at_v = int(np.nanargmax(found.usage[o])), int(np.nanargmax(found.excess_pu[o]))
    worst = int(found.element[o, at])
    limit = float(found.limit_pct[worst])
    loading = Loading(tables.elements[worst], first + at, float(found.usage[o, at]) * limit, limit)
    bus = f"bus {tables.buses.number[found.bus[o, at_v]]}"
    numbers = (float(x[o, at_v]) for x in (found.vm_pu, found.bound_pu, found.excess_pu))
    voltage = Voltage(bus, first + at_v, *numbers)
    return Contingency(outage, remedy, lost, steps, unsolved, loading, voltage)
