"""Thermal unit: the wished power within ramps, limits at starts and stops, and minimum times; it runs if it must."""

from __future__ import annotations

import numpy as np

from dispatch.follow.tools import EPS, clip
from dispatch.wish import Path, Switch, Wish


def follow(wish: Wish) -> Path:
    q, grid = wish.asset.params, wish.grid
    switch = Switch.of(wish.state, q.min_up_h, q.min_down_h)
    last = clip(wish.state.power_mw, q.min_power_mw, q.power_mw) if switch.on else 0.0
    power, on = np.zeros(grid.n), np.zeros(grid.n)
    for t, minutes in enumerate(grid.minutes):
        running = _runs(wish, switch, last, t)
        if running:
            power[t] = _power(wish, switch, last, t)
        switch.step(running, minutes)
        on[t], last = running, power[t]
    return Path(power, on)


def _runs(wish: Wish, switch: Switch, last: float, t: int) -> bool:
    """On or off in step t: held by the interlock, by a power too high to stop from, or because it must run."""
    q = wish.asset.params
    if not switch.may_change():
        return switch.on
    fall = q.ramp_down_mw_per_min * wish.grid.minutes[t]
    edge = max(q.min_power_mw, fall if q.stop_power_mw is None else q.stop_power_mw)
    wished = bool(wish.wanted_mw[t] > max(q.min_power_mw / 2.0, EPS))
    return q.must_run or wished or (switch.on and last > edge + EPS)


def _power(wish: Wish, switch: Switch, last: float, t: int) -> float:
    q, minutes = wish.asset.params, wish.grid.minutes[t]
    if switch.on:
        low = max(q.min_power_mw, last - q.ramp_down_mw_per_min * minutes)
        return clip(wish.wanted_mw[t], low, min(q.power_mw, last + q.ramp_up_mw_per_min * minutes))
    rise = q.ramp_up_mw_per_min * minutes
    edge = max(q.min_power_mw, rise if q.start_power_mw is None else q.start_power_mw)
    return clip(wish.wanted_mw[t], q.min_power_mw, min(q.power_mw, edge))
