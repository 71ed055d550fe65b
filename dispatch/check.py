"""Independent re-check of a schedule: physics restated from the equations, nothing read from the blocks.

Taken from the schedule: power, commitment and decisions. Taken from elsewhere: parameters, initial
states, exogenous inputs. Everything else is recomputed step by step; reported contents and derived
decisions are compared with the recomputed ones and never used.

    battery        e[t] = e[t-1](1-loss h) + h (eta_c charge - discharge / eta_d),  window of capacity,
                   charge <= P (1 - e[t] / E) / (1 - taper)
    curtailable    0 <= P <= min(available, capacity, S / sqrt(1 + tan_phi^2))
    CHP            heat = a P + b on;  store[t] = store[t-1](1-loss h) + h (heat + boiler + unmet - dumped - demand)
    process        silo[t] = silo[t-1] + h (sum_k P_k / kwh_per_t - shipments) + missed - spilled
    thermal store  s[t] = s[t-1](1-loss h) + h (COP(ambient) P - heat) + overheat - overcool
    price-elastic  own = L (clip(1 + eps (price - p0) / p0) - 1),
                   consumption(x) = L + own(x) - sigma / W * integral of own over the W hours before x

A store that begins outside its window may stay on the curve it would follow untouched, and standing loss
may carry any store below it. What is out of service is off or at its default. Sources: those of the
kinds, whose equations these are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vpp.domain.errors import Fault, InputFaults
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array, TimeGrid

TOLERANCE_MW = 1e-4
TOLERANCE_MWH = 1e-3
REPORTED_MWH = 1e-4
REPORTED_C = 1e-2
ROUNDING_MWH = 1e-6
DAY_MIN = 1440.0


@dataclass(frozen=True)
class Recomputed:
    """Content at each interval's end (MWh) where the asset stores, every fault found, and decisions that
    follow from the others: name -> (recomputed (T,), tolerance)."""

    stored_mwh: Array | None
    faults: tuple[Fault, ...] = ()
    derived: Mapping[str, tuple[Array, float]] = field(default_factory=dict)


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
        return np.asarray(self.decisions.get(name, np.zeros(self.grid.n)), dtype=float)


def _beyond(where: str, name: str, value: Array, low: Array | float, high: Array | float, tol: float) -> list[Fault]:
    """The worst step at which `value` leaves [low, high]; a value or limit that is no number is outside."""
    excess = np.maximum(np.asarray(low) - value, value - np.asarray(high))
    t = int(np.argmax(excess))
    if excess[t] <= tol:
        return []
    bounds = np.broadcast_to(low, value.shape)[t], np.broadcast_to(high, value.shape)[t]
    return [Fault(where, name, f"step {t}: {value[t]:.5f} outside [{bounds[0]:.5f}, {bounds[1]:.5f}]")]


def _slacks(plan: Plan, limits: Mapping[str, Array | float]) -> list[Fault]:
    """Decisions that must lie in [0, limit]."""
    name = plan.asset.id
    return [f for k, most in limits.items() for f in _beyond(name, k, plan.decision(k), 0.0, most, TOLERANCE_MW)]


def _keep(loss_per_h: float, hours: Array) -> Array:
    return np.maximum(0.0, 1.0 - loss_per_h * hours)


def _integrate(start_mwh: float, flow_mw: Array, loss_per_h: float, hours: Array) -> Array:
    """Content at each interval's end from the net inflow and a proportional standing loss."""
    content, stored = start_mwh, np.empty(len(flow_mw))
    for t, (flow, kept, h) in enumerate(zip(flow_mw, _keep(loss_per_h, hours), hours, strict=True)):
        content = content * kept + h * flow
        stored[t] = content
    return stored


