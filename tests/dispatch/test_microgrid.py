"""A microgrid against a literal model, and what must hold whatever its members are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pyomo.environ as pyo
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dispatch.accounting import microgrid as accounting
from dispatch.check import check_contracts, check_schedule
from dispatch.check import microgrid as check
from dispatch.follow.group import Group, follow_in_groups
from dispatch.ladder import last_good, merit_order
from dispatch.problem import assemble, columns_of, cost_terms, read_schedule
from dispatch.product import Contract, Trade
from dispatch.products import microgrid
from dispatch.products.registry import PRODUCTS
from dispatch.registry import KINDS
from dispatch.wish import Wish
from tests.dispatch.commitment_oracle import GRIDS, solve, times
from tests.dispatch.random_fleet import GRID_NAMES, Fleet, price_block, random_fleet, solved
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array, TimeGrid

QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
HOME = ("battery", "curtailable", "fixed_load")
CELLS = {"power_mw": 0.8, "capacity_mwh": 2.0, "soc_min": 0.0, "soc_max": 1.0, "charge_efficiency": 0.9,
         "discharge_efficiency": 0.9, "wear_eur_per_mwh": 4.0}  # fmt: skip


def terms(**changes: Any) -> microgrid.Terms:
    base = {"id": "mg", "of": {"assets": ["x"]}, "import_mw": 0.6, "export_mw": 0.4}
    return microgrid.Terms(**{**base, **changes})


def outage(grid: TimeGrid, first: int, last: int) -> dict[str, Any]:
    return {"start": grid.edges[first], "end": grid.edges[last]}


def small(seed: int, grid: TimeGrid) -> Fleet:
    """A battery, PV and a load behind the connection, a second load elsewhere."""
    rng = np.random.default_rng(seed)
    roof = {"capacity_mw": 1.5, "kind_of": "pv", "s_rating_mva": 1.5}
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "cells": ("battery", CELLS), "pv": ("curtailable", roof), "load": ("fixed_load", {"peak_mw": 1.0}),
        "other": ("fixed_load", {"peak_mw": 1.0}),
    }  # fmt: skip
    assets = tuple(
        Asset(name, kind, "s", f"mp:{name}", "n", None, KINDS[kind].Params(**params))
        for name, (kind, params) in kinds.items()
    )
    states = {a.id: AssetState(a.id, grid.start, grid.start, 0.0, 1.0) for a in assets}
    inputs = {
        "cells": {}, "pv": {"available_mw": rng.uniform(0.0, 1.5, grid.n)},
        "load": {"load_mw": rng.uniform(0.2, 1.0, grid.n)}, "other": {"load_mw": rng.uniform(0.2, 1.0, grid.n)},
    }  # fmt: skip
    return Fleet(grid, assets, states, inputs)


@dataclass(frozen=True)
class Planned:
    objective: float
    schedule: Schedule
    costs: dict[str, float]
    separate: Array


def plan(fleet: Fleet, definition: microgrid.Terms, members: Sequence[str], price: Array, **known: Array) -> Planned:
    """Energy of all assets sold at `price`, the microgrid's terms held."""
    ids, kinds = tuple(a.id for a in fleet.assets), dict.fromkeys(a.kind for a in fleet.assets)
    blocks = tuple(KINDS[k].block([a for a in fleet.assets if a.kind == k], fleet.context()) for k in kinds)
    zero = np.zeros(fleet.grid.n)
    contracts = (Contract("microgrid", definition, tuple(members), known),)
    view = Trade(fleet.grid, ids, zero, zero, 0.0, contracts=contracts, kinds=blocks)
    products = PRODUCTS["microgrid"].blocks(view)
    problem = assemble(fleet.grid, ids, [*blocks, price_block(ids, fleet.grid, price), *products])
    x = solved(problem, 1e-9).x
    schedule = read_schedule(problem, x, None, np.zeros(len(ids)))
    separate = x[columns_of(problem, f"microgrid {definition.id}", "separate")]
    return Planned(problem.objective(x), schedule, dict(cost_terms(problem, x)), separate)


