"""Backup batteries: the wished power as far as rating, connection, the site's load and the reserve allow.

The reserve rises with the load to come, so the content needed now is found backwards: what is needed at the end
of the next step, less what can be charged in it.
"""

from __future__ import annotations

import numpy as np

from dispatch.follow.tools import clip, keep
from dispatch.wish import Path, Wish
from vpp.domain.time import Array


def follow(wish: Wish) -> Path:
    """Charge where the reserve asks for it, else as wished."""
    q, hours = wish.asset.params, wish.grid.hours
    load = np.maximum(np.asarray(wish.inputs["load_mw"], dtype=float), 0.0)
    rated = q.power_mw if wish.state.available else 0.0
    most_in = np.minimum(rated, np.maximum(q.connection_mw - load, 0.0))
    reserve, left = q.reserve_mwh(load, wish.grid), keep(q.standing_loss_per_h, hours)
    needed = _needed(reserve, left, most_in * q.charge_efficiency * hours)
    content, full = clip(wish.state.stored_mwh, 0.0, q.capacity_mwh), q.soc_max * q.capacity_mwh
    battery, stored = np.empty(wish.grid.n), np.empty(wish.grid.n)
    for t, h in enumerate(hours):
        content *= left[t]
        per_mw = h * q.charge_efficiency
        room = min(most_in[t], max(0.0, full - content) / per_mw)
        due = min(room, max(0.0, needed[t] - content) / per_mw)
        spare = max(0.0, content - needed[t]) * q.discharge_efficiency / h
        battery[t] = clip(wish.wanted_mw[t] + load[t], -room, min(rated, load[t], spare) if due == 0.0 else -due)
        content += max(-battery[t], 0.0) * per_mw - h * max(battery[t], 0.0) / q.discharge_efficiency
        stored[t] = content
    return Path(battery - load, stored_mwh=stored, decisions={"reserve_mwh": reserve})


def _needed(reserve_mwh: Array, left: Array, most_mwh: Array) -> Array:
    """(T,) content at the end of each step from which every later reserve can be reached."""
    needed = reserve_mwh.copy()
    for t in range(len(needed) - 2, -1, -1):
        before = (needed[t + 1] - most_mwh[t + 1]) / max(float(left[t + 1]), 1e-9)
        needed[t] = max(needed[t], before)
    return needed
