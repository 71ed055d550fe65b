"""An example day-ahead market: clears at a price drawn around the expected one and awards part of a bid.

    price[t] = expected[t] * (1 + sigma * z[h]),   z[h] = 0.8 z[h-1] + 0.6 N(0, 1)   (stationary, unit variance)

The award is `share` of what the bid curve offers at the cleared price. Deterministic for a seed and day.
"""

from __future__ import annotations

from datetime import date

import numpy as np

from vpp.domain.market import Bid, Position
from vpp.domain.time import Array, TimeGrid


def cleared_price(expected_eur_per_mwh: Array, grid: TimeGrid, sigma: float, seed: int, day: date) -> Array:
    """Cleared price per step (T,), one draw an hour."""
    rng = np.random.default_rng([seed, day.toordinal()])
    hours = np.floor((np.array([s.timestamp() for s in grid.starts]) - grid.start.timestamp()) / 3600.0).astype(int)
    shocks = rng.standard_normal(hours.max() + 1)
    z = np.empty_like(shocks)
    z[0] = shocks[0]
    for h in range(1, len(z)):
        z[h] = 0.8 * z[h - 1] + 0.6 * shocks[h]
    price: Array = expected_eur_per_mwh * (1.0 + sigma * z[hours])
    return price


def offered_at(bid: Bid, price_eur_per_mwh: Array) -> Array:
    """MW the bid sells at each step's price: the step function of its curve, (T,)."""
    reached = (bid.price_eur_per_mwh <= price_eur_per_mwh).sum(axis=0) - 1
    return np.asarray(bid.mw[np.maximum(reached, 0), np.arange(bid.grid.n)])


def award(bid: Bid, price_eur_per_mwh: Array, share: float) -> list[Position]:
    """Firm positions for `share` of what was offered at the cleared price."""
    mw = share * offered_at(bid, price_eur_per_mwh)
    return [
        Position(bid.unit, bid.product, start, end, float(mw[t]), float(price_eur_per_mwh[t]), bid.gate)
        for t, (start, end) in enumerate(zip(bid.grid.starts, bid.grid.edges[1:], strict=True))
    ]
