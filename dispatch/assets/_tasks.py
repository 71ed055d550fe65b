"""The tasks of a batch machine on a time grid: their windows, their power profiles, and how far the machine is.

A production day begins at the local `day_begins`; its tasks run in the order of the jobs. The energy put into the
day's tasks so far says which task runs and how far it is, because a task once started runs through:

    task k is done where content >= E_1 + ... + E_k, and runs where the content lies between two such sums

The earliest possible start of a task follows from the one before it; on a grid it is the next step that begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from vpp.domain.time import Array, TimeGrid, local_time

EPS_H = 1e-6
DONE_MWH = 1e-3
INF = float("inf")


@dataclass(frozen=True)
class Task:
    """One run of a job; times in hours from the start of the grid, profile as hours and MW of its pieces.

    `day_h` and `over_h` bound its production day, `earliest_h` and `latest_h` its start; `pause_h` lies before
    it; `before_mwh` is the energy of the day's tasks before it; `continues` the sequence of its job.
    """

    name: str
    day_h: float
    over_h: float
    earliest_h: float
    latest_h: float
    pause_h: float
    piece_h: Array
    piece_mw: Array
    before_mwh: float
    missed_eur: float
    continues: bool

    @property
    def length_h(self) -> float:
        return float(self.piece_h.sum())

    @property
    def energy_mwh(self) -> float:
        return float(self.piece_h @ self.piece_mw)

    def drawn_mwh(self, elapsed_h: Array | float) -> Array:
        """Energy drawn by `elapsed_h` after the start, same shape."""
        edge = np.concatenate([[0.0], np.cumsum(self.piece_h)])
        drawn = np.concatenate([[0.0], np.cumsum(self.piece_h * self.piece_mw)])
        return np.asarray(np.interp(elapsed_h, edge, drawn), dtype=float)

    def elapsed_h(self, drawn_mwh: float) -> float:
        """Hours since the start of a task that has drawn so much."""
        edge = np.concatenate([[0.0], np.cumsum(self.piece_h)])
        return float(np.interp(drawn_mwh, np.concatenate([[0.0], np.cumsum(self.piece_h * self.piece_mw)]), edge))

    def power_mw(self, start_h: float, grid: TimeGrid) -> Array:
        """(T,) mean power over each step when it starts at `start_h`."""
        edge = np.concatenate([[0.0], np.cumsum(grid.hours)])
        mean: Array = np.diff(self.drawn_mwh(edge - start_h)) / grid.hours
        return mean


def tasks_of(params: Any, grid: TimeGrid) -> list[Task]:
    """The tasks of every production day that touches the grid, day by day in the order of the jobs."""
    zone, horizon_h = ZoneInfo(params.zone), float(grid.hours.sum())

    def hours(moment: datetime) -> float:
        return (moment - grid.start).total_seconds() / 3600.0

    found: list[Task] = []
    day = grid.start.astimezone(zone).date() - timedelta(days=1)
    while (begins := hours(local_time(day, params.day_begins, params.zone))) < horizon_h - EPS_H:
        over = hours(local_time(day + timedelta(days=1), params.day_begins, params.zone))
        if over > EPS_H:
            before, last = 0.0, None
            for job, run in [(j, r) for j in params.jobs for r in range(j.count)]:
                on = [day + timedelta(days=int(at < params.day_begins)) for at in (job.earliest, job.latest)]
                first, last_start = (hours(local_time(d, at, params.zone))
                                     for d, at in zip(on, (job.earliest, job.latest), strict=True))  # fmt: skip
                pause = params.turnaround_min + (params.setup_min if last is not None and last != job.id else 0)
                lengths = np.array([piece.minutes / 60.0 for piece in job.profile])
                powers = np.array([piece.power_mw for piece in job.profile])
                name = f"{job.id}.{run + 1}"
                task = Task(
                    name, begins, over, first, last_start, pause / 60.0, lengths, powers, before, job.missed_eur,
                    run > 0,
                )  # fmt: skip
                found.append(task)
                before, last = before + task.energy_mwh, job.id
        day += timedelta(days=1)
    return found


def step_starts(grid: TimeGrid) -> Array:
    """(T,) hours from the start of the grid to the start of each step."""
    return np.concatenate([[0.0], np.cumsum(grid.hours)[:-1]])


@dataclass(frozen=True)
class Progress:
    """Where a machine stands at the start: tasks done, the one that runs and since when, and when it is free."""

    done: int
    running: int | None
    started_h: float
    free_h: float
    content_mwh: float

    @property
    def first_open(self) -> int:
        return self.done + (self.running is not None)


def progress_of(tasks: Sequence[Task], stored_mwh: float, on: bool, minutes_in_state: float | None) -> Progress:
    """The progress that the content tells; a content from before a new day is nothing.

    A machine that stands is free since it was switched off, where that is known.
    """
    today = [k for k, task in enumerate(tasks) if task.day_h < -EPS_H]
    content = max(stored_mwh, 0.0) if today else 0.0
    done = 0
    for k in today:
        task = tasks[k]
        into = content - task.before_mwh
        if into >= task.energy_mwh - DONE_MWH:
            done = k + 1
        elif into > DONE_MWH:
            started = -task.elapsed_h(into)
            return Progress(done, k, started, started + task.length_h, content)
    since = -INF if minutes_in_state is None else -minutes_in_state / 60.0
    return Progress(done, None, 0.0, (0.0 if on else since) if done else -INF, content)


def earliest_starts(tasks: Sequence[Task], at: Progress, grid: TimeGrid, base_h: float) -> Array:
    """(tasks,) the first step start at which each open task can begin, none before `base_h`; past the grid as it is."""
    starts = step_starts(grid)
    found, free = np.full(len(tasks), -INF), at.free_h
    for k in range(at.first_open, len(tasks)):
        task = tasks[k]
        follows = k > 0 and tasks[k - 1].day_h == task.day_h
        wanted = max(base_h, task.earliest_h, free + task.pause_h if follows else -INF)
        later = starts[starts >= wanted - EPS_H]
        found[k] = later[0] if later.size else max(wanted, float(grid.hours.sum()))
        free = found[k] + task.length_h
    return found


def window_ends(tasks: Sequence[Task], at: Progress, grid: TimeGrid, notice_h: float) -> Array:
    """(tasks,) the latest start of each open task: that of its window, or the earliest possible one after the notice
    where the machine is too late for its window."""
    return np.maximum([t.latest_h for t in tasks], earliest_starts(tasks, at, grid, notice_h))


def may_wait(task: Task, latest_h: float, grid: TimeGrid) -> bool:
    """Whether a task can still start in time when it does not end inside the grid."""
    horizon_h = float(grid.hours.sum())
    return min(latest_h, task.over_h - task.length_h) > horizon_h - task.length_h + EPS_H


@dataclass(frozen=True)
class Told:
    """What a choice of starts means, (T,) each: on, the starts, sequences that break, tasks that are missed."""

    on: Array
    start: Array
    broken: Array
    missed: Array

    def decisions(self) -> dict[str, Array]:
        return {"start": self.start, "broken": self.broken, "missed": self.missed}


def told_of(
    tasks: Sequence[Task], at: Progress, ends: Array, chosen: Mapping[int, int], max_gap_min: int | None, grid: TimeGrid
) -> Told:
    """The consequences of starting the tasks `chosen` (task -> step); `ends` are the latest starts.

    A day's tasks are missed from the first that neither starts nor may wait; a break stands at the start that comes
    too late, or at the step in which the gap ends.
    """
    starts, told = step_starts(grid), Told(*(np.zeros(grid.n) for _ in range(4)))
    if at.running is not None:
        told.on[starts < at.free_h - EPS_H] = 1.0
    free, lost_day = at.free_h, -INF
    for k in range(at.first_open, len(tasks)):
        task, t = tasks[k], chosen.get(k)
        if t is None and (lost_day == task.day_h or not may_wait(task, float(ends[k]), grid)):
            lost_day = task.day_h
            told.missed[int(np.argmax(starts >= task.day_h - EPS_H))] += 1.0
        elif max_gap_min is not None and task.continues and np.isfinite(free):
            due, inside = gap_end(free, task, max_gap_min, grid)
            if t is not None and starts[t] > due + EPS_H:
                told.broken[t] += 1.0
            elif t is None and inside:
                told.broken[int(np.searchsorted(starts, due + EPS_H)) - 1] += 1.0
        free = -INF
        if t is not None:
            free = starts[t] + task.length_h
            told.start[t] += 1.0
            told.on[(starts >= starts[t] - EPS_H) & (starts < free - EPS_H)] = 1.0
    return told


def gap_end(
    ended_h: Array | float, task: Task, max_gap_min: int, grid: TimeGrid
) -> tuple[Array, NDArray[np.bool_]]:  # fmt: skip
    """When the task must have started after the end of the one before it, and whether that lies inside the grid.

    Same shape as `ended_h`.
    """
    starts, horizon_h = step_starts(grid), float(grid.hours.sum())
    next_step = np.searchsorted(starts, np.asarray(ended_h) + task.pause_h - EPS_H)
    due: Array = np.maximum(np.asarray(ended_h) + max_gap_min / 60.0, np.append(starts, horizon_h)[next_step])
    return due, due < horizon_h - EPS_H
