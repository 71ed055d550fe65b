"""Thermal units: three-binary commitment with the tight limits of output, convex costs and priced starts.

For class i of `count` identical units, with binaries (or counts) on, start, stop of `_commitment` and output
above minimum in segments of the cost curve:

    power = min on + q,      q = sum of segments
    0 <= segment_l <= width_l on - (its share of what a start now or a stop next loses)
    q (or the headroom `available`) within the limits and ramps of `_thermal_limits`
    cost = h (no_load on + sum slope_l segment_l) + starts by time off line (`_start_match`)

Reserve is `available` - q: a column only where several rows bound it; where a single row does, that row's
other side is substituted for it. Segment limits as in B. Knueven, J. Ostrowski and J.-P. Watson, "Exploiting
identical generators in unit commitment", IEEE Trans. Power Systems 33 (4), 2018, which also shows that
classes of units whose ramps cover their range may be counted instead of listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from dispatch.assets import _bands, _commitment, _start_match, _thermal_limits
from dispatch.assets._bands import Bools, Positions, Term
from dispatch.assets._commitment import Machines
from dispatch.assets._start_match import Prices, StopsBefore
from dispatch.assets._thermal_limits import Limit, Shape
from dispatch.block import INF, Columns, Rows
from vpp.domain.time import Array

EPS_MW = 1e-9
ON, START, STOP = 0, 1, 2


@dataclass(frozen=True)
class Units:
    """n classes of `count` (n,1) identical units each.

    `no_load_eur_per_h` (n,1) is the cost at minimum output; `width_mw`, `slope_eur_per_mwh` (n,L) are the
    segments above it, with non-decreasing slopes and width 0 where a unit has fewer; `before_mw` (n,1) is the
    output before the first step; `least`, `most` (n,T) bound the number of units on.
    """

    machines: Machines
    shape: Shape
    count: Array
    least: Array
    most: Array
    before_mw: Array
    no_load_eur_per_h: Array
    width_mw: Array
    slope_eur_per_mwh: Array
    prices: Prices
    stopped: StopsBefore


@dataclass(frozen=True)
class Model:
    """Columns and rows of the units, and the maps from columns to `power` and `available` power, (n*T, columns)."""

    columns: tuple[Columns, ...]
    rows: tuple[Rows, ...]
    power: sp.csr_array
    available: sp.csr_array
    on: Positions
    start: Positions
    stop: Positions
    arcs: _start_match.Match


@dataclass(frozen=True)
class _Places:
    """Where the block's columns stand: (n,T) each; `segments` one array a segment."""

    on: Positions
    start: Positions
    stop: Positions
    segments: tuple[Positions, ...]
    headroom: Positions
    match: int
    total: int


def model(units: Units, hours: Array, *, reserve: bool) -> Model:
    """The block of `units` over steps of `hours` (T,); `reserve` asks for headroom that obeys limits and ramps."""
    shape = units.shape
    arcs = _start_match.match(units.prices, shape.times, units.machines.down, shape.excused, units.stopped)
    has_headroom = _bounded_twice(units) if reserve else np.zeros(shape.size[0], dtype=bool)
    places = _places(units, has_headroom, arcs.unit.size)
    size = units.least.size
    output = [Term(at, 1.0) for at in places.segments]
    headroom = [Term(places.headroom, 1.0)] if reserve else []
    limits = [*_limits(shape, places), _thermal_limits.trajectories(shape, places.on, places.start, places.stop)]
    rows = [
        *_commitment.rows(units.machines, [size, size, size, places.total - 3 * size], ON, tight=True),
        *_segment_rows(units, places),
        *_limit_rows(units, limits, places, has_headroom, output, headroom),
        *_ramp_rows(units, places, has_headroom, output, headroom),
        *_start_match.rows(arcs, places.total, places.match, places.start, places.stop, units.stopped),
    ]
    everywhere = np.ones(shape.size, dtype=bool)
    base = Term(places.on, shape.low)
    power = _bands.matrix(everywhere, [base, *output], places.total)
    available = _available(limits, has_headroom, base, headroom, places.total) if reserve else power
    columns = _columns(units, hours, has_headroom, arcs)
    return Model(columns, tuple(rows), power, available, places.on, places.start, places.stop, arcs)


