"""Thermal store: the wished power inside the temperature band."""

from __future__ import annotations

import numpy as np

from dispatch.follow.tools import clip, keep
from dispatch.wish import Path, Wish


def follow(wish: Wish) -> Path:
    q, hours, wanted = wish.asset.params, wish.grid.hours, -wish.wanted_mw
    heat, cop = np.asarray(wish.inputs["heat_mw_th"], dtype=float), q.cop(np.asarray(wish.inputs["ambient_c"]))
    content = untouched = max(wish.state.stored_mwh, 0.0)
    power, stored, overheat, overcool = (np.zeros(wish.grid.n) for _ in range(4))
    held = np.clip((heat + q.loss_per_h * min(content, q.store_mwh_th)) / cop, q.min_power_mw, q.max_power_mw)
    for t, (h, left) in enumerate(zip(hours, keep(q.loss_per_h, hours), strict=True)):
        untouched *= left
        kept = content * left - h * heat[t]
        least = max(q.min_power_mw, -kept / (h * cop[t]))
        most = max(least, min(q.max_power_mw, (q.store_mwh_th - kept) / (h * cop[t])))
        used = min(clip(wanted[t], least, most), q.max_power_mw) if wish.state.available else held[t]
        content = kept + h * cop[t] * used
        overheat[t], overcool[t] = max(0.0, -content), max(0.0, content - max(q.store_mwh_th, untouched))
        content = stored[t] = content + overheat[t] - overcool[t]
        power[t] = -used
    inlet = q.inlet_max_c - (q.inlet_max_c - q.inlet_min_c) * stored / q.store_mwh_th
    inlet = inlet + overheat / q.heat_capacity_mwh_th_per_c
    decisions = {"inlet_c": inlet, "overheat_mwh_th": overheat, "overcool_mwh_th": overcool}
    return Path(power, stored_mwh=stored, decisions=decisions)
