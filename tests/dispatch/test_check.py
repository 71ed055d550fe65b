"""The independent check: optimal plans pass, anything changed in them is refused by the asset's name."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dispatch import accounting, check, follow
from dispatch.check import check_schedule
from dispatch.check.registry import RECOMPUTE
from dispatch.check.tools import Plan, beyond, needless
from dispatch.registry import KINDS
from dispatch.wish import Wish
from tests.dispatch.oracle_tools import START
from tests.dispatch.random_fleet import GRID_NAMES, MAKE, Fleet, plan, random_fleet
from tests.dispatch.tables import uncovered
from vpp.domain.errors import Fault, InputFaults
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array, TimeGrid

QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
seeds = st.integers(0, 10_000)
grids = st.sampled_from(GRID_NAMES)


def faults(fleet: Fleet, schedule: Schedule) -> list[Fault]:
    return check_schedule(fleet.assets, fleet.states, fleet.inputs, schedule)


def blamed(fleet: Fleet, schedule: Schedule) -> set[str]:
    return {f.where for f in faults(fleet, schedule)}


@settings(max_examples=15, deadline=None, phases=QUICK)
@given(seeds, grids)
def test_an_optimal_plan_of_all_kinds_passes(seed: int, grid_name: str) -> None:
    fleet = random_fleet(seed, grid_name)
    assert faults(fleet, plan(fleet, seed).schedule) == []


def test_every_kind_has_an_entry_in_every_table() -> None:
    assert uncovered(KINDS) == set()
    assert set(MAKE) == set(KINDS)


def test_a_kind_without_entries_is_found_and_refused_by_name() -> None:
    kinds = {**KINDS, "windmill": KINDS["battery"]}
    assert uncovered(kinds) == {("check", "windmill"), ("follow", "windmill"), ("accounting", "windmill")}
    fleet = random_fleet(1, "quarters", ("fixed_load",))
    strange = replace(fleet, assets=tuple(replace(a, kind="windmill") for a in fleet.assets))
    zero = Schedule(tuple(a.id for a in fleet.assets), fleet.grid, np.zeros((2, 20)), np.zeros((2, 20)))
    with pytest.raises(InputFaults, match=r"fixed_load-0/kind: windmill has no rule in dispatch\.check\.RECOMPUTE"):
        faults(strange, zero)
    wish = Wish(strange.assets[0], fleet.states["fixed_load-0"], fleet.grid, np.zeros(20), {})
    with pytest.raises(InputFaults, match=r"fixed_load-0/kind: windmill has no rule in dispatch\.follow\.RULES"):
        follow.follow([wish])
    trace = accounting.Trace(strange.assets[0], fleet.grid, np.zeros(20), np.zeros(20), False, 0.0, np.zeros(20), {})
    with pytest.raises(InputFaults, match=r"fixed_load-0/kind: windmill has no rule in dispatch\.accounting\.RULES"):
        accounting.costs([trace])


def test_the_check_is_independent_of_the_blocks() -> None:
    files = sorted(Path(inspect.getsourcefile(check) or "").parent.glob("*.py"))
    trees = [ast.parse(file.read_text()) for file in files]
    imported = {n.module or "" for tree in trees for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    own = ("dispatch.check", "vpp.domain", "numpy.typing")
    own += ("collections", "dataclasses", "datetime", "itertools", "typing", "zoneinfo", "__future__")
    assert len(files) > len(KINDS)
    assert {m for m in imported if not m.startswith(own)} == set()


def changed_power(fleet: Fleet, schedule: Schedule, asset: Asset, t: int) -> Schedule:
    """0.01 MW more injection; of a plant that may give less than it could, as much as leaves its range."""
    power = schedule.power_mw.copy()
    row = schedule.asset_ids.index(asset.id)
    if asset.kind == "curtailable":
        most = min(asset.params.capacity_mw, asset.params.s_rating_mva / np.hypot(1.0, asset.tan_phi))
        power[row, t] = np.clip(fleet.inputs[asset.id]["available_mw"][t], 0.0, most)
    if asset.kind == "thermal_unit":
        power[row, t] = asset.params.power_mw
    power[row, t] += 0.01
    return replace(schedule, power_mw=power)


def flipped(schedule: Schedule, asset: Asset, t: int) -> Schedule:
    on = schedule.commitment[asset.id].copy()
    on[t] = 1.0 - on[t]
    return replace(schedule, commitment={**schedule.commitment, asset.id: on})


def misreported(schedule: Schedule, asset: Asset, t: int) -> Schedule:
    stored = schedule.stored_mwh[asset.id].copy()
    stored[t] += 0.01
    return replace(schedule, stored_mwh={**schedule.stored_mwh, asset.id: stored})


def decided(schedule: Schedule, asset: Asset, name: str, t: int, change: float) -> Schedule:
    rows = dict(schedule.decisions[asset.id])
    rows[name] = rows[name].copy()
    rows[name][t] += change
    return replace(schedule, decisions={**schedule.decisions, asset.id: rows})


@settings(max_examples=8, deadline=None, phases=QUICK)
@given(seeds, grids, st.randoms(use_true_random=False))
def test_whatever_is_changed_is_refused_by_name(seed: int, grid_name: str, random: Random) -> None:
    fleet = random_fleet(seed, grid_name)
    schedule = plan(fleet, seed).schedule
    for asset in fleet.assets:
        t = random.randrange(fleet.grid.n)
        assert asset.id in blamed(fleet, changed_power(fleet, schedule, asset, t)), "power"
        if asset.id in schedule.commitment and getattr(asset.params, "min_power_mw", 1.0) > 0.0:
            assert asset.id in blamed(fleet, flipped(schedule, asset, t)), "commitment"
        if asset.id in schedule.stored_mwh:
            assert asset.id in blamed(fleet, misreported(schedule, asset, t)), "content"
        for name in schedule.decisions.get(asset.id, {}):
            if name == "price_eur_per_mwh":
                continue
            for change in (0.5, -0.5):
                assert asset.id in blamed(fleet, decided(schedule, asset, name, t, change)), name


def test_a_published_price_must_have_the_power_it_brings() -> None:
    fleet = random_fleet(3, "mixed", ("price_elastic",))
    schedule = plan(fleet, 3).schedule
    for asset in fleet.assets:
        q, load = asset.params, fleet.inputs[asset.id]["load_mw"]
        t = int(np.argmax(load))
        price = schedule.decisions[asset.id]["price_eur_per_mwh"][t]
        middle = q.reference_price_eur_per_mwh * (1.0 + 0.4 * (q.min_share - 1.0) / q.elasticity)
        if q.min_share < 1.0:
            assert blamed(fleet, decided(schedule, asset, "price_eur_per_mwh", t, middle - price + 2.0)) == {asset.id}
    silent = replace(schedule, decisions={})
    assert {(f.where, f.field) for f in faults(fleet, silent)} == {(a.id, "price_eur_per_mwh") for a in fleet.assets}


def hour_grid(n: int) -> TimeGrid:
    return TimeGrid.uniform(random_fleet(0, "hours", ("battery",)).grid.start, np.timedelta64(60, "m").item(), n)


def alone(
    kind: str, params: Mapping[str, Any], inputs: dict[str, Array], state: Mapping[str, Any], power: list[float],
    on: list[float] | None = None, **decisions: list[float],
) -> list[str]:  # fmt: skip
    """Faults of one asset over hours."""
    grid = hour_grid(len(power))
    asset = Asset("x", kind, "s", "mp:x", "n", None, KINDS[kind].Params(**params))
    states = {"x": AssetState("x", grid.start, grid.start, **{"power_mw": 0.0, **state})}
    schedule = Schedule(
        ("x",), grid, np.array([power]), np.zeros((1, len(power))),
        commitment={} if on is None else {"x": np.array(on)},
        decisions={"x": {k: np.array(v) for k, v in decisions.items()}},
    )  # fmt: skip
    return [str(f) for f in check_schedule([asset], states, {"x": inputs}, schedule)]


BATTERY = {"power_mw": 1.0, "capacity_mwh": 2.0, "charge_efficiency": 0.9, "discharge_efficiency": 0.8,
           "wear_eur_per_mwh": 5.0}  # fmt: skip
CHP = {
    "power_mw": 2.0, "min_power_mw": 1.0, "fuel_mw_per_mw": 2.4, "fuel_no_load_mw": 0.3, "heat_mw_per_mw": 1.0,
    "heat_no_load_mw": 0.0, "fuel_price_eur_per_mwh": 35.0, "start_cost_eur": 80.0, "min_up_h": 2.0,
    "min_down_h": 2.0, "ramp_mw_per_min": 0.005, "boiler_mw_th": 4.0, "boiler_efficiency": 0.9, "store_mwh_th": 6.0,
}  # fmt: skip


def test_a_battery_by_hand() -> None:
    """From 1 MWh: 0.72 MW for an hour takes 0.9 MWh and reaches the floor of 0.1 MWh; 0.73 MW goes below it."""
    assert alone("battery", BATTERY, {}, {"stored_mwh": 1.0}, [0.72, -1.0]) == []
    assert alone("battery", BATTERY, {}, {"stored_mwh": 1.0}, [0.73]) == [
        "x/stored_mwh: step 0: 0.08750 outside [0.10000, 1.90000]"
    ]
    assert alone("battery", BATTERY, {}, {"stored_mwh": 1.0, "available": False}, [0.5])[0].startswith("x/power_mw")
    taper = {**BATTERY, "taper_from_soc": 0.8}
    assert alone("battery", taper, {}, {"stored_mwh": 1.0}, [-0.75]) == []
    assert alone("battery", taper, {}, {"stored_mwh": 1.0}, [-0.8])[0].startswith("x/taper")


@pytest.mark.parametrize(
    ("power", "on", "state", "fault"),
    [
        ([0.0, 1.0, 1.3, 1.0, 0.0], [0, 1, 1, 1, 0], {}, None),
        ([0.0, 1.1, 1.1, 1.1], [0, 1, 1, 1], {}, "x/ramp"),
        ([1.0, 1.4], [1, 1], {}, "x/ramp"),
        ([1.0, 1.3, 0.0], [1, 1, 0], {}, "x/ramp"),
        ([1.0, 0.0], [1, 0], {}, "x/commitment"),
        ([1.0, 1.0], [1, 1], {"minutes_in_state": 60}, "x/commitment"),
        ([0.9, 0.9], [1, 1], {}, "x/power_mw"),
        ([0.0, 0.0], [0.4, 0.0], {}, "x/commitment"),
        ([1.7, 1.4, 1.1], [1, 1, 1], {"on": True, "power_mw": 2.0}, None),
        ([1.7, 1.4, 0.0], [1, 1, 0], {"on": True, "power_mw": 2.0}, None),
        ([1.8, 1.6, 0.0], [1, 1, 0], {"on": True, "power_mw": 2.0}, "x/ramp"),
        ([0.0, 0.0], [0, 0], {"on": True, "power_mw": 2.0, "available": False, "minutes_in_state": 5}, None),
        ([1.0, 1.0], [1, 1], {"on": True, "power_mw": 1.0, "available": False}, "x/commitment"),
    ],
)  # fmt: skip
def test_a_chp_by_hand(power: list[float], on: list[float], state: Mapping[str, Any], fault: str | None) -> None:
    """0.3 MW an hour; what falls faster may only stop from 1 MW, or from the lowest power the ramp can have reached."""
    demand = np.array(power) + 0.5
    told = {"boiler_mw_th": [0.5] * len(power)}
    found = alone("chp", CHP, {"heat_demand_mw_th": demand}, {"stored_mwh": 1.0, **state}, power, on, **told)
    assert (found == []) if fault is None else any(f.startswith(fault) for f in found)


def test_dumped_and_unmet_heat_enter_the_balance_and_are_never_negative() -> None:
    demand = {"heat_demand_mw_th": np.array([1.0])}
    assert alone("chp", CHP, demand, {}, [0.0], [0], boiler_mw_th=[1.0]) == []
    cold = {"heat_demand_mw_th": np.array([5.0])}
    assert alone("chp", CHP, cold, {}, [0.0], [0], boiler_mw_th=[4.0], unmet_mw_th=[1.0]) == []
    assert alone("chp", CHP, cold, {}, [0.0], [0], boiler_mw_th=[3.6], unmet_mw_th=[1.4]) == [
        "x/unmet_mw_th: step 0: 1.40000 although the boiler has 0.40000"
    ]
    full = {"stored_mwh": 6.0, "on": True, "power_mw": 1.3}
    assert alone("chp", CHP, demand, full, [1.3], [1], dumped_mw_th=[0.3]) == []
    assert alone("chp", CHP, demand, full, [1.3], [1])[0].startswith("x/stored_mwh")
    assert alone("chp", CHP, demand, full, [1.3], [1], unmet_mw_th=[-0.3])[0].startswith("x/unmet_mw_th")


def test_a_rule_tells_how_many_steps_break_it_and_the_first() -> None:
    """The worst step is spelt out; a single one needs no count."""
    low, high = np.zeros(5), np.ones(5)
    found = beyond("x", "p", np.array([0.0, 1.1, 0.5, -0.7, 1.2]), low, high, 1e-4)
    assert [str(f) for f in found] == [
        "x/p: step 3: -0.70000 outside [0.00000, 1.00000] (the worst of 3 steps, the first is 1)"
    ]
    one = beyond("x", "p", np.array([0.0, 0.1, 0.5, -0.7, 1.0]), low, high, 1e-4)
    assert [str(f) for f in one] == ["x/p: step 3: -0.70000 outside [0.00000, 1.00000]"]
    unknown = beyond("x", "p", np.array([0.0, np.nan, 2.0, 0.0, 0.0]), low, high, 1e-4)
    assert "step 1: nan" in str(unknown[0]) and "worst of 2 steps, the first is 1" in str(unknown[0])
    missed = needless("x", "m", np.array([0.0, 0.4, 0.2]), np.array([1.0, 0.3, 1.0]), "the boiler", 1e-3)
    assert [str(f) for f in missed] == ["x/m: step 1: 0.40000 although the boiler has 0.30000 (the first of 2 steps)"]


def test_a_price_taker_by_hand() -> None:
    """Half price: 10 % more for an hour, of which half is missing evenly over the two hours after each instant."""
    params = {"min_share": 0.5, "elasticity": -0.2, "reference_price_eur_per_mwh": 100.0, "substitution": 0.5}
    price, load = [50.0, 100.0, 100.0, 100.0], {"load_mw": np.full(4, 2.0)}
    power = [-(2.2 - 0.025), -(2.0 - 0.05), -(2.0 - 0.025), -2.0]
    assert alone("price_elastic", params, load, {}, power, price_eur_per_mwh=price) == []
    assert alone("price_elastic", params, load, {}, [-2.2, -2.0, -2.0, -2.0], price_eur_per_mwh=price)
    owing = {**load, "owed_mw": np.array([0.3, 0.1, -1.4, 0.0])}
    after = [p - owed for p, owed in zip(power, [0.3, 0.1, -1.0, 0.0], strict=True)]
    assert alone("price_elastic", params, owing, {}, after, price_eur_per_mwh=price) == [
        "x/power_mw: step 2: -0.97500 outside [-3.00000, -1.00000]"
    ]
    assert any("answer" in f for f in alone("price_elastic", params, owing, {}, power, price_eur_per_mwh=price))


def test_overcooling_and_the_inlet_are_recomputed() -> None:
    params = {"max_power_mw": 1.0, "min_power_mw": 0.5, "cop_at_20c": 4.0, "cop_slope_per_c": 0.0, "store_mwh_th": 1.0,
              "inlet_min_c": 18.0, "inlet_max_c": 28.0, "heat_capacity_mwh_th_per_c": 0.5}  # fmt: skip
    inputs = {"heat_mw_th": np.array([1.0, 1.5]), "ambient_c": np.full(2, 20.0)}
    told = {"overcool_mwh_th": [0.5, 0.5], "overheat_mwh_th": [0.0, 0.0]}
    good = {"inlet_c": [18.0, 18.0]}
    state = {"stored_mwh": 0.5}
    assert alone("thermal_store", params, inputs, state, [-0.5, -0.5], **told, **good) == []
    assert alone("thermal_store", params, inputs, state, [-0.5, -0.5], **told, inlet_c=[18.0, 17.9]) == [
        "x/inlet_c (reported): step 1: 17.90000 outside [18.00000, 18.00000]"
    ]
    assert alone("thermal_store", params, inputs, state, [-0.5, -0.5])[0].startswith("x/stored_mwh")


def test_the_inverter_limits_what_is_available() -> None:
    fleet = random_fleet(1, "hours", ("curtailable",), outages=False, n=1)
    asset = replace(fleet.assets[0], tan_phi=0.75, params=KINDS["curtailable"].Params(
        capacity_mw=2.0, kind_of="pv", s_rating_mva=2.0))  # fmt: skip
    bright = replace(fleet, assets=(asset,), inputs={asset.id: {"available_mw": np.full(14, 2.0)}})
    for mw, fine in ((1.6, True), (1.61, False)):
        schedule = Schedule((asset.id,), fleet.grid, np.full((1, 14), mw), np.zeros((1, 14)))
        assert (faults(bright, schedule) == []) is fine


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda s: replace(s, power_mw=np.full_like(s.power_mw, np.nan)), "power_mw"),
        (lambda s: replace(s, stored_mwh={a: v[:-1] for a, v in s.stored_mwh.items()}), "stored_mwh"),
        (lambda s: replace(s, asset_ids=("other", *s.asset_ids[1:])), "power_mw"),
        (lambda s: replace(s, commitment={}), "commitment"),
    ],
)
def test_a_malformed_schedule_is_refused(change: Callable[[Schedule], Schedule], field: str) -> None:
    fleet = random_fleet(5, "quarters", ("chp",))
    found = faults(fleet, change(plan(fleet, 5).schedule))
    assert ("chp-0", field) in {(f.where, f.field) for f in found}


STEPS = 4


def stored_plan(kind: str, params: dict[str, Any], begin: float, power: float, inputs: dict[str, float]) -> Plan:
    """Four hours of one asset at one power."""
    made = Asset("a", kind, "s", "mp:a", "n", None, KINDS[kind].Params(**params))
    state = AssetState("a", START, START, -power, begin, True, 100_000)
    grid = TimeGrid.uniform(START, timedelta(hours=1), STEPS)
    given = {k: np.full(STEPS, v) for k, v in inputs.items()}
    return Plan(made, state, grid, np.full(STEPS, -power), np.ones(STEPS), {}, given)


WATER = stored_plan(
    "water_works", {"min_power_mw": 0.1, "max_power_mw": 1.0, "capacity_mwh": 2.0}, 0.5, 0.5, {"need_mw": 0.4}
)
COLD = stored_plan(
    "thermal_store",
    {"max_power_mw": 0.8, "min_power_mw": 0.1, "cop_at_20c": 4.0, "cop_slope_per_c": 0.0, "store_mwh_th": 3.0,
     "loss_per_h": 0.0, "inlet_min_c": 18.0, "inlet_max_c": 27.0, "heat_capacity_mwh_th_per_c": 0.13},
    0.5, 0.5, {"heat_mw_th": 1.9, "ambient_c": 20.0},
)  # fmt: skip


@pytest.mark.parametrize(
    ("plan", "lack", "waste"),
    [(WATER, "lacking_mwh", "wasted_mwh"), (COLD, "overheat_mwh_th", "overcool_mwh_th")],
)
def test_a_slack_that_the_store_makes_needless_is_a_fault(plan: Plan, lack: str, waste: str) -> None:
    """The content rises by 0.1 MWh an hour from 0.5, so nothing need be lacking, nor wasted below the ceiling."""

    def told(**decisions: Any) -> list[str]:
        found = RECOMPUTE[plan.asset.kind]([replace(plan, decisions={k: np.array(v) for k, v in decisions.items()})])
        return [f"{f.field}: {f.reason}" for f in found[0].faults]

    assert told() == []
    assert told(**{lack: [0.0, 0.2, 0.0, 0.0]}) == [f"{lack}: step 1: 0.20000 although its store has 0.60000"]
    wasted = told(**{waste: [0.0, 0.2, 0.0, 0.0]})
    assert len(wasted) == 1 and wasted[0].startswith(f"{waste}: step 1: 0.20000 although the room in its store has ")


def test_a_slack_that_is_needed_later_is_no_fault() -> None:
    """Emptied by a need of 1 MW, the basin lacks 0.5 MWh an hour from the second on: early or late costs the same."""
    plan = replace(WATER, inputs={"need_mw": np.full(STEPS, 1.0)})
    for lacking in ([0.0, 0.5, 0.5, 0.5], [0.5, 0.0, 0.5, 0.5]):
        decisions = {"lacking_mwh": np.array(lacking)}
        assert RECOMPUTE["water_works"]([replace(plan, decisions=decisions)])[0].faults == ()
