"""Backup batteries, recomputed; with battery power b = P + L of the class:

    -min(N P_site, N G - L) <= b <= min(N P_site, L)
    e[t] = e[t-1] (1 - loss h) + h (eta_c charge - discharge / eta_d)
    R = min(soc_max N E, soc_min N E + energy the load takes in the reserve_h hours ahead / eta_d)
    e >= min(R, what is left of the first content),  e <= soc_max N E

Standing loss alone may carry the content below R.
"""

from __future__ import annotations

import numpy as np

from dispatch.check.tools import (
    REPORTED_MWH,
    ROUNDING_MWH,
    TOLERANCE_MW,
    TOLERANCE_MWH,
    Plan,
    Recomputed,
    beyond,
    integrate,
    keep,
)
from vpp.domain.time import Array


def recompute(plan: Plan) -> Recomputed:
    """The class by its net injection; what it may not sell is worked out from the load to come."""
    q, name, hours = plan.asset.params, plan.asset.id, plan.grid.hours
    load, n = np.maximum(plan.inputs["load_mw"], 0.0), float(plan.asset.params.count)
    battery = plan.power_mw + load
    rated = n * q.site_power_mw if plan.state.available else 0.0
    most_in = np.minimum(rated, np.maximum(n * q.site_connection_mw - load, 0.0))
    faults = beyond(name, "power_mw", plan.power_mw, -load - most_in, -load + np.minimum(rated, load), TOLERANCE_MW)
    capacity = n * q.site_capacity_mwh
    start = min(max(plan.state.stored_mwh, 0.0), capacity)
    flow = np.maximum(-battery, 0.0) * q.charge_efficiency - np.maximum(battery, 0.0) / q.discharge_efficiency
    stored = integrate(start, flow, q.standing_loss_per_h, hours)
    left = keep(q.standing_loss_per_h, hours)
    untouched = start * np.cumprod(left)
    reserve = _reserve(load, hours, q.reserve_h) / q.discharge_efficiency + q.soc_min * capacity
    reserve = np.minimum(reserve, q.soc_max * capacity)
    lost_only = stored >= left * np.concatenate([[start], stored[:-1]]) - ROUNDING_MWH
    least = np.where(lost_only, np.minimum(stored, reserve), np.minimum(reserve, untouched))
    most = np.maximum(q.soc_max * capacity, untouched)
    faults += beyond(name, "stored_mwh (reserve)", stored, least, most, TOLERANCE_MWH)
    return Recomputed(stored, tuple(faults), {"reserve_mwh": (reserve, REPORTED_MWH)})


def _reserve(load: Array, hours: Array, reserve_h: float) -> Array:
    """(T,) MWh the load takes in the `reserve_h` after each step; beyond the grid it stays as it was last."""
    found = np.zeros(len(load))
    for t in range(len(load)):
        ahead, s = reserve_h, t + 1
        while ahead > 0.0:
            length = min(ahead, hours[s]) if s < len(load) else ahead
            found[t] += length * load[min(s, len(load) - 1)]
            ahead, s = ahead - length, s + 1
    return found
