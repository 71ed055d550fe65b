"""Operating envelope: limits received from a grid operator on the net exchange of a connection or a group.

    -aim import_mw[t] - over_import[t]  <=  sum_i p_i[t]  <=  aim export_mw[t] + over_export[t],       over >= 0
    cost = excess_eur_per_mwh h[t] (over_import[t] + over_export[t])

The limits change from step to step; which of them holds when is decided in `vpp.domain.envelope`. A plan aims a little
inside them, as it does with network limits, because the mean of a step is planned and what is inside it varies; what
is told of an excess, and the independent check, are at the limits themselves. The excess is priced like that of a
connection limit: what no decision of ours can keep is exceeded as little as possible, and the check names it.
Source: that of `vpp.domain.envelope`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from dispatch.block import AssetResult, Block, Reader
from dispatch.product import Contract, Trade
from dispatch.products.connection_limit import EXCESS_EUR_PER_MWH, exchange_limit
from vpp.domain.time import Array, TimeGrid

NAME = "operating_envelope"
Terms = None
IMPORT, EXPORT = "import_mw", "export_mw"
KNOWN = (IMPORT, EXPORT)
AIM = 0.99


@dataclass(frozen=True)
class Received:
    """The limits of one place besides their MW: its id, its issuer's id and name, the envelopes in force over the grid,
    whether the issuer's default holds somewhere, and the price of an excess."""

    id: str
    issuer: str
    issuer_name: str
    envelopes: tuple[str, ...] = ()
    default: bool = False
    excess_eur_per_mwh: float = EXCESS_EUR_PER_MWH


def limits(contract: Contract, grid: TimeGrid) -> tuple[Array, Array]:
    """(lower, upper) net injection (T,) of the contract's assets that a plan aims at."""
    return -AIM * contract.trajectory(IMPORT, grid.n), AIM * contract.trajectory(EXPORT, grid.n)


def block_name(place: str) -> str:
    """Name of a place's block, whose columns are over_import_mw and over_export_mw, (1, T) each."""
    return f"{NAME} {place}"


def blocks(trade: Trade) -> list[Block]:
    """One block a place."""
    return [_block(c, trade) for c in trade.of(NAME)]


def _block(c: Contract, trade: Trade) -> Block:
    low, high = limits(c, trade.grid)
    stated = exchange_limit(
        block_name(c.id), c.id, (-low, high), c.terms.excess_eur_per_mwh, c.assets, trade.asset_ids, trade.grid
    )
    return replace(stated, read=_reader(c, stated.read))


def _reader(c: Contract, aimed: Reader) -> Reader:
    """What of the excess lies beyond the limits themselves."""

    def read(x: Array, duals: Mapping[str, Array]) -> dict[str, AssetResult]:
        over = aimed(x, duals)[c.id].decisions
        beyond = {
            f"over_{name}": np.maximum(over[f"over_{name}"] - (1.0 - AIM) * c.known[name], 0.0) for name in KNOWN
        }
        return {c.id: AssetResult(decisions=beyond)}

    return read
