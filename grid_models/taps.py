"""Automatic tap control of transformers inside the power flow.

A tap rests while |V_control - set-point| <= dead band (half width, wider than half a step, so it
cannot hunt) and otherwise moves one position at a time towards the set-point. Transformers whose
controlled buses are fused see one voltage and move together. The taps of a step start where the
step before left them, which is the hysteresis of a controller; scenarios start from the taps of the
trajectory they belong to. With a delay, a tap moves in the first step by whose end its voltage has
lain outside the band on one side for that long, and then as far as it must; a step at least as long
as the delay needs no memory. How long it has waited before a trajectory begins is unknown and counts
as long enough, so that a loop that plans every minute anew does not hold a tap for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from grid_models.batch import Engine, unique_rows
from grid_models.compile import State
from grid_models.tables import Bools, Complex, Ints
from vpp.domain.time import Array

EngineOf = Callable[[tuple[int, ...]], Engine]
LOOK_AHEAD = 8


@dataclass
class Solved:
    """Voltages (K,n), taps (K,X) and convergence (K,) of K injections."""

    v: Complex
    taps: Ints
    converged: Bools


@dataclass
class Waits:
    """Minutes (X,) that the voltages of taps have lain outside their bands, and the moves they call for."""

    delay: float
    minutes: Array
    move: Ints

    @classmethod
    def unknown(cls, delay: float, taps: Ints) -> Waits:
        """Before a trajectory: every tap has waited long enough."""
        return cls(delay, np.full(len(taps), np.inf), np.zeros(len(taps), np.int64))

    def after(self, move: Ints, minutes: float) -> Array:
        """Minutes waited (X,) at the end of a step that calls for moves (X,)."""
        goes_on = (move == self.move) | np.isinf(self.minutes)
        return np.where(move == 0, 0.0, np.where(goes_on, self.minutes, 0.0) + minutes)

    def ripe(self, move: Ints, minutes: float) -> Bools:
        """(X,) which taps move in a step that calls for moves (X,)."""
        return np.asarray((move != 0) & (self.after(move, minutes) >= self.delay), dtype=np.bool_)

    def passed(self, move: Ints, minutes: float) -> None:
        """A step has passed that called for moves (X,)."""
        self.minutes, self.move = self.after(move, minutes), move


def wanted_moves(state: State, v: Complex, taps: Ints) -> Ints:
    """Tap moves (K,X) of -1, 0 or +1 that voltages (K,n) at positions (K,X) call for."""
    t = state.tables.trafos
    node = state.node[t.control_bus]
    regulated = t.controlled & state.trafo_live & (node >= 0) & (node < state.n)
    vm = np.abs(v[:, np.where(regulated, node, 0)])
    band = t.dead_band_pu
    with np.errstate(invalid="ignore"):
        side = (vm > t.set_point_pu + band).astype(np.int64) - (vm < t.set_point_pu - band)
    move = np.where(regulated, side * t.control_sign, 0)
    within = (taps + move >= t.tap_min) & (taps + move <= t.tap_max)
    return np.where(within, move, 0)


def solve_at(engine_of: EngineOf, s: Complex, taps: Ints, start: Complex | None = None) -> Solved:
    """Solves injections (K,n) at given positions (K,X), grouped by position."""
    v = np.full_like(s, np.nan)
    converged = np.zeros(len(s), dtype=bool)
    for position, rows in unique_rows(taps):
        v[rows], converged[rows] = engine_of(position).solve(s[rows], None if start is None else start[rows])
    return Solved(v, taps.copy(), converged)


def settle(
    state: State, engine_of: EngineOf, s: Complex, taps: Ints, start: Complex | None = None,
    free: Bools | None = None,
) -> Solved:  # fmt: skip
    """Independent cases (K,n), each from its own positions; only those outside the dead band move.

    `start` (K,n) are voltages near the solutions, NaN where none is known; without them no load is assumed.
    `free` (X,) are the taps that may move, without it all.
    """
    solved = solve_at(engine_of, s, taps, start)
    t = state.tables.trafos
    rows = np.arange(len(s))
    for _ in range(_most_moves(t.tap_min, t.tap_max)):
        move = wanted_moves(state, solved.v[rows], solved.taps[rows])
        if free is not None:
            move = np.where(free, move, 0)
        moved = move.any(axis=1)
        rows, move = rows[moved], move[moved]
        if not len(rows):
            break
        solved.taps[rows] += move
        again = solve_at(engine_of, s[rows], solved.taps[rows], solved.v[rows])
        solved.v[rows], solved.converged[rows] = again.v, again.converged
    return solved


def follow(
    state: State, engine_of: EngineOf, s: Complex, first_taps: Ints, minutes: Array | None = None
) -> Solved:
    """Consecutive steps (T,n): every step starts from the positions of the step before.

    `minutes` (T,) are the lengths of the steps; without them no tap waits. Solves a stretch of steps at
    unchanged positions, keeps it up to the first step in which a tap moves, settles that one and goes on.
    """
    n_steps = len(s)
    minutes = np.full(n_steps, np.inf) if minutes is None else minutes
    result = Solved(np.full_like(s, np.nan), np.zeros((n_steps, len(first_taps)), np.int64), np.zeros(n_steps, bool))
    waits = Waits.unknown(state.tables.tap_delay_minutes, first_taps)
    taps, at, ahead = first_taps, 0, LOOK_AHEAD
    while at < n_steps:
        stretch = slice(at, min(at + ahead, n_steps))
        held = np.tile(taps, (stretch.stop - at, 1))
        solved = solve_at(engine_of, s[stretch], held)
        kept, ripe = _until_one_moves(waits, wanted_moves(state, solved.v, held), minutes[stretch])
        _copy(result, solved, at, kept)
        at, ahead = at + kept, 2 * ahead
        if ripe.any():
            free = None if minutes[at] >= waits.delay else ripe
            moved = settle(state, engine_of, s[at : at + 1], taps[None], free=free)
            _copy(result, moved, at, 1)
            waits.passed(np.where(ripe, 0, wanted_moves(state, moved.v, moved.taps)[0]), float(minutes[at]))
            taps, at, ahead = moved.taps[0], at + 1, LOOK_AHEAD
    return result


def _until_one_moves(waits: Waits, moves: Ints, minutes: Array) -> tuple[int, Bools]:
    """How many steps pass before a tap moves, and the taps (X,) that move then; the waits pass with them."""
    for k, (move, length) in enumerate(zip(moves, minutes, strict=True)):
        ripe = waits.ripe(move, float(length))
        if ripe.any():
            return k, ripe
        waits.passed(move, float(length))
    return len(moves), np.zeros(moves.shape[1], dtype=bool)


def _copy(result: Solved, part: Solved, at: int, count: int) -> None:
    span = slice(at, at + count)
    result.v[span], result.taps[span] = part.v[:count], part.taps[:count]
    result.converged[span] = part.converged[:count]


def _most_moves(low: Ints | Array, high: Ints | Array) -> int:
    """Positions a tap can pass from end to end."""
    return int(np.max(np.asarray(high) - np.asarray(low), initial=0)) + 1
