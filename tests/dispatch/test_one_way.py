"""Stores behind a limit that makes waste pay: the optimum of the literal statement, at every deadline one way only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from dispatch import aggregate, one_way
from dispatch.assets import backup_battery, battery
from dispatch.block import Block, Context
from dispatch.check import check_schedule
from dispatch.one_way import Ways, closed, one_way_plan
from dispatch.problem import Problem, assemble, injection, limit_block
from dispatch.product import Contract, Scope, Trade
from dispatch.products import connection_limit
from dispatch.registry import KINDS
from dispatch.secure import Secured, secure_plan
from dispatch.solvers.cvxpy_door import RealTime
from dispatch.solvers.highs_door import Living
from tests.dispatch.oracle_tools import START, asset_of, context_of, state_of
from tests.dispatch.random_fleet import price_block
from vpp.domain.portfolio import Asset
from vpp.domain.time import Array, TimeGrid

GRID = TimeGrid.uniform(START, timedelta(minutes=15), 5)
PRICE = np.linspace(40.0, 90.0, GRID.n)
GENERATED_MW, EXPORT_MW = 1.5, 0.9


def batteries(*power_mw: float) -> list[Asset]:
    given = {"charge_efficiency": 0.9, "discharge_efficiency": 0.92, "wear_eur_per_mwh": 3.0}
    return [
        asset_of(f"b{i}", "battery", battery.Params(power_mw=mw, capacity_mwh=mw, **given))
        for i, mw in enumerate(power_mw)
    ]


def context(fleet: Iterable[Asset], lowest: float = 0.0) -> Context:
    states = {a.id: state_of(a.id, stored_mwh=0.5 * a.params.capacity_mwh) for a in fleet}
    return replace(context_of(GRID, states), lowest_value_eur_per_mwh=np.full(GRID.n, lowest))


def behind_a_limit(stores: Block, export_mw: float = EXPORT_MW) -> Problem:
    """A generator that must run beside the stores, and a priced export limit below what it gives."""
    ids = (*stores.assets, "must-run")
    given = Block("given must-run", (), (), ("must-run",), None, np.full(GRID.n, GENERATED_MW))
    terms = connection_limit.Terms(id="yard", of=Scope(assets=ids), export_mw=export_mw)
    trade = Trade(GRID, ids, PRICE, 0.0 * PRICE, 0.0, contracts=(Contract("connection_limit", terms, ids),))
    return assemble(GRID, ids, [stores, given, price_block(ids, GRID, PRICE), *connection_limit.blocks(trade)])


def plan(problem: Problem) -> Secured:
    return one_way_plan(problem, None, None, deadline_s=60.0, rel_gap=1e-7)


def wasted(problem: Problem, x: Array) -> int:
    return int(Ways.of(problem).both(problem, x).size)


def test_the_plan_without_it_burns_and_with_it_is_the_optimum_of_all_binaries() -> None:
    fleet = batteries(0.5, 0.4)
    problem = behind_a_limit(battery.block(fleet, context(fleet)))
    free = secure_plan(problem, None, None, deadline_s=60.0, rel_gap=1e-7)
    assert wasted(problem, free.x) > 0
    literal = Living(behind_a_limit(battery.block(fleet, context(fleet, lowest=-1e6)))).solve_mip(60.0, 1e-9)
    found = plan(problem)
    assert wasted(problem, found.x) == 0
    assert found.solution.objective == pytest.approx(literal.objective, rel=1e-6)
    assert found.solution.bound <= literal.objective + 1e-6 * abs(literal.objective)
    assert found.solution.objective > free.solution.objective + 1.0
    assert found.solution.status == "optimal"


def test_the_check_follows_the_content_of_the_plan() -> None:
    fleet = batteries(0.5, 0.4)
    problem = behind_a_limit(battery.block(fleet, context(fleet)))
    states = context(fleet).states

    def faults(secured: Secured) -> list[str]:
        schedule = secured.solution.schedule
        named = check_schedule(fleet, states, {a.id: {} for a in fleet}, schedule)
        return [str(f) for f in named if f.where != "must-run"]

    assert faults(secure_plan(problem, None, None, deadline_s=20.0))
    assert not faults(plan(problem))


def test_without_time_for_binaries_one_way_is_closed_and_the_bound_stays_that_of_the_relaxation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(one_way, "ROUNDS", 0)
    fleet = batteries(0.5, 0.4)
    problem = behind_a_limit(battery.block(fleet, context(fleet)))
    free, found = secure_plan(problem, None, None, deadline_s=20.0, rel_gap=1e-7), plan(problem)
    assert wasted(problem, found.x) == 0
    assert found.solution.bound == pytest.approx(free.solution.bound)
    assert found.solution.status == "feasible"
    assert found.solution.gap > 1e-3


def test_stores_that_stand_as_one_raise_no_bound() -> None:
    fleet = batteries(0.3, 0.2, 0.4)
    merged = aggregate.block(KINDS["battery"], fleet, context(fleet), alike=lambda a: 0)
    problem = behind_a_limit(merged)
    assert Ways.of(problem).merged
    free, found = secure_plan(problem, None, None, deadline_s=20.0, rel_gap=1e-7), plan(problem)
    assert wasted(problem, free.x) > 0
    assert wasted(problem, found.x) == 0
    assert found.solution.bound == pytest.approx(free.solution.bound)


def test_a_fleet_that_wastes_nothing_has_no_binaries() -> None:
    fleet = batteries(0.5, 0.4)
    problem = behind_a_limit(battery.block(fleet, context(fleet)), export_mw=10.0)
    found = plan(problem)
    assert found.problem.columns == problem.columns
    assert not found.problem.integer.any()


def test_a_limit_ordered_of_a_backup_battery_is_kept_one_way() -> None:
    q = backup_battery.Params(
        count=1, site_power_mw=0.4, site_capacity_mwh=0.4, site_connection_mw=1.0, reserve_h=0.1,
        charge_efficiency=0.9, discharge_efficiency=0.92, wear_eur_per_mwh=3.0,
    )  # fmt: skip
    fleet = [asset_of("tower", "backup_battery", q)]
    load = {"tower": {"load_mw": np.full(GRID.n, 0.3)}}
    known = replace(
        context_of(GRID, {"tower": state_of("tower", stored_mwh=0.36)}, load), lowest_value_eur_per_mwh=np.zeros(GRID.n)
    )
    block, most = backup_battery.block(fleet, known), np.full(GRID.n, -0.38)
    limit = limit_block(("tower",), GRID, {"tower": (np.full(GRID.n, -np.inf), most)})
    problem = assemble(GRID, ("tower",), [block, price_block(("tower",), GRID, PRICE), limit])
    assert wasted(problem, secure_plan(problem, None, None, deadline_s=20.0).x) > 0
    found = plan(problem)
    assert wasted(problem, found.x) == 0
    assert np.isfinite(injection(problem, found.x)).all()


def test_real_time_closes_one_way_of_what_it_finds_open_both_ways() -> None:
    fleet = batteries(0.5, 0.4)
    problem = behind_a_limit(battery.block(fleet, context(fleet)))
    ways, target = Ways.of(problem), np.zeros((3, GRID.n))
    door = RealTime(problem, 0)
    free, _ = door.solve(problem, target, 1e-3, deadline_s=20.0)
    assert ways.both(problem, free).size
    shut = closed(problem, ways, free)
    assert door.fits(shut)
    found, _ = door.solve(shut, target, 1e-3, deadline_s=20.0)
    assert not ways.both(problem, found).size
