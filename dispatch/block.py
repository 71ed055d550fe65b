"""The one seam of the optimisation: an asset kind or a product states itself as a `Block`.

A block holds labelled column groups and sparse rows. Rows may use the block's own columns (`own`)
the net injections of all assets (`injection`) and the columns of other blocks by name (`across`);
the map `power` gives the injection of the block's assets from its columns:

    lower <= own @ x + injection @ p + sum over blocks b of across[b] @ x_b <= upper
    p[assets] = power @ x + power_offset

where p stacks the injections of all assets, MW, asset-major: entry asset * T + t. The variables are
x in [lower, upper], the objective is the sum of cost * x + offset, and money spent is positive.
`problem` stacks the blocks; every door reads the stacked problem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from dispatch.headroom import Headroom
from dispatch.sparse import eye as eye
from dispatch.sparse import previous as previous
from dispatch.sparse import stack as stack
from vpp.domain.errors import Fault
from vpp.domain.portfolio import Asset, AssetState, Control
from vpp.domain.time import Array, TimeGrid

INF = float("inf")


@dataclass(frozen=True)
class Columns:
    """A labelled group of variables of shape (n, T), flattened row-major; arrays broadcast to it.

    `cost` is money per unit of the variable; `term` names the cost in the breakdown
    (energy, deviation, starts, wear, fuel, missed_production, penalties, stored_energy, comfort, fee,
    demand, reserve).
    """

    label: str
    shape: tuple[int, int]
    lower: Array | float = 0.0
    upper: Array | float = INF
    cost: Array | float = 0.0
    integer: bool = False
    term: str = "energy"

    @property
    def size(self) -> int:
        return self.shape[0] * self.shape[1]


@dataclass(frozen=True)
class Rows:
    """Labelled constraints; `own` is (m, block columns), `injection` (m, N*T) or None; `names` label single rows.

    `across[block]` is (m, columns of that block), a block stacked before this one or beside it. A stacked problem
    keeps its blocks' rows without the matrices that it holds itself; `stacked` is then their number.
    """

    label: str
    lower: Array | float
    upper: Array | float
    own: sp.csr_array | None = None
    injection: sp.csr_array | None = None
    names: tuple[str, ...] = ()
    across: Mapping[str, sp.csr_array] = field(default_factory=dict)
    stacked: int | None = None

    @property
    def size(self) -> int:
        matrix = self.own if self.own is not None else self.injection
        if matrix is not None:
            return int(matrix.shape[0])
        if self.stacked is None:
            raise ValueError(f"rows {self.label} have no matrix")
        return self.stacked


Trajectories = Mapping[str, Array]


@dataclass(frozen=True)
class AssetResult:
    """What power does not determine, read back from the columns of one asset.

    `power_mw` (T,) is the injection of one of several identical machines, where the block's map spreads their sum.
    """

    commitment: Array | None = None
    stored_mwh: Array | None = None
    marginal_value: Array | None = None
    decisions: Trajectories = field(default_factory=dict)
    power_mw: Array | None = None


class Reader(Protocol):
    """Reads per-asset results out of a block's columns `x` and the duals of its rows by label."""

    def __call__(self, x: Array, duals: Mapping[str, Array]) -> Mapping[str, AssetResult]: ...


def nothing_to_read(x: Array, duals: Mapping[str, Array]) -> Mapping[str, AssetResult]:
    """Reader of blocks whose power says everything."""
    return {}


@dataclass(frozen=True)
class Block:
    """Columns, rows and the injection of `assets` (ids); `power` is (len(assets)*T, columns) or None.

    `headroom()` says what the assets can give beyond their set-point, when reserve asks; without it they sell
    none. What a product's reader finds under the product's own id goes into the schedule's `products`.
    """

    name: str
    columns: tuple[Columns, ...]
    rows: tuple[Rows, ...]
    assets: tuple[str, ...] = ()
    power: sp.csr_array | None = None
    power_offset: Array | float = 0.0
    offset: float = 0.0
    read: Reader = nothing_to_read
    headroom: Callable[[], Headroom] | None = None
    hinted: Callable[[Mapping[str, Array]], Array | None] | None = None
    """The block's columns with the integers at known commitments (T,) by asset, None where they do not say; needed
    where the integers are not one commitment per asset and step."""
    two_ways: Array | None = None
    """Round trip of each store (n, 1) where column groups `charge` and `discharge` (n, T) exclude each other
    (see `one_way`)."""
    joins: tuple[str, ...] = ()
    """Names of kinds' blocks that the columns and rows of a block without assets extend."""


