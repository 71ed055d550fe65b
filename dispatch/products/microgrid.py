"""Microgrid: a nested portfolio behind one connection, with limits of its own, that may island.

Its members are ordinary assets with their own kinds, meters, devices and states, and they trade through their
own unit. What makes them a microgrid is one statement about the sum of their injections, the exchange. So it
is a contract over a scope, as a connection limit is, and not a kind: a kind would have to hold the parameters,
states and devices of other kinds inside its own, twice over in every room of the house.

With separate[t] in {0, 1}, 1 where the connection is open, and step length h (hours):

    -import_mw (1 - separate) <= sum_i p_i + unserved - unused <= export_mw (1 - separate)
    begun[t] >= separate[t] - separate[t-1],       unserved, unused, begun >= 0
    cost = h (island_eur_per_h separate + excess_eur_per_mwh (unserved + unused)) + separation_eur begun

In an announced `outage` the connection is open; elsewhere the microgrid opens it only where it `may_island`,
which pays where somebody pays for it (`island_eur_per_h` below zero, a demand-response programme for one). Then
an island lasts `shortest_island_h` at least, and no more than `islands_per_day` begin in a day:

    sum of begun[s] over s <= t that began less than shortest_island_h ago <= separate[t]
    sum of begun in each 24 h from the start of the grid <= islands_per_day

`unserved` and `unused` (MW) are priced as an excess of a connection limit is, so that an island which its
members cannot balance sheds as little as possible. The balance inside a step is the island controller's work.
Source: the islanding indicator that closes the exchange, of A. Khodaei, "Microgrid optimal scheduling with
multi-period islanding constraints", IEEE Trans. Power Systems 29 (3), 2014; shortest islands as minimum up
times of D. Rajan and S. Takriti, IBM Research Report RC23628, 2005.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from dispatch.block import INF, AssetResult, Block, Columns, Reader, Rows, eye, previous, stack
from dispatch.problem import group_rows
from dispatch.product import Contract, ContractTerms, Trade
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array, TimeGrid

NAME = "microgrid"
KNOWN: tuple[str, ...] = ()
EXCESS_EUR_PER_MWH = 20_000.0
DAY_MIN = 1440.0
SEPARATE, BEGUN, UNSERVED, UNUSED = range(4)
LABELS = ("separate", "begun", "unserved_mw", "unused_mw")


class Outage(BaseModel):
    """The connection is open over [start, end)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: AwareDatetime
    end: AwareDatetime

    @model_validator(mode="after")
    def _in_order(self) -> Outage:
        if self.start >= self.end:
            raise ValueError("start does not lie before end")
        return self


class Terms(ContractTerms):
    """Limits are positive MW; `island_eur_per_h` is spent while the connection is open, earned below zero."""

    import_mw: float = Field(ge=0.0)
    export_mw: float = Field(ge=0.0)
    outages: tuple[Outage, ...] = ()
    may_island: bool = False
    island_eur_per_h: float = 0.0
    separation_eur: float = Field(default=0.0, ge=0.0)
    shortest_island_h: float = Field(default=0.0, ge=0.0, le=24.0)
    islands_per_day: int = Field(default=1, ge=1)
    excess_eur_per_mwh: float = Field(default=EXCESS_EUR_PER_MWH, gt=0.0)

    def open(self, grid: TimeGrid) -> NDArray[np.bool_]:
        """(T,) steps that an announced outage touches."""
        edges = grid.edges
        touched = [any(o.start < after and before < o.end for o in self.outages) for before, after in pairwise(edges)]
        return np.array(touched, dtype=bool)

    def was_open(self, at: datetime) -> bool:
        """Whether the connection is open just before `at`."""
        return any(o.start < at <= o.end for o in self.outages)


