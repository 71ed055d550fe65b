"""Day-ahead energy: injection sold at a price, or delivered against a firm position.

Before the gate (`bid_energy`):        net[t] = sum_i p_i[t],      cost = -price[t] h[t] net[t]
After it (`position_energy`), with up, down >= 0 the two-price deviation of the balance:

    sum_i p_i[t] = position[t] + surplus[t] - shortfall[t],        surplus, shortfall >= 0
    cost = h[t] (-price[t] position[t] - earned[t] surplus[t] + paid[t] shortfall[t])
    earned = price - up |price| - floor,   paid = price + down |price| + floor

so that earned <= paid at every price, negative ones too: deviating both ways at once never pays.
Imbalance as in Regulation (EU) 2017/2195, Art. 55 (two prices); the spreads are data.

What will be metered is the plan plus an error e that is not known yet. With K equally likely errors the
deviation d = sum_i p_i - position costs their mean, which is convex and piecewise linear in d:

    C(d) = 1/K sum_k (paid (-d - e_k)^+ - earned (d + e_k)^+),       breakpoints b_k = -e_k in ascending order
    d = b_1 + sum_k covered_k + surplus - shortfall,                 0 <= covered_k <= b_(k+1) - b_k
    a MWh of covered_k is worth paid - (paid - earned) k / K

so a plan neither sells a surplus that may never come nor gives one away. Selling in advance pays best at
the quantile (price - earned) / (paid - earned) of what will be metered (`best_error`). Simple recourse:
J. R. Birge and F. Louveaux, Introduction to Stochastic Programming, 2nd ed. 2011, 3.1d; the quantile:
P. Pinson, C. Chevallier, G. Kariniotakis, Trading wind generation from short-term probabilistic
forecasts of wind power, IEEE Trans. Power Syst. 22 (2007).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from dispatch.block import INF, Block, Columns, Rows
from dispatch.problem import group_rows
from dispatch.product import ContractTerms, Trade
from vpp.domain.time import Array, TimeGrid

NAME = "energy"
Terms: type[ContractTerms] | None = None
KNOWN: tuple[str, ...] = ()
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
    error_mw: Array | None = None,
    name: str = "energy",
) -> Block:
    """Firm `position_mw` (T,) with two-price deviation; steps without one (NaN) are sold as in `bid_energy`.

    `beta_up` is the share a surplus earns less, `beta_down` (default the same) the share a shortfall
    pays more; `error_mw` (K,T) are equally likely errors of the planned net injection (default: none).
    The position's revenue is the block's offset.
    """
    firm = np.isfinite(position_mw)
    position = np.where(firm, position_mw, 0.0)
    price, hours = np.asarray(price_eur_per_mwh, dtype=float), grid.hours
    earned, paid = deviation_prices(price, beta_up, beta_up if beta_down is None else beta_down, floor_eur_per_mwh)
    free, open_ = np.where(firm, INF, 0.0), np.where(firm, 0.0, INF)
    breaks = np.sort(-np.where(firm, np.zeros((1, grid.n)) if error_mw is None else error_mw, 0.0), axis=0)
    one, shape = sp.eye_array(grid.n), (1, grid.n)
    columns = (
        Columns("net_mw", shape, lower=-open_, upper=open_, cost=np.where(firm, 0.0, -price * hours), term="energy"),
        Columns("surplus_mw", shape, upper=free, cost=-earned * hours, term="deviation"),
        Columns("shortfall_mw", shape, upper=free, cost=paid * hours, term="deviation"),
        *_covered(breaks, earned, paid, hours),
    )
    pieces = [] if len(breaks) == 1 else [*[one] * (len(breaks) - 1), 0.0 * one]
    own = sp.csr_array(sp.hstack([one, one, -one, *pieces], format="csr"))
    met = -position - breaks[0]
    balance = Rows("position", met, met, own, -group_rows(asset_ids, unit_assets, grid.n))
    return Block(name, columns, (balance,), offset=-float(price * hours @ position))


def _covered(breaks: Array, earned: Array, paid: Array, hours: Array) -> tuple[Columns, ...]:
    """The pieces between `breaks` (K,T), and a column fixed at one that carries C at the first of them."""
    count, steps = breaks.shape
    if count == 1:
        return ()
    worth = paid - (paid - earned) * np.arange(1, count)[:, None] / count
    lowest = paid * (breaks.mean(axis=0) - breaks[0]) * hours
    return (
        Columns("covered_mw", (count - 1, steps), upper=np.diff(breaks, axis=0), cost=-worth * hours, term="deviation"),
        Columns("uncovered", (1, steps), lower=1.0, upper=1.0, cost=lowest, term="deviation"),
    )


def likely_errors(error_mw: Array, count: int) -> Array:
    """(count, T) equally likely errors with the mean of each ordered share of the samples (S,T), centred."""
    ordered = np.sort(error_mw - error_mw.mean(axis=0), axis=0)
    return np.stack([part.mean(axis=0) for part in np.array_split(ordered, min(count, len(ordered)))])


def best_error(
    error_mw: Array, price_eur_per_mwh: Array, beta_up: float, beta_down: float | None = None
) -> Array:
    """(T,) what to add to the planned net injection when selling it in advance, MW, given errors (K,T)."""
    earned, paid = deviation_prices(price_eur_per_mwh, beta_up, beta_up if beta_down is None else beta_down)
    share = np.divide(price_eur_per_mwh - earned, paid - earned, out=np.full(len(paid), 0.5), where=paid > earned)
    return np.array([np.quantile(e, f) for e, f in zip(error_mw.T, share, strict=True)])


def block_name(unit: str) -> str:
    """Name of the energy block of a trading unit."""
    return f"{NAME} {unit}"


def blocks(trade: Trade) -> list[Block]:
    """One block a trading unit: against its position where one is firm, sold at the expected price elsewhere."""
    return [
        position_energy(
            u.assets, trade.asset_ids, trade.grid, u.mw, trade.price_eur_per_mwh, trade.deviation_factor,
            error_mw=u.error_mw, name=block_name(u.unit),
        )
        for u in trade.positions
    ]  # fmt: skip
