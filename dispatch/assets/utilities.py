"""Utilities of a high-tech plant: the process load is fixed, what serves it is flexible inside a band.

Utility u (chillers, compressed air, pure water) serves its share of the plant's utility need out of a store of
capacity C_u (MWh of its own electricity: cold, pressure, clean water). The plant's own control keeps all stores
at one fill, so one metered content x (MWh) describes them, C_u / sum of C of it standing in store u. With power
p_u (MW), step length h (hours), and the slacks lacking_u, wasted_u (MWh a step) at PENALTY_EUR_PER_MWH:

    min_u <= p_u <= max_u,        0 <= x <= sum of C_u,       injection = -(process + sum of p_u)
    C_u / sum of C (x[t] - (1 - loss h) x[t-1]) = h (p_u - share_u utilities) + lacking_u - wasted_u
    (1 - band) (process + utilities) <= process + sum of p_u <= (1 + band) (process + utilities)

The last line is what the plant allows of its whole load, as far as its machines can keep it.
Source: one common state of charge for stores that are charged in proportion, as in J. L. Mathieu, M. Kamgarpour,
J. Lygeros, G. Andersson and D. S. Callaway, "Arbitraging intraday wholesale energy market prices with
aggregations of thermostatic loads", IEEE Trans. Power Systems 30 (2), 2015; shares of clean-room utilities in
S.-C. Hu and Y. K. Chuah, "Power consumption of semiconductor fabs in Taiwan", Energy 28 (8), 2003.
A plant out of service for us follows its own control: its load is fixed to the default.

It sells no reserve: the plant is commanded by its whole load, and its own control shares a call among its utilities,
so no machine's limit can be promised to hold during a call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dispatch.assets import _store
from dispatch.assets._inputs import available, ids, no_fleet_faults, parameter, stored, trajectories
from dispatch.assets._merit import shifted
from dispatch.assets._store import diagonal
from dispatch.block import INF, AssetResult, Block, Columns, Context, Reader, Rows, eye, stack
from vpp.domain.portfolio import Asset, AssetState, Control
from vpp.domain.time import Array, TimeGrid

NAME = "utilities"
INPUTS = ("process_mw", "utilities_mw")
CONTROL: Control = "continuous"
GENERATES = False
FOLLOWS: Mapping[str, float] = {"process_mw": -1.0}
NEVER_OFF = "a high-tech plant runs its process on"
fleet_faults = no_fleet_faults
PENALTY_EUR_PER_MWH = 1000.0
SHARES = 1e-6
POWER, CONTENT, LACKING, WASTED, END = range(5)


class Utility(BaseModel):
    """One utility; `share` is its part of the utility need, `store_mwh` what its store holds in electricity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=32)
    min_power_mw: float = Field(default=0.0, ge=0)
    max_power_mw: float = Field(gt=0)
    store_mwh: float = Field(gt=0)
    share: float = Field(gt=0, le=1)