def microgrid(
    terms: Terms, members: Sequence[str], asset_ids: Sequence[str], grid: TimeGrid, separate: Array | None = None,
    integers: bool = True,
) -> Block:  # fmt: skip
    """The exchange of `members`; `separate` (T,) is 0 or 1 where the stage above has decided and NaN where it is free.

    Columns separate, begun, unserved_mw, unused_mw, (1, T) each; separate is integer where something is free. Without
    `integers`, in a convex stage, it islands only where it must.
    """
    lower, upper = _decided(terms, grid, separate)
    upper = upper if integers else lower
    shape, excess = (1, grid.n), terms.excess_eur_per_mwh * grid.hours
    free, island = bool((lower < upper).any()), terms.island_eur_per_h * grid.hours
    columns = (
        Columns("separate", shape, lower, upper, island, integer=free, term="fee"),
        Columns("begun", shape, 0.0, 1.0, terms.separation_eur, term="starts"),
        Columns("unserved_mw", shape, cost=excess, term="penalties"),
        Columns("unused_mw", shape, cost=excess, term="penalties"),
    )
    sizes, one = [grid.n] * len(columns), eye(grid.n)
    total = sp.csr_array(group_rows(asset_ids, members, grid.n))
    balance = {UNSERVED: one, UNUSED: sp.csr_array(-one)}
    at_import, at_export = (sp.csr_array(sign * one) for sign in (-terms.import_mw, terms.export_mw))
    change = np.zeros(grid.n)
    change[0] = -float(terms.was_open(grid.start))
    rows = [
        Rows("import", -terms.import_mw, INF, stack(sizes, {SEPARATE: at_import, **balance}, grid.n), total),
        Rows("export", -INF, terms.export_mw, stack(sizes, {SEPARATE: at_export, **balance}, grid.n), total),
        Rows("begun", change, INF, stack(sizes, {BEGUN: one, SEPARATE: previous(1, grid.n) - one}, grid.n)),
        *_island_rows(terms, grid, sizes, lower),
    ]
    return Block(f"{NAME} {terms.id}", columns, tuple(rows), read=_reader(terms.id, grid.n))


def _decided(terms: Terms, grid: TimeGrid, separate: Array | None) -> tuple[Array, Array]:
    """(T,) bounds of separate: announced outages, then what is decided above, then what is allowed."""
    given = np.full(grid.n, np.nan) if separate is None else np.asarray(separate, dtype=float)
    lower = np.where(np.isfinite(given), given, 0.0)
    upper = np.where(np.isfinite(given), given, float(terms.may_island))
    outage = terms.open(grid)
    return np.where(outage, 1.0, lower), np.where(outage, 1.0, upper)


def _island_rows(terms: Terms, grid: TimeGrid, sizes: Sequence[int], forced: Array) -> list[Rows]:
    """Shortest island and islands a day; what is announced or decided above lifts them."""
    begin = np.concatenate([[0.0], np.cumsum(grid.minutes[:-1], dtype=float)])
    age = begin[:, None] - begin[None, :]
    young = (age >= 0.0) & (age < max(60.0 * terms.shortest_island_h, 1e-6)) & (forced == 0.0)[None, :]
    day = (begin // DAY_MIN).astype(int)
    in_day = (day == np.arange(day[-1] + 1)[:, None]).astype(float)
    started = np.maximum(np.diff(np.concatenate([[float(terms.was_open(grid.start))], forced])), 0.0)
    most = np.maximum(terms.islands_per_day, in_day @ started)
    lasting = {BEGUN: sp.csr_array(young.astype(float)), SEPARATE: sp.csr_array(-eye(grid.n))}
    return [
        Rows("shortest_island", -INF, 0.0, stack(sizes, lasting, grid.n)),
        Rows("islands_per_day", -INF, most, stack(sizes, {BEGUN: sp.csr_array(in_day)}, len(most))),
    ]


def _reader(contract: str, steps: int) -> Reader:
    def read(x: Array, duals: Mapping[str, Array]) -> dict[str, AssetResult]:
        told = dict(zip(LABELS, x.reshape(len(LABELS), steps), strict=True))
        told["separate"] = np.rint(told["separate"])
        return {contract: AssetResult(decisions={k: v for k, v in told.items() if k != "begun"})}

    return read


def blocks(trade: Trade) -> list[Block]:
    """One block a microgrid."""
    ids, grid = trade.asset_ids, trade.grid
    return [
        microgrid(c.terms, c.assets, ids, grid, c.known.get("separate"), trade.integers) for c in trade.of(NAME)
    ]  # fmt: skip


def as_planned(contract: Contract, upper: Schedule, grid: TimeGrid) -> Contract:
    """The contract with the islands that the stage above has planned; free where its schedule says nothing."""
    told = upper.products.get(contract.id, {}).get("separate")
    if told is None:
        return contract
    separate = np.rint(grid.sample(upper.grid, np.asarray(told)))
    return replace(contract, known={**contract.known, "separate": separate})


def limits(contract: Contract, grid: TimeGrid) -> tuple[Array, Array]:
    """(lower, upper) exchange (T,) of a microgrid that islands only where it must."""
    closed = 1.0 - _decided(contract.terms, grid, contract.known.get("separate"))[0]
    return -contract.terms.import_mw * closed, contract.terms.export_mw * closed
