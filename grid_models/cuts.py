"""Linear cuts from exact AC sensitivities at the operating point.

A row Re(h·dv) over complex node voltages becomes Re(r)·dp + Im(r)·dq over node injections by the
adjoint of the power flow equations, only for the rows asked for. Voltage rows use d|v_i|. A branch end
carries the complex current i = a v_f + b v_t, linear in v; its magnitude is bounded by tangents
Re(conj(u) i) <= i_max of the rated circle: u = i/|i| at the operating point and, where there is
room, the opposite direction, which guards the reversed flow a first-order |i| cannot see. Rows are
in % (of rating, of nominal voltage) and aim `MARGIN_PCT` inside the limit, so that rounds end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grid_models.batch import DENSE_NODES, Engine
from grid_models.tables import Bools, Complex, Ints
from vpp.domain.time import Array

MARGIN_PCT = 2e-3
BLOCK = 256
ADJOINT_ROUNDS = 60
ADJOINT_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Row:
    """One cut of one operating point k: dp·p + dq·q <= limit over node injections (n,) in MW, Mvar; in %."""

    k: int
    element: str
    dp: Array
    dq: Array
    limit: float


@dataclass(frozen=True)
class Wanted:
    """A bounded quantity of operating point `k`, using `usage` % of its bound.

    `kind` "vm" bounds node `index` from above (`sign` +1) or below (-1) at `limit` pu; "i" bounds
    the higher loaded end of branch `index` at `limit` %.
    """

    k: int
    element: str
    kind: str
    index: int
    sign: int
    limit: float
    usage: float


def cut_rows(
    engine: Engine, v: Complex, s: Complex, points: Ints, wanted: list[Wanted], good: Bools, per_point: int
) -> list[Row]:
    """Cuts at operating points `points` with voltages v and injections s (K,n), in the order of `wanted`.

    At most `per_point` each; points that are not `good` (no solution) give none.
    """
    by_point: dict[int, list[Wanted]] = {int(k): [] for k in points}
    for w in wanted:
        by_point[w.k].append(w)
    rows: list[Row] = []
    usable = np.flatnonzero(good)
    for first in range(0, len(usable), BLOCK):
        block = usable[first : first + BLOCK]
        mine = [by_point[int(points[j])][:per_point] for j in block]
        rows += _block(engine, v[block], s[block], mine, per_point)
    return rows


def _block(engine: Engine, v: Complex, s: Complex, wanted: list[list[Wanted]], per_point: int) -> list[Row]:
    flat = [(j, w) for j, mine in enumerate(wanted) for w in mine]
    of = np.array([j for j, _ in flat])
    h, value = np.zeros((len(flat), engine.state.n), dtype=complex), np.zeros(len(flat))
    for m, (j, w) in enumerate(flat):
        h[m], value[m] = (_voltage_row if w.kind == "vm" else _current_row)(engine, v[j], w)
    r = adjoint(engine, v[of], s[of], h)
    base = value - (r.real * s[of].real + r.imag * s[of].imag).sum(axis=1)
    rows: list[Row] = []
    opposite: list[list[Row]] = [[] for _ in wanted]
    for m, (j, w) in enumerate(flat):
        bound = (w.sign * w.limit * 100.0 if w.kind == "vm" else w.limit) - MARGIN_PCT
        rows.append(Row(w.k, w.element, r[m].real, r[m].imag, bound - base[m]))
        if w.kind == "i":
            opposite[j].append(Row(w.k, w.element, -r[m].real, -r[m].imag, bound + base[m]))
    for mine, others in zip(wanted, opposite, strict=True):
        rows += others[: per_point - len(mine)]
    return rows


def adjoint(engine: Engine, v: Complex, s: Complex, h: Complex) -> Complex:
    """r (R,n) with Re(h·dv) = Re(r)·dp + Im(r)·dq at voltages v and injections s (R,n).

    From v = w + Z conj(s/v) the adjoint is l = h - conj(D Z' l) with D = conj(s)/conj(v)^2 and
    r = Z' l / conj(v): a fixed point that contracts where the power flow's own does. Rows that do
    not settle, and all rows where machines hold voltages, are solved by the Jacobian.
    """
    if len(engine.state.pv) or engine.state.n > DENSE_NODES:
        return _direct(engine, v, h)
    d = np.conj(s) / np.conj(v) ** 2
    settling, z = h, engine.z
    settled = np.zeros(len(h), dtype=bool)
    with np.errstate(all="ignore"):
        for _ in range(ADJOINT_ROUNDS):
            new = h - np.conj(d * (settling @ z))
            settled = np.abs(new - settling).max(axis=1, initial=0.0) <= ADJOINT_TOLERANCE * np.abs(h).max(axis=1)
            settling = new
            if settled.all():
                break
        r: Complex = (settling @ z) / np.conj(v)
    lost = np.flatnonzero(~settled)
    if len(lost):
        r[lost] = _direct(engine, v[lost], h[lost])
    return r


def _direct(engine: Engine, v: Complex, h: Complex) -> Complex:
    """By one factorisation of the Jacobian per distinct voltage; neighbouring rows share theirs."""
    r = np.empty_like(h)
    first = 0
    for m in range(1, len(v) + 1):
        if m == len(v) or not np.array_equal(v[m], v[first]):
            r[first:m] = engine.polar.adjoint(v[first], h[first:m])
            first = m
    return r


def _voltage_row(engine: Engine, v: Complex, w: Wanted) -> tuple[Complex, float]:
    """h (n,) with d(sign·|v|) = Re(h·dv), and the value of sign·|v|; in %."""
    voltage = v[w.index]
    h = np.zeros(engine.state.n, dtype=complex)
    h[w.index] = np.conj(voltage) * (w.sign * 100.0 / abs(voltage))
    return h, float(w.sign * 100.0 * abs(voltage))


def _current_row(engine: Engine, v: Complex, w: Wanted) -> tuple[Complex, float]:
    """h (n,) with d Re(conj(u) i) = Re(h·dv) at the higher loaded end, and the value |i|; in %."""
    state, b, e = engine.state, engine.branches, w.index
    f, t = int(state.from_node[e]), int(state.to_node[e])
    full = np.append(v, state.slack_v)
    ends = [
        (scale[e] * at_f[e], scale[e] * at_t[e])
        for at_f, at_t, scale in ((b.ff, b.ft, state.percent_from), (b.tf, b.tt, state.percent_to))
    ]
    a_f, a_t = max(ends, key=lambda end: abs(end[0] * full[f] + end[1] * full[t]))
    i = a_f * full[f] + a_t * full[t]
    u = np.conj(i) / abs(i)
    h = np.zeros(len(full), dtype=complex)
    h[f] += u * a_f
    h[t] += u * a_t
    return h[: state.n], float(abs(i))
