"""One switching state of the tables as arrays over nodes (buses fused by closed switches).

Branch equations, per unit on 1 MVA and the nominal voltage of each end:
    i_f = y_ff v_f + y_ft v_t,   i_t = y_tf v_f + y_tt v_t
Lines are pi models; a line with one open end is reduced to the admittance its closed end sees,
y_ff - y_ft y_tf / y_tt. Transformers are T models (half the leakage on each side, magnetising
admittance between) turned into pi, on the low-voltage side of the ideal ratio t = |t| e^{j shift},
as in pandapower's electric model documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from grid_models.tables import Bools, Complex, Ints, NetTables, Trafos
from vpp.domain.errors import UnknownElement
from vpp.domain.time import Array

OPEN_LINE, BUS_BUS, BUS_LINE = -1, 0, 1
Switching = tuple[tuple[int, ...], tuple[tuple[int, bool], ...]]


@dataclass(frozen=True)
class Branches:
    """(E,) admittances of all branches (zero where dead) and the nodes of their ends."""

    ff: Complex
    ft: Complex
    tf: Complex
    tt: Complex


@dataclass(frozen=True)
class State:
    """Nodes are 0..n-1 for energised ones and n for the slack; `node` (B,) is -1 for a dead bus.

    `from_node`, `to_node` (E,) point at the slack node where an end is dead or open (its admittance
    is zero there); `percent_from`, `percent_to` (E,) turn per-unit currents into loading.
    """

    tables: NetTables
    n: int
    node: Ints
    from_node: Ints
    to_node: Ints
    lines: Branches
    trafo_live: Bools
    percent_from: Array
    percent_to: Array

    def branches(self, taps: Ints) -> Branches:
        """All branches at tap positions (X,)."""
        t = trafo_admittances(self.tables, taps, self.trafo_live)
        a = self.lines
        return Branches(
            np.r_[a.ff, t.ff], np.r_[a.ft, t.ft], np.r_[a.tf, t.tf], np.r_[a.tt, t.tt],
        )  # fmt: skip

    def admittance(self, taps: Ints) -> Complex:
        """Bus admittance matrix over all nodes, slack last, (n+1, n+1)."""
        b, f, t = self.branches(taps), self.from_node, self.to_node
        y = np.zeros((self.n + 1, self.n + 1), dtype=complex)
        for row, column, value in ((f, f, b.ff), (f, t, b.ft), (t, f, b.tf), (t, t, b.tt)):
            np.add.at(y, (row, column), value)
        return y


def switched(tables: NetTables, switching: Switching) -> tuple[Bools, Bools]:
    """Lines in service (L,) and switches closed (W,). Raises UnknownElement for an unknown number."""
    lines, closed = tables.lines.in_service.copy(), tables.switches.closed.copy()
    line_at = {int(n): i for i, n in enumerate(tables.lines.number)}
    switch_at = {int(n): i for i, n in enumerate(tables.switches.number)}
    faults = [f"line {n} does not exist" for n in switching[0] if n not in line_at]
    faults += [f"switch {n} does not exist" for n, _ in switching[1] if n not in switch_at]
    faults += [
        f"switch {n}: switching of transformers has no model"
        for n, state in switching[1]
        if n in switch_at and tables.switches.kind[switch_at[n]] > BUS_LINE and not state
    ]
    if faults:
        raise UnknownElement("; ".join(faults))
    lines[[line_at[n] for n in switching[0]]] = False
    for number, state in switching[1]:
        closed[switch_at[number]] = state
    return lines, closed


def compile_state(tables: NetTables, switching: Switching) -> State:
    """The switching state of `tables` with lines out and switches moved. Raises UnknownElement."""
    in_service, closed = switched(tables, switching)
    group = _fuse(tables, closed)
    lines, ends = _line_branches(tables, in_service, closed)
    trafos = tables.trafos
    live = tables.buses.in_service
    trafo_live = trafos.in_service & live[trafos.hv_bus] & live[trafos.lv_bus]
    f = group[np.r_[tables.lines.from_bus, trafos.hv_bus]]
    t = group[np.r_[tables.lines.to_bus, trafos.lv_bus]]
    through = np.r_[ends.all(axis=1), trafo_live]
    reached = _reached(f[through], t[through], group, tables)
    energised = np.unique(group[reached[group] & live])
    slack = group[tables.slack_bus]
    order = np.full(len(group), -1)
    inner = energised[energised != slack]
    order[inner], order[slack] = np.arange(len(inner)), len(inner)
    node = np.where(live, order[group], -1)
    alive = np.r_[ends, np.column_stack([trafo_live, trafo_live])]
    from_node = np.where(alive[:, 0] & (order[f] >= 0), order[f], len(inner))
    to_node = np.where(alive[:, 1] & (order[t] >= 0), order[t], len(inner))
    return State(
        tables, len(inner), node, from_node, to_node, _dead_removed(lines, order[f], order[t], ends),
        trafo_live & (order[f[len(ends):]] >= 0), *_percent(tables),
    )  # fmt: skip


def _fuse(tables: NetTables, closed: Bools) -> Ints:
    """(B,) group of each bus over closed switches between buses in service."""
    s, live, n = tables.switches, tables.buses.in_service, len(tables.buses.number)
    joins = np.flatnonzero((s.kind == BUS_BUS) & closed)
    a, b = s.bus[joins], s.element[joins]
    both = live[a] & live[b]
    graph = coo_array((np.ones(both.sum()), (a[both], b[both])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _reached(f: Ints, t: Ints, group: Ints, tables: NetTables) -> Bools:
    """(G,) groups that branches connect to the slack."""
    n = int(group.max()) + 1
    label = connected_components(coo_array((np.ones(len(f)), (f, t)), shape=(n, n)), directed=False)[1]
    reached: Bools = label == label[group[tables.slack_bus]]
    return reached


def _line_branches(tables: NetTables, in_service: Bools, closed: Bools) -> tuple[Branches, Bools]:
    """Line admittances per unit, and (L,2) which ends are connected."""
    a, s, live = tables.lines, tables.switches, tables.buses.in_service
    ends = np.column_stack([in_service & live[a.from_bus], in_service & live[a.to_bus]])
    for w in np.flatnonzero((s.kind == BUS_LINE) & ~closed):
        line = s.element[w]
        ends[line, 0 if a.from_bus[line] == s.bus[w] else 1] = False
    z_base = tables.buses.vn_kv[a.from_bus] ** 2
    series = z_base / (a.r_ohm + 1j * a.x_ohm)
    own = series + (a.g_s + 1j * a.b_s) * z_base / 2.0
    hanging = np.divide(series * series, own)
    one = ends.sum(axis=1) == 1
    seen = np.where(one, own - hanging, own)
    ff, tt = (np.where(ends[:, side], seen, 0.0) for side in (0, 1))
    across = np.where(ends.all(axis=1), -series, 0.0)
    return Branches(ff, across, across, tt), ends


def _dead_removed(lines: Branches, f: Ints, t: Ints, ends: Bools) -> Branches:
    """Admittances without lines whose connected ends are de-energised (nodes -1)."""
    n = len(ends)
    dead = (ends[:, 0] & (f[:n] < 0)) | (ends[:, 1] & (t[:n] < 0))
    return Branches(*(np.where(dead, 0.0, y) for y in (lines.ff, lines.ft, lines.tf, lines.tt)))


def _percent(tables: NetTables) -> tuple[Array, Array]:
    """Loading in % per unit of current at both ends (E,): base current over rating."""
    a, t, vn = tables.lines, tables.trafos, tables.buses.vn_kv
    line = [100.0 / (np.sqrt(3.0) * vn[bus] * a.rating_ka) for bus in (a.from_bus, a.to_bus)]
    rating = t.sn_mva * t.parallel * t.df
    hv = 100.0 * t.vn_hv_kv / vn[t.hv_bus] / rating
    lv = 100.0 * t.vn_lv_kv / vn[t.lv_bus] / rating
    return np.r_[line[0], hv], np.r_[line[1], lv]


def trafo_admittances(tables: NetTables, taps: Ints, live: Bools) -> Branches:
    """Transformer admittances (X,) at tap positions, zero where not live."""
    t, vn = tables.trafos, tables.buses.vn_kv
    factor = 1.0 + t.tap_step_percent / 100.0 * (taps - t.tap_neutral)
    vn_hv = t.vn_hv_kv * np.where(t.tap_side > 0, factor, 1.0)
    vn_lv = t.vn_lv_kv * np.where(t.tap_side < 0, factor, 1.0)
    z_sc = t.vk_percent / 100.0 / t.sn_mva
    r_sc = t.vkr_percent / 100.0 / t.sn_mva
    z = (r_sc + 1j * np.sqrt(z_sc**2 - r_sc**2)) * (vn_lv / vn[t.lv_bus]) ** 2 / t.parallel
    y_m = _magnetising(t) * (vn[t.lv_bus] / vn_lv) ** 2 * t.parallel
    # T to pi: with equal halves z/2 and shunt y_m both shunts are y_m / (2 + z y_m / 2)
    across = 1.0 / (z * (1.0 + z * y_m / 4.0))
    own = across + y_m / (2.0 + z * y_m / 2.0)
    ratio = (vn_hv / vn_lv) * (vn[t.lv_bus] / vn[t.hv_bus]) * np.exp(1j * np.deg2rad(t.shift_degree))
    y = Branches(own / np.abs(ratio) ** 2, -across / np.conj(ratio), -across / ratio, own)
    return Branches(*(np.where(live, v, 0.0) for v in (y.ff, y.ft, y.tf, y.tt)))


def _magnetising(t: Trafos) -> Complex:
    """Magnetising admittance of one unit per unit on 1 MVA at rated voltage, (X,)."""
    b_squared = (t.i0_percent / 100.0 * t.sn_mva) ** 2 - t.pfe_mw**2
    y: Complex = t.pfe_mw - 1j * np.sqrt(np.clip(b_squared, 0.0, None))
    return y


def switching_of(lines_out: tuple[int, ...], switches: Mapping[int, bool]) -> Switching:
    """A hashable switching state."""
    return tuple(sorted(lines_out)), tuple(sorted(switches.items()))
