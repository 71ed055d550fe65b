"""Backup batteries of N identical sites (mobile base stations) as one class: they offset their sites' load.

With the load L of the whole class, charge c, discharge d (MW), content e at the end of a step of h hours, site
values P, E and G (connection), and keep = 1 - loss h:

    injection = d - c - L,    0 <= c <= min(N P, N G - L),    0 <= d <= min(N P, L)      (no export)
    e[t] = keep e[t-1] + h (eta_c c - d / eta_d),    e <= soc_max N E
    e[t] + short[t] >= R[t],    R[t] = min(soc_max N E, soc_min N E + (1 / eta_d) * integral of L over the
                                reserve_h hours after the step)
    cost = wear h (c + d) + PENALTY h short

so that at any moment the sites could run for `reserve_h` hours without the grid. What is below R is never
sold: e[t] >= min(R[t], the content if the battery had been left alone), a hard bound; `short` is only what
charging could not restore. After the end of the grid the load is taken to go on as in the last step.
Identical sites with linear costs and convex limits share every power evenly, so one class of N is exact.

Source: P. Yong, N. Zhang, Q. Hou, Y. Liu, F. Teng, S. Ci and C. Kang, "Evaluating the dispatchable capacity of
base station backup batteries in distribution networks", IEEE Trans. Smart Grid 12(5), 2021.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dispatch.assets import _exclusive, _store
from dispatch.assets._inputs import available, ids, no_fleet_faults, parameter, stored, trajectories
from dispatch.block import INF, AssetResult, Block, Columns, Context, Reader, Rows, eye, stack
from vpp.domain.portfolio import Asset, AssetState, Control
from vpp.domain.time import Array, TimeGrid

NAME = "backup_battery"
INPUTS = ("load_mw",)
CONTROL: Control = "continuous"
GENERATES = False
FOLLOWS: Mapping[str, float] = {"load_mw": -1.0}
NEVER_OFF = "a base station must carry its traffic"
fleet_faults = no_fleet_faults
PENALTY_EUR_PER_MWH_H = 1000.0
CHARGE, DISCHARGE, CONTENT, SHORT, END, CHARGING = range(6)


class Params(BaseModel):
    """`count` identical sites, each with `site_...`; the input `load_mw` is that of all of them together."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    count: int = Field(ge=1)
    site_power_mw: float = Field(gt=0)
    site_capacity_mwh: float = Field(gt=0)
    site_connection_mw: float = Field(gt=0)
    reserve_h: float = Field(ge=0, le=48)
    soc_min: float = Field(default=0.1, ge=0, le=1)
    soc_max: float = Field(default=1.0, ge=0, le=1)
    charge_efficiency: float = Field(gt=0, le=1)
    discharge_efficiency: float = Field(gt=0, le=1)
    wear_eur_per_mwh: float = Field(ge=0)
    standing_loss_per_h: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _ordered(self) -> Params:
        if self.soc_min > self.soc_max:
            raise ValueError("soc_min is above soc_max")
        return self

    @property
    def power_mw(self) -> float:
        """Rating of all batteries together."""
        return self.count * self.site_power_mw

    @property
    def capacity_mwh(self) -> float:
        """Capacity of all batteries together."""
        return self.count * self.site_capacity_mwh

    @property
    def connection_mw(self) -> float:
        """What all sites together may draw."""
        return self.count * self.site_connection_mw

    def reserve_mwh(self, load_mw: Array, grid: TimeGrid) -> Array:
        """(T,) content that must be kept at the end of each step for the load (T,) to come."""
        edge = np.concatenate([[0.0], np.cumsum(grid.hours)])
        drawn = np.concatenate([[0.0], np.cumsum(load_mw * grid.hours)])
        far = self.reserve_h + 1.0
        edge, drawn = np.append(edge, edge[-1] + far), np.append(drawn, drawn[-1] + far * load_mw[-1])
        coming = np.interp(edge[1:-1] + self.reserve_h, edge, drawn) - drawn[1:-1]
        most, least = self.soc_max * self.capacity_mwh, self.soc_min * self.capacity_mwh
        kept: Array = np.minimum(most, least + coming / self.discharge_efficiency)
        return kept


