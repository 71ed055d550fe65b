"""How much a group holds over a window: hand-made devices, and the law that nobody can hold more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from dispatch import flexibility
from dispatch.check import check_schedule
from dispatch.flexibility import Direction, flexible_power, group_map, held_mw
from dispatch.problem import assemble, read_schedule, with_block
from dispatch.solvers.highs_door import Living
from tests.dispatch import tiny
from tests.dispatch.random_fleet import plan, random_fleet
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array

GRID = tiny.grid(4)


def solved(
    direction: Direction, window: Sequence[int], reference: Array, group: Sequence[str], most: float = np.inf
) -> Schedule:
    """A battery (1 MW, 1 MWh, half full, which ends where it began), a generator of 2 MW and a load of 1 MW."""
    blocks = [
        tiny.battery("b", GRID, 1.0, 1.0, 0.5), tiny.generator("g", GRID, 2.0, 50.0), tiny.load("l", np.ones(4)),
    ]  # fmt: skip
    ids = ("b", "g", "l")
    problem = with_block(
        assemble(GRID, ids, blocks), flexible_power(group, ids, GRID, window, reference, direction, most)
    )
    return read_schedule(problem, Living(problem).solve_lp(10.0).x, None, np.zeros(3))


@pytest.mark.parametrize(
    ("direction", "window", "group", "held"),
    [
        ("up", [0, 1], ["b"], 1.0),
        ("up", [0, 1, 2], ["b"], 1.0 / 3.0),
        ("down", [0, 1], ["b"], 1.0),
        ("down", [0, 1, 2, 3], ["b"], 0.5),
        ("up", [0, 1], ["b", "g"], 3.0),
        ("up", [2], ["l"], 0.0),
    ],
)
def test_what_is_held_by_hand(direction: Direction, window: list[int], group: list[str], held: float) -> None:
    """Half a MWh lasts half an hour at 1 MW; over 45 min the last quarter recharges at 1 MW 0.25 of what was given.

    Charging all day fills half a MWh in an hour; the generator adds its 2 MW; a fixed load holds nothing.
    """
    reference = -np.ones(4) if group == ["l"] else np.zeros(4)
    schedule = solved(direction, window, reference, group)
    assert held_mw(schedule, group, window, reference, direction) == pytest.approx(held, abs=1e-6)


def test_the_reference_is_where_counting_begins() -> None:
    """Planned to charge 0.5 MW, it can turn by 1.5 MW; planned to give 0.5 MW, only by 0.5 MW."""
    for planned, held in ((-0.5, 1.5), (0.5, 0.5)):
        reference = np.array([planned, 0.0, 0.0, 0.0])
        assert held_mw(solved("up", [0], reference, ["b"]), ["b"], [0], reference, "up") == pytest.approx(held)


def test_no_more_than_asked_is_held() -> None:
    """The generator costs money, so it gives what was asked for and no more."""
    reference = np.zeros(4)
    assert held_mw(solved("up", [0], reference, ["g"]), ["g"], [0], reference, "up") == pytest.approx(2.0)
    assert held_mw(solved("up", [0], reference, ["g"], 0.7), ["g"], [0], reference, "up") == pytest.approx(0.7)


def test_a_schedule_that_holds_less_than_nothing_holds_nothing() -> None:
    falling = Schedule(("a",), GRID, -np.ones((1, 4)), np.zeros((1, 4)))
    assert held_mw(falling, ["a"], [1], np.zeros(4), "up") == 0.0
    assert held_mw(falling, ["a"], [1], np.zeros(4), "down") == 1.0


def test_the_map_picks_the_group_at_the_steps() -> None:
    injections = np.arange(12.0)
    assert (group_map(["c", "a"], ("a", "b", "c"), [0, 3], 4) @ injections).tolist() == [8.0 + 0.0, 11.0 + 3.0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_longer_window_holds_no_more_and_the_plan_that_holds_it_is_physical(
    seed: int, direction: Direction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any cost: worth more than every slack, what is held is all that can be."""
    monkeypatch.setattr(flexibility, "WORTH_PER_MWH", 1e5)
    fleet = random_fleet(seed, "quarters", ("battery", "price_elastic", "thermal_store"), outages=False)
    planned = plan(fleet, seed)
    ids = planned.problem.asset_ids
    reference = planned.schedule.power_mw.sum(axis=0)
    found = []
    for length in (1, 2, 4, 8):
        window = list(range(2, 2 + length))
        problem = with_block(planned.problem, flexible_power(ids, ids, fleet.grid, window, reference, direction))
        schedule = read_schedule(problem, Living(problem).solve_lp(20.0).x, None, np.zeros(len(ids)))
        assert check_schedule(fleet.assets, fleet.states, fleet.inputs, schedule) == []
        found.append(held_mw(schedule, ids, window, reference, direction))
    assert found == pytest.approx(sorted(found, reverse=True), abs=1e-5)
    assert found[0] > 0.01
