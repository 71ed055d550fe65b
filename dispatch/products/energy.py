"""Day-ahead energy: injection sold at a price, or delivered against a firm position.

Before the gate (`bid_energy`):        net[t] = sum_i p_i[t],      cost = -price[t] h[t] net[t]
After it (`position_energy`), with up, down >= 0 the two-price deviation of the balance:

    sum_i p_i[t] = position[t] + surplus[t] - shortfall[t],        surplus, shortfall >= 0
    cost = h[t] (-price[t] position[t] - earned[t] surplus[t] + paid[t] shortfall[t])
    earned = price - up |price| - floor,   paid = price + down |price| + floor

so that earned <= paid at every price, negative ones too: deviating both ways at once never pays.
Imbalance as in Regulation (EU) 2017/2195, Art. 55 (two prices); the spreads are data.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from dispatch.block import INF, Block, Columns, Rows
from dispatch.problem import group_rows
from vpp.domain.time import Array, TimeGrid

FLOOR_EUR_PER_MWH = 0.01


def deviation_prices(
    price_eur_per_mwh: Array, beta_up: float, beta_down: float, floor_eur_per_mwh: float = FLOOR_EUR_PER_MWH
) -> tuple[Array, Array]:
    """What a MWh of surplus earns and what a MWh of shortfall pays, (T,) each; earned < paid for a floor above 0."""
    if beta_up < 0 or beta_down < 0 or floor_eur_per_mwh < 0:
        raise ValueError("spreads of the deviation price must not be negative")
    size = np.abs(price_eur_per_mwh)
    return (
        price_eur_per_mwh - beta_up * size - floor_eur_per_mwh,
        price_eur_per_mwh + beta_down * size + floor_eur_per_mwh,
    )


def bid_energy(
    unit_assets: Sequence[str],
    asset_ids: Sequence[str],
    grid: TimeGrid,
    price_eur_per_mwh: Array,
    sold: NDArray[np.bool_] | None = None,
    name: str = "energy",
) -> Block:
    """The unit's net injection sold at the expected price (T,) in the steps `sold` (T,) (all by default)."""
    mask = np.ones(grid.n, dtype=bool) if sold is None else np.asarray(sold, dtype=bool)
    price = np.where(mask, price_eur_per_mwh, 0.0)
    net = Columns("net_mw", (1, grid.n), lower=-INF, cost=-price * grid.hours, term="energy")
    balance = Rows("net", 0.0, 0.0, sp.csr_array(sp.eye_array(grid.n)), -group_rows(asset_ids, unit_assets, grid.n))
    return Block(name, (net,), (balance,))


def position_energy(
    unit_assets: Sequence[str],
    asset_ids: Sequence[str],
    grid: TimeGrid,
    position_mw: Array,
    price_eur_per_mwh: Array,
    beta_up: float,
    beta_down: float | None = None,
    *,
    floor_eur_per_mwh: float = FLOOR_EUR_PER_MWH,
    name: str = "energy",
) -> Block:
    """Firm `position_mw` (T,) with two-price deviation; steps without one (NaN) are sold as in `bid_energy`.

    `beta_up` is the share a surplus earns less, `beta_down` (default the same) the share a shortfall
    pays more. The position's revenue is the block's offset.
    """
    firm = np.isfinite(position_mw)
    position = np.where(firm, position_mw, 0.0)
    price, hours = np.asarray(price_eur_per_mwh, dtype=float), grid.hours
    earned, paid = deviation_prices(price, beta_up, beta_up if beta_down is None else beta_down, floor_eur_per_mwh)
    free, open_ = np.where(firm, INF, 0.0), np.where(firm, 0.0, INF)
    shape = (1, grid.n)
    columns = (
        Columns("net_mw", shape, lower=-open_, upper=open_, cost=np.where(firm, 0.0, -price * hours), term="energy"),
        Columns("surplus_mw", shape, upper=free, cost=-earned * hours, term="deviation"),
        Columns("shortfall_mw", shape, upper=free, cost=paid * hours, term="deviation"),
    )
    one = sp.eye_array(grid.n)
    own = sp.csr_array(sp.hstack([one, one, -one], format="csr"))
    balance = Rows("position", -position, -position, own, -group_rows(asset_ids, unit_assets, grid.n))
    return Block(name, columns, (balance,), offset=-float(price * hours @ position))
