"""Battery: the wished power as far as rating, taper and content allow."""

from __future__ import annotations

from typing import Any

import numpy as np

from dispatch.follow.tools import clip, keep
from dispatch.wish import Path, Wish


def follow(wish: Wish) -> Path:
    q, wanted = wish.asset.params, wish.wanted_mw
    content = clip(wish.state.stored_mwh, 0.0, q.capacity_mwh)
    low, high = q.soc_min * q.capacity_mwh, q.soc_max * q.capacity_mwh
    rated = q.power_mw if wish.state.available else 0.0
    power, stored = np.empty(wish.grid.n), np.empty(wish.grid.n)
    for t, (h, kept) in enumerate(zip(wish.grid.hours, keep(q.standing_loss_per_h, wish.grid.hours), strict=True)):
        content *= kept
        most = min(rated, max(0.0, content - low) * q.discharge_efficiency / h)
        least = min(rated, max(0.0, high - content) / (q.charge_efficiency * h), _taper(q, content, h))
        power[t] = clip(wanted[t], -least, most)
        content += h * (max(-power[t], 0.0) * q.charge_efficiency - max(power[t], 0.0) / q.discharge_efficiency)
        stored[t] = content
    return Path(power, stored_mwh=stored)


def _taper(q: Any, kept_mwh: float, hours: float) -> float:
    """Charging power that fits the content it leads to: c (1 - taper) / P + (kept + h eta c) / E <= 1."""
    if q.taper_from_soc >= 1.0 or q.power_mw == 0.0:
        return float(q.power_mw)
    width = (1.0 - q.taper_from_soc) / q.power_mw + hours * q.charge_efficiency / q.capacity_mwh
    return float(max(0.0, (1.0 - kept_mwh / q.capacity_mwh) / width))
