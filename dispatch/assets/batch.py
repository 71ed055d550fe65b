"""Batch machine: tasks with a fixed power profile that start in a window, in order, and run through.

A furnace makes heats for a caster, those of one job in one sequence; a rolling line makes campaigns with set-up
between them. With a binary u[k,s] that task k starts with step s (a[s] its begin), the mean profile power P_k[s,t]
of that start in step t, and the power R[t] of the task already running:

    sum over s of u[k,s] + missed[k] + later[k] = 1        (s in the window; later where it may wait past the grid)
    sum over s <= t of u[k+1,s]  <=  sum over s with a[s] + length_k + pause <= a[t] of u[k,s]    (one at a time)
    and within a job:
    sum over s <= s0 of u[k,s]  <=  sum over t with a[t] <= a[s0] + length_k + max_gap of u[k+1,t]
                                    + broken[k+1] + missed[k+1] (+ later[k+1] where the gap reaches past the grid)
    missed[k] <= missed[k+1], equal where k+1 may wait: it is given up only with those before it
    injection[t] = -R[t] - sum u[k,s] P_k[s,t]
    e[t] = (e[t-1], or 0 at the begin of a production day) + h[t] (energy drawn)
    cost = missed_eur missed + break_eur broken

Every start is a step's begin; profiles are averaged over steps, so any grid keeps their energy. A gap that no step
can keep is kept by the first step that can begin; a window that the machine is too late for ends with the first
start that it and its notice allow. Order rows compare cumulated starts: their matrix is that of a network, so
without gaps and end values the relaxation is exact. Sources: P. M. Castro, L. Sun and I. Harjunkoski,
"Resource-task network formulations for industrial demand side management of a steel plant", Industrial and
Engineering Chemistry Research 52 (36), 2013; the cumulated precedence of N. Christofides, R. Alvarez-Valdes and
J. M. Tamarit, "Project scheduling with resource constraints: a branch and bound approach", European Journal of
Operational Research 29 (3), 1987.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import time
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dispatch.assets import _store
from dispatch.assets._inputs import ids, no_fleet_faults, stored
from dispatch.assets._starts import Starts, starts_of
from dispatch.assets._tasks import EPS_H, gap_end, progress_of, step_starts, tasks_of, told_of
from dispatch.block import INF, AssetResult, Block, Columns, Context, Reader, Rows, stack
from vpp.domain.portfolio import Asset, AssetState, Control
from vpp.domain.time import Array, TimeGrid

NAME = "batch"
INPUTS: tuple[str, ...] = ()
CONTROL: Control = "request"
GENERATES = False
FOLLOWS: Mapping[str, float] = {}
NEVER_OFF = "a task that runs cannot be stopped"
fleet_faults = no_fleet_faults
START, MISSED, LATER, BROKEN, CONTENT, END = range(6)
ONE = np.ones((1, 1))
Part = tuple[int, int, NDArray[Any], float]


class Piece(BaseModel):
    """A part of a profile."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    minutes: int = Field(gt=0, le=1440)
    power_mw: float = Field(gt=0)


class Job(BaseModel):
    """`count` tasks of one profile; each starts between the local times `earliest` and `latest`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: str = Field(min_length=1)
    profile: tuple[Piece, ...] = Field(min_length=1)
    earliest: time
    latest: time
    count: int = Field(default=1, ge=1, le=48)
    missed_eur: float = Field(gt=0)

    @property
    def minutes(self) -> int:
        return sum(piece.minutes for piece in self.profile)


class Params(BaseModel):
    """One machine and the tasks of its production day, in their order; times are local to `zone`.

    `turnaround_min` lies between any two tasks, `setup_min` more between two jobs. Where the next task of the same job
    starts more than `max_gap_min` after the end of one, its sequence breaks, which costs `break_eur`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    jobs: tuple[Job, ...] = Field(min_length=1)
    day_begins: time = time(6)
    turnaround_min: int = Field(default=0, ge=0)
    setup_min: int = Field(default=0, ge=0)
    max_gap_min: int | None = Field(default=None, ge=0)
    break_eur: float = Field(default=0.0, ge=0)
    zone: str = "Europe/Berlin"

    @model_validator(mode="after")
    def _consistent(self) -> Params:
        faults, need = [], -self.turnaround_min
        for k, job in enumerate(self.jobs):
            first, last = (self.minute_of(at) for at in (job.earliest, job.latest))
            need += job.count * (job.minutes + self.turnaround_min) + (self.setup_min if k else 0)
            if first > last:
                faults.append(f"job {job.id}: earliest lies after latest in the production day")
            if last + job.minutes > 1440:
                faults.append(f"job {job.id}: a task that starts at latest runs past the production day")
        if need > 1440:
            faults.append(f"the jobs need {need} minutes, a production day has 1440")
        if len({job.id for job in self.jobs}) < len(self.jobs):
            faults.append("two jobs have the same id")
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError):
            faults.append(f"unknown zone {self.zone}")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def minute_of(self, at: time) -> int:
        """Minutes from the begin of the production day to a local time on a day without a change of clocks."""
        return (at.hour * 60 + at.minute - self.day_begins.hour * 60 - self.day_begins.minute) % 1440

    @property
    def power_mw(self) -> float:
        """The most the machine draws."""
        return max(piece.power_mw for job in self.jobs for piece in job.profile)

    @property
    def day_mwh(self) -> float:
        """Energy of all tasks of a production day."""
        return sum(job.count * piece.minutes / 60.0 * piece.power_mw for job in self.jobs for piece in job.profile)


