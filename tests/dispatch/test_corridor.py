"""What is held for how long, what comes back and at what price: a battery and a generator by hand, and laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatch.corridor import Group, cheapest, hold, merit, rebound_mw
from dispatch.leeway import near_plan
from tests.dispatch import tiny
from tests.dispatch.test_leeway import GRID, PRICE, context, store
from tests.dispatch.tiny import ThreeBusNet
from vpp.domain.time import Array


def group(content: float, planned: Array, t0: int = 0, net: ThreeBusNet | None = None, price: Array = PRICE) -> Group:
    exposure = None
    if net is not None:
        load = np.tile([0.0, 0.0, 0.0], (GRID.n, 1))
        exposure = tiny.exposure([2], load)
    problem = near_plan((store(),), context(content), {"b": planned}, price)
    return Group(problem, ("b",), planned, t0, net, exposure)


@pytest.mark.parametrize(
    ("steps", "direction", "mw"),
    [(1, "up", 1.0), (2, "up", 0.9), (4, "up", 0.45), (1, "down", 1.0), (2, "down", 1.0), (4, "down", 0.5556)],
)
def test_what_a_battery_holds_by_hand(steps: int, direction: str, mw: float) -> None:
    """Half a MWh in store gives 0.45 at the terminals, half a MWh of room takes 0.5556; two hours to come back."""
    found = hold(group(0.5, np.zeros(GRID.n)), list(range(steps)), "up" if direction == "up" else "down")
    assert found.why == "" and found.mw == pytest.approx(mw, abs=2e-3)


def test_the_network_bounds_what_is_held() -> None:
    found = hold(group(0.5, np.zeros(GRID.n), net=ThreeBusNet((2.0, 0.4))), [0], "up")
    assert found.mw == pytest.approx(0.4, abs=0.01) and found.mw <= 0.4


def test_what_was_given_comes_back_with_its_losses() -> None:
    """1 MW for a quarter is 0.25 MWh; 0.25 / 0.81 MWh come back, all of it after the window."""
    asked = group(0.5, np.zeros(GRID.n), price=np.full(GRID.n, 50.0))
    held = hold(asked, [0], "up")
    back = rebound_mw(asked, held, cheapest(asked))
    assert back[0, 0] == 0.0
    assert float(back[0] @ GRID.hours) == pytest.approx(-0.25 / 0.81, rel=1e-2)


def test_nothing_held_brings_nothing_back() -> None:
    asked = group(0.5, np.zeros(GRID.n), net=ThreeBusNet((2.0, 1e-9)))
    asked = Group(asked.problem, asked.members, asked.base_mw, 0, asked.network, tiny.exposure([2], np.tile(
        [0.0, 0.0, -1.0], (GRID.n, 1))))  # fmt: skip
    held = hold(asked, [0], "up")
    assert held.schedule is None and held.why and held.mw == 0.0
    assert not rebound_mw(asked, held, cheapest(group(0.5, np.zeros(GRID.n)))).any()


def test_a_price_is_what_losses_and_wear_cost() -> None:
    """At a flat 50 a MWh given must be bought back as 1 / 0.81: 11.73 of losses and 5 + 5 / 0.81 of wear."""
    curve = merit(group(0.5, np.zeros(GRID.n)), 0, -1.0, 1.0)
    up = [(mw, price) for mw, price in curve if mw > 0.0]
    expected = 50.0 * (1.0 / 0.81 - 1.0) + 5.0 * (1.0 + 1.0 / 0.81)
    assert up[0][1] == pytest.approx(expected, abs=0.05)
    assert up[-1][0] == pytest.approx(1.0, abs=1e-3)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(0.0, 200.0), min_size=8, max_size=8), st.floats(0.05, 0.95), st.integers(0, 5))
def test_laws_of_the_merit_curve(price: list[float], content: float, t: int) -> None:
    """MW rise, prices rise away from the plan and are never negative, and the curve stays in the range."""
    curve = merit(group(content, np.zeros(GRID.n), t, price=np.array(price)), t, -0.8, 0.7)
    mw = np.array([m for m, _ in curve])
    cost = np.array([c for _, c in curve])
    assert (np.diff(mw) > 0.0).all() and (cost >= 0.0).all()
    assert (mw >= -0.8 - 1e-6).all() and (mw <= 0.7 + 1e-6).all()
    assert (np.diff(cost[mw > 0.0]) >= -1e-6).all() and (np.diff(cost[mw < 0.0]) <= 1e-6).all()


@settings(deadline=None, max_examples=15)
@given(st.floats(0.0, 1.0), st.sampled_from(["up", "down"]))
def test_a_longer_window_never_holds_more(content: float, direction: str) -> None:
    asked = group(content, np.zeros(GRID.n), 1)
    side = "up" if direction == "up" else "down"
    found = [hold(asked, list(range(1, 1 + k)), side).mw for k in (1, 2, 4, 6)]
    assert found == pytest.approx(sorted(found, reverse=True), abs=1e-4)
