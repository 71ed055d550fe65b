"""The rows of `reserve` over the columns of its layout; the module `reserve` states the equations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from dispatch.block import INF, Rows
from dispatch.headroom import Room
from dispatch.products._reserve_layout import EPS_H, OPPOSITE, Ints, Layout, Offer, Side
from vpp.domain.time import Array


@dataclass
class _Band:
    """Rows of one label, gathered as coordinates over the block's own columns."""

    row: list[Ints] = field(default_factory=list)
    column: list[Ints] = field(default_factory=list)
    value: list[Array] = field(default_factory=list)

    def add(self, row: Ints, column: Ints, value: Array | float) -> None:
        self.row.append(np.ravel(row))
        self.column.append(np.ravel(column))
        self.value.append(np.broadcast_to(value, np.shape(row)).ravel())

    def matrix(self, rows: int, columns: int) -> sp.csr_array:
        none = np.empty(0)
        at = (np.concatenate([none, *self.row]).astype(np.int64), np.concatenate([none, *self.column]).astype(np.int64))
        return sp.csr_array(sp.coo_array((np.concatenate([none, *self.value]), at), shape=(rows, columns)))


def rows(layout: Layout) -> list[Rows]:
    """Every row of the block."""
    found = [_balance(layout, o) for o in layout.offers]
    for block, side in layout.rooms:
        mine = [o for o in layout.offers if o.side == side and any(o.within(block))]
        other = [o for o in layout.offers if o.side == OPPOSITE[side] and any(o.within(block))]
        if mine or other:
            found += _power(layout, block, side, mine, other)
        if mine:
            found += [_energy(layout, block, side, mine), _ramp(layout, block, side, mine)]
    found += [r for block in layout.two_ways for r in _one_way(layout, block)]
    found += [part(layout, o) for o in layout.offers for part in (_recovery, _whole, _sold_at_all, _rest)]
    return [r for r in found if r.size]


def _one_way(layout: Layout, block: str) -> list[Rows]:
    """in <= rated z and out <= rated (1 - z) in the bound steps, z binary."""
    ways, steps = layout.two_ways[block], np.flatnonzero(layout.bound_steps())
    positions = layout.positions(block)
    rated = np.repeat(ways.rated_mw[positions], steps.size)
    row = np.arange(rated.size)
    first = layout.start[f"inward {block}"]
    column = (np.arange(len(positions))[:, None] * layout.grid.n + steps).ravel() + first
    chosen = (np.array(positions)[:, None] * layout.grid.n + steps).ravel()
    found = []
    for label, flow, sign, most in (("in", ways.inward_mw, -1.0, 0.0 * rated), ("out", ways.outward_mw, 1.0, rated)):
        own = sp.csr_array(sp.coo_array((sign * rated, (row, column)), shape=(rated.size, layout.size)))
        across = {block: sp.csr_array(flow.matrix[chosen])}
        found.append(Rows(f"{label} {block}", -INF, most - flow.offset[chosen], own, across=across))
    return found


def _balance(layout: Layout, o: Offer) -> Rows:
    count, band = o.intervals.count, _Band()
    g = np.arange(count)
    band.add(g, layout.start[f"sold_mw {o.numbers.contract}"] + g, -1.0)
    band.add(g, layout.start[o.label("short_mw")] + g, 1.0)
    for i in range(len(o.providers)):
        band.add(g, layout.held(o, i, g), 1.0)
    return Rows(o.label("balance"), 0.0, 0.0, band.matrix(count, layout.size))


def _power(layout: Layout, block: str, side: Side, mine: Sequence[Offer], other: Sequence[Offer]) -> Iterator[Rows]:
    """What is held in this direction and kept to recover from the other one fits beside the plan, limit by limit."""
    steps = layout.grid.n
    for k, limit in enumerate(layout.rooms[block, side].power_mw):
        band = _Band()
        for o in mine:
            t = np.flatnonzero(o.intervals.of_step >= 0)
            for i, at in o.within(block):
                band.add(at * steps + t, layout.held(o, i, o.intervals.of_step[t]), 1.0)
        for o in other:
            recovering = layout.recovering(o)
            for i, at in o.within(block):
                if i in recovering:
                    band.add(at * steps + np.arange(steps), layout.spare(o, i), 1.0)
        own = band.matrix(len(limit.offset), layout.size)
        used = np.flatnonzero((np.diff(own.indptr) > 0) & np.isfinite(limit.offset))
        across = {block: sp.csr_array(-limit.matrix[used])}
        yield Rows(f"power {side} {block} {k}", -INF, limit.offset[used], sp.csr_array(own[used]), across=across)


