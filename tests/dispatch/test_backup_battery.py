"""Backup batteries against their literal statement, the reserve that is never sold, and the class of many sites."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyomo.environ as pyo
import pytest

from dispatch.assets import backup_battery
from dispatch.check import check_schedule
from dispatch.follow import follow
from dispatch.wish import Wish
from tests.dispatch.block_solver import solve_block
from tests.dispatch.oracle_tools import (
    SEEDS,
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

SITE = {
    "count": 200, "site_power_mw": 0.004, "site_capacity_mwh": 0.02, "site_connection_mw": 0.009, "reserve_h": 2.0,
    "charge_efficiency": 0.95, "discharge_efficiency": 0.94, "wear_eur_per_mwh": 6.0,
}  # fmt: skip


def random_params(rng, count=None) -> backup_battery.Params:
    count = int(rng.integers(1, 50)) if count is None else count
    return backup_battery.Params(
        count=count,
        site_power_mw=rng.uniform(0.2, 0.8) / count,
        site_capacity_mwh=rng.uniform(1.0, 4.0) / count,
        site_connection_mw=rng.uniform(0.8, 1.4) / count,
        reserve_h=rng.choice([0.0, 0.7, 3.0]),
        soc_min=rng.choice([0.0, 0.1]),
        charge_efficiency=rng.uniform(0.85, 1.0),
        discharge_efficiency=rng.uniform(0.85, 1.0),
        wear_eur_per_mwh=rng.uniform(0.0, 10.0),
        standing_loss_per_h=rng.choice([0.0, 0.004]),
    )


def reserve_at(q, load, grid, t) -> float:
    """What the load takes in the hours after step t, minute by minute."""
    rates = np.repeat(load, grid.minutes)
    begin = sum(grid.minutes[: t + 1])
    minutes = round(q.reserve_h * 60)
    coming = np.concatenate([rates, np.full(minutes, rates[-1])])[begin : begin + minutes]
    full = q.count * q.site_capacity_mwh
    return min(q.soc_max * full, q.soc_min * full + coming.sum() / 60 / q.discharge_efficiency)


def oracle(q, load, start, end, grid, prices, binaries: bool = False) -> float:
    """One class, one step after the other."""
    n, full = q.count, q.count * q.site_capacity_mwh
    m, last = pyo.ConcreteModel(), grid.n - 1
    m.t = pyo.RangeSet(0, last)
    m.c, m.d, m.short = (pyo.Var(m.t, domain=pyo.NonNegativeReals) for _ in range(3))
    m.e = pyo.Var(m.t)
    m.z = pyo.Var(m.t, domain=pyo.Binary) if binaries else None
    m.rules, spent, alone = pyo.ConstraintList(), 0, start
    for t in range(grid.n):
        h = grid.minutes[t] / 60
        most_in = min(n * q.site_power_mw, max(0.0, n * q.site_connection_mw - load[t]))
        most_out = min(n * q.site_power_mw, load[t])
        m.rules.add(m.c[t] <= most_in * (m.z[t] if binaries else 1))
        m.rules.add(m.d[t] <= most_out * (1 - m.z[t] if binaries else 1))
        before = start if t == 0 else m.e[t - 1]
        kept = 1 - q.standing_loss_per_h * h
        alone *= kept
        m.rules.add(m.e[t] == kept * before + h * (q.charge_efficiency * m.c[t] - m.d[t] / q.discharge_efficiency))
        m.rules.add(m.e[t] <= max(q.soc_max * full, alone))
        m.rules.add(m.e[t] >= min(reserve_at(q, load, grid, t), alone))
        m.rules.add(m.e[t] + m.short[t] >= reserve_at(q, load, grid, t))
        spent += h * (q.wear_eur_per_mwh * (m.c[t] + m.d[t]) + 1000.0 * m.short[t])
        spent -= h * prices[t] * (m.d[t] - m.c[t] - load[t])
    if end is None:
        m.rules.add(m.e[last] >= min(start, q.soc_max * full))
    else:
        m.s = pyo.Var(range(len(end.value)), bounds=lambda _, k: (0, float(end.width_mwh[k])))
        m.rules.add(sum(m.s[k] for k in m.s) <= m.e[last] - q.soc_min * full)
        spent -= sum(float(end.value[k]) * m.s[k] for k in m.s)
    m.cost = pyo.Objective(expr=spent)
    return optimum(m)


@pytest.mark.parametrize("valued", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_equals_the_literal_model(seed: int, valued: bool) -> None:
    rng, grid = np.random.default_rng(seed), grid_of(seed)
    prices = random_prices(rng, grid)
    fleet = [asset_of(f"b{i}", "backup_battery", random_params(rng)) for i in range(3)]
    inputs = {a.id: {"load_mw": rng.uniform(0.1, 0.5, grid.n)} for a in fleet}
    share = {"b0": 1.0, "b1": 0.6, "b2": 0.3}
    states = {a.id: state_of(a.id, share[a.id] * a.params.capacity_mwh) for a in fleet}
    ends = {a.id: random_end_value(rng, a.params.capacity_mwh) for a in fleet} if valued else {}
    block = backup_battery.block(fleet, context_of(grid, states, inputs, ends))
    solved = solve_block(block, [a.id for a in fleet], grid, prices)
    expected = sum(
        oracle(a.params, inputs[a.id]["load_mw"], states[a.id].stored_mwh, ends.get(a.id), grid, prices) for a in fleet
    )
    assert solved.objective == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert solved.injection.max() < 1e-9, "a site never exports"


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_deeply_negative_prices_do_not_make_it_burn_energy(seed: int) -> None:
    rng, grid = np.random.default_rng(seed), grid_of(seed)
    q, prices = random_params(rng), rng.uniform(-600.0, -400.0, grid.n)
    asset, load = asset_of("b", "backup_battery", q), rng.uniform(0.2, 0.5, grid.n)
    context = context_of(grid, {"b": state_of("b", 0.9 * q.capacity_mwh)}, {"b": {"load_mw": load}})
    block = backup_battery.block([asset], replace(context, lowest_value_eur_per_mwh=prices))
    solved = solve_block(block, ["b"], grid, prices)
    expected = oracle(q, load, 0.9 * q.capacity_mwh, None, grid, prices, binaries=True)
    assert solved.objective == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert faults_of(asset, context, grid, solved.injection) == []


def faults_of(asset, context, grid, power) -> list[str]:
    schedule = Schedule((asset.id,), grid, np.atleast_2d(power), 0.0 * np.atleast_2d(power))
    return [str(f) for f in check_schedule([asset], context.states, context.inputs, schedule)]


def one(stored: float, load: float = 1.0, **more):
    grid = grid_of(0)
    asset = asset_of("b", "backup_battery", backup_battery.Params(**{**SITE, **more}))
    return grid, asset, context_of(grid, {"b": state_of("b", stored)}, {"b": {"load_mw": np.full(grid.n, load)}})


def test_the_reserve_is_not_sold_at_any_price() -> None:
    """4 MWh, of which 0.4 and 2 h of 1 MW / 0.94 stay: what is above is sold, not a kWh more."""
    grid, asset, context = one(4.0)
    context = replace(context, end_value={"b": random_end_value(np.random.default_rng(0), 1e-9)})
    solved = solve_block(backup_battery.block([asset], context), ["b"], grid, np.full(grid.n, 9_000.0))
    sold = (solved.injection[0] + 1.0) @ grid.hours
    assert sold == pytest.approx((4.0 - 0.4 - 2.0 / 0.94) * 0.94, abs=1e-6)
    assert faults_of(asset, context, grid, solved.injection) == []


@pytest.mark.parametrize(
    ("change_mw", "stored", "fault"),
    [
        (0.7, 4.0, "b/stored_mwh (reserve)"),
        (0.01, 2.0, "b/stored_mwh (reserve)"),
        (0.9, 4.0, "b/power_mw"),
        (1.1, 4.0, "b/power_mw"),
        (-0.81, 1.0, "b/power_mw"),
    ],
)
def test_the_check_finds_a_sold_reserve_an_export_and_an_overload(change_mw, stored, fault) -> None:
    grid, asset, context = one(stored)
    assert faults_of(asset, context, grid, np.full(grid.n, -1.0)) == []
    power = np.full(grid.n, -1.0)
    power[:12] += change_mw
    assert faults_of(asset, context, grid, power)[0].startswith(fault)


def test_a_connection_that_the_load_fills_leaves_nothing_to_charge_with() -> None:
    grid, asset, context = one(1.0, load=1.8)
    solved = solve_block(backup_battery.block([asset], context), ["b"], grid, np.full(grid.n, 1.0))
    assert solved.injection[0] == pytest.approx(-1.8)
    assert faults_of(asset, context, grid, np.full(grid.n, -1.85))[0].startswith("b/power_mw")


def test_a_class_is_its_sites_one_by_one() -> None:
    """The cost of 200 sites as one class is 200 times that of a site, and so is every power."""
    rng, grid = np.random.default_rng(5), grid_of(0)
    prices, traffic = random_prices(rng, grid), rng.uniform(0.001, 0.004, grid.n)
    solved = []
    for n in (200, 1):
        asset = asset_of("b", "backup_battery", backup_battery.Params(**{**SITE, "count": n}))
        inputs = {"b": {"load_mw": n * traffic}}
        block = backup_battery.block([asset], context_of(grid, {"b": state_of("b", n * 0.015)}, inputs))
        solved.append(solve_block(block, ["b"], grid, prices))
    assert solved[0].objective == pytest.approx(200 * solved[1].objective, rel=1e-9)


def test_following_restores_the_reserve_before_the_load_rises() -> None:
    """A load that doubles needs a reserve that doubles; the wish to rest is overruled in time."""
    grid, asset, context = one(4.0 * 0.4 + 0.0, reserve_h=1.0)
    load = np.where(np.arange(grid.n) < 12, 0.5, 1.5)
    wish = Wish(asset, context.states["b"], grid, -load, {"load_mw": load})
    schedule = follow([wish])
    assert check_schedule([asset], context.states, {"b": {"load_mw": load}}, schedule) == []
    assert (schedule.stored_mwh["b"] >= schedule.decisions["b"]["reserve_mwh"] - 1e-9).all()
    assert schedule.power_mw[0, :12].min() < -0.6


def test_left_alone_it_is_filled_and_then_kept_full() -> None:
    """2 MWh of 4 are missing: 0.8 MW for 2 / 0.95 / 0.8 h = 2.632 h, then the load alone."""
    grid, asset, context = one(2.0)
    p = backup_battery.default_mw(asset, context.states["b"], context.inputs["b"], grid)
    assert p[:10] == pytest.approx([-1.8] * 10) and p[11:] == pytest.approx([-1.0] * (grid.n - 11))
    assert -(p + 1.0) @ grid.hours == pytest.approx(2.0 / 0.95)
    out = replace(context.states["b"], available=False)
    assert backup_battery.default_mw(asset, out, context.inputs["b"], grid) == pytest.approx(-1.0)


def test_a_missing_load_is_a_gap() -> None:
    _, asset, context = one(1.0)
    with pytest.raises(DataGap, match="b/load_mw"):
        backup_battery.block([asset], replace(context, inputs={}))