def oracle(fleet: Fleet, definition: microgrid.Terms, price: Array) -> float:
    """Battery, PV and load step by step; the connection is open or closed."""
    grid, at = fleet.grid, times(fleet.grid)
    steps, model = range(grid.n), pyo.ConcreteModel()
    model.rules = pyo.ConstraintList()
    for name in ("charge", "discharge", "content", "pv", "short", "over", "begun"):
        setattr(model, name, pyo.Var(steps, domain=pyo.NonNegativeReals))
    model.open = pyo.Var(steps, domain=pyo.Binary)
    money: Any = 0.0
    content, was_open = 1.0, 0
    for t in steps:
        h, available = grid.minutes[t] / 60, fleet.inputs["pv"]["available_mw"][t]
        start, end = (grid.start + timedelta(minutes=m) for m in (at[t], at[t] + grid.minutes[t]))
        out = any(o.start < end and start < o.end for o in definition.outages)
        model.rules.add(model.content[t] == content + h * (0.9 * model.charge[t] - model.discharge[t] / 0.9))
        model.rules.add(model.content[t] <= 2.0)
        model.rules.add(model.charge[t] / 0.8 + model.discharge[t] / 0.8 <= 1.0)
        model.rules.add(model.pv[t] <= available)
        if out or not definition.may_island:
            model.rules.add(model.open[t] == int(out))
        net = model.discharge[t] - model.charge[t] + model.pv[t] - fleet.inputs["load"]["load_mw"][t]
        exchange = net + model.short[t] - model.over[t]
        model.rules.add(exchange <= definition.export_mw * (1 - model.open[t]))
        model.rules.add(exchange >= -definition.import_mw * (1 - model.open[t]))
        model.rules.add(model.begun[t] >= model.open[t] - was_open)
        if not out:
            for later in range(t, grid.n):
                if at[later] - at[t] < 60 * definition.shortest_island_h:
                    model.rules.add(model.open[later] >= model.open[t] - was_open)
        money += 4.0 * h * (model.charge[t] + model.discharge[t])
        money -= price[t] * h * (net - fleet.inputs["other"]["load_mw"][t])
        money += h * (definition.island_eur_per_h * model.open[t] + 20_000.0 * (model.short[t] + model.over[t]))
        money += definition.separation_eur * model.begun[t]
        content, was_open = model.content[t], model.open[t]
    forced = sum(any(o.start <= grid.start + timedelta(minutes=at[t]) < o.end for o in definition.outages)
                 and (t == 0 or not any(o.start < grid.start + timedelta(minutes=at[t]) for o in definition.outages))
                 for t in steps)  # fmt: skip
    model.rules.add(sum(model.begun[t] for t in steps) <= max(definition.islands_per_day, forced))
    model.rules.add(content >= 1.0)
    model.objective = pyo.Objective(expr=money)
    return solve(model)