class Params(BaseModel):
    """`band_share` is how far the plant lets its whole load leave what it would take anyway."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    utilities: tuple[Utility, ...] = Field(min_length=1)
    process_peak_mw: float = Field(gt=0)
    band_share: float = Field(gt=0, le=0.5)
    loss_per_h: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _consistent(self) -> Params:
        faults = [f"{u.name}: min_power_mw {u.min_power_mw} is above max_power_mw {u.max_power_mw}"
                  for u in self.utilities if u.min_power_mw > u.max_power_mw]  # fmt: skip
        if len({u.name for u in self.utilities}) < len(self.utilities):
            faults.append("two utilities have the same name")
        total = sum(u.share for u in self.utilities)
        if abs(total - 1.0) > SHARES:
            faults.append(f"the shares add up to {total:g}, not to 1")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def least_mw(self) -> float:
        """All machines at their least power."""
        return sum(u.min_power_mw for u in self.utilities)

    @property
    def most_mw(self) -> float:
        """All machines at once."""
        return sum(u.max_power_mw for u in self.utilities)

    @property
    def store_mwh(self) -> float:
        """All stores together."""
        return sum(u.store_mwh for u in self.utilities)


@dataclass(frozen=True)
class _Plants:
    """n plants and their M utilities: `owner` (M,) is the plant of each, the others are (M,1)."""

    owner: NDArray[np.intp]
    least: Array
    most: Array
    share: Array
    part: Array

    @classmethod
    def of(cls, fleet: Sequence[Asset]) -> _Plants:
        every = [(i, a.params.store_mwh, u) for i, a in enumerate(fleet) for u in a.params.utilities]
        numbers = [(u.min_power_mw, u.max_power_mw, u.share, u.store_mwh / whole) for _, whole, u in every]
        least, most, share, part = (np.array(column)[:, None] for column in zip(*numbers, strict=True))
        return cls(np.array([i for i, _, _ in every], dtype=np.intp), least, most, share, part)

    def sum(self, values: Array, n: int) -> Array:
        """(n,T) sums over the utilities of each plant of values (M,T) or (M,1)."""
        total = np.zeros((n, values.shape[1]))
        np.add.at(total, self.owner, values)
        return total


def block(fleet: Sequence[Asset], context: Context) -> Block:
    """The physics of `fleet` over `context.grid`. Raises DataGap for a missing state or load."""
    process, needed = (np.maximum(trajectories(fleet, context, name), 0.0) for name in INPUTS)
    plants, (n, steps), grid = _Plants.of(fleet), process.shape, context.grid
    keep = _store.keep_share(parameter(fleet, "loss_per_h"), grid)
    initial = np.maximum(stored(fleet, context), 0.0)
    lower, upper = _store.window(initial, keep, np.zeros_like(initial), parameter(fleet, "store_mwh"))
    end = _store.end_value_columns("end", _store.ends_of(ids(fleet), context), steps, np.zeros(n))
    lower = _store.hard_end(end, lower, np.minimum(initial, upper[:, -1:]))
    shape = (plants.owner.size, steps)
    columns = (
        Columns("power", shape, np.repeat(plants.least, steps), np.repeat(plants.most, steps)),
        Columns("content", (n, steps), lower.ravel(), upper.ravel(), term="stored_energy"),
        Columns("lacking", shape, 0.0, INF, PENALTY_EUR_PER_MWH, term="penalties"),
        Columns("wasted", shape, 0.0, INF, PENALTY_EUR_PER_MWH, term="penalties"),
        end.columns,
    )
    sizes = [c.size for c in columns]
    total = sp.csr_array(sp.kron(_membership(plants, n), sp.eye_array(steps)))
    low, high = _band(fleet, context, plants, process, needed)
    rows = [
        _balance(plants, sizes, keep, initial, needed, grid),
        Rows("band", (low - process).ravel(), (high - process).ravel(), stack(sizes, {POWER: total}, n * steps)),
        *_store.end_value_rows("end_value", sizes, CONTENT, END, end),
    ]
    power = stack(sizes, {POWER: sp.csr_array(-total)}, n * steps)
    read = _reader(fleet, plants, sizes, steps)
    return Block(NAME, columns, tuple(rows), ids(fleet), power, -process.ravel(), read=read)


def _membership(plants: _Plants, n: int) -> sp.csr_array:
    """(n, M) with a one where the plant owns the utility."""
    size = plants.owner.size
    return sp.csr_array((np.ones(size), (plants.owner, np.arange(size))), shape=(n, size))


def _balance(plants: _Plants, sizes: Sequence[int], keep: Array, initial: Array, needed: Array, grid: TimeGrid) -> Rows:
    """What each utility's part of the common fill gains, M*T rows."""
    (n, steps), size = keep.shape, plants.owner.size * grid.n
    hours = np.tile(grid.hours, plants.owner.size)
    gained = -needed[plants.owner] * plants.share * grid.hours
    gained[:, 0] += (plants.part * keep[plants.owner, :1] * initial[plants.owner])[:, 0]
    later = sp.csr_array(sp.kron(sp.eye_array(n), sp.eye_array(steps, k=-1)))
    step_down = eye(n * steps) - sp.csr_array(diagonal(keep) @ later)
    parts = sp.csr_array(_membership(plants, n).T * plants.part)
    content = sp.csr_array(sp.kron(parts, sp.eye_array(steps)) @ step_down)
    one = eye(size)
    own = stack(sizes, {CONTENT: content, POWER: diagonal(-hours), LACKING: sp.csr_array(-one), WASTED: one}, size)
    return Rows("balance", gained.ravel(), gained.ravel(), own)