def block(fleet: Sequence[Asset], context: Context) -> Block:
    """Columns charge, discharge, content (n, T), what is short of the reserve where it can be, and the end segments.

    Raises DataGap for an asset without a state or load. A battery out of service has no power.
    """
    grid, shape = context.grid, (len(fleet), context.grid.n)
    load = np.maximum(trajectories(fleet, context, "load_mw"), 0.0)
    reserve = np.stack([a.params.reserve_mwh(row, grid) for a, row in zip(fleet, load, strict=True)])
    power = parameter(fleet, "power_mw") * available(fleet, context)
    most_in = np.minimum(power, np.maximum(parameter(fleet, "connection_mw") - load, 0.0))
    most_out = np.minimum(power, load)
    eta_c, eta_d = parameter(fleet, "charge_efficiency"), parameter(fleet, "discharge_efficiency")
    capacity, worn = parameter(fleet, "capacity_mwh"), parameter(fleet, "wear_eur_per_mwh")
    keep = _store.keep_share(parameter(fleet, "standing_loss_per_h"), grid)
    initial = np.clip(stored(fleet, context), 0.0, capacity)
    lower, upper = _store.window(initial, keep, reserve, capacity * parameter(fleet, "soc_max"))
    empty = capacity * parameter(fleet, "soc_min")
    end = _store.end_value_columns("end", _store.ends_of(ids(fleet), context), shape[1], empty, lower[:, -1])
    most = _store.reachable(np.minimum(initial, upper[:, -1:]), keep, most_in * eta_c * grid.hours)[:, -1:]
    lower = _store.hard_end(end, lower, np.minimum(np.minimum(initial, upper[:, -1:]), most))
    due = np.flatnonzero(reserve > lower)
    wear = (worn * grid.hours).ravel()
    penalty = PENALTY_EUR_PER_MWH_H * np.broadcast_to(grid.hours, shape).ravel()[due]
    risky = _exclusive.at_risk(context, eta_c * eta_d, worn, np.minimum(most_in, most_out))
    columns = (
        Columns("charge", shape, 0.0, most_in.ravel(), wear, term="wear"),
        Columns("discharge", shape, 0.0, most_out.ravel(), wear, term="wear"),
        Columns("content", shape, lower.ravel(), upper.ravel(), term="stored_energy"),
        Columns("short", (1, due.size), 0.0, INF, penalty, term="penalties"),
        end.columns,
        *((_exclusive.columns(risky),) if risky.size else ()),
    )
    sizes = [c.size for c in columns]
    gains = {CHARGE: _store.diagonal(eta_c * grid.hours), DISCHARGE: _store.diagonal(-grid.hours / eta_d)}
    rows = [_store.balance_rows("balance", sizes, CONTENT, gains, initial, keep)]
    rows += _reserve_rows(due, reserve.ravel()[due], sizes) + _store.end_value_rows(
        "end_value", sizes, CONTENT, END, end
    )
    if risky.size:
        rows += _exclusive.rows(risky, sizes, (CHARGE, DISCHARGE, CHARGING), most_in, most_out)
    one = eye(load.size)
    injection = stack(sizes, {CHARGE: sp.csr_array(-one), DISCHARGE: one}, load.size)
    return Block(
        NAME, columns, tuple(rows), ids(fleet), injection, -load.ravel(),
        read=_reader(fleet, reserve, sizes), two_ways=eta_c * eta_d,
    )  # fmt: skip


def _reserve_rows(due: NDArray[np.intp], reserve_mwh: Array, sizes: Sequence[int]) -> list[Rows]:
    """content + short >= reserve at the positions `due` of (n, T)."""
    k = due.size
    if not k:
        return []
    content = sp.csr_array((np.ones(k), (np.arange(k), due)), shape=(k, sizes[CONTENT]))
    return [Rows("reserve", reserve_mwh, INF, own=stack(sizes, {CONTENT: content, SHORT: eye(k)}, k))]


def _reader(fleet: Sequence[Asset], reserve: Array, sizes: Sequence[int]) -> Reader:
    asset_ids, shape = ids(fleet), reserve.shape
    first = sizes[CHARGE] + sizes[DISCHARGE]

    def read(x: Array, duals: Mapping[str, Array]) -> Mapping[str, AssetResult]:
        content = x[first : first + reserve.size].reshape(shape)
        values = _store.marginal_value(duals, "balance", *shape)
        return {
            a: AssetResult(stored_mwh=content[i], marginal_value=values[i], decisions={"reserve_mwh": reserve[i]})
            for i, a in enumerate(asset_ids)
        }

    return read


def default_mw(asset: Asset, state: AssetState | None, inputs: Mapping[str, Array], grid: TimeGrid) -> Array:
    """The load (T,) and what fills the battery, at full power until it is full; at rest where its state is unknown."""
    q: Params = asset.params
    load = np.maximum(np.asarray(inputs["load_mw"], dtype=float), 0.0)
    drawn: Array = load.copy()
    full = q.soc_max * q.capacity_mwh
    if state is None or not state.available:
        return np.negative(drawn)
    content = min(max(state.stored_mwh, 0.0), q.capacity_mwh)
    for t, h in enumerate(grid.hours):
        content *= max(0.0, 1.0 - q.standing_loss_per_h * h)
        room = max(0.0, full - content) / (h * q.charge_efficiency)
        charge = min(q.power_mw, max(0.0, q.connection_mw - load[t]), room)
        drawn[t] += charge
        content += h * q.charge_efficiency * charge
    return np.negative(drawn)


def window(params: Params) -> tuple[float, float] | None:
    """The energy window of all batteries, MWh."""
    return params.soc_min * params.capacity_mwh, params.soc_max * params.capacity_mwh


def store(asset: Asset) -> tuple[str, float] | None:
    """All batteries together, MWh."""
    return asset.id, float(asset.params.capacity_mwh)


def reach_mw(params: Params) -> tuple[float, float] | None:
    """From all connections full to the whole load offset."""
    return -params.connection_mw, 0.0


def merit_mw(
    asset: Asset, default: Array, inputs: Mapping[str, Array], grid: TimeGrid, price_eur_per_mwh: Array
) -> Array:
    """Charging in the cheapest quarter of the steps, carrying the load in the dearest, where that pays, (T,)."""
    load = np.maximum(np.asarray(inputs["load_mw"], dtype=float), 0.0)
    q: Params = asset.params
    low, high = np.quantile(price_eur_per_mwh, 0.25), np.quantile(price_eur_per_mwh, 0.75)
    worth = high * q.charge_efficiency * q.discharge_efficiency - low > 2.0 * q.wear_eur_per_mwh
    charged = np.where(price_eur_per_mwh <= low, -q.power_mw, 0.0)
    return np.asarray(-load + worth * np.where(price_eur_per_mwh >= high, q.power_mw, charged), dtype=float)
