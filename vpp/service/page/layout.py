"""Positions for a network that has no coordinates: a layered tree.

Breadth-first from a root; x is the depth, y the order of leaves, a parent halfway between its children.
Parts that are not connected follow below each other.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence

Point = tuple[float, float]


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
