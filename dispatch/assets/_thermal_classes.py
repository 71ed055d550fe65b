"""Identical thermal units as one class with integer counts, and a class's plan handed back to its units.

A class holds units with the same parameters whose ramps cover their whole range, so that what a unit can do
depends on its last start or stop only. Histories may differ: a start or stop before the grid counts in the
windows and in the matching like one inside it. Exact then: minimum times (the windows hold for counts, and any
unit past its minimum time is as good as another), priced starts (a matching of counts is integral), limits of
starts and stops, and costs (convex). Left alone, each as its own class: units whose ramp can bind, whose
output before the grid is above what a stop allows, or whose commitment from above breaks a minimum time.
B. Knueven, J. Ostrowski and J.-P. Watson, "Exploiting identical generators in unit commitment", IEEE Trans.
Power Systems 33 (4), 2018.

Handing back: a stop takes the unit that started last among those past their minimum up time, because a unit
that runs for one step loses to both limits at once, which is what the class's rows count. Starts take the
stops that make them cheapest. The units' cost is then at most the class's, and equal at its optimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from dispatch.assets._start_match import Prices, StopsBefore
from dispatch.assets._thermal import Units
from dispatch.assets._thermal_limits import EPS_MIN, EPS_MW, Shape
from vpp.domain.errors import NotSolved
from vpp.domain.time import Array

Ints = NDArray[np.int64]
FORBIDDEN = 1e15


@dataclass(frozen=True)
class Classes:
    """`units` has a row a class; `members[c]` are the rows of `single` that class c stands for."""

    units: Units
    single: Units
    since_min: Array
    members: tuple[Ints, ...]


def classes(single: Units, since_min: Array, decided: NDArray[np.int8], *, counted: bool = True) -> Classes:
    """The classes of `single` units, each of count 1, that are in their state since `since_min` (n,) minutes.

    `decided` (n,T) is the commitment asked for from outside, -1 where free; only equal ones join a class. Without
    `counted` every unit is a class of its own.
    """
    joint = counted & single.shape.fast & ~single.shape.excused.any(axis=1)
    joint &= (single.machines.initial_on == 0.0) | (single.before_mw[:, 0] <= single.shape.stop[:, 0] + EPS_MW)
    apart = np.where(joint, -1.0, np.arange(joint.size))[:, None]
    described = np.concatenate([_described(single), decided, apart], axis=1)
    _, first, of = np.unique(described, axis=0, return_index=True, return_inverse=True)
    members = tuple(np.flatnonzero(of.ravel() == c) for c in range(first.size))
    return Classes(_merged(single, since_min, first, members), single, since_min, members)


def _described(units: Units) -> Array:
    """(n,K) every parameter of a unit as one row."""
    s, m = units.shape, units.machines
    parts = (s.low, s.high, s.start, s.stop, m.up, m.down, units.no_load_eur_per_h, units.width_mw)
    return np.concatenate([*parts, units.slope_eur_per_mwh, units.prices.after_min, units.prices.eur], axis=1)


def _merged(single: Units, since_min: Array, first: Ints, members: Sequence[Ints]) -> Units:
    """One row a class. Output before the grid does not matter where ramps never bind: any will do."""

    def total(values: Array) -> Array:
        return np.array([values[rows].sum(axis=0) for rows in members])

    s, m, count = single.shape, single.machines, np.array([[float(rows.size)] for rows in members])
    shape = Shape(
        s.low[first], s.high[first], s.start[first], s.stop[first], s.ramp_up[first], s.ramp_down[first],
        s.times, s.minutes, s.up[first], s.excused[first],
    )  # fmt: skip
    was_on, since = m.initial_on[:, None] > 0.0, since_min[:, None]
    held_on, held_off = was_on & (m.times < m.up - since - EPS_MIN), ~was_on & (m.times < m.down - since - EPS_MIN)
    machines = replace(
        m, known=m.known[first], excused=m.excused[first], initial_on=total(m.initial_on), up=m.up[first],
        down=m.down[first], count=count, held_on=total(held_on.astype(float)), held_off=total(held_off.astype(float)),
    )  # fmt: skip
    own = np.concatenate([np.full(rows.size, c) for c, rows in enumerate(members)])
    rows = np.concatenate(members)
    off = m.initial_on[rows] == 0.0
    histories = np.stack([own[off].astype(float), since_min[rows][off]], axis=1)
    pairs, number = np.unique(histories, axis=0, return_counts=True)
    stopped = StopsBefore(pairs[:, 0].astype(np.int64), pairs[:, 1], number.astype(float))
    before = np.where(count > 1.0, s.low[first], single.before_mw[first])
    prices = Prices(single.prices.after_min[first], single.prices.eur[first])
    return Units(
        machines, shape, count, total(single.least), total(single.most), before,
        single.no_load_eur_per_h[first], single.width_mw[first], single.slope_eur_per_mwh[first], prices, stopped,
    )  # fmt: skip


def disaggregate(found: Classes, on: Array, start: Array, stop: Array, power: Array) -> tuple[Array, Array]:
    """On (n,T) and power (n,T) of the single units from those of the classes (C,T); `power` is total output.

    Raises NotSolved where the counts break a minimum time or ask for more output than the units have.
    """
    single_on, single_power = np.zeros_like(found.single.least), np.zeros_like(found.single.least)
    for c, rows in enumerate(found.members):
        if rows.size == 1:
            single_on[rows[0]], single_power[rows[0]] = np.rint(on[c]), power[c]
            continue
        starts, stops = (np.repeat(np.arange(on.shape[1]), np.rint(x[c]).astype(int)) for x in (start, stop))
        single_on[rows] = _runs(found, c, rows, starts, stops)
        single_power[rows] = _shared(found, rows, single_on[rows], power[c])
    return single_on, single_power


def _runs(found: Classes, c: int, rows: Ints, starts: Ints, stops: Ints) -> Array:
    """(units,T) on: every run from its start, or the grid's, to the stop it is given."""
    m, steps = found.units.machines, found.single.least.shape[1]
    was_on = found.single.machines.initial_on[rows] > 0.0
    since = -found.since_min[rows]
    ended = _stops_of(np.concatenate([since[was_on], m.times[starts]]), m.times, stops, float(m.up[c, 0]))
    begun = _starts_of(found, c, np.concatenate([since[~was_on], m.times[stops]]), starts)
    on = np.zeros((rows.size, steps))
    for i, unit in enumerate(np.flatnonzero(was_on)):
        _walk(on[unit], i, 0, True, ended, begun, starts, stops, int(was_on.sum()), int((~was_on).sum()))
    for i, unit in enumerate(np.flatnonzero(~was_on)):
        _walk(on[unit], i, 0, False, ended, begun, starts, stops, int(was_on.sum()), int((~was_on).sum()))
    return on


