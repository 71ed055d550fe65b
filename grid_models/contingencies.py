"""AC power flow of all single outages at all steps of one switching state and tap position, as one batch.

Each outage changes the fixed point v = w + Z conj(s/v) of the whole network by a low rank (`lowrank`). From
the voltages before the outage the currents are kept and only the network is changed: exact, and with
nothing to multiply but the change. From there the differences of successive iterates follow

    d' = Z' conj(s/v - s/v_old) = -Z' conj(s d / (v v_old)),   Z' = Z - Z[:,a] gain Z[a,:],

which after the first two loses no digits in single precision, since d is small and nothing large is
subtracted. What does not settle is solved again on a network compiled without the branch, by Newton if
need be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grid_models.batch import DENSE_NODES, Engine
from grid_models.islands import Islands, find_islands, without
from grid_models.lowrank import Compensation, compensation
from grid_models.tables import Bools, Complex, Ints

TOLERANCE_PU = 5e-10
DOUBLE_ROUNDS, ROUNDS = 2, 60
WORKING_SET = 2**17
"""Complex numbers of one array of a chunk of outages: a few of them stay in the processor's cache."""

Single = NDArray[np.complex64]


@dataclass(frozen=True)
class Outcome:
    """A chunk of outages: which (c,), all node voltages (c,n+fixed,T), settled (c,T), what each cuts off.

    Fixed nodes follow the others; voltages of nodes that are cut off mean nothing.
    """

    outages: slice
    v: Complex
    converged: Bools
    dead: tuple[Ints, ...]

    def voltages(self, o: int, n: int) -> Complex:
        """Node voltages (T,n) of one outage of the chunk, NaN where it is dark."""
        v = self.v[o, :n].T.copy()
        v[:, self.dead[o]] = np.nan
        return v


def outcomes(engine: Engine, branches: Ints, v: Complex, s: Complex) -> Iterator[Outcome]:
    """Every outage of `branches` (O,) at every step, from base voltages (T,n) of injections (T,n)."""
    state = engine.state
    islands = find_islands(state, np.flatnonzero(engine.branches.ft))
    if len(state.pv) or state.n > DENSE_NODES:
        yield from _one_by_one(engine, islands, branches, v, s)
        return
    change = compensation(engine, islands, branches)
    v, s = np.ascontiguousarray(v.T), np.ascontiguousarray(s.T)
    size = max(1, WORKING_SET // max(1, v.size))
    for first in range(0, len(branches), size):
        at = slice(first, first + size)
        part = Compensation(change.at[at], change.gain[at], change.shift[at], change.dead[at])
        found, converged = _settle(engine, part, v, s)
        for o in np.flatnonzero(~converged.all(axis=1)):
            lost = np.flatnonzero(~converged[o])
            again = _alone(engine, int(branches[first + o]), part.dead[o], s[:, lost], v[:, lost])
            found[o][: state.n, lost], converged[o, lost] = again, np.isfinite(again).all(axis=0)
        yield Outcome(at, found, converged, part.dead)


def _one_by_one(engine: Engine, islands: Islands, branches: Ints, v: Complex, s: Complex) -> Iterator[Outcome]:
    """Where machines hold voltages, or the inverse would be too large: a network for each outage."""
    sources = np.repeat(engine.state.slack_v[:, None], len(s), axis=1)
    for o, branch in enumerate(map(int, branches)):
        dead = islands.behind(branch)
        found = _alone(engine, branch, dead, s.T, v.T)
        good = np.asarray(np.isfinite(found).all(axis=0), dtype=np.bool_)
        yield Outcome(slice(o, o + 1), np.concatenate([found, sources])[None], good[None], (dead,))


def _settle(engine: Engine, change: Compensation, v: Complex, s: Complex) -> tuple[Complex, Bools]:
    """Voltages (c,n+fixed,T) after the outages and which settled (c,T); v, s are (n,T)."""
    n, steps = v.shape
    count = len(change.at)
    sources = engine.state.slack_v
    full = np.empty((count, n + len(sources), steps), dtype=np.complex128)
    full[:, n:] = sources[:, None]
    after, injected = full[:, :n], np.tile(s, (count, 1, 1))
    after[:] = v
    with np.errstate(all="ignore"):
        current = np.conj(s / v)
    for o, nodes in enumerate(change.dead):
        if len(nodes):
            after[o] -= engine.z[:, nodes] @ current[nodes]
            injected[o, nodes] = 0.0
    columns = engine.z.T[change.at].transpose(0, 2, 1)
    taken = change.gain @ np.take_along_axis(after, change.at[:, :, None], axis=1) + change.shift[:, :, None]
    after -= columns @ taken
    return full, _iterate(engine.z - columns @ (change.gain @ engine.z[change.at]), injected, after, v)


def _iterate(inverse: Complex, s: Complex, v: Complex, before: Complex) -> Bools:
    """Moves `v` (c,n,T) to the fixed points of Z' `inverse` (c,n,n) and injections `s`; what settled (c,T).

    The first differences, the largest by far, are multiplied in double precision.
    """
    with np.errstate(all="ignore"):
        last, moved = before, v - before
        for _ in range(DOUBLE_ROUNDS):
            here = v.copy()
            moved = -(inverse @ np.conj(s * moved / (here * last)))
            v += moved
            last = here
        old: Single = last.astype(np.complex64)
        step: Single = moved.astype(np.complex64)
        short, injected = inverse.astype(np.complex64), s.astype(np.complex64)
        for _ in range(ROUNDS):
            new = v.astype(np.complex64)
            np.multiply(step, injected, out=step)
            step /= old * new
            np.conjugate(step, out=step)
            step = short @ step
            v -= step
            np.negative(step, out=step)
            old = new
            change = np.abs(step.view(np.float32)).max(axis=1).reshape(len(v), -1, 2).max(axis=2)
            if not (change > TOLERANCE_PU).any():
                break
    settled: Bools = change <= TOLERANCE_PU
    return settled


def _alone(engine: Engine, branch: int, dead: Ints, s: Complex, before: Complex) -> Complex:
    """Voltages (n,L) of injections (n,L) after one outage, in a network compiled for it; 0 where it is dark."""
    alive = np.setdiff1d(np.arange(engine.state.n), dead)
    v = np.zeros_like(s)
    left = Engine.of(without(engine.state, branch, dead), engine.taps)
    v[alive] = left.solve(*(np.ascontiguousarray(x[alive].T) for x in (s, before)))[0].T
    return v
