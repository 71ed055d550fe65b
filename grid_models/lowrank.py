"""Outages of single branches as changes of low rank of the inverse admittance matrix.

Taking a branch out adds D = -[y_ff y_ft; y_tf y_tt] at its end nodes a. With u = Z i + w the voltages
that the same currents would cause in the whole network, and v_s those of fixed end nodes,

    v = u - Z[:,a] c,   c = D v_a = D (1 + Z_aa D)^-1 (u_a - Z_aa D_as v_s) + D_as v_s

(compensation; Alsac, Stott and Tinney, IEEE Trans. PAS 102 (1983) 307). A branch that is a bridge cuts
nodes off: their injections go, and what is left of them is the admittance they show at the living end b,
y = y_bb + y_bd Z_db / Z_bb, taken out there. Their own voltages mean nothing then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grid_models.batch import Engine
from grid_models.islands import Islands
from grid_models.tables import Complex, Ints


@dataclass(frozen=True)
class Compensation:
    """O outages on n nodes: end nodes `at` (O,2), currents c = gain u_at + shift, (O,2,2) and (O,2).

    `dead` holds the nodes each outage cuts off. Where an end is fixed or cut off its row is zero.
    """

    at: Ints
    gain: Complex
    shift: Complex
    dead: tuple[Ints, ...]


def compensation(engine: Engine, islands: Islands, branches: Ints) -> Compensation:
    """The outage of each of `branches` (O,), positions of elements, in the engine's switching state."""
    state, b, n = engine.state, engine.branches, engine.state.n
    ends = np.column_stack([state.from_node[branches], state.to_node[branches]])
    change = -np.array([[b.ff[branches], b.ft[branches]], [b.tf[branches], b.tt[branches]]]).transpose(2, 0, 1)
    inner = ends < n
    at = np.where(inner, ends, 0)
    dead = tuple(islands.behind(int(e)) for e in branches)
    for o in np.flatnonzero([len(nodes) > 0 for nodes in dead]):
        living = int(ends[o, 0] in set(dead[o].tolist()))
        change[o] = _bridge(engine.z, change[o], at[o], inner[o], living)
        inner[o, 1 - living] = False
    fixed = np.where(ends < n, 0.0, state.slack_v[np.maximum(ends - n, 0)])
    z = engine.z[at[:, :, None], at[:, None, :]] * (inner[:, :, None] & inner[:, None, :])
    own = change * (inner[:, :, None] & inner[:, None, :])
    outer = (change * inner[:, :, None] @ fixed[:, :, None])[:, :, 0]
    gain = own @ np.linalg.inv(np.eye(2) + z @ own)
    shift = outer - (gain @ z @ outer[:, :, None])[:, :, 0]
    return Compensation(at, gain, shift, dead)


def _bridge(z: Complex, change: Complex, at: Ints, inner: Ints, living: int) -> Complex:
    """The change (2,2) that takes out what hangs behind a bridge, at its living end alone."""
    alone = np.zeros((2, 2), dtype=np.complex128)
    if inner[living]:
        here, there = at[living], at[1 - living]
        across = change[living, 1 - living] * z[there, here] / z[here, here]
        alone[living, living] = change[living, living] + across
    return alone
