"""Time-of-use grid fee on what each asset consumes, metered per asset.

    c_i[t] >= -p_i[t],  c >= 0,      cost = fee[t] h[t] c_i[t]

The relaxation is exact for fees that are not negative: c is then the consumed part of p.
Network charges by time of use as in Art. 18(7) of Regulation (EU) 2019/943.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from dispatch.block import Block, Columns, Rows
from dispatch.product import ContractTerms, Trade
from vpp.domain.time import Array, TimeGrid

NAME = "grid_fee"
Terms: type[ContractTerms] | None = None
KNOWN: tuple[str, ...] = ()


def grid_fee(
    consuming: Sequence[str], asset_ids: Sequence[str], grid: TimeGrid, fee_eur_per_mwh: Array, name: str = "grid_fee"
) -> Block:
    """The fee (T,) on the consumption of each asset of `consuming`. Raises ValueError for a negative fee."""
    fee = np.broadcast_to(np.asarray(fee_eur_per_mwh, dtype=float), (grid.n,))
    if (fee < 0).any():
        raise ValueError(f"{name}: a negative fee has no exact linear form")
    n, size = len(consuming), len(consuming) * grid.n
    position = {a: i for i, a in enumerate(asset_ids)}
    at = (np.array([position[a] for a in consuming], dtype=np.int64)[:, None] * grid.n + np.arange(grid.n)).ravel()
    pick = sp.csr_array((np.ones(size), (np.arange(size), at)), shape=(size, len(asset_ids) * grid.n))
    columns = Columns("consumed_mw", (n, grid.n), cost=fee * grid.hours, term="fee")
    return Block(name, (columns,), (Rows("consumed", 0.0, np.inf, sp.csr_array(sp.eye_array(size)), pick),))


def blocks(trade: Trade) -> list[Block]:
    """One block for everybody who consumes."""
    return [grid_fee(trade.consumers, trade.asset_ids, trade.grid, trade.fee_eur_per_mwh)]
