"""Demand charge: a price per MW of the highest quarter-hour mean import of a billing period.

    mean[q] = -(sum over steps t in quarter q of h[t, q] sum_i p_i[t]) / (sum over t of h[t, q])
    above[b] >= mean[q] - already[b]  for every quarter q of billing period b,      above >= 0
    cost = price_eur_per_mw above[b],       peak[b] = already[b] + above[b]

`already` is the peak that the period has set before, or will reach anyhow, whichever is larger: it is
sunk, so only what a plan adds to it costs. A quarter-hour that the grid begins or ends inside counts
with the part that is planned; in a step longer than a quarter every quarter has the step's mean.
Source: capacity-based network charges on the peak of the billing period as in D. S. Kirschen and
G. Strbac, "Fundamentals of Power System Economics", 2nd ed., Wiley 2018, and, in China, the two-part tariff
on maximum demand (NDRC order [2023] 526).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import Field

from dispatch.block import AssetResult, Block, Columns, Reader, Rows
from dispatch.problem import group_rows
from dispatch.product import ContractTerms, Trade
from vpp.domain.time import QUARTER, Array, TimeGrid, floor_to

NAME = "demand_charge"
KNOWN = ("period", "already_mw")
QUARTER_MIN = 15


class Terms(ContractTerms):
    """`price_eur_per_mw` for a whole billing period; `expected_peak_mw` is what the period will reach anyhow."""

    price_eur_per_mw: float = Field(ge=0.0)
    period: Literal["month", "year"] = "month"
    expected_peak_mw: float = Field(default=0.0, ge=0.0)


def quarter_means(grid: TimeGrid) -> tuple[sp.csr_array, NDArray[np.int64]]:
    """(Q,T) map from step means to quarter-hour means, equal rows once, and the first step (Q,) of each quarter."""
    first = floor_to(grid.start, QUARTER)
    offset = int((grid.start - first).total_seconds()) // 60
    edges = offset + np.concatenate([[0], np.cumsum(grid.minutes)])
    rows: list[int] = []
    cols: list[int] = []
    shares: list[float] = []
    starts: list[int] = []
    before: list[int] = []
    for q in range(-(-int(edges[-1]) // QUARTER_MIN)):
        low, high = q * QUARTER_MIN, (q + 1) * QUARTER_MIN
        inside = np.flatnonzero((edges[:-1] < high) & (edges[1:] > low))
        if inside.size == 1 and before == inside.tolist():
            continue
        before = inside.tolist()
        share = np.minimum(edges[inside + 1], high) - np.maximum(edges[inside], low)
        rows += [len(starts)] * inside.size
        cols += before
        shares += (share / share.sum()).tolist()
        starts.append(before[0])
    matrix = sp.csr_array(sp.coo_array((shares, (rows, cols)), shape=(len(starts), grid.n)))
    return matrix, np.array(starts, dtype=np.int64)


def demand_charge(
    terms: Terms, members: Sequence[str], asset_ids: Sequence[str], grid: TimeGrid, period: Array, already_mw: Array,
    name: str | None = None,
) -> Block:  # fmt: skip
    """`period` (T,) numbers the billing period of each step, `already_mw` (T,) is that period's sunk peak.

    One column above_mw (1, B), a billing period each.
    """
    mean, first = quarter_means(grid)
    numbers, at = np.unique(period[first].astype(int), return_inverse=True)
    sunk = np.array([already_mw[first[at == b]].max() for b in range(len(numbers))])
    above = Columns("above_mw", (1, len(numbers)), cost=terms.price_eur_per_mw, term="demand")
    pick = sp.csr_array((np.ones(at.size), (np.arange(at.size), at)), shape=(at.size, len(numbers)))
    imported = sp.csr_array(mean @ group_rows(asset_ids, members, grid.n))
    rows = Rows("peak", -sunk[at], np.inf, pick, imported)
    of_step = np.clip(np.searchsorted(numbers, period.astype(int)), 0, len(numbers) - 1)
    return Block(name or f"{NAME} {terms.id}", (above,), (rows,), read=_reader(terms.id, sunk, of_step))


def _reader(contract: str, sunk: Array, of_step: NDArray[np.intp]) -> Reader:
    def read(x: Array, duals: Mapping[str, Array]) -> dict[str, AssetResult]:
        return {contract: AssetResult(decisions={"peak_mw": (sunk + x)[of_step]})}

    return read


def blocks(trade: Trade) -> list[Block]:
    """One block a charge. The sunk peak is the larger of the known and the expected one."""
    found = []
    for c in trade.of(NAME):
        period, already = (c.trajectory(name, trade.grid.n) for name in KNOWN)
        sunk = np.maximum(already, c.terms.expected_peak_mw)
        found.append(demand_charge(c.terms, c.assets, trade.asset_ids, trade.grid, period, sunk))
    return found
