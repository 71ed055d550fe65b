"""Live clocks: each cycle once whoever ticks, no tick ends the clock, and the devices' file is checked as a whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger
from typer.testing import CliRunner

from adapters.store import open_store
from forecasting.pipeline import Pipeline
from grid_models.model import GridModel
from tests.adapters.modbus_server import DeviceServer
from tests.service.conftest import DEMO, ZONE, Make
from vpp.domain.errors import InputFaults
from vpp.domain.market import Bid
from vpp.domain.schedule import DispatchRun
from vpp.domain.stage import DAY_AHEAD, INTRADAY, REAL_TIME
from vpp.domain.time import MINUTE, QUARTER, floor_to
from vpp.service import live, serving
from vpp.service.desk import BID, Desk
from vpp.service.event_clock import EventClock
from vpp.service.learning import Learning
from vpp.service.loop import Loop
from vpp.service.portfolio import LoadedPortfolio, load_portfolio
from vpp.service.series_book import SeriesBook
from vpp.service.settings import Settings
from vpp.service.simulate import RECORD
from vpp.service.system import System

NOW = datetime(2026, 3, 3, 9, 58, 30, tzinfo=UTC)
FAST = IntervalTrigger(seconds=0.03, timezone=UTC)


@dataclass
class Claims(Desk):
    """A desk that only claims its cycles and keeps those it won; `fails` raises after the claim."""

    won: list[tuple[str, datetime]] = field(default_factory=list)
    asked: list[datetime] = field(default_factory=list)
    fails: Callable[[datetime], bool] = lambda now: False

    def _claim(self, name: str, now: datetime) -> None:
        self.asked.append(now)
        if self.claim(name, now, now):
            self.won.append((name, now))
            self.system.store.runs.finish(name, now, None, "done")

    def bid(self, now: datetime) -> list[Bid]:
        self._claim(BID, now)
        return []

    def day_ahead(self, now: datetime, secure: bool = True) -> DispatchRun | None:
        self._claim(DAY_AHEAD, now)
        return None

    def intraday(self, now: datetime) -> DispatchRun | None:
        self._claim(INTRADAY, now)
        return None

    def real_time(self, now: datetime) -> DispatchRun | None:
        self._claim(REAL_TIME, now)
        if self.fails(now):
            raise RuntimeError("the field is gone")
        return None


def accelerated() -> Callable[[], datetime]:
    """Thirty minutes a second, from half past a minute on."""
    began = time.monotonic()
    return lambda: NOW + timedelta(seconds=1800.0 * (time.monotonic() - began))


def claims(database: Path) -> Claims:
    loaded = load_portfolio(DEMO)
    forecaster = Pipeline(None, zone=ZONE, latitude=53.6, longitude=10.0, workers=1)
    return Claims(System(loaded, open_store(database), SeriesBook({}, NOW), forecaster))


def run_for(seconds: float, *desks: Desk, clock: Callable[[], datetime]) -> list[BackgroundScheduler]:
    """Live on each desk for so long; the schedulers still run."""
    loops = [Loop(desk, EventClock(desk.system, ())) for desk in desks]
    schedulers = [serving.start_live(loop, threading.RLock(), clock, FAST) for loop in loops]
    time.sleep(seconds)
    return schedulers


def stop(schedulers: list[BackgroundScheduler]) -> None:
    for scheduler in schedulers:
        scheduler.shutdown()


def test_two_schedulers_on_one_record_run_each_cycle_once(tmp_path: Path) -> None:
    desks = [claims(tmp_path / "record.db") for _ in range(2)]
    stop(run_for(2.5, *desks, clock=accelerated()))
    won = desks[0].won + desks[1].won
    assert len(won) == len(set(won))
    assert all(desk.asked for desk in desks)
    assert set(desks[0].asked) & set(desks[1].asked), "the two never met at one cycle"
    cycles = desks[0].system.store.runs.cycles()
    assert {(c.stage, c.cycle_start) for c in cycles if c.status != "missed"} == set(won)
    minutes = sorted(at for name, at in won if name == REAL_TIME)
    assert len(minutes) > 20
    assert all(at == floor_to(at, MINUTE) and at.utcoffset() == timedelta(0) for at in minutes)
    quarters = [at for name, at in won if name == INTRADAY]
    assert len(quarters) >= 2
    assert all(at == floor_to(at, QUARTER) for at in quarters)


def test_minutes_that_no_tick_reached_are_recorded_as_missed(tmp_path: Path) -> None:
    desk = claims(tmp_path / "record.db")
    moments = [NOW, NOW + 5 * MINUTE]
    clock = iter([*moments, *[moments[-1]] * 1000])
    stop(run_for(0.5, desk, clock=lambda: next(clock)))
    status = {c.cycle_start: c.status for c in desk.system.store.runs.cycles(REAL_TIME)}
    first = floor_to(NOW, MINUTE)
    assert status == {first + k * MINUTE: "missed" if 0 < k < 5 else "done" for k in range(6)}


def test_a_tick_that_raises_leaves_an_alarm_and_the_next_goes_on(tmp_path: Path) -> None:
    desk = claims(tmp_path / "record.db")
    first = floor_to(NOW, MINUTE)
    desk.fails = lambda now: now < first + 10 * MINUTE
    schedulers = run_for(1.5, desk, clock=accelerated())
    assert schedulers[0].running and len(schedulers[0].get_jobs()) == 1
    stop(schedulers)
    (alarm,) = desk.system.store.alarms.list()
    assert alarm.code == "clock"
    assert alarm.count > 1
    assert "RuntimeError: the field is gone" in alarm.message
    assert max(at for _, at in desk.won) >= first + 20 * MINUTE


def test_a_series_that_is_not_there_does_not_end_the_clock(make: Make, tmp_path: Path) -> None:
    system = make(NOW, open_store(tmp_path / "record.db"), network=False)
    system.epoch = system.store.commands.next_epoch(NOW)
    system.book = SeriesBook({}, NOW)
    schedulers = run_for(3.0, Desk(system), clock=accelerated())
    alive = schedulers[0].running and len(schedulers[0].get_jobs()) == 1
    stop(schedulers)
    assert alive
    (alarm,) = system.store.alarms.list()
    assert alarm.code == "clock"
    assert alarm.count > 1
    assert "DataGap" in alarm.message
    quarters = [c for c in system.store.runs.cycles(INTRADAY) if c.status != "missed"]
    assert len(quarters) > 1


def test_without_a_trigger_it_ticks_on_the_full_minutes_of_utc(tmp_path: Path) -> None:
    desk = claims(tmp_path / "record.db")
    scheduler = serving.start_live(Loop(desk, EventClock(desk.system, ())), threading.RLock())
    (job,) = scheduler.get_jobs()
    scheduler.shutdown()
    assert job.next_run_time.utcoffset() == timedelta(0)
    assert (job.next_run_time.second, job.next_run_time.microsecond) == (0, 0)
    following = job.trigger.get_next_fire_time(job.next_run_time, job.next_run_time + timedelta(seconds=1))
    assert following - job.next_run_time == MINUTE
    assert job.max_instances == 1


@pytest.fixture
def field_of_demo(checked: tuple[LoadedPortfolio, GridModel]) -> Iterator[DeviceServer]:
    """A device for every asset of the demo, in the portfolio's order."""
    loaded, _ = checked
    server = DeviceServer([loaded.devices[a.id] for a in loaded.portfolio.assets])
    yield server
    server.close()


