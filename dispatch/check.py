"""Independent re-check of a schedule: physics restated from the equations, nothing read from the blocks.

Taken from the schedule: power, commitment and decisions. Taken from elsewhere: parameters, initial
states, exogenous inputs. Everything else is recomputed step by step; reported contents are compared
with the recomputed ones and never used.

    battery        e[t] = e[t-1](1-loss h) + h (eta_c charge - discharge / eta_d),  window of capacity
    CHP            heat = a P + b on;  store[t] = store[t-1](1-loss h) + h (heat + boiler - demand + unmet)
    process        silo[t] = silo[t-1] + h (sum_k P_k / kwh_per_t - shipments) + missed - spilled
    thermal store  s[t] = s[t-1](1-loss h) + h (COP(ambient) P - heat) + overheat
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vpp.domain.errors import Fault
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array, TimeGrid

TOLERANCE_MW = 1e-4
TOLERANCE_MWH = 1e-3


@dataclass(frozen=True)
class Recomputed:
    """Content at each interval's end (MWh) where the asset stores, and every fault found."""

    stored_mwh: Array | None
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Plan:
    """One asset's part of a schedule with what it starts from."""

    asset: Asset
    state: AssetState
    grid: TimeGrid
    power_mw: Array
    on: Array | None
    decisions: Mapping[str, Array]
    inputs: Mapping[str, Array]

    def decision(self, name: str) -> Array:
        """A decision trajectory, zero where the plan has none."""
        return self.decisions.get(name, np.zeros(self.grid.n))


def _beyond(where: str, name: str, value: Array, low: Array | float, high: Array | float, tol: float) -> list[Fault]:
    """The worst step at which `value` leaves [low, high]."""
    excess = np.maximum(np.asarray(low) - value, value - np.asarray(high))
    t = int(np.argmax(excess))
    if excess[t] <= tol:
        return []
    bounds = np.broadcast_to(low, value.shape)[t], np.broadcast_to(high, value.shape)[t]
    return [Fault(where, name, f"step {t}: {value[t]:.5f} outside [{bounds[0]:.5f}, {bounds[1]:.5f}]")]


def _integrate(start_mwh: float, flow_mw: Array, loss_per_h: float, hours: Array) -> Array:
    """Content at each interval's end from the net inflow and a proportional standing loss."""
    content, stored = start_mwh, np.empty(len(flow_mw))
    for t, (flow, h) in enumerate(zip(flow_mw, hours, strict=True)):
        content = content * (1.0 - loss_per_h * h) + h * flow
        stored[t] = content
    return stored


def _switching(plan: Plan, up_h: float, down_h: float) -> list[Fault]:
    """Minimum run and stop times, the time before the plan included; the end of the plan cuts the last run."""
    assert plan.on is not None
    faults: list[Fault] = []
    state, minutes = plan.state.on, float(plan.state.minutes_in_state)
    for t, value in enumerate(plan.on > 0.5):
        if value != state:
            needed = 60.0 * (up_h if state else down_h)
            if minutes < needed - 1e-6:
                verb = "stops" if state else "starts"
                faults.append(Fault(plan.asset.id, "commitment", f"step {t}: {verb} after {minutes:.0f} of {needed:.0f} min"))
            state, minutes = bool(value), 0.0
        minutes += plan.grid.minutes[t]
    return faults


def _battery(plan: Plan) -> Recomputed:
    q, p = plan.asset.params, plan.power_mw
    flow = np.maximum(-p, 0.0) * q.charge_efficiency - np.maximum(p, 0.0) / q.discharge_efficiency
    stored = _integrate(plan.state.stored_mwh, flow, q.standing_loss_per_h, plan.grid.hours)
    low = min(q.soc_min * q.capacity_mwh, plan.state.stored_mwh)
    high = max(q.soc_max * q.capacity_mwh, plan.state.stored_mwh)
    faults = _beyond(plan.asset.id, "power_mw", p, -q.power_mw, q.power_mw, TOLERANCE_MW)
    return Recomputed(stored, tuple(faults + _beyond(plan.asset.id, "stored_mwh", stored, low, high, TOLERANCE_MWH)))


