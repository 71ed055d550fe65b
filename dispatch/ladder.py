"""The rungs below the optimum. Each is a wish that `follow` keeps within today's limits and ramps.

last_good       what the last released schedule said
merit_order     each asset alone against the price: store in the cheapest hours, sell in the dearest,
                run what earns more than it costs
device_default  what every device does when it hears nothing, whatever limits were ordered
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dispatch.block import INF
from dispatch.follow.group import Group, follow_in_groups
from dispatch.registry import KINDS
from dispatch.wish import Wish
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array, TimeGrid

Inputs = Mapping[str, Mapping[str, Array]]
Limits = Mapping[str, tuple[Array, Array]]


def _defaults(assets: Sequence[Asset], states: Mapping[str, AssetState], inputs: Inputs, grid: TimeGrid) -> list[Array]:
    return [KINDS[a.kind].default_mw(a, states[a.id], inputs[a.id], grid) for a in assets]


def _followed(
    assets: Sequence[Asset], states: Mapping[str, AssetState], inputs: Inputs, grid: TimeGrid,
    wishes: Sequence[Array], limits: Limits, groups: Sequence[Group] = (), hold_store: bool = False,
) -> Schedule:  # fmt: skip
    found = []
    for asset, wish in zip(assets, wishes, strict=True):
        low, high = limits.get(asset.id, (-INF, INF))
        found.append(Wish(asset, states[asset.id], grid, wish, inputs[asset.id], low, high, hold_store))
    return follow_in_groups(found, groups)


def device_default(
    assets: Sequence[Asset], states: Mapping[str, AssetState], inputs: Inputs, grid: TimeGrid
) -> Schedule:
    """Every device at its default behaviour."""
    return _followed(assets, states, inputs, grid, _defaults(assets, states, inputs, grid), {}, hold_store=True)


def last_good(
    last: Schedule,
    assets: Sequence[Asset],
    states: Mapping[str, AssetState],
    inputs: Inputs,
    grid: TimeGrid,
    limits: Limits,
    groups: Sequence[Group] = (),
) -> Schedule:
    """The last schedule over today's grid; where it has ended, the defaults, and prices that ask for nothing."""
    planned = dict(zip(last.asset_ids, grid.sample(last.grid, last.power_mw), strict=True))
    wishes = []
    for asset, default in zip(assets, _defaults(assets, states, inputs, grid), strict=True):
        wish = planned.get(asset.id, np.full(grid.n, np.nan))
        ended = ~np.isfinite(wish)
        wishes.append(np.where(ended & (KINDS[asset.kind].CONTROL != "price"), default, wish))
    return _followed(assets, states, inputs, grid, wishes, limits, groups)


def merit_order(
    assets: Sequence[Asset],
    states: Mapping[str, AssetState],
    inputs: Inputs,
    grid: TimeGrid,
    price_eur_per_mwh: Array,
    limits: Limits,
    groups: Sequence[Group] = (),
) -> Schedule:
    """Every asset by its own marginal cost against the price."""
    defaults = _defaults(assets, states, inputs, grid)
    wishes = [
        KINDS[asset.kind].merit_mw(asset, default, inputs[asset.id], grid, price_eur_per_mwh)
        for asset, default in zip(assets, defaults, strict=True)
    ]
    return _followed(assets, states, inputs, grid, wishes, limits, groups)
