"""The world without a process: truth, meters, history, defaults, balances of a whole day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.plant.running import START, assets, hourly, write_spec
from vpp.domain.time import rfc3339
from vpp.plant.spec import load_spec
from vpp.plant.truth import load_truth
from vpp.plant.world import World, Write
from vpp.plant.write_log import WriteLog

NUMBERS = count(1)


def world_of(folder: Path, **changes: Any) -> World:
    folder.mkdir(exist_ok=True)
    spec = load_spec(write_spec(folder, **changes))
    return World(spec, load_truth(spec), WriteLog(folder / f"writes-{next(NUMBERS)}.db"))


def order(world: World, name: str, value: float, quantity: Any = "power_mw", revert_s: int = 900) -> None:
    at = next(i for i, a in enumerate(world.assets) if a.id == name)
    world.accept(at, Write(quantity, value, 0, revert_s, 1, next(NUMBERS), 0), world.minute * 60.0)


def live(world: World, minutes: int) -> dict[str, Any]:
    first = world.minute
    for _ in range(minutes):
        world.step()
    return world.record.table(first * 60, world.minute * 60, world.truth)


def rows(world: World, first: datetime, last: datetime) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    for point, at, minutes, mw in world.meters.rows(first.timestamp(), last.timestamp()):
        assert minutes == 15
        table.setdefault(point, {})[at] = mw
    return table


def test_default_power_is_what_a_device_does_when_left_alone(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    alone = live(world, 30)
    assert alone["default_mw"]["battery"] == alone["power_mw"]["battery"] == [0.0] * 30
    assert alone["default_mw"]["fixed"] == alone["power_mw"]["fixed"]
    order(world, "battery", 0.2)
    asked = live(world, 10)
    assert asked["default_mw"]["battery"] == [0.0] * 10
    assert max(asked["power_mw"]["battery"]) > 0.0


def test_quarter_meters_equal_the_profile_and_minutes_do_not(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    day = live(world, 1440)
    metered = rows(world, START, START + timedelta(days=1))
    profile = np.array(list(metered["series:load:L1"].values()))
    assert len(profile) == 96
    assert np.array(list(metered["mp:fixed"].values())) == pytest.approx(-0.8 * profile, abs=1e-12)
    minutes = np.array(day["series"]["load:L1"])
    assert minutes.reshape(96, 15).mean(axis=1) == pytest.approx(profile, abs=1e-12)
    assert np.ptp(minutes.reshape(96, 15), axis=1).min() > 1e-3
    pv = np.array(day["series"]["gen:PV1"])
    assert pv.min() >= 0.0
    assert pv.max() <= 1.0
    q = np.array(day["q_series"]["load:L1"])
    assert q == pytest.approx(0.4 * minutes)


def test_a_gap_is_a_missing_row_and_the_last_valid_load(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    day = live(world, 1440)
    metered = rows(world, START, START + timedelta(days=1))
    gap = [rfc3339(datetime(2016, 7, 12, 1, 15 * k, tzinfo=UTC)) for k in range(4)]
    for point in ("mp:steel", "series:steel"):
        assert len(metered[point]) == 92
        assert not set(gap) & set(metered[point])
    at = day["starts"].index(gap[0])
    before = metered["mp:steel"][rfc3339(datetime(2016, 7, 12, 0, 45, tzinfo=UTC))]
    held = np.array(day["power_mw"]["steel"][at : at + 60]).reshape(4, 15).mean(axis=1)
    assert held == pytest.approx(np.full(4, before), abs=1e-12)


def test_same_seed_same_truth_whatever_was_asked_before(tmp_path: Path) -> None:
    one, same, other = world_of(tmp_path / "a"), world_of(tmp_path / "b"), world_of(tmp_path / "c", seed=8)
    for world in (one, same, other):
        order(world, "taker", 300.0, "price_eur_per_mwh", revert_s=20000)
    list(same.meters.rows(0, 2e9))
    same.truth.minutes(same.meters.start + 40)
    first, second, third = live(one, 120), live(same, 120), live(other, 120)
    assert first == second
    for key, name in (("series", "load:L1"), ("power_mw", "taker")):
        assert not np.allclose(first[key][name], third[key][name], rtol=1e-4)


def test_history_is_thirty_days_of_defaults(tmp_path: Path) -> None:
    world = world_of(tmp_path, history_days=30)
    past = rows(world, START - timedelta(days=60), START + timedelta(days=60))
    assert len(past["mp:fixed"]) == 30 * 96
    assert min(past["mp:fixed"]) == rfc3339(START - timedelta(days=30))
    assert max(past["mp:fixed"]) == rfc3339(START - timedelta(minutes=15))
    assert len(past["mp:steel"]) == 30 * 92
    assert set(past["mp:battery"].values()) == {0.0}
    assert np.array(list(past["mp:taker"].values())) == pytest.approx(
        1.5 / 0.8 * np.array(list(past["mp:fixed"].values()))
    )
    mill = np.array(list(past["mp:mill-1"].values())).reshape(30, 24, 4)
    assert (mill[:, :6] == -1.2).all(), "by rota from local midnight to six"
    assert (mill[:, 6:] == 0.0).all()
    cop = 4.0 - 0.05 * 4
    assert past["mp:cooling"][min(past["mp:cooling"])] == pytest.approx(-(1.2 + 0.02 * 0.25) / cop)


@pytest.mark.parametrize(
    ("start", "quarters"), [("2016-04-09T22:00:00Z", 30 * 96 - 4), ("2016-03-26T23:00:00Z", 25 * 96), ]
)  # fmt: skip
def test_history_across_the_change_to_summer_time(tmp_path: Path, start: str, quarters: int) -> None:
    begin = datetime.fromisoformat(start)
    world = world_of(tmp_path, start=start, end=rfc3339(begin + timedelta(days=1)), history_days=30)
    past = rows(world, begin - timedelta(days=60), begin)
    assert len(past["mp:fixed"]) == quarters, "as far back as local days or the series go"
    mill = past["mp:mill-1"]
    assert mill.get(rfc3339(datetime(2016, 3, 26, 23, tzinfo=UTC)), -1.2) == -1.2
    if quarters < 30 * 96 and begin.month == 4:
        on = [t for t, mw in mill.items() if mw < 0 and "2016-03-26T23" <= t < "2016-03-27T22"]
        assert len(on) == 20, "the short day has only five hours before six"


def test_default_of_the_chp_follows_heat_or_stays_off(tmp_path: Path) -> None:
    fleet = assets()
    fleet[5]["inputs"]["heat_demand_mw_th"] = hourly(*([0.9] * 12 + [0.4] * 12))
    world = world_of(tmp_path, assets=fleet)
    day = live(world, 1440)
    power, stored = np.array(day["power_mw"]["chp"]), np.array(day["stored_mwh"]["chp"])
    heat_led = (0.9 - 0.05) / 1.1
    assert power[0] == pytest.approx(0.5)
    assert power[10:720] == pytest.approx(np.full(710, heat_led))
    assert power[720 + 10 :] == pytest.approx(np.zeros(710))
    assert np.ptp(stored[30:720]) < 1e-9
    assert max(day["detail"]["chp"]["missed_mw_th"]) == 0.0
    past = rows(world, START - timedelta(days=1), START)["mp:chp"]
    assert sorted(set(np.round(list(past.values()), 9))) == pytest.approx([0.0, heat_led])


def test_default_of_the_cooling_keeps_the_store(tmp_path: Path) -> None:
    day = live(world_of(tmp_path), 240)
    assert day["stored_mwh"]["cooling"] == pytest.approx([0.25] * 240)
    assert day["detail"]["cooling"]["inlet_c"] == pytest.approx([22.5] * 240)


def test_minutes_of_the_future_are_not_told(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    live(world, 20)
    table = world.record.table(START.timestamp() - 9e5, START.timestamp() + 9e5, world.truth)
    assert len(table["starts"]) == 20
    assert len(table["series"]["load:L1"]) == 20
    assert len(rows(world, START, START + timedelta(days=1))["mp:fixed"]) == 1
