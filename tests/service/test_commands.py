"""From a schedule to set-points: what is sent, how early, how long it holds, and who changed it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from dispatch.registry import KINDS
from vpp.domain.command import Setpoint
from vpp.domain.portfolio import Asset, Control
from vpp.domain.schedule import Schedule
from vpp.domain.time import MINUTE, QUARTER, TimeGrid
from vpp.service.arbitrate import Window
from vpp.service.commands import announced, continuous, first_quarter

NOW = datetime(2016, 7, 12, 15, 30, tzinfo=UTC)
GRID = TimeGrid.uniform(NOW - QUARTER, QUARTER, 8)
INF = float("inf")
SILO = {"id": "s", "capacity_t": 500, "kwh_per_t": 36, "missed_eur_per_t": 40}
PARAMS: dict[str, dict[str, Any]] = {
    "battery": {"power_mw": 1.0, "capacity_mwh": 2.0, "charge_efficiency": 0.9, "discharge_efficiency": 0.9,
                "wear_eur_per_mwh": 5},
    "curtailable": {"capacity_mw": 6.0, "kind_of": "wind", "s_rating_mva": 6.0},
    "process": {"power_mw": 1.5, "kwh_per_t": 36, "min_run_h": 2, "min_stop_h": 1, "start_cost_eur": 40, "silo": SILO},
    "price_elastic": {"min_share": 0.5, "elasticity": -0.2, "reference_price_eur_per_mwh": 90},
    "fixed_load": {"peak_mw": 1.0},
}  # fmt: skip


def asset(name: str, kind: str, control: Control, minutes: int = 0) -> Asset:
    return Asset(name, kind, "s", f"mp:{name}", "n", None, KINDS[kind].Params(**PARAMS[kind]),
                 timedelta(minutes=minutes), control)  # fmt: skip


ASSETS = (
    asset("battery", "battery", "continuous"), asset("wind", "curtailable", "continuous"),
    asset("mill", "process", "request", 30), asset("taker", "price_elastic", "price", 15),
    asset("load", "fixed_load", "none"), asset("heater", "battery", "step", 20),
)  # fmt: skip
POWER = np.array([
    [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], [4.0, 5.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0],
    [0.0, 0.0, -1.5, -1.5, -1.5, 0.0, 0.0, 0.0], [-1.0] * 8, [-0.5] * 8, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
])  # fmt: skip
SCHEDULE = Schedule(
    tuple(a.id for a in ASSETS), GRID, POWER, np.zeros_like(POWER),
    commitment={"mill": np.array([0, 0, 1, 1, 1, 0, 0, 0.0])},
    decisions={"taker": {"price_eur_per_mwh": np.arange(80.0, 88.0)}},
)  # fmt: skip
AVAILABLE = {"wind": np.full(8, 5.0)}


def minute(
    now: datetime = NOW, windows: dict[str, Window] | None = None, schedule: Schedule = SCHEDULE
) -> dict[str, Setpoint]:
    found = continuous(schedule, ASSETS, AVAILABLE, windows or {}, now, "run", 7)
    return {s.asset_id: s for s in found}


def quarter(
    now: datetime = NOW, windows: dict[datetime, dict[str, Window]] | None = None, first: bool = False
) -> list[Setpoint]:
    return announced(SCHEDULE, ASSETS, windows or {}, now, "run", 7, first)


def test_what_tracks_is_sent_its_power_for_three_minutes() -> None:
    found = minute(NOW + MINUTE)
    assert set(found) == {"battery", "wind"}
    battery = found["battery"]
    assert (battery.quantity, battery.value, battery.source) == ("power_mw", 0.2, "schedule")
    assert (battery.issued_at, battery.valid_from) == (NOW + MINUTE, NOW + MINUTE)
    assert battery.valid_until == NOW + 4 * MINUTE
    assert (battery.run_id, battery.epoch, battery.sequence) == ("run", 7, 0)


def test_a_generator_that_is_not_curtailed_gets_its_capacity() -> None:
    assert minute()["wind"].value == 6.0
    assert minute(NOW + QUARTER)["wind"].value == 4.0
    nearly = replace(SCHEDULE, power_mw=np.where(POWER == 5.0, 4.9995, POWER))
    assert minute(schedule=nearly)["wind"].value == 6.0
    assert minute(windows={"wind": Window(0.0, 4.5, None, "desk")})["wind"].value == 4.5


def test_at_night_a_generator_still_gets_its_capacity() -> None:
    dark = replace(SCHEDULE, power_mw=np.zeros_like(POWER))
    found = continuous(dark, ASSETS, {"wind": np.zeros(8)}, {}, NOW, "run", 7)
    assert [s.value for s in found if s.asset_id == "wind"] == [6.0]


@pytest.mark.parametrize(
    ("window", "value", "source"),
    [
        (Window(-1.0, 0.1, None, "desk"), 0.1, "desk"),
        (Window(0.5, 1.0, None, "site"), 0.5, "site"),
        (Window(-1.0, 1.0, None, "desk"), 0.2, "schedule"),
        (Window(-1.0, 1.0, -0.4, "operator"), -0.4, "operator"),
    ],
)
def test_arbitration_bounds_the_power_and_is_named(window: Window, value: float, source: str) -> None:
    battery = minute(windows={"battery": window})["battery"]
    assert (battery.value, battery.source) == (value, source)


def test_a_moment_outside_the_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        minute(GRID.end)


def test_requests_and_prices_leave_by_their_notice_and_expire_a_quarter_after_their_end() -> None:
    found = {s.asset_id: s for s in quarter()}
    assert set(found) == {"mill", "taker", "heater"}
    mill, taker, heater = found["mill"], found["taker"], found["heater"]
    assert (mill.quantity, mill.value, mill.valid_from) == ("on", 1.0, NOW + 2 * QUARTER)
    assert (taker.quantity, taker.value, taker.valid_from) == ("price_eur_per_mwh", 82.0, NOW + QUARTER)
    assert all(s.issued_at == NOW and s.valid_until == s.valid_from + 2 * QUARTER for s in found.values())
    assert (heater.quantity, heater.value, heater.valid_from) == ("power_mw", 0.3, NOW + 2 * QUARTER)


@pytest.mark.parametrize(
    ("notice", "after"), [(0, 0), (1, 15), (15, 15), (20, 30), (30, 30), (31, 45)]
)  # fmt: skip
def test_a_notice_rounds_up_to_the_next_quarter(notice: int, after: int) -> None:
    assert first_quarter(NOW, timedelta(minutes=notice)) == NOW + timedelta(minutes=after)
    assert first_quarter(NOW - MINUTE, timedelta(minutes=notice)) >= NOW - MINUTE + timedelta(minutes=notice)


def test_the_first_time_the_quarters_inside_the_notice_are_sent_too() -> None:
    found = quarter(first=True)
    starts = {a: [s.valid_from for s in found if s.asset_id == a] for a in ("mill", "taker", "heater")}
    assert starts["mill"] == starts["heater"] == [NOW, NOW + QUARTER, NOW + 2 * QUARTER]
    assert starts["taker"] == [NOW, NOW + QUARTER]
    assert [s.value for s in found if s.asset_id == "mill"] == [0.0, 1.0, 1.0]
    assert [s.value for s in found if s.asset_id == "taker"] == [81.0, 82.0]
    assert len({s.id for s in found}) == len(found)


def test_a_late_first_run_sends_the_running_quarter_from_now_on() -> None:
    late = NOW + 5 * MINUTE
    mill = [s for s in quarter(late, first=True) if s.asset_id == "mill"]
    assert [s.valid_from for s in mill] == [late, NOW + QUARTER, NOW + 2 * QUARTER, NOW + 3 * QUARTER]
    assert [s.valid_until for s in mill] == [NOW + k * QUARTER for k in (2, 3, 4, 5)]


def test_nothing_is_announced_beyond_the_schedule() -> None:
    assert quarter(GRID.end - QUARTER) == []
    assert {s.asset_id for s in quarter(GRID.end - 2 * QUARTER)} == {"taker"}


@pytest.mark.parametrize(
    ("window", "on", "source"),
    [
        (Window(-INF, 0.0, None, "desk"), 1.0, "schedule"),
        (Window(0.0, 0.0, None, "site"), 0.0, "site"),
        (Window(-1.0, INF, None, "desk"), 0.0, "desk"),
        (Window(-1.5, 0.0, None, "desk"), 1.0, "schedule"),
        (Window(-1.5, 0.0, 0.0, "operator"), 0.0, "operator"),
        (Window(-1.0, -0.5, None, "desk"), 0.0, "desk"),
    ],
)
def test_a_mill_runs_only_where_its_range_holds_its_power(window: Window, on: float, source: str) -> None:
    start = NOW + 2 * QUARTER
    mill = next(s for s in quarter(windows={start: {"mill": window}}) if s.asset_id == "mill")
    assert (mill.value, mill.source) == (on, source)
    elsewhere = next(s for s in quarter(windows={NOW: {"mill": window}}) if s.asset_id == "mill")
    assert elsewhere.value == 1.0


def test_a_mill_that_must_run_is_started() -> None:
    later = NOW + 2 * QUARTER
    windows = {later + QUARTER * 2: {"mill": Window(-2.0, -1.0, None, "grid")}}
    mill = next(s for s in quarter(NOW + 2 * QUARTER, windows) if s.asset_id == "mill")
    assert SCHEDULE.commitment["mill"][GRID.index_of(mill.valid_from)] == 0.0
    assert (mill.value, mill.source) == (1.0, "grid")


def test_the_same_run_issues_the_same_ids_and_another_run_others() -> None:
    once, again = quarter(), quarter()
    assert [s.id for s in once] == [s.id for s in again]
    other = announced(SCHEDULE, ASSETS, {}, NOW, "other", 7, False)
    epoch = announced(SCHEDULE, ASSETS, {}, NOW, "run", 8, False)
    assert not {s.id for s in once} & ({s.id for s in other} | {s.id for s in epoch})