def _inside(plan: Plan, stored: Array, start: float, loss_per_h: float, low: float, high: float) -> list[Fault]:
    """The content inside its window, on the curve of a store untouched since the start, or falling by loss alone."""
    keep = _keep(loss_per_h, plan.grid.hours)
    untouched = start * np.cumprod(keep)
    decayed = keep * np.concatenate([[start], stored[:-1]])
    lost_only = stored >= decayed - ROUNDING_MWH
    low_at = np.where(lost_only, np.minimum(low, stored), np.minimum(low, untouched))
    return _beyond(plan.asset.id, "stored_mwh", stored, low_at, np.maximum(high, untouched), TOLERANCE_MWH)


def _switching(plan: Plan, on: Array, up_h: float, down_h: float) -> list[Fault]:
    """Minimum run and stop times, the time before the plan included; the end of the plan cuts the last run."""
    name = plan.asset.id
    faults = _beyond(name, "commitment", np.minimum(np.abs(on), np.abs(on - 1.0)), 0.0, 0.0, 1e-6)
    if not plan.state.available:
        return faults + _beyond(name, "commitment", on, 0.0, 0.0, 0.5)
    state, minutes = plan.state.on, float(plan.state.minutes_in_state)
    for t, value in enumerate(on > 0.5):
        if value != state:
            needed = 60.0 * (up_h if state else down_h)
            if minutes < needed - 1e-6:
                verb = "stops" if state else "starts"
                faults.append(Fault(name, "commitment", f"step {t}: {verb} after {minutes:.0f} of {needed:.0f} min"))
            state, minutes = bool(value), 0.0
        minutes += plan.grid.minutes[t]
    return faults


def _minutes_before(grid: TimeGrid) -> Array:
    """(T,) minutes from the start of the grid to the start of each step."""
    return np.concatenate([[0.0], np.cumsum(grid.minutes[:-1], dtype=float)])


def _battery(plan: Plan) -> Recomputed:
    q, name = plan.asset.params, plan.asset.id
    charge, discharge = np.maximum(-plan.power_mw, 0.0), np.maximum(plan.power_mw, 0.0)
    start = min(max(plan.state.stored_mwh, 0.0), q.capacity_mwh)
    flow = charge * q.charge_efficiency - discharge / q.discharge_efficiency
    stored = _integrate(start, flow, q.standing_loss_per_h, plan.grid.hours)
    rated = q.power_mw if plan.state.available else 0.0
    faults = _beyond(name, "power_mw", plan.power_mw, -rated, rated, TOLERANCE_MW)
    if q.taper_from_soc < 1.0:
        most = q.power_mw * np.maximum(1.0 - stored / q.capacity_mwh, 0.0) / (1.0 - q.taper_from_soc)
        faults += _beyond(name, "taper", charge, 0.0, most, TOLERANCE_MW)
    window = q.soc_min * q.capacity_mwh, q.soc_max * q.capacity_mwh
    return Recomputed(stored, tuple(faults + _inside(plan, stored, start, q.standing_loss_per_h, *window)))


def _curtailable(plan: Plan) -> Recomputed:
    q = plan.asset.params
    most = min(q.capacity_mw, q.s_rating_mva / float(np.hypot(1.0, plan.asset.tan_phi))) * plan.state.available
    available = np.clip(plan.inputs["available_mw"], 0.0, most)
    return Recomputed(None, tuple(_beyond(plan.asset.id, "power_mw", plan.power_mw, 0.0, available, TOLERANCE_MW)))


def _fixed_load(plan: Plan) -> Recomputed:
    load = plan.inputs["load_mw"]
    return Recomputed(None, tuple(_beyond(plan.asset.id, "power_mw", plan.power_mw, -load, -load, TOLERANCE_MW)))


