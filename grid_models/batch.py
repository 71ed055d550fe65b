"""Vectorised AC power flow of many injection cases on one switching state and tap position.

With one slack and constant-power injections the solution is a fixed point of
    v = w + Z · conj(s / v),   Z = Y_nn^-1,   w = -Z Y_ns v_s
(the implicit Z-bus method; convergence: Bolognani and Zampieri, IEEE Trans. Power Syst. 31 (2016)
163). Cases that do not settle are tried by Newton in polar-free (real, imaginary) coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grid_models.compile import Branches, State
from grid_models.tables import Bools, Complex, Ints
from vpp.domain.time import Array

TOLERANCE_PU = 1e-10
FIXED_POINT_ROUNDS = 60
NEWTON_ROUNDS = 20
CHUNK = 4096


@dataclass(frozen=True)
class Engine:
    """One (switching state, tap tuple): inverse `z` (n,n), no-load voltage `w` (n,), `y` (n+1,n+1)."""

    state: State
    taps: tuple[int, ...]
    y: Complex
    z: Complex
    w: Complex
    branches: Branches

    @classmethod
    def of(cls, state: State, taps: tuple[int, ...]) -> Engine:
        position = np.array(taps, dtype=np.int64)
        y = state.admittance(position)
        n = state.n
        z: Complex = np.asarray(np.linalg.inv(y[:n, :n]), dtype=np.complex128)
        return cls(state, taps, y, z, -z @ y[:n, n] * state.tables.slack_v, state.branches(position))

    def solve(self, s: Complex, start: Complex | None = None) -> tuple[Complex, Bools]:
        """Node voltages (K,n) of node injections `s` (K,n) in per unit (MVA), and which converged (K,).

        What does not converge is NaN.
        """
        v = np.empty_like(s)
        for first in range(0, len(s), CHUNK):
            part = slice(first, first + CHUNK)
            v[part] = self._fixed_point(s[part], None if start is None else start[part])
        lost = np.flatnonzero(np.isnan(v).any(axis=1))
        for k in lost:
            v[k] = self._newton(s[k])
        return v, np.asarray(np.isfinite(v).all(axis=1), dtype=np.bool_)

    def _fixed_point(self, s: Complex, start: Complex | None) -> Complex:
        active = np.arange(len(s))
        result = np.full_like(s, np.nan)
        v = np.tile(self.w, (len(s), 1)) if start is None else np.where(np.isnan(start), self.w, start)
        z_t, s_conj = np.ascontiguousarray(self.z.T), np.conj(s)
        with np.errstate(all="ignore"):
            for _ in range(FIXED_POINT_ROUNDS):
                new = (s_conj / np.conj(v)) @ z_t
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

    def _newton(self, s: Complex) -> Complex:
        n, slack = self.state.n, self.state.tables.slack_v
        v = self.w.copy()
        with np.errstate(all="ignore"):
            for _ in range(NEWTON_ROUNDS):
                current = self.y[:n, :n] @ v + self.y[:n, n] * slack
                mismatch = s - v * np.conj(current)
                jacobian = power_jacobian(self.y[:n, :n], v, current)
                try:
                    step = np.linalg.solve(jacobian, np.r_[mismatch.real, mismatch.imag])
                except np.linalg.LinAlgError:
                    break
                v = v + step[:n] + 1j * step[n:]
                if np.abs(step).max() < TOLERANCE_PU:
                    return np.asarray(v, dtype=np.complex128)
        return np.full(n, np.nan, dtype=np.complex128)

    def currents(self, v: Complex) -> tuple[Complex, Complex]:
        """Per-unit currents into both ends of every branch, each (K,E), of voltages (K,n)."""
        full = np.column_stack([v, np.full(len(v), self.state.tables.slack_v)])
        v_f, v_t = full[:, self.state.from_node], full[:, self.state.to_node]
        b = self.branches
        return b.ff * v_f + b.ft * v_t, b.tf * v_f + b.tt * v_t

    def loading(self, v: Complex) -> Array:
        """Loading of every rated element in %, the greater of both ends, (K,E)."""
        out = np.empty((len(v), len(self.state.from_node)))
        for first in range(0, len(v), CHUNK):
            i_f, i_t = self.currents(v[first : first + CHUNK])
            out[first : first + CHUNK] = np.maximum(
                np.abs(i_f) * self.state.percent_from, np.abs(i_t) * self.state.percent_to
            )
        return out

    def bus_voltage(self, v: Complex) -> Array:
        """Voltage magnitude per bus (K,B), NaN for de-energised buses."""
        magnitude = np.column_stack(
            [np.abs(v), np.full(len(v), abs(self.state.tables.slack_v)), np.full(len(v), np.nan)]
        )
        return magnitude[:, self.state.node]


def power_jacobian(y: Complex, v: Complex, current: Complex) -> Array:
    """d(P,Q)/d(Re v, Im v) of s = v conj(y v + ...); (n,) arrays to (2n, 2n)."""
    own, across = np.diag(np.conj(current)), v[:, None] * np.conj(y)
    d_re, d_im = own + across, 1j * (own - across)
    return np.block([[d_re.real, d_im.real], [d_re.imag, d_im.imag]])


def node_injection(state: State, p_mw: Array, q_mvar: Array) -> Complex:
    """Bus injections (K,B) summed to nodes (K,n) in per unit; the slack's and dead buses' are left out."""
    to_node = np.zeros((len(state.node), state.n))
    used = np.flatnonzero((state.node >= 0) & (state.node < state.n))
    to_node[used, state.node[used]] = 1.0
    s: Complex = p_mw @ to_node + 1j * (q_mvar @ to_node)
    return s


def unique_rows(rows: Ints) -> list[tuple[tuple[int, ...], Ints]]:
    """Distinct rows and where each occurs."""
    if not len(rows):
        return []
    distinct, inverse = np.unique(rows, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    return [(tuple(map(int, row)), np.flatnonzero(inverse == i)) for i, row in enumerate(distinct)]
