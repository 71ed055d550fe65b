"""Vectorised AC power flow of many injection cases on one switching state and tap position.

Where no machine holds a voltage, the solution is a fixed point of
    v = w + Z · conj(s / v),   Z = Y_nn^-1,   w = -Z Y_ns v_s
(the implicit Z-bus method; convergence: Bolognani and Zampieri, IEEE Trans. Power Syst. 31 (2016)
163), with Z as a matrix for nets of up to `DENSE_NODES` nodes and as sparse factors above. With
machines, and for cases that do not settle, see `grid_models.newton`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csc_array, csr_array
from scipy.sparse.linalg import splu

from grid_models.branches import Branches
from grid_models.compile import State
from grid_models.newton import PolarSystem
from grid_models.tables import Bools, Complex, Ints, Sparse
from vpp.domain.time import Array

TOLERANCE_PU = 1e-10
FIXED_POINT_ROUNDS = 60
CHUNK = 256
DENSE_NODES = 150


@dataclass(frozen=True)
class Engine:
    """One (switching state, tap tuple): admittance matrix (n+S, n+S) and branch admittances."""

    state: State
    taps: tuple[int, ...]
    admittance: Sparse
    branches: Branches

    @classmethod
    def of(cls, state: State, taps: tuple[int, ...]) -> Engine:
        branches = state.branches(np.array(taps, dtype=np.int64))
        return cls(state, taps, state.admittance(branches), branches)

    @cached_property
    def y(self) -> Complex:
        """The admittance matrix, dense."""
        return np.asarray(self.admittance.toarray(), dtype=np.complex128)

    @cached_property
    def z(self) -> Complex:
        """Inverse of the admittance matrix of nodes 0..n-1, dense."""
        n = self.state.n
        return np.asarray(np.linalg.inv(self.y[:n, :n]), dtype=np.complex128)

    @cached_property
    def w(self) -> Complex:
        """Voltages (n,) without injections and machines."""
        n = self.state.n
        if n > DENSE_NODES:
            return np.asarray(-self._factors.solve(self._from_sources), dtype=np.complex128)
        return np.asarray(-self.z @ self.y[:n, n:] @ self.state.slack_v, dtype=np.complex128)

    @cached_property
    def polar(self) -> PolarSystem:
        """The power flow equations of nodes 0..n-1 with their Jacobian."""
        n = self.state.n
        unearthed = self.state.admittance(self.branches, earthed=False)
        unloaded = -_factorised(unearthed[:n, :n]).solve(unearthed[:n, n:] @ self.state.slack_v)
        inner = csr_array(self.admittance[:n, :n])
        return PolarSystem(inner, self._from_sources, self.state.pv, self.state.vm_set, unloaded)

    def solve(self, s: Complex, start: Complex | None = None) -> tuple[Complex, Bools]:
        """Node voltages (K,n) of node injections `s` (K,n) in per unit (MVA), and which converged (K,).

        `start` (K,n) are voltages near the solutions, NaN where none is known. The reactive power of
        nodes that machines hold is of no account. What does not converge is NaN.
        """
        v = np.empty_like(s)
        solve = self.polar.solve if len(self.state.pv) else self._z_bus
        for first in range(0, len(s), CHUNK):
            part = slice(first, first + CHUNK)
            v[part] = solve(s[part], None if start is None else start[part])
        return v, np.asarray(np.isfinite(v).all(axis=1), dtype=np.bool_)

    def _z_bus(self, s: Complex, start: Complex | None) -> Complex:
        v = self._fixed_point(s, start)
        for k in np.flatnonzero(np.isnan(v).any(axis=1)):
            v[k] = self.polar.newton(s[k])
        return v

    def _fixed_point(self, s: Complex, start: Complex | None) -> Complex:
        active = np.arange(len(s))
        result = np.full_like(s, np.nan)
        v = np.tile(self.w, (len(s), 1)) if start is None else np.where(np.isnan(start), self.w, start)
        s_conj = np.conj(s)
        with np.errstate(all="ignore"):
            for _ in range(FIXED_POINT_ROUNDS):
                new = self._z_times(s_conj / np.conj(v))
                new += self.w
                change = np.abs(new - v).max(axis=1, initial=0.0)
                done = change < TOLERANCE_PU
                if done.any():
                    result[active[done]] = new[done]
                    active, new, s_conj = active[~done], new[~done], s_conj[~done]
                if not len(active):
                    break
                v = new
        return result

    @cached_property
    def _from_sources(self) -> Complex:
        """Currents Y_ns v_s (n,)."""
        n = self.state.n
        return np.asarray(self.admittance[:n, n:] @ self.state.slack_v, dtype=np.complex128)

    @cached_property
    def _z_times(self) -> Callable[[Complex], Complex]:
        """Node currents (K,n) to voltages (K,n)."""
        if self.state.n <= DENSE_NODES:
            z_t = np.ascontiguousarray(self.z.T)
            return lambda current: current @ z_t
        factors = self._factors
        return lambda current: np.ascontiguousarray(factors.solve(np.ascontiguousarray(current.T)).T)

    @cached_property
    def _factors(self) -> Any:
        n = self.state.n
        return _factorised(self.admittance[:n, :n])

    def currents(self, v: Complex) -> tuple[Complex, Complex]:
        """Per-unit currents into both ends of every branch, each (K,E), of voltages (K,n)."""
        full = np.column_stack([v, np.tile(self.state.slack_v, (len(v), 1))])
        v_f, v_t = full[:, self.state.from_node], full[:, self.state.to_node]
        b = self.branches
        return b.ff * v_f + b.ft * v_t, b.tf * v_f + b.tt * v_t

    def loading_ends(self, v: Complex) -> tuple[Array, Array]:
        """Loading of every rated element in % at its from or high-voltage and at its other end, (K,E) each."""
        i_f, i_t = self.currents(v)
        return np.abs(i_f) * self.state.percent_from, np.abs(i_t) * self.state.percent_to

    def loading(self, v: Complex) -> Array:
        """Loading of every rated element in %, the greater of both ends, (K,E)."""
        out = np.empty((len(v), len(self.state.from_node)))
        for first in range(0, len(v), CHUNK):
            np.maximum(*self.loading_ends(v[first : first + CHUNK]), out=out[first : first + CHUNK])
        return out

    def bus_voltage(self, v: Complex) -> Array:
        """Voltage magnitude per bus (K,B), NaN for de-energised buses."""
        given = np.append(np.abs(self.state.slack_v), np.nan)
        magnitude = np.column_stack([np.abs(v), np.tile(given, (len(v), 1))])
        return magnitude[:, self.state.node]


def _factorised(matrix: Any) -> Any:
    """LU factors of an admittance matrix, whose pattern is symmetric."""
    return splu(csc_array(matrix), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})


def node_injection(state: State, p_mw: Array, q_mvar: Array) -> Complex:
    """Bus injections (K,B) summed to nodes (K,n) in per unit; those of sources and dead buses are left out."""
    used = np.flatnonzero((state.node >= 0) & (state.node < state.n))
    shape = (len(state.node), state.n)
    to_node = csr_array((np.ones(len(used)), (used, state.node[used])), shape=shape)
    return np.asarray(p_mw @ to_node + 1j * (q_mvar @ to_node), dtype=np.complex128)


def unique_rows(rows: Ints) -> list[tuple[tuple[int, ...], Ints]]:
    """Distinct rows and where each occurs."""
    if not len(rows):
        return []
    distinct, inverse = np.unique(rows, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    return [(tuple(map(int, row)), np.flatnonzero(inverse == i)) for i, row in enumerate(distinct)]
