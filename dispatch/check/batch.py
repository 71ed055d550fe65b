"""Batch machine, recomputed from the starts that the plan tells:

    P = -(power of the task that runs already + profiles of those that start, averaged over the steps)
    starts in the order of the jobs, each in its window, after the end of the one before and its pause
    e[t] = (e[t-1], or 0 at the begin of a production day) + h * energy drawn

The window of a task that the machine is too late for ends with the first start it can make after its notice. A gap
longer than allowed between tasks of one job must be told as broken, and tasks that can no longer start as missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from dispatch.check.tools import TOLERANCE_MW, Plan, Recomputed, beyond, minutes_before
from vpp.domain.errors import Fault
from vpp.domain.time import Array

EPS_H = 1e-6
DONE_MWH = 1e-3


@dataclass
class _Run:
    """One task of a production day; hours from the start of the grid."""

    job: Any
    day: tuple[float, float]
    first_h: float
    last_h: float
    pause_h: float
    before_mwh: float
    begun_h: float | None = None

    @property
    def hours(self) -> float:
        return float(self.job.minutes) / 60.0

    @property
    def energy(self) -> float:
        return float(sum(piece.minutes / 60.0 * piece.power_mw for piece in self.job.profile))

    def power(self, plan: Plan) -> Array:
        """(T,) mean power over each step, piece by piece."""
        mean, at = np.zeros(plan.grid.n), self.begun_h or 0.0
        begin = minutes_before(plan.grid) / 60.0
        for piece in self.job.profile:
            until = at + piece.minutes / 60.0
            covered = np.minimum(begin + plan.grid.hours, until) - np.maximum(begin, at)
            mean += piece.power_mw * np.maximum(covered, 0.0) / plan.grid.hours
            at = until
        return mean


def recompute(plan: Plan) -> Recomputed:
    """The machine from its first content on."""
    name, grid = plan.asset.id, plan.grid
    if plan.on is None:
        return Recomputed(None, (Fault(name, "commitment", "missing"),))
    runs, begin = _runs(plan), minutes_before(grid) / 60.0
    content, open_runs, running = _progress(plan, runs)
    faults, told = [], np.asarray(plan.decision("start"))
    faults += beyond(name, "start", np.minimum(np.abs(told), np.abs(told - 1.0)), 0.0, 0.0, 1e-6)
    latest = _latest(plan, open_runs, running)
    faults += _starts(plan, open_runs, running, latest)
    active = [r for r in [*([running] if running else []), *open_runs] if r.begun_h is not None]
    drawn = sum((r.power(plan) for r in active), np.zeros(grid.n)) * plan.state.available
    on = np.zeros(grid.n)
    for r in active:
        since = begin - (r.begun_h or 0.0)
        on[(since >= -EPS_H) & (since < r.hours - EPS_H)] = plan.state.available
    faults += beyond(name, "power_mw", plan.power_mw, -drawn, -drawn, TOLERANCE_MW)
    faults += beyond(name, "commitment", plan.on, on, on, 1e-6)
    broken, missed = _broken(plan, runs, open_runs, latest), _missed(plan, open_runs, latest)
    for key, expected in (("broken", broken), ("missed", missed)):
        faults += beyond(name, key, plan.decision(key), expected, expected, 1e-6)
    days = [r.day[0] for r in runs if r.day[0] > -EPS_H]
    stored = np.empty(grid.n)
    for t, h in enumerate(grid.hours):
        resets = any(begin[t] >= d - EPS_H and (t == 0 or begin[t - 1] < d - EPS_H) for d in days)
        content = (0.0 if resets else content) + h * drawn[t]
        stored[t] = content
    return Recomputed(stored, tuple(faults), {"start": (np.rint(told), 1e-6)})


def _runs(plan: Plan) -> list[_Run]:
    """Every task of every production day that touches the grid."""
    q, start, horizon_h = plan.asset.params, plan.grid.start, float(plan.grid.hours.sum())
    zone, found = ZoneInfo(q.zone), []
    day = start.astimezone(zone).date() - timedelta(days=2)

    def hours(days: int, at: Any) -> float:
        moment = datetime.combine(day + timedelta(days=days), at, zone).astimezone(ZoneInfo("UTC"))
        return (moment - start).total_seconds() / 3600.0

    while hours(0, q.day_begins) < horizon_h - EPS_H:
        whole = hours(0, q.day_begins), hours(1, q.day_begins)
        before, last = 0.0, None
        for job in q.jobs if whole[1] > EPS_H else ():
            for _ in range(job.count):
                first, final = (hours(int(at < q.day_begins), at) for at in (job.earliest, job.latest))
                pause = q.turnaround_min + q.setup_min * (last not in (None, job.id))
                found.append(_Run(job, whole, first, final, pause / 60.0, before))
                before, last = before + found[-1].energy, job.id
        day += timedelta(days=1)
    return found


def _progress(plan: Plan, runs: list[_Run]) -> tuple[float, list[_Run], _Run | None]:
    """Content at the start, the tasks still to start, and the one that runs."""
    today = [r for r in runs if r.day[0] < -EPS_H]
    content = max(plan.state.stored_mwh, 0.0) if today else 0.0
    for k, r in enumerate(today):
        into = content - r.before_mwh
        if into >= r.energy - DONE_MWH:
            r.begun_h = -np.inf
        elif into > DONE_MWH:
            left, elapsed = into, 0.0
            for piece in r.job.profile:
                part = min(left, piece.minutes / 60.0 * piece.power_mw)
                left, elapsed = left - part, elapsed + part / piece.power_mw
            r.begun_h = -elapsed
            return content, runs[k + 1 :], r
        else:
            break
    return content, [r for r in runs if r.begun_h is None], None


def _ended(plan: Plan, runs: list[_Run], run: _Run) -> float | None:
    """When the task before `run` in its sequence has ended; None where it has not, or there is none."""
    k = runs.index(run)
    if k == 0 or runs[k - 1].day != run.day or runs[k - 1].job is not run.job or runs[k - 1].begun_h is None:
        return None
    begun = runs[k - 1].begun_h
    if begun == -np.inf:
        return 0.0 if plan.state.on else -plan.state.minutes_in_state / 60.0
    return float(begun or 0.0) + runs[k - 1].hours


def _latest(plan: Plan, open_runs: list[_Run], running: _Run | None) -> dict[int, float]:
    """The latest start of each open task, by its identity."""
    begin, notice_h = minutes_before(plan.grid) / 60.0, plan.asset.notice.total_seconds() / 3600.0
    found: dict[int, float] = {}
    free, day = -np.inf, None
    if running is not None:
        free, day = float(running.begun_h or 0.0) + running.hours, running.day
    elif open_runs and open_runs[0].before_mwh > 0.0:
        free = 0.0 if plan.state.on else -plan.state.minutes_in_state / 60.0
        day = open_runs[0].day
    for r in open_runs:
        soonest = max(notice_h, r.first_h, free + r.pause_h if r.day == day else -np.inf)
        later = begin[begin >= soonest - EPS_H]
        soonest = float(later[0]) if later.size else max(soonest, float(plan.grid.hours.sum()))
        found[id(r)] = max(r.last_h, soonest)
        free, day = soonest + r.hours, r.day
    return found


def _starts(plan: Plan, open_runs: list[_Run], running: _Run | None, latest: dict[int, float]) -> list[Fault]:
    """Gives every start its task, and the faults of doing so."""
    name, begin, faults = plan.asset.id, minutes_before(plan.grid) / 60.0, []
    free = float(running.begun_h or 0.0) + running.hours if running else -np.inf
    for t in np.flatnonzero(plan.decision("start") > 0.5):
        due = [r for r in open_runs if r.begun_h is None and r.day[0] <= begin[t] + EPS_H < r.day[1]]
        if not due or not plan.state.available:
            faults.append(Fault(name, "start", f"step {t}: no task is left to start"))
            continue
        r = due[0]
        pause = r.pause_h if free > r.day[0] else 0.0
        if not r.first_h - EPS_H <= begin[t] <= latest[id(r)] + EPS_H:
            faults.append(Fault(name, "window", f"step {t}: {r.job.id} starts at {begin[t]:.3f} h outside its window"))
        if begin[t] < free + pause - EPS_H:
            faults.append(Fault(name, "order", f"step {t}: {r.job.id} starts before the one before it is over"))
        if begin[t] + r.hours > r.day[1] + EPS_H:
            faults.append(Fault(name, "window", f"step {t}: {r.job.id} runs past the production day"))
        r.begun_h = float(begin[t])
        free = r.begun_h + r.hours
    return faults


def _waits(plan: Plan, run: _Run, latest_h: float) -> bool:
    """Whether it can still start in time when it does not end inside the grid."""
    return min(latest_h, run.day[1] - run.hours) + run.hours > float(plan.grid.hours.sum()) + EPS_H


def _broken(plan: Plan, runs: list[_Run], open_runs: list[_Run], latest: dict[int, float]) -> Array:
    """(T,) gaps that are too long, at the start that comes late or at the step in which the gap ends."""
    most, begin, found = plan.asset.params.max_gap_min, minutes_before(plan.grid) / 60.0, np.zeros(plan.grid.n)
    horizon_h = float(plan.grid.hours.sum())
    for r in open_runs if most is not None else ():
        ended = _ended(plan, runs, r)
        if ended is None or (r.begun_h is None and not _waits(plan, r, latest[id(r)])):
            continue
        possible = begin[begin >= ended + r.pause_h - EPS_H]
        due = max(ended + most / 60.0, float(possible[0]) if possible.size else horizon_h)
        if r.begun_h is not None and r.begun_h > due + EPS_H:
            found[int(np.argmin(np.abs(begin - r.begun_h)))] += 1.0
        elif r.begun_h is None and due < horizon_h - EPS_H:
            found[int(np.flatnonzero(begin <= due + EPS_H)[-1])] += 1.0
    return found


def _missed(plan: Plan, open_runs: list[_Run], latest: dict[int, float]) -> Array:
    """(T,) tasks that do not start and cannot wait, and those after them, at the first step of their day."""
    found, lost, begin = np.zeros(plan.grid.n), set(), minutes_before(plan.grid) / 60.0
    for r in open_runs:
        if r.begun_h is None and (r.day in lost or not _waits(plan, r, latest[id(r)])):
            lost.add(r.day)
            found[int(np.argmax(begin >= r.day[0] - EPS_H))] += 1.0
    return found
