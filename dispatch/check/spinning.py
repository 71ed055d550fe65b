"""Reserve of running machines, re-checked: start and stop limits, ramps beside the plan's movement, and the way back.

With P the plan, u and d what is held up and down, su and sd the highest output in the step of a start and in the one
before a stop, and R the MW that a ramp moves in a step, in every step:

    P + u <= su in the step of a start,    P + u <= sd in the step before a stop
    sum of u / activation <= (R up - rise of the plan) / minutes,    likewise down
    the step after a call takes the machine back:  P + u - P' <= R down',    P' - P + d <= R up'
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dispatch.check.tools import TOLERANCE_MW, Plan, beyond, minutes_before
from vpp.domain.errors import Fault
from vpp.domain.time import Array

HELD_MW = 10 * TOLERANCE_MW


def spinning(plan: Plan, up: Array, down: Array, up_per_min: Array, down_per_min: Array) -> list[Fault]:
    """Faults of what a CHP or thermal unit holds (T,) MW, and of the MW per minute that its activation asks for."""
    name, p, on = plan.asset.id, plan.power_mw, np.asarray(plan.on) > 0.5
    before = np.concatenate([[_first(plan)], p[:-1]])
    running = np.concatenate([[plan.state.on], on[:-1]])
    rise, fall = _rise_and_fall(plan, on, running)
    starts, stops = on & ~running, ~on & running
    minutes = np.asarray(plan.grid.minutes, dtype=float)
    start_mw, stop_mw = _edges(plan)
    most = np.where(starts, start_mw, np.inf)
    most[:-1] = np.where(stops[1:], np.minimum(most[:-1], stop_mw[1:]), most[:-1])
    back_up = np.append(fall[1:] - p[:-1] + p[1:], np.inf)
    back_down = np.append(rise[1:] + p[:-1] - p[1:], np.inf)
    free = np.maximum
    faults = beyond(name, "reserve up_mw at a start or stop", up, 0.0, free(most - p, 0.0), HELD_MW)
    faults += beyond(name, "reserve up_mw to be back", up, 0.0, free(back_up, 0.0), HELD_MW)
    faults += beyond(name, "reserve down_mw to be back", down, 0.0, free(back_down, 0.0), HELD_MW)
    up_left, down_left = (free(x, 0.0) / minutes for x in (rise - (p - before), fall - (before - p)))
    faults += beyond(name, "reserve up_mw per min", up_per_min, 0.0, up_left, TOLERANCE_MW)
    return faults + beyond(name, "reserve down_mw per min", down_per_min, 0.0, down_left, TOLERANCE_MW)


def _first(plan: Plan) -> float:
    q = plan.asset.params
    return min(max(plan.state.power_mw, q.min_power_mw), q.power_mw) if plan.state.on else 0.0


def _ramps(plan: Plan) -> tuple[float, float]:
    q = plan.asset.params
    if plan.asset.kind == "chp":
        return q.ramp_mw_per_min, q.ramp_mw_per_min
    return q.ramp_up_mw_per_min, q.ramp_down_mw_per_min


def _edges(plan: Plan) -> tuple[Array, Array]:
    """(T,) highest output next to a start and to a stop; a stop may fall from what the ramp has reached by then."""
    q, minutes, (up, down) = plan.asset.params, np.asarray(plan.grid.minutes, dtype=float), _ramps(plan)
    start, stop = getattr(q, "start_power_mw", None), getattr(q, "stop_power_mw", None)
    reached = _first(plan) - down * minutes_before(plan.grid)
    start_mw = np.maximum(q.min_power_mw, up * minutes if start is None else start)
    return start_mw, np.maximum(np.maximum(q.min_power_mw, down * minutes if stop is None else stop), reached)


def _rise_and_fall(plan: Plan, on: NDArray[np.bool_], running: NDArray[np.bool_]) -> tuple[Array, Array]:
    """(T,) MW that output may change from the step before to each step."""
    minutes, (up, down), (start, stop) = np.asarray(plan.grid.minutes, dtype=float), _ramps(plan), _edges(plan)
    return np.where(running, up * minutes, start), np.where(on, down * minutes, stop)
