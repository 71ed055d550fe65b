"""Positions of buses on a plane whose y points down.

With coordinates: an equirectangular map, x = longitude cos(mean latitude), y = -latitude, on which the buses of
one point (a substation) stand on a small circle around it.
Without: a layered tree, breadth-first from a root; x is the depth, y the order of leaves, a parent halfway between
its children; parts that are not connected follow below each other.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence

Point = tuple[float, float]
EXTENT = 1000.0
CIRCLE = 0.025
"""Radius around a shared point, as share of the map's extent."""


def on_map(coordinates: Mapping[int, Point]) -> dict[int, Point]:
    """(x, y) of every bus from its longitude and latitude."""
    if not coordinates:
        return {}
    shrink = math.cos(math.radians(sum(y for _, y in coordinates.values()) / len(coordinates)))
    flat = {bus: (x * shrink, -y) for bus, (x, y) in coordinates.items()}
    xs, ys = ([p[axis] for p in flat.values()] for axis in (0, 1))
    radius = CIRCLE * (max(max(xs) - min(xs), max(ys) - min(ys)) or 1.0)
    sharing: dict[Point, list[int]] = defaultdict(list)
    for bus in sorted(flat):
        sharing[flat[bus]].append(bus)
    return {bus: place for point, buses in sharing.items() for bus, place in _around(point, buses, radius)}


def fitted(places: Mapping[int, Point]) -> dict[int, Point]:
    """The same picture within 0 to EXTENT: a drawing rounds to whole units."""
    if not places:
        return {}
    left, top = (min(p[axis] for p in places.values()) for axis in (0, 1))
    scale = EXTENT / (max(max(x - left, y - top) for x, y in places.values()) or 1.0)
    return {bus: ((x - left) * scale, (y - top) * scale) for bus, (x, y) in places.items()}


def _around(point: Point, buses: Sequence[int], radius: float) -> list[tuple[int, Point]]:
    if len(buses) == 1:
        return [(buses[0], point)]
    turns = [2.0 * math.pi * k / len(buses) for k in range(len(buses))]
    return [
        (bus, (point[0] + radius * math.sin(turn), point[1] - radius * math.cos(turn)))
        for bus, turn in zip(buses, turns, strict=True)
    ]


def tree_layout(ends: Mapping[str, tuple[int, int]], first: Sequence[int] = ()) -> dict[int, Point]:
    """(x, y) of every bus that an element ends at; roots are the `first` buses, then any bus not yet reached."""
    near: dict[int, list[int]] = defaultdict(list)
    for a, b in ends.values():
        near[a].append(b)
        near[b].append(a)
    places: dict[int, Point] = {}
    rows = 0
    for root in [*first, *sorted(near)]:
        if root in near and root not in places:
            rows = _place(root, near, places, rows)
    return places


def _place(root: int, near: Mapping[int, Iterable[int]], places: dict[int, Point], rows: int) -> int:
    """Places everything reachable from `root` from row `rows` on; the next free row."""
    depth, children, order = {root: 0}, defaultdict(list), deque([root])
    visited = []
    while order:
        bus = order.popleft()
        visited.append(bus)
        for other in near[bus]:
            if other not in depth:
                depth[other] = depth[bus] + 1
                children[bus].append(other)
                order.append(other)
    row_of: dict[int, float] = {}
    stack = [(root, False)]
    while stack:
        bus, done = stack.pop()
        if not children[bus]:
            row_of[bus], rows = float(rows), rows + 1
        elif done:
            below = [row_of[c] for c in children[bus]]
            row_of[bus] = (min(below) + max(below)) / 2
        else:
            stack.append((bus, True))
            stack += [(c, False) for c in reversed(children[bus])]
    places.update({bus: (float(depth[bus]), row_of[bus]) for bus in visited})
    return rows