def _came_back(moved_mw: Array, window_h: float, hours: Array) -> Array:
    """Mean power per step, (T,), of what was moved and comes back evenly over the `window_h` after it.

    With E the twice integrated move, the mean over a step [a, b] is (E(b) - E(a) - E(b-W) + E(a-W)) / (W h).
    """
    edge = np.concatenate([[0.0], np.cumsum(hours)])
    once = np.concatenate([[0.0], np.cumsum(moved_mw * hours)])
    twice = np.concatenate([[0.0], np.cumsum(once[:-1] * hours + moved_mw * hours**2 / 2.0)])

    def integral(x: Array) -> Array:
        k = np.clip(np.searchsorted(edge, x, side="right") - 1, 0, len(hours) - 1)
        dx = np.maximum(x, 0.0) - edge[k]
        return np.asarray(twice[k] + once[k] * dx + moved_mw[k] * dx**2 / 2.0)

    mean: Array = np.diff(integral(edge) - integral(edge - window_h)) / (window_h * hours)
    return mean


def _price_elastic(plan: Plan) -> Recomputed:
    q, load, name = plan.asset.params, np.maximum(plan.inputs["load_mw"], 0.0), plan.asset.id
    if "price_eur_per_mwh" not in plan.decisions:
        return Recomputed(None, (Fault(name, "price_eur_per_mwh", "missing"),))
    relative = plan.decision("price_eur_per_mwh") / q.reference_price_eur_per_mwh - 1.0
    own = load * (np.clip(1.0 + q.elasticity * relative, q.min_share, q.max_share) - 1.0)
    consumed = load + own - q.substitution * _came_back(own, q.window_h, plan.grid.hours)
    low, high = -load * q.max_share, -load * q.min_share
    faults = _beyond(name, "power_mw", plan.power_mw, low, high, TOLERANCE_MW)
    answer = "power_mw (answer to the decided price)"
    return Recomputed(None, tuple(faults + _beyond(name, answer, plan.power_mw, -consumed, -consumed, TOLERANCE_MW)))


def _ramps(plan: Plan, on: Array) -> list[Fault]:
    """Ramp, start and stop limits; a stop may fall from the lowest power the ramp can have reached by then."""
    q, p, was_on = plan.asset.params, plan.power_mw, plan.state.on
    first = min(max(plan.state.power_mw, q.min_power_mw), q.power_mw) if was_on else 0.0
    before, running = np.concatenate([[first], p[:-1]]), np.concatenate([[was_on], on[:-1] > 0.5])
    step = q.ramp_mw_per_min * np.asarray(plan.grid.minutes, dtype=float)
    edge = np.maximum(q.min_power_mw, step)
    reached = first - q.ramp_mw_per_min * _minutes_before(plan.grid)
    up = np.where(running, step, edge)
    down = np.where(on > 0.5, step, np.maximum(edge, reached))
    return _beyond(plan.asset.id, "ramp", p - before, -down, up, TOLERANCE_MW)


def _chp(plan: Plan) -> Recomputed:
    q, p, on, name = plan.asset.params, plan.power_mw, plan.on, plan.asset.id
    if on is None:
        return Recomputed(None, (Fault(name, "commitment", "missing"),))
    heat = q.heat_mw_per_mw * p + q.heat_no_load_mw * on
    added = plan.decision("boiler_mw_th") + plan.decision("unmet_mw_th") - plan.decision("dumped_mw_th")
    start = max(plan.state.stored_mwh, 0.0)
    flow = heat + added - plan.inputs["heat_demand_mw_th"]
    stored = _integrate(start, flow, q.store_loss_per_h, plan.grid.hours)
    faults = _beyond(name, "power_mw", p, on * q.min_power_mw, on * q.power_mw, TOLERANCE_MW)
    faults += _slacks(plan, {"boiler_mw_th": q.boiler_mw_th, "unmet_mw_th": np.inf, "dumped_mw_th": np.inf})
    faults += _inside(plan, stored, start, q.store_loss_per_h, 0.0, q.store_mwh_th) + _ramps(plan, on)
    faults += _switching(plan, on, q.min_up_h, q.min_down_h)
    return Recomputed(stored, tuple(faults), {"heat_mw_th": (heat, TOLERANCE_MW)})


