"""The battery block against its literal statement, and the laws of a store."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyomo.environ as pyo
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatch.assets import battery
from dispatch.block import EndValue
from dispatch.check import check_schedule
from tests.dispatch.block_solver import solve_block
from tests.dispatch.oracle_tools import (
    SEEDS,
    START,
    asset_of,
    context_of,
    grid_of,
    optimum,
    random_end_value,
    random_prices,
    state_of,
)
from vpp.domain.errors import DataGap
from vpp.domain.schedule import Schedule
from vpp.domain.time import TimeGrid

PLAIN = {
    "power_mw": 1.0,
    "capacity_mwh": 2.0,
    "charge_efficiency": 0.94,
    "discharge_efficiency": 0.95,
    "wear_eur_per_mwh": 4.0,
}


def random_params(rng: np.random.Generator) -> battery.Params:
    return battery.Params(
        power_mw=rng.uniform(0.2, 2.0),
        capacity_mwh=rng.uniform(0.5, 4.0),
        soc_min=rng.uniform(0.0, 0.15),
        soc_max=rng.uniform(0.85, 1.0),
        charge_efficiency=rng.uniform(0.85, 1.0),
        discharge_efficiency=rng.uniform(0.85, 1.0),
        wear_eur_per_mwh=rng.uniform(0.0, 12.0),
        standing_loss_per_h=rng.choice([0.0, 0.004]),
        taper_from_soc=rng.choice([1.0, 0.8]),
    )


def oracle(params, start_mwh, end, grid, prices, exclusive=False) -> float:
    """One battery, one step after the other; `exclusive` forbids both directions at once."""
    m, last = pyo.ConcreteModel(), grid.n - 1
    m.t = pyo.RangeSet(0, last)
    m.c = pyo.Var(m.t, bounds=(0, params.power_mw))
    m.d = pyo.Var(m.t, bounds=(0, params.power_mw))
    m.e = pyo.Var(m.t, bounds=(params.soc_min * params.capacity_mwh, params.soc_max * params.capacity_mwh))
    m.rules = pyo.ConstraintList()
    if exclusive:
        m.z = pyo.Var(m.t, domain=pyo.Binary)
        for t in m.t:
            m.rules.add(m.c[t] <= params.power_mw * m.z[t])
            m.rules.add(m.d[t] <= params.power_mw * (1 - m.z[t]))
    spent = 0
    for t in range(grid.n):
        h = grid.minutes[t] / 60
        before = start_mwh if t == 0 else m.e[t - 1]
        gained = params.charge_efficiency * m.c[t] - m.d[t] / params.discharge_efficiency
        m.rules.add(m.e[t] == (1 - params.standing_loss_per_h * h) * before + h * gained)
        if params.taper_from_soc < 1:
            room = 1 - m.e[t] / params.capacity_mwh
            m.rules.add(m.c[t] * (1 - params.taper_from_soc) <= params.power_mw * room)
        spent += h * params.wear_eur_per_mwh * (m.c[t] + m.d[t]) - h * prices[t] * (m.d[t] - m.c[t])
    if end is None:
        m.rules.add(m.e[last] >= start_mwh)
    else:
        m.k = pyo.RangeSet(0, len(end.value) - 1)
        m.s = pyo.Var(m.k, bounds=lambda _, k: (0, float(end.width_mwh[k])))
        m.rules.add(sum(m.s[k] for k in m.k) <= m.e[last] - params.soc_min * params.capacity_mwh)
        spent -= sum(float(end.value[k]) * m.s[k] for k in m.k)
    m.cost = pyo.Objective(expr=spent)
    return optimum(m)


@pytest.mark.parametrize("valued", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_equals_the_literal_model(seed: int, valued: bool) -> None:
    rng, grid = np.random.default_rng(seed), grid_of(seed)
    prices = random_prices(rng, grid)
    fleet = [asset_of(f"b{i}", "battery", random_params(rng)) for i in range(3)]
    share = {a.id: rng.uniform(0.2, 0.7) for a in fleet}
    states = {a.id: state_of(a.id, share[a.id] * a.params.capacity_mwh) for a in fleet}
    ends = {a.id: random_end_value(rng, a.params.capacity_mwh) for a in fleet[: 2 if valued else 0]}
    solved = solve_block(
        battery.block(fleet, context_of(grid, states, end_value=ends)), [a.id for a in fleet], grid, prices
    )
    expected = sum(oracle(a.params, states[a.id].stored_mwh, ends.get(a.id), grid, prices) for a in fleet)
    assert solved.objective == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert np.abs(solved.injection).max() > 0.1


def at_prices(params, prices, grid, reckoned: bool):
    """One battery, from half full; `reckoned` tells the block what a MWh can be worth."""
    asset = asset_of("b", "battery", params)
    context = context_of(grid, {"b": state_of("b", 0.5 * params.capacity_mwh)})
    context = replace(context, lowest_value_eur_per_mwh=prices if reckoned else None)
    block = battery.block([asset], context)
    return asset, block, context, solve_block(block, ["b"], grid, prices)


def checked(asset, context, grid, block, solved):
    result = block.read(solved.x, {})["b"]
    schedule = Schedule(("b",), grid, solved.injection, 0.0 * solved.injection, stored_mwh={"b": result.stored_mwh})
    return check_schedule([asset], context.states, {"b": {}}, schedule)


@pytest.mark.parametrize("seed", SEEDS)
def test_it_never_charges_and_discharges_at_once_where_waste_would_pay(seed: int) -> None:
    """At -500 EUR/MWh burning energy in both directions beats rest; with the price known the block forbids it."""
    rng, grid = np.random.default_rng(seed), grid_of(seed)
    params = random_params(rng)
    prices = rng.uniform(-600.0, -400.0, grid.n)
    asset, block, context, solved = at_prices(params, prices, grid, True)
    both = np.minimum(solved.x[: grid.n], solved.x[grid.n : 2 * grid.n])
    assert both.max() < 1e-7
    expected = oracle(params, 0.5 * params.capacity_mwh, None, grid, prices, exclusive=True)
    assert solved.objective == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert checked(asset, context, grid, block, solved) == []
    asset, block, context, burning = at_prices(params, prices, grid, False)
    assert burning.objective < solved.objective - 0.1
    assert checked(asset, context, grid, block, burning) != []


def test_no_binary_stands_where_waste_cannot_pay() -> None:
    """Round trip 0.9, wear 4: both at once pays below -4 * 1.9 / 0.1 = -76 EUR/MWh."""
    grid = grid_of(0)
    params = battery.Params(**{**PLAIN, "charge_efficiency": 0.9, "discharge_efficiency": 1.0})
    for price, count in ((-75.0, 0), (-77.0, grid.n)):
        _, block, _, _ = at_prices(params, np.full(grid.n, price), grid, True)
        assert sum(c.size for c in block.columns if c.integer) == count
    lossless = battery.Params(**{**PLAIN, "charge_efficiency": 1.0, "discharge_efficiency": 1.0})
    assert not any(c.integer for c in at_prices(lossless, np.full(grid.n, -900.0), grid, True)[1].columns)


def test_the_reported_content_follows_the_power() -> None:
    grid, params = grid_of(1), battery.Params(**PLAIN, standing_loss_per_h=0.01)
    block = battery.block([asset_of("b", "battery", params)], context_of(grid, {"b": state_of("b", 1.0)}))
    solved = solve_block(block, ["b"], grid, random_prices(np.random.default_rng(9), grid))
    content = 1.0
    for p, h, reported in zip(
        solved.injection[0], grid.hours, block.read(solved.x, solved.duals)["b"].stored_mwh, strict=True
    ):
        content = content * (1 - 0.01 * h) + h * (0.94 * max(-p, 0.0) - max(p, 0.0) / 0.95)
        assert reported == pytest.approx(content, abs=1e-7)


def test_marginal_value_is_what_one_more_mwh_saves() -> None:
    grid, params = grid_of(0), battery.Params(**PLAIN)
    prices = random_prices(np.random.default_rng(4), grid)
    end = {"b": EndValue(np.array([2.0]), np.array([40.0]))}

    def solve(stored: float):
        block = battery.block(
            [asset_of("b", "battery", params)], context_of(grid, {"b": state_of("b", stored)}, None, end)
        )
        return block, solve_block(block, ["b"], grid, prices)

    block, base = solve(0.8)
    saved = (base.objective - solve(0.8 + 1e-4)[1].objective) / 1e-4
    value = block.read(base.x, base.duals)["b"].marginal_value
    assert value is not None
    assert value[0] == pytest.approx(saved, rel=1e-4)
    assert value[-1] >= 40.0 - 1e-6
    assert block.read(base.x, {})["b"].marginal_value is None


@settings(max_examples=30, deadline=None)
@given(
    stored=st.floats(-0.2, 2.5),
    loss=st.sampled_from([0.0, 0.05, 0.5]),
    taper=st.sampled_from([1.0, 0.8]),
    available=st.booleans(),
    valued=st.booleans(),
)
def test_no_initial_state_is_infeasible(stored, loss, taper, available, valued) -> None:
    grid = grid_of(1)
    params = battery.Params(**PLAIN, standing_loss_per_h=loss, taper_from_soc=taper)
    end = {"b": EndValue(np.array([0.5, 1.0]), np.array([60.0, 30.0]))} if valued else {}
    context = context_of(grid, {"b": state_of("b", stored, available=available)}, None, end)
    solved = solve_block(battery.block([asset_of("b", "battery", params)], context), ["b"], grid, np.full(grid.n, 50.0))
    assert available or not solved.injection.any()


def test_an_increasing_end_value_is_refused() -> None:
    end = {"b": EndValue(np.array([1.0, 1.0]), np.array([10.0, 20.0]))}
    context = context_of(grid_of(0), {"b": state_of("b", 1.0)}, None, end)
    with pytest.raises(ValueError, match="increases"):
        battery.block([asset_of("b", "battery", battery.Params(**PLAIN))], context)


def test_a_missing_state_is_a_gap() -> None:
    with pytest.raises(DataGap, match="b/state"):
        battery.block([asset_of("b", "battery", battery.Params(**PLAIN))], context_of(grid_of(0), {}))


def test_a_thousand_batteries_build_quickly() -> None:
    grid = TimeGrid.uniform(START, timedelta(minutes=15), 96)
    fleet = [asset_of(f"b{i}", "battery", battery.Params(**PLAIN)) for i in range(1000)]
    context = context_of(grid, {a.id: state_of(a.id, 1.0) for a in fleet})
    wall = []
    for _ in range(3):
        began = time.perf_counter()
        battery.block(fleet, context)
        wall.append(time.perf_counter() - began)
    assert min(wall) < 0.5


def test_one_that_begins_above_its_taper_need_not_hold_what_it_loses_there() -> None:
    """Without an end value the content asked for is the initial one less standing loss, not below the taper's knee."""
    grid = TimeGrid.uniform(START, timedelta(hours=1), 8)
    for loss, left in ((0.01, 1.8 * 0.99**8), (0.05, 1.6)):
        params = battery.Params(**PLAIN, standing_loss_per_h=loss, taper_from_soc=0.8)
        block = battery.block([asset_of("b", "battery", params)], context_of(grid, {"b": state_of("b", 1.8)}))
        solved = solve_block(block, ["b"], grid, np.full(grid.n, 300.0))
        assert block.read(solved.x, {})["b"].stored_mwh[-1] == pytest.approx(left, abs=1e-6)
