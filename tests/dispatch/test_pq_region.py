"""Regions of P and Q on a net whose limits are known exactly, and their laws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatch.convex import added, area, beyond, hull, inverter, segment
from dispatch.pq_outline import clipped
from dispatch.pq_region import ASSETS, Around, Cell, Region, Shared, Spot, verified
from dispatch.pq_search import directions, regions
from tests.dispatch import tiny
from tests.dispatch.tiny import ThreeBusNet
from vpp.domain.time import Array


def around(net: ThreeBusNet | None, load_mw: float = 0.5, steps: int = 1) -> Around:
    p = np.tile([0.0, -load_mw, 0.0], (steps, 1))
    return Around(net, tiny.grid(steps), p, np.zeros_like(p))


def cell(bus: int, low: float, high: float, rating: float = 0.0, planned: float = 0.0) -> Cell:
    return Cell(bus, inverter(rating, low, high) if rating else segment(low, high, 0.0), np.array([planned, 0.0]))


def test_a_line_bounds_what_hangs_on_it() -> None:
    """Line 1 carries 1 MW; line 0 carries 2 MW and half a MW of load: 1 MW up on bus 2, 1 MW down."""
    (found,) = regions(around(ThreeBusNet()), [Spot((cell(2, -4.0, 4.0),))], 8)
    assert found.bounds(0) == pytest.approx((-1.0, 1.0), abs=5e-3)
    assert found.binding["p_max"] == found.binding["p_min"] == "line 1"
    assert (found.corners[:, 0] <= 1.0 + 1e-5).all()


def test_cells_share_a_line_and_what_is_left_is_theirs_together() -> None:
    """Bus 2 gives its 1 MW, bus 1 the rest of 2 + 0.5 MW that line 0 and the load take."""
    spot = Spot((cell(1, -3.0, 3.0), cell(2, -3.0, 3.0)))
    (found,) = regions(around(ThreeBusNet()), [spot], 8)
    assert found.bounds(0) == pytest.approx((-1.5, 2.5), abs=5e-3)
    assert found.spread.sum(axis=1) == pytest.approx(found.corners)
    assert (np.abs(found.spread[:, 1, 0]) <= 1.0 + 1e-5).all()


def test_the_limit_of_a_connection_binds_the_sum_behind_it() -> None:
    spot = Spot((cell(1, -1.0, 1.0), cell(1, -1.0, 1.0)), (Shared((0, 1), -0.5, 1.25),))
    (found,) = regions(around(None), [spot], 4)
    assert found.bounds(0) == pytest.approx((-0.5, 1.25))
    assert set(found.binding.values()) == {ASSETS}


def test_without_a_network_the_region_is_what_the_assets_can_do() -> None:
    spot = Spot((cell(1, -1.0, 1.0, rating=1.2), cell(2, -0.5, 0.0)))
    (found,) = regions(around(None), [spot], 16)
    assert area(found.corners) == pytest.approx(found.free_area)
    assert found.bounds(0) == pytest.approx((-1.5, 1.0))
    assert found.bounds(1) == pytest.approx((-1.2, 1.2))


def test_each_interval_is_its_own_question() -> None:
    net, spots = ThreeBusNet(), [Spot((cell(2, -m, m),)) for m in (0.25, 0.5, 4.0)]
    found = regions(around(net, steps=3), spots, 4)
    assert [r.bounds(0)[1] for r in found] == pytest.approx([0.25, 0.5, 1.0], abs=5e-3)
    assert found[1].corners == pytest.approx(regions(around(net), [spots[1]], 4)[0].corners)


def test_a_plan_beyond_a_limit_is_told_and_the_region_is_where_it_is_cured() -> None:
    """A plan of 1.4 MW behind 1 MW: from all of the asset to what the line takes, without the plan."""
    (found,) = regions(around(ThreeBusNet()), [Spot((cell(2, 0.0, 1.4, planned=1.4),))], 4)
    assert found.violated == ("line 1",)
    assert found.bounds(0) == pytest.approx((0.0, 1.0), abs=5e-3)


def test_a_limit_that_nothing_cures_leaves_no_region() -> None:
    (found,) = regions(around(ThreeBusNet(), load_mw=9.0), [Spot((cell(2, -0.5, 0.5),))], 4)
    assert found.violated and not len(found.corners)
    assert verified(around(ThreeBusNet(), load_mw=9.0), [Spot((cell(2, -0.5, 0.5),))], [found]) == []


def test_the_reference_engine_finds_what_is_wrong() -> None:
    """A region that somebody widened by hand is refused at the corner that was moved, and only there."""
    spot = Spot((cell(2, -4.0, 4.0),))
    (found,) = regions(around(ThreeBusNet()), [spot], 4)
    assert verified(around(ThreeBusNet()), [spot], [found]) == []
    spread = found.spread.copy()
    worst = int(spread[:, 0, 0].argmax())
    spread[worst] *= 1.1
    wider = replace(found, spread=spread, corners=spread.sum(axis=1))
    assert verified(around(ThreeBusNet()), [spot], [wider]) == [(worst, 0)]


@pytest.mark.parametrize("count", [0, 3, 10])
def test_directions_hold_both_axes(count: int) -> None:
    with pytest.raises(ValueError, match="multiple of four"):
        regions(around(None), [Spot((cell(1, 0.0, 1.0),))], count)
    u = directions(Spot((cell(1, -3.0, 1.0, rating=3.0),)), 16)
    assert {(1.0, 0.0), (0.0, 1.0)} <= {(round(a, 9), round(b, 9)) for a, b in u.tolist()}


def random_spot(seed: int) -> Spot:
    rng = np.random.default_rng(seed)
    cells = []
    for _ in range(rng.integers(1, 4)):
        low, high = np.sort(rng.uniform(-2.0, 2.0, 2))
        planned = np.array([rng.uniform(max(low, -0.2), max(min(high, 0.2), max(low, -0.2))), 0.0])
        shape = inverter(2.2, low, high) if rng.random() < 0.6 else segment(low, high, 0.0)
        cells.append(Cell(int(rng.integers(1, 3)), hull(np.concatenate([shape, planned[None]])), planned))
    return Spot(tuple(cells))


def inside(region: Region, seed: int, count: int = 20) -> Array:
    """(count, cells, 2) random means of corners."""
    weight = np.random.default_rng(seed).dirichlet(np.full(len(region.corners), 0.5), count)
    points: Array = np.einsum("km,mcd->kcd", weight, region.spread)
    return points


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.08]), st.floats(0.4, 2.0))
def test_laws_of_a_region(seed: int, bend: float, rating: float) -> None:
    """Convex, around a clean plan, and whatever is inside breaks no limit."""
    spot, given_net = random_spot(seed), around(ThreeBusNet((rating + 1.0, rating), bend), load_mw=0.1)
    (found,) = regions(given_net, [spot], 16)
    if not len(found.corners):
        assert found.violated
        return
    assert len(hull(found.corners)) == len(found.corners)
    if not found.violated:
        assert beyond(found.corners, found.planned[None]) <= 1e-6
    points = inside(found, seed)
    assert not [c for c, _ in given_net.broken(given_net.flow([spot], points[:, None])) if c > 0]
    assert (beyond(hull(added([c.corners for c in spot.cells])), found.corners) <= 1e-6).all()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.floats(0.4, 2.0), st.floats(0.0, 1.0))
def test_wider_limits_never_bring_a_region_less_far(seed: int, rating: float, more: float) -> None:
    spot = random_spot(seed)
    narrow, wide = (
        regions(around(ThreeBusNet((r + 1.0, r)), load_mw=0.1), [spot], 16)[0] for r in (rating, rating + more)
    )
    if len(narrow.corners):
        size = max(1e-3, float(np.ptp(narrow.corners, axis=0).max()))
        assert (wide.reached >= narrow.reached - 4e-3 * size).all()


@given(st.floats(-1.5, 1.5), st.floats(0.0, 6.28))
def test_what_is_clipped_lies_on_this_side(limit: float, angle: float) -> None:
    square = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])[:, None]
    normal = np.array([np.cos(angle), np.sin(angle)])
    left = clipped(square, normal, limit)
    whole, reach = square[:, 0], float((square[:, 0] @ normal).max())
    if len(left):
        assert (left[:, 0] @ normal <= limit + 1e-9).all()
        assert (beyond(whole, left[:, 0]) <= 1e-9).all()
        assert float((left[:, 0] @ normal).max()) == pytest.approx(min(limit, reach))
    else:
        assert float((whole @ normal).min()) > limit
