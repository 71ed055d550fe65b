"""Newton's method in polar coordinates for one case, and its chord for many cases of one network.

    s = v conj(Y v + Y_s v_s);  unknown are the angles of all nodes and the magnitudes of those that no
    machine holds, given are the active powers of all nodes and the reactive powers of the latter
(Tinney and Hart, IEEE Trans. PAS 86 (1967) 1449). The chord keeps one Jacobian, that of the mean of
the cases, factorised once: a round costs one sparse product and one pair of triangular solves for
all cases, and converges linearly, the faster the nearer the cases lie to their mean. What has not
settled after its rounds is solved by Newton on its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu

from grid_models.tables import Bools, Complex, Ints, Sparse
from vpp.domain.time import Array

TOLERANCE_PU = 1e-10
NEWTON_ROUNDS = 12
CHORD_ROUNDS = 40
LARGEST_STEP = 1.0


@dataclass(frozen=True)
class PolarSystem:
    """Equations of nodes 0..n-1: admittances `y` (n,n), currents `fixed` (n,) = Y_s v_s from the sources.

    Nodes `pv` are held at `vm_set` pu. `unloaded` (n,) are the voltages where no current flows, neither
    to a load nor to earth: without its loads a long net may be in resonance, and Newton lost from there.
    """

    y: Sparse
    fixed: Complex
    pv: Ints
    vm_set: Array
    unloaded: Complex

    @cached_property
    def pq(self) -> Ints:
        """Nodes whose magnitude is unknown."""
        return np.setdiff1d(np.arange(len(self.fixed)), self.pv)

    @cached_property
    def flat(self) -> Complex:
        """Where Newton starts: no current flows, machines at their set-points, (n,)."""
        return self._held(self.unloaded)

    def solve(self, s: Complex, start: Complex | None) -> Complex:
        """Voltages (K,n) of injections (K,n), NaN where there is none. `start` as in `Engine.solve`."""
        given = np.full_like(s, np.nan) if start is None else start
        known = np.asarray(np.isfinite(given).all(axis=1), dtype=np.bool_)
        centre = self._held(given[known].mean(axis=0)) if known.any() else None
        if len(s) == 1:
            v = self.newton(s[0], centre)[None]
        else:
            if centre is None:
                centre = self.newton(s.mean(axis=0))
                centre = self.flat if np.isnan(centre).any() else centre
            v = self._chord(s, centre, np.where(known[:, None], given, centre))
        for k in np.flatnonzero(np.isnan(v).any(axis=1)):
            v[k] = self.newton(s[k])
        return v

    def newton(self, s: Complex, start: Complex | None = None) -> Complex:
        """Voltages (n,) of one case, NaN where it does not converge.

        Begins at `start`, without it at `flat`, or with machines where a DC power flow ends.
        """
        if start is None:
            v = self._dc(s) if len(self.pv) else self.flat
        else:
            v = self._held(start)
        with np.errstate(all="ignore"):
            for _ in range(NEWTON_ROUNDS):
                factors = self._factorised(self._jacobian(v))
                step = None if factors is None else factors.solve(self._mismatch(v[:, None], s[:, None]))
                if step is None or not np.isfinite(step).all():
                    break
                v = self._moved(v[:, None], step)[:, 0]
                if np.abs(step).max(initial=0.0) < TOLERANCE_PU:
                    return v
        return np.full(len(s), np.nan, dtype=np.complex128)

    def _dc(self, s: Complex) -> Complex:
        """Voltages (n,) of 1 pu, machines at their set-points, under the angles of a DC power flow."""
        n, even = len(s), self.unloaded / np.abs(self.unloaded)
        factors = self._factorised(self._jacobian(even)[:n, :n])
        if factors is None:
            return self.flat
        angles = factors.solve(self._mismatch(even[:, None], s[:, None])[:n, 0])
        return self._held(np.asarray(even * np.exp(1j * angles), dtype=np.complex128))

    def adjoint(self, v: Complex, h: Complex) -> Complex:
        """r (R,n) with Re(h·dv) = Re(r)·dp + Im(r)·dq at one voltage v (n,), for rows h (R,n); 0 for dq at `pv`.

        NaN where the Jacobian is singular.
        """
        n, turned = len(v), 1j * h * v
        right = np.concatenate([turned.real, (h * v / np.abs(v)).real[:, self.pq]], axis=1)
        factors = self._factorised(self._jacobian(v))
        if factors is None:
            return np.full(h.shape, np.nan, dtype=np.complex128)
        dual: Array = factors.solve(np.ascontiguousarray(right.T), trans="T").T
        r: Complex = dual[:, :n].astype(np.complex128)
        r[:, self.pq] += 1j * dual[:, n:]
        return r

    def _chord(self, s: Complex, centre: Complex, start: Complex) -> Complex:
        """Voltages (K,n) from `start` (K,n) by the Jacobian at `centre` (n,), NaN where it does not settle."""
        result = np.full_like(s, np.nan)
        factors = self._factorised(self._jacobian(centre))
        if factors is None:
            return result
        active, wanted = np.arange(len(s)), np.ascontiguousarray(s.T)
        v = self._held(np.ascontiguousarray(start.T))
        with np.errstate(all="ignore"):
            for _ in range(CHORD_ROUNDS):
                step = factors.solve(self._mismatch(v, wanted))
                v = self._moved(v, step)
                size = np.abs(step).max(axis=0, initial=0.0)
                done = size < TOLERANCE_PU
                result[active[done]] = v[:, done].T
                going = ~done & (size < LARGEST_STEP)
                if not going.all():
                    active, v, wanted = active[going], v[:, going], wanted[:, going]
                if not len(active):
                    break
        return result

    def _held(self, v: Complex) -> Complex:
        """Voltages (n,) or (n,K) with the magnitudes of the machines' nodes at their set-points."""
        out = v.copy()
        out[self.pv] *= (self.vm_set / np.abs(out[self.pv]).T).T
        return out

    def _currents(self, v: Complex) -> Complex:
        """Injected currents (n,K) at voltages (n,K)."""
        return np.asarray(self.y @ v + self.fixed[:, None], dtype=np.complex128)

    def _mismatch(self, v: Complex, s: Complex) -> Array:
        """Given minus found powers (n + pq, K) at voltages (n,K)."""
        missing = s - v * np.conj(self._currents(v))
        return np.concatenate([missing.real, missing.imag[self.pq]])

    def _moved(self, v: Complex, step: Array) -> Complex:
        """Voltages (n,K) after a step of angles and magnitudes (n + pq, K)."""
        n = len(v)
        magnitude = np.abs(v)
        unit = v / magnitude
        magnitude[self.pq] += step[n:]
        moved: Complex = magnitude * unit * np.exp(1j * step[:n])
        return moved

    @staticmethod
    def _factorised(jacobian: Any) -> Any:
        """LU factors of a Jacobian, or None where it is singular."""
        try:
            return splu(jacobian, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
        except (RuntimeError, ValueError):
            return None

    def _jacobian(self, v: Complex) -> csc_array[np.float64]:
        """d(P, Q of pq) / d(angles, magnitudes of pq)."""
        rows, columns, values = self._pattern
        n, magnitude = len(v), np.abs(v)
        across = v[rows] * np.conj(values * v[columns])
        own = v * np.conj(self._currents(v[:, None])[:, 0])
        d_angle = np.concatenate([-1j * across, 1j * own])
        d_magnitude = np.concatenate([across / magnitude[columns], own / magnitude])
        entries = np.concatenate([
            d_angle.real, d_magnitude.real[self._kept[0]], d_angle.imag[self._kept[1]], d_magnitude.imag[self._kept[2]]
        ])  # fmt: skip
        size = n + len(self.pq)
        return csc_array((entries, self._places), shape=(size, size))

    @cached_property
    def _pattern(self) -> tuple[Ints, Ints, Complex]:
        y = self.y.tocoo()
        return y.row.astype(np.int64), y.col.astype(np.int64), y.data

    @cached_property
    def _kept(self) -> tuple[Bools, Bools, Bools]:
        """Which entries have a column of magnitudes, a row of reactive power, and both."""
        unknown = np.zeros(len(self.fixed), dtype=bool)
        unknown[self.pq] = True
        rows, columns = self._ends
        return unknown[columns], unknown[rows], unknown[rows] & unknown[columns]

    @cached_property
    def _ends(self) -> tuple[Ints, Ints]:
        """Rows and columns of the entries: those of `y`, then the diagonal."""
        own = np.arange(len(self.fixed))
        return np.concatenate([self._pattern[0], own]), np.concatenate([self._pattern[1], own])

    @cached_property
    def _places(self) -> tuple[Ints, Ints]:
        """Rows and columns of the Jacobian's entries, in the order of `_jacobian`."""
        n = len(self.fixed)
        below = np.full(n, -1)
        below[self.pq] = n + np.arange(len(self.pq))
        (rows, columns), (with_vm, with_q, with_both) = self._ends, self._kept
        return (
            np.concatenate([rows, rows[with_vm], below[rows[with_q]], below[rows[with_both]]]),
            np.concatenate([columns, below[columns[with_vm]], columns[with_q], below[columns[with_both]]]),
        )