def _energy(layout: Layout, block: str, side: Side, mine: Sequence[Offer]) -> Rows:
    """The energy of what is held at both edges of every step, and at the edges a call may still run past."""
    room, steps, band = layout.rooms[block, side], layout.grid.n, _Band()
    edges: list[int] = []
    storing = [at for at in sorted({at for o in mine for _, at in o.within(block)}) if room.stores[at]]
    for at in storing:
        for u, terms in _edge_terms(layout, block, at, mine):
            for column, hours in terms:
                band.add(np.array([len(edges)]), np.array([column]), hours)
            edges.append(at * (steps + 1) + u)
    chosen = np.array(edges, dtype=np.int64)
    across = {block: sp.csr_array(-room.energy_mwh.matrix[chosen])}
    own = band.matrix(len(edges), layout.size)
    return Rows(f"energy {side} {block}", -INF, room.energy_mwh.offset[chosen], own, across=across)


Terms = list[tuple[int, float]]


def _edge_terms(layout: Layout, block: str, at: int, mine: Sequence[Offer]) -> Iterator[tuple[int, Terms]]:
    """(edge, [(column of what is held, hours it must last), (switch, relief)]) of one asset."""
    room, steps = layout.rooms[block, mine[0].side], layout.grid.n
    mine = [o for o in mine if any(p == at for _, p in o.within(block))]
    number = {id(o): next(i for i, p in o.within(block) if p == at) for o in mine}

    def static(t: int) -> Terms:
        found: Terms = []
        for o in (o for o in mine if o.intervals.of_step[t] >= 0):
            g = int(o.intervals.of_step[t])
            found.append((int(layout.held(o, number[id(o)], g)), o.numbers.sustain_h))
            if room.relief_mwh[at] > 0.0:
                found.append((int(layout.called(o, number[id(o)])[g]), float(room.relief_mwh[at])))
        return found

    if room.whole_mw[at] > 0.0:
        yield from (edge for o in mine for edge in _carried(layout, o, number[id(o)], room, at))
        return
    for t in range(steps):
        now = static(t)
        if now and (t == 0 or now != static(t - 1)):
            yield t, now
        if now:
            yield t + 1, now
        for until_h in _turns(layout, mine, t):
            lasting = [term for o in mine for term in _lasting(layout, o, number[id(o)], until_h, room.relief_mwh[at])]
            inside = until_h < layout.edge_h[t + 1] - EPS_H
            if {c for c, _ in lasting} - {c for c, _ in now}:
                yield from ((u, lasting) for u in ((t, t + 1) if inside else (t + 1,)))


def _turns(layout: Layout, mine: Sequence[Offer], t: int) -> list[float]:
    """Times in step t at which what calls took may be largest: its end, and `sustain` after any interval's bound."""
    begin, end = float(layout.edge_h[t]), float(layout.edge_h[t + 1])
    after = {float(bound) + o.numbers.sustain_h for o in mine for bound in (*o.intervals.start_h, *o.intervals.end_h)}
    return sorted({end, *(x for x in after if begin + EPS_H < x < end - EPS_H)})


def _lasting(layout: Layout, o: Offer, provider: int, until_h: float, relief_mwh: float) -> Terms:
    """What a call of the longest duration that ends at `until_h` has taken: hours of each interval it ran through."""
    v, tau = o.intervals, o.numbers.sustain_h
    hours = np.minimum(v.end_h, until_h) - np.maximum(v.start_h, until_h - tau)
    found: Terms = []
    for g in np.flatnonzero(hours > EPS_H):
        found.append((int(layout.held(o, provider, int(g))), float(hours[g])))
        if relief_mwh > 0.0:
            found.append((int(layout.called(o, provider)[g]), float(relief_mwh * hours[g] / tau)))
    return found


def _carried(layout: Layout, o: Offer, provider: int, room: Room, at: int) -> Iterator[tuple[int, Terms]]:
    """Edges at which a machine's store must carry what a call leaves unmade."""
    missing_h, relief = max(o.numbers.sustain_h, float(room.rest_h[at])), float(room.relief_mwh[at])
    for g in range(o.intervals.count):
        until = o.intervals.end_h[g] + missing_h + o.numbers.recovery_h
        for u in np.flatnonzero((layout.edge_h > o.intervals.start_h[g] + EPS_H) & (layout.edge_h < until + EPS_H)):
            yield int(u), [(int(layout.held(o, provider, g)), missing_h), (int(layout.called(o, provider)[g]), relief)]


