"""Thermal unit, recomputed: p_min on <= p <= p_max on, ramps, limits at starts and stops and minimum times."""

from __future__ import annotations

import numpy as np

from dispatch.check.tools import TOLERANCE_MW, Plan, Recomputed, beyond, minutes_before, switching
from vpp.domain.errors import Fault
from vpp.domain.time import Array


def recompute(plan: Plan) -> Recomputed:
    q, p, on, name = plan.asset.params, plan.power_mw, plan.on, plan.asset.id
    if on is None:
        return Recomputed(None, (Fault(name, "commitment", "missing"),))
    faults = beyond(name, "power_mw", p, on * q.min_power_mw, on * q.power_mw, TOLERANCE_MW)
    faults += _ramps(plan, on) + switching(plan, on, q.min_up_h, q.min_down_h)
    return Recomputed(None, tuple(faults))


def _ramps(plan: Plan, on: Array) -> list[Fault]:
    """Ramp, start and stop limits; a stop may fall from the lowest power the ramp can have reached by then."""
    q, p, was_on = plan.asset.params, plan.power_mw, plan.state.on
    first = min(max(plan.state.power_mw, q.min_power_mw), q.power_mw) if was_on else 0.0
    before, running = np.concatenate([[first], p[:-1]]), np.concatenate([[was_on], on[:-1] > 0.5])
    minutes = np.asarray(plan.grid.minutes, dtype=float)
    rise, fall = q.ramp_up_mw_per_min * minutes, q.ramp_down_mw_per_min * minutes
    start = np.maximum(q.min_power_mw, rise if q.start_power_mw is None else q.start_power_mw)
    stop = np.maximum(q.min_power_mw, fall if q.stop_power_mw is None else q.stop_power_mw)
    reached = first - q.ramp_down_mw_per_min * minutes_before(plan.grid)
    up = np.where(running, rise, start)
    down = np.where(on > 0.5, fall, np.maximum(stop, reached))
    return beyond(plan.asset.id, "ramp", p - before, -down, up, TOLERANCE_MW)
