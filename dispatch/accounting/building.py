"""Building: discomfort price * degree-hours outside the band of its occupancy."""

from __future__ import annotations

import numpy as np

from dispatch.accounting.room import degree_hours, indoor_c
from dispatch.accounting.trace import Costs, Trace


def costs(x: Trace) -> Costs:
    q, there = x.asset.params, np.clip(x.inputs["occupancy"], 0.0, 1.0)
    edge = q.setback_max_c if q.mode == "cooling" else q.setback_min_c
    indoor = indoor_c(x, q.heat_capacity_mwh_th_per_c, edge)
    low = q.comfort_min_c * there + q.setback_min_c * (1.0 - there)
    high = q.comfort_max_c * there + q.setback_max_c * (1.0 - there)
    return {"comfort": q.discomfort_eur_per_c_h * degree_hours(indoor, low, high, x.grid.hours)}
