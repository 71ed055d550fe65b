"""Headroom sold: over all products a MW is claimed once, and a claim beyond what is left is refused by name.

Every asset can inject between `low_mw` and `high_mw`. A claim on a group of assets is either

    a set-point   energy sold, or a demand-response order: the group is to inject `from_mw` + `mw`
    a reserve     `mw` more (up) or less (down) than wherever the set-point is, on top of it

Set-points of different products state the same injection and are met by the same MW (a site that delivers an order
also delivers the energy of its unit); those of one product add up where their groups meet. Reserves add up over all
products, and stand on top of every set-point, so for a group S and every set-point claim c of a product p on S

    from_c + sum of mw over p's claims that meet S + sum of reserve up   on assets of S  <=  sum of high on S
    from_c + sum of mw over p's claims that meet S - sum of reserve down on assets of S  >=  sum of low on S

with, for reserve alone, up and down together inside the range of its asset. A claim on part of a group counts in
full against all of it.
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

    NaN claims nothing in that step. `direction` is that of a reserve.
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
        """(T,) the most MW `claim` could have here; its own `mw` is not looked at."""
        if claim.from_mw is not None:
            return self.bounds_mw(claim.assets)[1] - self._level(claim)
        low, high = self.bounds_mw(claim.assets)
        left = high - low
        for point in (c for c in self.claims if c.from_mw is not None and set(c.assets) & set(claim.assets)):
            low, high = self.bounds_mw(point.assets)
            level = np.where(np.isnan(point.mw), np.nan, self._level(point))
            left = np.fmin(left, high - level if claim.direction == "up" else level - low)
        return left

    def least_mw(self, claim: Claim) -> Array:
        """(T,) the least MW a set-point could have here, negative where it may go below its `from_mw`."""
        return self.bounds_mw(claim.assets)[0] - self._level(claim)

    def require_reach(self, claim: Claim) -> None:
        """Raises SoldTwice where a set-point asks for more than is left in the direction of its `mw`.

        Unlike an exact set-point it may be exceeded in that direction, so the other bound does not count.
        """
        most, least = self.left_mw(claim), self.least_mw(claim)
        self._refuse(claim, np.where(claim.mw > 0.0, claim.mw - most, np.nan), most)
        self._refuse(claim, np.where(claim.mw < 0.0, least - claim.mw, np.nan), least)

    def with_claim(self, claim: Claim) -> Ledger:
        """The ledger with one claim more. Raises SoldTwice where it exceeds what is left, naming who holds the rest."""
        left = self.left_mw(claim)
        self._refuse(claim, claim.mw - left, left)
        if claim.from_mw is not None:
            least = self.least_mw(claim)
            self._refuse(claim, least - claim.mw, least)
        return replace(self, claims=(*self.claims, claim))

    def _refuse(self, claim: Claim, over_mw: Array, limit_mw: Array) -> None:
        over = np.nan_to_num(over_mw, nan=-np.inf)
        t = int(np.argmax(over))
        if over[t] > TOLERANCE_MW:
            held = ", ".join(c.id for c in self.claims if set(c.assets) & set(claim.assets)) or "nobody"
            raise SoldTwice(
                f"{claim.id}: {claim.mw[t]:.3f} MW of {claim.product} at {rfc3339(self.grid.starts[t])}, "
                f"the limit is {limit_mw[t]:.3f} MW beside {held}"
            )

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

    def _reserve(self, assets: Iterable[str], direction: Direction) -> Array:
        """Reserve held on assets of a group."""
        own = set(assets)
        held = (c.mw for c in self.claims if c.from_mw is None and c.direction == direction and own & set(c.assets))
        return sum((np.nan_to_num(mw) for mw in held), np.zeros(self.grid.n))

    def _level(self, point: Claim) -> Array:
        """Where the set-points of a product put a group, beside or with `point` itself if it is claimed already."""
        assert point.from_mw is not None
        own = set(point.assets)
        points = (c for c in self.claims if c.from_mw is not None and c.product == point.product)
        met = (c.mw for c in points if own & set(c.assets))
        return sum((np.nan_to_num(mw) for mw in met), np.asarray(point.from_mw, dtype=float))
