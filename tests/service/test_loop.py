"""Which cycles are due when: in time, late, after a pause, and on the right side of the gate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.service.conftest import Make, local
from vpp.domain.time import MINUTE
from vpp.service.desk import Desk
from vpp.service.event_clock import EventClock
from vpp.service.loop import Loop
from vpp.service.system import System

MIDNIGHT = local("2016-07-12 00:00")
TEN = local("2016-07-12 10:00")
AWARD = TEN


@dataclass
class Listed(Desk):
    """Claims its cycles and lists what it was asked to do."""

    asked: list[tuple[str, datetime]] = field(default_factory=list)

    def _take(self, name: str, at: datetime) -> None:
        if self.claim(name, at, at):
            self.system.store.runs.finish(name, at, None, "optimal")
            self.asked.append((name, at))

    def bid(self, now: datetime) -> list[Any]:
        self._take("bid", now)
        return []

    def day_ahead(self, now: datetime, secure: bool = True) -> None:
        self._take("day_ahead", now)

    def intraday(self, now: datetime) -> None:
        self._take("intraday", now)

    def real_time(self, now: datetime) -> None:
        self._take("real_time", now)

    def meter(self, start: datetime, end: datetime) -> int:
        self.asked.append((f"meter {(end - start) // MINUTE}", end))
        return 0

    def of(self, name: str) -> list[datetime]:
        return [at for what, at in self.asked if what == name]


@pytest.fixture
def system(make: Make) -> Iterator[System]:
    made = make(MIDNIGHT, network=False)
    yield made
    made.store.close()


def loop_on(system: System) -> tuple[Loop, Listed]:
    desk = Listed(system)
    return Loop(desk, EventClock(system)), desk


def test_a_day_makes_every_run_once(system: System) -> None:
    loop, desk = loop_on(system)
    for k in range(1440):
        loop.tick(MIDNIGHT + k * MINUTE)
    counts = {name: len(desk.of(name)) for name in ("bid", "day_ahead", "intraday", "real_time")}
    assert counts == {"bid": 1, "day_ahead": 1, "intraday": 96, "real_time": 1440}
    assert desk.of("bid") == [TEN]
    assert desk.of("day_ahead") == [AWARD], "the plan waits for the market's answer"
    assert desk.of("meter 15") == [MIDNIGHT + k * 15 * MINUTE for k in range(96)]
    assert set(loop.wall_s) == {"bid", "day_ahead", "intraday", "real_time"}


def test_inside_a_minute_the_meter_comes_first_and_real_time_last(system: System) -> None:
    loop, desk = loop_on(system)
    loop.tick(TEN)
    assert [what for what, _ in desk.asked] == ["meter 15", "bid", "day_ahead", "intraday", "real_time"]
    loop.tick(TEN + MINUTE)
    assert [what for what, _ in desk.asked[5:]] == ["real_time"]


def test_a_late_tick_still_plans_its_quarter(system: System) -> None:
    loop, desk = loop_on(system)
    last, now = MIDNIGHT + 14 * MINUTE, MIDNIGHT + 17 * MINUTE
    loop.tick(last)
    assert loop.missed(last, now) == 2, "minutes 15 and 16; the quarter is still to be planned"
    loop.tick(now)
    assert desk.of("intraday") == [MIDNIGHT + 15 * MINUTE]


def test_a_pause_is_recorded_as_missed(system: System) -> None:
    loop, _ = loop_on(system)
    loop.tick(MIDNIGHT)
    assert loop.missed(MIDNIGHT, MIDNIGHT + timedelta(hours=1, minutes=5)) == 64 + 3
    cycles = [c for c in system.store.runs.cycles() if c.status == "missed"]
    assert [c.cycle_start for c in cycles if c.stage == "intraday"] == [MIDNIGHT + k * 15 * MINUTE for k in (1, 2, 3)]
    assert loop.missed(MIDNIGHT, MIDNIGHT + timedelta(hours=1, minutes=5)) == 0, "recorded once"


def test_after_a_restart_an_issue_that_fell_into_the_pause_is_made_up(system: System) -> None:
    first, _ = loop_on(system)
    first.tick(TEN - 10 * MINUTE)
    second, desk = loop_on(system)
    now = TEN + 20 * MINUTE
    second.missed(TEN - 10 * MINUTE, now)
    second.tick(now)
    assert (desk.of("bid"), desk.of("day_ahead")) == ([TEN], [AWARD])
    assert desk.of("meter 30") == [TEN + 15 * MINUTE], "every quarter that ended in the pause"
    second.tick(now + MINUTE)
    assert desk.of("day_ahead") == [AWARD]


def test_a_new_record_makes_up_nothing(system: System) -> None:
    loop, desk = loop_on(system)
    loop.tick(AWARD + MINUTE)
    assert desk.of("day_ahead") == []


def test_after_the_gate_there_is_a_plan_and_no_bid(system: System) -> None:
    first, _ = loop_on(system)
    first.tick(TEN - 10 * MINUTE)
    second, desk = loop_on(system)
    second.tick(TEN + timedelta(hours=3))
    assert desk.of("bid") == []
    assert desk.of("day_ahead") == [AWARD]


def test_a_day_that_a_killed_process_was_selling_is_sold_after_all(system: System) -> None:
    """Killed at ten, with the bid's cycle claimed and not finished; started again at seven minutes past."""
    first = Loop(Listed(system), EventClock(system))
    first.tick(TEN - MINUTE)
    for stage in ("bid", "intraday"):
        assert system.store.runs.claim(stage, TEN, TEN)
    again = Loop(Listed(system), EventClock(system))
    again.resume()
    again.tick(TEN + 7 * MINUTE)
    desk = again.desk
    assert isinstance(desk, Listed)
    assert desk.of("bid") == [TEN]
    assert desk.of("day_ahead") == [AWARD]
    assert desk.of("intraday") == [], "the quarter that was running when it died is missed, not run twice"
    left = {(c.stage, c.cycle_start): c.status for c in system.store.runs.cycles()}
    assert left["intraday", TEN] == "missed"
    assert not system.store.runs.cycles(unfinished_only=True)
