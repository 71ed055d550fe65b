"""Explanations of plans whose true reason is known, and thresholds that hold when the plan is solved again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import time, timedelta
from typing import Any

import numpy as np
import pytest

from dispatch.block import Context, EndValue, Rows
from dispatch.explain import Change, Explanation, _nearest_run, explain
from dispatch.one_asset import one_asset
from dispatch.prices import prices_of
from dispatch.problem import assemble, limit_block
from dispatch.products.energy import bid_energy
from dispatch.registry import KINDS
from dispatch.rule_places import Places
from dispatch.rules import RuleFile
from dispatch.secure import Secured, secure_plan
from dispatch.solvers.pyomo_door import rule_rows
from tests.dispatch.oracle_tools import START
from tests.dispatch.random_fleet import GRID_NAMES, plan, random_fleet
from tests.dispatch.tiny import ThreeBusNet, exposure
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.prices import Prices
from vpp.domain.time import Array, TimeGrid
from vpp.service.explain_words import Words

QUARTERS = 16
GRID = TimeGrid.uniform(START, timedelta(minutes=15), QUARTERS)
WORTH = 50.0


@dataclass(frozen=True)
class World:
    """Assets against a price, with what is known of them."""

    assets: tuple[Asset, ...]
    states: dict[str, AssetState]
    inputs: dict[str, dict[str, Array]]
    price: Array
    committed: dict[str, Any]
    worth: float = WORTH

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(a.id for a in self.assets)

    @property
    def context(self) -> Context:
        ends = {a: EndValue(np.array([1e6]), np.array([self.worth])) for a in self.ids if not a.startswith("solar")}
        return Context(GRID, START, self.states, self.inputs, self.committed, ends)


def mill(name: str = "mill-1", bus: int | None = None, **changes: Any) -> tuple[Asset, AssetState, dict[str, Array]]:
    """1 MW into a silo of its own, free to start; 36 kWh/t, so that a quarter makes 0.25 MWh of product."""
    silo = {"id": f"silo of {name}", "capacity_t": 500.0, "kwh_per_t": 36.0, "missed_eur_per_t": 100.0}
    silo |= changes.pop("silo", {})
    state = {"stored_mwh": 5.0, "minutes_in_state": 100_000, **changes.pop("state", {})}
    params = {"power_mw": 1.0, "kwh_per_t": 36.0, "min_run_h": 0.0, "min_stop_h": 0.0, "start_cost_eur": 0.0, **changes}
    made = KINDS["process"].Params(**{**params, "silo": silo})
    asset = Asset(name, "process", f"works of {name}", f"mp:{name}", "node", bus, made)
    known = AssetState(name, START, START, float(state.pop("power_mw", 0.0)), **state)
    return asset, known, {"shipments_t_per_h": np.zeros(QUARTERS), "rota": np.zeros(QUARTERS)}


def world(*made: tuple[Asset, AssetState, dict[str, Array]], price: Any, **more: Any) -> World:
    assets = tuple(m[0] for m in made)
    prices = np.broadcast_to(np.asarray(price, dtype=float), (QUARTERS,)).copy()
    return World(
        assets, {m[0].id: m[1] for m in made}, {m[0].id: m[2] for m in made}, prices, more.pop("committed", {}), **more
    )


def planned(w: World, net: ThreeBusNet | None = None, rules: Any = None, limits: Any = None) -> tuple[Secured, Prices]:
    kinds = dict.fromkeys(a.kind for a in w.assets)
    blocks = [KINDS[k].block([a for a in w.assets if a.kind == k], w.context) for k in kinds]
    blocks.append(bid_energy(w.ids, w.ids, GRID, w.price))
    blocks += [limit_block(w.ids, GRID, limits)] if limits else []
    rows: list[Rows] = []
    if rules is not None:
        file, places = RuleFile("rules.py", "", rules), Places(GRID, w.ids, blocks)
        excess, ruled = rule_rows(file, "Europe/Berlin", w.assets, w.states, places)
        blocks, rows = [*blocks, *excess], ruled
    where = exposure([a.bus or 0 for a in w.assets], np.zeros((QUARTERS, 3))) if net else None
    found = secure_plan(assemble(GRID, w.ids, blocks, rows), net, where, deadline_s=30, rel_gap=1e-9)
    assert found.row_duals is not None
    return found, prices_of(found.problem, found.x, found.row_duals, w.assets, found.cuts, where, (0, 1, 2))


def why(w: World, asset: str, t: int, **more: Any) -> Explanation:
    found, prices = planned(w, **more)
    asked = next(a for a in w.assets if a.id == asset)
    return explain(asked, t, w.assets, w.context, found.solution.schedule, prices)


def test_off_because_of_the_price_and_on_again_below_the_worth_of_its_product() -> None:
    price = np.full(QUARTERS, 20.0)
    price[6] = 80.0
    w = world(mill(), price=price)
    told = why(w, "mill-1", 6)
    assert (told.on, told.reason, told.price_eur_per_mwh) == (False, "price", pytest.approx(80.0))
    change = told.changes[0]
    assert (change.would, change.side, change.first, change.last) == ("start", "below", 6, 7)
    assert change.price_eur_per_mwh == pytest.approx(WORTH)
    assert change.extra_cost_eur == pytest.approx(0.25 * (80.0 - WORTH))
    for moved, runs in ((WORTH - 0.1, 1.0), (WORTH + 0.1, 0.0)):
        price[6] = moved
        schedule = planned(world(mill(), price=price))[0].solution.schedule
        assert schedule.commitment["mill-1"][6] == runs


def test_on_because_of_the_price() -> None:
    told = why(world(mill(), price=20.0), "mill-1", 3)
    assert (told.on, told.reason) == (True, "price")
    assert (told.changes[0].would, told.changes[0].side) == ("stop", "above")
    assert told.changes[0].price_eur_per_mwh == pytest.approx(WORTH)


def test_off_because_of_the_minimum_stop_time_after_a_peak() -> None:
    """Two quarters at 900 end a run; the price is low again at once, but the stop lasts an hour."""
    price = np.full(QUARTERS, 20.0)
    price[4:6] = 900.0
    told = why(world(mill(min_stop_h=1.0, state={"on": True, "power_mw": -1.0}), price=price), "mill-1", 7)
    assert (told.on, told.reason, told.limit) == (False, "own", "min_down")
    assert told.worth_eur == pytest.approx(0.25 * (WORTH - 20.0))
    assert why(world(mill(state={"on": True}), price=price), "mill-1", 7).on is True


def test_on_because_of_the_minimum_run_time() -> None:
    """Two cheap quarters start a run that has to last an hour, the rest of it at a price above the worth."""
    price = np.full(QUARTERS, 60.0)
    price[4:6] = -200.0
    told = why(world(mill(min_run_h=1.0), price=price), "mill-1", 6)
    assert (told.on, told.reason, told.limit) == (True, "own", "min_up")


def test_off_because_the_state_holds_it_and_because_it_is_out_of_service() -> None:
    held = why(world(mill(min_stop_h=1.0, state={"minutes_in_state": 10}), price=20.0), "mill-1", 1)
    assert (held.on, held.reason, held.limit) == (False, "own", "min_down")
    broken = why(world(mill(state={"available": False}), price=20.0), "mill-1", 1)
    assert (broken.on, broken.reason, broken.limit) == (False, "known", "out of service")


def test_on_because_that_was_announced() -> None:
    fixed = np.full(QUARTERS, -1, dtype=np.int8)
    fixed[:2] = 1
    told = why(world(mill(), price=90.0, committed={"mill-1": fixed}), "mill-1", 1)
    assert (told.on, told.reason, told.limit) == (True, "known", "announced")
    assert why(world(mill(), price=90.0, committed={"mill-1": fixed}), "mill-1", 2).reason == "price"


def test_off_because_the_silo_is_full() -> None:
    """Two quarters fit into the silo; the two cheapest are taken, and a third would pay if there were room."""
    price = np.linspace(20.0, 35.0, QUARTERS)
    told = why(world(mill(silo={"capacity_t": 153.0}), price=price), "mill-1", 8)
    assert (told.on, told.reason, told.limit) == (False, "own", "content full")
    assert told.worth_eur == pytest.approx(0.25 * (WORTH - price[8]))


def test_off_because_its_starts_are_used_up() -> None:
    price = np.full(QUARTERS, 90.0)
    price[[2, 9]] = [10.0, 20.0]
    told = why(world(mill(max_starts_per_day=1), price=price), "mill-1", 9)
    assert (told.on, told.reason, told.limit) == (False, "own", "starts_per_day")
    assert told.worth_eur == pytest.approx(0.25 * (WORTH - 20.0))


def test_off_because_the_network_has_room_for_one() -> None:
    w = world(mill("mill-1", 2), mill("mill-2", 2), price=20.0)
    found, prices = planned(w, net=ThreeBusNet(rating_mw=(9.0, 1.2)))
    on = found.solution.schedule.commitment
    off = "mill-1" if on["mill-1"][5] < 0.5 else "mill-2"
    asked = next(a for a in w.assets if a.id == off)
    told = explain(asked, 5, w.assets, w.context, found.solution.schedule, prices)
    assert (told.on, told.reason, told.limit) == (False, "network", "line 1")
    name, step, amount = told.exceeded[0]
    assert (name, step) == ("line 1", 5)
    assert amount == pytest.approx(1.0 - 0.2 + 0.01 * 1.2, abs=1e-3)
    assert told.worth_eur == pytest.approx(0.25 * (WORTH - 20.0))
    running = next(a for a in w.assets if a.id != off)
    assert explain(running, 5, w.assets, w.context, found.solution.schedule, prices).reason == "price"


def test_off_because_of_an_operators_rule() -> None:
    def rules(b: Any, plan: Any) -> None:
        @b.Constraint(plan.steps)  # type: ignore[untyped-decorator]
        def one_at_a_time(b: Any, t: int) -> Any:
            return plan.on["mill-1"][t] + plan.on["mill-2"][t] <= 1

    w = world(mill("mill-1"), mill("mill-2", power_mw=1.1), price=20.0)
    told = why(w, "mill-1", 5, rules=rules)
    assert (told.on, told.reason, told.limit) == (False, "rule", "one_at_a_time")
    assert told.exceeded[0] == ("one_at_a_time", 5, pytest.approx(1.0))


def battery(name: str = "battery") -> tuple[Asset, AssetState, dict[str, Array]]:
    params = KINDS["battery"].Params(
        power_mw=1.0, capacity_mwh=20.0, soc_min=0.0, soc_max=1.0, charge_efficiency=0.9, discharge_efficiency=0.9,
        wear_eur_per_mwh=5.0,
    )  # fmt: skip
    asset = Asset(name, "battery", "works", f"mp:{name}", "node", None, params)
    return asset, AssetState(name, START, START, 0.0, 10.0), {}


def test_a_resting_battery_names_the_prices_at_which_it_would_move() -> None:
    """Content is worth 50: discharging pays above 50 / 0.9 + 5, charging below 0.9 * 50 - 5."""
    told = why(world(battery(), price=50.0), "battery", 3)
    assert (told.on, told.power_mw, told.reason) == (None, pytest.approx(0.0, abs=1e-9), "price")
    found = {c.would: (c.side, c.price_eur_per_mwh) for c in told.changes}
    assert found["more discharge"] == ("above", pytest.approx(WORTH / 0.9 + 5.0))
    assert found["more charge"] == ("below", pytest.approx(0.9 * WORTH - 5.0))


def test_a_battery_at_its_most_names_the_limit_and_its_shadow_price() -> None:
    told = why(world(battery(), price=100.0), "battery", 3)
    assert told.power_mw == pytest.approx(1.0)
    most = next(b for b in told.bindings if b.name == "discharge at its most")
    assert (most.part, most.unit) == ("own", "EUR/MWh")
    assert most.shadow_price == pytest.approx(-(100.0 - 5.0 - WORTH / 0.9))


def test_a_battery_held_by_an_ordered_limit_says_so() -> None:
    low, high = np.full(QUARTERS, -np.inf), np.full(QUARTERS, np.inf)
    high[3] = 0.4
    told = why(world(battery(), price=100.0), "battery", 3, limits={"battery": (low, high)})
    assert (told.power_mw, told.reason) == (pytest.approx(0.4), "marginal")
    assert told.parts_eur_per_mwh["limit"] == pytest.approx(-(100.0 - 5.0 - WORTH / 0.9))
    assert [(b.name, b.shadow_price) for b in told.bindings if b.part == "limit"] == [
        ("ordered limit", pytest.approx(-(100.0 - 5.0 - WORTH / 0.9)))
    ]


def test_generation_gives_all_it_has_and_would_curtail_below_nothing() -> None:
    params = KINDS["curtailable"].Params(capacity_mw=2.0, kind_of="pv", s_rating_mva=2.0)
    asset = Asset("solar", "curtailable", "roof", "mp:solar", "node", None, params)
    made = asset, AssetState("solar", START, START, 0.0), {"available_mw": np.ones(QUARTERS)}
    told = why(world(made, price=30.0), "solar", 3)
    assert (told.power_mw, told.reason) == (pytest.approx(1.0), "price")
    assert [(c.would, c.side, c.price_eur_per_mwh) for c in told.changes] == [
        ("less power", "below", pytest.approx(0.0, abs=1e-9))
    ]


def test_what_nobody_controls_is_said_to_be_so() -> None:
    params = KINDS["fixed_load"].Params(peak_mw=1.0)
    asset = Asset("solar-office", "fixed_load", "office", "mp:o", "node", None, params)
    made = asset, AssetState("solar-office", START, START, 0.0), {"load_mw": np.ones(QUARTERS)}
    assert why(world(made, price=30.0), "solar-office", 3).reason == "uncontrolled"


def test_an_engine_with_a_range_names_the_price_of_its_run_and_of_its_level() -> None:
    params = KINDS["chp"].Params(
        power_mw=2.0, min_power_mw=1.0, fuel_mw_per_mw=2.0, fuel_no_load_mw=0.0, heat_mw_per_mw=0.0,
        heat_no_load_mw=0.0, fuel_price_eur_per_mwh=30.0, start_cost_eur=0.0, min_up_h=0.0, min_down_h=0.0,
        ramp_mw_per_min=1.0, boiler_mw_th=1.0, boiler_efficiency=1.0, store_mwh_th=1.0,
    )  # fmt: skip
    asset = Asset("chp", "chp", "heat", "mp:chp", "node", None, params)
    price = np.full(QUARTERS, 40.0)
    price[5] = 100.0
    made = asset, AssetState("chp", START, START, 0.0, 0.5), {"heat_demand_mw_th": np.zeros(QUARTERS)}
    w = world(made, price=price, worth=0.0)
    on, off = why(w, "chp", 5), why(w, "chp", 8)
    assert (on.on, on.power_mw, on.reason) == (True, pytest.approx(2.0), "price")
    assert [(c.would, c.side) for c in on.changes] == [("stop", "below"), ("less power", "below")]
    assert [c.price_eur_per_mwh for c in on.changes] == pytest.approx([60.0, 60.0])
    assert (off.on, off.reason, off.changes[0].would, off.changes[0].side) == (False, "price", "start", "above")
    assert off.changes[0].price_eur_per_mwh == pytest.approx(60.0)


def test_a_plan_that_does_the_other_thing_than_its_prices_says_that_it_ended_in_its_gap() -> None:
    w = world(mill(), price=20.0)
    found, prices = planned(w)
    schedule = found.solution.schedule
    on = schedule.commitment["mill-1"].copy()
    on[5] = 0.0
    power = schedule.power_mw.copy()
    power[0, 5] = 0.0
    idle = replace(schedule, commitment={"mill-1": on}, power_mw=power)
    told = explain(w.assets[0], 5, w.assets, w.context, idle, prices)
    assert (told.on, told.reason) == (False, "gap")
    assert told.changes[0].extra_cost_eur == pytest.approx(-0.25 * (WORTH - 20.0))


@pytest.mark.parametrize(("kind", "label"), [("battery", "content"), ("process", "content"), ("chp", "store"),
                                             ("thermal_store", "cold")])  # fmt: skip
def test_the_contents_of_a_kind_are_found_by_what_they_are(kind: str, label: str) -> None:
    fleet = random_fleet(4, GRID_NAMES[0], kinds=(kind,), outages=False, n=1)
    schedule = plan(fleet, 4).schedule
    asset = fleet.assets[0]
    one = one_asset(asset, fleet.assets, fleet.context(), schedule, Prices({}, {}, {}, {}), room=True)
    assert [name for name, _ in one.windows()] == [label]


def test_a_moved_run_is_told_by_its_times_and_when_it_would_pay() -> None:
    """The run given up is the nearest whole one, and a price is never said to start a machine."""
    grid = TimeGrid.uniform(START, timedelta(hours=1), 8)
    marked = np.array([True, False, True, True, False, False, False, True])
    assert [_nearest_run(marked, t) for t in (0, 4, 6)] == [(0, 1), (2, 4), (7, 8)]
    assert _nearest_run(np.zeros(8, dtype=bool), 3) == (None, None)
    moved = Change("start", "below", 41.0, -1.0, 4, 6, 55.0, 12.5, *_nearest_run(marked, 4))
    told = Explanation("mill", 4, 0.0, False, 60.0, {"energy": 60.0}, "price", changes=(moved,))
    sentence = Words(grid, "UTC", "EUR").sentence(told)
    at = [f"{e:%H:%M}" for e in grid.edges]
    assert f"instead of from {at[2]}" in sentence and f" to {at[4]}" in sentence and "around" not in sentence
    assert "it would pay off at a mean price of energy and fee in that time below 41.00 EUR/MWh (now 55.00)" in sentence


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_explained_and_every_price_named_lies_on_its_side(kind: str, seed: int) -> None:
    fleet = random_fleet(seed, GRID_NAMES[0], kinds=(kind,), outages=False)
    ids = tuple(a.id for a in fleet.assets)
    price = np.random.default_rng(seed).uniform(10.0, 160.0, fleet.grid.n)
    blocks = [KINDS[kind].block(fleet.assets, fleet.context()), bid_energy(ids, ids, fleet.grid, price)]
    found = secure_plan(assemble(fleet.grid, ids, blocks), None, None, deadline_s=30, rel_gap=1e-7)
    assert found.row_duals is not None
    prices = prices_of(found.problem, found.x, found.row_duals, fleet.assets)
    words = Words(fleet.grid, "Europe/Berlin", "EUR")
    for t in range(0, fleet.grid.n, 5):
        told = explain(fleet.assets[0], t, fleet.assets, fleet.context(), found.solution.schedule, prices)
        assert told.price_eur_per_mwh == pytest.approx(price[t])
        assert told.reason in {"price", "own", "known", "marginal", "uncontrolled"}, told
        assert told.reason != "uncontrolled" or not told.changes, told
        for change in told.changes:
            now = price[t] if change.mean_eur_per_mwh is None else change.mean_eur_per_mwh
            past = change.price_eur_per_mwh - now
            assert past >= -1e-3 if change.side == "above" else past <= 1e-3
        assert words.sentence(told).startswith(f"{ids[0]} ")


def machine() -> tuple[Asset, AssetState, dict[str, Array]]:
    """One task of half an hour at 2 MW that starts between 00:30 and 02:30, steps 2 to 10."""
    job = {"id": "cast", "profile": [{"minutes": 30, "power_mw": 2.0}], "earliest": "00:30", "latest": "02:30",
           "missed_eur": 1e4}  # fmt: skip
    q = KINDS["batch"].Params(jobs=[job], day_begins="23:00")
    return Asset("press", "batch", "shop", "mp:press", "node", None, q), AssetState("press", START, START, 0.0, 0.0), {}


def cheap_at(*steps: int) -> Array:
    price = np.full(QUARTERS, 60.0)
    price[list(steps)] = 20.0
    return price


def test_a_task_runs_and_waits_because_of_the_price() -> None:
    w = world(machine(), price=cheap_at(6, 7))
    runs, waits = why(w, "press", 6), why(w, "press", 4)
    assert (runs.on, runs.reason, runs.changes[0].would) == (True, "price", "stop")
    assert (waits.on, waits.reason, waits.changes[0].would) == (False, "price", "start")
    assert waits.changes[0].extra_cost_eur == pytest.approx(2.0 * 0.5 * (60.0 - 20.0))
    assert (waits.changes[0].instead, waits.changes[0].instead_until) == (6, 8)
    for t in range(QUARTERS):
        told = Words(GRID, "Europe/Berlin", "EUR").sentence(why(w, "press", t))
        assert "nobody controls it" not in told


def test_a_machine_rests_outside_its_windows_and_at_an_ordered_limit() -> None:
    outside = why(world(machine(), price=cheap_at(6, 7)), "press", 1)
    assert (outside.on, outside.reason, outside.limit) == (False, "own", "windows")
    low = np.where(np.arange(QUARTERS) == 6, -1.0, -np.inf)
    limits = {"press": (low, np.full(QUARTERS, np.inf))}
    held = why(world(machine(), price=cheap_at(6, 7)), "press", 6, limits=limits)
    assert (held.on, held.reason) == (False, "limit")
    assert held.worth_eur == pytest.approx(0.25 * 2.0 * (60.0 - 20.0))


def test_a_machine_goes_on_because_its_task_already_runs() -> None:
    asset, state, inputs = machine()
    job = asset.params.jobs[0].model_copy(update={"earliest": time(0, 0), "latest": time(0, 0)})
    running = replace(asset, params=asset.params.model_copy(update={"jobs": (job,)}))
    half = replace(state, stored_mwh=0.5, power_mw=-2.0, on=True)
    told = why(world((running, half, inputs), price=60.0), "press", 0)
    assert (told.on, told.reason, told.limit) == (True, "own", "running task")


def test_a_way_to_move_is_told_once_at_its_nearest_price() -> None:
    """Two pieces of a cost curve want more power above two prices, and the nearer one comes first."""
    changes = tuple(Change(w, s, p) for w, s, p in (
        ("more piece", "above", 62.86), ("more piece", "above", 67.5), ("less piece", "below", 40.0)))  # fmt: skip
    told = Explanation("biomass", 0, 1.0, None, 60.0, {"energy": 60.0}, "price", changes=changes)
    said = Words(GRID, "Europe/Berlin", "EUR").sentence(told)
    assert "It would run at more power above 62.86 EUR/MWh and run at less power below 40.00 EUR/MWh." in said
