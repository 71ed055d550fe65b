"""Thermal store, recomputed: s[t] = s[t-1] (1 - loss h) + h (COP(ambient) P - heat) + overheat - overcool."""

from __future__ import annotations

import numpy as np

from dispatch.check.tools import TOLERANCE_MW, Plan, Recomputed, beyond, idle, inside, integrate, slacks

REPORTED_C = 1e-2


def recompute(plan: Plan) -> Recomputed:
    q, used, name = plan.asset.params, -plan.power_mw, plan.asset.id
    heat, ambient = plan.inputs["heat_mw_th"], plan.inputs["ambient_c"]
    cop = np.maximum(1.0, q.cop_at_20c + q.cop_slope_per_c * (ambient - 20.0))
    start = max(plan.state.stored_mwh, 0.0)
    overheat = plan.decision("overheat_mwh_th")
    slack = (overheat - plan.decision("overcool_mwh_th")) / plan.grid.hours
    stored = integrate(start, cop * used - heat + slack, q.loss_per_h, plan.grid.hours)
    least, most = np.full(plan.grid.n, q.min_power_mw), np.full(plan.grid.n, q.max_power_mw)
    if not plan.state.available:
        held = (heat + q.loss_per_h * min(start, q.store_mwh_th)) / cop
        least = most = np.clip(held, q.min_power_mw, q.max_power_mw)
    inlet = q.inlet_max_c - (q.inlet_max_c - q.inlet_min_c) * stored / q.store_mwh_th
    inlet = inlet + overheat / q.heat_capacity_mwh_th_per_c
    faults = beyond(name, "power_mw", used, least, most, TOLERANCE_MW)
    faults += slacks(plan, {"overheat_mwh_th": np.inf, "overcool_mwh_th": np.inf})
    faults += inside(plan, stored, start, q.loss_per_h, 0.0, q.store_mwh_th)
    lack, waste = ("overheat_mwh_th", overheat), ("overcool_mwh_th", plan.decision("overcool_mwh_th"))
    faults += idle(plan, lack, waste, stored, np.zeros(plan.grid.n), q.store_mwh_th)
    return Recomputed(stored, tuple(faults), {"inlet_c": (inlet, REPORTED_C)})