@pytest.mark.parametrize("pays", [0.0, -40.0, 25.0])
@pytest.mark.parametrize(("seed", "name"), [*enumerate(GRIDS), *((k + 30, g) for k, g in enumerate(GRIDS))])
def test_equals_the_literal_model(seed: int, name: str, pays: float) -> None:
    grid, rng = GRIDS[name], np.random.default_rng(seed)
    out = (outage(grid, grid.n // 2, grid.n // 2 + 3),) if seed % 2 else ()
    definition = terms(
        outages=out, may_island=pays < 0.0, island_eur_per_h=pays, separation_eur=rng.uniform(0.0, 9.0),
        shortest_island_h=rng.choice([0.0, 1.0]), islands_per_day=int(rng.integers(1, 4)),
    )  # fmt: skip
    fleet, price = small(seed, grid), rng.uniform(5.0, 150.0, grid.n)
    found = plan(fleet, definition, ("cells", "pv", "load"), price)
    assert found.objective == pytest.approx(oracle(fleet, definition, price), rel=1e-6, abs=1e-5)


@settings(max_examples=25, deadline=None, phases=QUICK)
@given(st.integers(0, 10_000), st.sampled_from(GRID_NAMES), st.booleans())
def test_limits_are_held_and_the_check_agrees(seed: int, name: str, paid: bool) -> None:
    """Connected, the exchange stays inside the limits; islanded, it is nothing; what is shed says so."""
    grid, rng = GRIDS[name], np.random.default_rng(seed)
    fleet = random_fleet(seed, name, HOME)
    members = tuple(a.id for a in fleet.assets if a.id.endswith("0"))
    first = int(rng.integers(grid.n - 1))
    definition = terms(
        outages=(outage(grid, first, first + 1),), may_island=paid, island_eur_per_h=-30.0 * paid,
        separation_eur=3.0, shortest_island_h=0.5, islands_per_day=2,
    )  # fmt: skip
    found = plan(fleet, definition, members, rng.uniform(-20.0, 150.0, grid.n))
    exchange = np.sum([found.schedule.power_of(m) for m in members], axis=0)
    told = found.schedule.products["mg"]
    assert found.separate[first] == pytest.approx(1.0)
    balance, closed = exchange + told["unserved_mw"] - told["unused_mw"], 1.0 - np.rint(found.separate)
    assert np.all(balance <= 0.4 * closed + 1e-5) and np.all(balance >= -0.6 * closed - 1e-5)
    shedding = (told["unserved_mw"] + told["unused_mw"]).max() > 1e-3
    contract = Contract("microgrid", definition, members)
    faults = check_contracts([contract], fleet.assets, fleet.states, fleet.inputs, found.schedule)
    named = {f.field for f in faults}
    assert named == ({"exchange_mw"} if shedding else set())
    spent = accounting.costs(definition, grid, exchange, np.rint(found.separate))
    for term, money in spent.items():
        if term != "penalties":
            assert money == pytest.approx(found.costs[term], abs=1e-4)
    shed = definition.excess_eur_per_mwh * float((told["unserved_mw"] + told["unused_mw"]) @ grid.hours)
    assert spent["penalties"] == pytest.approx(shed, rel=1e-4, abs=0.5)


@settings(max_examples=20, deadline=None, phases=QUICK)
@given(st.integers(0, 10_000), st.sampled_from(GRID_NAMES))
def test_more_freedom_never_costs_more(seed: int, name: str) -> None:
    grid, rng = GRIDS[name], np.random.default_rng(seed)
    fleet, price, members = small(seed, grid), rng.uniform(5.0, 150.0, grid.n), ("cells", "pv", "load")
    tight = terms(outages=(outage(grid, 2, 4),), separation_eur=2.0)
    cost = plan(fleet, tight, members, price).objective
    for freer in ({"import_mw": 1.0}, {"export_mw": 1.0}, {"may_island": True}, {"outages": ()}):
        more = plan(fleet, tight.model_copy(update=freer), members, price).objective
        assert more <= cost + 1e-6 * max(1.0, abs(cost))


def test_members_order_and_bystanders_do_not_matter() -> None:
    grid, definition = GRIDS["quarters"], terms(outages=(outage(GRIDS["quarters"], 4, 7),))
    fleet, price = small(3, grid), np.linspace(20.0, 120.0, grid.n)
    one, other = (plan(fleet, definition, m, price) for m in (("cells", "pv", "load"), ("load", "cells", "pv")))
    assert one.objective == pytest.approx(other.objective, abs=1e-6)
    assert one.schedule.power_of("other") == pytest.approx(-fleet.inputs["other"]["load_mw"])


def test_an_island_is_prepared_and_costs_what_it_costs() -> None:
    """An hour without a grid and without sun: the battery is filled before it, and nothing is shed."""
    grid = GRIDS["quarters"]
    fleet = small(1, grid)
    dark = {**fleet.inputs, "pv": {"available_mw": np.zeros(grid.n)}, "load": {"load_mw": np.full(grid.n, 0.5)}}
    fleet = replace(fleet, inputs=dark, states={a: replace(s, stored_mwh=0.2) for a, s in fleet.states.items()})
    definition = terms(import_mw=1.3, outages=(outage(grid, 8, 12),), island_eur_per_h=50.0, separation_eur=7.0)
    found = plan(fleet, definition, ("cells", "pv", "load"), np.full(grid.n, 80.0))
    told = found.schedule.products["mg"]
    assert told["separate"].tolist() == [0.0] * 8 + [1.0] * 4 + [0.0] * 8
    assert told["unserved_mw"].max() == pytest.approx(0.0, abs=1e-7)
    assert found.schedule.stored_mwh["cells"][7] >= 0.5 / 0.9 - 1e-6
    assert found.costs["fee"] == pytest.approx(50.0) and found.costs["starts"] == pytest.approx(7.0)


def test_it_islands_by_itself_where_somebody_pays_for_it() -> None:
    grid, price = GRIDS["quarters"], np.full(GRIDS["quarters"].n, 60.0)
    fleet = small(2, grid)
    for pays, islands in ((-400.0, True), (400.0, False)):
        definition = terms(may_island=True, island_eur_per_h=pays, shortest_island_h=1.0)
        found = plan(fleet, definition, ("cells", "pv", "load"), price)
        assert bool(found.separate.max() > 0.5) is islands
    definition = terms(may_island=True, island_eur_per_h=-400.0)
    convex = microgrid.microgrid(definition, ("cells",), ("cells",), grid, integers=False)
    assert not any(c.integer for c in convex.columns) and not np.asarray(convex.columns[0].upper).any()
    above = np.where(np.arange(grid.n) < 4, 1.0, np.nan)
    held = plan(fleet, terms(may_island=True, island_eur_per_h=400.0), ("cells", "pv", "load"), price, separate=above)
    assert np.rint(held.separate).tolist() == [1.0] * 4 + [0.0] * 16


def fixed(power: Sequence[float], told: dict[str, Sequence[float]], minutes: int = 30) -> Schedule:
    grid = TimeGrid.uniform(GRIDS["hours"].start, timedelta(minutes=minutes), len(power))
    products = {"mg": {k: np.array(v, dtype=float) for k, v in told.items()}} if told else {}
    return Schedule(("x",), grid, np.array([power]), np.zeros((1, len(power))), products=products)


@pytest.mark.parametrize(
    ("power", "told", "field"),
    [
        ([0.4, -0.6], {"separate": [0, 0]}, None),
        ([0.41, -0.6], {"separate": [0, 0]}, "exchange_mw"),
        ([0.4, -0.61], {"separate": [0, 0]}, "exchange_mw"),
        ([0.5, -0.6], {"separate": [0, 0], "unused_mw": [0.1, 0.0], "unserved_mw": [0.0, 0.0]}, "exchange_mw"),
        ([0.0, 0.0, 0.0], {"separate": [1, 1, 0]}, None),
        ([0.1, 0.0, 0.0], {"separate": [1, 1, 0]}, "exchange_mw"),
        ([0.0, 0.0], {"separate": [0.5, 0]}, "separate"),
        ([0.0, 0.0], {"separate": [1, 0]}, "shortest_island_h"),
        ([0.0] * 6, {"separate": [1, 1, 0, 0, 1, 1]}, "islands_per_day"),
        ([0.41, 0.0], {}, "exchange_mw"),
    ],
)  # fmt: skip
def test_the_check_finds_planted_faults(
    power: list[float], told: dict[str, Sequence[float]], field: str | None
) -> None:
    """Half hours; an island lasts an hour at least, and there is one a day."""
    definition = terms(may_island=True, shortest_island_h=1.0)
    found = [f.field for f in check.recompute(definition, ("x",), fixed(power, told))]
    assert found == ([] if field is None else [field])


def test_the_check_knows_outages_and_who_may_not_island() -> None:
    out = fixed([0.2, 0.0], {"separate": [0, 0]})
    must = terms(outages=(outage(out.grid, 0, 1),))
    assert [f.field for f in check.recompute(must, ("x",), out)] == ["separate"]
    assert check.recompute(must, ("x",), fixed([0.0, 0.4], {})) == []
    assert [f.field for f in check.recompute(must, ("x",), fixed([0.2, 0.0], {}))] == ["exchange_mw"]
    assert [f.field for f in check.recompute(terms(), ("x",), fixed([0.0, 0.0], {"separate": [0, 1]}))] == ["separate"]


@settings(max_examples=40, deadline=None, phases=QUICK)
@given(st.integers(0, 10_000), st.sampled_from(GRID_NAMES))
def test_a_followed_group_fits_or_has_done_what_it_can(seed: int, name: str) -> None:
    """Whatever is wished, physics holds; the group's excess never grows, and it is gone where a battery can take it."""
    fleet, rng = random_fleet(seed, name, HOME), np.random.default_rng(seed)
    members = tuple(a.id for a in fleet.assets if a.id.endswith("0"))
    group = Group(members, np.full(fleet.grid.n, -0.6), np.full(fleet.grid.n, 0.4))
    wishes = [
        Wish(a, fleet.states[a.id], fleet.grid, rng.uniform(-2.0, 2.0, fleet.grid.n), fleet.inputs[a.id])
        for a in fleet.assets
    ]  # fmt: skip
    free, held = follow_in_groups(wishes, ()), follow_in_groups(wishes, (group,))
    assert check_schedule(fleet.assets, fleet.states, fleet.inputs, held) == []
    assert np.abs(group.missing_mw(held)).max() <= np.abs(group.missing_mw(free)).max() + 1e-6
    outsiders = [a.id for a in fleet.assets if a.id not in members]
    assert all(np.array_equal(held.power_of(a), free.power_of(a)) for a in outsiders)


def test_a_group_takes_from_one_member_after_the_other() -> None:
    """1.5 MW of PV against a limit of 0.4: the battery charges 0.8 of it, the rest is curtailed."""
    grid = TimeGrid.uniform(GRIDS["hours"].start, timedelta(minutes=15), 4)
    fleet = small(1, grid)
    given = {**fleet.inputs, "pv": {"available_mw": np.full(4, 1.5)}, "load": {"load_mw": np.zeros(4)}}
    wishes = [
        Wish(a, fleet.states[a.id], grid, np.full(4, 1.5 if a.id == "pv" else 0.0), given[a.id]) for a in fleet.assets
    ]
    low, high = microgrid.limits(Contract("microgrid", terms(outages=(outage(grid, 2, 3),)), ("cells", "pv")), grid)
    held = follow_in_groups(wishes, (Group(("cells", "pv", "load"), low, high),))
    assert held.power_of("cells")[:3] == pytest.approx([-0.8] * 3)
    assert held.power_of("pv") == pytest.approx([1.2, 1.2, 0.8, 1.2], abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"import_mw": -1.0}, "greater than or equal to 0"),
        ({"islands_per_day": 0}, "greater than or equal to 1"),
        ({"outages": ({"start": "2016-07-12T10:00Z", "end": "2016-07-12T10:00Z"},)}, "before end"),
        ({"outages": ({"start": "2016-07-12T10:00", "end": "2016-07-12T11:00Z"},)}, "timezone"),
        ({"may_island": True, "colour": "red"}, "Extra inputs"),
    ],
)
def test_bad_terms_are_named(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        terms(**changes)


def test_the_rungs_below_the_optimum_keep_the_connection() -> None:
    """Without a solver, the cells charge in the cheapest hours only as far as the connection allows."""
    grid = GRIDS["quarters"]
    fleet = small(4, grid)
    night = {**fleet.inputs, "pv": {"available_mw": np.zeros(grid.n)}, "load": {"load_mw": np.full(grid.n, 0.3)}}
    price = np.where(np.arange(grid.n) < 8, 5.0, 90.0)
    members = ("cells", "pv", "load")
    group = Group(members, *microgrid.limits(Contract("microgrid", terms(), members), grid))
    free, held = (merit_order(fleet.assets, fleet.states, night, grid, price, {}, g) for g in ((), (group,)))
    again = last_good(free, fleet.assets, fleet.states, night, grid, {}, (group,))
    for schedule, least_mw in ((free, -1.1), (held, -0.6), (again, -0.6)):
        exchange = np.sum([schedule.power_of(m) for m in members], axis=0)
        assert exchange.min() == pytest.approx(least_mw, abs=1e-6)


def test_the_next_stage_islands_as_planned() -> None:
    """Minutes of a plan in quarters: the planned island holds, and what lies beyond the plan is free."""
    grid = GRIDS["quarters"]
    told = np.where(np.arange(grid.n) < 2, 1.0, 0.0)
    upper = Schedule(("x",), grid, np.zeros((1, grid.n)), np.zeros((1, grid.n)), products={"mg": {"separate": told}})
    contract = Contract("microgrid", terms(may_island=True, island_eur_per_h=-9.0), ("x",))
    minutes = TimeGrid.uniform(grid.edges[1], timedelta(minutes=5), 6)
    planned = microgrid.as_planned(contract, upper, minutes)
    assert planned.known["separate"].tolist() == [1.0] * 3 + [0.0] * 3
    low, high = microgrid.limits(planned, minutes)
    assert low.tolist() == [0.0] * 3 + [-0.6] * 3 and high.tolist() == [0.0] * 3 + [0.4] * 3
    beyond = TimeGrid.uniform(grid.edges[-2], timedelta(minutes=15), 2)
    assert np.isnan(microgrid.as_planned(contract, upper, beyond).known["separate"][1])
    assert microgrid.as_planned(contract, replace(upper, products={}), minutes) is contract


def test_an_outage_that_began_before_the_plan_is_not_begun_again() -> None:
    grid = GRIDS["quarters"]
    fleet = small(2, grid)
    begun = {"start": grid.start - timedelta(hours=1), "end": grid.edges[2]}
    for cut, money in ((begun, 0.0), (outage(grid, 0, 2), 80.0)):
        found = plan(fleet, terms(outages=[cut], separation_eur=80.0), ("cells", "pv", "load"), np.full(grid.n, 50.0))
        assert found.separate[:3].tolist() == [1.0, 1.0, 0.0]
        assert found.costs.get("starts", 0.0) == pytest.approx(money)
