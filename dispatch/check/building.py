"""Building, recomputed: one room whose machine takes 0 <= P <= P_max; out of service it follows its thermostat.

The band is comfort at occupancy 1 and setback at 0; leaving it is priced, not forbidden.
"""

from __future__ import annotations

import numpy as np

from dispatch.check.room import REPORTED_C, Room, linear_cop
from dispatch.check.tools import TOLERANCE_MW, Plan, Recomputed, beyond


def recompute(plan: Plan) -> Recomputed:
    q, used, cools = plan.asset.params, -plan.power_mw, plan.asset.params.mode == "cooling"
    ambient, occupied = plan.inputs["ambient_c"], np.clip(plan.inputs["occupancy"], 0.0, 1.0)
    room = Room(
        q.heat_capacity_mwh_th_per_c, q.transmittance_mw_th_per_c, q.setback_max_c if cools else q.setback_min_c, cools,
        linear_cop(q.cop_at_20c, q.cop_slope_per_c, ambient), ambient,
        plan.inputs["internal_mw_th"] + plan.inputs["solar_mw_th"], plan.grid.hours,
    )  # fmt: skip
    least, most = np.zeros(plan.grid.n), np.full(plan.grid.n, q.max_power_mw)
    if not plan.state.available:
        day, night = (q.comfort_max_c, q.setback_max_c) if cools else (q.comfort_min_c, q.setback_min_c)
        edge = occupied * day + (1.0 - occupied) * night
        least = most = room.thermostat(plan.state.stored_mwh, edge, q.max_power_mw)
    indoor = room.temperatures(plan.state.stored_mwh, used)
    faults = beyond(plan.asset.id, "power_mw", used, least, most, TOLERANCE_MW)
    return Recomputed(room.stored(indoor), tuple(faults), {"indoor_c": (indoor, REPORTED_C)})
