"""One switching state of the tables as arrays over nodes (buses fused by closed switches).

Nodes are numbered energised ones first, then the nodes of sources, whose voltage is given. A node is
energised where branches connect it to a source; a group of buses that none reaches is an island
without source, and machines alone feed nothing, as in pandapower.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.csgraph import connected_components

from grid_models.branches import Branches, line_admittances, percent_per_unit, trafo_admittances
from grid_models.tables import Bools, Complex, Ints, NetTables, Sparse
from vpp.domain.errors import UnknownElement
from vpp.domain.time import Array

BUS_BUS, BUS_LINE, BUS_TRAFO = 0, 1, 2
SAME_V_PU = 1e-9
Switching = tuple[tuple[int, ...], tuple[tuple[int, bool], ...]]


@dataclass(frozen=True)
class State:
    """Nodes are 0..n-1 for energised ones and n..n+S-1 for sources; `node` (B,) is -1 for a dead bus.

    `from_node`, `to_node` (E,) point at node n where an end is dead or open (its admittance is zero
    there); `trafo_ends` (X,2) are the connected ends, `trafo_live` (X,) those with both. `slack_v` (S,)
    are the voltages of the sources. Nodes `pv` (P,) are held at `vm_set` (P,) pu by machines.
    `impedances` (n+S,n+S) and `shunts` (n+S,) are what they add to the admittance matrix and its diagonal;
    `percent_from`, `percent_to` (E,) turn per-unit currents into loading; `island` (B,) numbers what
    branches connect, -1 for a bus out of service.
    """

    tables: NetTables
    n: int
    node: Ints
    from_node: Ints
    to_node: Ints
    lines: Branches
    trafo_ends: Bools
    slack_v: Complex
    pv: Ints
    vm_set: Array
    impedances: Sparse
    shunts: Complex
    percent_from: Array
    percent_to: Array
    island: Ints

    @cached_property
    def trafo_live(self) -> Bools:
        """Transformers connected at both ends, (X,)."""
        return np.asarray(self.trafo_ends.all(axis=1), dtype=np.bool_)

    def branches(self, taps: Ints) -> Branches:
        """All branches at tap positions (X,)."""
        return self.lines.followed_by(trafo_admittances(self.tables, taps).connected(self.trafo_ends))

    def admittance(self, branches: Branches, earthed: bool = True) -> Sparse:
        """Bus admittance matrix of branches (E,) over all nodes, sources last, (n+S, n+S).

        Without `earthed` nothing flows to earth, neither through branches nor through shunts.
        """
        size = self.n + len(self.slack_v)
        given = branches if earthed else branches.unearthed()
        through = _matrix(self.from_node, self.to_node, given, size) + self.impedances
        return csr_array(through + diags_array(self.shunts) if earthed else through)

    @property
    def islands_without_source(self) -> tuple[tuple[int, ...], ...]:
        """Bus numbers of every group of buses in service that no source reaches."""
        dead = np.flatnonzero((self.node < 0) & (self.island >= 0))
        return tuple(
            tuple(self.tables.buses.number[dead[self.island[dead] == i]].tolist())
            for i in np.unique(self.island[dead])
        )


def switched(tables: NetTables, switching: Switching) -> tuple[Bools, Bools]:
    """Lines in service (L,) and switches closed (W,). Raises UnknownElement for an unknown number."""
    lines, closed = tables.lines.in_service.copy(), tables.switches.closed.copy()
    line_at = {int(n): i for i, n in enumerate(tables.lines.number)}
    switch_at = {int(n): i for i, n in enumerate(tables.switches.number)}
    faults = [f"line {n} does not exist" for n in switching[0] if n not in line_at]
    faults += [f"switch {n} does not exist" for n, _ in switching[1] if n not in switch_at]
    if faults:
        raise UnknownElement("; ".join(faults))
    lines[[line_at[n] for n in switching[0]]] = False
    for number, state in switching[1]:
        closed[switch_at[number]] = state
    return lines, closed


def compile_state(tables: NetTables, switching: Switching) -> State:
    """The switching state of `tables` with lines out and switches moved.

    Raises UnknownElement for numbers that do not exist and for voltages that contradict each other at one node.
    """
    in_service, closed = switched(tables, switching)
    group, trafos, live = _fuse(tables, closed), tables.trafos, tables.buses.in_service
    line_ends, trafo_ends = _ends(tables, in_service, closed)
    f, t = group[np.r_[tables.lines.from_bus, trafos.hv_bus]], group[np.r_[tables.lines.to_bus, trafos.lv_bus]]
    ends = np.concatenate([line_ends, trafo_ends])
    label = _connected(f, t, ends[:, 0] & ends[:, 1], group, tables)
    fed = group[tables.sources.bus[live[tables.sources.bus]]]
    reached = np.isin(label, label[fed])
    order = np.full(len(group), -1)
    energised, source = np.unique(group[reached[group] & live]), np.unique(fed)
    inner = np.setdiff1d(energised, source)
    n = len(inner)
    order[inner], order[source] = np.arange(n), n + np.arange(len(source))
    node = np.where(live, order[group], -1)
    alive = ends & (np.column_stack([order[f], order[t]]) >= 0)
    slack_v = _source_voltages(tables, node, n, len(source))
    n_lines = len(line_ends)
    return State(
        tables, n, node, np.where(alive[:, 0], order[f], n), np.where(alive[:, 1], order[t], n),
        line_admittances(tables.lines, tables.buses.vn_kv).connected(alive[:n_lines]), alive[n_lines:],
        slack_v, *_held(tables, node, n, slack_v), *_passive(tables, node, n + len(source)),
        *percent_per_unit(tables), np.where(live, label[group], -1),
    )  # fmt: skip


def _fuse(tables: NetTables, closed: Bools) -> Ints:
    """(B,) group of each bus over closed switches between buses in service."""
    s, live, n = tables.switches, tables.buses.in_service, len(tables.buses.number)
    joins = np.flatnonzero((s.kind == BUS_BUS) & closed)
    a, b = s.bus[joins], s.element[joins]
    both = live[a] & live[b]
    graph = coo_array((np.ones(both.sum()), (a[both], b[both])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _ends(tables: NetTables, in_service: Bools, closed: Bools) -> tuple[Bools, Bools]:
    """Which ends of lines (L,2) and transformers (X,2) are connected.

    A line with a bus out of service hangs on the other; a transformer with one is off.
    """
    a, x, s, live = tables.lines, tables.trafos, tables.switches, tables.buses.in_service
    lines = np.column_stack([in_service & live[a.from_bus], in_service & live[a.to_bus]])
    on = x.in_service & live[x.hv_bus] & live[x.lv_bus]
    trafos = np.column_stack([on, on])
    for kind, ends, first in ((BUS_LINE, lines, a.from_bus), (BUS_TRAFO, trafos, x.hv_bus)):
        opened = np.flatnonzero((s.kind == kind) & ~closed)
        element = s.element[opened]
        ends[element, np.where(first[element] == s.bus[opened], 0, 1)] = False
    return lines, trafos


def _connected(f: Ints, t: Ints, through: Bools, group: Ints, tables: NetTables) -> Ints:
    """(G,) label of what branches and impedances connect."""
    z, live = tables.impedances, tables.buses.in_service
    both = live[z.from_bus] & live[z.to_bus]
    f, t = np.r_[f[through], group[z.from_bus[both]]], np.r_[t[through], group[z.to_bus[both]]]
    n = int(group.max()) + 1
    return np.asarray(connected_components(coo_array((np.ones(len(f)), (f, t)), shape=(n, n)), directed=False)[1])


def _source_voltages(tables: NetTables, node: Ints, n: int, count: int) -> Complex:
    """Voltages (S,) of source nodes. Raises UnknownElement where two sources at one node differ."""
    sources = tables.sources
    v = np.zeros(count, dtype=complex)
    first: dict[int, int] = {}
    for i, at in enumerate(node[sources.bus]):
        if at < 0:
            continue
        one = first.setdefault(int(at), i)
        if abs(sources.v[i] - sources.v[one]) > SAME_V_PU:
            raise UnknownElement(f"{sources.name[one]} and {sources.name[i]}: one node and two voltages")
        v[at - n] = sources.v[i]
    return v


def _held(tables: NetTables, node: Ints, n: int, slack_v: Complex) -> tuple[Ints, Array]:
    """Nodes that machines hold (P,) and at what magnitude (P,). Raises UnknownElement for a contradiction."""
    held: dict[int, tuple[str, float]] = {n + i: ("the source", abs(v)) for i, v in enumerate(slack_v)}
    for name, bus, vm in zip(tables.machines.name, tables.machines.bus, tables.machines.vm_pu, strict=True):
        at = int(node[bus])
        if at < 0:
            continue
        other, given = held.setdefault(at, (name, float(vm)))
        if abs(given - vm) > SAME_V_PU:
            raise UnknownElement(f"{other} and {name}: one node and two voltage set-points")
    pv = np.array(sorted(at for at in held if at < n), dtype=np.int64)
    return pv, np.array([held[int(at)][1] for at in pv])


def _matrix(f: Ints, t: Ints, b: Branches, size: int) -> Sparse:
    """Admittance matrix (size, size) of two-ports between nodes f and t, summed in their order."""
    values = np.concatenate([b.ff, b.ft, b.tf, b.tt])
    place, of = np.unique(np.r_[f, f, t, t] * size + np.r_[f, t, f, t], return_inverse=True)
    summed = np.zeros(len(place), dtype=complex)
    np.add.at(summed, of, values)
    return csr_array((summed, (place // size, place % size)), shape=(size, size))


def _passive(tables: NetTables, node: Ints, size: int) -> tuple[Sparse, Complex]:
    """Admittances of impedances between and shunts at energised nodes."""
    z, h = tables.impedances, tables.shunts
    f, t = node[z.from_bus], node[z.to_bus]
    on = (f >= 0) & (t >= 0)
    two_ports = _matrix(f[on], t[on], Branches(z.ff[on], z.ft[on], z.tf[on], z.tt[on]), size)
    earthed, at = np.zeros(size, dtype=complex), node[h.bus]
    np.add.at(earthed, at[at >= 0], h.y[at >= 0])
    return two_ports, earthed


def switching_of(lines_out: tuple[int, ...], switches: Mapping[int, bool]) -> Switching:
    """A hashable switching state."""
    return tuple(sorted(lines_out)), tuple(sorted(switches.items()))
