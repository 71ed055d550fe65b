"""Aggregates cost what the whole fleet costs, and every member's own plan passes the independent check."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatch import aggregate
from dispatch.assets import battery, process
from dispatch.block import Block, Context, EndValue
from dispatch.check import check_schedule
from dispatch.problem import Problem, assemble, cost_terms, read_schedule
from dispatch.registry import KINDS
from dispatch.solvers.highs_door import Living
from tests.dispatch.oracle_tools import START, asset_of, grid_of
from tests.dispatch.random_fleet import price_block
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.schedule import Schedule

GAP = 1e-9
LATE_S = 120.0


@dataclass(frozen=True)
class Case:
    """Assets of one kind, what is known, and the price of their injection."""

    fleet: list[Asset]
    context: Context
    seed: int

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(a.id for a in self.fleet)

    def problem(self, merged: bool) -> Problem:
        kind, grid = KINDS[self.fleet[0].kind], self.context.grid
        block: Block = (
            aggregate.block(kind, self.fleet, self.context, lambda a: a.bus)
            if merged
            else kind.block(self.fleet, self.context)
        )
        price = np.random.default_rng(self.seed).uniform(10.0, 160.0, grid.n)
        return assemble(grid, self.ids, [block, price_block(self.ids, grid, price)])

    def solved(self, merged: bool) -> tuple[Problem, float, Schedule]:
        problem = self.problem(merged)
        raw = Living(problem).solve_mip(LATE_S, GAP)
        return problem, raw.objective, read_schedule(problem, raw.x, raw.row_duals, np.zeros(len(self.fleet)))

    def faults(self, schedule: Schedule) -> list[object]:
        return list(check_schedule(self.fleet, self.context.states, self.context.inputs, schedule))


def batteries(seed: int, sizes: list[float], valued: bool, loss: float) -> Case:
    """Scaled copies of one battery, and one that is like none of them."""
    rng, grid = np.random.default_rng(seed), grid_of(seed)
    model = {
        "charge_efficiency": 0.93, "discharge_efficiency": 0.95, "wear_eur_per_mwh": rng.uniform(1.0, 8.0),
        "standing_loss_per_h": loss, "taper_from_soc": rng.choice([1.0, 0.8]),
    }  # fmt: skip
    content, power = rng.uniform(0.0, 1.0), rng.uniform(0.2, 0.9)
    fleet, states, ends = [], {}, {}
    for i, size in enumerate([*sizes, 1.3]):
        odd = i == len(sizes)
        params = battery.Params(capacity_mwh=size, power_mw=size * (0.5 * power if odd else power), **model)
        fleet.append(asset_of(f"b{i}", "battery", params))
        states[f"b{i}"] = AssetState(f"b{i}", START, START, 0.0, size * content)
        if valued:
            ends[f"b{i}"] = EndValue(size * np.array([0.2, 0.3]), np.array([90.0, 40.0]))
    return Case(fleet, Context(grid, START, states, {a.id: {} for a in fleet}, end_value=ends), seed)


def mills(
    seed: int,
    alike: int,
    others: int,
    *,
    on: bool,
    since: int,
    starts: int | None,
    crew: int | None = None,
    most_t_per_h: float = 30.0,
) -> Case:
    """`alike` identical mills and `others` of another make that fill one silo."""
    rng, grid = np.random.default_rng(seed), grid_of(0)
    silo = process.Silo(id="silo", capacity_t=400.0, min_t=20.0, kwh_per_t=40.0, missed_eur_per_t=30.0)
    fleet, states, inputs = [], {}, {}
    shipped = rng.uniform(0.0, most_t_per_h * (alike + others), grid.n)
    for i in range(alike + others):
        params = process.Params(
            power_mw=1.5 if i < alike else 1.1, kwh_per_t=40.0, min_run_h=1.0, min_stop_h=0.75, start_cost_eur=20.0,
            silo=silo, max_starts_per_day=starts, crew_limit=crew,
        )  # fmt: skip
        name = f"m{i}"
        fleet.append(asset_of(name, "process", params))
        states[name] = AssetState(name, START, START, -params.power_mw * on, 3.0, on, since)
        inputs[name] = {"shipments_t_per_h": shipped, "rota": np.zeros(grid.n)}
    return Case(fleet, Context(grid, START, states, inputs), seed)


def test_mills_with_different_earlier_starts_stay_apart() -> None:
    case = mills(3, 2, 0, on=False, since=600, starts=1)
    m0 = case.context.states["m0"]
    states = {**case.context.states, "m0": replace(m0, started=(START - timedelta(hours=1),))}
    told_apart = replace(case, context=replace(case.context, states=states))
    together, apart = case.solved(merged=True)[0], told_apart.solved(merged=True)[0]
    assert together.columns < apart.columns
    assert apart.columns == told_apart.solved(merged=False)[0].columns


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000), st.lists(st.floats(0.2, 5.0), min_size=1, max_size=5), st.booleans(),
    st.sampled_from([0.0, 0.01]),
)  # fmt: skip
def test_scaled_batteries_cost_the_same_as_one_and_keep_every_rule(
    seed: int, sizes: list[float], valued: bool, loss: float
) -> None:
    case = batteries(seed, sizes, valued, loss)
    whole, apart, _ = case.solved(merged=False)
    small, together, schedule = case.solved(merged=True)
    assert together == pytest.approx(apart, rel=1e-7, abs=1e-6)
    assert case.faults(schedule) == []
    if len(sizes) > 1:
        assert small.columns < whole.columns
    ratio = schedule.power_mw[: len(sizes)] / np.array(sizes)[:, None]
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[0], ratio.shape), atol=1e-9)


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 10_000), st.integers(2, 4), st.integers(0, 1), st.booleans(), st.sampled_from([15, 600]),
    st.sampled_from([None, 1, 2]),
)  # fmt: skip
def test_identical_mills_cost_the_same_as_a_number_and_keep_every_rule(
    seed: int, alike: int, others: int, on: bool, since: int, starts: int | None
) -> None:
    case = mills(seed, alike, others, on=on, since=since, starts=starts)
    whole, apart, _ = case.solved(merged=False)
    small, together, schedule = case.solved(merged=True)
    assert together == pytest.approx(apart, rel=1e-6, abs=1e-4)
    assert small.columns < whole.columns
    assert case.faults(schedule) == []
    paid = sum(
        20.0 * float(np.maximum(np.diff(schedule.commitment[a.id], prepend=float(on)), 0.0).sum()) for a in case.fleet
    )
    raw = Living(small).solve_mip(LATE_S, GAP)
    assert paid <= cost_terms(small, raw.x)["starts"] + 1e-4


def test_a_crew_limit_binds_numbers_as_it_binds_mills() -> None:
    case = mills(3, 3, 1, on=False, since=600, starts=None, crew=2, most_t_per_h=80.0)
    _, apart, _ = case.solved(merged=False)
    _, together, schedule = case.solved(merged=True)
    assert together == pytest.approx(apart, rel=1e-6, abs=1e-4)
    assert np.sum([schedule.commitment[a.id] for a in case.fleet], axis=0).max() == 2
    assert case.faults(schedule) == []


def test_what_differs_outside_stays_apart() -> None:
    case = batteries(2, [1.0, 2.0, 3.0], False, 0.0)
    fleet = [replace(a, bus=i) for i, a in enumerate(case.fleet)]
    moved = replace(case, fleet=fleet)
    assert moved.problem(merged=True).columns == moved.problem(merged=False).columns
    assert case.problem(merged=True).columns < case.problem(merged=False).columns


@pytest.mark.parametrize("change", ["content", "wear", "out of service", "end value"])
def test_what_differs_inside_stays_apart(change: str) -> None:
    case = batteries(2, [1.0, 2.0], False, 0.0)
    first, states, ends = case.fleet[0], dict(case.context.states), dict(case.context.end_value)
    fleet = list(case.fleet)
    if change == "content":
        states["b0"] = replace(states["b0"], stored_mwh=states["b0"].stored_mwh + 0.05)
    elif change == "wear":
        fleet[0] = replace(first, params=first.params.model_copy(update={"wear_eur_per_mwh": 99.0}))
    elif change == "out of service":
        states["b0"] = replace(states["b0"], available=False)
    else:
        ends["b0"] = EndValue(np.array([1.0]), np.array([50.0]))
    other = replace(case, fleet=fleet, context=replace(case.context, states=states, end_value=ends))
    assert other.problem(merged=True).columns == other.problem(merged=False).columns


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(1, 6), st.booleans(), st.integers(1, 5), st.integers(1, 4))
def test_turns_keep_minimum_times_and_share_starts(
    data: st.DataObject, machines: int, on: bool, up: int, down: int
) -> None:
    """Any numbers that the counted inequalities allow are shared out without breaking a minimum time."""
    steps, number = 20, [machines if on else 0]
    starts, stops = [0], [0]
    for _ in range(steps):
        least = sum(starts[-up + 1 :] if up > 1 else []) if len(starts) > 0 else 0
        most = machines - (sum(stops[-down + 1 :]) if down > 1 else 0)
        value = data.draw(st.integers(min(least, most), most))
        starts.append(max(value - number[-1], 0))
        stops.append(max(number[-1] - value, 0))
        number.append(value)
    states = aggregate.take_turns(np.array(number[1:], dtype=float), machines, on)
    np.testing.assert_array_equal(states.sum(axis=0), number[1:])
    begun = np.maximum(np.diff(states, axis=1, prepend=float(on)), 0.0)
    assert begun.sum(axis=1).max() <= -(-sum(starts) // machines)
    for row in states:
        edges = np.flatnonzero(np.diff(row)) + 1
        for a, b in pairwise(edges):
            assert b - a >= (up if row[a] > 0.5 else down)


def test_numbers_that_are_none_are_refused() -> None:
    for wrong in ([0.0, 3.0], [-1.0, 0.0], [0.5, 1.0]):
        with pytest.raises(ValueError, match="are not numbers of 2 machines"):
            aggregate.take_turns(np.array(wrong), 2, False)


def test_a_kind_without_an_aggregate_keeps_its_own_block() -> None:
    case = batteries(4, [1.0, 1.0], False, 0.0)
    kind = KINDS["battery"]
    merged = aggregate.block(kind, case.fleet, case.context, lambda a: a.id)
    assert [c.shape for c in merged.columns] == [c.shape for c in kind.block(case.fleet, case.context).columns]
