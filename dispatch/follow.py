"""Follow a wish within today's limits: the forward rules behind every rung below the optimum.

Each rule walks the steps once and keeps the wished power where the device can do it: power and
energy limits, ramps, minimum run and stop times, heat that must be met, silos that must not run
over. No solver, so it always answers. The equations are those of `check`, restated as decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array, TimeGrid


@dataclass(frozen=True)
class Wish:
    """What one asset should do if it can: power (T,) MW of injection; `on` (T,) for kinds that commit."""

    asset: Asset
    state: AssetState
    grid: TimeGrid
    power_mw: Array
    inputs: Mapping[str, Array]


@dataclass
class Path:
    """What it will do."""

    power_mw: Array
    on: Array | None = None
    stored_mwh: Array | None = None
    decisions: dict[str, Array] = field(default_factory=dict)


class Switch:
    """On/off state that honours minimum run and stop times."""

    def __init__(self, state: AssetState, run_h: float, stop_h: float) -> None:
        self.on, self.minutes = state.on, float(state.minutes_in_state)
        self._needed = {True: 60.0 * run_h, False: 60.0 * stop_h}

    def may_change(self) -> bool:
        return self.minutes >= self._needed[self.on] - 1e-6

    def step(self, wish: bool, minutes: int) -> bool:
        """The state over the next `minutes`: the wish where the device may change, else the present one."""
        if wish != self.on and self.may_change():
            self.on, self.minutes = wish, 0.0
        self.minutes += minutes
        return self.on


def _battery(wish: Wish) -> Path:
    q, content = wish.asset.params, wish.state.stored_mwh
    low, high = q.soc_min * q.capacity_mwh, q.soc_max * q.capacity_mwh
    power, stored = np.empty(wish.grid.n), np.empty(wish.grid.n)
    for t, h in enumerate(wish.grid.hours):
        content *= 1.0 - q.standing_loss_per_h * h
        most = max(0.0, content - low) * q.discharge_efficiency / h
        least = -max(0.0, high - content) / (q.charge_efficiency * h)
        power[t] = np.clip(wish.power_mw[t], max(-q.power_mw, least), min(q.power_mw, most))
        content += h * (max(-power[t], 0.0) * q.charge_efficiency - max(power[t], 0.0) / q.discharge_efficiency)
        stored[t] = content
    return Path(power, stored_mwh=stored)


def _curtailable(wish: Wish) -> Path:
    return Path(np.clip(wish.power_mw, 0.0, np.clip(wish.inputs["available_mw"], 0.0, wish.asset.params.capacity_mw)))


def _fixed_load(wish: Wish) -> Path:
    return Path(-wish.inputs["load_mw"])


def _price_elastic(wish: Wish) -> Path:
    q, load = wish.asset.params, wish.inputs["load_mw"]
    power = np.clip(wish.power_mw, -load * q.max_share, -load * q.min_share)
    share = np.divide(-power, load, out=np.ones_like(load), where=load > 1e-9)
    price = q.reference_price_eur_per_mwh * (1.0 + (share - 1.0) / q.elasticity)
    return Path(power, decisions={"price_eur_per_mwh": price})


def _chp(wish: Wish) -> Path:
    q, demand = wish.asset.params, wish.inputs["heat_demand_mw_th"]
    switch = Switch(wish.state, q.min_up_h, q.min_down_h)
    content, last = wish.state.stored_mwh, wish.state.power_mw
    power, on, stored, boiler, unmet = (np.zeros(wish.grid.n) for _ in range(5))
    for t, h in enumerate(wish.grid.hours):
        content *= 1.0 - q.store_loss_per_h * h
        room = max(0.0, q.store_mwh_th - content) / h + demand[t]
        fits = q.heat_mw_per_mw * q.min_power_mw + q.heat_no_load_mw <= room + 1e-9
        was_on = switch.on
        on[t] = switch.step(bool(wish.power_mw[t] > 1e-9) and fits, wish.grid.minutes[t])
        if on[t]:
            span = q.ramp_mw_per_min * wish.grid.minutes[t]
            low, high = (max(q.min_power_mw, last - span), last + span) if was_on else (q.min_power_mw, q.min_power_mw)
            cap = min(q.power_mw, high, (room - q.heat_no_load_mw) / q.heat_mw_per_mw)
            power[t] = np.clip(wish.power_mw[t], low, max(low, cap))
        heat = q.heat_mw_per_mw * power[t] + q.heat_no_load_mw * on[t]
        lack = max(0.0, demand[t] - heat - content / h)
        boiler[t] = min(lack, q.boiler_mw_th)
        unmet[t] = lack - boiler[t]
        content += h * (heat + boiler[t] + unmet[t] - demand[t])
        stored[t], last = content, power[t]
    return Path(power, on, stored, {"boiler_mw_th": boiler, "unmet_mw_th": unmet})


def _thermal_store(wish: Wish) -> Path:
    q, content = wish.asset.params, wish.state.stored_mwh
    cop = q.cop_at_20c + q.cop_slope_per_c * (wish.inputs["ambient_c"] - 20.0)
    power, stored, overheat = (np.zeros(wish.grid.n) for _ in range(3))
    for t, h in enumerate(wish.grid.hours):
        kept = content * (1.0 - q.loss_per_h * h) - h * wish.inputs["heat_mw_th"][t]
        least = max(q.min_power_mw, -kept / (h * cop[t]))
        most = max(least, min(q.max_power_mw, (q.store_mwh_th - kept) / (h * cop[t])))
        used = min(float(np.clip(-wish.power_mw[t], least, most)), q.max_power_mw)
        content = kept + h * cop[t] * used
        overheat[t] = max(0.0, -content)
        content += overheat[t]
        power[t], stored[t] = -used, content
    return Path(power, stored_mwh=stored, decisions={"overheat_mwh_th": overheat})


def _mills(wishes: Sequence[Wish]) -> list[Path]:
    """Mills of one silo together: they stop when it is full and are asked to run when it would run dry."""
    first = wishes[0]
    silo, grid = first.asset.params.silo, first.grid
    per_t = silo.kwh_per_t / 1000.0
    content = sum(w.state.stored_mwh for w in wishes) / per_t
    switches = [Switch(w.state, w.asset.params.min_run_h, w.asset.params.min_stop_h) for w in wishes]
    rates = np.array([w.asset.params.power_mw * 1000.0 / w.asset.params.kwh_per_t for w in wishes])
    on = np.zeros((len(wishes), grid.n))
    stored, missed, spilled = (np.zeros(grid.n) for _ in range(3))
    for t, h in enumerate(grid.hours):
        out = first.inputs["shipments_t_per_h"][t]
        room = silo.capacity_t - content + out * h
        for k, (wish, switch) in enumerate(zip(wishes, switches, strict=True)):
            made = float(rates[:k] @ on[:k, t])
            dry = content + h * (made - out) < silo.min_t
            fits = h * (made + rates[k]) <= room + 1e-9
            wanted = (bool(wish.power_mw[t] < -1e-9) or dry) and fits
            crew = wish.asset.params.crew_limit
            wanted = wanted and (crew is None or on[:k, t].sum() < crew)
            on[k, t] = switch.step(wanted, grid.minutes[t])
        content += h * (float(rates @ on[:, t]) - out)
        missed[t] = max(0.0, silo.min_t - content)
        spilled[t] = max(0.0, content - silo.capacity_t)
        content += missed[t] - spilled[t]
        stored[t] = content
    share = stored * per_t / len(wishes)
    extra = {"missed_t": missed, "spilled_t": spilled}
    return [
        Path(-w.asset.params.power_mw * on[k], on[k], share, {"silo_t": stored, **(extra if k == 0 else {})})
        for k, w in enumerate(wishes)
    ]


RULES: dict[str, Callable[[Wish], Path]] = {
    "battery": _battery,
    "curtailable": _curtailable,
    "fixed_load": _fixed_load,
    "price_elastic": _price_elastic,
    "chp": _chp,
    "thermal_store": _thermal_store,
}


def follow(wishes: Sequence[Wish]) -> Schedule:
    """The schedule that keeps every wish as far as the devices allow, in the order given."""
    paths: dict[str, Path] = {}
    silos: dict[str, list[Wish]] = {}
    for wish in wishes:
        if wish.asset.kind == "process":
            silos.setdefault(wish.asset.params.silo.id, []).append(wish)
        else:
            paths[wish.asset.id] = RULES[wish.asset.kind](wish)
    for mills in silos.values():
        paths |= dict(zip((m.asset.id for m in mills), _mills(mills), strict=True))
    names = tuple(w.asset.id for w in wishes)
    power = np.array([paths[n].power_mw for n in names])
    tan_phi = np.array([w.asset.tan_phi for w in wishes])
    return Schedule(
        names, wishes[0].grid, power, tan_phi[:, None] * power,
        commitment={n: on for n in names if (on := paths[n].on) is not None},
        stored_mwh={n: e for n in names if (e := paths[n].stored_mwh) is not None},
        decisions={n: paths[n].decisions for n in names if paths[n].decisions},
    )  # fmt: skip
