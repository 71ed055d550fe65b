"""The seam of the products: a market product or contract is a file that turns what is traded into `Block`s.

A module `dispatch/products/x.py` offers `NAME`, `Terms`, `KNOWN` and `blocks`, and has one line in
`dispatch/products/registry.py`. `Terms` is the product's definition in the portfolio's market.yaml (None where the
market has fields of its own for it); `KNOWN` names the trajectories a contract must bring along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dispatch.block import Block
from vpp.domain.errors import DataGap
from vpp.domain.time import Array, TimeGrid


class Scope(BaseModel):
    """Whom a contract binds: everything of these sites, metering points, trading units, and these assets."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sites: tuple[str, ...] = ()
    metering_points: tuple[str, ...] = ()
    trading_units: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _somebody(self) -> Scope:
        if not (self.sites or self.metering_points or self.trading_units or self.assets):
            raise ValueError("names nobody")
        return self


class ContractTerms(BaseModel):
    """What every definition in market.yaml has; each product adds its numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9:._-]*$", max_length=64)
    of: Scope


@dataclass(frozen=True)
class UnitPosition:
    """Firm net injection (T,) of a trading unit; NaN where nothing is firm yet.

    `error_mw` (K,T) are equally likely errors of what the unit is forecast to inject, None where they are not known.
    """

    unit: str
    assets: tuple[str, ...]
    mw: Array
    error_mw: Array | None = None


@dataclass(frozen=True)
class Call:
    """An order on `assets`: at least `baseline_mw` + `ordered_mw`, or, `down`, at most `baseline_mw` - `ordered_mw`.

    A MWh missed costs `missed`.
    """

    id: str
    assets: tuple[str, ...]
    baseline_mw: Array
    ordered_mw: Array
    missed_eur_per_mwh: float
    direction: Literal["up", "down"] = "up"


@dataclass(frozen=True)
class Contract:
    """One product definition with the assets it binds and the trajectories (T,) its product's `KNOWN` names."""

    product: str
    terms: Any
    assets: tuple[str, ...]
    known: Mapping[str, Array] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return str(self.terms.id)

    def trajectory(self, name: str, steps: int) -> Array:
        """`known[name]`. Raises DataGap where it is missing or of another length."""
        values = self.known.get(name)
        if values is None or np.shape(values) != (steps,):
            raise DataGap(f"{self.id}/{name}: missing")
        return values


@dataclass(frozen=True)
class Trade:
    """Everything a product may know; arrays are over `grid`, `kinds` are the blocks of the assets."""

    grid: TimeGrid
    asset_ids: tuple[str, ...]
    price_eur_per_mwh: Array
    fee_eur_per_mwh: Array
    deviation_factor: float
    consumers: tuple[str, ...] = ()
    positions: tuple[UnitPosition, ...] = ()
    calls: tuple[Call, ...] = ()
    contracts: tuple[Contract, ...] = ()
    kinds: tuple[Block, ...] = ()
    integers: bool = True
    """Whether a block may have integer columns; the real-time stage is convex."""

    def of(self, product: str) -> tuple[Contract, ...]:
        """The contracts of one product."""
        return tuple(c for c in self.contracts if c.product == product)


class Product(Protocol):
    """One product: a module that offers these names."""

    NAME: str
    Terms: type[ContractTerms] | None
    KNOWN: tuple[str, ...]

    def blocks(self, trade: Trade) -> Sequence[Block]:
        """Its blocks for everything in `trade` that is of this product."""
