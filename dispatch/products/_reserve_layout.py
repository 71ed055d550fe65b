"""The columns of `reserve`, whose module states the equations; one `Offer` is a contract in one direction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dispatch.block import INF, Block, Columns
from dispatch.headroom import Room, TwoWays
from vpp.domain.time import Array, TimeGrid

Side = Literal["up", "down"]
Ints = NDArray[np.int64]
OPPOSITE: Mapping[Side, Side] = {"up": "down", "down": "up"}
EPS_H = 1e-9


@dataclass(frozen=True)
class Numbers:
    """What the rows need of a product's definition."""

    contract: str
    most_mw: float
    activation_min: float
    sustain_h: float
    recovery_h: float
    penalty_eur_per_mw_h: float


@dataclass(frozen=True)
class Intervals:
    """Delivery intervals of a contract on the grid: `of_step` (T,) is the interval of a step or -1; the rest (G,).

    `firm_mw` is NaN where the gate is open; `start_h` and `end_h` count from the start of the grid.
    """

    of_step: Ints
    start_h: Array
    end_h: Array
    price_eur_per_mw_h: Array
    firm_mw: Array

    @property
    def count(self) -> int:
        return len(self.start_h)

    @property
    def hours(self) -> Array:
        return self.end_h - self.start_h


@dataclass(frozen=True)
class Offer:
    """One contract in one direction: `providers` are (block name, position in its assets, asset id)."""

    numbers: Numbers
    side: Side
    intervals: Intervals
    providers: tuple[tuple[str, int, str], ...]

    def label(self, group: str) -> str:
        """Name of a column group of this offer."""
        return f"{group} {self.side} {self.numbers.contract}"

    def within(self, block: str) -> Iterator[tuple[int, int]]:
        """(number among the providers, position in the block) of the providers in `block`."""
        return ((i, at) for i, (name, at, _) in enumerate(self.providers) if name == block)


def intervals_of(grid: TimeGrid, interval: Array, price_eur_per_mw_h: Array, firm_mw: Array) -> Intervals:
    """Numbers (T,) of delivery intervals, -1 for none; price and firm MW (T,) are constant in each."""
    edge = np.concatenate([[0.0], np.cumsum(grid.hours)])
    numbers = np.unique(interval[interval >= 0])
    of_step = np.where(interval >= 0, np.searchsorted(numbers, interval), -1).astype(np.int64)
    first = np.array([np.flatnonzero(of_step == g)[0] for g in range(len(numbers))], dtype=np.int64)
    last = np.array([np.flatnonzero(of_step == g)[-1] for g in range(len(numbers))], dtype=np.int64)
    return Intervals(of_step, edge[first], edge[last + 1], price_eur_per_mw_h[first], firm_mw[first])


