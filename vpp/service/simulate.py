"""The closed loop on a virtual plant: forecast, bid, plan, check, command, meter, settle, day after day.

In lockstep the plant advances only when told, as fast as the loop runs. With a speed the plant's clock
runs by itself; the loop follows it, records the cycles it missed, and may be killed and started again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import numpy as np

from adapters.exclusive import hold
from adapters.plant_link import PlantLink
from grid_models.model import GridModel
from vpp.domain.errors import NotFound
from vpp.domain.portfolio import AssetState
from vpp.domain.schedule import Schedule
from vpp.domain.stage import DAY_AHEAD
from vpp.domain.time import MINUTE, QUARTER, floor_to, local_midnight, local_time, rfc3339, utc
from vpp.service.bootstrap import load_checked, open_system
from vpp.service.capacity import reserve_issues
from vpp.service.desk import PLAN, Desk
from vpp.service.event_clock import EventClock
from vpp.service.learning import Learning, learn, recall_models
from vpp.service.loop import Loop
from vpp.service.settings import Settings
from vpp.service.system import System
from vpp.service.virtual import HISTORY_DAYS, PlantPlan, find, launch, wire

RECORD = "simulation"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Request:
    """What to simulate; `speed` in simulated seconds per wall second, None for lockstep."""

    portfolio: Path
    start: date
    days: int
    seed: int
    speed: float | None
    database: Path


@dataclass
class Simulation:
    """A prepared closed loop: the service, its plant, the state everything started from, and the record's lock."""

    request: Request
    system: System
    grid: GridModel | None
    loop: Loop
    link: PlantLink
    start: datetime
    end: datetime
    initial: Mapping[str, AssetState]
    resumed: bool
    lock: IO[bytes]

    @property
    def directory(self) -> Path:
        return plant_directory(self.request.database)

    def train_intraday(self, progress: Callable[[int, int], None]) -> None:
        """Learn what was known at the start; a resumed simulation has its models in its record."""
        if self.system.forecaster.trained_until("intraday") is None:
            learn(self.system, "intraday", self.system.history(self.start), progress)


def plant_directory(database: Path) -> Path:
    """Where the plant of a database keeps its files."""
    return database.with_name(database.name + ".plant")


def prepare(
    request: Request, settings: Settings, progress: Progress, *, intraday_models: bool = True
) -> Simulation:
    """Open or resume: train, sell and plan the first day, start the plant in the state that plan ends with.

    Without `intraday_models` the seasonal naive stands in for them until they are trained. Raises InputFaults where
    another process runs the record, NotFound where it holds another simulation or its plant is gone.
    """
    lock = hold(request.database)
    try:
        simulation = _prepared(request, settings, progress, lock)
    except BaseException:
        lock.close()
        raise
    if intraday_models:
        simulation.train_intraday(lambda n, of: progress("intraday models", n, of))
    return simulation


def _prepared(request: Request, settings: Settings, progress: Progress, lock: IO[bytes]) -> Simulation:
    loaded, grid = load_checked(request.portfolio, settings.cache_dir)
    zone = loaded.portfolio.zone
    start = local_midnight(request.start, zone)
    end = local_midnight(request.start + timedelta(days=request.days), zone)
    system = open_system(request.portfolio, f"sqlite:///{request.database.resolve()}", settings, start, request.seed)
    link = _running(system, request, start, end)
    issued = local_time(request.start - timedelta(days=1), loaded.issue, zone)
    system.epoch = system.store.commands.next_epoch(start)
    if "day_ahead" not in recall_models(system, end):
        known = system.history(min([issued, *reserve_issues(system, issued)]))
        learn(system, "day_ahead", known, lambda n, of: progress("day-ahead models", n, of))
    learning = Learning(system, background=request.speed is not None, until=end)
    loop = Loop(Desk(system), EventClock(system, loaded.events), learning)
    loop.resume()
    if resumed := link is not None:
        initial = recall(system)
    else:
        progress("first day-ahead plan", 0, 1)
        loop.sell(issued)
        progress("first day-ahead plan", 1, 1)
        initial = state_at(system, _first_plan(system), start)
        plan = PlantPlan(start, end, request.seed, request.speed, plant_directory(request.database))
        link = launch(loaded, grid, initial, plan)
    wire(system, link, plant_directory(request.database), settings.redis_url)
    if resumed:
        _replay_series(system, start, link.hello().now)
    else:
        _take_history(system, link, start, progress)
        _remember(system, request, start, end, initial)
    return Simulation(request, system, grid, loop, link, start, end, initial, resumed, lock)


def _running(system: System, request: Request, start: datetime, end: datetime) -> PlantLink | None:
    """The plant this database was simulating with. Raises NotFound where it is gone or was another run's."""
    known = system.store.settings.get(RECORD)
    if known is None:
        return None
    asked = _identity(system, request, start, end)
    other = {k: known.get(k) for k, v in asked.items() if known.get(k) != v}
    if other:
        raise NotFound(f"{request.database} holds another simulation, with {other}")
    link = find(plant_directory(request.database))
    if link is None:
        raise NotFound(f"the plant of {request.database} no longer runs; start with a new --db")
    return link


def _first_plan(system: System) -> Schedule:
    run = system.store.runs.latest(DAY_AHEAD, PLAN, released_only=False)
    assert run is not None
    return run.schedule


