"""On/off machines: three binaries, minimum times on any time grid, initial state, commitment from above.

For machine i and step t that begins at time a[t] (minutes from the start of the grid):

    on[i,t] - on[i,t-1] = start[i,t] - stop[i,t]
    sum of start[i,s] over s <= t with a[s] > a[t] - up[i]    <=  on[i,t]
    sum of stop[i,s]  over s <= t with a[s] > a[t] - down[i]  <=  1 - on[i,t]

Every window holds step t itself, so with a binary `on` the other two are 0 or 1 by themselves and stay
continuous. Sources: the turn-on and turn-off inequalities, which describe the hull of minimum up and
down times, are those of D. Rajan and S. Takriti, "Minimum up/down polytopes of the unit commitment
problem with start-up costs", IBM Research Report RC23628, 2005; the three-binary form is reviewed in
B. Knueven, J. Ostrowski and J.-P. Watson, "On mixed-integer programming formulations for the unit
commitment problem", INFORMS Journal on Computing 32 (4), 2020.

Precedence, so that a state never makes the problem infeasible: a machine out of service is off; one
inside its minimum time keeps its state (its interlock would refuse); elsewhere `committed` holds. Where
committed steps leave no room for a minimum time, the stage above answers for it: that one transition
loses its window. Steps known this way are fixed by bounds, and no column is integer once all are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from dispatch.assets._inputs import available, ids
from dispatch.block import INF, Columns, Context, Rows, eye, previous, stack
from dispatch.sparse import diagonal, difference, windows
from vpp.domain.errors import DataGap
from vpp.domain.portfolio import Asset
from vpp.domain.time import Array, TimeGrid

EPS_MIN = 1e-6


@dataclass(frozen=True)
class Machines:
    """What is known of n machines before solving: `known` (n,T) is 0, 1 or -1 (free).

    `initial_on` (n,), `times` (T,) minutes from the start of the grid, `up` and `down` (n,1) minutes;
    `excused` (n,T) marks steps whose start or stop carries no minimum time. Where a row stands for `count`
    (n,1) identical machines, `on`, `start` and `stop` are numbers of them, and of these `held_on` and `held_off`
    (n,T) are those whose minimum time from before the grid goes on.
    """

    known: NDArray[np.int8]
    excused: NDArray[np.bool_]
    initial_on: Array
    times: Array
    up: Array
    down: Array
    count: Array | float = 1.0
    held_on: Array | float = 0.0
    held_off: Array | float = 0.0

    @property
    def shape(self) -> tuple[int, int]:
        n, steps = self.known.shape
        return n, steps


def step_times(grid: TimeGrid) -> Array:
    """(T,) minutes from the start of the grid to the start of each step."""
    return np.concatenate([[0.0], np.cumsum(grid.minutes[:-1])])


def machines(fleet: Sequence[Asset], context: Context, min_up_h: Array, min_down_h: Array) -> Machines:
    """States and commitment of `fleet` on the context's grid; `min_up_h`, `min_down_h` (n,1), hours.

    Raises DataGap where an asset has no state and ValueError for a commitment of the wrong length.
    """
    missing = [a.id for a in fleet if a.id not in context.states]
    if missing:
        raise DataGap(f"{missing[0]}/state: missing")
    states = [context.states[a.id] for a in fleet]
    times, up, down = step_times(context.grid), min_up_h * 60.0, min_down_h * 60.0
    on = np.array([s.on for s in states], dtype=np.int8).reshape(-1, 1)
    since = np.array([s.minutes_in_state for s in states], dtype=float).reshape(-1, 1)
    held = times[None, :] < np.where(on == 1, up, down) - since - EPS_MIN
    known = np.where(held, on, _committed(ids(fleet), context))
    known = np.where(available(fleet, context) > 0.0, known, 0).astype(np.int8)
    excused = np.zeros(known.shape, dtype=bool)
    for i in np.flatnonzero((known >= 0).any(axis=1)):
        excused[i] = _excused(known[i], int(on[i, 0]), float(since[i, 0]), times, float(up[i, 0]), float(down[i, 0]))
    count = np.array([context.units.get(a.id, 1) for a in fleet], dtype=float).reshape(-1, 1)
    return Machines(known, excused, on[:, 0] * count[:, 0], times, up, down, count)


def _committed(asset_ids: Sequence[str], context: Context) -> NDArray[np.int8]:
    fixed = np.full((len(asset_ids), context.grid.n), -1, dtype=np.int8)
    for row, asset_id in zip(fixed, asset_ids, strict=True):
        if asset_id in context.committed:
            row[:] = context.committed[asset_id]
    return fixed


def _excused(known: NDArray[np.int8], on: int, since: float, times: Array, up: float, down: float) -> NDArray[np.bool_]:
    """Steps of transitions whose minimum time the next known state contradicts; one pass over transitions."""
    at = np.flatnonzero(known >= 0)
    index, value = np.append(-1, at), np.append(on, known[at])
    excused, changed, span = np.zeros(known.size, dtype=bool), -since, slice(0, 0)
    for i in np.flatnonzero(np.diff(value)):
        first, last = int(index[i]) + 1, int(index[i + 1])
        ready = changed + (up if value[i] else down)
        if ready > times[last] + EPS_MIN:
            excused[span] = True
            ready = -INF
        changed = float(times[max(first, int(np.searchsorted(times, ready - EPS_MIN)))])
        span = slice(first, last + 1)
    return excused


def columns(
    m: Machines, start_cost_eur: Array, on_cost_eur: Array | float = 0.0, on_term: str = "fuel"
) -> tuple[Columns, Columns, Columns]:
    """Groups `on`, `start`, `stop`, each (n,T); `start_cost_eur` (n,1) a start, `on_cost_eur` broadcasts to (n,T)."""
    lower, upper = (m.known == 1) * m.count, (m.known != 0) * m.count
    most, on_cost, start_cost = (np.broadcast_to(values, m.shape) for values in (m.count, on_cost_eur, start_cost_eur))
    return (
        Columns("on", m.shape, lower, upper, on_cost, integer=bool((m.known < 0).any()), term=on_term),
        Columns("start", m.shape, 0.0, most, start_cost, term="starts"),
        Columns("stop", m.shape, 0.0, most, term="starts"),
    )


def rows(m: Machines, sizes: Sequence[int], first: int = 0, *, tight: bool = False) -> list[Rows]:
    """Matching and minimum-time rows; `on`, `start`, `stop` are the groups `first`, `first + 1`, `first + 2`.

    `tight` leaves out the rows that the next one implies: where no step leaves the window, what the window
    holds at t + 1 holds at t.
    """
    n, steps = m.shape
    size, on, start, stop = n * steps, first, first + 1, first + 2
    one = eye(size)
    before = np.zeros((n, steps))
    before[:, 0] = m.initial_on
    match = stack(sizes, {on: difference(np.ones(m.shape)), start: sp.csr_array(-one), stop: one}, size)
    held_on, held_off = (np.broadcast_to(h, m.shape) for h in (m.held_on, m.held_off))
    least, most = -held_on.ravel(), (np.broadcast_to(m.count, m.shape) - held_off).ravel()
    up, down = _windows(m, m.up, sizes, (on, start), -1), _windows(m, m.down, sizes, (on, stop), 1)
    if tight:
        keep_up, keep_down = (_final(m, *of).ravel() for of in ((m.up, held_on), (m.down, held_off)))
        up, least = sp.csr_array(up[keep_up]), least[keep_up]
        down, most = sp.csr_array(down[keep_down]), most[keep_down]
    return [
        Rows("commitment", before.ravel(), before.ravel(), own=match),
        Rows("min_up", -INF, least, own=up),
        Rows("min_down", -INF, most, own=down),
    ]


def _final(m: Machines, length: Array, held: Array) -> NDArray[np.bool_]:
    """(n,T) steps whose window loses a step or a held machine at the next one, the last step, and excused changes."""
    oldest = _oldest(m.times, length)
    final = np.ones(m.shape, dtype=bool)
    final[:, :-1] = (oldest[:, 1:] > oldest[:, :-1]) | m.excused[:, :-1] | (held[:, 1:] < held[:, :-1])
    return final


def _oldest(times: Array, length: Array) -> NDArray[np.int32]:
    """(n,T) first step that began less than `length` (n,1) before step t, or t itself."""
    lengths, which = np.unique(length, return_inverse=True)
    first = np.searchsorted(times, times - lengths[:, None] + EPS_MIN, side="right")
    return np.minimum(first, np.arange(times.size)).astype(np.int32)[which.ravel()]


def _windows(m: Machines, length: Array, sizes: Sequence[int], at: tuple[int, int], sign: int) -> sp.csr_array:
    """(n*T, block columns): `sign` times group at[0] plus, of group at[1], the steps s <= t that began less than
    `length` (n,1) ago, and s = t.
    """
    (n, steps), group = m.shape, [int(sum(sizes[:g])) for g in at]
    first = group[1] + steps * np.arange(n, dtype=np.int32)[:, None]
    oldest, last = first + _oldest(m.times, length), first + np.arange(steps, dtype=np.int32)
    spans = windows(group[0], sign, oldest.ravel().astype(np.int32), last.ravel().astype(np.int32), int(sum(sizes)))
    if m.excused.any():
        row = np.repeat(np.arange(n * steps), np.diff(spans.indptr))
        step = spans.indices - group[1]
        spans.data[(step >= 0) & m.excused.ravel()[np.maximum(step, 0)] & (row != step)] = 0
        spans.eliminate_zeros()
    return spans


def past_minimum_run(m: Machines, sizes: Sequence[int], first: int = 0) -> sp.csr_array:
    """(n*T, block columns) map to 1 in every step in which a machine runs and did not start within its minimum run."""
    return sp.csr_array(-_windows(m, m.up, sizes, (first, first + 1), -1))


def before_matrix(values: Array) -> sp.csr_array:
    """(n*T, n*T) map from x to values[i,t] * x[i,t-1]; `values` is (n,T), the first step of each machine is empty."""
    return sp.csr_array(diagonal(values) @ previous(*values.shape))


def as_commitment(on: Array) -> Array:
    """0/1 per step out of a solver's values."""
    return np.rint(on)


def settle(
    wanted: NDArray[np.bool_], on: bool, since_min: float, times: Array, up_min: float, down_min: float
) -> NDArray[np.bool_]:
    """(T,) state of one machine that follows `wanted` as soon as its minimum times allow."""
    state = np.empty(wanted.size, dtype=bool)
    at, changed = 0, -since_min
    while at < wanted.size:
        released = int(np.searchsorted(times, changed + (up_min if on else down_min) - EPS_MIN))
        first = max(at, released)
        turns = np.flatnonzero(wanted[first:] != on)
        until = first + int(turns[0]) if turns.size else wanted.size
        state[at:until] = on
        if until < wanted.size:
            on, changed = not on, float(times[until])
        at = until
    return state


def known_starts(m: Machines) -> Array:
    """(n,T) the machines that start at each known-on step whose last known step, or initial state, was off."""
    starts = np.zeros(m.shape)
    for i, row in enumerate(m.known):
        at = np.flatnonzero(row >= 0)
        starts[i, at] = np.diff(np.append(m.initial_on[i], row[at])) > 0
    return starts * m.count
