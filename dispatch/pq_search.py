"""The P-Q region of a group of assets in one interval: what it may inject in sum without a limit being broken.

The group's assets at one bus (a `Cell`) may inject any point of a convex polygon; everything else stays as planned.
For each of K directions u the point of the region that lies farthest is found by successive linear programs,

    max  u @ sum of x_c   over  x_c in polygon_c,   effect @ x <= room  for the cuts of the AC solutions so far.

On the way from the plan's point to the program's the last feasible AC solution is found by bisection; just past it
the limits that are met give exact linear cuts (adjoint of the power flow), supporting the region where it ends, and
the best feasible point is kept (A. F. Veinott, "The supporting hyperplane method for unimodal programming", Oper. Res.
15(1), 1967). A limit whose frontier curves inwards, as an upper voltage does, is refined by its last cuts alone.

The published polygon lies inside the hull of these points. It is inner: where the chord between two of them crosses a
limit, what lies past the deepest place is cut off, until AC solutions along every edge are clean. Each point inside is
a mean of corners, attained by the same mean of their injections. All intervals are one batch of power flows.

Successive linear programming: A. Castillo et al., "A successive linear programming approach to solving the IV-ACOPF",
IEEE Trans. Power Syst. 31(4), 2016. Regions of flexibility by support directions: J. Silva et al., "Estimating the
active and reactive power flexibility area at the TSO-DSO interface", IEEE Trans. Power Syst. 33(5), 2018.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from dispatch.block import Block, Columns, Rows
from dispatch.convex import area, hull
from dispatch.pq_outline import ON_EDGE, between_corners, clipped, on_hull, outward
from dispatch.pq_region import ASSETS, Around, Region, Spot
from dispatch.problem import assemble
from dispatch.solvers.highs_door import Living
from vpp.domain.errors import NotSolved
from vpp.domain.network import Cut, Flow
from vpp.domain.time import Array, TimeGrid

ROUNDS, ALONE, BISECTIONS, CLOSE, NEAR_PCT = 12, 3, 10, 1e-3, 98.0
TIMES, DEEPER, MUCH_MORE = 20, 5e-4, 0.6
LP_S = 1.0
SMALL = 1e-9
NEAR_LIMIT_PCT = 99.5
EXTREMES = {"p_max": (1.0, 0.0), "p_min": (-1.0, 0.0), "q_max": (0.0, 1.0), "q_min": (0.0, -1.0)}
Pair = tuple[int, int]
"""Direction and step."""


def regions(around: Around, spots: Sequence[Spot], count: int = 16) -> list[Region]:
    """The region of every interval of `around` by `count` directions, a multiple of four that holds both axes."""
    if count < 4 or count % 4:
        raise ValueError(f"{count} directions are no multiple of four")
    return _Search(around, spots, count).run()


class _Search:
    """All directions of all intervals at once; `points` (K, T, cells, 2) are the best feasible ones so far."""

    def __init__(self, around: Around, spots: Sequence[Spot], count: int) -> None:
        self.around, self.spots, self.count = around, spots, count
        self.u = [directions(s, count) for s in spots]
        self.extent = [float(np.ptp([self._free(t, u) @ u for u in self.u[t]])) for t in range(len(spots))]
        self.size = max(len(s.cells) for s in spots)
        self.points = np.zeros((count, around.grid.n, self.size, 2))
        self.centre = np.zeros((around.grid.n, self.size, 2))
        for t, spot in enumerate(spots):
            self.centre[t, : len(spot.cells)] = spot.planned

    def run(self) -> list[Region]:
        far = self._free_points()
        broken = self.around.broken(self.around.flow(self.spots, far))
        planned = [broken.get((0, t), []) for t in range(len(self.spots))]
        dirty = sorted((c - 1, t) for c, t in broken if c > 0)
        self.points = far.copy()
        lost = self._recentred(dirty, planned)
        held = [pair for pair in dirty if pair[1] not in lost]
        self._improved(far, held)
        self._share(held)
        self._improved(self.points.copy(), held)
        kept = [list(range(self.count)) if t not in lost else [] for t in range(len(self.spots))]
        outline = [self._outline(t, kept[t], not planned[t]) for t in range(len(self.spots))]
        self._edges(outline)
        return self._named([self._region(t, points, planned[t]) for t, points in enumerate(outline)])

    def _free_points(self) -> Array:
        """(K, T, cells, 2) farthest points without a network."""
        far = np.zeros_like(self.points)
        for t, spot in enumerate(self.spots):
            support = self._support(t)
            for k in range(self.count):
                point = support.point(self.u[t][k])
                far[k, t, : len(spot.cells)] = spot.planned if point is None else point
        return far

    def _recentred(self, dirty: Sequence[Pair], planned: Sequence[list[str]]) -> set[int]:
        """Where the plan breaks a limit, the mean of the clean points is the centre; steps that have none are lost."""
        lost = set()
        for t in np.flatnonzero([bool(names) for names in planned]).tolist():
            clean = [k for k in range(self.count) if (k, t) not in set(dirty)]
            if clean:
                self.centre[t] = self.points[clean, t].mean(axis=0)
            else:
                lost.add(t)
        return lost

    def _improved(self, far: Array, dirty: Sequence[Pair]) -> None:
        """Rounds of boundary point, cuts there, and the farthest point that they leave, for each dirty direction.

        Cuts of all rounds bound what a convex limit allows. Where they leave nothing more, the cuts of the last round
        alone are tried, since those of a limit that curves inwards take too much elsewhere.
        """
        best: dict[Pair, float] = {}
        alone: dict[Pair, int] = {}
        pools: dict[Pair, _Support] = {}
        for _ in range(ROUNDS):
            if not dirty:
                return
            inside, flow, case = self._boundary(far, dirty)
            cuts: dict[tuple[int, int], list[Cut]] = {}
            for cut in self.around.cuts(flow, NEAR_PCT):
                cuts.setdefault((cut.case, cut.step), []).append(cut)
            left = []
            for pair in dirty:
                k, t = pair
                found = float(self.u[t][k] @ inside[pair].sum(axis=0))
                if pair not in best or found > best[pair]:
                    best[pair], self.points[k, t] = found, inside[pair]
                mine = cuts.get((case[pair], t), [])
                if pair not in pools:
                    pools[pair] = self._support(t)
                pool = pools[pair]
                pool.cut(mine)
                point, room = self._farther(pool, pair, best[pair])
                if not room and alone.get(pair, 0) < ALONE:
                    alone[pair] = alone.get(pair, 0) + 1
                    single = self._support(t)
                    single.cut(mine)
                    point, room = self._farther(single, pair, best[pair])
                if room and point is not None:
                    far[k, t, : len(point)] = point
                    left.append(pair)
            dirty = left

    def _share(self, pairs: Sequence[Pair]) -> None:
        """Gives each of `pairs` the best point that any direction of its interval has found."""
        sums = self.points.sum(axis=2)
        best = {(k, t): int((sums[:, t] @ self.u[t][k]).argmax()) for k, t in pairs}
        found = self.points.copy()
        for (k, t), j in best.items():
            found[k, t] = self.points[j, t]
        self.points = found

    def _support(self, t: int) -> _Support:
        return _Support(self.spots[t], self.around.p_mw[t], self.around.q_mvar[t], self.around.grid.part(t, t + 1))

    def _farther(self, support: _Support, pair: Pair, best: float) -> tuple[Array | None, bool]:
        """The farthest point of a program, and whether it lies farther than the best one by more than `CLOSE`."""
        k, t = pair
        point = support.point(self.u[t][k])
        return point, point is not None and float(self.u[t][k] @ point.sum(axis=0)) - best > CLOSE * self.extent[t]

    def _boundary(self, far: Array, pairs: Sequence[Pair]) -> tuple[dict[Pair, Array], Flow | None, dict[Pair, int]]:
        """The last feasible point (cells, 2) on the way from the centre to each far one, and the flow just past it,
        with the case of each pair in it.
        """
        steps: dict[int, list[Pair]] = {}
        for pair in pairs:
            steps.setdefault(pair[1], []).append(pair)
        case = {pair: i + 1 for mine in steps.values() for i, pair in enumerate(mine)}
        width = max(len(mine) for mine in steps.values())
        ends = np.tile(self.centre, (width, 1, 1, 1))
        low, high = np.zeros((width, len(self.spots))), np.ones((width, len(self.spots)))
        for (k, t), c in case.items():
            ends[c - 1, t] = far[k, t]
        broken = self.around.broken(self.around.flow(self.spots, ends))
        low = np.array([[0.0 if (c + 1, t) in broken else 1.0 for t in range(len(self.spots))] for c in range(width)])
        for _ in range(BISECTIONS):
            share = (low + high) / 2.0
            broken = self.around.broken(self.around.flow(self.spots, self._between(ends, share)))
            fails = np.array([[(c + 1, t) in broken for t in range(len(self.spots))] for c in range(width)])
            low, high = np.where(fails, low, share), np.where(fails, share, high)
        inside = self._between(ends, low)
        past = self.around.flow(self.spots, self._between(ends, high))
        return {pair: inside[c - 1, pair[1]] for pair, c in case.items()}, past, case

    def _between(self, far: Array, share: Array) -> Array:
        return np.asarray(self.centre + share[..., None, None] * (far - self.centre))

    def _outline(self, t: int, kept: Sequence[int], with_plan: bool) -> Array:
        """(m, cells, 2) injections at the corners of the hull of what was reached, and of a clean plan."""
        size = len(self.spots[t].cells)
        points = self.points[list(kept), t, :size]
        if with_plan:
            points = np.concatenate([points, self.spots[t].planned[None]])
        return on_hull(points)

    def _edges(self, outline: list[Array]) -> None:
        """Cuts off what lies past a limit inside the hull, until every corner and every edge is clean.

        A limit whose frontier curves inwards is crossed by the chord between two feasible corners; a line through the
        frontier at the chord's deepest place is the edge instead: along the frontier there, or parallel to the
        chord where that leaves much more.
        """
        for _ in range(TIMES):
            on_edge = [between_corners(o) for o in outline]
            most = max((len(e) for e in on_edge), default=0)
            if not most:
                return
            points = np.tile(self.centre, (most, 1, 1, 1))
            for t, edge in enumerate(on_edge):
                points[: len(edge), t, : len(self.spots[t].cells)] = edge
            broken = self.around.broken(self.around.flow(self.spots, points))
            bad = [(c - 1, t) for c, t in broken if 0 < c <= len(on_edge[t])]
            if not bad:
                return
            inside, past, case = self._boundary(points, bad)
            cuts = {(c.case, c.step): c for c in reversed(self.around.cuts(past))}
            for t in {t for _, t in bad}:
                size, corners = len(self.spots[t].cells), outline[t].sum(axis=1)
                deepest: dict[int, tuple[Array, Cut | None]] = {}
                for c in sorted(c for c, s in bad if s == t):
                    e, point = c // len(ON_EDGE), inside[c, t][:size].sum(axis=0)
                    if e not in deepest or outward(corners, e) @ point < outward(corners, e) @ deepest[e][0]:
                        deepest[e] = point, cuts.get((case[c, t], t))
                for e, (point, cut) in deepest.items():
                    normals = [outward(corners, e), *self._across(t, cut, point)]
                    outline[t] = self._trimmed(t, outline[t], point, normals)

    def _across(self, t: int, cut: Cut | None, point: Array) -> list[Array]:
        """The normal (2,) of a cut as the cells' sum sees it on average, where it points away from the centre."""
        if cut is None:
            return []
        buses = [c.bus for c in self.spots[t].cells]
        normal = np.array([cut.dp[buses].mean(), cut.dq[buses].mean()])
        length = float(np.hypot(*normal))
        away = float(normal @ (point - self.centre[t].sum(axis=0)))
        return [normal / length] if length > SMALL and away > 0.0 else []

    def _trimmed(self, t: int, outline: Array, point: Array, normals: Sequence[Array]) -> Array:
        """The part of an outline that a line through a feasible `point` leaves: across the last of `normals`, unless
        the first leaves much more.
        """
        inset = DEEPER * self.extent[t]
        parts = [clipped(outline, n, float(n @ point) - inset * float(np.abs(n).max())) for n in normals]
        sizes = [area(part.sum(axis=1)) if len(part) > 2 else 0.0 for part in parts]
        return parts[-1] if sizes[-1] > MUCH_MORE * sizes[0] else parts[0]

    def _region(self, t: int, spread: Array, violated: Sequence[str]) -> Region:
        spread = on_hull(spread) if len(spread) else spread
        free = hull(np.array([self._free(t, u) for u in self.u[t]]))
        return Region(
            spread.sum(axis=1), spread, self.spots[t].planned.sum(axis=0), {}, tuple(dict.fromkeys(violated)),
            area(free), self.u[t], (self.points[:, t].sum(axis=1) * self.u[t]).sum(axis=1),
        )  # fmt: skip

    def _free(self, t: int, direction: Array) -> Array:
        """The farthest sum without a network, and without the limits that cells share."""
        cells = self.spots[t].cells
        found: Array = np.sum([c.corners[int(np.argmax(c.corners @ direction))] for c in cells], axis=0)
        return found

    def _named(self, found: list[Region]) -> list[Region]:
        """The regions with what holds each of their extremes."""
        ends = np.tile(self.centre, (len(EXTREMES), 1, 1, 1))
        for t, region in enumerate(found):
            for e, direction in enumerate(EXTREMES.values()):
                if len(region.corners):
                    corner = region.spread[int(np.argmax(region.corners @ np.array(direction)))]
                    ends[e, t, : len(corner)] = corner
        flow = self.around.flow(self.spots, ends)
        held = {(c.case, c.step): c.element for c in reversed(self.around.cuts(flow, NEAR_LIMIT_PCT, 1))}
        for t, region in enumerate(found):
            if len(region.corners):
                region.binding.update({name: held.get((e + 1, t), ASSETS) for e, name in enumerate(EXTREMES)})
        return found


