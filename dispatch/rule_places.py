"""Where an operator's names live in the stacked problem: (asset, what, step) -> column, injection or constant.

Power is the asset's net injection, whatever columns make it. Commitment and content are the columns that
the block's own reader reports them from, found by reading three made-up points,

    r(0) = offset,   r(1) = offset + factor,   r(x) = offset + factor * x[j]  with  x[j] = j + 2,

so a rule speaks of exactly what a schedule says, for kinds that share a store too; what a reader computes
from several columns has no place and is refused by name. An asset that this stage does not decide on is
a constant: its given power, and on where that is not zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dispatch.block import AssetResult, Block
from dispatch.problem import groups
from dispatch.rules import Faulty
from vpp.domain.time import Array, TimeGrid

RUNS_MW = 1e-3
EXACT = 1e-6


@dataclass(frozen=True)
class Place:
    """`value` = constant + factor * (column, or injection at index, or nothing)."""

    factor: float = 0.0
    column: int | None = None
    injection: int | None = None
    constant: float = 0.0


@dataclass
class Places:
    """Places in the problem that `blocks` will be stacked to, found when they are first asked for."""

    grid: TimeGrid
    asset_ids: Sequence[str]
    blocks: Sequence[Block]
    _reported: dict[tuple[str, str], tuple[Array, Array, Array]] = field(default_factory=dict)
    _probed: set[int] = field(default_factory=set)
    _indexed: dict[int, Mapping[str, AssetResult]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._position = {a: i for i, a in enumerate(self.asset_ids)}
        self._owner = {a: k for k, block in enumerate(self.blocks) for a in block.assets}
        self._within = {a: i for block in self.blocks for i, a in enumerate(block.assets)}
        sizes = [sum(c.size for c in block.columns) for block in self.blocks]
        self._start = [0, *np.cumsum(sizes).tolist()]

    @property
    def columns(self) -> int:
        """Number of columns of all blocks."""
        return int(self._start[-1])

    def of(self, asset: str, what: str, t: int) -> Place:
        """The place of a name. Raises Faulty where the asset has no such quantity here."""
        if what == "power_mw":
            return self._injection(asset, t)
        number = self._owner[asset]
        block = self.blocks[number]
        if block.power is None:
            return self._given(block, asset, what, t)
        if what in ("start", "stop"):
            return Place(1.0, column=self._beside_on(number, asset, what, t))
        if what == "on" and (plain := self._labelled(number, asset, t)) is not None:
            return plain
        self._probe(number)
        found = self._reported.get((asset, what))
        if found is None:
            raise Faulty(f"{asset} has no {what} to rule: {block.name} does not decide it in one column")
        column, factor, offset = found
        return Place(float(factor[t]), column=int(column[t]), constant=float(offset[t]))

    def _injection(self, asset: str, t: int) -> Place:
        block = self.blocks[self._owner[asset]]
        if block.power is None:
            return Place(constant=float(self._given_mw(block, asset)[t]))
        return Place(1.0, injection=self._position[asset] * self.grid.n + t)

    def _given_mw(self, block: Block, asset: str) -> Array:
        power = np.broadcast_to(np.asarray(block.power_offset, dtype=float), (len(block.assets) * self.grid.n,))
        at = block.assets.index(asset) * self.grid.n
        return power[at : at + self.grid.n]

    def _given(self, block: Block, asset: str, what: str, t: int) -> Place:
        """What is known of an asset decided elsewhere; its content is not."""
        if what == "stored_mwh":
            raise Unseen(f"{asset} is not decided here, so its content is not known")
        runs = np.abs(self._given_mw(block, asset)) > RUNS_MW
        if what == "on":
            return Place(constant=float(runs[t]))
        if t == 0:
            raise Unseen(f"{asset} is not decided here, so it is not known whether it has just switched")
        return Place(constant=float(runs[t] != runs[t - 1] and runs[t] == (what == "start")))

    def _beside_on(self, number: int, asset: str, what: str, t: int) -> int:
        on = self.of(asset, "on", t).column
        block, first = self.blocks[number], self._start[number]
        placed = list(groups(block, first))
        held = next((g, s) for g, s in placed if on is not None and s <= on < s + g.size)
        for group, start in placed:
            if group.label == what and group.shape == held[0].shape and on is not None:
                return start + on - held[1]
        raise Faulty(f"{asset} has no {what}: a {block.name} does not count them")

    def _labelled(self, number: int, asset: str, t: int) -> Place | None:
        """The column of a group `on` with one row per asset, where one reading shows that it is what is reported."""
        block = self.blocks[number]
        if number not in self._indexed:
            self._indexed[number] = block.read(_index(block), {})
        for group, start in groups(block, self._start[number]):
            if group.label == "on" and group.shape == (len(block.assets), self.grid.n):
                own = start + self._within[asset] * self.grid.n
                told = self._indexed[number].get(asset, AssetResult()).commitment
                if told is not None and told[t] == own + t - self._start[number] + 2:
                    return Place(1.0, column=own + t)
        return None

    def _probe(self, number: int) -> None:
        """What the reader of a block reports, as column, factor and offset per step; nothing where it is no column."""
        block, first = self.blocks[number], self._start[number]
        if number in self._probed:
            return
        self._probed.add(number)
        index = _index(block)
        zero, one, at, squared = (block.read(x, {}) for x in (0.0 * index, np.ones(len(index)), index, index**2))
        for asset in zero:
            for what, attribute in (("on", "commitment"), ("stored_mwh", "stored_mwh")):
                rows = [_row(r[asset], attribute) for r in (zero, one, at, squared)]
                offset, factor = rows[0], rows[1] - rows[0]
                if not offset.size or (np.abs(factor) < EXACT).any():
                    continue
                column = (rows[2] - offset) / factor
                whole = np.abs(column - np.rint(column)) < EXACT * np.maximum(1.0, column)
                square = np.allclose(rows[3], offset + factor * column**2, rtol=1e-9)
                if whole.all() and (column > 1.5).all() and square:
                    self._reported[asset, what] = first + np.rint(column).astype(np.int64) - 2, factor, offset


class Unseen(LookupError):
    """A quantity of an asset that this stage neither decides nor knows; rows that need it are left out."""


def _index(block: Block) -> Array:
    """x[j] = j + 2."""
    return np.arange(2.0, sum(c.size for c in block.columns) + 2.0)


def _row(result: AssetResult, attribute: str) -> Array:
    value = getattr(result, attribute)
    return np.empty(0) if value is None else np.asarray(value, dtype=float)
