"""Price-quantity curve of a trading unit, by re-solving the plan's LP at other prices.

With the commitment fixed and the cuts kept, the price of every `groups`-th hour is moved by a level
while the others stay at the expected price; the net injection of the moved hours is the curve there.
The optimum of min c@x moves against its own price, so sold energy never falls in sum as the price
rises; per step it is made monotone outward from the plan, which stays on the curve at level 0.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from dispatch.problem import Problem, columns_of
from dispatch.solvers.highs_door import Living
from vpp.domain.time import Array

GROUPS = 4


def price_quantity_curve(
    problem: Problem,
    x: Array,
    block: str,
    price_eur_per_mwh: Array,
    levels_eur_per_mwh: Array,
    sold: NDArray[np.bool_],
    *,
    deadline_s: float,
    groups: int = GROUPS,
) -> tuple[Array, Array]:
    """Prices (K,T) = expected price (T,) + ascending levels (K,), and MW (K,T), non-decreasing in k.

    `x` is the plan's point of `problem` (with its cuts), `block` the energy product whose `net_mw` is
    sold in the steps `sold` (T,). Other steps repeat the plan. Raises NotSolved when late.
    """
    began, levels = time.perf_counter(), np.asarray(levels_eur_per_mwh, dtype=float)
    if (np.diff(levels) <= 0).any():
        raise ValueError("price levels must ascend")
    net, hours = columns_of(problem, block, "net_mw"), problem.grid.hours
    living = Living(problem)
    mw = np.tile(x[net], (len(levels), 1))
    hour = np.array([s.hour for s in problem.grid.starts])
    for group in range(groups):
        moved = sold & (hour % groups == group)
        for k, level in enumerate(levels):
            if not moved.any() or level == 0.0:
                continue
            living.set_cost(net, problem.cost[net] - np.where(moved, level * hours, 0.0))
            raw = living.solve_fixed(x, deadline_s - (time.perf_counter() - began))
            mw[k, moved] = raw.x[net][moved]
    return price_eur_per_mwh + levels[:, None], _monotone(mw, levels, x[net])


def capacity_curve(
    problem: Problem, x: Array, block: str, label: str, levels: Array, hours: Array, deadline_s: float
) -> Array:
    """MW (K,G) of capacity held at prices moved by ascending `levels` (K,G) EUR/MW/h, non-decreasing in k.

    `label` is the product's column group of `block` with one column an interval, `hours` (G,) its length. The level
    of zero is the plan. Raises NotSolved when late.
    """
    began, sold = time.perf_counter(), columns_of(problem, block, label)
    living = Living(problem)
    mw = np.tile(x[sold], (len(levels), 1))
    for k, level in enumerate(levels):
        if np.any(level != 0.0):
            living.set_cost(sold, problem.cost[sold] - level * hours)
            mw[k] = living.solve_fixed(x, deadline_s - (time.perf_counter() - began)).x[sold]
    return np.maximum.accumulate(_monotone(mw, levels[:, :1].ravel(), x[sold]), axis=0)


def _monotone(mw: Array, levels: Array, plan: Array) -> Array:
    """Non-decreasing in k: running maximum above level 0, running minimum below it, both from the plan."""
    above, below = levels > 0, levels < 0
    curve = np.where((levels == 0)[:, None], plan, mw)
    curve[above] = np.maximum.accumulate(np.maximum(mw[above], plan), axis=0)
    curve[below] = np.minimum.accumulate(np.minimum(mw[below], plan)[::-1], axis=0)[::-1]
    return curve
