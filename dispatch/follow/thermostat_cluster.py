"""Thermostat cluster: the wished power inside the comfort band and the minimum times of its units.

What rose within min_on_min still runs, what fell within min_off_min still rests; a class out of service is
left to its thermostats, which hold the set-point.
"""

from __future__ import annotations

import numpy as np

from dispatch.follow.room import Room
from dispatch.follow.tools import clip
from dispatch.wish import Path, Wish
from vpp.domain.time import Array


def follow(wish: Wish) -> Path:
    q, cools, total = wish.asset.params, wish.asset.params.mode == "cooling", wish.asset.params.power_mw
    ambient, half = np.asarray(wish.inputs["ambient_c"], dtype=float), wish.asset.params.band_c / 2.0
    room = Room.of(
        cools, q.heat_capacity_mwh_th_per_c, q.transmittance_mw_th_per_c, q.set_c + half if cools else q.set_c - half,
        q.cop(ambient), ambient, wish.inputs["gains_mw_th"], wish.grid.hours,
    )  # fmt: skip
    full, middle = 2.0 * half * room.capacity, half * room.capacity
    content, wanted, last = wish.state.stored_mwh, -wish.wanted_mw, clip(-wish.state.power_mw, 0.0, total)
    begin = np.concatenate([[0.0], np.cumsum(wish.grid.minutes[:-1], dtype=float)])
    used, stored, rises, falls = (np.zeros(wish.grid.n) for _ in range(4))
    for t in range(wish.grid.n):
        held = clip(_recent(rises, begin, t, q.min_on_min), 0.0, total)
        free = clip(total - _recent(falls, begin, t, q.min_off_min), held, total)
        least = clip(room.power_to(content, 0.0, t), held, free)
        most = clip(room.power_to(content, full, t), least, free)
        used[t] = clip(wanted[t], least, most)
        if not wish.state.available:
            used[t] = clip(room.power_to(content, middle, t), 0.0, total)
        rises[t], falls[t], last = max(used[t] - last, 0.0), max(last - used[t], 0.0), used[t]
        content = stored[t] = room.after(content, used[t], t)
    return Path(-used, stored_mwh=stored, decisions={"indoor_c": room.indoor(stored)})


def _recent(change: Array, begin: Array, t: int, minutes: float) -> float:
    """What changed in steps before t that began less than `minutes` before it."""
    return float(change[:t][begin[t] - begin[:t] < minutes].sum())
