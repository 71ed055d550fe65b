"""Follow a wish within today's limits: the forward rules behind every rung below the optimum.

Each rule walks the steps once and keeps the wished power where the device can do it: power and
energy limits, ramps, minimum run and stop times, heat that must be met, silos that must not run
over. No solver, so it always answers; what no choice of power can prevent goes into the slacks of the
kind (unmet or dumped heat, overheating, missed shipments). The equations are those of the kinds, stated
as decisions; what is out of service is off or at its default.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dispatch.follow_mills import mills
from dispatch.substitution import Rebound
from dispatch.wish import Path, Switch, Wish
from vpp.domain.errors import Fault, InputFaults
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array

EPS = 1e-9
POWER_STEP_MW = 1e-4
SHRINKS, SHRINK = 20, 0.95


def _keep(loss_per_h: float, hours: Array) -> Array:
    return np.maximum(0.0, 1.0 - loss_per_h * hours)


def _clip(value: float, low: float, high: float) -> float:
    """`value` inside [low, high]; where they cross, `low` wins."""
    return max(low, min(value, high))


def _battery(wish: Wish) -> Path:
    q, wanted = wish.asset.params, wish.wanted_mw
    content = _clip(wish.state.stored_mwh, 0.0, q.capacity_mwh)
    low, high = q.soc_min * q.capacity_mwh, q.soc_max * q.capacity_mwh
    rated = q.power_mw if wish.state.available else 0.0
    power, stored = np.empty(wish.grid.n), np.empty(wish.grid.n)
    for t, (h, kept) in enumerate(zip(wish.grid.hours, _keep(q.standing_loss_per_h, wish.grid.hours), strict=True)):
        content *= kept
        most = min(rated, max(0.0, content - low) * q.discharge_efficiency / h)
        least = min(rated, max(0.0, high - content) / (q.charge_efficiency * h), _taper(q, content, h))
        power[t] = _clip(wanted[t], -least, most)
        content += h * (max(-power[t], 0.0) * q.charge_efficiency - max(power[t], 0.0) / q.discharge_efficiency)
        stored[t] = content
    return Path(power, stored_mwh=stored)


def _taper(q: Any, kept_mwh: float, hours: float) -> float:
    """Charging power that fits the content it leads to: c (1 - taper) / P + (kept + h eta c) / E <= 1."""
    if q.taper_from_soc >= 1.0 or q.power_mw == 0.0:
        return float(q.power_mw)
    width = (1.0 - q.taper_from_soc) / q.power_mw + hours * q.charge_efficiency / q.capacity_mwh
    return float(max(0.0, (1.0 - kept_mwh / q.capacity_mwh) / width))


def _curtailable(wish: Wish) -> Path:
    q = wish.asset.params
    most = min(q.capacity_mw, q.s_rating_mva / float(np.hypot(1.0, wish.asset.tan_phi))) * wish.state.available
    return Path(np.clip(wish.wanted_mw, 0.0, np.clip(wish.inputs["available_mw"], 0.0, most)))


def _fixed_load(wish: Wish) -> Path:
    return Path(-np.asarray(wish.inputs["load_mw"], dtype=float))


def _price_elastic(wish: Wish) -> Path:
    """The own response whose consumption, with what comes back of earlier ones, is the wish; its price is published.

    Where a falling load leaves no room for what comes back, the responses it comes from shrink.
    """
    q, load, grid = wish.asset.params, np.maximum(wish.inputs["load_mw"], 0.0), wish.grid
    least, most = (q.min_share - 1.0) * load, (q.max_share - 1.0) * load
    at, room = np.concatenate([[0.0], np.cumsum(grid.hours)]), np.ones(grid.n)
    for _ in range(SHRINKS):
        moved, change = _moves(wish, load, least * room, most * room)
        limit = np.where(change > 0.0, most, least)
        beyond = np.abs(change) > np.abs(limit) + EPS
        if not beyond.any():
            break
        t = int(np.argmax(beyond))
        room[(at[1:] > at[t] - q.window_h) & (at[:-1] <= at[t])] *= SHRINK * limit[t] / change[t]
    part = float(np.min(limit[beyond] / change[beyond])) if beyond.any() else 1.0
    share = np.divide(part * moved, load, out=np.zeros_like(load), where=load > EPS)
    price = q.reference_price_eur_per_mwh * (1.0 + share / q.elasticity)
    return Path(-(load + part * change), decisions={"price_eur_per_mwh": price})


def _moves(wish: Wish, load: Array, least: Array, most: Array) -> tuple[Array, Array]:
    """Own moves (T,) inside [least, most] and the changes of consumption (T,) they make, as wished where they can."""
    q, wanted = wish.asset.params, -wish.wanted_mw
    back, moved, change = Rebound(wish.grid.hours, q.substitution, q.window_h), np.zeros(len(load)), np.zeros(len(load))
    for t in range(len(load)):
        owed, gain = back.owed(), 1.0 - back.own
        if np.isfinite(wanted[t]):
            low, high = (q.min_share - 1.0) * load[t], (q.max_share - 1.0) * load[t]
            moved[t] = _clip((_clip(wanted[t] - load[t], low, high) + owed) / gain, least[t], most[t])
        change[t] = moved[t] * gain - owed
        back.add(float(moved[t]))
    return moved, change


def _chp(wish: Wish) -> Path:
    q, grid, demand = wish.asset.params, wish.grid, np.asarray(wish.inputs["heat_demand_mw_th"], dtype=float)
    switch = Switch.of(wish.state, q.min_up_h, q.min_down_h)
    content = max(wish.state.stored_mwh, 0.0)
    last = _clip(wish.state.power_mw, q.min_power_mw, q.power_mw) if switch.on else 0.0
    power, on, stored, heat, boiler, unmet, dumped = (np.zeros(grid.n) for _ in range(7))
    untouched = content
    for t, (h, left) in enumerate(zip(grid.hours, _keep(q.store_loss_per_h, grid.hours), strict=True)):
        target = min(content, q.store_mwh_th) if wish.hold_store else 0.0
        kept, untouched = content * left, untouched * left
        running = _chp_runs(wish, switch, last, kept, t)
        if running:
            power[t] = _chp_power(wish, switch, last, kept, t)
        switch.step(running, grid.minutes[t])
        on[t], last = running, power[t]
        heat[t] = q.heat_mw_per_mw * power[t] + q.heat_no_load_mw * running
        boiler[t] = _clip((target - kept) / h + demand[t] - heat[t], 0.0, q.boiler_mw_th)
        unmet[t] = max(0.0, demand[t] - heat[t] - boiler[t] - kept / h)
        content = kept + h * (heat[t] + boiler[t] + unmet[t] - demand[t])
        dumped[t] = max(0.0, content - max(q.store_mwh_th, untouched)) / h
        content = stored[t] = content - h * dumped[t]
    decisions = {"boiler_mw_th": boiler, "heat_mw_th": heat, "unmet_mw_th": unmet, "dumped_mw_th": dumped}
    return Path(power, on, stored, decisions)


def _chp_runs(wish: Wish, switch: Switch, last: float, kept_mwh_th: float, t: int) -> bool:
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


def _chp_power(wish: Wish, switch: Switch, last: float, kept_mwh_th: float, t: int) -> float:
    """Power of the running engine within ramps, no more than the heat side takes where the ramp allows."""
    q, span = wish.asset.params, float(wish.asset.params.ramp_mw_per_min * wish.grid.minutes[t])
    low = float(max(q.min_power_mw, last - span) if switch.on else q.min_power_mw)
    high = min(q.power_mw, last + span if switch.on else max(q.min_power_mw, span))
    held_h = switch.held_minutes / 60.0 if switch.on else q.min_up_h
    power = _clip(wish.wanted_mw[t], low, high)
    if _heat_fits(wish, kept_mwh_th, power, held_h, t):
        return power
    fits, over = low, power
    while over - fits > POWER_STEP_MW:
        middle = (fits + over) / 2.0
        fits, over = (middle, over) if _heat_fits(wish, kept_mwh_th, middle, held_h, t) else (fits, middle)
    return fits


def _thermal_store(wish: Wish) -> Path:
    q, hours, wanted = wish.asset.params, wish.grid.hours, -wish.wanted_mw
    heat, cop = np.asarray(wish.inputs["heat_mw_th"], dtype=float), q.cop(np.asarray(wish.inputs["ambient_c"]))
    content = untouched = max(wish.state.stored_mwh, 0.0)
    power, stored, overheat, overcool = (np.zeros(wish.grid.n) for _ in range(4))
    held = np.clip((heat + q.loss_per_h * min(content, q.store_mwh_th)) / cop, q.min_power_mw, q.max_power_mw)
    for t, (h, left) in enumerate(zip(hours, _keep(q.loss_per_h, hours), strict=True)):
        untouched *= left
        kept = content * left - h * heat[t]
        least = max(q.min_power_mw, -kept / (h * cop[t]))
        most = max(least, min(q.max_power_mw, (q.store_mwh_th - kept) / (h * cop[t])))
        used = min(_clip(wanted[t], least, most), q.max_power_mw) if wish.state.available else held[t]
        content = kept + h * cop[t] * used
        overheat[t], overcool[t] = max(0.0, -content), max(0.0, content - max(q.store_mwh_th, untouched))
        content = stored[t] = content + overheat[t] - overcool[t]
        power[t] = -used
    inlet = q.inlet_max_c - (q.inlet_max_c - q.inlet_min_c) * stored / q.store_mwh_th
    inlet = inlet + overheat / q.heat_capacity_mwh_th_per_c
    decisions = {"inlet_c": inlet, "overheat_mwh_th": overheat, "overcool_mwh_th": overcool}
    return Path(power, stored_mwh=stored, decisions=decisions)


def _process(wishes: Sequence[Wish]) -> list[Path]:
    silos: dict[str, list[Wish]] = {}
    for wish in wishes:
        silos.setdefault(wish.asset.params.silo.id, []).append(wish)
    paths = {
        wish.asset.id: path for group in silos.values() for wish, path in zip(group, mills(group), strict=True)
    }  # fmt: skip
    return [paths[wish.asset.id] for wish in wishes]


def _alone(rule: Callable[[Wish], Path]) -> Callable[[Sequence[Wish]], list[Path]]:
    return lambda wishes: [rule(wish) for wish in wishes]


RULES: dict[str, Callable[[Sequence[Wish]], list[Path]]] = {
    "battery": _alone(_battery),
    "curtailable": _alone(_curtailable),
    "fixed_load": _alone(_fixed_load),
    "price_elastic": _alone(_price_elastic),
    "chp": _alone(_chp),
    "thermal_store": _alone(_thermal_store),
    "process": _process,
}


def follow(wishes: Sequence[Wish]) -> Schedule:
    """The schedule that keeps every wish as far as the devices allow, in the order given.

    Raises InputFaults for a kind without a rule here.
    """
    unknown = [Fault(w.asset.id, "kind", f"{w.asset.kind} has no rule in dispatch.follow.RULES") for w in wishes
               if w.asset.kind not in RULES]  # fmt: skip
    if unknown:
        raise InputFaults(unknown)
    paths: dict[str, Path] = {}
    for kind in dict.fromkeys(w.asset.kind for w in wishes):
        group = [w for w in wishes if w.asset.kind == kind]
        paths |= dict(zip((w.asset.id for w in group), RULES[kind](group), strict=True))
    names = tuple(w.asset.id for w in wishes)
    power = np.array([paths[n].power_mw for n in names])
    tan_phi = np.array([w.asset.tan_phi for w in wishes])
    return Schedule(
        names, wishes[0].grid, power, tan_phi[:, None] * power,
        commitment={n: on for n in names if (on := paths[n].on) is not None},
        stored_mwh={n: e for n in names if (e := paths[n].stored_mwh) is not None},
        decisions={n: paths[n].decisions for n in names if paths[n].decisions},
    )  # fmt: skip
