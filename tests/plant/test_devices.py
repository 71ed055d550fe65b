"""Physics of single devices: balances, windows, ramps, interlocks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plant.running import SILO
from vpp.plant.device import Order, State
from vpp.plant.devices import backup, batch, battery, chp, cooling, depot, generation, mill, price_taker

H = 1 / 60
NUMBERS = iter(range(1, 10**9))
wild = st.lists(st.one_of(st.none(), st.floats(-3, 3)), min_size=20, max_size=60)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.0, 1.0), st.floats(0.5, 0.95))
def test_battery_tapers_towards_full(share: float, taper: float) -> None:
    params = battery.Params(
        power_mw=2.0, capacity_mwh=2.0, soc_min=0.0, soc_max=1.0, charge_efficiency=0.9, discharge_efficiency=0.8,
        taper_from_soc=taper,
    )  # fmt: skip
    device = battery.Battery(params, State(stored_mwh=2.0 * share))
    for _ in range(90):
        device.step(power(-2.0), {}, 0)
        most = 2.0 * (1.0 - device.state.stored_mwh / 2.0) / (1.0 - taper)
        assert -device.state.power_mw == pytest.approx(min(2.0, most), abs=1e-9)


def test_inverter_rating_limits_the_feed_in() -> None:
    params = generation.Params(capacity_mw=2.0, s_rating_mva=2.0)
    device = generation.Generation(params, State(), 0.5)
    device.step(None, {"available_mw": 1.95}, 0)
    assert device.state.power_mw == pytest.approx(2.0 / 1.25**0.5)
    device.step(power(-1.0), {"available_mw": 1.95}, 0)
    assert device.state.power_mw == 0.0


def power(value: float | None) -> Order | None:
    return None if value is None else Order("power_mw", value, next(NUMBERS))


@settings(max_examples=30, deadline=None)
@given(wild, st.floats(0.1, 1.9))
def test_battery_keeps_its_balance_and_its_window(orders: list[float | None], stored: float) -> None:
    params = battery.Params(
        power_mw=2.0, capacity_mwh=2.0, charge_efficiency=0.9, discharge_efficiency=0.8, standing_loss_per_h=0.01
    )
    device = battery.Battery(params, State(stored_mwh=stored))
    for value in orders:
        before = device.state.stored_mwh
        device.step(power(value), {}, 0)
        p = device.state.power_mw
        flow = p / 0.8 if p > 0 else p * 0.9
        assert device.state.stored_mwh == pytest.approx(before * (1 - 0.01 * H) - H * flow, abs=1e-12)
        assert min(0.1, before * (1 - 0.01 * H)) - 1e-9 <= device.state.stored_mwh <= 1.9 + 1e-9
        assert abs(p) <= 2.0
        assert p * (value or 0.0) >= 0.0, "never against the set-point"
        if value is None:
            assert p == 0.0


CHP = chp.Params(
    power_mw=1.0, min_power_mw=0.5, heat_mw_per_mw=1.1, heat_no_load_mw=0.05, min_up_h=1.0, min_down_h=0.5,
    ramp_mw_per_min=0.02, boiler_mw_th=1.5, store_mwh_th=1.0, store_loss_per_h=0.01,
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), st.floats(0, 1.5)), st.floats(0, 1.4), st.integers(1, 40)), max_size=15))
def test_chp_keeps_heat_ramps_and_interlocks(parts: list[tuple[float | None, float, int]]) -> None:
    device = chp.Chp(CHP, State(stored_mwh=0.5))
    for value, demand, minutes in parts:
        order = power(value)
        for _ in range(minutes):
            was, state = State(**{k: getattr(device.state, k) for k in State.__slots__}), device.state
            device.step(order, {"heat_demand_mw_th": demand}, 0)
            boiler, heat, missed = device.detail()
            balance = was.stored_mwh * (1 - 0.01 * H) + H * (heat + boiler + missed - demand)
            assert state.stored_mwh == pytest.approx(balance, abs=1e-9)
            assert -1e-9 <= state.stored_mwh <= 1.0 + 1e-9, "no heat is dumped"
            assert missed == pytest.approx(0.0, abs=1e-9), "the boiler meets what the store cannot"
            assert state.power_mw == 0.0 or 0.5 <= state.power_mw <= 1.0
            full = was.stored_mwh + H * (1.1 * max(was.power_mw, 0.5) + 0.05 - demand) > 0.999
            if not full and state.on == was.on and state.on:
                assert abs(state.power_mw - was.power_mw) <= 0.02 + 1e-9
            if not full and state.on != was.on:
                assert was.minutes_in_state >= (60 if was.on else 30)


def test_chp_starts_at_its_minimum_ramps_and_unloads_before_it_stops() -> None:
    device = chp.Chp(CHP, State(stored_mwh=0.2))
    inputs = {"heat_demand_mw_th": 1.1}
    seen = []
    for order in [Order("power_mw", 0.6, 1)] * 70 + [Order("power_mw", 0.0, 2)] * 10:
        device.step(order, inputs, 0)
        seen.append(device.state.power_mw)
    assert seen[:7] == pytest.approx([0.5, 0.52, 0.54, 0.56, 0.58, 0.6, 0.6])
    assert seen[69:77] == pytest.approx([0.6, 0.58, 0.56, 0.54, 0.52, 0.0, 0.0, 0.0])


def test_chp_with_a_full_store_throttles_and_trips() -> None:
    device = chp.Chp(CHP, State(power_mw=1.0, stored_mwh=0.99, on=True, minutes_in_state=5))
    order = Order("power_mw", 1.0, 1)
    device.step(order, {"heat_demand_mw_th": 0.8}, 0)
    device.step(order, {"heat_demand_mw_th": 0.8}, 0)
    assert 0.5 < device.state.power_mw < 1.0
    device.step(order, {"heat_demand_mw_th": 0.3}, 0)
    assert device.state.power_mw == 0.0


@settings(max_examples=30, deadline=None)
@given(wild, st.floats(0.5, 1.9), st.floats(10, 38))
def test_cooling_keeps_its_balance_and_its_band(orders: list[float | None], heat: float, ambient: float) -> None:
    params = cooling.Params(
        max_power_mw=0.7, cop_at_20c=4.0, cop_slope_per_c=-0.05, store_mwh_th=0.4, loss_per_h=0.02,
        inlet_min_c=18.0, inlet_max_c=27.0,
    )  # fmt: skip
    device = cooling.Cooling(params, State(stored_mwh=0.2))
    cop = 4.0 - 0.05 * (ambient - 20)
    for value in orders:
        before = device.state.stored_mwh
        device.step(power(value), {"heat_mw_th": heat, "ambient_c": ambient}, 0)
        used = -device.state.power_mw
        assert 0.0 <= used <= 0.7
        expected = before * (1 - 0.02 * H) + H * (cop * used - heat)
        assert device.state.stored_mwh == pytest.approx(expected, abs=1e-9)
        assert device.state.stored_mwh <= 0.4 + 1e-9
        if cop * 0.7 >= heat + 0.02:
            assert device.state.stored_mwh >= -1e-9
        inlet, told = device.detail()
        assert told == pytest.approx(cop)
        assert inlet == pytest.approx(27 - 9 * device.state.stored_mwh / 0.4)


def mills(number: int, content_t: float, **changes: float) -> tuple[mill.Silo, list[mill.Mill]]:
    params = mill.Params.model_validate(
        {"power_mw": 1.2, "kwh_per_t": 36.0, "min_run_h": 2.0, "min_stop_h": 1.0, "silo": SILO} | changes
    )
    silo = mill.Silo(params.silo)
    crew = mill.Crew(0, "crew", 0.0, 0.4)
    share = content_t * 36.0 / 1000 / number
    return silo, [mill.Mill(params, State(stored_mwh=share), silo, crew) for _ in range(number)]


def run(silo: mill.Silo, fleet: list[mill.Mill], asked: list[float | None], shipped: float, minutes: int) -> None:
    orders = [None if v is None else Order("on", v, next(NUMBERS)) for v in asked]
    for _ in range(minutes):
        for device, order in zip(fleet, orders, strict=True):
            device.step(order, {"rota": 0.0, "shipments_t_per_h": shipped}, 0)
        silo.ship(shipped)


def test_mills_respect_run_and_stop_and_share_the_silo() -> None:
    silo, fleet = mills(2, 400.0)
    run(silo, fleet, [1, None], 30.0, 30)
    assert [m.state.power_mw for m in fleet] == [-1.2, 0.0]
    assert silo.content_t == pytest.approx(400 + 0.5 * (1200 / 36 - 30))
    assert [m.state.stored_mwh for m in fleet] == pytest.approx([silo.content_t * 0.036 / 2] * 2)
    run(silo, fleet, [0, None], 30.0, 90)
    assert [m.state.on for m in fleet] == [True, False], "two hours at least"
    run(silo, fleet, [0, None], 30.0, 1)
    assert [m.state.on for m in fleet] == [False, False]
    run(silo, fleet, [1, None], 30.0, 59)
    assert [m.state.on for m in fleet] == [False, False], "one hour of rest at least"
    run(silo, fleet, [1, None], 30.0, 1)
    assert [m.state.on for m in fleet] == [True, False]


def test_a_full_silo_trips_and_an_empty_one_misses_shipments() -> None:
    silo, fleet = mills(1, 799.0)
    run(silo, fleet, [1], 0.0, 5)
    assert silo.content_t <= 800 + 1e-6
    assert not fleet[0].state.on
    silo, fleet = mills(1, 101.0)
    run(silo, fleet, [0], 120.0, 1)
    assert silo.content_t == pytest.approx(100.0)
    assert silo.missed_t == pytest.approx(1.0)
    assert fleet[0].detail() == pytest.approx((100.0, 1.0))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([None, 0.0, 1.0]), st.floats(0, 120), st.integers(1, 60)), max_size=12))
def test_silo_keeps_its_balance(parts: list[tuple[float | None, float, int]]) -> None:
    silo, fleet = mills(2, 300.0)
    made = shipped = 0.0
    for asked, rate, minutes in parts:
        for _ in range(minutes):
            run(silo, fleet, [asked, asked], rate, 1)
            made += sum(m.state.on for m in fleet) * 1200 / 36 * H
            shipped += rate * H - silo.missed_t
            assert 100 - 1e-6 <= silo.content_t <= 800 + 1e-6
    assert silo.content_t == pytest.approx(300 + made - shipped)


def taker(**changes: float) -> price_taker.PriceTaker:
    fields = {"min_share": 0.5, "elasticity": -0.2, "reference_price_eur_per_mwh": 100.0, "response_sigma": 0.2}
    return price_taker.PriceTaker(price_taker.Params.model_validate(fields | changes), State(), 3, "taker")


def test_price_taker_draws_one_factor_a_quarter_around_what_is_expected() -> None:
    device = taker()
    seen = []
    for minute in range(15 * 400):
        device.step(Order("price_eur_per_mwh", 200.0, 1), {"load_mw": 2.0}, minute)
        seen.append(device.state.power_mw / -2.0)
    quarters = [seen[15 * k : 15 * k + 15] for k in range(400)]
    assert all(max(q) - min(q) < 1e-12 for q in quarters)
    first = [q[0] for q in quarters]
    mean = sum(first) / 400
    assert mean == pytest.approx(0.8, abs=0.01)
    assert (sum((v - mean) ** 2 for v in first) / 400) ** 0.5 == pytest.approx(0.2 * 0.2, rel=0.15)
    assert min(first) >= 0.5


def test_price_taker_returns_the_substituted_share_within_its_window() -> None:
    device = taker(response_sigma=0.0, substitution=0.5, window_h=1.0, max_share=2.0)
    energy = 0.0
    for minute in range(180):
        order = Order("price_eur_per_mwh", 200.0, 1) if minute < 30 else None
        device.step(order, {"load_mw": 2.0}, minute)
        energy += (2.0 + device.state.power_mw) * H
    assert energy == pytest.approx(0.5 * 0.2 * 2.0 * 0.5, abs=1e-9), "half an hour at -20 %, half of it back"
    assert device.state.power_mw == pytest.approx(-2.0)


STATIONS = backup.Params(
    count=100, site_power_mw=0.004, site_capacity_mwh=0.02, site_connection_mw=0.008, reserve_h=2.0,
    charge_efficiency=0.95, discharge_efficiency=0.9,
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(wild, st.floats(0.2, 2.0), st.floats(0.05, 0.9))
def test_stations_keep_their_reserve_never_export_and_spare_the_connection(
    orders: list[float | None], stored: float, load: float
) -> None:
    device = backup.Backup(STATIONS, State(stored_mwh=stored))
    reserve = min(2.0, 0.2 + 2.0 * load / 0.9)
    for value in orders:
        before = device.state.stored_mwh
        device.step(power(value), {"load_mw": load}, 0)
        battery = device.state.power_mw + load
        assert -max(0.8, load) - 1e-9 <= device.state.power_mw <= 1e-9
        flow = battery / 0.9 if battery > 0.0 else battery * 0.95
        assert device.state.stored_mwh == pytest.approx(before - H * flow, abs=1e-12)
        assert device.state.stored_mwh >= min(reserve, before) - 1e-9, "what is below the reserve is not sold"
        assert device.detail() == pytest.approx((load, reserve))
        if value is None:
            most = max(0.0, min(0.4, 0.8 - load, (2.0 - before) / (0.95 * H)))
            assert battery == pytest.approx(-most, abs=1e-9), "left alone it is filled"


MIDNIGHT = 1468274400 // 60  # 2016-07-12 00:00 in Berlin, a Tuesday
DEPOT = {
    "feeder_mw": 0.12, "charge_efficiency": 0.9, "discharge_efficiency": 0.9,
    "sessions": [
        {"id": "vans", "arrival": "01:00", "departure": "05:00", "count": 10, "power_mw": 0.01, "energy_mwh": 0.027},
        {"id": "bus", "arrival": "00:30", "departure": "03:00", "count": 1, "power_mw": 0.09, "energy_mwh": 0.1,
         "v2g_mw": 0.06, "lend_mwh": 0.05},
    ],
}  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(-0.3, 0.3)), min_size=20, max_size=20))
def test_no_set_point_keeps_a_car_from_leaving_full(orders: list[float | None]) -> None:
    device = depot.Depot(depot.Params.model_validate(DEPOT), State())
    content = left = 0.0
    for minute in range(360):
        at = MIDNIGHT + minute
        device.step(power(orders[minute // 18]), {}, at)
        p = device.state.power_mw
        assert -0.12 - 1e-9 <= p <= 0.06 + 1e-9
        gain = H * (0.9 * max(-p, 0.0) - max(p, 0.0) / 0.9)
        brought = 0.05 if minute == 30 else 0.0
        gone = {179: 0.15, 299: 0.27}.get(minute, 0.0)
        content += gain + brought - gone
        left += device.detail()[1]
        assert device.state.stored_mwh == pytest.approx(content, abs=1e-9)
    assert left == pytest.approx(0.0, abs=1e-9)
    assert device.state.power_mw == 0.0


def test_a_depot_left_alone_charges_at_once_and_is_measured_so_before_it_starts() -> None:
    device = depot.Depot(depot.Params.model_validate(DEPOT), State())
    seen = []
    for minute in range(120):
        device.step(None, {}, MIDNIGHT + minute)
        seen.append(device.state.power_mw)
    assert seen[:30] == [0.0] * 30
    assert seen[30:60] == pytest.approx([-0.09] * 30)
    assert seen[60:90] == pytest.approx([-0.12] * 30), "the feeder holds the vans back"
    assert device.steady_mw({}, MIDNIGHT + 45) == pytest.approx(-0.09)
    assert device.steady_mw({}, MIDNIGHT + 70) == pytest.approx(-0.12)
    assert device.steady_mw({}, MIDNIGHT + 400) == 0.0


def test_a_depot_that_starts_in_the_night_takes_its_content_for_the_cars_that_must_have_it() -> None:
    """At 02:55 the bus cannot be filled any more but by what it holds: 0.15 - 0.9 * 0.09 * 5 / 60 MWh."""
    device = depot.Depot(depot.Params.model_validate(DEPOT), State(stored_mwh=0.31))
    unmet = 0.0
    for minute in range(175, 301):
        device.step(power(0.0), {}, MIDNIGHT + minute)
        unmet += device.detail()[1]
    assert unmet == pytest.approx(0.0, abs=1e-9)


FURNACE = {
    "day_begins": "00:00", "turnaround_min": 10, "setup_min": 20,
    "jobs": [
        {"id": "heat", "profile": [{"minutes": 5, "power_mw": 1.0}, {"minutes": 40, "power_mw": 3.0}], "count": 2,
         "earliest": "00:30"},
        {"id": "slab", "profile": [{"minutes": 20, "power_mw": 2.0}], "earliest": "01:00"},
    ],
}  # fmt: skip


def furnace(failure: float = 0.0, **state: float) -> batch.Batch:
    crew = mill.Crew(0, "crew", failure, 0.4)
    return batch.Batch(batch.Params.model_validate(FURNACE), State(**{"minutes_in_state": 600, **state}), crew)


def lived(device: batch.Batch, minutes: int, orders: dict[int, float], first: int = 0) -> list[float]:
    """Consumption minute by minute from midnight on; an order holds until the next one."""
    seen, order = [], None
    for minute in range(first, first + minutes):
        if minute in orders:
            order = Order("on", orders[minute], next(NUMBERS))
        device.step(order, {}, MIDNIGHT + minute)
        seen.append(-device.state.power_mw)
    return seen


def test_a_furnace_left_alone_makes_everything_as_early_as_it_can() -> None:
    device, steady = furnace(), furnace()
    seen = lived(device, 240, {})
    assert seen == [-steady.steady_mw({}, MIDNIGHT + m) for m in range(240)]
    heat, rest = [1.0] * 5 + [3.0] * 40, [0.0] * 10
    assert seen[:180] == [0.0] * 30 + heat + rest + heat + [0.0] * 30 + [2.0] * 20
    assert device.state.stored_mwh == pytest.approx(2 * (5 + 120) / 60 + 40 / 60)
    assert device.detail() == (3.0, 3.0)


def test_a_heat_runs_through_and_an_order_starts_at_most_one() -> None:
    """Asked at 00:45 and told to stop, it runs on; the order of 01:15 finds it running, that of 01:45 starts one."""
    device = furnace()
    seen = lived(device, 240, {0: 1.0, 1: 0.0, 45: 1.0, 46: 0.0, 75: 1.0, 105: 1.0, 120: 0.0})
    assert seen[:45] == [0.0] * 45, "before its time nothing starts"
    assert all(seen[45:90]) and not any(seen[90:105]) and all(seen[105:150]) and not any(seen[150:])


def test_a_furnace_knows_how_far_it_is_and_begins_the_day_with_nothing() -> None:
    device = furnace(stored_mwh=(5 + 60) / 60, on=True)
    seen = lived(device, 40, {60: 0.0}, first=60)
    assert seen == [3.0] * 20 + [0.0] * 20
    lived(device, 1440 - 100, {}, first=100)
    assert device.state.stored_mwh == pytest.approx(2 * (5 + 120) / 60 + 40 / 60)
    lived(device, 1, {1440: 0.0}, first=1440)
    assert device.state.stored_mwh == 0.0


def test_a_crew_that_fails_starts_late() -> None:
    device = furnace(failure=1.0)
    seen = lived(device, 75, {0: 0.0, 45: 1.0})
    assert 0 < next(m for m, mw in enumerate(seen[45:]) if mw) <= 9
