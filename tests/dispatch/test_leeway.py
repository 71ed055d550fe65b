"""How far assets may leave a plan in one interval: batteries by hand, and laws over random fleets of every kind."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dispatch.assets import battery
from dispatch.block import Context, EndValue
from dispatch.check import check_schedule
from dispatch.leeway import Near, Unit, free_from, near_plan, ranges, units
from dispatch.problem import injection, read_schedule
from dispatch.registry import KINDS
from dispatch.solvers.highs_door import Living
from tests.dispatch import tiny
from tests.dispatch.random_fleet import plan, random_fleet
from vpp.domain.errors import NotSolved
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.time import Array

GRID = tiny.grid(8)
PRICE = np.full(GRID.n, 50.0)


def store(name: str = "b", **changes: Any) -> Asset:
    params = battery.Params(power_mw=1.0, capacity_mwh=1.0, soc_min=0.0, soc_max=1.0, charge_efficiency=0.9,
                            discharge_efficiency=0.9, wear_eur_per_mwh=5.0)  # fmt: skip
    return Asset(name, "battery", "site", f"mp:{name}", "node", 1, replace_params(params, changes))


def replace_params(params: battery.Params, changes: dict[str, Any]) -> battery.Params:
    return params.model_copy(update=changes)


def context(content_mwh: float) -> Context:
    state = AssetState("b", GRID.start, GRID.start, 0.0, stored_mwh=content_mwh)
    return Context(GRID, GRID.start, {"b": state}, {"b": {}})


def range_of(content_mwh: float, planned: Array, t: int) -> tuple[float, float]:
    fleet = (store(),)
    found = ranges(Unit(("b",), fleet), context(content_mwh), {"b": planned}, PRICE, [t])
    assert found.why == ""
    return float(found.low_mw[0]), float(found.high_mw[0])


@pytest.mark.parametrize(
    ("content", "before", "low", "high"),
    [(0.5, 0.0, -1.0, 1.0), (1.0, 0.0, 0.0, 1.0), (0.0, 0.0, -1.0, 0.0), (0.5, 0.9, -1.0, 0.0), (0.1, 0.0, -1.0, 0.36)],
)
def test_a_battery_by_hand(content: float, before: float, low: float, high: float) -> None:
    """What is in store by step 2 sets the range: full takes nothing, empty gives nothing, 0.1 MWh are 0.36 MW of it.

    Two quarters at 0.9 MW take 0.5 MWh out. What was burnt by charging and discharging at once would make room.
    """
    planned = np.zeros(GRID.n)
    planned[:2] = before
    if before:
        planned[3:7] = -0.62
    assert range_of(content, planned, 2) == pytest.approx((low, high), abs=2e-3)


def test_the_plan_is_always_inside() -> None:
    """A plan that the device cannot follow, 2 MW of 1, still lies in the range it is measured against."""
    low, high = range_of(0.5, np.full(GRID.n, 2.0), 0)
    assert low <= 2.0 <= high


def test_what_goes_out_must_be_able_to_come_back() -> None:
    """In the last quarter nothing can come back, so the content that the end asks for stays."""
    assert range_of(0.5, np.zeros(GRID.n), GRID.n - 1)[1] == pytest.approx(0.0, abs=1e-3)
    assert range_of(0.5, np.zeros(GRID.n), 0)[1] == pytest.approx(1.0, abs=1e-3)


def silo(name: str, bus: int, shared: str | None) -> Asset:
    return replace(store(name), bus=bus, kind="fake", params=SimpleNamespace(store=shared))


def test_who_is_asked_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Assets of one store at one bus are one unit; across buses, or with a part outside the question, they stay."""
    kind = SimpleNamespace(store=lambda a: (a.params.store, 1.0) if a.params.store else None)
    monkeypatch.setattr("dispatch.leeway.KINDS", {"fake": kind})
    fleet = (silo("a", 1, "s"), silo("b", 1, "s"), silo("c", 1, None), silo("d", 1, "x"), silo("e", 2, "x"))
    found, apart = units(fleet, ["a", "b", "c", "d", "e"])
    assert [u.members for u in found] == [("a", "b"), ("c",)]
    assert apart == ["d", "e"]
    assert units(fleet, ["a", "c"])[1] == ["a"]
    assert all(u.near == fleet for u in found)


def test_a_unit_without_a_plan_of_its_integers_is_held_to_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise NotSolved("late")

    monkeypatch.setattr("dispatch.leeway.near_plan", never)
    found = ranges(Unit(("b",), (store(),)), context(0.5), {"b": np.ones(GRID.n)}, PRICE, [1, 2])
    assert found.why == "late" and found.low_mw.tolist() == found.high_mw.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("seed", range(4))
def test_every_end_of_a_range_is_part_of_a_physical_plan_that_begins_as_planned(seed: int) -> None:
    fleet = random_fleet(seed, "quarters", ("battery", "price_elastic", "thermal_store", "chp"), outages=False)
    value = EndValue(np.array([0.3, 0.5]), np.array([40.0, 20.0]))
    ends = {a.id: value for a in fleet.assets if KINDS[a.kind].store(a)}
    made = plan(fleet, seed, end_value=ends)
    planned = dict(zip(made.problem.asset_ids, made.schedule.power_mw, strict=True))
    price, t = np.full(fleet.grid.n, 60.0), fleet.grid.n // 3
    for asset in fleet.assets:
        near = Near((asset,), fleet.context(end_value=ends), planned, price)
        for sign in (-1.0, 1.0):
            end = near.extreme([asset.id], t, sign)
            assert sign * (end - planned[asset.id][t]) >= -1e-4
            x = near.living.solve_lp(10.0).x
            power = injection(near.problem, x)
            assert power[0, t] == pytest.approx(end)
            assert power[0, :t] == pytest.approx(planned[asset.id][:t], abs=1e-4)
            schedule = read_schedule(near.problem, x, None, np.zeros(1))
            assert check_schedule((asset,), fleet.states, fleet.inputs, schedule) == []


def test_before_the_step_the_plan_is_followed_and_after_it_costs_nothing_to_leave() -> None:
    problem = near_plan((store(),), context(0.5), {"b": np.full(GRID.n, 0.2)}, PRICE)
    cost = free_from(problem, [0], 3)
    changed = cost != problem.cost
    assert changed.sum() == 2 * (GRID.n - 3) + 2 * 3, "deviations after, both ways before"
    x = Living(replace(problem, cost=cost)).solve_lp(5.0).x
    assert injection(problem, x)[0, :3] == pytest.approx(np.full(3, 0.2))
    assert timedelta(minutes=15) == GRID.edges[1] - GRID.edges[0]
