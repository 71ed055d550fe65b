"""Spinning reserve: what a machine that runs can give beyond its plan, and take back, within its ramps.

With power p, binaries on, start, stop, the highest output su[t] in the step of a start at t and sd[t] in the step
before a stop at t, and the ramps RU[t], RD[t] (MW) from step t - 1 to t, a step of d[t] minutes:

    up   <= max on[t] - (max - su[t]) start[t] - p[t]
    up   <= max on[t] - (max - sd[t+1]) stop[t+1] - p[t]            a call does not keep it from stopping as planned
    up   <= RD[t+1] on[t+1] + sd[t+1] stop[t+1] + p[t+1] - p[t]     it is back on the plan one step after a call
    down <= p[t] - min on[t]
    down <= RU[t+1] on[t] + su[t+1] start[t+1] + p[t] - p[t+1]
    up / activation time   <= (RU[t] on[t-1] + su[t] start[t] + p[t-1] - p[t]) / d[t]
    down / activation time <= (RD[t] on[t] + sd[t] stop[t] + p[t] - p[t-1]) / d[t]

The last two are the ramp per minute that the plan's own movement leaves. Nothing starts or stops on call. Source:
headroom of committed units as in B. Knueven, J. Ostrowski and J.-P. Watson, "On mixed-integer programming
formulations for the unit commitment problem", INFORMS Journal on Computing 32 (4), 2020, sec. 3 (reserve with ramps,
start and stop limits); the return after a call mirrors it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from dispatch.block import INF, previous
from dispatch.headroom import Linear
from dispatch.sparse import diagonal
from vpp.domain.time import Array


@dataclass(frozen=True)
class Machine:
    """n machines over T steps: maps (n*T, block columns) to their power and binaries, and the limits of the docstring.

    `low`, `high`, `before_mw`, `was_on` are (n,1); `start`, `stop`, `ramp_up`, `ramp_down` (n,T) MW; `minutes` (T,).
    """

    power: sp.csr_array
    on: sp.csr_array
    start_at: sp.csr_array
    stop_at: sp.csr_array
    low: Array
    high: Array
    start: Array
    stop: Array
    ramp_up: Array
    ramp_down: Array
    minutes: Array
    before_mw: Array
    was_on: Array


@dataclass(frozen=True)
class Way:
    """One direction: the `limits` of what is held, the first always binding, and the `ramp` left, MW per minute."""

    limits: tuple[Linear, ...]
    ramp: Linear


def ways(m: Machine) -> tuple[Way, Way]:
    """Up and down."""
    (n, steps), none = m.start.shape, np.zeros(m.start.size)
    before, after = previous(n, steps), sp.csr_array(previous(n, steps).T)
    first, last = (np.arange(steps) == t for t in (0, steps - 1))
    open_end = np.tile(np.where(last, INF, 0.0), n)
    top = diagonal(np.broadcast_to(m.high, m.start.shape)) @ m.on
    floor = diagonal(np.broadcast_to(m.low, m.start.shape)) @ m.on
    rise = diagonal(m.ramp_up) @ before @ m.on + diagonal(m.start) @ m.start_at - (m.power - before @ m.power)
    fall = diagonal(m.ramp_down) @ m.on + diagonal(m.stop) @ m.stop_at + (m.power - before @ m.power)
    risen = np.where(first, m.ramp_up * m.was_on + m.before_mw, 0.0).ravel()
    fallen = np.where(first, -m.before_mw, 0.0).ravel()
    lost = after @ diagonal(m.high - m.stop) @ m.stop_at
    up = (
        Linear(sp.csr_array(top - diagonal(m.high - m.start) @ m.start_at - m.power), none),
        Linear(sp.csr_array(top - lost - m.power), open_end),
        Linear(sp.csr_array(after @ fall), open_end),
    )
    down = Linear(sp.csr_array(m.power - floor), none), Linear(sp.csr_array(after @ rise), open_end)
    per_minute = np.tile(1.0 / m.minutes, n)
    left = (Linear(sp.csr_array(diagonal(per_minute) @ a), per_minute * b) for a, b in ((rise, risen), (fall, fallen)))
    return Way(up, next(left)), Way(down, next(left))