def _places(units: Units, has_headroom: Bools, arcs: int) -> _Places:
    n, steps = units.shape.size
    everyone = np.ones(n, dtype=bool)
    first, found = 0, []
    for members in (everyone, everyone, everyone, *(units.width_mw.T > EPS_MW), has_headroom):
        found.append(_bands.positions(first, members, steps))
        first += int(members.sum()) * steps
    return _Places(found[ON], found[START], found[STOP], tuple(found[3:-1]), found[-1], first, first + arcs)


def _columns(units: Units, hours: Array, has_headroom: Bools, arcs: _start_match.Match) -> tuple[Columns, ...]:
    size = _n, steps = units.shape.size
    full = np.broadcast_to(units.count, size)
    cold = np.broadcast_to(units.prices.cold, size)
    counted = bool((units.count > 1.0).any())
    undecided = bool((units.least < units.most).any())
    columns = [
        Columns("on", size, units.least.ravel(), units.most.ravel(), (units.no_load_eur_per_h * hours).ravel(),
                integer=undecided, term="fuel"),
        Columns("start", size, 0.0, full.ravel(), cold.ravel(), integer=counted and undecided, term="starts"),
        Columns("stop", size, 0.0, full.ravel(), term="starts"),
    ]  # fmt: skip
    for k, members in enumerate(units.width_mw.T > EPS_MW):
        most = np.repeat((units.width_mw[:, k : k + 1] * units.count)[members], steps)
        cost = (units.slope_eur_per_mwh[members, k : k + 1] * hours).ravel()
        columns.append(Columns(f"segment_{k}", (int(members.sum()), steps), 0.0, most, cost, term="fuel"))
    reach = np.repeat(((units.shape.high - units.shape.low) * units.count)[has_headroom], steps)
    columns.append(Columns("available", (int(has_headroom.sum()), steps), 0.0, reach))
    columns.append(arcs.columns(units.count))
    return tuple(c for c in columns if c.size)


def _limits(shape: Shape, places: _Places) -> list[Limit]:
    """The limits that hold for output and headroom together."""
    return [
        *_thermal_limits.trajectory(shape, places.on, places.start, places.stop),
        _thermal_limits.starts(shape, places.on, places.start),
    ]


def _ramps(units: Units, places: _Places) -> tuple[Limit, Array, Limit, Array]:
    was_on = units.machines.initial_on[:, None]
    return _thermal_limits.ramps(units.shape, places.on, places.start, places.stop, was_on, units.before_mw)


def _bounded_twice(units: Units) -> Bools:
    """(n,) units whose headroom several rows bound at some step."""
    nowhere = np.zeros((0, 0), dtype=np.int64)
    blank = _Places(nowhere, nowhere, nowhere, (), nowhere, 0, 0)
    up = _ramps(units, blank)[0]
    bounds = sum((limit.keep.astype(int) for limit in _limits(units.shape, blank)), up.keep.astype(int))
    return np.asarray((np.asarray(bounds) > 1).any(axis=1) & (units.width_mw > EPS_MW).any(axis=1))