def block(fleet: Sequence[Asset], context: Context) -> Block:
    """Binaries of the starts, per open task what is missed, waits or breaks, and the energy drawn (n, T).

    Raises DataGap for an asset without a state. A machine out of service stands still.
    """
    initial = stored(fleet, context)
    grid, s = context.grid, starts_of(fleet, context)
    n, steps, count = len(fleet), context.grid.n, len(s.owner)
    missed = np.array([s.task_at(j).missed_eur for j in range(count)])
    waits = np.array([s.lines[s.owner[j]].waits[int(s.number[j])] for j in range(count)], dtype=float)
    broken = np.array([s.lines[i].asset.params.break_eur for i in s.owner])
    end = _store.end_value_columns("end", _store.ends_of(ids(fleet), context), steps, np.zeros(n))
    columns = (
        Columns("start", (1, s.task.size), 0.0, 1.0, integer=s.task.size > 0, term="starts"),
        Columns("missed", (1, count), 0.0, _may_be_missed(s, waits), missed, term="missed_production"),
        Columns("later", (1, count), 0.0, waits, term="missed_production"),
        Columns("broken", (1, count), 0.0, 1.0, broken, term="starts"),
        Columns("content", (n, steps), 0.0, INF, term="stored_energy"),
        end.columns,
    )
    sizes = [c.size for c in columns]
    drawn, running = _drawn(s, grid), np.concatenate([line.running_mw for line in s.lines])
    rows = [_once(s, sizes), *_order(s, grid, sizes, waits), *_gaps(s, grid, sizes)]
    keep = np.array([1.0 - line.resets for line in s.lines])
    begin = np.array([[line.at.content_mwh] for line in s.lines]) if count else np.maximum(initial, 0.0)
    gains = {START: _store.diagonal(np.tile(grid.hours, n)) @ drawn}
    rows.append(
        _store.balance_rows("balance", sizes, CONTENT, gains, begin, keep, running.reshape(n, steps) * grid.hours)
    )
    rows += _store.end_value_rows("end_value", sizes, CONTENT, END, end)
    power = stack(sizes, {START: sp.csr_array(-drawn)}, n * steps)
    return Block(
        NAME, columns, tuple(rows), ids(fleet), power, -running,
        read=_reader(s, sizes, grid), hinted=_hinted(s, sum(sizes), grid),
    )  # fmt: skip


def _drawn(s: Starts, grid: TimeGrid) -> sp.csr_array:
    """(n*T, start columns) mean power drawn per start, MW."""
    edge, steps = np.concatenate([[0.0], np.cumsum(grid.hours)]), grid.n
    profile = np.zeros((s.task.size, steps))
    for j in range(len(s.owner)):
        its = s.columns(j)
        since = edge[None, :] - edge[s.step[its], None]
        profile[its] = np.diff(s.task_at(j).drawn_mwh(since), axis=1) / grid.hours
    column, at = np.nonzero(profile)
    row = s.owner[s.task[column]] * steps + at
    return sp.csr_array((profile[column, at], (row, column)), shape=(len(s.lines) * steps, s.task.size))


def _once(s: Starts, sizes: Sequence[int]) -> Rows:
    """Each open task starts once, is missed, or waits."""
    count = len(s.owner)
    own = sp.csr_array((np.ones(s.task.size), (s.task, np.arange(s.task.size))), shape=(count, s.task.size))
    one = sp.csr_array(sp.eye_array(count))
    return Rows("once", 1.0, 1.0, own=stack(sizes, {START: own, MISSED: one, LATER: one}, count))