def devices_file(folder: Path, server: DeviceServer, **changes: Any) -> Path:
    """The file of the server's devices, entries changed or (None) left out."""
    assets = [a.id for a in load_portfolio(DEMO).portfolio.assets]
    entries: dict[str, Any] = {
        asset: {"host": e.host, "port": e.port, "unit": e.unit, "profile": e.profile}
        for asset, e in zip(assets, server.endpoints.values(), strict=True)
    }
    path = folder / "devices.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in (entries | changes).items() if v is not None}))
    return path


def test_a_live_loop_reads_the_devices_of_its_file(
    tmp_path: Path, field_of_demo: DeviceServer, settings: Settings
) -> None:
    path, log = devices_file(tmp_path, field_of_demo), tmp_path / "log.db"
    url = f"sqlite:///{tmp_path / 'live.db'}"
    loops = [live.open_live(DEMO, url, path, log, settings, NOW) for _ in range(2)]
    assert [loop.desk.system.epoch for loop in loops] == [1, 2]
    system = loops[1].desk.system
    assert system.relay is not None and system.devices is not None
    alarms = [a for a in system.store.alarms.list() if a.code == "old series"]
    assert len(alarms) == 1 and "ends at 2016-" in alarms[0].message
    readings = loops[1].desk.read(NOW)
    assert set(readings) == set(system.portfolio.index)
    assert readings["chp"].power_mw == pytest.approx(0.12345)
    assert readings["cooling"].power_mw == pytest.approx(-0.12345)
    for loop in loops:
        assert loop.desk.system.devices is not None
        loop.desk.system.devices.close()