def _limit_rows(
    units: Units,
    limits: Sequence[Limit],
    places: _Places,
    has_headroom: Bools,
    output: Sequence[Term],
    headroom: Sequence[Term],
) -> list[Rows]:
    """Output, or the headroom column that holds it, within each limit; not where the segments' rows say it already."""
    segments = (units.width_mw > EPS_MW).sum(axis=1)[:, None]
    with_column = has_headroom[:, None]
    rows = []
    for limit in limits:
        others = _bands.negated(limit.terms)
        shared = limit.label != "trajectories"
        told = limit.plain & (segments > 1)
        on_output = limit.keep & ~told & (segments > 0) & ~(with_column & shared)
        rows.append(_bands.rows(limit.label, on_output, [*output, *others], places.total, -INF, 0.0))
        if headroom and shared:
            above = limit.keep & with_column
            rows.append(_bands.rows(f"{limit.label}_available", above, [*headroom, *others], places.total, -INF, 0.0))
    if headroom:
        held = np.broadcast_to(with_column, units.shape.size)
        rows.append(_bands.rows("held", held, [*output, *_bands.negated(headroom)], places.total, -INF, 0.0))
    return [r for r in rows if r.size]


def _ramp_rows(
    units: Units, places: _Places, has_headroom: Bools, output: Sequence[Term], headroom: Sequence[Term]
) -> list[Rows]:
    up, risen, down, fallen = _ramps(units, places)
    before = [Term(t.position, t.value, 1) for t in output]
    reached = [*(Term(t.position, np.where(has_headroom[:, None], 0.0, t.value)) for t in output), *headroom]
    rise = [*reached, *_bands.negated(before), *_bands.negated(up.terms)]
    fall = [*before, *_bands.negated(output), *_bands.negated(down.terms)]
    found = [
        _bands.rows("ramp_up", up.keep, rise, places.total, -INF, risen),
        _bands.rows("ramp_down", down.keep, fall, places.total, -INF, fallen),
    ]
    return [r for r in found if r.size]


def _segment_rows(units: Units, places: _Places) -> list[Rows]:
    """Each segment within its width, less its share of what a start now or a stop next loses; where a start at t
    does not exclude a stop at t + 1, two rows. A single segment is output itself, which `_limit_rows` bounds.
    """
    shape, rows = units.shape, []
    several = ((units.width_mw > EPS_MW).sum(axis=1) > 1)[:, None]
    top = np.cumsum(units.width_mw, axis=1)
    next_stop = np.concatenate([shape.stop[:, 1:], np.broadcast_to(shape.high, (shape.size[0], 1))], axis=1)
    brief = shape.brief.copy()
    brief[:, -1] = False
    for k, position in enumerate(places.segments):
        width, high = units.width_mw[:, k : k + 1], top[:, k : k + 1]
        mine = np.broadcast_to(several & (width > EPS_MW), shape.size)
        at_start = np.clip(high - (shape.start - shape.low), 0.0, width)
        at_stop = np.clip(high - (next_stop - shape.low), 0.0, width)
        both = brief & (at_start > EPS_MW) & (at_stop > EPS_MW)
        for label, keep, start_loss, stop_loss in (
            (f"segment_{k}", mine, at_start, np.where(brief, np.maximum(at_stop - at_start, 0.0), at_stop)),
            (f"segment_{k}_stop", mine & both, np.maximum(at_start - at_stop, 0.0), at_stop),
        ):
            terms = [Term(position, 1.0), Term(places.on, -width)]
            terms += [Term(places.start, start_loss), Term(places.stop, stop_loss, -1)]
            rows.append(_bands.rows(label, keep, terms, places.total, -INF, 0.0))
    return [r for r in rows if r.size]


def _available(
    limits: Sequence[Limit], has_headroom: Bools, base: Term, headroom: Sequence[Term], total: int
) -> sp.csr_array:
    """Available power: minimum output and the headroom column, or the only limit where there is no column."""
    with_column = np.broadcast_to(has_headroom[:, None], limits[0].keep.shape)
    terms = [base, *headroom]
    for limit in limits:
        if limit.label != "trajectories":
            keep = limit.keep & ~with_column
            terms += [Term(t.position, np.where(keep, t.value, 0.0), t.lag) for t in limit.terms]
    return _bands.matrix(np.ones(with_column.shape, dtype=bool), terms, total)
