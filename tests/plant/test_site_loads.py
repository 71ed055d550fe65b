"""Physics of buildings, thermostat clusters, water works and plant utilities in the virtual plant."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from vpp.plant.device import Order, State
from vpp.plant.devices import fab, hvac, thermostats, waterline
from vpp.plant.kinds import DEVICES

H = 1 / 60
wild = st.lists(st.one_of(st.none(), st.floats(-1.5, 0.3)), min_size=20, max_size=60)


def order(value: float | None, number: int = 1) -> Order | None:
    return None if value is None else Order("power_mw", value, number)


BUILDING: dict[str, Any] = {
    "max_power_mw": 0.3, "cop_at_20c": 4.0, "cop_slope_per_c": -0.05, "heat_capacity_mwh_th_per_c": 0.5,
    "transmittance_mw_th_per_c": 0.05, "comfort_min_c": 21.0, "comfort_max_c": 24.0, "setback_min_c": 18.0,
    "setback_max_c": 28.0,
}  # fmt: skip
SUMMER = {"ambient_c": 30.0, "internal_mw_th": 0.1, "solar_mw_th": 0.1, "occupancy": 1.0}


def building(indoor_c: float, **changes: Any) -> hvac.Hvac:
    params = hvac.Params.model_validate(BUILDING | changes)
    content = 0.5 * (28.0 - indoor_c) if params.mode == "cooling" else 0.5 * (indoor_c - 18.0)
    return hvac.Hvac(params, State(stored_mwh=content))


@settings(max_examples=30, deadline=None)
@given(wild, st.floats(18.5, 27.5), st.sampled_from(["cooling", "heating"]))
def test_a_building_keeps_its_heat_balance(orders: list[float | None], indoor: float, mode: str) -> None:
    device = building(indoor, mode=mode, cop_slope_per_c=0.0)
    inputs = {**SUMMER, "ambient_c": 32.0 if mode == "cooling" else -3.0}
    moves = -4.0 if mode == "cooling" else 4.0
    for value in orders:
        device.step(order(value), inputs, 0)
        used = -device.state.power_mw
        assert 0.0 <= used <= 0.3
        indoor += H / 0.5 * (0.05 * (inputs["ambient_c"] - indoor) + 0.2 + moves * used)
        assert device.detail()[0] == pytest.approx(indoor, abs=1e-9)


def test_a_thermostat_holds_the_edge_of_its_band() -> None:
    device = building(23.0)
    for _ in range(300):
        device.step(None, SUMMER, 0)
    assert device.detail() == pytest.approx((24.0, 3.5))
    assert device.state.power_mw == pytest.approx(-0.5 / 3.5)
    assert device.steady_mw(SUMMER, 0) == pytest.approx(-0.5 / 3.5)
    night = {**SUMMER, "occupancy": 0.0}
    device.step(None, night, 0)
    assert device.state.power_mw == 0.0 and not device.state.on


def test_an_order_is_followed_until_the_setback_limit() -> None:
    device, seen = building(24.0), []
    for _ in range(900):
        device.step(order(0.0), SUMMER, 0)
        seen.append(device.detail()[0])
    assert seen[60] > 24.5 and max(seen) <= 28.0 + 1e-9
    assert device.state.power_mw == pytest.approx(-(0.05 * 2.0 + 0.2) / 3.5)
    with pytest.raises(ValidationError, match="comfort band"):
        hvac.Params.model_validate(BUILDING | {"setback_max_c": 23.0})


CLUSTER: dict[str, Any] = {
    "count": 500, "unit_kw": 2.0, "cop_at_20c": 4.0, "unit_heat_capacity_kwh_th_per_c": 2.0,
    "unit_transmittance_kw_th_per_c": 0.2, "set_c": 23.0, "band_c": 2.0, "min_on_min": 5.0, "min_off_min": 8.0,
}  # fmt: skip
HOT = {"ambient_c": 33.0, "gains_mw_th": 0.2}


def cluster(indoor_c: float, **changes: Any) -> thermostats.Thermostats:
    params = thermostats.Params.model_validate(CLUSTER | changes)
    return thermostats.Thermostats(params, State(stored_mwh=24.0 - indoor_c, power_mw=-0.3, on=True))


@settings(max_examples=30, deadline=None)
@given(wild, st.floats(22.2, 23.8))
def test_a_cluster_keeps_its_balance_and_the_minimum_times_of_its_units(
    orders: list[float | None], indoor: float
) -> None:
    device, used = cluster(indoor), [0.3]
    for value in orders:
        device.step(order(value), HOT, 0)
        used.append(-device.state.power_mw)
        indoor += H * (0.1 * (33.0 - indoor) + 0.2 - 4.0 * used[-1])
        assert device.detail() == pytest.approx((indoor, used[-1] * 500), abs=1e-7)
    change = [b - a for a, b in pairwise(used)]
    for t in range(len(change)):
        rises = sum(max(c, 0.0) for c in change[max(0, t - 4) : t])
        falls = sum(max(-c, 0.0) for c in change[max(0, t - 7) : t])
        assert used[t + 1] >= min(rises, 1.0) - 1e-9
        assert used[t + 1] <= max(1.0 - falls, min(rises, 1.0)) + 1e-9


def test_thermostats_hold_the_set_point_and_take_over_at_the_band() -> None:
    device = cluster(23.0)
    for _ in range(30):
        device.step(None, HOT, 0)
    assert device.state.power_mw == pytest.approx(-0.3) == device.steady_mw(HOT, 0)
    for _ in range(180):
        device.step(order(0.0), HOT, 0)
    assert device.detail()[0] == pytest.approx(24.0, abs=0.05)
    paused = -device.state.power_mw
    device.step(None, HOT, 0)
    assert -device.state.power_mw > paused, "rebound: brought back to the set-point"


LINE: dict[str, Any] = {
    "max_power_mw": 0.6, "min_power_mw": 0.2, "capacity_mwh": 0.4, "loss_per_h": 0.01, "longest_pause_h": 0.5,
    "recovery_h": 0.25, "recovered_share": 0.5,
}  # fmt: skip


def line(stored: float, on: bool = True, **changes: Any) -> waterline.Waterline:
    return waterline.Waterline(waterline.Params.model_validate(LINE | changes), State(stored_mwh=stored, on=on))


@settings(max_examples=30, deadline=None)
@given(wild, st.floats(0.0, 0.4), st.floats(0.05, 0.7))
def test_a_line_keeps_its_balance_and_its_basin(orders: list[float | None], stored: float, need: float) -> None:
    device = line(stored)
    for value in orders:
        before = device.state.stored_mwh
        device.step(order(value), {"need_mw": need}, 0)
        used, (lacking, wasted) = -device.state.power_mw, device.detail()
        assert used == 0.0 or 0.2 <= used <= 0.6
        expected = before * (1 - 0.01 * H) + H * (used - need) + lacking - wasted
        assert device.state.stored_mwh == pytest.approx(expected, abs=1e-12)
        assert 0.0 <= device.state.stored_mwh <= 0.4
        assert lacking <= 1e-12 or used == pytest.approx(0.6)
        assert wasted <= 1e-12 or used == pytest.approx(0.2)


def test_a_line_pauses_no_longer_than_it_bears_and_recovers_before_it_pauses_again() -> None:
    device, on = line(0.4), []
    for _ in range(150):
        device.step(order(0.0), {"need_mw": 0.3}, 0)
        on.append(device.state.on)
    assert on[:30] == [False] * 30 and on[30], "half an hour at most"
    assert on.index(False, 30) - 30 >= 15, "a quarter of an hour of running at least"
    first_again = on.index(False, 30)
    assert not any(on[k] and not on[k + 1] for k in range(30, first_again - 1))
    low = line(0.1)
    for _ in range(60):
        low.step(order(0.0), {"need_mw": 0.2}, 0)
        assert low.state.on, "no pause from a content that has not recovered"


def test_a_line_by_default_keeps_its_content() -> None:
    device = line(0.3)
    for _ in range(60):
        device.step(None, {"need_mw": 0.35}, 0)
    assert device.state.stored_mwh == pytest.approx(0.3, abs=1e-9)
    assert device.steady_mw({"need_mw": 0.35}, 0) == -0.35
    weak = line(0.39, recovery_h=0.0, recovered_share=0.0)
    energy = 0.0
    for _ in range(600):
        weak.step(None, {"need_mw": 0.05}, 0)
        energy -= H * weak.state.power_mw
        assert weak.detail()[1] == 0.0
    assert energy == pytest.approx(0.05 * 10 + 0.01 * 0.39 * 10, abs=0.05)


FAB: dict[str, Any] = {
    "utilities": [
        {"name": "chillers", "min_power_mw": 0.2, "max_power_mw": 1.2, "store_mwh": 0.6, "share": 0.75},
        {"name": "air", "min_power_mw": 0.1, "max_power_mw": 0.5, "store_mwh": 0.2, "share": 0.25},
    ],
    "loss_per_h": 0.02,
}  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(-6.0, -2.0)), max_size=50), st.floats(0.0, 0.8), st.floats(0.0, 1.6))
def test_a_plant_keeps_the_balance_of_its_stores(orders: list[float | None], stored: float, need: float) -> None:
    device = fab.Fab(fab.Params.model_validate(FAB), State(stored_mwh=stored))
    inputs = {"process_mw": 3.0, "utilities_mw": need}
    for value in orders:
        before = device.state.stored_mwh
        device.step(order(value), inputs, 0)
        taken, short = device.detail()
        assert device.state.power_mw == pytest.approx(-(3.0 + taken))
        assert 0.3 - 1e-9 <= taken <= 1.7 + 1e-9 and -1e-9 <= device.state.stored_mwh <= 0.8 + 1e-9
        gained = device.state.stored_mwh - before * (1 - 0.02 * H)
        if 0.4 <= need <= 1.5 and 0.01 < before < 0.79:
            assert gained == pytest.approx(H * (taken - need), abs=1e-9) and short == pytest.approx(0.0, abs=1e-9)


def test_a_plant_follows_an_order_as_long_as_its_stores_last() -> None:
    device = fab.Fab(fab.Params.model_validate(FAB), State(stored_mwh=0.4))
    inputs = {"process_mw": 3.0, "utilities_mw": 1.0}
    device.step(order(-3.7), inputs, 0)
    assert device.state.power_mw == pytest.approx(-3.7)
    for _ in range(200):
        device.step(order(-3.7), inputs, 0)
    assert device.state.power_mw == pytest.approx(-4.0) and device.state.stored_mwh == pytest.approx(0.0, abs=1e-9)
    device.step(None, inputs, 0)
    assert device.state.power_mw == pytest.approx(-4.0) == device.steady_mw(inputs, 0)


@pytest.mark.parametrize("kind", ["building", "thermostat_cluster", "water_works", "utilities"])
def test_each_is_known_to_the_plant(kind: str) -> None:
    assert DEVICES[kind].STORES and DEVICES[kind].INPUTS
