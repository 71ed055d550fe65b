"""The outline of a region: corners in the P-Q plane that remember the injections of the cells they stand for.

Corners are (m, cells, 2), counter-clockwise by their sums over the cells; every point of an edge is a mean of corners.
"""

from __future__ import annotations

import numpy as np

from dispatch.convex import hull
from vpp.domain.time import Array

ON_EDGE = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
"""Places of an edge at which it is tried."""


def between_corners(corners: Array) -> Array:
    """(edges * len(ON_EDGE), cells, 2) points between neighbouring corners (m, cells, 2), edge by edge."""
    if len(corners) < 2:
        return corners[:0]
    following = np.roll(corners, -1, axis=0)
    along = [corners + share * (following - corners) for share in ON_EDGE]
    points: Array = np.stack(along, axis=1).reshape(-1, *corners.shape[1:])
    return points


def outward(corners: Array, edge: int) -> Array:
    """(2,) outward normal of the edge that begins at a corner of `corners` (m, 2)."""
    d = corners[(edge + 1) % len(corners)] - corners[edge]
    length = float(np.hypot(*d))
    return np.array([d[1], -d[0]]) / length if length > 0.0 else np.zeros(2)


def clipped(corners: Array, normal: Array, limit: float) -> Array:
    """The part of a polygon of `corners` (m, cells, 2) whose sums x have normal @ x <= limit."""
    beyond = corners.sum(axis=1) @ normal - limit
    kept = []
    for i in range(len(corners)):
        j = (i + 1) % len(corners)
        if beyond[i] <= 0.0:
            kept.append(corners[i])
        if (beyond[i] <= 0.0) != (beyond[j] <= 0.0):
            kept.append(corners[i] + beyond[i] / (beyond[i] - beyond[j]) * (corners[j] - corners[i]))
    return np.array(kept) if kept else corners[:0]


def on_hull(points: Array) -> Array:
    """Those of `points` (k, cells, 2) whose sums are corners of the hull of all sums, in its order."""
    if not len(points):
        return points
    sums = np.round(points.sum(axis=1), 12)
    corners = hull(sums)
    at = [int(np.argmin(np.abs(sums - c).sum(axis=1))) for c in corners]
    return points[at]
