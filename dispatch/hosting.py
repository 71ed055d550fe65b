"""Hosting capacity: how much more a bus could take or give in each interval, one bus at a time, until a limit is met.

    most x in [0, most_mw]  with  flow(plan + x at the bus)  inside every limit,   generation: +x,  load: -x at tan_phi

by bisection of AC solutions, all buses, both sides and all intervals in one batch a round. Everything else, taps
included, is as in the regions (`pq_region`): as planned, taps controlled from where the plan's stand.
Source: the deterministic hosting capacity of M. Bollen and F. Hassan, "Integration of Distributed Generation in the
Power System", Wiley 2011, ch. 3, with the plan as the operating point.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dispatch.pq_region import Around
from vpp.domain.time import Array

DOUBLINGS, BISECTIONS = 6, 8
"""From a 64th of the most on, so that no flow is asked for that lies far beyond any solution."""


def hosting_mw(around: Around, buses: Sequence[int], most_mw: float, tan_phi: float = 0.0) -> Array:
    """(buses, 2, T) MW more load and more generation that each position of `buses` takes; 0 where the plan of an
    interval breaks a limit itself, `most_mw` where no limit is met below it. `around` holds the whole plan.

    Raises ValueError without a network.
    """
    if around.network is None:
        raise ValueError("hosting capacity needs a network")
    shape = (len(buses), 2, around.grid.n)
    sign = np.array([-1.0, 1.0])[None, :, None]
    whole = np.full(shape, float(most_mw))
    low, high = np.zeros(shape), whole.copy()
    held = np.ones(shape, dtype=bool)
    for doubled in range(-DOUBLINGS, 1):
        wider = whole * 2.0**doubled
        held &= _clean(around, buses, sign * np.where(held, wider, low), tan_phi)
        low, high = np.where(held, wider, low), np.where(held, high, np.minimum(high, wider))
        if not held.any():
            break
    for _ in range(BISECTIONS):
        middle = (low + high) / 2.0
        fits = _clean(around, buses, sign * middle, tan_phi)
        low, high = np.where(fits, np.maximum(low, middle), low), np.where(fits, high, np.minimum(high, middle))
    return low


def _clean(around: Around, buses: Sequence[int], added_mw: Array, tan_phi: float) -> Array:
    """(buses, 2, T) whether the plan with `added_mw` at each bus alone breaks no limit."""
    count = added_mw.shape[0] * 2
    p, q = (np.repeat(v[None], count + 1, axis=0) for v in (around.p_mw, around.q_mvar))
    for i, bus in enumerate(buses):
        for side in range(2):
            load = added_mw[i, side] * (tan_phi if side == 0 else 0.0)
            p[1 + 2 * i + side, :, bus] += added_mw[i, side]
            q[1 + 2 * i + side, :, bus] += load
    assert around.network is not None
    broken = around.broken(around.network.flow(around.grid, p, q))
    found = np.ones((count, added_mw.shape[2]), dtype=bool)
    for c, t in broken:
        if c > 0:
            found[c - 1, t] = False
        else:
            found[:, t] = False
    return found.reshape(added_mw.shape)
