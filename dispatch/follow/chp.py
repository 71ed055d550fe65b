"""CHP: the wished power within ramps and minimum times, as far as the heat side takes its heat."""

from __future__ import annotations

import numpy as np

from dispatch.follow.tools import EPS, clip, keep
from dispatch.wish import Path, Switch, Wish

POWER_STEP_MW = 1e-4


def follow(wish: Wish) -> Path:
    q, grid, demand = wish.asset.params, wish.grid, np.asarray(wish.inputs["heat_demand_mw_th"], dtype=float)
    switch = Switch.of(wish.state, q.min_up_h, q.min_down_h)
    content = max(wish.state.stored_mwh, 0.0)
    last = clip(wish.state.power_mw, q.min_power_mw, q.power_mw) if switch.on else 0.0
    power, on, stored, heat, boiler, unmet, dumped = (np.zeros(grid.n) for _ in range(7))
    untouched = content
    for t, (h, left) in enumerate(zip(grid.hours, keep(q.store_loss_per_h, grid.hours), strict=True)):
        target = min(content, q.store_mwh_th) if wish.hold_store else 0.0
        kept, untouched = content * left, untouched * left
        running = _runs(wish, switch, last, kept, t)
        if running:
            power[t] = _power(wish, switch, last, kept, t)
        switch.step(running, grid.minutes[t])
        on[t], last = running, power[t]
        heat[t] = q.heat_mw_per_mw * power[t] + q.heat_no_load_mw * running
        boiler[t] = clip((target - kept) / h + demand[t] - heat[t], 0.0, q.boiler_mw_th)
        unmet[t] = max(0.0, demand[t] - heat[t] - boiler[t] - kept / h)
        content = kept + h * (heat[t] + boiler[t] + unmet[t] - demand[t])
        dumped[t] = max(0.0, content - max(q.store_mwh_th, untouched)) / h
        content = stored[t] = content - h * dumped[t]
    decisions = {"boiler_mw_th": boiler, "heat_mw_th": heat, "unmet_mw_th": unmet, "dumped_mw_th": dumped}
    return Path(power, on, stored, decisions)


def _runs(wish: Wish, switch: Switch, last: float, kept_mwh_th: float, t: int) -> bool:
    """On or off in step t: held by the interlock, by a power too high to stop from, by a store without room."""
    q = wish.asset.params
    if not switch.may_change():
        return switch.on
    wished = bool(wish.wanted_mw[t] > max(q.min_power_mw / 2.0, EPS))
    span = q.ramp_mw_per_min * wish.grid.minutes[t]
    low = max(q.min_power_mw, last - span) if switch.on else q.min_power_mw
    runs = wished and _heat_fits(wish, kept_mwh_th, low, 0.0 if switch.on else q.min_up_h, t)
    return runs or (switch.on and last > max(q.min_power_mw, span) + EPS)


def _heat_fits(wish: Wish, kept_mwh_th: float, power_mw: float, held_h: float, t: int) -> bool:
    """Whether the store takes the heat of `power_mw` in step t and of unloading to a stop as soon as allowed.

    The engine must run for `held_h` from the start of step t. Beyond the grid, the demand is taken to go
    on as in the last step.
    """
    q, grid, content, passed = wish.asset.params, wish.grid, kept_mwh_th, 0.0
    demand = wish.inputs["heat_demand_mw_th"]
    for s in range(t, grid.n):
        span = q.ramp_mw_per_min * grid.minutes[s]
        if s > t and passed >= held_h - EPS and power_mw <= max(q.min_power_mw, span) + EPS:
            return True
        power_mw = power_mw if s == t else max(q.min_power_mw, power_mw - span)
        h, heat = float(grid.hours[s]), q.heat_mw_per_mw * power_mw + q.heat_no_load_mw
        content = max(0.0, content + h * float(heat - demand[s]))
        if content > q.store_mwh_th + EPS:
            return False
        passed += h
    beyond = max(0.0, held_h - passed) * (q.heat_at(q.min_power_mw) - float(demand[-1]))
    return bool(content + beyond <= q.store_mwh_th + EPS)


def _power(wish: Wish, switch: Switch, last: float, kept_mwh_th: float, t: int) -> float:
    """Power of the running engine within ramps, no more than the heat side takes where the ramp allows."""
    q, span = wish.asset.params, float(wish.asset.params.ramp_mw_per_min * wish.grid.minutes[t])
    low = float(max(q.min_power_mw, last - span) if switch.on else q.min_power_mw)
    high = min(q.power_mw, last + span if switch.on else max(q.min_power_mw, span))
    held_h = switch.held_minutes / 60.0 if switch.on else q.min_up_h
    power = clip(wish.wanted_mw[t], low, high)
    if _heat_fits(wish, kept_mwh_th, power, held_h, t):
        return power
    fits, over = low, power
    while over - fits > POWER_STEP_MW:
        middle = (fits + over) / 2.0
        fits, over = (middle, over) if _heat_fits(wish, kept_mwh_th, middle, held_h, t) else (fits, middle)
    return fits
