"""How much more or less a place of the network can inject, per quarter hour, for how long and at what price.

Measured against the plan, with everything else as planned: the P-Q region of each interval (`dispatch.pq_region`) from
what each asset alone can do in it (`dispatch.leeway`), then what is held for how long, what comes back after it and the
merit curve of the first interval (`dispatch.corridor`). An inverter of a rating may choose its Q; all other assets keep
their power factor. A site's contract, a microgrid's connection and an operator's order bound the sum and the assets as
they bound a plan. Every corner is judged by the reference engine too, beside the rest.

P50 is the answer that is exceeded half of the time when the most of an interval is asked for, P90 nine times in ten:
price-takers answer with a random factor of their own, independent of each other; other assets do what they are told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dispatch.convex import added, hull, inverter, segment
from dispatch.hosting import hosting_mw
from dispatch.leeway import Near, Range, ranges, units
from dispatch.pq_region import Around, Cell, Region, Shared, Spot, verified
from dispatch.pq_search import regions
from dispatch.products.reserve import NAME as RESERVE
from vpp.domain.errors import NotSolved
from vpp.domain.ledger import Ledger
from vpp.domain.network import Flow
from vpp.domain.portfolio import Asset
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array
from vpp.service.assemble import context_of, exposure_of, groups_of, incidence
from vpp.service.headroom import ledger_of
from vpp.service.situation import Situation

DIRECTIONS = 16
NINETIETH = 1.2816
DRAWN_IN = (0.995, 0.9, 0.0)
HOSTED_MW, HOSTED_TAN_PHI = 20.0, 0.3
NOTICE, APART, ORDERED = "inside its notice", "works on a store with assets elsewhere", "not decided by this plan"


@dataclass(frozen=True)
class Asked:
    """A plan over the situation's grid, the assets in question, and the steps `first` to `last` - 1."""

    s: Situation
    plan: Schedule
    assets: tuple[str, ...]
    first: int
    last: int

    @property
    def steps(self) -> list[int]:
        return list(range(self.first, self.last))

    @property
    def planned(self) -> dict[str, Array]:
        """(T,) by asset."""
        return dict(zip(self.plan.asset_ids, self.plan.power_mw, strict=True))

    @property
    def base_mw(self) -> Array:
        """(T,) planned sum of the assets in question."""
        return np.asarray(np.sum([self.plan.power_of(a) for a in self.assets], axis=0), dtype=float)


@dataclass(frozen=True)
class Reach:
    """Ranges (steps,) by the assets that are asked together, and why some are held to the plan."""

    ranges: Mapping[tuple[str, ...], Range]
    held: Mapping[str, str] = field(default_factory=dict)


def node_region(s: Situation, plan: Schedule, bus: int, interval: int, directions: int = DIRECTIONS) -> Region:
    """The P-Q region of the controllable assets at `bus` in one step of the situation's grid.

    `plan` is over that grid. Its corners are feasible by the engine of the plans; `answer` asks the reference engine.
    Raises ValueError for a bus without controllable assets.
    """
    assets = tuple(a.id for a in s.portfolio.assets if a.bus == bus and a.control != "none")
    if not assets:
        raise ValueError(f"no controllable asset at bus {bus}")
    asked = Asked(s, plan, assets, interval, interval + 1)
    return regions(around_of(asked, plan_flow(s, plan)), spots_of(asked, reach_of(asked)), directions)[0]


def plan_flow(s: Situation, plan: Schedule) -> Flow | None:
    """The AC solution of the plan in the expected case, as its taps move; None without a network."""
    exposure = exposure_of(s)
    if s.grid_side is None or exposure is None:
        return None
    p = exposure.p_background_mw + plan.power_mw.T @ exposure.incidence
    q = exposure.q_background_mvar + (exposure.tan_phi[:, None] * plan.power_mw).T @ exposure.incidence
    return s.grid_side.network.flow(s.grid, p[None], q[None])