def state_at(system: System, plan: Schedule, moment: datetime) -> dict[str, AssetState]:
    """The states a plan leads to at `moment`."""
    t = plan.grid.index_of(moment) - 1
    stated = system.loaded.states(moment)
    found = {}
    started: tuple[datetime, ...]
    for asset in system.portfolio.assets:
        power = float(plan.power_of(asset.id)[t])
        stored = float(plan.stored_mwh[asset.id][t]) if asset.id in plan.stored_mwh else 0.0
        on, minutes, started = power != 0.0, 1_000_000, ()
        if asset.id in plan.commitment:
            row = np.rint(plan.commitment[asset.id][: t + 1])
            on, minutes = bool(row[-1]), _minutes_since_change(row, plan, stated[asset.id])
            started = _starts_of_last_day(row, plan, stated[asset.id], moment)
        found[asset.id] = AssetState(asset.id, moment, moment, power, stored, on, minutes, started=started)
    return found


def _minutes_since_change(row: np.ndarray, plan: Schedule, before: AssetState) -> int:
    changes = np.flatnonzero(np.diff(row)) + 1
    if len(changes):
        return int(sum(plan.grid.minutes[changes[-1] : len(row)]))
    whole = int(sum(plan.grid.minutes[: len(row)]))
    return whole + (before.minutes_in_state if bool(row[0]) == before.on else 0)


def _starts_of_last_day(
    row: np.ndarray, plan: Schedule, before: AssetState, moment: datetime
) -> tuple[datetime, ...]:
    starts = np.flatnonzero(np.diff(np.concatenate([[float(before.on)], row])) > 0.5)
    return tuple(at for s in starts if moment - (at := plan.grid.edges[s]) < timedelta(days=1))


def _remember(
    system: System, request: Request, start: datetime, end: datetime, initial: Mapping[str, AssetState]
) -> None:
    states = {
        a: [s.power_mw, s.stored_mwh, s.on, s.minutes_in_state, rfc3339(s.at), *map(rfc3339, s.started)]
        for a, s in initial.items()
    }
    where = {"portfolio": str(request.portfolio.resolve()), "initial": states}
    system.store.settings.put(RECORD, _identity(system, request, start, end) | where)


def _identity(system: System, request: Request, start: datetime, end: datetime) -> dict[str, Any]:
    """What makes a simulation the same one."""
    return {
        "start": rfc3339(start), "end": rfc3339(end), "seed": request.seed, "speed": request.speed,
        "portfolio_digest": system.loaded.digest,
    }  # fmt: skip


def recall(system: System) -> dict[str, AssetState]:
    """The states the plant of this database started from."""
    states = system.store.settings.get(RECORD)["initial"]
    found = {}
    for asset, (power, stored, on, minutes, at, *starts) in states.items():
        moment = utc(datetime.fromisoformat(at))
        started = tuple(utc(datetime.fromisoformat(s)) for s in starts)
        found[asset] = AssetState(asset, moment, moment, power, stored, on, minutes, started=started)
    return found


def _take_history(system: System, link: PlantLink, start: datetime, progress: Progress) -> None:
    """Thirty days of meter rows from before the plant's start."""
    for day in range(HISTORY_DAYS):
        first = start - timedelta(days=HISTORY_DAYS - day)
        rows = link.meters(first, first + timedelta(days=1))
        system.store.meters.write([r for r in rows if not r.point.startswith("series:")])
        progress("meter history", day + 1, HISTORY_DAYS)


def _replay_series(system: System, start: datetime, now: datetime) -> None:
    """What the service had metered before it stopped, and what the plant metered meanwhile."""
    assert system.meters is not None
    rows = system.meters(start, floor_to(now, QUARTER))
    system.store.meters.write(rows)
    system.book.append(rows)


def run(simulation: Simulation, progress: Progress, lock: AbstractContextManager[Any] | None = None) -> None:
    """Tick until the end; returns when the plant's clock reaches it. `lock` is held while the loop ticks."""
    step = _lockstep if simulation.request.speed is None else _follow
    step(simulation, progress, lock if lock is not None else nullcontext())


def _lockstep(sim: Simulation, progress: Progress, lock: AbstractContextManager[Any]) -> None:
    now, whole = sim.link.hello().now, (sim.end - sim.start) // MINUTE
    while now < sim.end:
        with lock:
            sim.loop.tick(now)
        now = sim.link.advance(now + MINUTE)
        progress("minutes", (now - sim.start) // MINUTE, whole)
    sim.system.store.commands.expire(now)
    sim.loop.desk.meter(now - QUARTER, now)


def _follow(sim: Simulation, progress: Progress, lock: AbstractContextManager[Any]) -> None:
    whole = (sim.end - sim.start) // MINUTE
    last = _last_cycle(sim)
    while True:
        now = min(floor_to(sim.link.hello().now, MINUTE), sim.end)
        if last is not None and now > last + MINUTE:
            sim.loop.missed(last, now)
        if now >= sim.end:
            break
        if last is None or now > last:
            with lock:
                sim.loop.tick(now)
            last = now
            progress("minutes", (now - sim.start) // MINUTE, whole)
        else:
            time.sleep(0.2 / (sim.request.speed or 1.0))
    sim.loop.desk.meter(sim.end - QUARTER, sim.end)
    sim.system.store.commands.expire(sim.end)


def _last_cycle(sim: Simulation) -> datetime | None:
    """Start of the newest cycle this database knows of inside the simulated span."""
    inside = [c.cycle_start for c in sim.system.store.runs.cycles("real_time") if c.cycle_start >= sim.start]
    return max(inside, default=None)