def _curtailable(plan: Plan) -> Recomputed:
    available = np.clip(plan.inputs["available_mw"], 0.0, plan.asset.params.capacity_mw)
    return Recomputed(None, tuple(_beyond(plan.asset.id, "power_mw", plan.power_mw, 0.0, available, TOLERANCE_MW)))


def _fixed_load(plan: Plan) -> Recomputed:
    load = plan.inputs["load_mw"]
    return Recomputed(None, tuple(_beyond(plan.asset.id, "power_mw", plan.power_mw, -load, -load, TOLERANCE_MW)))


def _price_elastic(plan: Plan) -> Recomputed:
    q, load = plan.asset.params, plan.inputs["load_mw"]
    low, high = -load * q.max_share, -load * q.min_share
    return Recomputed(None, tuple(_beyond(plan.asset.id, "power_mw", plan.power_mw, low, high, TOLERANCE_MW)))


def _chp(plan: Plan) -> Recomputed:
    q, p, hours = plan.asset.params, plan.power_mw, plan.grid.hours
    if plan.on is None:
        return Recomputed(None, (Fault(plan.asset.id, "commitment", "missing"),))
    boiler, unmet = plan.decision("boiler_mw_th"), plan.decision("unmet_mw_th")
    heat = q.heat_mw_per_mw * p + q.heat_no_load_mw * plan.on
    flow = heat + boiler + unmet - plan.inputs["heat_demand_mw_th"]
    stored = _integrate(plan.state.stored_mwh, flow, q.store_loss_per_h, hours)
    top = max(q.store_mwh_th, plan.state.stored_mwh)
    before = np.concatenate([[plan.state.power_mw], p[:-1]])
    was_on = np.concatenate([[float(plan.state.on)], plan.on[:-1]])
    step = q.ramp_mw_per_min * 60.0 * hours
    both = (plan.on > 0.5) & (was_on > 0.5)
    change = np.where(both, p - before, 0.0)
    name = plan.asset.id
    faults = _beyond(name, "power_mw", p, plan.on * q.min_power_mw, plan.on * q.power_mw, TOLERANCE_MW)
    faults += _beyond(name, "ramp", change, -step, step, TOLERANCE_MW)
    faults += _beyond(name, "boiler_mw_th", boiler, 0.0, q.boiler_mw_th, TOLERANCE_MW)
    faults += _beyond(name, "stored_mwh", stored, 0.0, top, TOLERANCE_MWH)
    return Recomputed(stored, tuple(faults + _switching(plan, q.min_up_h, q.min_down_h)))


def _thermal_store(plan: Plan) -> Recomputed:
    q, used = plan.asset.params, -plan.power_mw
    cop = q.cop_at_20c + q.cop_slope_per_c * (plan.inputs["ambient_c"] - 20.0)
    overheat = plan.decision("overheat_mwh_th") / plan.grid.hours
    flow = cop * used - plan.inputs["heat_mw_th"] + overheat
    stored = _integrate(plan.state.stored_mwh, flow, q.loss_per_h, plan.grid.hours)
    faults = _beyond(plan.asset.id, "power_mw", used, q.min_power_mw, q.max_power_mw, TOLERANCE_MW)
    faults += _beyond(plan.asset.id, "stored_mwh", stored, 0.0, q.store_mwh_th, TOLERANCE_MWH)
    return Recomputed(stored, tuple(faults))


def _mill(plan: Plan) -> Recomputed:
    q = plan.asset.params
    if plan.on is None:
        return Recomputed(None, (Fault(plan.asset.id, "commitment", "missing"),))
    target = -q.power_mw * plan.on
    faults = _beyond(plan.asset.id, "power_mw", plan.power_mw, target, target, TOLERANCE_MW)
    return Recomputed(None, tuple(faults + _switching(plan, q.min_run_h, q.min_stop_h)))


