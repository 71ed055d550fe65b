"""What is left to decide about batch machines: the steps each open task may start with, as columns.

A task may start with steps in its window that follow the task before it, end inside the grid and the production
day, and that nobody has decided to keep free; where a start has been announced, it is the only one left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dispatch.assets._tasks import (
    EPS_H,
    Progress,
    Task,
    earliest_starts,
    may_wait,
    progress_of,
    step_starts,
    tasks_of,
    window_ends,
)
from dispatch.block import Context
from vpp.domain.portfolio import Asset
from vpp.domain.time import Array


@dataclass(frozen=True)
class Line:
    """One machine on the grid: its tasks, where it stands, and per open task the steps it may start with."""

    asset: Asset
    tasks: tuple[Task, ...]
    at: Progress
    steps: Mapping[int, NDArray[np.intp]]
    waits: Mapping[int, bool]
    ends: Array
    available: bool
    running_mw: Array
    resets: Array

    @property
    def open(self) -> range:
        return range(self.at.first_open, len(self.tasks))


def line_of(asset: Asset, context: Context) -> Line:
    """What is left to decide about `asset`."""
    grid, state = context.grid, context.states[asset.id]
    starts, horizon_h = step_starts(grid), float(grid.hours.sum())
    tasks = tasks_of(asset.params, grid)
    at = progress_of(tasks, state.stored_mwh, state.on, state.minutes_in_state)
    ends = window_ends(tasks, at, grid, asset.notice.total_seconds() / 3600.0)
    soonest = earliest_starts(tasks, at, grid, 0.0)
    decided = np.asarray(context.committed.get(asset.id, np.full(grid.n, -1)))
    steps, waits = {}, {}
    for k in range(at.first_open, len(tasks)):
        task = tasks[k]
        last_h = min(ends[k], horizon_h - task.length_h, task.over_h - task.length_h)
        may = (starts >= soonest[k] - EPS_H) & (starts <= last_h + EPS_H) & (decided != 0) & state.available
        called = np.flatnonzero(may & (decided == 1))
        steps[k] = called[:1] if k == at.first_open and called.size else np.flatnonzero(may)
        waits[k] = may_wait(task, float(ends[k]), grid)
    runs = at.running is not None and state.available
    running = tasks[at.running].power_mw(at.started_h, grid) if runs and at.running is not None else np.zeros(grid.n)
    days = {t.day_h for t in tasks if t.day_h > -EPS_H}
    resets = np.zeros(grid.n)
    resets[[int(np.argmax(starts >= d - EPS_H)) for d in days if (starts >= d - EPS_H).any()]] = 1.0
    return Line(asset, tuple(tasks), at, steps, waits, ends, state.available, running, resets)


@dataclass(frozen=True)
class Starts:
    """All start columns of a fleet: column c starts the open task `task[c]` (counted over all) with step `step[c]`."""

    lines: tuple[Line, ...]
    owner: NDArray[np.intp]
    number: NDArray[np.intp]
    task: NDArray[np.intp]
    step: NDArray[np.intp]

    def task_at(self, j: int) -> Task:
        """The j-th open task."""
        return self.lines[int(self.owner[j])].tasks[int(self.number[j])]

    def columns(self, j: int) -> slice:
        """Columns of the j-th open task."""
        return slice(*np.searchsorted(self.task, [j, j + 1]))


def starts_of(fleet: Sequence[Asset], context: Context) -> Starts:
    lines = tuple(line_of(a, context) for a in fleet)
    pairs = [(i, k) for i, line in enumerate(lines) for k in line.open]
    steps = [lines[i].steps[k] for i, k in pairs]
    task = np.repeat(np.arange(len(pairs)), [s.size for s in steps])
    owner, number = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
    return Starts(lines, owner, number, task, np.concatenate([np.empty(0, dtype=np.intp), *steps]))
