"""Process, recomputed: silo[t] = silo[t-1] + h (sum_k P_k / kwh_per_t - shipments) + missed - spilled.

A silo's faults stand at its first mill. Starts count in every 24 h, those before the plan included.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dispatch.check.tools import (
    REPORTED_MWH,
    TOLERANCE_MW,
    TOLERANCE_MWH,
    Plan,
    Recomputed,
    beyond,
    integrate,
    minutes_before,
    switching,
)
from vpp.domain.errors import Fault
from vpp.domain.time import Array

DAY_MIN = 1440.0


def recompute(plans: Sequence[Plan]) -> list[Recomputed]:
    """Every mill by itself, then the silo it shares with others."""
    result = {plan.asset.id: _mill(plan) for plan in plans}
    silos: dict[str, list[Plan]] = {}
    for plan in plans:
        silos.setdefault(plan.asset.params.silo.id, []).append(plan)
    for mills in silos.values():
        content_t, faults = _silo(mills)
        per_t = mills[0].asset.params.silo.kwh_per_t / 1000.0
        for k, mill in enumerate(mills):
            found = result[mill.asset.id].faults + (tuple(faults) if k == 0 else ())
            derived = {"silo_t": (content_t, REPORTED_MWH * len(mills) / per_t)}
            result[mill.asset.id] = Recomputed(content_t * per_t / len(mills), found, derived)
    return [result[plan.asset.id] for plan in plans]


def _mill(plan: Plan) -> Recomputed:
    q, on, name = plan.asset.params, plan.on, plan.asset.id
    if on is None:
        return Recomputed(None, (Fault(name, "commitment", "missing"),))
    target = -q.power_mw * on
    faults = beyond(name, "power_mw", plan.power_mw, target, target, TOLERANCE_MW)
    faults += switching(plan, on, q.min_run_h, q.min_stop_h)
    if q.max_starts_per_day is not None:
        starts = np.diff(np.concatenate([[float(plan.state.on)], on])) > 0.5
        per_day, earlier = _starts_of_24_h(plan, starts)
        most = np.maximum(float(q.max_starts_per_day), earlier)
        faults += beyond(name, "max_starts_per_day", per_day + earlier, 0.0, most, 1e-6)
    return Recomputed(None, tuple(faults))


def _starts_of_24_h(plan: Plan, starts: NDArray[np.bool_]) -> tuple[Array, Array]:
    """(T,) starts of the plan, and (T,) starts before it, in the 24 h that end with each step."""
    own, earlier = np.zeros(len(starts)), np.zeros(len(starts))
    at = minutes_before(plan.grid)
    for t, now in enumerate(at):
        own[t] = sum(bool(starts[s]) and now - at[s] < DAY_MIN for s in range(t + 1))
        for moment in plan.state.started:
            ago = (plan.grid.start - moment).total_seconds() / 60.0
            earlier[t] += ago > 0.0 and now + ago < DAY_MIN
    return own, earlier


def _silo(mills: Sequence[Plan]) -> tuple[Array, list[Fault]]:
    """A silo's content (t) at each interval's end, and its faults, which stand at its first mill."""
    silo, hours, name = mills[0].asset.params.silo, mills[0].grid.hours, mills[0].asset.id
    per_t, none = silo.kwh_per_t / 1000.0, np.zeros(len(hours))
    made_t_per_h = sum((-m.power_mw * 1000.0 / m.asset.params.kwh_per_t for m in mills), none)
    shipped = np.maximum(mills[0].inputs["shipments_t_per_h"], 0.0)
    missed, spilled = (sum((m.decision(k) for m in mills), none) for k in ("missed_t", "spilled_t"))
    start_t = max(sum(m.state.stored_mwh for m in mills), 0.0) / per_t
    content_t = integrate(start_t, made_t_per_h - shipped + (missed - spilled) / hours, 0.0, hours)
    low, high = min(silo.min_t, start_t), max(silo.capacity_t, start_t)
    faults = beyond(name, f"silo_t of {silo.id}", content_t, low, high, TOLERANCE_MWH / per_t)
    faults += beyond(name, "missed_t", missed, 0.0, shipped * hours, TOLERANCE_MWH / per_t)
    faults += beyond(name, "spilled_t", spilled, 0.0, np.inf, TOLERANCE_MWH / per_t)
    limits = [m.asset.params.crew_limit for m in mills if m.asset.params.crew_limit is not None]
    if limits:
        running = sum((m.on for m in mills if m.on is not None), none)
        held = sum((_held_on(m) for m in mills), none)
        faults += beyond(name, "crew_limit", running, 0.0, np.maximum(min(limits), held), 1e-6)
    return content_t, faults


def _held_on(mill: Plan) -> Array:
    """(T,) one where the mill's interlock keeps it running from before the plan."""
    left = 60.0 * mill.asset.params.min_run_h - mill.state.minutes_in_state
    held = minutes_before(mill.grid) < left - 1e-6
    return np.asarray(held & (mill.state.on and mill.state.available), dtype=float)
