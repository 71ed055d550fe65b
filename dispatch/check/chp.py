"""CHP, recomputed:

    heat = a P + b on
    store[t] = store[t-1] (1 - loss h) + h (heat + boiler + unmet - dumped - demand)

with limits of power, ramps and minimum times; heat is not missed while the boiler can give it.
"""

from __future__ import annotations

import numpy as np

from dispatch.check.tools import (
    TOLERANCE_MW,
    Plan,
    Recomputed,
    beyond,
    inside,
    integrate,
    minutes_before,
    needless,
    slacks,
    switching,
)
from vpp.domain.errors import Fault
from vpp.domain.time import Array

MISSED_MW_TH = 5e-3


def recompute(plan: Plan) -> Recomputed:
    q, p, on, name = plan.asset.params, plan.power_mw, plan.on, plan.asset.id
    if on is None:
        return Recomputed(None, (Fault(name, "commitment", "missing"),))
    heat = q.heat_mw_per_mw * p + q.heat_no_load_mw * on
    added = plan.decision("boiler_mw_th") + plan.decision("unmet_mw_th") - plan.decision("dumped_mw_th")
    start = max(plan.state.stored_mwh, 0.0)
    flow = heat + added - plan.inputs["heat_demand_mw_th"]
    stored = integrate(start, flow, q.store_loss_per_h, plan.grid.hours)
    faults = beyond(name, "power_mw", p, on * q.min_power_mw, on * q.power_mw, TOLERANCE_MW)
    faults += slacks(plan, {"boiler_mw_th": q.boiler_mw_th, "unmet_mw_th": np.inf, "dumped_mw_th": np.inf})
    faults += inside(plan, stored, start, q.store_loss_per_h, 0.0, q.store_mwh_th) + _ramps(plan, on)
    faults += switching(plan, on, q.min_up_h, q.min_down_h)
    unmet, boiler = plan.decision("unmet_mw_th"), q.boiler_mw_th - plan.decision("boiler_mw_th")
    faults += needless(name, "unmet_mw_th", unmet, boiler, "the boiler", MISSED_MW_TH)
    return Recomputed(stored, tuple(faults), {"heat_mw_th": (heat, TOLERANCE_MW)})


def _ramps(plan: Plan, on: Array) -> list[Fault]:
    """Ramp, start and stop limits; a stop may fall from the lowest power the ramp can have reached by then."""
    q, p, was_on = plan.asset.params, plan.power_mw, plan.state.on
    first = min(max(plan.state.power_mw, q.min_power_mw), q.power_mw) if was_on else 0.0
    before, running = np.concatenate([[first], p[:-1]]), np.concatenate([[was_on], on[:-1] > 0.5])
    step = q.ramp_mw_per_min * np.asarray(plan.grid.minutes, dtype=float)
    edge = np.maximum(q.min_power_mw, step)
    reached = first - q.ramp_mw_per_min * minutes_before(plan.grid)
    up = np.where(running, step, edge)
    down = np.where(on > 0.5, step, np.maximum(edge, reached))
    return beyond(plan.asset.id, "ramp", p - before, -down, up, TOLERANCE_MW)
