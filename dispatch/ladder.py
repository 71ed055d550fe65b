"""The rungs below the optimum. Each is a wish that `follow` keeps within today's limits and ramps.

last_good       what the last released schedule said
merit_order     each asset alone against the price: store in the cheapest hours, sell in the dearest,
                run what earns more than it costs
device_default  what every device does when it hears nothing, whatever limits were ordered
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dispatch.assets.price_elastic import expected_response
from dispatch.block import INF
from dispatch.follow import follow
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
    wishes: Sequence[Array], limits: Limits, hold_store: bool = False,
) -> Schedule:  # fmt: skip
    found = []
    for asset, wish in zip(assets, wishes, strict=True):
        low, high = limits.get(asset.id, (-INF, INF))
        found.append(Wish(asset, states[asset.id], grid, wish, inputs[asset.id], low, high, hold_store))
    return follow(found)


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
) -> Schedule:
    """The last schedule over today's grid; where it has ended, the defaults, and prices that ask for nothing."""
    planned = dict(zip(last.asset_ids, grid.sample(last.grid, last.power_mw), strict=True))
    wishes = []
    for asset, default in zip(assets, _defaults(assets, states, inputs, grid), strict=True):
        wish = planned.get(asset.id, np.full(grid.n, np.nan))
        ended = ~np.isfinite(wish)
        wishes.append(np.where(ended & (asset.kind != "price_elastic"), default, wish))
    return _followed(assets, states, inputs, grid, wishes, limits)


def merit_order(
    assets: Sequence[Asset],
    states: Mapping[str, AssetState],
    inputs: Inputs,
    grid: TimeGrid,
    price_eur_per_mwh: Array,
    limits: Limits,
) -> Schedule:
    """Every asset by its own marginal cost against the price."""
    defaults = _defaults(assets, states, inputs, grid)
    wishes = [
        _by_price(asset, default, inputs[asset.id], grid, price_eur_per_mwh)
        for asset, default in zip(assets, defaults, strict=True)
    ]
    return _followed(assets, states, inputs, grid, wishes, limits)


def _by_price(asset: Asset, default: Array, inputs: Mapping[str, Array], grid: TimeGrid, price: Array) -> Array:
    """The power (T,) one asset would choose if it saw nothing but the price."""
    q, wish = asset.params, default
    if asset.kind == "battery":
        low, high = np.quantile(price, 0.25), np.quantile(price, 0.75)
        worth = high * q.charge_efficiency * q.discharge_efficiency - low > 2.0 * q.wear_eur_per_mwh
        wish = np.where(price <= low, -q.power_mw, np.where(price >= high, q.power_mw, 0.0)) * worth
    elif asset.kind == "chp":
        saved_fuel = q.heat_mw_per_mw / q.boiler_efficiency
        marginal = q.fuel_price_eur_per_mwh * (q.fuel_mw_per_mw - saved_fuel)
        wish = np.where(price > marginal, q.power_mw, 0.0)
    elif asset.kind == "process":
        running = float(np.sum((default < 0.0) * grid.hours))
        order = np.argsort(price, kind="stable")
        chosen = np.zeros(grid.n, dtype=bool)
        chosen[order] = np.cumsum(grid.hours[order]) <= running + 1e-9
        wish = -q.power_mw * chosen
    elif asset.kind == "curtailable":
        wish = np.where(price > -q.curtailment_cost_eur_per_mwh, inputs["available_mw"], 0.0)
    elif asset.kind == "price_elastic":
        wish = -expected_response(q, inputs["load_mw"], price, grid.hours)
    return np.asarray(wish, dtype=float)