def _silo(mills: Sequence[Plan]) -> tuple[Array, list[Fault]]:
    """Each mill's share of its silo's content (MWh), and the silo's faults."""
    silo, hours = mills[0].asset.params.silo, mills[0].grid.hours
    per_t = silo.kwh_per_t / 1000.0
    made_t_per_h = sum((-m.power_mw * 1000.0 / m.asset.params.kwh_per_t for m in mills), np.zeros(len(hours)))
    slack_t = sum((m.decision("missed_t") - m.decision("spilled_t") for m in mills), np.zeros(len(hours)))
    start_t = sum(m.state.stored_mwh for m in mills) / per_t
    flow = made_t_per_h - mills[0].inputs["shipments_t_per_h"] + slack_t / hours
    content_t = _integrate(start_t, flow, 0.0, hours)
    low, high = min(silo.min_t, start_t), max(silo.capacity_t, start_t)
    faults = _beyond(silo.id, "silo_t", content_t, low, high, TOLERANCE_MWH / per_t)
    if silo_crew := getattr(mills[0].asset.params, "crew_limit", None):
        running = sum((m.on for m in mills if m.on is not None), np.zeros(len(hours)))
        faults += _beyond(silo.id, "crew_limit", running, 0.0, float(silo_crew), 1e-6)
    return content_t * per_t / len(mills), faults


RECOMPUTE: dict[str, Callable[[Plan], Recomputed]] = {
    "battery": _battery,
    "curtailable": _curtailable,
    "fixed_load": _fixed_load,
    "price_elastic": _price_elastic,
    "chp": _chp,
    "thermal_store": _thermal_store,
    "process": _mill,
}


def plans(
    assets: Sequence[Asset],
    states: Mapping[str, AssetState],
    inputs: Mapping[str, Mapping[str, Array]],
    schedule: Schedule,
) -> list[Plan]:
    """One `Plan` per asset, in the schedule's order."""
    known = {a.id: a for a in assets}
    return [
        Plan(
            known[name], states[name], schedule.grid, schedule.power_mw[i], schedule.commitment.get(name),
            schedule.decisions.get(name, {}), inputs[name],
        )
        for i, name in enumerate(schedule.asset_ids)
    ]  # fmt: skip


def recompute(parts: Sequence[Plan]) -> dict[str, Recomputed]:
    """Contents and faults of every asset; a silo's faults stand at its first mill."""
    result = {part.asset.id: RECOMPUTE[part.asset.kind](part) for part in parts}
    silos: dict[str, list[Plan]] = {}
    for part in parts:
        if part.asset.kind == "process":
            silos.setdefault(part.asset.params.silo.id, []).append(part)
    for mills in silos.values():
        share_mwh, faults = _silo(mills)
        for k, mill in enumerate(mills):
            own = result[mill.asset.id].faults
            result[mill.asset.id] = Recomputed(share_mwh, own + (tuple(faults) if k == 0 else ()))
    return result


def check_schedule(
    assets: Sequence[Asset],
    states: Mapping[str, AssetState],
    inputs: Mapping[str, Mapping[str, Array]],
    schedule: Schedule,
) -> list[Fault]:
    """Every way in which `schedule` breaks an asset's physics or reports a content it does not have."""
    faults: list[Fault] = []
    if not np.all(np.isfinite(schedule.power_mw)):
        bad = [a for a, row in zip(schedule.asset_ids, schedule.power_mw, strict=True) if not np.all(np.isfinite(row))]
        return [Fault(name, "power_mw", "is not a number") for name in bad]
    for name, result in recompute(plans(assets, states, inputs, schedule)).items():
        faults += result.faults
        reported = schedule.stored_mwh.get(name)
        if reported is not None and result.stored_mwh is not None:
            faults += _beyond(name, "stored_mwh (reported)", reported, result.stored_mwh, result.stored_mwh, 10 * TOLERANCE_MWH)
    return faults
