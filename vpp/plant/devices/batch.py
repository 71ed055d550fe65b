"""Batch machine: a task, once started, draws its profile minute by minute and runs through whatever is asked.

The day's tasks run in the order of the jobs; the next one starts no sooner than its `earliest` and `turnaround_min`
(and `setup_min` between jobs) after the one before, and only where it ends in the production day. The content is
the energy put into the day's tasks; it begins at nothing at `day_begins`. An order to run starts at most one task,
and one that comes while a task runs starts none. People answer requests: with probability `failure` a start comes
late by up to a quarter of an hour. By default every task starts as early as it can. Discrete tasks with fixed
profiles as in Castro, Sun and Harjunkoski, Ind. Eng. Chem. Res. 52(36), 2013.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from pydantic import Field

from vpp.domain.command import Quantity
from vpp.plant.device import HOURS, Inputs, Order, PhysicalParams, State
from vpp.plant.devices.mill import Crew
from vpp.plant.making import Making

INPUTS: tuple[str, ...] = ()
STORES = True
DONE_MWH = 1e-3


class PieceParams(PhysicalParams):
    """A part of a profile."""

    minutes: int = Field(gt=0)
    power_mw: float = Field(gt=0)


class JobParams(PhysicalParams):
    """`count` tasks of one profile, none before the local time `earliest`."""

    id: str
    profile: tuple[PieceParams, ...] = Field(min_length=1)
    earliest: time
    count: int = Field(1, ge=1)


class Params(PhysicalParams):
    """The tasks of a production day."""

    jobs: tuple[JobParams, ...] = Field(min_length=1)
    day_begins: time = time(6)
    turnaround_min: int = Field(0, ge=0)
    setup_min: int = Field(0, ge=0)
    zone: str = "Europe/Berlin"


@dataclass(frozen=True)
class Task:
    """One task of a day: MW minute by minute, and when it may start, minutes since the Unix epoch."""

    mw: tuple[float, ...]
    earliest: int
    pause: int

    @property
    def energy(self) -> float:
        return sum(self.mw) * HOURS


@dataclass(frozen=True)
class Day:
    """A production day from minute `begin` to minute `over`."""

    begin: int
    over: int
    tasks: tuple[Task, ...]


class Batch:
    """One machine; `details` are the tasks started today and those of the day."""

    accepts: frozenset[Quantity] = frozenset({"on"})
    details: tuple[str, ...] = ("started", "tasks")

    def __init__(self, params: Params, state: State, crew: Crew) -> None:
        self.params = params
        self.state = state
        self._crew = crew
        self._days = lru_cache(maxsize=8)(self._make)
        self._day: Day | None = None
        self._next, self._elapsed, self._free = 0, -1, 0
        self._answered, self._late = -1, -1

    def step(self, order: Order | None, inputs: Inputs, minute: int) -> None:
        """Draw the running task's minute, or start the next one."""
        self._turn(minute)
        state = self.state
        self._answer(order)
        if self._elapsed < 0 and self._ready(minute) and (order is None or self._late == 0):
            self._elapsed, self._late = 0, -1
            self._next += 1
        elif self._late > 0:
            self._late -= 1
        power = 0.0
        if self._elapsed >= 0 and self._day is not None:
            running = self._day.tasks[self._next - 1].mw
            power, self._elapsed = running[self._elapsed], self._elapsed + 1
            if self._elapsed == len(running):
                self._elapsed, self._free = -1, minute + 1
        state.power_mw = -power
        state.stored_mwh += power * HOURS
        state.count(power > 0.0)

    def _answer(self, order: Order | None) -> None:
        """Minutes until the start that an order asks for; -1 for none. One that finds a task running is spent."""
        if order is None:
            self._late = -1
        elif order.number != self._answered:
            self._answered = order.number
            wanted = order.value >= 0.5 and self._elapsed < 0
            self._late = self._crew.late_minutes(order.number) if wanted else -1

    def _ready(self, minute: int) -> bool:
        day = self._day
        if day is None or self._next == len(day.tasks):
            return False
        task = day.tasks[self._next]
        rested = minute >= self._free + task.pause or self._next == 0
        return minute >= task.earliest and rested and minute + len(task.mw) <= day.over

    def _turn(self, minute: int) -> None:
        """Take up the day that holds the minute; its first content says how far it is."""
        if self._day is not None and minute < self._day.over:
            return
        began = self._day is not None
        self._day = self._days(self._date(minute))
        if began or minute == self._day.begin:
            self.state.stored_mwh, self._next, self._elapsed = 0.0, 0, -1
            return
        left, self._free = self.state.stored_mwh, minute - (0 if self.state.on else self.state.minutes_in_state)
        for task in self._day.tasks:
            if left <= DONE_MWH:
                break
            self._next += 1
            if left < task.energy - DONE_MWH:
                drawn = [sum(task.mw[: m + 1]) * HOURS for m in range(len(task.mw))]
                self._elapsed = sum(done <= left + 1e-9 for done in drawn)
                break
            left -= task.energy

    def _date(self, minute: int) -> date:
        """The local date on which the production day of a minute begins."""
        local = datetime.fromtimestamp(60 * minute, UTC).astimezone(ZoneInfo(self.params.zone))
        return local.date() - timedelta(days=int(local.time() < self.params.day_begins))

    def _make(self, day: date) -> Day:
        p = self.params

        def moment(days: int, at: time) -> int:
            return int(datetime.combine(day + timedelta(days=days), at, ZoneInfo(p.zone)).timestamp()) // 60

        tasks: list[Task] = []
        last = None
        for job in p.jobs:
            mw = tuple(piece.power_mw for piece in job.profile for _ in range(piece.minutes))
            for _ in range(job.count):
                pause = p.turnaround_min + (p.setup_min if last not in (None, job.id) else 0)
                tasks.append(Task(mw, moment(int(job.earliest < p.day_begins), job.earliest), pause))
                last = job.id
        return Day(moment(0, p.day_begins), moment(1, p.day_begins), tuple(tasks))

    def steady_mw(self, inputs: Inputs, minute: int) -> float:
        """Every task of the day as early as it can be."""
        day, free = self._days(self._date(minute)), 0
        for task in day.tasks:
            start = max(task.earliest, free + task.pause)
            if start <= minute < start + len(task.mw) <= day.over:
                return -task.mw[minute - start]
            free = start + len(task.mw)
        return 0.0

    def detail(self) -> tuple[float, ...]:
        return (float(self._next), float(len(self._day.tasks) if self._day else 0))


def build(making: Making) -> Batch:
    """From its parameters, in its initial state."""
    chance = making.randomness
    crew = Crew(making.seed, f"crew:{making.id}", chance.request_failure, chance.request_share_low)
    return Batch(Params.model_validate(making.params), making.state, crew)
