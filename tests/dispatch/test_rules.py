"""Operators' rules: the same optimum as rows by hand, names for every kind, and every construct refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pyomo.environ as pyo
import pytest
import scipy.sparse as sp

from dispatch.block import INF, Block, Rows
from dispatch.problem import Problem, assemble, columns_of, injection, read_schedule, with_rows
from dispatch.registry import KINDS
from dispatch.rule_places import Places, Unseen
from dispatch.rules import Faulty, RuleFile
from dispatch.solvers.highs_door import Living
from dispatch.solvers.pyomo_door import broken_rules, faults_of, rule_rows
from tests.dispatch import random_fleet as made
from tests.dispatch.random_fleet import Fleet, price_block, random_fleet
from vpp.domain.errors import InputFaults
from vpp.domain.portfolio import AssetState
from vpp.domain.time import Array

ZONE = "Europe/Berlin"
GRID = made.GRID_NAMES[0]
Rule = Callable[[Any, Any], None]
COMPUTED = ("batch", "ev_fleet")
"""Kinds that report on/off or content computed from several columns: rules about those are refused by name."""


def file_of(function: Rule, source: str = "") -> RuleFile:
    return RuleFile("rules.py", source, function)


def blocks_of(fleet: Fleet, price: Array, **more: Any) -> list[Block]:
    kinds = dict.fromkeys(a.kind for a in fleet.assets)
    blocks = [KINDS[k].block([a for a in fleet.assets if a.kind == k], fleet.context(**more)) for k in kinds]
    return [*blocks, price_block(tuple(a.id for a in fleet.assets), fleet.grid, price)]


def problem_of(fleet: Fleet, price: Array, **more: Any) -> Problem:
    return assemble(fleet.grid, tuple(a.id for a in fleet.assets), blocks_of(fleet, price, **more))


def places_of(problem: Problem) -> Places:
    return Places(problem.grid, problem.asset_ids, problem.blocks)


def joined(blocks: list[Block], fleet: Fleet, rule: Rule) -> Problem:
    ids = tuple(a.id for a in fleet.assets)
    excess, rows = rule_rows(file_of(rule), ZONE, fleet.assets, fleet.states, Places(fleet.grid, ids, blocks))
    return assemble(fleet.grid, ids, [*blocks, *excess], rows)


def mills(seed: int = 3) -> tuple[Fleet, Array]:
    """Two stopped mills without a crew limit, and a price that wants both of them on until their silo is full."""
    fleet = random_fleet(seed, GRID, kinds=("process",), outages=False)
    free = {"crew_limit": None, "max_starts_per_day": None}
    assets = tuple(replace(a, params=a.params.model_copy(update=free)) for a in fleet.assets)
    states = {a: replace(s, on=False, power_mw=0.0, minutes_in_state=100_000) for a, s in fleet.states.items()}
    return replace(fleet, assets=assets, states=states), np.full(fleet.grid.n, -500.0)


def faults(rule: Rule, source: str = "") -> list[str]:
    fleet, price = mills()
    places = places_of(problem_of(fleet, price))
    found = faults_of(file_of(rule, source), fleet.grid, ZONE, fleet.assets, fleet.states, places.of)
    return [f"{f.field}: {f.reason}" for f in found]


def one_mill(b: Any, plan: Any) -> None:
    @b.Constraint(plan.steps)  # type: ignore[untyped-decorator]
    def one_at_a_time(b: Any, t: int) -> Any:
        return plan.on["process-0"][t] + plan.on["process-1"][t] <= 1


def test_a_rule_costs_what_the_same_rows_by_hand_cost_and_holds() -> None:
    fleet, price = mills()
    problem = problem_of(fleet, price)
    free = Living(problem).solve_mip(30, 1e-9)
    on = columns_of(problem, "process", "on").reshape(2, -1)
    assert free.x[on].sum(axis=0).max() == pytest.approx(2.0)
    own = np.zeros((fleet.grid.n, problem.columns))
    own[np.arange(fleet.grid.n)[:, None], on.T] = 1.0
    by_hand = with_rows(problem, Rows("crew", -INF, 1.0, own=sp.csr_array(own)))
    expected = Living(by_hand).solve_mip(30, 1e-9)
    ruled = joined(blocks_of(fleet, price), fleet, one_mill)
    found = Living(ruled).solve_mip(30, 1e-9)
    assert found.objective == pytest.approx(expected.objective, rel=1e-6)
    assert found.objective > free.objective + 1.0
    assert found.x[on].sum(axis=0).max() == pytest.approx(1.0)


def test_power_and_content_rules_speak_of_what_the_schedule_says() -> None:
    fleet = random_fleet(5, GRID, kinds=("battery", "thermal_store", "chp", "process"), outages=False)
    names = [a.id for a in fleet.assets]

    def rule(b: Any, plan: Any) -> None:
        b.site = pyo.Constraint(expr=sum(plan.power_mw[a][2] for a in names) >= -0.4)
        b.kept = pyo.Constraint(expr=plan.stored_mwh["battery-0"][4] >= plan.stored_mwh["battery-0"][3] + 0.01)
        b.silo = pyo.Constraint(expr=sum(plan.stored_mwh[a][5] for a in plan.named(kind="process")) >= 2.0)

    price = np.random.default_rng(1).uniform(10.0, 160.0, fleet.grid.n)
    problem = joined(blocks_of(fleet, price), fleet, rule)
    raw = Living(problem).solve_mip(30, 1e-6)
    schedule = read_schedule(problem, raw.x, None, np.zeros(len(names)))
    excess = raw.x[columns_of(problem, "rules", "excess")]
    assert excess.max() < 1e-6
    assert schedule.power_mw[:, 2].sum() >= -0.4 - 1e-6
    kept = schedule.stored_mwh["battery-0"]
    assert kept[4] >= kept[3] + 0.01 - 1e-6
    assert schedule.stored_mwh["process-0"][5] + schedule.stored_mwh["process-1"][5] >= 2.0 - 1e-6
    judged = broken_rules(file_of(rule), ZONE, fleet.assets, fleet.states, schedule, names)
    assert judged == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_names_of_every_kind_are_what_its_schedule_reports(kind: str, seed: int) -> None:
    fleet = random_fleet(seed, GRID, kinds=(kind,), outages=False)
    problem = problem_of(fleet, np.full(fleet.grid.n, 50.0))
    places, x = places_of(problem), np.random.default_rng(seed).integers(0, 2, problem.columns).astype(float)
    schedule = read_schedule(problem, x, None, np.zeros(len(fleet.assets)))
    power = injection(problem, x)
    for i, asset in enumerate(fleet.assets):
        for t in range(fleet.grid.n):
            place = places.of(asset.id, "power_mw", t)
            assert power.ravel()[place.injection] == power[i, t]
            for what, told in (("on", schedule.commitment), ("stored_mwh", schedule.stored_mwh)):
                try:
                    place = places.of(asset.id, what, t)
                except Faulty as why:
                    assert what in why.reason
                    assert asset.id not in told or kind in COMPUTED
                    continue
                assert place.constant + place.factor * x[place.column] == pytest.approx(told[asset.id][t])


def test_a_start_is_the_column_of_the_start_and_counts_in_the_check() -> None:
    fleet, price = mills()

    def no_start(b: Any, plan: Any) -> None:
        b.quiet = pyo.Constraint(expr=sum(plan.start[a][t] for a in plan.assets for t in plan.steps) <= 1)

    problem = joined(blocks_of(fleet, price), fleet, no_start)
    raw = Living(problem).solve_mip(30, 1e-6)
    assert raw.x[columns_of(problem, "process", "start")].sum() <= 1.0 + 1e-6
    schedule = read_schedule(problem, raw.x, None, np.zeros(2))
    both = replace(schedule, commitment={a: np.ones(fleet.grid.n) for a in schedule.commitment})
    told = broken_rules(file_of(no_start), ZONE, fleet.assets, fleet.states, both, list(fleet.states))
    assert [f.field for f in told] == ["quiet"]
    assert told[0].reason == "is broken: 2 > 1"


def test_the_check_does_not_read_the_compiled_rows() -> None:
    fleet, _ = mills()
    plan = made.plan(fleet, 3)
    broken = replace(plan.schedule, commitment={a: np.ones(fleet.grid.n) for a in plan.schedule.commitment})
    told = broken_rules(file_of(one_mill), ZONE, fleet.assets, fleet.states, broken, list(broken.commitment))
    assert len(told) == fleet.grid.n
    assert str(told[0]) == "rules.py/one_at_a_time[0]: is broken: 2 > 1"
    assert broken_rules(file_of(one_mill), ZONE, fleet.assets, fleet.states, broken, ["somebody else"]) == []


def test_a_rule_that_nothing_can_keep_is_broken_as_little_as_possible() -> None:
    fleet, price = mills()
    states = {a: replace(s, on=True, power_mw=-1.0, minutes_in_state=0) for a, s in fleet.states.items()}
    held = [replace(a, params=a.params.model_copy(update={"min_run_h": 1.0})) for a in fleet.assets]
    fleet = replace(fleet, assets=tuple(held), states=states)
    problem = joined(blocks_of(fleet, price), fleet, one_mill)
    raw = Living(problem).solve_mip(30, 1e-6)
    on = raw.x[columns_of(problem, "process", "on")].reshape(2, -1).sum(axis=0)
    inside = np.cumsum(fleet.grid.minutes) - np.asarray(fleet.grid.minutes) < 60
    np.testing.assert_allclose(on[inside], 2.0)
    assert on[~inside].max() <= 1.0 + 1e-6


def test_what_this_stage_does_not_decide_is_a_constant() -> None:
    fleet = random_fleet(5, GRID, kinds=("battery", "process"), outages=False)
    ids = tuple(a.id for a in fleet.assets)
    batteries = KINDS["battery"].block(fleet.assets[:2], fleet.context())
    given = [
        Block(f"given {a}", (), (), (a,), None, mw)
        for a, mw in (("process-0", np.full(fleet.grid.n, -1.0)), ("process-1", np.zeros(fleet.grid.n)))
    ]
    sold = price_block(ids, fleet.grid, np.full(fleet.grid.n, -300.0))
    blocks = [batteries, *given, sold]

    def rule(b: Any, plan: Any) -> None:
        one_mill(b, plan)

        @b.Constraint(plan.steps)  # type: ignore[untyped-decorator]
        def import_limit(b: Any, t: int) -> Any:
            return sum(plan.power_mw[a][t] for a in plan.assets) >= -1.2

        b.silo = pyo.Constraint(expr=plan.stored_mwh["process-0"][0] + plan.power_mw["battery-0"][0] >= 99.0)

    ruled = joined(blocks, fleet, rule)
    assert {name.partition("[")[0] for _, rows in ruled.extra for name in rows.names} == {"import_limit"}
    raw = Living(ruled).solve_lp(30)
    assert injection(ruled, raw.x).sum(axis=0).min() == pytest.approx(-1.2, abs=1e-6)
    places = Places(fleet.grid, ids, blocks)
    assert [places.of(a, "on", 0).constant for a in ids[2:]] == [1.0, 0.0]
    with pytest.raises(Unseen):
        places.of("process-0", "stored_mwh", 0)


def test_times_are_local_and_a_band_may_pass_midnight() -> None:
    seen: dict[str, Any] = {}

    def rule(b: Any, plan: Any) -> None:
        seen["first"], seen["hours"] = plan.local_time(0), sum(plan.hours(t) for t in plan.steps)
        seen["night"] = [plan.local_time(t).hour for t in plan.between("22:00", "06:00")]
        seen["noon"] = [plan.local_time(t).hour for t in plan.between("12:00", "13:00")]
        seen["named"] = plan.named(kind="process", site="s"), plan.named(site="elsewhere")
        seen["state"] = plan.initial["process-0"]

    fleet, _ = mills()
    assert faults(rule) == []
    assert seen["first"].utcoffset() == timedelta(hours=2)
    assert seen["hours"] == pytest.approx(fleet.grid.hours.sum())
    assert all(hour >= 22 or hour < 6 for hour in seen["night"])
    assert seen["night"]
    assert set(seen["noon"]) == {12}
    assert seen["named"] == (["process-0", "process-1"], [])
    assert isinstance(seen["state"], AssetState)


def test_what_a_rule_must_not_do_is_refused_by_name_all_at_once() -> None:
    def rule(b: Any, plan: Any) -> None:
        b.extra = pyo.Var()
        b.goal = pyo.Objective(expr=plan.on["process-0"][0])
        b.squared = pyo.Constraint(expr=plan.on["process-0"][0] * plan.on["process-1"][0] <= 0)
        b.marks = pyo.Suffix()
        plan.on["process-0"][0].fix(1)
        plan.power_mw["process-0"][1].setub(0)
        plan.on["process-1"][2].domain = pyo.Binary
        b.model().aside = pyo.Constraint(expr=plan.on["process-0"][0] <= 0)
        b.typo = pyo.Constraint(expr=plan.on["proces-0"][0] + plan.on["process-0"][-1] <= 1)
        b.other = pyo.Constraint(expr=plan.start["process-0"][10_000] <= 1)

    told = " | ".join(faults(rule))
    for part in (
        "extra is a new variable", "goal is an objective", "squared is not linear", "marks is a Suffix",
        "plan.on['process-0'][0] is fixed", "bounds of plan.power_mw['process-0'][1] are changed",
        "domain of plan.on['process-1'][2] is changed", "aside is added outside of the rules",
        "no asset proces-0; did you mean process-0?", "step -1 is outside the plan", "step 10000 is outside the plan",
    ):  # fmt: skip
        assert part in told, part


def test_a_rule_that_fails_is_a_fault_beside_what_was_found_before() -> None:
    def rule(b: Any, plan: Any) -> None:
        plan.stored_mwh["process-9"][0]
        raise ZeroDivisionError("by hand")

    told = faults(rule)
    assert told[0].startswith(": no asset process-9; did you mean process-")
    assert ": ZeroDivisionError: by hand" in told


def test_a_faulty_file_does_not_join() -> None:
    fleet, price = mills()

    def rule(b: Any, plan: Any) -> None:
        plan.on["nobody"][0]

    with pytest.raises(InputFaults, match="no asset nobody"):
        joined(blocks_of(fleet, price), fleet, rule)
