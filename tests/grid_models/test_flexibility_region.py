"""The P-Q region on an AC network against exhaustive sampling of the plane, by the engine and by pandapower."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from dispatch.convex import SIDES, beyond, inverter
from dispatch.pq_region import Around, Cell, Spot, verified
from dispatch.pq_search import regions
from tests.grid_models.conftest import quarters
from tests.grid_models.feeder_net import feeder
from vpp.domain.time import Array

START = datetime(2016, 3, 1, tzinfo=UTC)
FINE = 161


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Around:
    """The feeder with 1 MW at its middle and 0.8 MW at its end."""
    network = feeder(tmp_path_factory.mktemp("feeder"))
    p, q = np.array([[0.0, 0.0, -1.0, -0.8]]), np.array([[0.0, 0.0, -0.3, -0.3]])
    return Around(network, quarters(START, 1), p, q)


def sampled(rating: float, most: float) -> Array:
    """Points (k, 2) of the plane that an inverter of a rating can reach."""
    axis = np.linspace(-rating, rating, FINE)
    points: Array = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    reachable = np.hypot(*points.T) <= rating * np.cos(np.pi / SIDES)
    return points[reachable & (np.abs(points[:, 0]) <= most)]


def clean(around: Around, spot: Spot, points: Array) -> Array:
    broken = around.broken(around.flow([spot], points))
    return np.array([(c + 1, 0) not in broken for c in range(len(points))])


@pytest.mark.parametrize(("rating", "most", "least_share"), [(2.0, 1.5, 0.99), (3.0, 2.5, 0.98), (6.0, 6.0, 0.9)])
def test_no_sample_of_the_plane_is_farther_and_none_inside_is_beyond_a_limit(
    around: Around, rating: float, most: float, least_share: float
) -> None:
    """In every direction the search reaches 99 % of the best sample; the polygon too where it may.

    Only where a frontier curves inwards does the polygon reach less: it is convex, and inner.
    """
    spot = Spot((Cell(3, inverter(rating, -most, most), np.zeros(2)),))
    (found,) = regions(around, [spot], 16)
    points = sampled(rating, most)
    good = clean(around, spot, points[:, None, None])
    best = (points[good] @ found.directions.T).max(axis=0)
    assert (found.reached >= 0.99 * best).all()
    assert ((found.corners @ found.directions.T).max(axis=0) >= least_share * best).all()
    inner = beyond(found.corners, points) < -1e-6
    assert inner.sum() > 500 and good[inner].all()
    assert not good.all(), "the network must bind"
    assert verified(around, [spot], [found]) == []


def test_two_buses_reach_what_random_injections_reach(around: Around) -> None:
    """The best of 40,000 random injections at two buses lies nowhere farther."""
    cells = (Cell(2, inverter(2.0, -1.5, 1.5), np.zeros(2)), Cell(3, inverter(2.0, -1.5, 1.5), np.zeros(2)))
    spot = Spot(cells)
    (found,) = regions(around, [spot], 16)
    rng = np.random.default_rng(5)
    pick = rng.dirichlet(np.full(len(cells[0].corners), 0.05), (40_000, 2))
    points = np.einsum("kcm,cmd->kcd", pick, np.stack([c.corners for c in cells]))
    good = clean(around, spot, points[:, None])
    best = (points[good].sum(axis=1) @ found.directions.T).max(axis=0)
    assert 1000 < good.sum() < 39_000
    assert (found.reached >= 0.99 * best).all()
    weight = rng.dirichlet(np.full(len(found.corners), 0.5), 2000)
    inside = np.einsum("km,mcd->kcd", weight, found.spread)
    assert clean(around, spot, inside[:, None]).all()