def test_every_fault_of_devices_and_portfolio_comes_at_once(
    tmp_path: Path, field_of_demo: DeviceServer, settings: Settings
) -> None:
    port = field_of_demo.port
    wrong = {
        "chp": {"host": "127.0.0.1", "port": 70000, "unit": 1, "profile": "generation"},
        "mill-1": {"host": "127.0.0.1", "port": port, "unit": 2, "profile": "none-such"},
        "mill-2": {"host": "127.0.0.1", "port": port, "unit": 2, "profile": "consumer"},
        "cooling": None,
        "moon": {"host": "127.0.0.1", "port": port, "unit": 99, "profile": "storage"},
        "pv-80": {"host": "127.0.0.1", "port": port, "unit": 98, "profile": "generation", "baud": 9600},
        "offices": None,
    }
    path = devices_file(tmp_path, field_of_demo, **wrong)
    database = tmp_path / "live.db"
    with pytest.raises(InputFaults) as caught:
        live.open_live(DEMO, f"sqlite:///{database}", path, tmp_path / "log.db", settings, NOW)
    named = {(f.where, f.field) for f in caught.value.faults}
    assert named == {
        ("chp", "port"), ("mill-1", "profile"), ("mill-2", "unit"), ("cooling", ""), ("moon", ""), ("pv-80", "baud"),
    }  # fmt: skip
    assert not database.exists()
    with pytest.raises(InputFaults) as caught:
        live.open_live(tmp_path / "none", "sqlite://", path, tmp_path / "log.db", settings, NOW)
    assert {("chp", "port"), (str(tmp_path / "none"), "")} <= {(f.where, f.field) for f in caught.value.faults}


def test_a_file_that_is_missing_is_one_fault_and_an_empty_one_names_who_has_no_device(
    tmp_path: Path, settings: Settings
) -> None:
    path = tmp_path / "devices.yaml"
    with pytest.raises(InputFaults) as caught:
        live.open_live(DEMO, "sqlite://", path, tmp_path / "log.db", settings, NOW)
    assert [str(f) for f in caught.value.faults] == ["devices.yaml: the file is missing"]
    path.write_text("{}")
    with pytest.raises(InputFaults) as caught:
        live.open_live(DEMO, "sqlite://", path, tmp_path / "log.db", settings, NOW)
    assert "chp: has no device" in [str(f) for f in caught.value.faults]


def test_serving_live_runs_the_clock_while_it_serves_and_leaves_simulations_alone(
    tmp_path: Path, field_of_demo: DeviceServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, database = devices_file(tmp_path, field_of_demo), tmp_path / "live.db"
    started: list[BackgroundScheduler] = []

    def start(loop: Loop, lock: threading.RLock) -> BackgroundScheduler:
        started.append(serving.start_live(loop, lock))
        return started[-1]

    served: list[tuple[bool, str, int]] = []
    asked: list[str] = []
    monkeypatch.setattr(Learning, "refit", lambda self, now, why: asked.append(why))
    monkeypatch.setattr(live, "start_live", start)
    monkeypatch.setattr(live, "serve_app", lambda app, host, port: served.append((started[0].running, host, port)))
    live.serve_live(DEMO, database, path, settings, "127.0.0.1", 8123)
    assert served == [(True, "127.0.0.1", 8123)]
    assert asked == ["first"], "a new record has no models to go on with"
    assert not started[0].running
    store = open_store(database)
    store.settings.put(RECORD, {"start": "then"})
    store.close()
    with pytest.raises(InputFaults, match="holds a simulation"):
        live.serve_live(DEMO, database, path, settings, "127.0.0.1", 8123)


@pytest.mark.parametrize("words", [["serve"], ["serve", "--live", "devices.yaml"], ["demo"]])
def test_host_and_port_come_from_the_environment_and_options_override_them(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vpp.service import demo, preflight
    from vpp.service.cli import app

    seen: list[tuple[str, int]] = []

    def note(*given: Any) -> None:
        at = next(i for i, value in enumerate(given) if isinstance(value, str))
        seen.append(given[at : at + 2])

    monkeypatch.setattr(preflight, "require_port", lambda *_: None)
    for module, name in ((serving, "serve_record"), (live, "serve_live"), (demo, "run_demo")):
        monkeypatch.setattr(module, name, note)
    for given in ([], ["--host", "::1"], ["--port", "81"]):
        result = CliRunner().invoke(app, [*words, *given], env={"VPP_HOST": "10.0.0.1", "VPP_PORT": "8080"})
        assert result.exit_code == 0, result.output
    assert seen == [("10.0.0.1", 8080), ("::1", 8080), ("10.0.0.1", 81)]