def _thermal_store(plan: Plan) -> Recomputed:
    q, used, name = plan.asset.params, -plan.power_mw, plan.asset.id
    heat, ambient = plan.inputs["heat_mw_th"], plan.inputs["ambient_c"]
    cop = np.maximum(1.0, q.cop_at_20c + q.cop_slope_per_c * (ambient - 20.0))
    start = max(plan.state.stored_mwh, 0.0)
    overheat = plan.decision("overheat_mwh_th")
    slack = (overheat - plan.decision("overcool_mwh_th")) / plan.grid.hours
    stored = _integrate(start, cop * used - heat + slack, q.loss_per_h, plan.grid.hours)
    least, most = np.full(plan.grid.n, q.min_power_mw), np.full(plan.grid.n, q.max_power_mw)
    if not plan.state.available:
        held = (heat + q.loss_per_h * min(start, q.store_mwh_th)) / cop
        least = most = np.clip(held, q.min_power_mw, q.max_power_mw)
    inlet = q.inlet_max_c - (q.inlet_max_c - q.inlet_min_c) * stored / q.store_mwh_th
    inlet = inlet + overheat / q.heat_capacity_mwh_th_per_c
    faults = _beyond(name, "power_mw", used, least, most, TOLERANCE_MW)
    faults += _slacks(plan, {"overheat_mwh_th": np.inf, "overcool_mwh_th": np.inf})
    faults += _inside(plan, stored, start, q.loss_per_h, 0.0, q.store_mwh_th)
    return Recomputed(stored, tuple(faults), {"inlet_c": (inlet, REPORTED_C)})