def around_of(asked: Asked, flow: Flow | None) -> Around:
    """Everything else over the steps asked for, from the taps at which the plan enters them."""
    s, grid = asked.s, asked.s.grid.part(asked.first, asked.last)
    if s.grid_side is None or flow is None:
        none = np.zeros((grid.n, 1))
        return Around(None, grid, none, none)
    network = s.grid_side.network
    rows = [s.portfolio.index[a] for a in asked.assets]
    own = incidence(s, network)[rows]
    p = asked.plan.power_mw[rows]
    q = np.array([s.portfolio.asset(a).tan_phi for a in asked.assets])[:, None] * p
    span = slice(asked.first, asked.last)
    taps = flow.taps[0, asked.first - 1] if asked.first else network.taps
    return Around(
        network.starting_at([int(k) for k in taps]), grid,
        flow.p_mw[0, span] - (p.T @ own)[span], flow.q_mvar[0, span] - (q.T @ own)[span],
    )  # fmt: skip


def hosting_of(asked: Asked, flow: Flow | None) -> dict[str, Array]:
    """(2, steps) MW more load, at the power factor of `HOSTED_TAN_PHI`, and more generation that each bus of the assets
    in question takes beside the plan, by bus; empty without a network.
    """
    s = asked.s
    if s.grid_side is None or flow is None:
        return {}
    numbers = sorted({b for a in asked.assets if (b := s.portfolio.asset(a).bus) is not None})
    network, span = s.grid_side.network, slice(asked.first, asked.last)
    taps = flow.taps[0, asked.first - 1] if asked.first else network.taps
    whole = Around(
        network.starting_at([int(k) for k in taps]), s.grid.part(asked.first, asked.last),
        flow.p_mw[0, span], flow.q_mvar[0, span],
    )  # fmt: skip
    found = hosting_mw(whole, [network.buses.index(b) for b in numbers], HOSTED_MW, HOSTED_TAN_PHI)
    return {str(b): row for b, row in zip(numbers, found, strict=True)}


def reach_of(asked: Asked) -> Reach:
    """What each of the assets in question can do in each step, within the orders that bind it."""
    s, planned = asked.s, asked.planned
    decided = {a.id for a in s.dispatched}
    held = {a: ORDERED for a in asked.assets if a not in decided}
    found_units, apart = units(s.dispatched, [a for a in asked.assets if a in decided])
    held |= dict.fromkeys(apart, APART)
    context, near, found = context_of(s), dict[tuple[str, ...], Near | NotSolved](), {}
    book = ledger_of(s) if any(c.product == RESERVE for c in s.contracts) else None
    for unit in found_units:
        key = tuple(a.id for a in unit.near)
        if key not in near:
            near[key] = _near(unit.near, asked)
        known = near[key]
        if isinstance(known, NotSolved):
            held |= dict.fromkeys(unit.members, str(known))
            continue
        one = _within_orders(
            ranges(unit, context, planned, s.price_eur_per_mwh, asked.steps, known), unit.members, asked, book
        )
        held |= dict.fromkeys(unit.members, one.why) if one.why else {}
        found[unit.members] = one
    base = {(a,): planned[a][asked.steps] for a in held if not any(a in members for members in found)}
    return Reach({**found, **{k: Range(v, v, held[k[0]]) for k, v in base.items()}}, held)


def _near(fleet: Sequence[Asset], asked: Asked) -> Near | NotSolved:
    try:
        return Near(fleet, context_of(asked.s), asked.planned, asked.s.price_eur_per_mwh)
    except NotSolved as why:
        return why


def _within_orders(one: Range, members: Sequence[str], asked: Asked, book: Ledger | None) -> Range:
    """The range without what an order forbids or a reserve holds, and without the steps inside a notice; it still
    holds the plan.
    """
    s, steps = asked.s, asked.steps
    low, high = one.low_mw.copy(), one.high_mw.copy()
    base = np.sum([asked.plan.power_of(m) for m in members], axis=0)[steps]
    orders = [s.limits[m] for m in members if m in s.limits]
    if len(orders) == len(members):
        low = np.maximum(low, np.sum([o[0] for o in orders], axis=0)[steps])
        high = np.minimum(high, np.sum([o[1] for o in orders], axis=0)[steps])
    if book is not None:
        least, most = book.bounds_mw(members)
        low, high = np.maximum(low, least[steps]), np.minimum(high, most[steps])
    notice = max(s.portfolio.asset(m).notice for m in members)
    fixed = np.array([s.grid.starts[t] < s.now + notice for t in steps])
    low, high = (np.where(fixed, base, v) for v in (low, high))
    return Range(np.minimum(low, base), np.maximum(high, base), NOTICE if fixed.all() else one.why)