def _walk(
    on: Array, run: int, at: int, running: bool, ended: Ints, begun: Ints,
    starts: Ints, stops: Ints, first_on: int, first_off: int,
) -> None:  # fmt: skip
    """Fill one unit's steps, from run to run; -1 marks a run that lasts to the end of the grid."""
    while True:
        change = int((ended if running else begun)[run])
        until = on.size if change < 0 else int((stops if running else starts)[change])
        on[at:until] = float(running)
        if change < 0:
            return
        run, at, running = change + (first_off if running else first_on), until, not running


def _stops_of(origin: Array, times: Array, stops: Ints, up_min: float) -> Ints:
    """(runs,) the stop that ends each run that began at `origin`, or -1: the last started of those past `up_min`."""
    ended = np.full(origin.size, -1)
    for k, t in enumerate(stops):
        ready = np.flatnonzero((ended < 0) & (times[t] - origin >= up_min - EPS_MIN) & (origin < times[t]))
        if not ready.size:
            raise NotSolved(f"a class stops more units at step {t} than are past their minimum up time")
        ended[ready[np.argmax(origin[ready])]] = k
    return ended


def _starts_of(found: Classes, c: int, origin: Array, starts: Ints) -> Ints:
    """(pauses,) the start that ends each pause that began at `origin`, or -1: the cheapest assignment."""
    m, prices = found.units.machines, found.units.prices
    off = m.times[starts][:, None] - origin[None, :]
    price = prices.at(np.full(off.size, c), off.ravel()).reshape(off.shape)
    cost = np.where((off >= m.down[c, 0] - EPS_MIN) & (off > 0.0), price, FORBIDDEN)
    start, pause = linear_sum_assignment(cost)
    if start.size < starts.size or (cost[start, pause] >= FORBIDDEN).any():
        raise NotSolved("a class starts more units than are past their minimum down time")
    begun = np.full(origin.size, -1)
    begun[pause] = start
    return begun


def _shared(found: Classes, rows: Ints, on: Array, power: Array) -> Array:
    """(units,T) power that adds up to the class's (T,), cheapest segments first, within the units' starts and stops."""
    u, one = found.single, rows[0]
    low, high = u.shape.low[one], u.shape.high[one]
    was_on = u.machines.initial_on[rows][:, None]
    before = np.concatenate([was_on, on[:, :-1]], axis=1)
    after = np.concatenate([on[:, 1:], np.ones((rows.size, 1))], axis=1)
    next_stop = np.append(u.shape.stop[one, 1:], np.inf)
    most = np.where((on > before), np.minimum(high, u.shape.start[one]), high)
    most = np.where((on > after), np.minimum(most, next_stop), most)
    room = on * (most - low)
    left = power - low * on.sum(axis=0)
    shared: Array = low * on
    floor = 0.0
    for width in u.width_mw[one]:
        part = np.clip(room - floor, 0.0, width)
        taken = np.clip(left - (np.cumsum(part, axis=0) - part), 0.0, part)
        shared, left, floor = shared + taken, left - taken.sum(axis=0), floor + width
    if np.abs(left).max() > 1e-5 * max(1.0, float(np.abs(power).max())):
        raise NotSolved("a class plans an output that its units cannot share")
    return shared