def _band(
    fleet: Sequence[Asset], context: Context, plants: _Plants, process: Array, needed: Array
) -> tuple[Array, Array]:
    """(n,T) least and most consumption of each plant; both the default for one out of service."""
    n, width = len(fleet), parameter(fleet, "band_share")
    least, most = process + plants.sum(plants.least, n), process + plants.sum(plants.most, n)
    low = np.clip((1.0 - width) * (process + needed), least, most)
    high = np.clip((1.0 + width) * (process + needed), least, most)
    for i, (asset, in_service) in enumerate(zip(fleet, available(fleet, context).ravel(), strict=True)):
        if in_service:
            continue
        low[i] = high[i] = -default_mw(asset, context.states[asset.id], context.inputs[asset.id], context.grid)
    return low, high


def _reader(fleet: Sequence[Asset], plants: _Plants, sizes: Sequence[int], steps: int) -> Reader:
    cuts, n = np.cumsum(sizes)[:END], len(fleet)
    names = [u.name for a in fleet for u in a.params.utilities]

    def read(x: Array, duals: Mapping[str, Array]) -> dict[str, AssetResult]:
        power, content, lacking, wasted = (part.reshape(-1, steps) for part in np.split(x, cuts)[:END])
        given = duals.get("balance")
        dual = None if given is None or not given.size else np.asarray(given).reshape(-1, steps)
        values = None if dual is None else -plants.sum(plants.part * dual, n)
        results = {}
        for i, asset in enumerate(fleet):
            told: dict[str, Array] = {}
            for u in np.flatnonzero(plants.owner == i):
                told[f"{names[u]}_mw"] = power[u]
                told[f"{names[u]}_lacking_mwh"], told[f"{names[u]}_wasted_mwh"] = lacking[u], wasted[u]
            results[asset.id] = AssetResult(None, content[i], None if values is None else values[i], told)
        return results

    return read


def default_mw(asset: Asset, state: AssetState | None, inputs: Mapping[str, Array], grid: TimeGrid) -> Array:
    """Injection (T,) of a plant whose own control keeps the fill; an unknown state counts as half full."""
    p: Params = asset.params
    content = p.store_mwh / 2.0 if state is None else min(max(state.stored_mwh, 0.0), p.store_mwh)
    process, needed = (np.maximum(np.asarray(inputs[name], dtype=float), 0.0) for name in INPUTS)
    used = np.zeros(grid.n)
    for u in p.utilities:
        held = u.share * needed + p.loss_per_h * content * u.store_mwh / p.store_mwh
        used += np.clip(held, u.min_power_mw, u.max_power_mw)
    reference = process + needed
    least, most = process + p.least_mw, process + p.most_mw
    low, high = (np.clip((1.0 + sign * p.band_share) * reference, least, most) for sign in (-1.0, 1.0))
    injection: Array = -np.clip(process + used, low, high)
    return injection


def window(params: Params) -> tuple[float, float] | None:
    """All stores together, MWh."""
    return 0.0, params.store_mwh


def store(asset: Asset) -> tuple[str, float] | None:
    """All stores together, MWh."""
    return asset.id, float(asset.params.store_mwh)


def reach_mw(params: Params) -> tuple[float, float] | None:
    """The largest process load with all machines, to machines at their least."""
    return -params.process_peak_mw - params.most_mw, -params.least_mw


def merit_mw(
    asset: Asset, default: Array, inputs: Mapping[str, Array], grid: TimeGrid, price_eur_per_mwh: Array
) -> Array:
    """The band's upper end in the cheapest quarter of the steps, its lower in the dearest, else the default, (T,)."""
    return shifted(default, price_eur_per_mwh, 0.0, asset.params.process_peak_mw + asset.params.most_mw)
