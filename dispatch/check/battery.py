"""Battery, recomputed:

    e[t] = e[t-1] (1 - loss h) + h (eta_c charge - discharge / eta_d)
    charge <= P (1 - e[t] / E) / (1 - taper)

with e inside the window of the capacity.
"""

from __future__ import annotations

import numpy as np

from dispatch.check.tools import TOLERANCE_MW, Plan, Recomputed, beyond, inside, integrate


def recompute(plan: Plan) -> Recomputed:
    q, name = plan.asset.params, plan.asset.id
    charge, discharge = np.maximum(-plan.power_mw, 0.0), np.maximum(plan.power_mw, 0.0)
    start = min(max(plan.state.stored_mwh, 0.0), q.capacity_mwh)
    flow = charge * q.charge_efficiency - discharge / q.discharge_efficiency
    stored = integrate(start, flow, q.standing_loss_per_h, plan.grid.hours)
    rated = q.power_mw if plan.state.available else 0.0
    faults = beyond(name, "power_mw", plan.power_mw, -rated, rated, TOLERANCE_MW)
    if q.taper_from_soc < 1.0:
        most = q.power_mw * np.maximum(1.0 - stored / q.capacity_mwh, 0.0) / (1.0 - q.taper_from_soc)
        faults += beyond(name, "taper", charge, 0.0, most, TOLERANCE_MW)
    window = q.soc_min * q.capacity_mwh, q.soc_max * q.capacity_mwh
    return Recomputed(stored, tuple(faults + inside(plan, stored, start, q.standing_loss_per_h, *window)))
