"""Reserve behind limits received from a grid operator: a call of everything that is held keeps them too.

    sum_i p_i[t] + sum of what is held up + what recovers from calls down    <=  export_mw[t] + over_export[t]
    sum_i p_i[t] - sum of what is held down - what recovers from calls up    >= -import_mw[t] - over_import[t]

over the assets of the place; with nothing held these are the rows of the limit itself, so a firm capacity that does
not fit is short and never makes a plan impossible. Source: that of `operating_envelope`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from dispatch.block import INF, Rows
from dispatch.problem import group_rows
from dispatch.product import Contract, Trade
from dispatch.products import operating_envelope
from dispatch.products._reserve_layout import OPPOSITE, Ints, Layout, Side
from vpp.domain.time import Array

SIGN: dict[Side, float] = {"up": 1.0, "down": -1.0}


def rows_behind(layout: Layout, trade: Trade) -> list[Rows]:
    """The rows of every place that has providers, over the columns of the reserve block."""
    limits = trade.of(operating_envelope.NAME)
    return [r for c in limits for side in SIGN for r in _side(layout, trade, c, side)]


def _side(layout: Layout, trade: Trade, c: Contract, side: Side) -> Iterator[Rows]:
    step, column = _taken(layout, frozenset(c.assets), side)
    if not step.size:
        return
    used, row = np.unique(step, return_inverse=True)
    n, sign = trade.grid.n, SIGN[side]
    low, high = operating_envelope.limits(c, trade.grid)
    limit: Array = high[used] if side == "up" else -low[used]
    own = sp.csr_array(sp.coo_array((np.ones(row.size), (row, column)), shape=(used.size, layout.size)))
    injection = sp.csr_array(sign * group_rows(trade.asset_ids, c.assets, n)[used])
    over = used + (n if side == "up" else 0)
    excess = sp.csr_array(sp.coo_array((-np.ones(used.size), (np.arange(used.size), over)), shape=(used.size, 2 * n)))
    across = {operating_envelope.block_name(c.id): excess}
    yield Rows(f"reserve {side} behind {c.id}", -INF, limit, own, injection, across=across)


def _taken(layout: Layout, members: frozenset[str], side: Side) -> tuple[Ints, Ints]:
    """(steps, columns) of all that a call may add in this direction at the `members`."""
    steps, columns = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for o in layout.offers:
        recovering = layout.recovering(o)
        for i, (_, _, asset) in enumerate(o.providers):
            if asset not in members:
                continue
            if o.side == side:
                t = np.flatnonzero(o.intervals.of_step >= 0)
                steps.append(t)
                columns.append(layout.held(o, i, o.intervals.of_step[t]))
            elif o.side == OPPOSITE[side] and i in recovering:
                steps.append(np.arange(layout.grid.n))
                columns.append(layout.spare(o, i))
    return np.concatenate(steps), np.concatenate(columns)
