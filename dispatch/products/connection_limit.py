"""Connection limit: what a site, a metering group or a trading unit may take from and give to the grid at once.

    -import_mw - over_import[t]  <=  sum_i p_i[t]  <=  export_mw + over_export[t],       over >= 0
    cost = excess_eur_per_mwh h[t] (over_import[t] + over_export[t])

The sum is the net exchange at the connection. The excess is priced, as network cuts are, so that a limit
which nobody's decision can keep is broken as little as possible instead of leaving no plan at all; the
independent check names it. Source: agreed connection capacity and flexible connection agreements, Art. 6a
of Directive (EU) 2019/944 as amended by Directive (EU) 2024/1711.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse as sp
from pydantic import Field, model_validator

from dispatch.block import INF, AssetResult, Block, Columns, Reader, Rows, eye, stack
from dispatch.problem import group_rows
from dispatch.product import Contract, ContractTerms, Trade
from vpp.domain.time import Array, TimeGrid

NAME = "connection_limit"
KNOWN: tuple[str, ...] = ()
EXCESS_EUR_PER_MWH = 20_000.0
Limit = Array | float | None


class Terms(ContractTerms):
    """Both limits are positive MW; one of them may be left out. The excess price is above every economic value."""

    import_mw: float | None = Field(default=None, ge=0.0)
    export_mw: float | None = Field(default=None, ge=0.0)
    excess_eur_per_mwh: float = Field(default=EXCESS_EUR_PER_MWH, gt=0.0)

    @model_validator(mode="after")
    def _one_side(self) -> Terms:
        if self.import_mw is None and self.export_mw is None:
            raise ValueError("neither import_mw nor export_mw is given")
        return self


def connection_limit(
    terms: Terms, members: Sequence[str], asset_ids: Sequence[str], grid: TimeGrid, name: str | None = None
) -> Block:
    """The limit on the net injection of `members`; columns over_import_mw and over_export_mw, (1, T)."""
    both = terms.import_mw, terms.export_mw
    return exchange_limit(
        name or f"{NAME} {terms.id}", terms.id, both, terms.excess_eur_per_mwh, members, asset_ids, grid
    )


def exchange_limit(
    name: str, contract: str, most_mw: tuple[Limit, Limit], excess_eur_per_mwh: float,
    members: Sequence[str], asset_ids: Sequence[str], grid: TimeGrid,
) -> Block:  # fmt: skip
    """The block `name` of limits `most_mw` on import and export of `members`, each one MW or (T,), None for no limit.

    What is exceeded is read as over_import_mw and over_export_mw of `contract`.
    """
    total, one = group_rows(asset_ids, members, grid.n), eye(grid.n)
    cost, shape = excess_eur_per_mwh * grid.hours, (1, grid.n)
    sides = (("over_import_mw", most_mw[0], 1.0), ("over_export_mw", most_mw[1], -1.0))
    given = [(label, limit, sign) for label, limit, sign in sides if limit is not None]
    sizes = [grid.n] * len(given)
    columns = [Columns(label, shape, cost=cost, term="penalties") for label, _, _ in given]
    rows = [
        Rows(label.removeprefix("over_"), -limit, INF, stack(sizes, {k: one}, grid.n), sp.csr_array(sign * total))
        for k, (label, limit, sign) in enumerate(given)
    ]
    labels = tuple(label for label, _, _ in given)
    return Block(name, tuple(columns), tuple(rows), read=_reader(contract, labels, grid.n))


def _reader(contract: str, labels: Sequence[str], steps: int) -> Reader:
    def read(x: Array, duals: Mapping[str, Array]) -> dict[str, AssetResult]:
        parts = x.reshape(len(labels), steps)
        return {contract: AssetResult(decisions=dict(zip(labels, parts, strict=True)))}

    return read


def limits(contract: Contract, grid: TimeGrid) -> tuple[Array, Array]:
    """(lower, upper) net injection (T,) of the contract's assets; infinite where a side has no limit."""
    q: Terms = contract.terms
    least, most = -INF if q.import_mw is None else -q.import_mw, INF if q.export_mw is None else q.export_mw
    return np.full(grid.n, least), np.full(grid.n, most)


def blocks(trade: Trade) -> list[Block]:
    """One block a limit."""
    return [connection_limit(c.terms, c.assets, trade.asset_ids, trade.grid) for c in trade.of(NAME)]