def _pairs(s: Starts) -> list[tuple[int, int]]:
    """Open tasks (j, j + 1) of one machine and one production day."""
    return [
        (j, j + 1)
        for j in range(len(s.owner) - 1)
        if s.owner[j] == s.owner[j + 1] and s.task_at(j).day_h == s.task_at(j + 1).day_h
    ]


class _Builder:
    """Rows over the columns of the block, gathered band by band; every row has a lower bound."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.starts = np.concatenate([[0], np.cumsum(sizes)])
        self.row: list[NDArray[np.intp]] = []
        self.column: list[NDArray[np.intp]] = []
        self.value: list[Array] = []
        self.lower: list[Array] = []
        self.count = 0

    def add(self, count: int, parts: Sequence[Part], lower: float = 0.0) -> None:
        """`count` more rows; a part is a group, its first column, a 0/1 pattern (count, columns) and a value."""
        for group, first, pattern, value in parts:
            row, column = np.nonzero(pattern)
            self.row.append(self.count + row)
            self.column.append(self.starts[group] + first + column)
            self.value.append(np.full(row.size, value))
        self.lower.append(np.full(count, lower))
        self.count += count

    def rows(self, label: str) -> list[Rows]:
        if not self.count:
            return []
        entries = np.concatenate(self.row), np.concatenate(self.column)
        shape = (self.count, int(self.starts[-1]))
        own = sp.csr_array((np.concatenate(self.value), entries), shape=shape)
        return [Rows(label, np.concatenate(self.lower), INF, own=own)]


def _may_be_missed(s: Starts, waits: Array) -> Array:
    """(tasks,) 0 for the first open task of a day where it may wait, 1 for all others."""
    after = {follower for _, follower in _pairs(s)}
    return np.array([float(j in after or not waits[j]) for j in range(len(s.owner))])


def _order(s: Starts, grid: TimeGrid, sizes: Sequence[int], waits: Array) -> list[Rows]:
    """The next task starts only after the one before it has ended, and is missed where that one is."""
    starts, order, lost = step_starts(grid), _Builder(sizes), _Builder(sizes)
    for j, follower in _pairs(s):
        lost.add(1, [(MISSED, follower, ONE, 1.0), (MISSED, j, ONE, -1.0)])
        if waits[follower]:
            lost.add(1, [(MISSED, j, ONE, 1.0), (MISSED, follower, ONE, -1.0)])
        mine, its = s.columns(j), s.columns(follower)
        ready = starts[s.step[mine]] + s.task_at(j).length_h + s.task_at(follower).pause_h
        over = ready[None, :] <= starts[s.step[its], None] + EPS_H
        order.add(len(over), [(START, mine.start, over, 1.0), (START, its.start, np.tri(len(over)), -1.0)])
    return order.rows("order") + lost.rows("order_missed")


def _gaps(s: Starts, grid: TimeGrid, sizes: Sequence[int]) -> list[Rows]:
    """The next task of a job starts within the largest gap, or its sequence breaks."""
    starts, gaps = step_starts(grid), _Builder(sizes)
    firsts = {i: int(np.argmax(s.owner == i)) for i in set(s.owner.tolist())}
    for i, j in firsts.items():
        line, most = s.lines[i], s.lines[i].asset.params.max_gap_min
        task = s.task_at(j)
        if most is not None and np.isfinite(line.at.free_h) and task.continues:
            due, inside = gap_end(line.at.free_h, task, most, grid)
            gaps.add(1, _caught(s, j, starts, np.atleast_1d(due), np.atleast_1d(inside)), 1.0)
    for j, follower in _pairs(s):
        most = s.lines[s.owner[j]].asset.params.max_gap_min
        task, mine = s.task_at(follower), s.columns(j)
        if most is None or not task.continues or mine.start == mine.stop:
            continue
        ended = starts[s.step[mine]] + s.task_at(j).length_h
        caught = _caught(s, follower, starts, *gap_end(ended, task, most, grid))
        gaps.add(len(ended), [(START, mine.start, np.tri(len(ended)), -1.0), *caught])
    return gaps.rows("gap")


def _caught(s: Starts, j: int, starts: Array, due_h: Array, inside: NDArray[np.bool_]) -> list[Part]:
    """Parts of the rows (R,) that ask for a start of task j by `due_h`, or for what excuses it."""
    its, one = s.columns(j), np.ones((due_h.size, 1))
    begun = starts[None, s.step[its]] <= due_h[:, None] + EPS_H
    excused = [(BROKEN, j, one, 1.0), (MISSED, j, one, 1.0), (LATER, j, ~inside[:, None], 1.0)]
    return [(START, its.start, begun, 1.0), *excused]


def _hinted(s: Starts, size: int, grid: TimeGrid) -> Callable[[Mapping[str, Array]], Array | None]:
    """Starts where a commitment first has the machine on that the next task may start with."""

    def hinted(commitment: Mapping[str, Array]) -> Array | None:
        starts, x = step_starts(grid), np.zeros(size)
        for i, line in enumerate(s.lines):
            if line.asset.id not in commitment:
                return None
            on, ready = commitment[line.asset.id] > 0.5, -INF
            for j in np.flatnonzero(s.owner == i):
                its, task = s.columns(int(j)), s.task_at(int(j))
                found = np.flatnonzero(on[s.step[its]] & (starts[s.step[its]] >= ready + task.pause_h - EPS_H))
                if found.size:
                    x[its.start + found[0]] = 1.0
                    ready = starts[s.step[its.start + found[0]]] + task.length_h
        return x

    return hinted


def _reader(s: Starts, sizes: Sequence[int], grid: TimeGrid) -> Reader:
    cuts, steps = np.cumsum(sizes), grid.n

    def read(x: Array, duals: Mapping[str, Array]) -> Mapping[str, AssetResult]:
        begun, content = x[: sizes[START]] > 0.5, np.split(x, cuts)[CONTENT].reshape(-1, steps)
        values = _store.marginal_value(duals, "balance", len(s.lines), steps)
        results = {}
        for i, line in enumerate(s.lines):
            chosen = {
                int(s.number[j]): int(s.step[c])
                for j in np.flatnonzero(s.owner == i)
                for c in s.columns(int(j)).start + np.flatnonzero(begun[s.columns(int(j))])
            }
            told = told_of(line.tasks, line.at, line.ends, chosen, line.asset.params.max_gap_min, grid)
            results[line.asset.id] = AssetResult(told.on * line.available, content[i], values[i], told.decisions())
        return results

    return read


def default_mw(asset: Asset, state: AssetState | None, inputs: Mapping[str, Array], grid: TimeGrid) -> Array:
    """Every task as early as it can be, to the minute, (T,); nothing for a machine out of service."""
    if state is not None and not state.available:
        return np.zeros(grid.n)
    tasks = tasks_of(asset.params, grid)
    at = progress_of(tasks, *((state.stored_mwh, state.on, state.minutes_in_state) if state else (0.0, False, None)))
    drawn = np.zeros(grid.n) if at.running is None else tasks[at.running].power_mw(at.started_h, grid)
    free = at.free_h
    for k in range(at.first_open, len(tasks)):
        follows = k > 0 and tasks[k - 1].day_h == tasks[k].day_h
        begin = max(0.0, tasks[k].earliest_h, free + tasks[k].pause_h if follows else 0.0)
        if begin + tasks[k].length_h > tasks[k].over_h + EPS_H:
            continue
        drawn, free = drawn + tasks[k].power_mw(begin, grid), begin + tasks[k].length_h
    return np.asarray(-drawn, dtype=float)


def window(params: Params) -> tuple[float, float] | None:
    """From a day that begins to one whose tasks are all done, MWh put into them."""
    return 0.0, params.day_mwh


def store(asset: Asset) -> tuple[str, float] | None:
    """The day's tasks, MWh of electricity."""
    return asset.id, float(asset.params.day_mwh)


def reach_mw(params: Params) -> tuple[float, float] | None:
    """The largest power to standing still."""
    return -params.power_mw, 0.0


def merit_mw(
    asset: Asset, default: Array, inputs: Mapping[str, Array], grid: TimeGrid, price_eur_per_mwh: Array
) -> Array:
    """As many hours as the tasks take, in the cheapest steps, (T,)."""
    running = float(np.sum((default < 0.0) * grid.hours))
    order = np.argsort(price_eur_per_mwh, kind="stable")
    chosen = np.zeros(grid.n, dtype=bool)
    chosen[order] = np.cumsum(grid.hours[order]) <= running + EPS_H
    return np.asarray(-asset.params.power_mw * chosen, dtype=float)
