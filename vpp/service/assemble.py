"""From a situation to the optimisation problem and to what the network sees of it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import scipy.sparse as sp

from dispatch import aggregate
from dispatch.block import Block, Context, Rows
from dispatch.exposure import Case, Errors, Exposure, Scenarios
from dispatch.follow.group import Group
from dispatch.problem import Problem, assemble, limit_block
from dispatch.product import Trade
from dispatch.products import connection_limit, microgrid, operating_envelope
from dispatch.products.energy import deviation_prices
from dispatch.products.registry import PRODUCTS
from dispatch.products.reserve import NAME as RESERVE
from dispatch.registry import KINDS
from vpp.domain.errors import Fault
from vpp.domain.network import Network
from vpp.domain.portfolio import Asset
from vpp.domain.schedule import Schedule
from vpp.domain.stage import DAY_AHEAD, REAL_TIME
from vpp.domain.time import Array
from vpp.service.situation import GridSide, Situation

ALL_AT_DEFAULT = "all_devices_at_default"
PRICE_TAKERS_TOGETHER = "all_price_takers_together"
UNCURTAILED_MW = 1e-3
MERGED_FROM = 100
"""Assets of a kind from which on identical ones are merged; below, each keeps columns of its own."""


def context_of(s: Situation) -> Context:
    """What the kinds may know."""
    least = None
    if s.stage.name != REAL_TIME:
        least, _ = deviation_prices(s.price_eur_per_mwh, s.deviation_factor, s.deviation_factor)
    return Context(s.grid, s.now, s.states, s.inputs, s.committed, s.end_value, least)


def asset_ids(s: Situation) -> tuple[str, ...]:
    return tuple(a.id for a in s.portfolio.assets)


def kind_blocks(s: Situation) -> tuple[Block, ...]:
    """One block per kind of what this stage decides on."""
    context, decided = context_of(s), s.dispatched
    kinds = dict.fromkeys(a.kind for a in decided)
    return tuple(_kind_block(s, kind, [a for a in decided if a.kind == kind], context) for kind in kinds)


def blocks(s: Situation) -> list[Block]:
    """The blocks of the kinds, of what is given, and of every product."""
    kinds, ids = kind_blocks(s), asset_ids(s)
    found = [*kinds, *(_given(name, mw) for name, mw in s.given_mw.items())]
    consumers = tuple(a.id for a in s.portfolio.assets if not KINDS[a.kind].GENERATES)
    trade = Trade(
        s.grid, ids, s.price_eur_per_mwh, s.fee_eur_per_mwh, s.deviation_factor, consumers,
        s.positions, s.calls, s.contracts, kinds, s.stage.name != REAL_TIME,
    )  # fmt: skip
    found += [block for product in PRODUCTS.values() for block in product.blocks(trade)]
    return found + ([limit_block(ids, s.grid, s.limits)] if s.limits else [])


def groups_of(s: Situation) -> tuple[Group, ...]:
    """The connections whose sums the lower rungs must keep."""
    limits = {p.NAME: p.limits for p in (connection_limit, operating_envelope, microgrid)}
    return tuple(
        Group(c.assets, *limits[c.product](c, s.grid)) for c in s.contracts if c.product in limits and c.assets
    )  # fmt: skip


def _kind_block(s: Situation, kind: str, members: Sequence[Asset], context: Context) -> Block:
    """The block of one kind; in a large fleet what nothing tells apart enters as one.

    Not in real time, where each asset's own target is tracked, and that is not linear in power; nor where reserve
    is sold or an operator's rule stands, because these see single assets.
    """
    single = s.stage.name == REAL_TIME or s.rules is not None or any(c.product == RESERVE for c in s.contracts)
    if single or len(members) < MERGED_FROM:
        return KINDS[kind].block(members, context)
    groups = [frozenset(c.assets) for c in s.calls] + [frozenset(u.assets) for u in s.positions]
    groups += [frozenset(c.assets) for c in s.contracts]

    def alike(asset: Asset) -> Hashable:
        if asset.id in s.limits:
            return asset.id
        place = asset.site, asset.node, asset.bus, asset.tan_phi, asset.control, asset.notice
        return place, tuple(asset.id in group for group in groups)

    return aggregate.block(KINDS[kind], members, context, alike)


def _given(asset_id: str, mw: Array) -> Block:
    """An asset whose injection is known and not decided here."""
    return Block(f"given {asset_id}", (), (), (asset_id,), None, mw)


def problem_of(s: Situation) -> Problem:
    """The whole sparse model of one stage run, the operator's rules included."""
    ids, stated = asset_ids(s), blocks(s)
    excess, ruled = rules_over(s, stated)
    return assemble(s.grid, ids, [*stated, *excess], ruled)


def rules_over(s: Situation, stated: Sequence[Block]) -> tuple[list[Block], list[Rows]]:
    """The operator's rules as a block and rows to stack after the blocks `stated`."""
    if s.rules is None:
        return [], []
    from dispatch.rule_places import Places
    from dispatch.solvers.pyomo_door import rule_rows

    places = Places(s.grid, asset_ids(s), stated)
    return rule_rows(s.rules, s.portfolio.zone, s.portfolio.assets, s.states, places)


