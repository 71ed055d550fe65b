"""Linear cuts from exact AC sensitivities at the operating point.

With J = d(P,Q)/d(Re v, Im v) a row g·d(Re v, Im v) becomes J^-T g over node injections (adjoint:
one solve per operating point, only for the rows asked for). Voltage rows use d|v_i|. A branch end
carries the complex current i = a v_f + b v_t, linear in v; its magnitude is bounded by tangents
Re(conj(u) i) <= i_max of the rated circle: u = i/|i| at the operating point and, where there is
room, the opposite direction, which guards the reversed flow a first-order |i| cannot see. Rows are
in % (of rating, of nominal voltage) and aim `MARGIN_PCT` inside the limit, so that rounds end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grid_models.batch import Engine, power_jacobian
from grid_models.tables import Bools, Complex, Ints
from vpp.domain.time import Array

MARGIN_PCT = 2e-3
BLOCK = 64


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
    n, slack = engine.state.n, engine.state.tables.slack_v
    shape = (len(wanted), max(map(len, wanted)))
    gradient, value = np.zeros((shape[0], 2 * n, shape[1])), np.zeros(shape)
    for j, mine in enumerate(wanted):
        for m, w in enumerate(mine):
            make = _voltage_row if w.kind == "vm" else _current_row
            gradient[j, :, m], value[j, m] = make(engine, v[j], w)
    current = v @ engine.y[:n, :n].T + engine.y[:n, n] * slack
    jacobian = power_jacobian(engine.y[:n, :n], v, current)
    adjoint = np.linalg.solve(np.swapaxes(jacobian, -1, -2), gradient)
    injection = np.concatenate([s.real, s.imag], axis=1)
    base = value - np.einsum("kx,kxm->km", injection, adjoint)
    rows: list[Row] = []
    for j, mine in enumerate(wanted):
        ahead, reversed_ = [], []
        for m, w in enumerate(mine):
            a = adjoint[j, :, m]
            bound = (w.sign * w.limit * 100.0 if w.kind == "vm" else w.limit) - MARGIN_PCT
            ahead.append(Row(w.k, w.element, a[:n], a[n:], bound - base[j, m]))
            if w.kind == "i":
                reversed_.append(Row(w.k, w.element, -a[:n], -a[n:], bound + base[j, m]))
        rows += ahead + reversed_[: per_point - len(mine)]
    return rows


def _voltage_row(engine: Engine, v: Complex, w: Wanted) -> tuple[Array, float]:
    """Gradient of sign·|v| over (Re v, Im v), (2n,), and its value; in %."""
    n, voltage = engine.state.n, v[w.index]
    scale = w.sign * 100.0 / abs(voltage)
    g = np.zeros(2 * n)
    g[w.index], g[n + w.index] = voltage.real * scale, voltage.imag * scale
    return g, float(w.sign * 100.0 * abs(voltage))


def _current_row(engine: Engine, v: Complex, w: Wanted) -> tuple[Array, float]:
    """Gradient of Re(conj(u) i) of the higher loaded end over (Re v, Im v), (2n,), and its value; in %."""
    n, state, b, e = engine.state.n, engine.state, engine.branches, w.index
    ends = (int(state.from_node[e]), int(state.to_node[e]))
    full = np.append(v, state.tables.slack_v)
    candidates = [
        (scale[e] * near[e] * full[ends[0]] + scale[e] * far[e] * full[ends[1]], scale[e] * near[e], scale[e] * far[e])
        for near, far, scale in ((b.ff, b.ft, state.percent_from), (b.tf, b.tt, state.percent_to))
    ]
    i, *factors = max(candidates, key=lambda c: abs(c[0]))
    u = np.conj(i) / abs(i)
    g = np.zeros(2 * n)
    for factor, node in zip(factors, ends, strict=True):
        if node < n:
            g[node] += (u * factor).real
            g[n + node] -= (u * factor).imag
    return g, float(abs(i))
