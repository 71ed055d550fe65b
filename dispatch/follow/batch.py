"""Batch machine: the next task starts where a run is wished, and at the last step that its window or the gap allows.

The last step follows backwards through the day's tasks: each must leave the next one time to start. A limit that
does not let a task run through keeps it from starting.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dispatch.assets._tasks import (
    EPS_H,
    Progress,
    Task,
    earliest_starts,
    gap_end,
    progress_of,
    step_starts,
    tasks_of,
    told_of,
    window_ends,
)
from dispatch.follow.tools import EPS
from dispatch.wish import Path, Wish
from vpp.domain.time import Array


def follow(wish: Wish) -> Path:
    """Task by task, step by step."""
    q, grid, state = wish.asset.params, wish.grid, wish.state
    tasks = tasks_of(q, grid)
    at = progress_of(tasks, state.stored_mwh, state.on, state.minutes_in_state)
    ends = window_ends(tasks, at, grid, wish.asset.notice.total_seconds() / 3600.0)
    chosen = _choose(wish, tasks, at, ends) if state.available else {}
    told = told_of(tasks, at, ends, chosen, q.max_gap_min, grid)
    starts, drawn = step_starts(grid), np.zeros(grid.n)
    if at.running is not None:
        drawn += tasks[at.running].power_mw(at.started_h, grid)
    for k, t in chosen.items():
        drawn += tasks[k].power_mw(float(starts[t]), grid)
    drawn = drawn * state.available
    return Path(-drawn, told.on * state.available, _contents(tasks, at, drawn, wish), told.decisions())


def _choose(wish: Wish, tasks: Sequence[Task], at: Progress, ends: Array) -> dict[int, int]:
    """The step each task starts with; a task whose time has passed takes the rest of its day with it."""
    grid, most_gap = wish.grid, wish.asset.params.max_gap_min
    starts, horizon_h = step_starts(grid), float(grid.hours.sum())
    last, soonest = _last_starts(tasks, at, ends, grid.hours, earliest_starts(tasks, at, grid, 0.0)), 0.0
    chosen: dict[int, int] = {}
    k, free = at.first_open, at.free_h
    for t, begin in enumerate(starts):
        while k < len(tasks) and begin > min(ends[k], tasks[k].over_h - tasks[k].length_h) + EPS_H:
            gone = tasks[k].day_h
            k = next((j for j in range(k, len(tasks)) if tasks[j].day_h != gone), len(tasks))
            free = -np.inf
        if k == len(tasks):
            break
        task = tasks[k]
        follows = k > 0 and tasks[k - 1].day_h == task.day_h and np.isfinite(free)
        soonest = max(task.earliest_h, free + task.pause_h if follows else -np.inf)
        if begin < soonest - EPS_H or begin + task.length_h > horizon_h + EPS_H:
            continue
        after = float(starts[t + 1]) if t + 1 < grid.n else np.inf
        gap = gap_end(free, task, most_gap, grid)[0] if follows and task.continues and most_gap is not None else np.inf
        must = after > last[k] + EPS_H or begin <= gap + EPS_H < after
        wished = wish.wanted_mw[t] <= -wish.asset.params.power_mw / 2.0 and begin >= _not_before(tasks, k, most_gap)
        if (must or wished) and _allowed(wish, task.power_mw(float(begin), grid)):
            chosen[k], free, k = t, float(begin) + task.length_h, k + 1
    return chosen


def _last_starts(tasks: Sequence[Task], at: Progress, ends: Array, hours: Array, soonest: Array) -> Array:
    """(tasks,) the last start of each open task that leaves the next ones theirs."""
    last = np.minimum(ends, [t.over_h - t.length_h for t in tasks])
    longest = float(hours.max())
    for k in range(len(tasks) - 2, at.first_open - 1, -1):
        if tasks[k + 1].day_h == tasks[k].day_h:
            last[k] = min(last[k], last[k + 1] - longest - tasks[k + 1].pause_h - tasks[k].length_h)
        last[k] = max(last[k], soonest[k])
    return last


def _not_before(tasks: Sequence[Task], k: int, max_gap_min: int | None) -> float:
    """A start before it would break the sequence, because the next task cannot follow in time."""
    if max_gap_min is None or k + 1 == len(tasks) or not tasks[k + 1].continues:
        return -np.inf
    return tasks[k + 1].earliest_h - max_gap_min / 60.0 - tasks[k].length_h - EPS_H


def _allowed(wish: Wish, drawn: Array) -> bool:
    return bool(np.all((drawn <= EPS) | (-drawn >= wish.lower_mw - EPS)))


def _contents(tasks: Sequence[Task], at: Progress, drawn: Array, wish: Wish) -> Array:
    """(T,) energy put into the tasks of the production day."""
    starts, content, stored = step_starts(wish.grid), at.content_mwh, np.empty(wish.grid.n)
    begins = {int(np.argmax(starts >= t.day_h - EPS_H)) for t in tasks
              if t.day_h > -EPS_H and (starts >= t.day_h - EPS_H).any()}  # fmt: skip
    for t, h in enumerate(wish.grid.hours):
        content = (0.0 if t in begins else content) + h * drawn[t]
        stored[t] = content
    return stored
