"""Polygons in the P-Q plane: laws by random points, and inverters by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dispatch.convex import added, area, beyond, hull, inverter, segment

POINTS = arrays(float, st.tuples(st.integers(1, 12), st.just(2)), elements=st.integers(-8, 8).map(lambda k: k / 4.0))
NEAR = 1e-9


@given(POINTS)
def test_a_hull_is_convex_counter_clockwise_and_holds_its_points(points: np.ndarray) -> None:
    corners = hull(points)
    assert (beyond(corners, points) <= NEAR).all()
    assert {tuple(c) for c in corners} <= {tuple(p) for p in points}
    if len(corners) > 2:
        along = np.roll(corners, -1, axis=0) - corners
        following = np.roll(along, -1, axis=0)
        assert (along[:, 0] * following[:, 1] - along[:, 1] * following[:, 0] > 0.0).all()
        assert area(corners) > 0.0


@pytest.mark.parametrize("noise", [0.0, 1e-12, -1e-12, 1e-11])
def test_a_point_that_rounding_puts_before_an_edge_takes_no_corner_away(noise: float) -> None:
    points = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0 + noise, 0.0], [1.0, 1.0], [-1.0, 1.0]])
    found = hull(points)
    assert area(found) == pytest.approx(4.0) and len(found) == 4


@given(st.lists(POINTS, min_size=1, max_size=4), st.floats(0.0, 6.28))
def test_a_sum_reaches_in_every_direction_what_its_parts_reach_together(parts: list[np.ndarray], angle: float) -> None:
    polygons, u = [hull(p) for p in parts], np.array([np.cos(angle), np.sin(angle)])
    total = added(polygons)
    assert float((total @ u).max()) == pytest.approx(sum(float((p @ u).max()) for p in polygons), abs=1e-9)
    every = [p[0] for p in polygons]
    assert float(beyond(hull(total), np.sum(every, axis=0)[None])[0]) <= NEAR


def test_nothing_adds_up_to_the_origin() -> None:
    assert added([]).tolist() == [[0.0, 0.0]]
    assert added([np.array([[1.0, 2.0]]), np.array([[0.5, -1.0]])]).tolist() == [[1.5, 1.0]]


@given(st.floats(0.1, 5.0), st.floats(-6.0, 6.0), st.floats(-6.0, 6.0))
def test_an_inverter_stays_in_its_circle_and_uses_it(rating: float, one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    corners = inverter(rating, low, high)
    assert (np.hypot(*corners.T) <= rating * (1.0 + 1e-9)).all()
    least, most = np.clip([low, high], -rating, rating)
    assert corners[:, 0].min() == pytest.approx(least, abs=1e-9)
    assert corners[:, 0].max() == pytest.approx(most, abs=1e-9)
    nearest = float(np.clip(0.0, least, most))
    assert corners[:, 1].max() >= np.cos(np.pi / 64) * np.sqrt(rating**2 - nearest**2) - 1e-9


def test_an_inverter_by_hand() -> None:
    """At 0.6 to 0.6 MW of 1 MVA there are 0.8 Mvar either way; a machine at a power factor has a line."""
    assert inverter(1.0, 0.6, 0.6) == pytest.approx(np.array([[0.6, -0.8], [0.6, 0.8]]))
    assert segment(-2.0, 1.0, 0.25).tolist() == [[-2.0, -0.5], [1.0, 0.25]]
    assert area(inverter(1.0, -1.0, 1.0)) == pytest.approx(np.pi, rel=2e-3)


def test_how_far_a_point_lies_outside() -> None:
    square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    points = np.array([[0.5, 0.5], [1.25, 0.5], [0.5, -2.0]])
    assert beyond(square, points) == pytest.approx([-0.5, 0.25, 2.0])
    assert beyond(square[:2], points) == pytest.approx([0.5, np.hypot(0.25, 0.5), 2.0])
    assert beyond(square[:1], points[:1]) == pytest.approx([np.hypot(0.5, 0.5)])
