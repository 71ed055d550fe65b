"""Whatever is wished, what `follow` makes of it is a schedule that the independent check passes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dispatch.check import check_schedule
from dispatch.follow import follow
from dispatch.registry import KINDS
from dispatch.wish import Wish
from tests.dispatch.random_fleet import GRID_NAMES, Fleet, random_fleet
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array, TimeGrid

QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
START = datetime(2016, 7, 12, tzinfo=UTC)
SILO = {"id": "silo", "capacity_t": 200.0, "min_t": 20.0, "kwh_per_t": 40.0, "missed_eur_per_t": 30.0}
MILL = {"power_mw": 1.6, "kwh_per_t": 40.0, "min_run_h": 2.0, "min_stop_h": 1.0, "start_cost_eur": 60.0, "silo": SILO}


@settings(max_examples=80, deadline=None, phases=QUICK)
@given(st.integers(0, 100_000), st.sampled_from(GRID_NAMES), st.booleans(), st.sampled_from([0.3, 3.0]))
def test_any_wish_becomes_a_schedule_that_passes(seed: int, grid_name: str, hold: bool, scale: float) -> None:
    fleet, rng = random_fleet(seed, grid_name, n=3), np.random.default_rng(seed)
    wishes = [
        Wish(a, fleet.states[a.id], fleet.grid, rng.uniform(-scale, scale, fleet.grid.n), fleet.inputs[a.id],
             hold_store=hold)
        for a in fleet.assets
    ]  # fmt: skip
    schedule = follow(wishes)
    assert schedule.asset_ids == tuple(a.id for a in fleet.assets)
    assert check_schedule(fleet.assets, fleet.states, fleet.inputs, schedule) == []


@settings(max_examples=40, deadline=None, phases=QUICK)
@given(st.integers(0, 100_000), st.sampled_from(GRID_NAMES))
def test_a_wish_that_can_be_kept_is_kept(seed: int, grid_name: str) -> None:
    """What `follow` made once is a wish that the same devices keep exactly; a price-taker publishes the same price."""
    fleet = random_fleet(seed, grid_name, ("battery", "curtailable", "fixed_load", "price_elastic", "thermal_store"))
    rng = np.random.default_rng(seed)
    first = follow([wish(fleet, a, rng.uniform(-1.0, 1.0, fleet.grid.n)) for a in fleet.assets])
    second = follow([wish(fleet, a, first.power_of(a.id)) for a in fleet.assets])
    assert second.power_mw == pytest.approx(first.power_mw, abs=1e-7)
    for asset in (a for a in fleet.assets if a.kind == "price_elastic"):
        prices = [s.decisions[asset.id]["price_eur_per_mwh"] for s in (first, second)]
        assert prices[1] == pytest.approx(prices[0], abs=1e-3)


def wish(fleet: Fleet, asset: Asset, power_mw: Array) -> Wish:
    return Wish(asset, fleet.states[asset.id], fleet.grid, power_mw, fleet.inputs[asset.id])


def quarters(n: int) -> TimeGrid:
    return TimeGrid.uniform(START, timedelta(minutes=15), n)


def mill_wishes(
    wanted: Array, content_t: float, shipped_t_per_h: float = 0.0, since: int = 10_000, on: tuple[bool, ...] = (),
    more: dict[str, Any] | None = None, **limits: Any,
) -> list[Wish]:  # fmt: skip
    """One wish per row of `wanted` (mills, T), 1 for on; the mills make 40 t an hour each."""
    grid = quarters(wanted.shape[1])
    found = []
    for k, row in enumerate(wanted):
        asset = Asset(
            f"m{k}", "process", "s", f"mp:m{k}", "n", None, KINDS["process"].Params(**{**MILL, **(more or {})})
        )
        running = bool(on and on[k])
        stored = content_t * 0.04 / len(wanted)
        state = AssetState(asset.id, START, START, -1.6 * running, stored, running, since)
        given = {"shipments_t_per_h": np.full(grid.n, shipped_t_per_h), "rota": np.zeros(grid.n)}
        found.append(Wish(asset, state, grid, -1.6 * row, given, **limits))
    return found


def checked(wishes: list[Wish]) -> Schedule:
    schedule = follow(wishes)
    states, inputs = {w.asset.id: w.state for w in wishes}, {w.asset.id: w.inputs for w in wishes}
    assert check_schedule([w.asset for w in wishes], states, inputs, schedule) == []
    return schedule


def test_a_mill_starts_only_where_its_minimum_run_fits() -> None:
    """80 t of a minimum run fit above 120 t, not above 121 t."""
    always = np.ones((1, 16))
    assert checked(mill_wishes(always, 120.0)).commitment["m0"][:8].all()
    assert not checked(mill_wishes(always, 121.0)).commitment["m0"].any()


@settings(max_examples=60, deadline=None, phases=QUICK)
@given(st.integers(0, 100_000), st.floats(0.0, 200.0), st.floats(0.0, 100.0))
def test_the_silo_runs_over_only_where_held_mills_fill_it(seed: int, content_t: float, shipped: float) -> None:
    """All mills stand or may stop at the start, so nothing is ever spilled."""
    rng = np.random.default_rng(seed)
    on = tuple(rng.random(3) < 0.5)
    schedule = checked(mill_wishes(rng.choice([0.0, 1.0], (3, 48)), content_t, shipped, on=on))
    assert schedule.decisions["m0"]["spilled_t"].max() == 0.0
    assert schedule.decisions["m0"]["silo_t"].max() <= 200.0 + 1e-6


def test_a_mill_held_by_its_minimum_run_spills_what_does_not_fit() -> None:
    schedule = checked(mill_wishes(np.zeros((1, 8)), 195.0, since=60, on=(True,)))
    assert schedule.commitment["m0"].tolist() == [1.0] * 4 + [0.0] * 4
    assert schedule.decisions["m0"]["spilled_t"].tolist() == pytest.approx([5.0, 10.0, 10.0, 10.0, 0, 0, 0, 0])


def test_a_dry_silo_starts_a_mill_that_nobody_wished_for() -> None:
    schedule = checked(mill_wishes(np.zeros((2, 8)), 25.0, 40.0))
    assert schedule.commitment["m0"].all() and not schedule.commitment["m1"].any()
    assert schedule.decisions["m0"]["missed_t"].sum() == 0.0


def test_an_order_not_to_consume_is_kept_and_costs_shipments() -> None:
    schedule = checked(mill_wishes(np.ones((2, 8)), 25.0, 40.0, lower_mw=np.full(8, -1.5)))
    assert not schedule.power_mw.any()
    assert schedule.decisions["m0"]["missed_t"].sum() == pytest.approx(75.0)


def test_crew_and_starts_are_kept() -> None:
    together = checked(mill_wishes(np.ones((3, 16)), 100.0, 80.0, more={"crew_limit": 1}))
    assert sum(together.commitment.values()).max() == 1.0  # type: ignore[union-attr]
    often = {"min_run_h": 0.0, "min_stop_h": 0.0, "max_starts_per_day": 2}
    alternating = checked(mill_wishes(np.tile([1.0, 0.0], 6)[None, :], 100.0, 10.0, more=often))
    assert alternating.commitment["m0"].tolist() == [1, 0, 1] + [0] * 9
    wish = mill_wishes(np.tile([1.0, 0.0], 6)[None, :], 100.0, 10.0, more=often)[0]
    for hours, expected in ((1.0, [1] + [0] * 11), (23.5, [1, 0, 1] + [0] * 9)):
        earlier = replace(wish.state, started=(START - timedelta(hours=hours),))
        plan = checked([replace(wish, state=earlier)])
        assert plan.commitment["m0"].tolist() == expected


CHP = {
    "power_mw": 2.0, "min_power_mw": 1.0, "fuel_mw_per_mw": 2.4, "fuel_no_load_mw": 0.3, "heat_mw_per_mw": 1.0,
    "heat_no_load_mw": 0.0, "fuel_price_eur_per_mwh": 35.0, "start_cost_eur": 80.0, "min_up_h": 1.0,
    "min_down_h": 1.0, "ramp_mw_per_min": 0.02, "boiler_mw_th": 4.0, "boiler_efficiency": 0.9, "store_mwh_th": 6.0,
}  # fmt: skip


def chp_wish(wanted: list[float], demand: float, content: float, state: dict[str, Any], **more: Any) -> Wish:
    grid = quarters(len(wanted))
    asset = Asset("x", "chp", "s", "mp:x", "n", None, KINDS["chp"].Params(**CHP))
    start = AssetState("x", START, START, **{"power_mw": 0.0, "stored_mwh": content, **state})
    return Wish(asset, start, grid, np.array(wanted), {"heat_demand_mw_th": np.full(grid.n, demand)}, **more)


def test_an_engine_unloads_before_it_stops() -> None:
    schedule = checked([chp_wish([0.0] * 6, 1.0, 1.0, {"on": True, "power_mw": 1.9})])
    assert schedule.power_mw[0] == pytest.approx([1.6, 1.3, 1.0, 0.0, 0.0, 0.0])


def test_a_set_point_below_half_the_minimum_power_is_off() -> None:
    assert not checked([chp_wish([0.5] * 4, 1.0, 1.0, {})]).power_mw.any()
    assert checked([chp_wish([0.6] * 4, 1.0, 1.0, {})]).power_mw[0] == pytest.approx([1.0] * 4)


def test_an_engine_does_not_start_into_a_full_store_and_a_held_one_dumps() -> None:
    assert not checked([chp_wish([2.0] * 8, 0.2, 5.9, {})]).power_mw.any()
    fits = checked([chp_wish([2.0] * 8, 0.2, 5.2, {})])
    assert fits.power_mw[0] == pytest.approx([1.0] * 4 + [0.0] * 4, abs=1e-3)
    assert fits.decisions["x"]["dumped_mw_th"].max() < 1e-9
    held = {"on": True, "power_mw": 1.0, "minutes_in_state": 30}
    schedule = checked([chp_wish([0.0] * 4, 0.2, 6.0, held)])
    assert schedule.decisions["x"]["dumped_mw_th"] == pytest.approx([0.8, 0.8, 0.0, 0.0])


def test_the_store_serves_first_unless_it_is_held() -> None:
    first = checked([chp_wish([0.0] * 4, 1.0, 0.5, {})])
    assert first.decisions["x"]["boiler_mw_th"] == pytest.approx([0.0, 0.0, 1.0, 1.0])
    held = checked([chp_wish([0.0] * 4, 1.0, 0.5, {}, hold_store=True)])
    assert held.decisions["x"]["boiler_mw_th"] == pytest.approx([1.0] * 4)
    assert held.stored_mwh["x"] == pytest.approx([0.5] * 4)


def test_a_price_taker_publishes_the_price_of_its_own_response() -> None:
    """A wish of 10 % more; the price is the marginal benefit of the move, not of the consumption that includes it."""
    params = {"min_share": 0.5, "elasticity": -0.2, "reference_price_eur_per_mwh": 100.0, "substitution": 0.8,
              "window_h": 0.5}  # fmt: skip
    asset = Asset("x", "price_elastic", "s", "mp:x", "n", None, KINDS["price_elastic"].Params(**params))
    state = AssetState("x", START, START, -2.0)
    load = {"load_mw": np.full(2, 2.0)}
    schedule = checked([Wish(asset, state, quarters(2), np.array([-2.2, -2.2]), load)])
    first = 0.2 / (1.0 - 0.8 * 0.25)
    second = (0.2 + 0.8 * 0.5 * first) / (1.0 - 0.8 * 0.25)
    assert schedule.power_mw[0] == pytest.approx([-2.2, -2.2])
    assert schedule.decisions["x"]["price_eur_per_mwh"] == pytest.approx(
        [100.0 * (1 - m / 2.0 / 0.2) for m in (first, second)]
    )


def test_a_load_that_falls_leaves_no_room_for_what_comes_back() -> None:
    """1 MW less before the load falls to a tenth: what comes back may not pass the most it takes, so less is moved."""
    params = {"min_share": 0.5, "max_share": 1.2, "elasticity": -0.5, "reference_price_eur_per_mwh": 100.0,
              "substitution": 1.0, "window_h": 1.0}  # fmt: skip
    asset = Asset("x", "price_elastic", "s", "mp:x", "n", None, KINDS["price_elastic"].Params(**params))
    load = {"load_mw": np.array([2.0, 0.2, 0.2])}
    state = AssetState("x", START, START, -2.0)
    schedule = checked([Wish(asset, state, quarters(3), np.array([-1.0, -0.2, -0.2]), load)])
    assert -2.0 < schedule.power_mw[0, 0] < -1.0 or schedule.power_mw[0, 0] == pytest.approx(-1.0)
    assert schedule.power_mw[0, 1] >= -0.24 - 1e-9


def test_limits_narrow_a_wish_before_the_device_answers() -> None:
    fleet = random_fleet(7, "quarters", ("battery",), outages=False, n=1)
    asset = fleet.assets[0]
    half = replace(fleet.states[asset.id], stored_mwh=0.5 * asset.params.capacity_mwh)
    wanted = Wish(asset, half, fleet.grid, np.full(20, 9.0), {}, lower_mw=-0.01, upper_mw=np.full(20, 0.01))
    assert follow([wanted]).power_mw[0] == pytest.approx(0.01)
