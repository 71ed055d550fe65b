"""The answer to a question about flexibility as JSON: regions, corridor, rebound, merit curve, and what it rests on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import scipy.sparse as sp

from dispatch.block import Rows
from dispatch.convex import area
from dispatch.corridor import Group, Held, cheapest, hold, merit, rebound_mw
from dispatch.exposure import Exposure
from dispatch.flexibility import Direction
from dispatch.leeway import near_plan, switched, units
from dispatch.pq_region import ASSETS, Around, Region
from dispatch.pq_search import regions
from dispatch.problem import group_rows, with_rows
from vpp.domain.errors import InputFaults, NotSolved
from vpp.domain.network import Flow
from vpp.domain.portfolio import Asset
from vpp.domain.schedule import Schedule
from vpp.domain.time import QUARTER, Array, TimeGrid, floor_to, rfc3339, utc
from vpp.service.assemble import context_of, groups_of, incidence
from vpp.service.flexibility_place import (
    Place,
    assets_at,
    effects,
    element_name,
    place_faults,
    source_names,
    window_faults,
)
from vpp.service.node_flexibility import (
    DIRECTIONS,
    NINETIETH,
    Asked,
    Reach,
    around_of,
    hosting_of,
    judged,
    plan_flow,
    reach_of,
    spots_of,
)  # fmt: skip
from vpp.service.situation import Situation
from vpp.service.stage_checks import iso

WINDOWS = (1, 2, 4, 8, 16, 24)
SIDES: tuple[Direction, ...] = ("up", "down")
NO_MW = 1e-4
Effects = tuple[str, list[int], Array]


def faults_of(s: Situation, place: Place, at: datetime, horizon: timedelta) -> list[Any]:
    """Everything wrong with a question, at once."""
    network = s.grid_side.network if s.grid_side else None
    return place_faults(place, s.portfolio, network) + window_faults(at, horizon, s.grid)


def assets_of(s: Situation, plan: Schedule, place: Place, at: datetime) -> tuple[str, ...]:
    """The controllable assets that a question without faults is about."""
    network = s.grid_side.network if s.grid_side else None
    step = s.grid.index_of(floor_to(utc(at), QUARTER))
    flow = plan_flow(s, plan) if place.element is not None else None
    return assets_at(place, s.portfolio, network, flow, step)


def answer(
    s: Situation, plan: Schedule, place: Place, at: datetime, horizon: timedelta, directions: int = DIRECTIONS
) -> dict[str, Any]:
    """The whole answer on a plan over the situation's grid. Raises InputFaults with every fault of the question."""
    if faults := faults_of(s, place, at, horizon):
        raise InputFaults(faults)
    clock = _Clock()
    first = s.grid.index_of(floor_to(utc(at), QUARTER))
    flow = plan_flow(s, plan)
    assets = assets_of(s, plan, place, at)
    asked = Asked(s, plan, assets, first, first + horizon // QUARTER)
    clock.lap("plan_flow")
    reach = reach_of(asked)
    spots, around = spots_of(asked, reach), around_of(asked, flow)
    clock.lap("ranges")
    found = regions(around, spots, directions)
    clock.lap("regions")
    with ThreadPoolExecutor(1) as beside:
        verdict: Future[tuple[list[Region], int]] = beside.submit(judged, around, spots, found)
        corridor = _corridor(asked, reach, found)
        clock.lap("corridor")
        acting = _effects(asked, place, flow)
        hosted = hosting_of(asked, flow)
        clock.lap("hosting")
        opposite, switching = opposite_of(asked), switching_of(asked, reach, flow)
        clock.lap("opposite")
        found, dropped = verdict.result()
    clock.lap("verdict")
    return {
        "place": place.given, "at": rfc3339(s.grid.starts[first]), "horizon": iso(horizon), "assets": list(assets),
        "sites": len({s.portfolio.asset(a).site for a in assets}), "held_to_plan": dict(reach.held),
        "intervals": [_interval(asked, reach, found[i], i, acting, hosted) for i in range(len(found))],
        **corridor,
        "baseline": "plan", "baseline_mw": asked.base_mw[asked.steps].tolist(),
        "effect": None if acting is None else {"element": acting[0], "buses": acting[1]},
        "notice": iso(max(s.portfolio.asset(a).notice for a in assets)),
        "binding": _binding(asked, found), "opposite": opposite, "switching": switching,
        "certificate": _certificate(asked, found, dropped, around), "wall_s": clock.wall_s,
    }  # fmt: skip


class _Clock:
    def __init__(self) -> None:
        self.began = self.last = time.perf_counter()
        self.wall_s: dict[str, float] = {"total": 0.0}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.wall_s[name] = now - self.last
        self.last, self.wall_s["total"] = now, now - self.began


def _interval(
    asked: Asked, reach: Reach, region: Region, i: int, acting: Effects | None, hosted: Mapping[str, Array]
) -> dict[str, Any]:
    t = asked.steps[i]
    known = bool(len(region.corners))
    low_high = [region.bounds(axis) if known else (None, None) for axis in (0, 1)]
    likely = random_response(asked, reach, region, i) if known else {}
    return {
        "start": rfc3339(asked.s.grid.starts[t]), "p_min_mw": low_high[0][0], "p_max_mw": low_high[0][1],
        "q_min_mvar": low_high[1][0], "q_max_mvar": low_high[1][1], "polygon": region.corners.tolist(),
        "p50_mw": likely.get("p50_mw"), "p90_mw": likely.get("p90_mw"), "p50_down_mw": likely.get("p50_down_mw"),
        "p90_down_mw": likely.get("p90_down_mw"), "planned": region.planned.tolist(),
        "binding": dict(region.binding), "violated": list(region.violated),
        "effect_pct_per_mw": None if acting is None else acting[2][i].tolist(),
        "hosting_mw": {bus: {"load": float(mw[0, i]), "generation": float(mw[1, i])} for bus, mw in hosted.items()},
    }  # fmt: skip


def random_response(asked: Asked, reach: Reach, region: Region, i: int) -> dict[str, float]:
    """MW beyond the plan that the most asked for, up and down, brings half of the time, and nine times in ten.

    A price-taker answers with a factor of mean one and its own standard deviation; where the network leaves less than
    the assets together can do, each gives the same share of what it could.
    """
    t, found = asked.steps[i], {}
    for side, (name, end) in {"": ("high_mw", 1), "_down": ("low_mw", 0)}.items():
        moved = abs(region.bounds(0)[end] - float(region.planned[0]))
        whole, square = 0.0, 0.0
        for members, one in reach.ranges.items():
            base = sum(float(asked.plan.power_of(m)[t]) for m in members)
            mw = abs(float(getattr(one, name)[i]) - base)
            sigma = max(float(getattr(asked.s.portfolio.asset(m).params, "response_sigma", 0.0)) for m in members)
            whole, square = whole + mw, square + (sigma * mw) ** 2
        share = moved / whole if whole > NO_MW else 0.0
        found[f"p50{side}_mw"] = moved
        found[f"p90{side}_mw"] = max(0.0, moved - NINETIETH * share * float(np.sqrt(square)))
    return found


def _corridor(asked: Asked, reach: Reach, found: Sequence[Region]) -> dict[str, Any]:
    """What is held for how long, the rebound of holding it over the whole window, and the merit curve of its begin."""
    group = group_of(asked, reach)
    none: dict[str, Any] = {"sustain_mwh": [], "rebound": {}, "merit": []}
    if group is None:
        return none
    grid, count = asked.s.grid, len(asked.steps)
    lengths = sorted({k for k in WINDOWS if k < count} | {count})
    held = {d: [hold(group, asked.steps[:k], d) for k in lengths] for d in SIDES}
    first = found[0]
    low, high = first.bounds(0) if len(first.corners) else (0.0, 0.0)
    others = float(first.planned[0]) - float(group.base_mw[asked.first]) if len(first.corners) else 0.0
    try:
        undisturbed = cheapest(group)
        back = {d: _rebound(asked, group, held[d][-1], undisturbed) for d in SIDES}
        curve = merit(group, asked.first, low - others, high - others) if len(first.corners) else []
    except NotSolved as why:
        return {**none, "sustain_mwh": _sustained(held, lengths, grid, asked), "rebound": {"unknown": str(why)}}
    return {
        "sustain_mwh": _sustained(held, lengths, grid, asked), "rebound": back,
        "merit": [[mw, price] for mw, price in curve],
    }  # fmt: skip


def _sustained(
    held: Mapping[Direction, Sequence[Held]], lengths: Sequence[int], grid: TimeGrid, asked: Asked
) -> list[dict[str, Any]]:
    rows = []
    for i, k in enumerate(lengths):
        hours = float(grid.hours[asked.steps[:k]].sum())
        row: dict[str, Any] = {"hours": hours}
        for d in SIDES:
            one = held[d][i]
            row |= {f"{d}_mw": one.mw, f"{d}_mwh": one.mw * hours}
            row |= {f"{d}_unknown": one.why} if one.why else {}
        rows.append(row)
    return rows


def group_of(asked: Asked, reach: Reach) -> Group | None:
    """The assets that can move, in one problem; None where none can."""
    s = asked.s
    moving = [a for members in reach.ranges for a in members if a not in reach.held]
    near: dict[str, Asset] = {}
    for unit in units(s.dispatched, moving)[0]:
        near |= {a.id: a for a in unit.near}
    if not moving:
        return None
    fleet = [a for a in s.portfolio.assets if a.id in near]
    problem = near_plan(fleet, context_of(s), asked.planned, s.price_eur_per_mwh)
    problem = with_rows(problem, _connections(asked, problem.asset_ids))
    base = np.asarray(np.sum([asked.plan.power_of(a) for a in moving], axis=0), dtype=float)
    network = s.grid_side.network if s.grid_side else None
    return Group(problem, tuple(moving), base, asked.first, network, _exposure(asked, problem.asset_ids))


def _connections(asked: Asked, ids: Sequence[str]) -> list[Rows]:
    """The limits of connections, received ones too, on the sum behind each, all others as planned."""
    s, rows = asked.s, []
    for group in groups_of(s):
        mine = [a for a in group.members if a in ids]
        if mine:
            planned = {a: asked.plan.power_of(a) for a in group.members}
            base = np.sum([planned[a] for a in mine], axis=0)
            rest = np.sum([v for a, v in planned.items() if a not in mine], axis=0)
            low, high = np.minimum(group.lower_mw - rest, base), np.maximum(group.upper_mw - rest, base)
            rows.append(Rows("connection", low, high, injection=group_rows(ids, mine, s.grid.n)))
    return rows


def _exposure(asked: Asked, ids: Sequence[str]) -> Exposure | None:
    """What the network sees of the assets `ids` when all others do as planned."""
    s, flow = asked.s, plan_flow(asked.s, asked.plan)
    if s.grid_side is None or flow is None:
        return None
    rows = [s.portfolio.index[a] for a in ids]
    own = sp.csr_array(incidence(s, s.grid_side.network)[rows])
    tan_phi = np.array([s.portfolio.asset(a).tan_phi for a in ids])
    p = asked.plan.power_mw[rows]
    return Exposure(own, tan_phi, flow.p_mw[0] - p.T @ own, flow.q_mvar[0] - (tan_phi[:, None] * p).T @ own)


def _rebound(asked: Asked, group: Group, held: Held, undisturbed: Schedule) -> dict[str, Any]:
    """Injection after the window by bus, from its end to the last step that feels it."""
    s, end = asked.s, asked.last
    moved = rebound_mw(group, held, undisturbed)
    by_bus: dict[str, Array] = {}
    for asset, row in zip(group.members, moved, strict=True):
        bus = str(s.portfolio.asset(asset).bus)
        by_bus[bus] = by_bus.get(bus, np.zeros(s.grid.n)) + row
    felt = np.flatnonzero(np.any([np.abs(v) > NO_MW for v in by_bus.values()], axis=0))
    last = int(felt.max()) + 1 if felt.size else end
    return {
        "held_mw": held.mw, "start": rfc3339(s.grid.edges[end]), "end": rfc3339(s.grid.edges[last]),
        "mwh": float(sum(v @ s.grid.hours for v in by_bus.values())),
        "mw_by_bus": {bus: v[end:last].tolist() for bus, v in by_bus.items() if np.abs(v).max() > NO_MW},
    }  # fmt: skip


def _effects(asked: Asked, place: Place, flow: Flow | None) -> Effects | None:
    """Effect of each bus in question on the element asked for, or that the congestion point protects."""
    s = asked.s
    point = next((c for c in s.portfolio.congestion_points if c.id == place.point), None)
    wanted = place.element or (point.element if point else None)
    if wanted is None or s.grid_side is None or flow is None:
        return None
    network = s.grid_side.network
    name = element_name(wanted, network.elements, source_names(network))
    if name is None:
        return None
    buses = sorted({b for a in asked.assets if (b := s.portfolio.asset(a).bus) is not None})
    return name, buses, effects(network, flow, buses, name, asked.steps)


def opposite_of(asked: Asked) -> list[dict[str, Any]]:
    """What the other assets of every trading unit concerned can take at the first step, were the order to be neutral in
    energy: MW more and less than planned, each asset alone.
    """
    s, rows = asked.s, []
    concerned = {s.portfolio.asset(a).site for a in asked.assets}
    for unit in s.portfolio.trading_units:
        members = [a for a in s.portfolio.assets if a.site in unit.sites and a.control != "none"]
        others = tuple(a.id for a in members if a.id not in asked.assets)
        if not concerned & set(unit.sites) or not others:
            continue
        reach = reach_of(Asked(s, asked.plan, others, asked.first, asked.first + 1))
        base = float(np.sum([asked.plan.power_of(a)[asked.first] for m in reach.ranges for a in m]))
        low, high = (float(sum(getattr(r, end)[0] for r in reach.ranges.values())) for end in ("low_mw", "high_mw"))
        rows.append({"unit": unit.id, "sites": len({s.portfolio.asset(a).site for a in others}),
                     "up_mw": high - base, "down_mw": base - low})  # fmt: skip
    return rows


def switching_of(asked: Asked, reach: Reach, flow: Flow | None) -> list[dict[str, Any]]:
    """What starts and stops bring in the first step beside the polygon, in which on and off are as planned: by the
    machines of one site and kind, MW more (up) or less, with the limits of the network that this alone would break.
    """
    s, rows, t = asked.s, [], asked.first
    moving = [a for members in reach.ranges for a in members if a not in reach.held]
    kinds: dict[tuple[str, ...], list[str]] = {}
    for unit in units(s.dispatched, moving)[0]:
        kinds.setdefault(tuple(a.id for a in unit.near), []).extend(unit.members)
    for near, members in kinds.items():
        for side, sign in (("up", 1.0), ("down", -1.0)):
            fleet = [s.portfolio.asset(a) for a in near]
            try:
                moved = switched(fleet, members, context_of(s), asked.planned, s.price_eur_per_mwh, t, sign)
            except NotSolved:
                continue
            if moved is None:
                break
            mw = sign * sum(moved.values())
            if mw > NO_MW:
                rows.append({"assets": members, "side": side, "mw": mw, "violated": _broken_by(asked, moved, flow)})
    return rows


def _broken_by(asked: Asked, moved_mw: Mapping[str, float], flow: Flow | None) -> list[str]:
    """Elements beyond a limit at the first step of the plan when assets move."""
    s, t = asked.s, asked.first
    if s.grid_side is None or flow is None:
        return []
    network = s.grid_side.network
    p, q = flow.p_mw[:1, t : t + 1].copy(), flow.q_mvar[:1, t : t + 1].copy()
    for name, mw in moved_mw.items():
        asset = s.portfolio.asset(name)
        if asset.bus is not None:
            p[0, 0, network.buses.index(asset.bus)] += mw
            q[0, 0, network.buses.index(asset.bus)] += asset.tan_phi * mw
    taps = flow.taps[0, t - 1] if t else network.taps
    after = network.starting_at([int(k) for k in taps])
    return list(dict.fromkeys(v.element for v in after.violations(after.flow(s.grid.part(t, t + 1), p, q))))


def _binding(asked: Asked, found: Sequence[Region]) -> list[dict[str, Any]]:
    """Elements of the network that hold an extreme of any interval, with where they do."""
    held: dict[str, list[dict[str, str]]] = {}
    for t, region in zip(asked.steps, found, strict=True):
        for extreme, name in region.binding.items():
            if name != ASSETS:
                held.setdefault(name, []).append({"start": rfc3339(asked.s.grid.starts[t]), "extreme": extreme})
    return [{"element": name, "holds": holds} for name, holds in held.items()]


def _certificate(asked: Asked, found: Sequence[Region], dropped: int, around: Around) -> dict[str, Any] | None:
    """Who judged the corners and what was found; None without a network."""
    s = asked.s
    if around.network is None:
        return None
    span = s.grid.edges[asked.first], s.grid.edges[asked.last]
    clean = sum(len(r.corners) for r in found)
    return {
        "engine": str(getattr(around.network, "engine", type(around.network).__name__)),
        "verdict": "clean" if clean and not dropped and not any(r.violated for r in found) else "violated",
        "corners": clean + dropped, "corners_clean": clean, "case": "expected",
        "outages": [o.id for o in s.portfolio.outages if o.start < span[1] and span[0] < o.end],
        "share_of_free_area": _share(found),
    }  # fmt: skip


def _share(found: Sequence[Region]) -> float | None:
    """P-Q area of all intervals, of what the assets could do without a network."""
    free = sum(r.free_area for r in found)
    return sum(area(r.corners) for r in found if len(r.corners)) / free if free > 0.0 else None