def rating_mva(asset: Asset) -> float:
    """Rating within which the inverter of an asset may choose its Q; 0 where Q follows P."""
    return float(asset.inverter_mva or getattr(asset.params, "s_rating_mva", 0.0))


def spots_of(asked: Asked, reach: Reach) -> list[Spot]:
    """The cells of every step: what lies at one bus behind the same connections is one."""
    s = asked.s
    behind = {a: tuple(i for i, g in enumerate(groups_of(s)) if a in g.members) for a in asked.assets}
    bus = {b: i for i, b in enumerate(s.grid_side.network.buses)} if s.grid_side else {}
    places: dict[tuple[int, tuple[int, ...]], list[tuple[str, ...]]] = {}
    for members in reach.ranges:
        asset = s.portfolio.asset(members[0])
        at = bus.get(asset.bus, 0) if asset.bus is not None else 0
        places.setdefault((at, behind[members[0]]), []).append(members)
    return [_spot(asked, reach, places, i) for i in range(len(asked.steps))]


def _spot(
    asked: Asked, reach: Reach, places: Mapping[tuple[int, tuple[int, ...]], Sequence[tuple[str, ...]]], i: int
) -> Spot:
    s, t = asked.s, asked.steps[i]
    cells, connections = [], []
    for (bus, behind), units_there in places.items():
        planned, shapes = np.zeros(2), []
        for members in units_there:
            asset, found = s.portfolio.asset(members[0]), reach.ranges[members]
            mw = float(np.sum([asked.plan.power_of(m)[t] for m in members]))
            planned += (mw, asset.tan_phi * mw)
            shapes.append(_shape(asset, len(members), float(found.low_mw[i]), float(found.high_mw[i])))
        cells.append(Cell(bus, hull(np.concatenate([added(shapes), planned[None]])), planned))
        connections.append(behind)
    shared = []
    for k, group in enumerate(groups_of(s)):
        mine = tuple(j for j, behind in enumerate(connections) if k in behind)
        if mine:
            rest = sum(float(asked.plan.power_of(m)[t]) for m in group.members if m not in asked.assets)
            base = float(sum(cells[j].planned[0] for j in mine))
            low, high = float(group.lower_mw[t]) - rest, float(group.upper_mw[t]) - rest
            shared.append(Shared(mine, min(low, base), max(high, base)))
    return Spot(tuple(cells), tuple(shared))


def _shape(asset: Asset, count: int, low_mw: float, high_mw: float) -> Array:
    """P and Q of one unit; an inverter's circle is that of one asset."""
    rating = rating_mva(asset)
    if rating > 0.0 and count == 1:
        return inverter(rating, low_mw, high_mw)
    return segment(low_mw, high_mw, asset.tan_phi)


def judged(around: Around, spots: Sequence[Spot], found: list[Region]) -> tuple[list[Region], int]:
    """Regions whose corners the reference engine finds clean, and how many corners it refused to the end.

    A refused corner is drawn in towards the plan's point, in the end onto it; a plan that is refused itself is dropped.
    """
    for share in DRAWN_IN:
        bad = verified(around, spots, found)
        if not bad:
            return found, 0
        for c, t in bad:
            spread = found[t].spread.copy()
            spread[c] = spots[t].planned + share * (spread[c] - spots[t].planned)
            found[t] = replace(found[t], spread=spread, corners=spread.sum(axis=1))
    bad = verified(around, spots, found)
    for t in {t for _, t in bad}:
        kept = [c for c in range(len(found[t].corners)) if (c, t) not in set(bad)]
        found[t] = replace(found[t], spread=found[t].spread[kept], corners=found[t].corners[kept])
    return found, len(bad)
