"""Between which injections the bounds of a block leave each asset, step by step, whatever else binds it.

    low = offset + sum over columns j of min(a_j l_j, a_j u_j),    high = offset + sum of max(a_j l_j, a_j u_j)

over the row a of the block's injection map and the bounds l, u of its columns: no knowledge of a kind.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from dispatch.block import Block
from vpp.domain.time import Array


def reach_of(block: Block, steps: int) -> dict[str, tuple[Array, Array]]:
    """asset -> (low (T,), high (T,)), MW of injection."""
    n = len(block.assets)
    offset = np.broadcast_to(np.ravel(block.power_offset), (n * steps,)).astype(float)
    low, high = offset.copy(), offset.copy()
    if block.power is not None:
        bounds = [
            np.concatenate([np.broadcast_to(np.asarray(b, dtype=float), c.shape).ravel() if np.ndim(b) != 1 else b
                            for c, b in ((c, getattr(c, side)) for c in block.columns)])
            for side in ("lower", "upper")
        ]  # fmt: skip
        ends = [sp.csr_array(block.power.multiply(b[None, :])) for b in bounds]
        low = low + np.asarray(ends[0].minimum(ends[1]).sum(axis=1)).ravel()
        high = high + np.asarray(ends[0].maximum(ends[1]).sum(axis=1)).ravel()
    rows = zip(low.reshape(n, steps), high.reshape(n, steps), strict=True)
    return dict(zip(block.assets, rows, strict=True))