def _mill(plan: Plan) -> Recomputed:
    q, on, name = plan.asset.params, plan.on, plan.asset.id
    if on is None:
        return Recomputed(None, (Fault(name, "commitment", "missing"),))
    target = -q.power_mw * on
    faults = _beyond(name, "power_mw", plan.power_mw, target, target, TOLERANCE_MW)
    faults += _switching(plan, on, q.min_run_h, q.min_stop_h)
    if q.max_starts_per_day is not None:
        starts = np.diff(np.concatenate([[float(plan.state.on)], on])) > 0.5
        per_day = np.bincount((_minutes_before(plan.grid) // DAY_MIN).astype(int), weights=starts).astype(float)
        faults += _beyond(name, "max_starts_per_day", per_day, 0.0, float(q.max_starts_per_day), 1e-6)
    return Recomputed(None, tuple(faults))


def _silo(mills: Sequence[Plan]) -> tuple[Array, list[Fault]]:
    """A silo's content (t) at each interval's end, and its faults, which stand at its first mill."""
    silo, hours, name = mills[0].asset.params.silo, mills[0].grid.hours, mills[0].asset.id
    per_t, none = silo.kwh_per_t / 1000.0, np.zeros(len(hours))
    made_t_per_h = sum((-m.power_mw * 1000.0 / m.asset.params.kwh_per_t for m in mills), none)
    shipped = np.maximum(mills[0].inputs["shipments_t_per_h"], 0.0)
    missed, spilled = (sum((m.decision(k) for m in mills), none) for k in ("missed_t", "spilled_t"))
    start_t = max(sum(m.state.stored_mwh for m in mills), 0.0) / per_t
    content_t = _integrate(start_t, made_t_per_h - shipped + (missed - spilled) / hours, 0.0, hours)
    low, high = min(silo.min_t, start_t), max(silo.capacity_t, start_t)
    faults = _beyond(name, f"silo_t of {silo.id}", content_t, low, high, TOLERANCE_MWH / per_t)
    faults += _beyond(name, "missed_t", missed, 0.0, shipped * hours, TOLERANCE_MWH / per_t)
    faults += _beyond(name, "spilled_t", spilled, 0.0, np.inf, TOLERANCE_MWH / per_t)
    limits = [m.asset.params.crew_limit for m in mills if m.asset.params.crew_limit is not None]
    if limits:
        running = sum((m.on for m in mills if m.on is not None), none)
        held = sum((_held_on(m) for m in mills), none)
        faults += _beyond(name, "crew_limit", running, 0.0, np.maximum(min(limits), held), 1e-6)
    return content_t, faults


def _held_on(mill: Plan) -> Array:
    """(T,) one where the mill's interlock keeps it running from before the plan."""
    left = 60.0 * mill.asset.params.min_run_h - mill.state.minutes_in_state
    held = _minutes_before(mill.grid) < left - 1e-6
    return np.asarray(held & (mill.state.on and mill.state.available), dtype=float)


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
    """One `Plan` per asset of `assets`, in the schedule's order. Raises InputFaults for a kind without a rule here."""
    unknown = [Fault(a.id, "kind", f"{a.kind} has no rule in dispatch.check.RECOMPUTE") for a in assets
               if a.kind not in RECOMPUTE]  # fmt: skip
    if unknown:
        raise InputFaults(unknown)
    known = {a.id: a for a in assets}
    return [
        Plan(
            known[name], states[name], schedule.grid, schedule.power_mw[i], schedule.commitment.get(name),
            schedule.decisions.get(name, {}), inputs[name],
        )
        for i, name in enumerate(schedule.asset_ids)
        if name in known
    ]  # fmt: skip


def recompute(parts: Sequence[Plan]) -> dict[str, Recomputed]:
    """Contents and faults of every asset; a silo's faults stand at its first mill."""
    result = {part.asset.id: RECOMPUTE[part.asset.kind](part) for part in parts}
    silos: dict[str, list[Plan]] = {}
    for part in parts:
        if part.asset.kind == "process":
            silos.setdefault(part.asset.params.silo.id, []).append(part)
    for mills in silos.values():
        content_t, faults = _silo(mills)
        per_t = mills[0].asset.params.silo.kwh_per_t / 1000.0
        for k, mill in enumerate(mills):
            found = result[mill.asset.id].faults + (tuple(faults) if k == 0 else ())
            derived = {"silo_t": (content_t, REPORTED_MWH * len(mills) / per_t)}
            result[mill.asset.id] = Recomputed(content_t * per_t / len(mills), found, derived)
    return result


def _malformed(assets: Sequence[Asset], schedule: Schedule) -> list[Fault]:
    """Assets without a row, rows of another length, and values that are no numbers."""
    faults = [Fault(a.id, "power_mw", "is missing") for a in assets if a.id not in schedule.asset_ids]
    for asset in assets:
        rows = {"power_mw": schedule.power_of(asset.id)} if asset.id in schedule.asset_ids else {}
        rows |= {"commitment": schedule.commitment[asset.id]} if asset.id in schedule.commitment else {}
        rows |= {"stored_mwh": schedule.stored_mwh[asset.id]} if asset.id in schedule.stored_mwh else {}
        rows |= schedule.decisions.get(asset.id, {})
        for name, row in rows.items():
            if np.shape(row) != (schedule.grid.n,):
                faults.append(Fault(asset.id, name, f"has shape {np.shape(row)} for {schedule.grid.n} steps"))
            elif not np.all(np.isfinite(row)):
                faults.append(Fault(asset.id, name, "is not a number"))
    return faults


def check_schedule(
    assets: Sequence[Asset],
    states: Mapping[str, AssetState],
    inputs: Mapping[str, Mapping[str, Array]],
    schedule: Schedule,
) -> list[Fault]:
    """Every way in which `schedule` breaks the physics of `assets` or reports what does not follow from it."""
    faults = _malformed(assets, schedule)
    if faults:
        return faults
    for name, result in recompute(plans(assets, states, inputs, schedule)).items():
        faults += result.faults
        told = schedule.decisions.get(name, {})
        if result.stored_mwh is not None and name in schedule.stored_mwh:
            reported, value = schedule.stored_mwh[name], result.stored_mwh
            faults += _beyond(name, "stored_mwh (reported)", reported, value, value, REPORTED_MWH)
        for key, (value, tolerance) in result.derived.items():
            if key in told:
                faults += _beyond(name, f"{key} (reported)", np.asarray(told[key]), value, value, tolerance)
    return faults
