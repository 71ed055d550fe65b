"""Thermal store: data-centre cooling with a chilled-water store, inside an inlet temperature band.

With electric power p (MW), ambient temperature a (deg C), step length h (hours), cold content s (MWh_th):

    p_min <= p <= p_max,     injection = -p,     COP = max(1, cop_at_20c + slope (a - 20))
    s[t] = (1 - loss h) s[t-1] + h (COP p - heat) + overheat - overcool,     0 <= s <= store
    inlet = inlet_max - (inlet_max - inlet_min) s / store + overheat / heat capacity

`overheat` (heat nobody takes away) and `overcool` (cold nobody needs, where minimum power makes too
much) are slacks in MWh_th a step at PENALTY_EUR_PER_MWH_TH, so no state or heat load is infeasible.
Source: one-node thermal storage as in D. S. Callaway, "Tapping the energy storage potential in electric
loads to deliver load following and regulation", Energy Conversion and Management 50 (5), 2009; inlet
band 18-27 deg C from ASHRAE TC 9.9, "Thermal Guidelines for Data Processing Environments".

A plant out of service for us follows its own control: its power is fixed to the default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dispatch.assets import _store
from dispatch.assets._inputs import available, ids, no_fleet_faults, parameter, stored, trajectories
from dispatch.assets._store import diagonal
from dispatch.block import INF, AssetResult, Block, Columns, Context, Reader, eye, stack
from dispatch.headroom import Headroom, at_edges, room, scaled
from vpp.domain.portfolio import Asset, AssetState, Control
from vpp.domain.time import Array, TimeGrid

NAME = "thermal_store"
INPUTS = ("heat_mw_th", "ambient_c")
CONTROL: Control = "continuous"
GENERATES = False
FOLLOWS: Mapping[str, float] = {}
NEVER_OFF = "a cooling plant must keep its temperature"
fleet_faults = no_fleet_faults
PENALTY_EUR_PER_MWH_TH = 1000.0
HOTTEST_AMBIENT_C = 45.0
POWER, COLD, OVERHEAT, OVERCOOL, END = range(5)


class Params(BaseModel):
    """One cooling plant; its store is full at `inlet_min_c` and empty at `inlet_max_c`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_power_mw: float = Field(gt=0)
    min_power_mw: float = Field(default=0.0, ge=0)
    cop_at_20c: float = Field(gt=1, le=20)
    cop_slope_per_c: float = Field(le=0)
    store_mwh_th: float = Field(gt=0)
    loss_per_h: float = Field(default=0.0, ge=0, lt=1)
    inlet_min_c: float = Field(ge=0, le=45)
    inlet_max_c: float = Field(ge=0, le=45)
    heat_capacity_mwh_th_per_c: float = Field(gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> Params:
        faults = []
        if self.min_power_mw > self.max_power_mw:
            faults.append(f"min_power_mw {self.min_power_mw} is above max_power_mw {self.max_power_mw}")
        if self.inlet_min_c >= self.inlet_max_c:
            faults.append(f"inlet_min_c {self.inlet_min_c} is not below inlet_max_c {self.inlet_max_c}")
        hottest = self.cop_at_20c + self.cop_slope_per_c * (HOTTEST_AMBIENT_C - 20.0)
        if hottest < 1.0:
            faults.append(f"the COP at {HOTTEST_AMBIENT_C:g} C would be {hottest:g}, below 1")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def cop(self, ambient_c: Array) -> Array:
        """Cold per electricity at `ambient_c`, same shape."""
        return np.maximum(1.0, self.cop_at_20c + self.cop_slope_per_c * (ambient_c - 20.0))


def block(fleet: Sequence[Asset], context: Context) -> Block:
    """The physics of `fleet` over `context.grid`. Raises DataGap for a missing state, heat load or temperature."""
    heat, ambient = (trajectories(fleet, context, name) for name in INPUTS)
    cop = np.stack([a.params.cop(row) for a, row in zip(fleet, ambient, strict=True)])
    hours, shape = np.broadcast_to(context.grid.hours, heat.shape), heat.shape
    keep = _store.keep_share(parameter(fleet, "loss_per_h"), context.grid)
    initial = np.maximum(stored(fleet, context), 0.0)
    window = lower, upper = _store.window(initial, keep, np.zeros_like(initial), parameter(fleet, "store_mwh_th"))
    end = _store.end_value_columns("end", _store.ends_of(ids(fleet), context), shape[1], np.zeros(len(fleet)))
    lower = _store.hard_end(end, lower, np.minimum(initial, upper[:, -1:]))
    least, most = _power_bounds(fleet, context, shape)
    columns = (
        Columns("power", shape, least.ravel(), most.ravel()),
        Columns("cold", shape, lower.ravel(), upper.ravel(), term="stored_energy"),
        Columns("overheat", shape, 0.0, INF, PENALTY_EUR_PER_MWH_TH, term="penalties"),
        Columns("overcool", shape, 0.0, INF, PENALTY_EUR_PER_MWH_TH, term="penalties"),
        end.columns,
    )
    sizes, one = [c.size for c in columns], eye(heat.size)
    gains = {POWER: diagonal(cop * hours), OVERHEAT: one, OVERCOOL: sp.csr_array(-one)}
    rows = [_store.balance_rows("cold_balance", sizes, COLD, gains, initial, keep, -heat * hours)]
    rows += _store.end_value_rows("end_value", sizes, COLD, END, end)
    power = stack(sizes, {POWER: sp.csr_array(-one)}, heat.size)
    reserve = partial(_headroom, fleet, sizes, (least, most), initial, window, cop)
    return Block(NAME, columns, tuple(rows), ids(fleet), power, read=_reader(fleet, sizes, shape), headroom=reserve)


def _headroom(
    fleet: Sequence[Asset], sizes: Sequence[int], power: tuple[Array, Array], initial: Array,
    window: tuple[Array, Array], cop: Array,
) -> Headroom:  # fmt: skip
    """Up: less consumption while there is cold; down: more while there is room for it. A MWh moves at most the best
    COP's cold, and winning it back may meet the worst."""
    store = parameter(fleet, "store_mwh_th")
    (least, most), (low, high) = power, window
    n, size = len(cop), cop.size
    best, worst = cop.max(axis=1, keepdims=True), cop.min(axis=1, keepdims=True)
    per_mwh = np.broadcast_to(1.0 / best, cop.shape)
    out = scaled(sizes, {COLD: per_mwh}, size, -per_mwh * low)
    into = scaled(sizes, {COLD: -per_mwh}, size, per_mwh * high)
    first_out, first_into = (np.maximum(x, 0.0) / best for x in (initial - low[:, :1], high[:, :1] - initial))
    up = scaled(sizes, {POWER: np.ones(1)}, size, -least)
    down = scaled(sizes, {POWER: -np.ones(1)}, size, most)
    return Headroom(
        room(up, n, energy=at_edges(out, first_out, n), takes_back=best / worst),
        room(
            down, n, energy=at_edges(into, first_into, n), takes_back=best / worst,
            relief_mwh=(high.max(axis=1, keepdims=True) - store) / best, most_mw=parameter(fleet, "max_power_mw"),
        ),
    )  # fmt: skip


def _power_bounds(fleet: Sequence[Asset], context: Context, shape: tuple[int, int]) -> tuple[Array, Array]:
    """(n,T) least and most power; both the default for a plant out of service."""
    least = np.broadcast_to(parameter(fleet, "min_power_mw"), shape).copy()
    most = np.broadcast_to(parameter(fleet, "max_power_mw"), shape).copy()
    for i, in_service in enumerate(available(fleet, context).ravel()):
        if in_service:
            continue
        asset = fleet[i]
        held = default_mw(asset, context.states[asset.id], context.inputs[asset.id], context.grid)
        least[i] = most[i] = -held
    return least, most


def _reader(fleet: Sequence[Asset], sizes: Sequence[int], shape: tuple[int, int]) -> Reader:
    cuts, asset_ids = np.cumsum(sizes)[:END], ids(fleet)
    warmest = parameter(fleet, "inlet_max_c")
    band = warmest - parameter(fleet, "inlet_min_c")
    store, capacity = parameter(fleet, "store_mwh_th"), parameter(fleet, "heat_capacity_mwh_th_per_c")

    def read(x: Array, duals: Mapping[str, Array]) -> dict[str, AssetResult]:
        _, cold, overheat, overcool = (part.reshape(shape) for part in np.split(x, cuts)[:END])
        inlet = warmest - band * cold / store + overheat / capacity
        values = _store.marginal_value(duals, "cold_balance", *shape)
        return {
            asset_id: AssetResult(
                stored_mwh=cold[i],
                marginal_value=values[i],
                decisions={
                    "inlet_c": inlet[i],
                    "overheat_mwh_th": overheat[i],
                    "overcool_mwh_th": overcool[i],
                },
            )
            for i, asset_id in enumerate(asset_ids)
        }

    return read


def default_mw(asset: Asset, state: AssetState | None, inputs: Mapping[str, Array], grid: TimeGrid) -> Array:
    """Injection (T,) that keeps the content constant, COP p = heat + loss, within the power limits.

    An unknown state counts as a half-full store.
    """
    p: Params = asset.params
    content = p.store_mwh_th / 2.0 if state is None else min(max(state.stored_mwh, 0.0), p.store_mwh_th)
    needed = np.asarray(inputs["heat_mw_th"], dtype=float) + p.loss_per_h * content
    power = np.clip(needed / p.cop(np.asarray(inputs["ambient_c"], dtype=float)), p.min_power_mw, p.max_power_mw)
    injection: Array = -power
    return injection


def window(params: Params) -> tuple[float, float] | None:
    """The cold store, MWh thermal."""
    return 0.0, params.store_mwh_th


def store(asset: Asset) -> tuple[str, float] | None:
    """The cold store, MWh thermal."""
    return asset.id, float(asset.params.store_mwh_th)


def reach_mw(params: Params) -> tuple[float, float] | None:
    """Its largest to its smallest consumption."""
    return -params.max_power_mw, -params.min_power_mw


def merit_mw(
    asset: Asset, default: Array, inputs: Mapping[str, Array], grid: TimeGrid, price_eur_per_mwh: Array
) -> Array:
    """The default, (T,): what keeps the content is safe at any price."""
    return default
