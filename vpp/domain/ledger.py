"""Headroom sold: over all products a MW is claimed once, and a claim beyond what is left is refused by name.

Every asset can inject between `low_mw` and `high_mw`. A claim on a group of assets is either

    a set-point   energy sold, or a demand-response order: the group is to inject `from_mw` + `mw`
    a reserve     `mw` more (up) or less (down) than wherever the set-point is, on top of it

Set-points of different products state the same injection and are met by the same MW (a site that delivers an order
also delivers the energy of its unit); those of one product add up where their groups meet. Reserves add up over all
products, and stand on top of every set-point, so for a group S and every set-point claim c of a product p on S

    from_c + sum of mw over p's claims that meet S + sum of reserve up   on assets of S  <=  sum of high on S
    from_c + sum of mw over p's claims that meet S - sum of reserve down on assets of S  >=  sum of low on S

with, for a reserve alone, the range of its own asset. A claim on part of a group counts in full against all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from vpp.domain.errors import SoldTwice
from vpp.domain.time import Array, TimeGrid, rfc3339

TOLERANCE_MW = 1e-3
Direction = Literal["up", "down"]


@dataclass(frozen=True)
class Claim:
    """`mw` (T,) of `product` on `assets`; `from_mw` (T,) where it is a set-point, None for a reserve of one asset.

    NaN claims nothing in that step. A set-point is an upper bound on what is left up and a lower one down.
    """

    id: str
    product: str
    assets: tuple[str, ...]
    mw: Array
    direction: Direction = "up"
    from_mw: Array | None = None


@dataclass(frozen=True)
class Ledger:
    """What can be injected and what is claimed of it, over `grid`; `low_mw` and `high_mw` are (T,) by asset."""

    grid: TimeGrid
    low_mw: Mapping[str, Array]
    high_mw: Mapping[str, Array]
    claims: tuple[Claim, ...] = field(default=())

    def left_mw(self, claim: Claim) -> Array:
        """(T,) what of `claim` could still be had, MW; its own `mw` is not looked at."""
        if claim.from_mw is not None:
            room = self._range(claim.assets, claim.direction) - _signed(claim.from_mw, claim.direction)
            left = room - self._points(claim.product, claim.assets, claim.direction)
            return left - self._reserve(claim.assets, claim.direction)
        own = set(claim.assets)
        left = self._sum(self.high_mw, claim.assets) - self._sum(self.low_mw, claim.assets)
        left = left - self._reserve(claim.assets, claim.direction)
        for point in (c for c in self.claims if c.from_mw is not None and own & set(c.assets)):
            bound = self._range(point.assets, claim.direction) - self._level(point, claim.direction)
            left = np.fmin(left, bound - self._reserve(point.assets, claim.direction))
        return left

    def with_claim(self, claim: Claim) -> Ledger:
        """The ledger with one claim more. Raises SoldTwice, naming who holds the rest, where it exceeds what is left."""
        over = np.nan_to_num(claim.mw - self.left_mw(claim), nan=-np.inf)
        t = int(np.argmax(over))
        if over[t] > TOLERANCE_MW:
            held = ", ".join(c.id for c in self.claims if set(c.assets) & set(claim.assets)) or "nobody"
            raise SoldTwice(
                f"{claim.id}: {claim.mw[t]:.3f} MW of {claim.product} {claim.direction} at "
                f"{rfc3339(self.grid.starts[t])}, {max(0.0, claim.mw[t] - over[t]):.3f} MW left beside {held}"
            )
        return replace(self, claims=(*self.claims, claim))

    def with_claims(self, claims: Iterable[Claim]) -> Ledger:
        """One after the other. Raises SoldTwice at the first that exceeds what is left."""
        book = self
        for claim in claims:
            book = book.with_claim(claim)
        return book

    def bounds_mw(self, assets: Sequence[str]) -> tuple[Array, Array]:
        """(T,) least and most a group may be sold to inject, beside the reserve that its assets hold."""
        low, high = self._sum(self.low_mw, assets), self._sum(self.high_mw, assets)
        return low + self._reserve(assets, "down"), high - self._reserve(assets, "up")

    def _sum(self, of: Mapping[str, Array], assets: Iterable[str]) -> Array:
        return sum((np.asarray(of[a], dtype=float) for a in assets), np.zeros(self.grid.n))

    def _range(self, assets: Sequence[str], direction: Direction) -> Array:
        """How far a group can be moved in a direction, as a level of its injection, or its negative downwards."""
        return self._sum(self.high_mw, assets) if direction == "up" else -self._sum(self.low_mw, assets)

    def _reserve(self, assets: Iterable[str], direction: Direction) -> Array:
        """Reserve held on assets of a group."""
        own = set(assets)
        held = (c.mw for c in self.claims if c.from_mw is None and c.direction == direction and own & set(c.assets))
        return sum((np.nan_to_num(mw) for mw in held), np.zeros(self.grid.n))

    def _points(self, product: str, assets: Sequence[str], direction: Direction) -> Array:
        """Set-point claims of a product that meet a group."""
        own = set(assets)
        met = (
            c.mw
            for c in self.claims
            if c.from_mw is not None and c.product == product and c.direction == direction and own & set(c.assets)
        )
        return sum((np.nan_to_num(mw) for mw in met), np.zeros(self.grid.n))

    def _level(self, point: Claim, direction: Direction) -> Array:
        """Where a set-point claim and those beside it put their group, NaN where it claims nothing."""
        assert point.from_mw is not None
        level = point.from_mw + self._points(point.product, point.assets, point.direction)
        return np.where(np.isnan(point.mw), np.nan, _signed(level, direction))


def _signed(level_mw: Array, direction: Direction) -> Array:
    return level_mw if direction == "up" else -level_mw
