"""Water works, recomputed: x[t] = x[t-1] (1 - loss h) + h (P - need) + lacking - wasted, inside its basin.

P is 0 or between least and most power. A stop needs a content of recovered_share; a run lasts recovery_h at
least; a pause lasts longest_pause_h at most, what passed of it before the plan included.
"""

from __future__ import annotations

import numpy as np

from dispatch.check.tools import (
    TOLERANCE_MW,
    TOLERANCE_MWH,
    Plan,
    Recomputed,
    beyond,
    idle,
    inside,
    integrate,
    slacks,
    switching,
)
from vpp.domain.errors import Fault
from vpp.domain.time import Array


def recompute(plan: Plan) -> Recomputed:
    q, used, on, name = plan.asset.params, -plan.power_mw, plan.on, plan.asset.id
    if on is None:
        return Recomputed(None, (Fault(name, "commitment", "missing"),))
    start = max(plan.state.stored_mwh, 0.0)
    slack = (plan.decision("lacking_mwh") - plan.decision("wasted_mwh")) / plan.grid.hours
    stored = integrate(start, used - plan.inputs["need_mw"] + slack, q.loss_per_h, plan.grid.hours)
    faults = beyond(name, "power_mw", used, on * q.min_power_mw, on * q.max_power_mw, TOLERANCE_MW)
    faults += slacks(plan, {"lacking_mwh": np.inf, "wasted_mwh": np.inf})
    faults += inside(plan, stored, start, q.loss_per_h, 0.0, q.capacity_mwh)
    stops_next = np.append(on[:-1] - on[1:] > 0.5, False)
    lack, waste = (plan.decision(f"{name}_mwh") for name in ("lacking", "wasted"))
    needed = np.where(stops_next, q.recovered_share * q.capacity_mwh, 0.0)
    faults += idle(plan, ("lacking_mwh", lack), ("wasted_mwh", waste), stored, needed, q.capacity_mwh)
    faults += switching(plan, on, q.recovery_h, 0.0)
    if plan.state.available:
        faults += _pauses(plan, on) + _recovered(plan, on, np.concatenate([[start], stored[:-1]]))
    return Recomputed(stored, tuple(faults))


def _pauses(plan: Plan, on: Array) -> list[Fault]:
    q = plan.asset.params
    if q.longest_pause_h is None:
        return []
    minutes, pause = 0.0 if plan.state.on else float(plan.state.minutes_in_state), np.zeros(len(on))
    for t, (value, length) in enumerate(zip(on > 0.5, plan.grid.minutes, strict=True)):
        minutes = 0.0 if value else minutes + length
        pause[t] = minutes / 60.0
    return beyond(plan.asset.id, "longest_pause_h", pause, 0.0, q.longest_pause_h, 1e-6)


def _recovered(plan: Plan, on: Array, before_mwh: Array) -> list[Fault]:
    q = plan.asset.params
    stops = np.concatenate([[float(plan.state.on)], on[:-1]]) - on > 0.5
    needed = np.where(stops, q.recovered_share * q.capacity_mwh, -np.inf)
    return beyond(plan.asset.id, "recovered_share", before_mwh, needed, np.inf, TOLERANCE_MWH)
