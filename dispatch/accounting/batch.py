"""Batch machine: missed price * tasks that were not made + break price * gaps that were too long.

A task started in the step in which the energy of the day's tasks first passes what lies before it.
"""

from __future__ import annotations

import numpy as np

from dispatch.accounting.trace import Costs, Trace
from dispatch.assets._tasks import EPS_H, progress_of, step_starts, tasks_of, told_of, window_ends

BEGUN_MWH = 1e-6


def costs(x: Trace) -> Costs:
    q, grid = x.asset.params, x.grid
    tasks, starts = tasks_of(q, grid), step_starts(x.grid)
    at = progress_of(tasks, x.start_mwh, x.was_on, x.minutes_before)
    ends = window_ends(tasks, at, grid, x.asset.notice.total_seconds() / 3600.0)
    drawn = np.maximum(-x.power_mw, 0.0) * grid.hours
    chosen, missed, broken = {}, 0.0, 0.0
    for k in range(at.first_open, len(tasks)):
        task = tasks[k]
        inside = (starts >= task.day_h - EPS_H) & (starts < task.over_h - EPS_H)
        put = (at.content_mwh if task.day_h < -EPS_H else 0.0) + np.cumsum(drawn * inside)
        begun = np.flatnonzero(inside & (put > task.before_mwh + BEGUN_MWH))
        if begun.size:
            chosen[k] = int(begun[0])
    told = told_of(tasks, at, ends, chosen, q.max_gap_min, grid)
    prices = {t.day_h: [u.missed_eur for u in tasks[at.first_open :] if u.day_h == t.day_h] for t in tasks}
    for day, owed in prices.items():
        lost = int(told.missed[int(np.argmax(starts >= day - EPS_H))])
        missed += sum(owed[len(owed) - lost :]) if lost else 0.0
    broken = q.break_eur * float(told.broken.sum())
    return {"missed_production": missed, "starts": broken}
