"""Thermostat cluster, recomputed: the mean room of its units, 0 <= P <= all units at once, and their cycling.

MW that started less than min_on_min ago still run, MW that stopped less than min_off_min ago still rest:

    sum of rises within min_on_min <= P,     sum of falls within min_off_min <= all units - P

A step's own change counts. A class out of service is left to its thermostats, which hold the set-point.
"""

from __future__ import annotations

import numpy as np

from dispatch.check.room import REPORTED_C, Room, linear_cop
from dispatch.check.tools import TOLERANCE_MW, Plan, Recomputed, beyond, minutes_before
from vpp.domain.errors import Fault
from vpp.domain.time import Array, TimeGrid


def recompute(plan: Plan) -> Recomputed:
    q, used, cools = plan.asset.params, -plan.power_mw, plan.asset.params.mode == "cooling"
    n, ambient = q.count / 1000.0, plan.inputs["ambient_c"]
    room = Room(
        n * q.unit_heat_capacity_kwh_th_per_c, n * q.unit_transmittance_kw_th_per_c,
        q.set_c + q.band_c / 2.0 if cools else q.set_c - q.band_c / 2.0, cools,
        linear_cop(q.cop_at_20c, q.cop_slope_per_c, ambient), ambient, plan.inputs["gains_mw_th"], plan.grid.hours,
    )  # fmt: skip
    total = n * q.unit_kw
    least, most = np.zeros(plan.grid.n), np.full(plan.grid.n, total)
    if not plan.state.available:
        least = most = room.thermostat(plan.state.stored_mwh, np.full(plan.grid.n, q.set_c), total)
    faults = beyond(plan.asset.id, "power_mw", used, least, most, TOLERANCE_MW)
    if plan.state.available:
        faults += _cycling(plan, used, total)
    indoor = room.temperatures(plan.state.stored_mwh, used)
    return Recomputed(room.stored(indoor), tuple(faults), {"indoor_c": (indoor, REPORTED_C)})


def _cycling(plan: Plan, used: Array, total: float) -> list[Fault]:
    q, name = plan.asset.params, plan.asset.id
    change = np.diff(np.concatenate([[min(max(-plan.state.power_mw, 0.0), total)], used]))
    rises, falls = np.maximum(change, 0.0), np.maximum(-change, 0.0)
    held = _within(plan.grid, rises, q.min_on_min)
    resting = _within(plan.grid, falls, q.min_off_min)
    return [
        *beyond(name, "min_on", used, held, np.inf, TOLERANCE_MW),
        *beyond(name, "min_off", used, -np.inf, total - resting, TOLERANCE_MW),
    ]


def _within(grid: TimeGrid, change: Array, minutes: float) -> Array:
    """(T,) what changed in the step itself or in one that began less than `minutes` before it."""
    begin, found = minutes_before(grid), np.empty(grid.n)
    for t in range(grid.n):
        recent = [change[s] for s in range(t) if begin[t] - begin[s] < minutes]
        found[t] = change[t] + sum(recent)
    return found
