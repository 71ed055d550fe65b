"""Convex polygons in the P-Q plane: hulls, sums, what an inverter of a rating may do, and who lies inside.

A polygon is (m, 2) corners in MW and Mvar, counter-clockwise; two corners are a segment, one is a point. The sum of
convex polygons takes their edges in the order of their angles (M. de Berg et al., "Computational Geometry", 3rd ed.,
ch. 13); the hull is A. M. Andrew's monotone chain, Inf. Process. Lett. 9 (1979).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vpp.domain.time import Array

SIDES = 64
"""Corners on the whole circle of an inverter; the polygon inside it reaches at least cos(pi / 64), 99.88 %."""
SAME = 1e-9


def hull(points: Array) -> Array:
    """Corners (m, 2) of the smallest convex polygon around `points` (k, 2), at least one; without those on an edge."""
    order = np.unique(np.round(points, 12), axis=0)
    if len(order) < 3:
        return order
    lower, upper = _chain(order), _chain(order[::-1])
    return _without_edge_points(np.array([*lower[:-1], *upper[:-1]]))


def _chain(points: Array) -> list[tuple[float, float]]:
    chain: list[tuple[float, float]] = []
    for x, y in points.tolist():
        while len(chain) >= 2:
            (ax, ay), (bx, by) = chain[-2], chain[-1]
            if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0.0:
                break
            chain.pop()
        chain.append((x, y))
    return chain


def _without_edge_points(corners: Array) -> Array:
    """Without corners that rounding alone keeps off the line between their neighbours."""
    size = float(np.ptp(corners, axis=0).max())
    kept = [c for c in corners]
    i = 0
    while i < len(kept) and len(kept) > 2:
        into, out = kept[i] - kept[i - 1], kept[(i + 1) % len(kept)] - kept[i]
        if into[0] * out[1] - into[1] * out[0] <= SAME * size * size and into @ out > 0.0:
            kept.pop(i)
        else:
            i += 1
    return np.array(kept)


def added(polygons: Sequence[Array]) -> Array:
    """All sums of one point of each polygon; corners (m, 2), some of which may lie on an edge. The origin for none."""
    if not polygons:
        return np.zeros((1, 2))
    edges = np.concatenate([np.roll(p, -1, axis=0) - p for p in polygons])
    edges = edges[np.abs(edges).max(axis=1) > 0.0]
    lowest = np.sum([p[np.lexsort((p[:, 0], p[:, 1]))[0]] for p in polygons], axis=0)
    if not len(edges):
        return np.asarray(lowest, dtype=float)[None]
    angle = np.mod(np.arctan2(edges[:, 1], edges[:, 0]), 2.0 * np.pi)
    steps = edges[np.argsort(angle, kind="stable")]
    corners: Array = lowest + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)[:-1]])
    return corners


def inverter(rating_mva: float, low_mw: float, high_mw: float) -> Array:
    """The part of the circle p^2 + q^2 <= rating^2 with p between `low_mw` and `high_mw`, from inside; corners (m, 2).

    Powers past the rating are cut to it.
    """
    low, high = np.clip([low_mw, high_mw], -rating_mva, rating_mva)
    angle = np.arange(SIDES) * 2.0 * np.pi / SIDES
    arc = rating_mva * np.column_stack([np.cos(angle), np.sin(angle)])
    arc = arc[(arc[:, 0] > low) & (arc[:, 0] < high)]
    ends = np.array([[p, side * np.sqrt(max(rating_mva**2 - p * p, 0.0))] for p in (low, high) for side in (-1.0, 1.0)])
    return hull(np.concatenate([arc, ends]))


def segment(low_mw: float, high_mw: float, tan_phi: float) -> Array:
    """Power between two bounds with q = tan_phi p; corners (m, 2)."""
    return hull(np.array([[low_mw, tan_phi * low_mw], [high_mw, tan_phi * high_mw]]))


def area(corners: Array) -> float:
    """MW Mvar inside a polygon; 0 for a segment or a point."""
    x, y = corners.T
    return 0.5 * float(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def beyond(corners: Array, points: Array) -> Array:
    """(k,) by how much `points` (k, 2) lie outside the polygon, past the edge missed most; not above 0 inside.

    A point or a segment has no inside: there it is the distance.
    """
    if len(corners) < 3:
        first, along = corners[0], corners[-1] - corners[0]
        share = np.clip((points - first) @ along / max(float(along @ along), 1e-300), 0.0, 1.0)
        return np.asarray(np.hypot(*(points - first - share[:, None] * along).T), dtype=float)
    edges = np.roll(corners, -1, axis=0) - corners
    normal = np.column_stack([edges[:, 1], -edges[:, 0]]) / np.hypot(*edges.T)[:, None]
    past: Array = (points @ normal.T - (corners * normal).sum(axis=1)).max(axis=1)
    return past