def rule_faults(s: Situation, schedule: Schedule) -> list[Fault]:
    """The operator's rules that a schedule breaks, of those about an asset that this stage decides on."""
    if s.rules is None:
        return []
    from dispatch.solvers.pyomo_door import broken_rules

    decided = [a.id for a in s.dispatched]
    return broken_rules(s.rules, s.portfolio.zone, s.portfolio.assets, s.states, schedule, decided)


def incidence(s: Situation, network: Network) -> sp.csr_array:
    """(N, B) map from our assets to buses; an asset without a bus exposes none."""
    position = {bus: i for i, bus in enumerate(network.buses)}
    assets = s.portfolio.assets
    rows = [i for i, a in enumerate(assets) if a.bus is not None]
    cols = [position[a.bus] for a in assets if a.bus is not None]
    return sp.csr_array((np.ones(len(rows)), (rows, cols)), shape=(len(assets), len(network.buses)))


def background_values(s: Situation, side: GridSide, values: Array) -> tuple[Array, Array]:
    """Bus injections of the background from forecast series values (..., S_forecast, T)."""
    rows = [s.forecast.index[name] for name in side.background.series]
    p = values[..., rows, :]
    return side.background.injection(p, p * side.q_ratio[:, None])


def exposure_of(s: Situation) -> Exposure | None:
    """What the network sees: assets on buses, the expected background, and two contingencies of our own making."""
    if s.grid_side is None:
        return None
    p, q = background_values(s, s.grid_side, s.forecast.expected)
    tan_phi = np.array([a.tan_phi for a in s.portfolio.assets])
    may_cut = np.array([a.control == "continuous" for a in s.portfolio.assets])
    return Exposure(incidence(s, s.grid_side.network), tan_phi, p, q, contingencies(s), errors_of(s), may_cut)


def errors_of(s: Situation) -> Errors | None:
    """The joint scenarios as errors of the expected injections, of the background and of our loads and generation.

    A day-ahead plan, whose commitments stand, keeps them together; later ones are made again within the hour.
    """
    if s.grid_side is None or not s.forecast.scenarios.size:
        return None
    off = s.forecast.scenarios - s.forecast.expected
    p, q = background_values(s, s.grid_side, off)
    position = {bus: i for i, bus in enumerate(s.grid_side.network.buses)}
    for asset in s.portfolio.assets:
        for name, sign in KINDS[asset.kind].FOLLOWS.items():
            given = asset.inputs[name]
            if asset.bus is not None and given.series is not None:
                error = sign * given.scale * off[:, s.forecast.index[given.series]]
                p[..., position[asset.bus]] += error
                q[..., position[asset.bus]] += asset.tan_phi * error
    return Errors(p, q, together=s.stage.name == DAY_AHEAD)


def contingencies(s: Situation) -> tuple[Case, ...]:
    """Control lost (every device at its default at once) and every price-taker moving in the same minute."""
    assets, steps = s.portfolio.assets, s.grid.n
    default = np.array([KINDS[a.kind].default_mw(a, s.states[a.id], s.inputs[a.id], s.grid) for a in assets])
    keep = np.array([[a.control != "price"] * steps for a in assets])
    most = np.zeros((len(assets), steps))
    for i, asset in enumerate(assets):
        if asset.control == "price":
            most[i] = _fullest_response(asset.id, s)
    return (
        Case(ALL_AT_DEFAULT, np.zeros_like(keep), default),
        Case(PRICE_TAKERS_TOGETHER, keep, most),
    )


def _fullest_response(asset_id: str, s: Situation) -> Array:
    from dispatch.assets.price_elastic import extremes

    lower, _ = extremes(s.portfolio.asset(asset_id), s.inputs[asset_id])
    return lower


def scenarios_of(s: Situation, power_mw: Array) -> Scenarios | None:
    """The joint scenarios as the network sees them under a plan (N, T).

    Generation the plan does not curtail is commanded no limit, so it gives what a scenario has; where
    the plan curtails, the limit holds. Loads deviate from their plan as their series does.
    """
    if s.grid_side is None or not s.forecast.scenarios.size:
        return None
    draws, expected = s.forecast.scenarios, s.forecast.expected
    p, q = background_values(s, s.grid_side, draws)
    shape = (draws.shape[0], len(s.portfolio.assets), s.grid.n)
    available, deviation = np.full(shape, np.inf), np.zeros(shape)
    for i, asset in enumerate(s.portfolio.assets):
        for name, sign in KINDS[asset.kind].FOLLOWS.items():
            given = asset.inputs.get(name)
            if given is None or given.series is None:
                continue
            drawn = given.scale * draws[:, s.forecast.index[given.series]]
            if sign > 0.0:
                free = power_mw[i] >= sign * s.inputs[asset.id][name] - UNCURTAILED_MW
                available[:, i] = np.where(free, np.inf, sign * drawn)
                deviation[:, i] = np.where(free, sign * drawn - power_mw[i], 0.0)
            else:
                deviation[:, i] += sign * (drawn - given.scale * expected[s.forecast.index[given.series]])
    return Scenarios(p, q, available, deviation)