def _ramp(layout: Layout, block: str, side: Side, mine: Sequence[Offer]) -> Rows:
    """What is held of all contracts together is reached within their activation times, beside the plan's movement."""
    left, steps, band = layout.rooms[block, side].ramp_mw_per_min, layout.grid.n, _Band()
    for o in mine:
        t = np.flatnonzero(o.intervals.of_step >= 0)
        for i, at in o.within(block):
            band.add(at * steps + t, layout.held(o, i, o.intervals.of_step[t]), 1.0 / o.numbers.activation_min)
    own = band.matrix(len(left.offset), layout.size)
    used = np.flatnonzero((np.diff(own.indptr) > 0) & np.isfinite(left.offset))
    across = {block: sp.csr_array(-left.matrix[used])}
    return Rows(f"ramp {side} {block}", -INF, left.offset[used], sp.csr_array(own[used]), across=across)


def _recovery(layout: Layout, o: Offer) -> Rows:
    """Power kept free for taking back, for as long as a call of any interval may have to be made good."""
    band, count, v = _Band(), 0, o.intervals
    for i in layout.recovering(o):
        room, at = layout.room(o, i)
        assert room is not None
        share = float(room.takes_back[at]) * o.numbers.sustain_h / o.numbers.recovery_h
        for g in range(v.count):
            until = v.end_h[g] + o.numbers.sustain_h + o.numbers.recovery_h
            t = np.flatnonzero((layout.edge_h[1:] > v.start_h[g] + EPS_H) & (layout.edge_h[:-1] < until - EPS_H))
            row = np.arange(count, count + t.size)
            band.add(row, layout.spare(o, i)[t], 1.0)
            band.add(row, np.repeat(layout.held(o, i, g), t.size), -share)
            count += t.size
    return Rows(o.label("recovery"), 0.0, INF, band.matrix(count, layout.size))


def _whole(layout: Layout, o: Offer) -> Rows:
    """All or nothing: held = whole called."""
    band, count, g = _Band(), 0, np.arange(o.intervals.count)
    for i in layout.machines(o):
        room, at = layout.room(o, i)
        assert room is not None
        band.add(count + g, layout.held(o, i, g), 1.0)
        band.add(count + g, layout.called(o, i), -float(room.whole_mw[at]))
        count += g.size
    return Rows(o.label("whole"), 0.0, 0.0, band.matrix(count, layout.size))


def _sold_at_all(layout: Layout, o: Offer) -> Rows:
    """Who has relief holds something only where its switch says so: held <= most called."""
    band, count, g, machines = _Band(), 0, np.arange(o.intervals.count), layout.machines(o)
    for i in (i for i in layout.switched(o) if i not in machines):
        room, at = layout.room(o, i)
        assert room is not None
        band.add(count + g, layout.held(o, i, g), 1.0)
        band.add(count + g, layout.called(o, i), -float(room.most_mw[at]))
        count += g.size
    return Rows(o.label("sold at all"), -INF, 0.0, band.matrix(count, layout.size))


def _rest(layout: Layout, o: Offer) -> Rows:
    """Once per rest, over all contracts of this direction that the machine is offered in: of the intervals that
    begin, or whose rest goes on, when an interval begins, one is sold."""
    band, count = _Band(), 0
    for i in layout.machines(o):
        room, at = layout.room(o, i)
        assert room is not None
        asset, rest_h = o.providers[i][2], float(room.rest_h[at])
        sharing = [(x, k) for x in layout.offers if x.side == o.side for k in layout.machines(x)
                   if x.providers[k][2] == asset]  # fmt: skip
        for g in range(o.intervals.count):
            begins = o.intervals.start_h[g]
            for x, k in sharing:
                free_h = x.intervals.end_h + max(rest_h, x.numbers.sustain_h)
                barred = (x.intervals.start_h < begins + EPS_H) & (free_h > begins + EPS_H)
                column = layout.called(x, k)[barred]
                band.add(np.full(column.size, count), column, 1.0)
            count += 1
    return Rows(o.label("rest"), -INF, 1.0, band.matrix(count, layout.size))
