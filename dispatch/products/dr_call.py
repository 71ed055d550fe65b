"""A demand-response order: deliver `ordered` MW above the baseline of a group during an event.

    delivered[t] <= sum_i p_i[t] - baseline[t],   delivered[t] + under[t] >= ordered[t],   under >= 0
    delivered[t] <= ordered[t],      cost = h[t] (penalty under[t] - revenue delivered[t])

Injection is positive, so less consumption is delivery. Going below the baseline takes payment back at
the same rate: a delivery clipped at zero would not be convex. An order for less injection is the same
with the signs of injection and baseline turned.
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

NAME = "dr_call"
Terms: type[ContractTerms] | None = None
KNOWN: tuple[str, ...] = ()
BELOW_ANYTHING_MW = 1e3


def dr_call(
    group_assets: Sequence[str],
    asset_ids: Sequence[str],
    grid: TimeGrid,
    active: NDArray[np.bool_],
    baseline_mw: Array,
    ordered_mw: Array,
    penalty_eur_per_mwh: float,
    revenue_eur_per_mwh: float = 0.0,
    name: str = "dr_call",
    sign: float = 1.0,
) -> Block:
    """The order over the steps `active` (T,) against the group's baseline (T,), both MW of injection.

    `sign` -1 orders less injection than the baseline.

    Raises ValueError where penalty plus revenue is not positive: under-delivery would then pay.
    """
    if penalty_eur_per_mwh < 0 or revenue_eur_per_mwh < 0:
        raise ValueError(f"{name}: penalty and revenue must not be negative")
    steps = np.flatnonzero(active)
    hours, ordered = grid.hours[steps], np.asarray(ordered_mw, dtype=float)[steps]
    shape, one = (1, len(steps)), sp.eye_array(len(steps))
    columns = (
        Columns("under_mw", shape, cost=penalty_eur_per_mwh * hours, term="penalties"),
        Columns("delivered_mw", shape, lower=-INF, upper=ordered, cost=-revenue_eur_per_mwh * hours, term="energy"),
    )
    group = group_rows(asset_ids, group_assets, grid.n)[steps] * sign
    baseline = np.asarray(baseline_mw, dtype=float)[steps] * sign
    none = sp.csr_array((len(steps), len(steps)))
    rows = (
        Rows("baseline", baseline, INF, sp.csr_array(sp.hstack([none, -one], format="csr")), sp.csr_array(group)),
        Rows("ordered", ordered, INF, sp.csr_array(sp.hstack([one, one], format="csr"))),
    )
    return Block(name, columns, rows)


def blocks(trade: Trade) -> list[Block]:
    """One block an order. Steps in which nothing is owed bind nothing; they stay so that the problem keeps its shape
    by the minute."""
    everywhere = np.ones(trade.grid.n, dtype=bool)
    return [
        dr_call(
            c.assets, trade.asset_ids, trade.grid, everywhere,
            np.where(c.ordered_mw > 0.0, c.baseline_mw, -sign * BELOW_ANYTHING_MW), c.ordered_mw, c.missed_eur_per_mwh,
            name=f"call {c.id}", sign=sign,
        )
        for c in trade.calls
        for sign in (1.0 if c.direction == "up" else -1.0,)
    ]  # fmt: skip
