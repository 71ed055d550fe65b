"""Building: the wished power inside the band of its occupancy; out of service its thermostat at the band's edge."""

from __future__ import annotations

import numpy as np

from dispatch.follow.room import Room
from dispatch.follow.tools import clip
from dispatch.wish import Path, Wish


def follow(wish: Wish) -> Path:
    q, given, cools = wish.asset.params, wish.inputs, wish.asset.params.mode == "cooling"
    ambient = np.asarray(given["ambient_c"], dtype=float)
    room = Room.of(
        cools, q.heat_capacity_mwh_th_per_c, q.transmittance_mw_th_per_c, q.setback_max_c if cools else q.setback_min_c,
        q.cop(ambient), ambient, given["internal_mw_th"] + given["solar_mw_th"], wish.grid.hours,
    )  # fmt: skip
    there = np.clip(given["occupancy"], 0.0, 1.0)
    coldest = room.content(q.setback_min_c + there * (q.comfort_min_c - q.setback_min_c))
    warmest = room.content(q.setback_max_c + there * (q.comfort_max_c - q.setback_max_c))
    floor, ceiling = np.minimum(coldest, warmest), np.maximum(coldest, warmest)
    content, wanted = wish.state.stored_mwh, -wish.wanted_mw
    used, stored = np.zeros(wish.grid.n), np.zeros(wish.grid.n)
    for t in range(wish.grid.n):
        least = clip(room.power_to(content, floor[t], t), 0.0, q.max_power_mw)
        most = clip(room.power_to(content, ceiling[t], t), 0.0, q.max_power_mw)
        used[t] = clip(wanted[t], least, most) if wish.state.available else least
        content = stored[t] = room.after(content, used[t], t)
    return Path(-used, stored_mwh=stored, decisions={"indoor_c": room.indoor(stored)})
