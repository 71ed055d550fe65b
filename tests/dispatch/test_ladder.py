"""The rungs below the optimum on the demo portfolio, and what every device does when it hears nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dispatch.check import check_schedule
from dispatch.ladder import device_default, last_good, merit_order
from dispatch.registry import KINDS
from tests.dispatch.random_fleet import GRID_NAMES, random_fleet
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.schedule import Schedule
from vpp.domain.time import QUARTER, Array, TimeGrid, mixed_grid
from vpp.plant.device import Device, State
from vpp.plant.devices import battery, chp, cooling, fixed, generation, mill, price_taker
from vpp.service.inputs import by_local_hour
from vpp.service.portfolio import LoadedPortfolio, load_portfolio

DEMO = Path(__file__).resolve().parents[2] / "config" / "demo"
ISSUED = datetime(2016, 7, 11, 8, tzinfo=UTC)
QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
Inputs = dict[str, dict[str, Array]]
DAY_AHEAD = TimeGrid.uniform(ISSUED, QUARTER, 152)
INTRADAY = mixed_grid(
    ISSUED, [(QUARTER, ISSUED + timedelta(hours=6)), (timedelta(hours=1), ISSUED + timedelta(hours=38))]
)
REAL_TIME = TimeGrid.uniform(ISSUED, timedelta(minutes=1), 15)
IN_THE_DEMO = ("battery", "chp", "curtailable", "fixed_load", "price_elastic", "process", "thermal_store")
demo_grids = pytest.mark.parametrize(
    "grid", [DAY_AHEAD, INTRADAY, REAL_TIME], ids=["day_ahead", "intraday", "real_time"]
)


@lru_cache(maxsize=1)
def demo() -> LoadedPortfolio:
    return load_portfolio(DEMO)


def demo_inputs(grid: TimeGrid, seed: int = 0) -> Inputs:
    """The stated hourly values; a rough daily wave for every series."""
    rng = np.random.default_rng(seed)
    hour = np.array([s.hour + s.minute / 60.0 for s in grid.starts])
    found: Inputs = {}
    for asset in demo().portfolio.assets:
        found[asset.id] = {}
        for name, source in asset.inputs.items():
            wave = 0.5 + 0.4 * np.sin((hour - 8.0) / 24.0 * 2 * np.pi) + rng.uniform(-0.1, 0.1, grid.n)
            known = by_local_hour(source.hourly, grid, demo().portfolio.zone)
            found[asset.id][name] = source.scale * (known if source.series is None else wave)
    return found


def demo_price(grid: TimeGrid) -> Array:
    return by_local_hour(demo().market.day_ahead_price.hourly_eur_per_mwh, grid, demo().portfolio.zone)


def rungs(grid: TimeGrid, seed: int = 0) -> dict[str, Schedule]:
    """Each rung of the demo; the last schedule is the merit order of other inputs, issued six hours earlier."""
    assets, states, inputs = demo().portfolio.assets, demo().states(grid.start), demo_inputs(grid, seed)
    earlier = TimeGrid.uniform(grid.start - timedelta(hours=6), QUARTER, 100)
    last = merit_order(
        assets, demo().states(earlier.start), demo_inputs(earlier, seed + 1), earlier, demo_price(earlier), {}
    )
    return {
        "last_good": last_good(last, assets, states, inputs, grid, {}),
        "merit_order": merit_order(assets, states, inputs, grid, demo_price(grid), {}),
        "device_default": device_default(assets, states, inputs, grid),
    }


@demo_grids
@pytest.mark.parametrize("level", ["last_good", "merit_order", "device_default"])
def test_every_rung_passes_the_check_on_the_demo(grid: TimeGrid, level: str) -> None:
    schedule = rungs(grid)[level]
    assert check_schedule(demo().portfolio.assets, demo().states(grid.start), demo_inputs(grid), schedule) == []


def test_the_rungs_are_not_one_schedule() -> None:
    found = list(rungs(DAY_AHEAD).values())
    assert all(np.abs(a.power_mw - b.power_mw).max() > 0.5 for a, b in pairwise(found))


def test_the_last_good_schedule_is_kept_where_it_reaches_and_its_gap_is_filled_by_defaults() -> None:
    grid, assets = DAY_AHEAD, demo().portfolio.assets
    states, inputs = demo().states(grid.start), demo_inputs(DAY_AHEAD)
    last = merit_order(assets, states, inputs, grid, demo_price(grid), {})
    again = last_good(last, assets, states, inputs, grid, {})
    steady = [i for i, a in enumerate(assets) if a.kind not in ("chp", "process")]
    assert again.power_mw[steady] == pytest.approx(last.power_mw[steady], abs=1e-7)
    short = Schedule(last.asset_ids, grid.part(0, 40), last.power_mw[:, :40], last.q_mvar[:, :40])
    cut = last_good(short, assets, states, inputs, grid, {})
    assert cut.power_mw[steady, :40] == pytest.approx(last.power_mw[steady, :40], abs=1e-7)
    assert not cut.power_of("battery-glass")[40:].any()


def test_merit_order_sells_dear_buys_cheap_and_keeps_limits() -> None:
    grid, assets = DAY_AHEAD, demo().portfolio.assets
    limits = {
        "battery-glass": (np.full(grid.n, -0.2), np.full(grid.n, 0.3)),
        "mill-2": (np.zeros(grid.n), np.zeros(grid.n)),
    }
    schedule = merit_order(assets, demo().states(grid.start), demo_inputs(grid), grid, demo_price(grid), limits)
    power, price = schedule.power_of("battery-glass"), demo_price(grid)
    assert price[power > 0.01].min() > price[power < -0.01].max()
    assert power.min() >= -0.2 - 1e-9 and power.max() <= 0.3 + 1e-9
    assert not schedule.power_of("mill-2").any()


def test_what_is_dear_to_curtail_is_not_curtailed() -> None:
    asset = Asset("pv", "curtailable", "s", "mp:pv", "n", None, KINDS["curtailable"].Params(
        capacity_mw=2.0, kind_of="pv", s_rating_mva=2.0, curtailment_cost_eur_per_mwh=10.0))  # fmt: skip
    grid, state = TimeGrid.uniform(ISSUED, QUARTER, 3), {"pv": AssetState("pv", ISSUED, ISSUED, 0.0)}
    found = merit_order([asset], state, {"pv": {"available_mw": np.ones(3)}}, grid, np.array([5.0, -5.0, -15.0]), {})
    assert found.power_mw[0].tolist() == [1.0, 1.0, 0.0]


@settings(max_examples=30, deadline=None, phases=QUICK)
@given(st.integers(0, 100_000), st.sampled_from(GRID_NAMES))
def test_every_rung_passes_for_any_fleet(seed: int, grid_name: str) -> None:
    fleet = random_fleet(seed, grid_name)
    price = np.random.default_rng(seed).uniform(-20.0, 200.0, fleet.grid.n)
    default = device_default(fleet.assets, fleet.states, fleet.inputs, fleet.grid)
    merit = merit_order(fleet.assets, fleet.states, fleet.inputs, fleet.grid, price, {})
    shifted = Schedule(merit.asset_ids, fleet.grid, merit.power_mw[::-1], merit.q_mvar)
    for schedule in (default, merit, last_good(shifted, fleet.assets, fleet.states, fleet.inputs, fleet.grid, {})):
        assert check_schedule(fleet.assets, fleet.states, fleet.inputs, schedule) == []


def device(asset: Asset, state: State) -> Device:
    """The plant's device of an asset, its mill's people never late and its price-taker without chance."""
    params = asset.params.model_dump(mode="json")
    match asset.kind:
        case "battery":
            return battery.Battery(battery.Params.model_validate(params), state)
        case "curtailable":
            return generation.Generation(generation.Params.model_validate(params), state, asset.tan_phi)
        case "fixed_load":
            return fixed.Fixed(fixed.Params.model_validate(params), state)
        case "price_elastic":
            return price_taker.PriceTaker(price_taker.Params.model_validate(params), state, 1, asset.id)
        case "chp":
            return chp.Chp(chp.Params.model_validate(params), state)
        case "thermal_store":
            return cooling.Cooling(cooling.Params.model_validate(params), state)
    raise ValueError(asset.kind)


def plant_day(
    assets: list[Asset], initial: Mapping[str, AssetState], inputs: Inputs, grid: TimeGrid
) -> tuple[Array, Array]:
    """Quarter means (N,T) and contents at the quarters' ends of devices that hear nothing, minute by minute."""
    states = [State(s.power_mw, s.stored_mwh, s.on, s.minutes_in_state) for s in (initial[a.id] for a in assets)]
    silos: dict[str, mill.Silo] = {}
    devices: list[Device] = []
    for asset, state in zip(assets, states, strict=True):
        if asset.kind == "process":
            params = mill.Params.model_validate(asset.params.model_dump(mode="json"))
            silo = silos.setdefault(params.silo.id, mill.Silo(params.silo))
            devices.append(mill.Mill(params, state, silo, mill.Crew(1, asset.id, 0.0, 1.0)))
        else:
            devices.append(device(asset, state))
    power, stored = np.zeros((len(assets), grid.n)), np.zeros((len(assets), grid.n))
    for minute in range(grid.n * 15):
        for i, (asset, one) in enumerate(zip(assets, devices, strict=True)):
            one.step(None, {k: float(v[minute // 15]) for k, v in inputs[asset.id].items()}, minute)
            power[i, minute // 15] += one.state.power_mw / 15.0
        for silo in silos.values():
            silo.ship(float(inputs[assets[0].id].get("shipments_t_per_h", np.zeros(grid.n))[minute // 15]))
        stored[:, minute // 15] = [d.state.stored_mwh for d in devices]
    return power, stored


@pytest.mark.parametrize("kind", IN_THE_DEMO)
def test_the_default_is_what_the_plant_does_when_it_hears_nothing(kind: str) -> None:
    """One day of the demo at quarter means; ramps within a quarter may differ by what the ramp moves in it.

    The mills begin with 250 t: with more the silo fills and the plant trips them, which no rota says.
    """
    grid = TimeGrid.local_day(date(2016, 7, 12), "Europe/Berlin")
    assets, states = list(demo().portfolio.of_kind(kind)), demo().states(grid.start)
    if kind == "process":
        states = {k: replace(s, stored_mwh=3.0) for k, s in states.items()}
    inputs = demo_inputs(grid)
    done, stored = plant_day(assets, states, inputs, grid)
    planned = np.array([KINDS[kind].default_mw(a, states[a.id], inputs[a.id], grid) for a in assets])
    rung = device_default(assets, states, inputs, grid)
    loose = 0.35 if kind == "chp" else 1e-3
    assert planned == pytest.approx(done, abs=loose)
    assert rung.power_mw == pytest.approx(done, abs=loose)
    assert (np.abs(planned - done) > 1e-3).mean() < 0.15
    for i, asset in enumerate(assets):
        if asset.id in rung.stored_mwh:
            assert rung.stored_mwh[asset.id] == pytest.approx(stored[i], abs=0.2 if kind == "chp" else 0.02)
