"""Water works: the wished power of a line that runs on until it may pause and comes back before it must.

Half the least power or more is a wish to run. A running line pauses only after its minimum run, from a
recovered content, and for a step that its longest pause bears; a paused one starts before its pause is too
long or its basin empty. What no choice prevents is lacking or wasted.
"""

from __future__ import annotations

import numpy as np

from dispatch.follow.tools import EPS, clip, keep
from dispatch.wish import Path, Switch, Wish

NEVER_MIN = float("inf")


def follow(wish: Wish) -> Path:
    q, grid, need = wish.asset.params, wish.grid, np.asarray(wish.inputs["need_mw"], dtype=float)
    switch, content = Switch.of(wish.state, q.recovery_h, 0.0), max(wish.state.stored_mwh, 0.0)
    used, on, stored, lacking, wasted = (np.zeros(grid.n) for _ in range(5))
    untouched = content
    for t, (h, left) in enumerate(zip(grid.hours, keep(q.loss_per_h, grid.hours), strict=True)):
        untouched *= left
        kept = content * left - h * need[t]
        if _runs(wish, switch, content, kept, t):
            on[t] = 1.0
            least = clip(-kept / h, q.min_power_mw, q.max_power_mw)
            most = clip((q.capacity_mwh - kept) / h, least, q.max_power_mw)
            used[t] = min(clip(-wish.wanted_mw[t], least, most), q.max_power_mw)
        switch.step(bool(on[t]), grid.minutes[t])
        content = kept + h * used[t]
        lacking[t], wasted[t] = max(0.0, -content), max(0.0, content - max(q.capacity_mwh, untouched))
        content = stored[t] = content + lacking[t] - wasted[t]
    return Path(-used, on, stored, {"lacking_mwh": lacking, "wasted_mwh": wasted})


def _runs(wish: Wish, switch: Switch, content: float, kept_mwh: float, t: int) -> bool:
    """Whether the line runs in step t, which its basin would end at `kept_mwh` without it."""
    q, minutes, h = wish.asset.params, wish.grid.minutes[t], float(wish.grid.hours[t])
    if not wish.state.available:
        return False
    if switch.on and (not switch.may_change() or content < q.recovered_share * q.capacity_mwh - EPS):
        return True
    longest = NEVER_MIN if q.longest_pause_h is None else 60.0 * q.longest_pause_h
    paused = 0.0 if switch.on else switch.minutes
    if paused + minutes > longest + EPS or kept_mwh < -EPS:
        return True
    wished = bool(-wish.wanted_mw[t] >= q.min_power_mw / 2.0)
    return wished and kept_mwh + h * q.min_power_mw <= q.capacity_mwh + EPS