class _Support:
    """The farthest points of one spot, by linear programs that keep every cut so far."""

    def __init__(self, spot: Spot, p_mw: Array, q_mvar: Array, grid: TimeGrid) -> None:
        self.cells, self.p_mw, self.q_mvar = spot.cells, p_mw, q_mvar
        self.corners = np.concatenate([c.corners for c in spot.cells])
        self.owner = np.repeat(np.arange(len(spot.cells)), [len(c.corners) for c in spot.cells])
        n = len(self.corners)
        member = sp.csr_array((np.ones(n), (self.owner, np.arange(n))), shape=(len(spot.cells), n))
        rows = [Rows("whole", 1.0, 1.0, own=member)]
        for limit in spot.shared:
            mine = np.isin(self.owner, limit.members) * self.corners[:, 0]
            rows.append(Rows("shared", limit.low_mw, limit.high_mw, own=sp.csr_array(mine[None])))
        block = Block("region", (Columns("share", (1, n), 0.0, 1.0),), tuple(rows))
        self.living = Living(assemble(grid, (), [block]))

    def cut(self, cuts: Sequence[Cut]) -> None:
        """Keep the group inside `cuts` of its step; those that it cannot act on are left out."""
        bus = np.array([c.bus for c in self.cells])[self.owner]
        rows = []
        for c in cuts:
            effect = c.dp[bus] * self.corners[:, 0] + c.dq[bus] * self.corners[:, 1]
            room = c.limit - float(c.dp @ self.p_mw + c.dq @ self.q_mvar)
            scale = float(np.ptp(effect))
            if scale > SMALL:
                rows.append(Rows("cut", -np.inf, room / scale, own=sp.csr_array(effect[None] / scale)))
        if rows:
            self.living.add_rows(rows)

    def point(self, direction: Array) -> Array | None:
        """(cells, 2) farthest in `direction` (2,); None where the cuts leave no point."""
        self.living.set_cost(np.arange(len(self.corners)), -(self.corners @ direction))
        try:
            share = self.living.solve_lp(LP_S).x
        except NotSolved:
            return None
        found = np.zeros((len(self.cells), 2))
        np.add.at(found, self.owner, share[:, None] * self.corners)
        return found


def directions(spot: Spot, count: int) -> Array:
    """(count, 2) directions, even on the ellipse that is as wide and as high as what the assets alone can do."""
    angle = np.arange(count) * 2.0 * np.pi / count
    extent = np.sum([np.ptp(c.corners, axis=0) for c in spot.cells], axis=0)
    extent = np.where(extent > SMALL, extent, max(float(extent.max()), 1.0))
    u = np.column_stack([np.cos(angle), np.sin(angle)]) / extent
    even: Array = u / np.hypot(*u.T)[:, None]
    return even
