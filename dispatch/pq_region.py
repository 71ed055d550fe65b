"""A question about a group in some intervals, and its answer: regions of P and Q. The search is `pq_search`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vpp.domain.network import Cut, Flow, Network
from vpp.domain.time import Array, TimeGrid

ASSETS = "assets"
"""Named as binding where no limit of the network is: the group itself can do no more."""


@dataclass(frozen=True)
class Cell:
    """Assets at position `bus` of the network's buses: `corners` (m, 2) of what they may inject, `planned` (2,)."""

    bus: int
    corners: Array
    planned: Array


@dataclass(frozen=True)
class Shared:
    """`low_mw` <= sum of P over the cells `members` <= `high_mw`: the limit of a connection behind which they lie."""

    members: tuple[int, ...]
    low_mw: float
    high_mw: float


@dataclass(frozen=True)
class Spot:
    """One interval: its cells and the limits that they share."""

    cells: tuple[Cell, ...]
    shared: tuple[Shared, ...] = ()

    @property
    def planned(self) -> Array:
        """(cells, 2)."""
        return np.array([c.planned for c in self.cells])


@dataclass(frozen=True)
class Around:
    """Everything that the group does not decide: net injections (T, B) in MW and Mvar over `grid`.

    Without a network nothing but the assets and the limits that they share bound a region.
    """

    network: Network | None
    grid: TimeGrid
    p_mw: Array
    q_mvar: Array

    def flow(self, spots: Sequence[Spot], points: Array) -> Flow | None:
        """The plan as case 0, then the cases `points` (C, T, cells, 2), each from the taps of the plan."""
        if self.network is None:
            return None
        count, steps = points.shape[0] + 1, self.grid.n
        p, q = (np.broadcast_to(v, (count, *v.shape)).copy() for v in (self.p_mw, self.q_mvar))
        for t in range(steps):
            every = np.concatenate([spots[t].planned[None], points[:, t, : len(spots[t].cells)]])
            for i, cell in enumerate(spots[t].cells):
                p[:, t, cell.bus] += every[:, i, 0]
                q[:, t, cell.bus] += every[:, i, 1]
        return self.network.flow(self.grid, p, q)

    def broken(self, flow: Flow | None) -> dict[tuple[int, int], list[str]]:
        """Elements beyond a limit by (case, step)."""
        found: dict[tuple[int, int], list[str]] = {}
        if self.network is None or flow is None:
            return found
        for v in self.network.violations(flow, tuple(map(str, range(len(flow.p_mw))))):
            found.setdefault((int(v.case), v.step), []).append(v.element)
        return found

    def cuts(self, flow: Flow | None, near_pct: float = 100.0, per_step: int = 5) -> list[Cut]:
        """Those of the network (see there), worst first by case and step."""
        return self.network.cuts(flow, near_pct, per_step) if self.network is not None and flow is not None else []


@dataclass(frozen=True)
class Region:
    """The polygon of one interval and how its corners are attained.

    `corners` (m, 2) MW and Mvar of the group's sum, counter-clockwise; `spread` (m, cells, 2) the injections of the
    cells there; `planned` (2,). `binding` names what holds each extreme. `violated` are limits that the plan itself
    breaks; where the group cannot cure them there are no corners. `free_area` is that of what the assets alone could
    do, `reached` (K,) how far the points found lie in each of the `directions` (K, 2).
    """

    corners: Array
    spread: Array
    planned: Array
    binding: dict[str, str] = field(default_factory=dict)
    violated: tuple[str, ...] = ()
    free_area: float = 0.0
    directions: Array = field(default_factory=lambda: np.empty((0, 2)))
    reached: Array = field(default_factory=lambda: np.empty(0))

    def bounds(self, axis: int) -> tuple[float, float]:
        """Least and most P (0) or Q (1). Raises ValueError where there is no corner."""
        return float(self.corners[:, axis].min()), float(self.corners[:, axis].max())


def verified(around: Around, spots: Sequence[Spot], found: Sequence[Region]) -> list[tuple[int, int]]:
    """(corner, step) of every corner that the reference engine finds beyond a limit; empty where all are clean."""
    most = max((len(r.corners) for r in found), default=0)
    if not most:
        return []
    size = max(len(s.cells) for s in spots)
    points = np.zeros((most, around.grid.n, size, 2))
    for t, region in enumerate(found):
        cells = len(spots[t].cells)
        points[:, t, :cells] = spots[t].planned
        points[: len(region.corners), t, :cells] = region.spread
    flow = around.flow(spots, points)
    if around.network is None or flow is None:
        return []
    bad = []
    for c in range(most):
        judged = around.network.verdict(flow, c + 1)
        steps = {v.step for v in around.network.violations(judged)}
        bad += [(c, t) for t in sorted(steps) if c < len(found[t].corners)]
    return bad