def lean(blocks: Iterable[Block], by_column: Sequence[Array], by_row: Sequence[Array]) -> list[Block]:
    """`blocks` whose numbers are views of the stacked `by_column` (cost, lower, upper) and `by_row` (lower, upper).

    The matrices of their rows other than `injection` are left out: they lie in the stacked matrix.
    """
    found, column, row = [], 0, 0
    for block in blocks:
        columns, rows = [], []
        for group in block.columns:
            cost, lower, upper = (values[column : column + group.size] for values in by_column)
            columns.append(replace(group, cost=cost, lower=lower, upper=upper))
            column += group.size
        for band in block.rows:
            lower, upper = (values[row : row + band.size] for values in by_row)
            rows.append(replace(band, lower=lower, upper=upper, own=None, across={}, stacked=band.size))
            row += band.size
        found.append(replace(block, columns=tuple(columns), rows=tuple(rows)))
    return found


@dataclass(frozen=True)
class EndValue:
    """Stepwise value of energy stored at the end: segments of `width_mwh` worth `value` per MWh, non-increasing."""

    width_mwh: Array
    value: Array


@dataclass(frozen=True)
class Context:
    """Everything a block may know besides its assets' parameters.

    `inputs[asset][name]` are exogenous trajectories (T,) named by the kind; `committed[asset]` (T,)
    is 0 or 1 where the commitment is fixed from above and -1 where it is free; `end_value[asset]`
    replaces a hard end level. `lowest_value_eur_per_mwh` (T,) is the least that a MWh of injection can be worth
    by price and deviation: where it is negative, wasting energy may pay. None: it never does, or no integer is
    allowed (real time). What limits make of it only a plan knows (see `one_way`). `units[asset]` is the number of
    identical machines it stands for (1).
    """

    grid: TimeGrid
    issued_at: datetime
    states: Mapping[str, AssetState]
    inputs: Mapping[str, Mapping[str, Array]]
    committed: Mapping[str, NDArray[np.int8]] = field(default_factory=dict)
    end_value: Mapping[str, EndValue] = field(default_factory=dict)
    lowest_value_eur_per_mwh: Array | None = None
    units: Mapping[str, int] = field(default_factory=dict)


class Kind(Protocol):
    """One asset kind: a module `dispatch/assets/x.py` that offers these names, plus one registry line."""

    NAME: str
    Params: type
    INPUTS: tuple[str, ...]
    """Exogenous inputs every asset of the kind needs in `Context.inputs`."""
    CONTROL: Control
    """How an asset is controlled unless its entry says otherwise."""
    GENERATES: bool
    """Whether it feeds in; the others pay the grid fee on what they consume."""
    FOLLOWS: Mapping[str, float]
    """MW of injection per unit of each input that the asset follows by itself; what it offers (positive)
    can be limited by a command, what it takes (negative) cannot."""
    NEVER_OFF: str
    """Why an asset that takes power commands cannot be held at zero; empty where it can."""

    def block(self, fleet: Sequence[Asset], context: Context) -> Block:
        """The physics of `fleet` over `context.grid`."""

    def default_mw(self, asset: Asset, state: AssetState | None, inputs: Mapping[str, Array], grid: TimeGrid) -> Array:
        """Injection (T,) the device falls back to when it hears nothing."""

    def merit_mw(
        self, asset: Asset, default: Array, inputs: Mapping[str, Array], grid: TimeGrid, price_eur_per_mwh: Array
    ) -> Array:
        """Injection (T,) the asset would choose if it saw nothing but the price; `default` is that of `default_mw`."""

    def reach_mw(self, params: Any) -> tuple[float, float] | None:
        """(lowest, highest) injection a command can ask for; None for an asset that takes no power command."""

    def window(self, params: Any) -> tuple[float, float] | None:
        """Bounds of the content of an asset's own store, MWh in the kind's own energy; None without one."""

    def store(self, asset: Asset) -> tuple[str, float] | None:
        """Name and capacity, MWh in the kind's own energy, of the store an asset works on, alone or with others."""

    def fleet_faults(self, assets: Sequence[Asset], stored_mwh: Mapping[str, float]) -> Iterable[Fault]:
        """What is wrong between assets of the kind, `stored_mwh` being what each begins with."""


def per_step(values: Sequence[float] | Array, steps: int) -> Array:
    """One value per asset repeated over its steps, (n*T,)."""
    return np.repeat(np.asarray(values, dtype=float), steps)
