"""Who wins: priorities, expiry, and what is recorded as not kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp.domain.command import Priority, Proposal
from vpp.domain.time import QUARTER, TimeGrid, mixed_grid
from vpp.service.arbitrate import arbitrate, limits_over

NOW = datetime(2016, 7, 12, 15, 30, tzinfo=UTC)
INF = float("inf")
P = Priority


def proposal(
    priority: Priority, low: float, high: float, prefer: float | None = None, *, name: str = "", asset: str = "a",
    start: datetime = NOW, minutes: int = 15,
) -> Proposal:  # fmt: skip
    end = start + timedelta(minutes=minutes)
    return Proposal(name or priority.name, asset, f"by {priority.name}", priority, start, end, low, high, prefer)


SCENARIOS = {
    "the order narrows, the schedule chooses inside": (
        [proposal(P.SCHEDULE, -5, 5, 3.0), proposal(P.DR_ORDER, -1, 1)], (-1, 1, 1.0, "by DR_ORDER", []),
    ),
    "a firm position yields to a grid emergency": (
        [proposal(P.FIRM_POSITION, 2, 3, 2.5), proposal(P.GRID_EMERGENCY, -INF, 1)],
        (-INF, 1, None, "by GRID_EMERGENCY", ["FIRM_POSITION"]),
    ),
    "a grid order never beats a plant's interlock": (
        [proposal(P.GRID_EMERGENCY, 0, 0), proposal(P.DEVICE_PROTECTION, -1.8, -1.8)],
        (-1.8, -1.8, None, "by DEVICE_PROTECTION", ["GRID_EMERGENCY"]),
    ),
    "a site's stop beats the grid and the operator": (
        [proposal(P.OPERATOR, 1, 2), proposal(P.SITE_STOP, 0, 0), proposal(P.GRID_EMERGENCY, -2, -1)],
        (0, 0, None, "by SITE_STOP", ["GRID_EMERGENCY", "OPERATOR"]),
    ),
    "activated reserve goes before an accepted order": (
        [proposal(P.DR_ORDER, -1, 0), proposal(P.ACTIVATED_RESERVE, 1, 2)],
        (1, 2, None, "by ACTIVATED_RESERVE", ["DR_ORDER"]),
    ),
    "an operator's override goes before reserve and yields to the grid": (
        [proposal(P.ACTIVATED_RESERVE, 1, 2), proposal(P.OPERATOR, 0, 1.5), proposal(P.GRID_EMERGENCY, -1, 1.2)],
        (1, 1.2, None, "by GRID_EMERGENCY", []),
    ),
    "a lower proposal is kept inside what two higher ones left": (
        [proposal(P.SITE_STOP, -3, 3), proposal(P.DR_ORDER, 1, 9), proposal(P.SCHEDULE, -9, 9, -5.0)],
        (1, 3, 1.0, "by SITE_STOP", []),
    ),
    "the wish of the highest priority counts": (
        [proposal(P.SCHEDULE, -5, 5, 4.0), proposal(P.OPERATOR, -5, 5, -2.0), proposal(P.DR_ORDER, -1, 5)],
        (-1, 5, -1.0, "by OPERATOR", []),
    ),
    "of equals the later by id yields": (
        [proposal(P.DR_ORDER, 2, 3, name="b"), proposal(P.DR_ORDER, -1, 1, name="a")],
        (-1, 1, None, "by DR_ORDER", ["b"]),
    ),
    "bounds that cross are not kept": (
        [proposal(P.SITE_STOP, 1, -1)], (-INF, INF, None, "by SITE_STOP", ["SITE_STOP"]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenarios_in_any_order_of_arrival(name: str) -> None:
    proposals, (low, high, prefer, source, unkept) = SCENARIOS[name]
    for order in permutations(proposals):
        window = arbitrate(order, NOW)["a"]
        assert (window.lower_mw, window.upper_mw, window.preferred_mw) == (low, high, prefer)
        assert (window.source, [p.id for p in window.unkept]) == (source, unkept)


def test_the_priorities_stand_in_the_order_of_the_house() -> None:
    house = [P.DEVICE_PROTECTION, P.SITE_STOP, P.GRID_EMERGENCY, P.OPERATOR, P.ACTIVATED_RESERVE, P.DR_ORDER,
             P.FIRM_POSITION, P.SCHEDULE]  # fmt: skip
    assert sorted(P, reverse=True) == house


def test_proposals_count_from_their_start_until_before_their_end() -> None:
    stop = proposal(P.SITE_STOP, 0, 0)
    assert arbitrate([stop], NOW - timedelta(seconds=1)) == {}
    assert set(arbitrate([stop], NOW)) == set(arbitrate([stop], NOW + timedelta(minutes=14, seconds=59))) == {"a"}
    assert arbitrate([stop], NOW + QUARTER) == {}


def test_assets_do_not_see_each_others_proposals() -> None:
    found = arbitrate([proposal(P.SITE_STOP, 0, 0), proposal(P.DR_ORDER, 1, 2, asset="b")], NOW)
    assert {k: (w.lower_mw, w.upper_mw, w.unkept) for k, w in found.items()} == {"a": (0, 0, ()), "b": (1, 2, ())}


bound = st.integers(-5, 5).map(float)
any_proposal = st.builds(
    lambda priority, x, y, prefer, name: proposal(priority, min(x, y), max(x, y), prefer, name=name),
    st.sampled_from(list(P)), bound, bound, st.none() | bound, st.text("abcdef", min_size=3, max_size=3),
)  # fmt: skip


@given(st.lists(any_proposal, min_size=1, max_size=7, unique_by=lambda p: p.id))
def test_the_laws_of_a_window(proposals: list[Proposal]) -> None:
    """Never empty; inside every kept proposal; the highest priority is kept whole; order of arrival is nothing."""
    window = arbitrate(proposals, NOW)["a"]
    assert window == arbitrate(proposals[::-1], NOW)["a"]
    assert window.lower_mw <= window.upper_mw
    kept = [p for p in proposals if p not in window.unkept]
    assert all(p.lower_mw <= window.lower_mw and window.upper_mw <= p.upper_mw for p in kept)
    first = min(proposals, key=lambda p: (-p.priority, p.id))
    assert first in kept and window.source == first.source
    assert window.preferred_mw is None or window.lower_mw <= window.preferred_mw <= window.upper_mw
    for p in window.unkept:
        higher = [k for k in kept if (-k.priority, k.id) < (-p.priority, p.id)]
        assert max(k.lower_mw for k in higher) > p.upper_mw or min(k.upper_mw for k in higher) < p.lower_mw


def test_limits_over_a_grid_hold_at_every_moment_of_a_step() -> None:
    """A quarter's stop inside the hour that follows the fine steps binds the whole hour."""
    grid = mixed_grid(NOW, [(QUARTER, NOW + 2 * QUARTER), (timedelta(hours=1), NOW + timedelta(hours=2, minutes=30))])
    inside = proposal(P.SITE_STOP, -1, 0, start=NOW + 5 * QUARTER)
    low, high = limits_over(grid, [inside, proposal(P.DR_ORDER, -2, 5, minutes=30)])["a"]
    assert low.tolist() == [-2.0, -2.0, -1.0, -INF] and high.tolist() == [5.0, 5.0, 0.0, INF]


def test_limits_that_follow_each_other_without_overlap_keep_the_first() -> None:
    grid = TimeGrid.uniform(NOW, timedelta(hours=1), 1)
    first, second = proposal(P.DR_ORDER, 1, 2), proposal(P.SITE_STOP, 0, 0, start=NOW + QUARTER)
    low, high = limits_over(grid, [first, second])["a"]
    assert (low[0], high[0]) == (1.0, 2.0)


def test_nobody_is_limited_without_proposals() -> None:
    assert limits_over(TimeGrid.uniform(NOW, QUARTER, 3), []) == {}
    later = proposal(P.SITE_STOP, 0, 0, start=NOW + timedelta(days=1))
    assert np.array(list(limits_over(TimeGrid.uniform(NOW, QUARTER, 3), [later]).values())).size == 0