class Layout:
    """Where each column group of the block begins; groups in the order of `columns`."""

    def __init__(
        self, offers: Sequence[Offer], rooms: Mapping[tuple[str, Side], Room], two_ways: Mapping[str, TwoWays],
        grid: TimeGrid, integers: bool = True,
    ) -> None:  # fmt: skip
        self.integers = integers
        self.offers, self.rooms, self.grid = tuple(offers), rooms, grid
        self.two_ways = {b: w for b, w in two_ways.items() if any(any(o.within(b)) for o in offers)}
        self.edge_h = np.concatenate([[0.0], np.cumsum(grid.hours)])
        self.columns = tuple(self._columns())
        ends = np.cumsum([0, *(c.size for c in self.columns)])
        self.size = int(ends[-1])
        self.start = {c.label: int(first) for c, first in zip(self.columns, ends, strict=False)}

    def room(self, o: Offer, provider: int) -> tuple[Room | None, int]:
        """The provider's room in the offer's direction, and its position there."""
        block, at, _ = o.providers[provider]
        return self.rooms.get((block, o.side)), at

    def machines(self, o: Offer) -> list[int]:
        """Providers that give all or nothing."""
        found = ((i, *self.room(o, i)) for i in range(len(o.providers)))
        return [i for i, room, at in found if room is not None and room.whole_mw[at] > 0.0]

    def switched(self, o: Offer) -> list[int]:
        """Providers that need to know whether they are sold at all."""
        found = ((i, *self.room(o, i)) for i in range(len(o.providers)))
        return [i for i, r, at in found if r is not None and (r.whole_mw[at] > 0.0 or r.relief_mwh[at] > 0.0)]

    def recovering(self, o: Offer) -> list[int]:
        """Providers that must take back what they gave."""
        found = ((i, *self.room(o, i)) for i in range(len(o.providers)))
        return [i for i, r, at in found if r is not None and r.stores[at] and r.whole_mw[at] <= 0.0]

    def held(self, o: Offer, provider: int, interval: Ints | int) -> Ints:
        """Columns of what a provider holds in intervals."""
        first = self.start[o.label("held_mw")] + provider * o.intervals.count
        return np.asarray(first + np.asarray(interval), dtype=np.int64)

    def called(self, o: Offer, provider: int) -> Ints:
        """Columns (G,) that say whether a switched provider is sold in an interval."""
        first = self.start[o.label("called")] + self.switched(o).index(provider) * o.intervals.count
        return np.arange(first, first + o.intervals.count)

    def spare(self, o: Offer, provider: int) -> Ints:
        """Columns (T,) of the power a provider keeps to recover."""
        first = self.start[o.label("spare_mw")] + self.recovering(o).index(provider) * self.grid.n
        return np.arange(first, first + self.grid.n)

    def _columns(self) -> Iterator[Columns]:
        """sold (once a contract), then short, held, called and spare of each direction."""
        seen: set[str] = set()
        for o in self.offers:
            q, v, n = o.numbers, o.intervals, len(o.providers)
            firm, once = np.isfinite(v.firm_mw), (1, v.count)
            if q.contract not in seen:
                seen.add(q.contract)
                low, high = np.where(firm, v.firm_mw, 0.0), np.where(firm, v.firm_mw, q.most_mw)
                yield Columns(f"sold_mw {q.contract}", once, low, high, -v.price_eur_per_mw_h * v.hours, term="reserve")
            cost, open_ = q.penalty_eur_per_mw_h * v.hours, np.where(firm, INF, 0.0)
            yield Columns(o.label("short_mw"), once, 0.0, open_, cost, term="penalties")
            gives = [INF if self.room(o, i)[0] is not None else 0.0 for i in range(n)]
            yield Columns(o.label("held_mw"), (n, v.count), 0.0, np.repeat(gives, v.count), term="reserve")
            if m := len(self.switched(o)):
                most = 1.0 if self.integers else 0.0
                yield Columns(o.label("called"), (m, v.count), 0.0, most, integer=self.integers, term="reserve")
            if m := len(self.recovering(o)):
                yield Columns(o.label("spare_mw"), (m, self.grid.n), term="reserve")
        busy = np.where(self.bound_steps(), 1.0, 0.0)
        for block in self.two_ways:
            m = len(self.positions(block))
            yield Columns(f"inward {block}", (m, self.grid.n), 0.0, np.tile(busy, m), integer=True, term="reserve")

    def positions(self, block: str) -> list[int]:
        """Positions in a block that are offered in anything."""
        return sorted({at for o in self.offers for _, at in o.within(block)})

    def bound_steps(self) -> NDArray[np.bool_]:
        """(T,) steps in which something is sold, or a call of it may have to be made good."""
        found = np.zeros(self.grid.n, dtype=bool)
        for o in self.offers:
            until = o.intervals.end_h + o.numbers.sustain_h + o.numbers.recovery_h
            for begin, end in zip(o.intervals.start_h, until, strict=True):
                found |= (self.edge_h[1:] > begin + EPS_H) & (self.edge_h[:-1] < end - EPS_H)
        return found


def two_ways_of(blocks: Sequence[Block]) -> dict[str, TwoWays]:
    """The blocks whose assets could waste energy by running both ways at once."""
    given = {b.name: b.headroom() for b in blocks if b.headroom is not None}
    return {name: h.two_ways for name, h in given.items() if h.two_ways is not None}


def rooms_of(blocks: Sequence[Block]) -> dict[tuple[str, Side], Room]:
    """The room of every block in each direction."""
    found: dict[tuple[str, Side], Room] = {}
    for b in blocks:
        if b.headroom is None:
            continue
        given = b.headroom()
        if given.up is not None:
            found[b.name, "up"] = given.up
        if given.down is not None:
            found[b.name, "down"] = given.down
    return found
