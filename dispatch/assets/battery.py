"""Battery: a store with charge and discharge efficiencies, wear per throughput and standing loss.

    p[t] = d[t] - c[t],    0 <= c, d <= power_mw
    e[t] = (1 - loss * h) * e[t-1] + h * (eta_c * c[t] - d[t] / eta_d),    soc_min <= e / capacity_mwh <= soc_max
    c[t] <= power_mw * (1 - e[t] / capacity_mwh) / (1 - taper_from_soc)    where a taper is given
    cost = wear * h * (c + d)

Source: the linear storage model of D. Pozo, "Linear battery models for power systems analysis",
Electric Power Systems Research 212 (2022) 108565, with wear per throughput, the one-segment case of B. Xu et al.,
"Factoring the Cycle Aging Cost of Batteries Participating in Electricity Markets", IEEE Trans.
Power Systems 33(2), 2018; the taper is the constant-voltage phase as a line in the content.

Charging and discharging at once only wastes energy and wear; where the price is so negative that waste could
pay, a binary forbids it (`_exclusive`), and where a limit makes it pay, `dispatch/one_way` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dispatch.assets import _exclusive, _store
from dispatch.assets._inputs import available, ids, no_fleet_faults, parameter, stored
from dispatch.block import INF, AssetResult, Block, Columns, Context, Reader, Rows, stack
from dispatch.headroom import Headroom, Linear, TwoWays, at_edges, room, scaled
from vpp.domain.portfolio import Asset, AssetState, Control
from vpp.domain.time import Array, TimeGrid

NAME = "battery"
INPUTS: tuple[str, ...] = ()
CONTROL: Control = "continuous"
GENERATES = False
FOLLOWS: Mapping[str, float] = {}
NEVER_OFF = ""
fleet_faults = no_fleet_faults

CHARGE, DISCHARGE, CONTENT, END, CHARGING = range(5)


class Params(BaseModel):
    """`power_mw` rates charging and discharging at the terminals; wear is per MWh through the terminals."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    power_mw: float = Field(ge=0.0)
    capacity_mwh: float = Field(gt=0.0)
    soc_min: float = Field(default=0.05, ge=0.0, le=1.0)
    soc_max: float = Field(default=0.95, ge=0.0, le=1.0)
    charge_efficiency: float = Field(gt=0.0, le=1.0)
    discharge_efficiency: float = Field(gt=0.0, le=1.0)
    wear_eur_per_mwh: float = Field(ge=0.0)
    standing_loss_per_h: float = Field(default=0.0, ge=0.0, lt=1.0)
    taper_from_soc: float = Field(default=1.0, gt=0.0, le=1.0)
    """Charging power falls linearly from the rating at this state of charge to nothing at 1; 1 means no taper."""

    @model_validator(mode="after")
    def _ordered(self) -> Params:
        if self.soc_min > self.soc_max:
            raise ValueError("soc_min is above soc_max")
        return self


def block(fleet: Sequence[Asset], context: Context) -> Block:
    """Columns charge, discharge, content (n, T), the end segments, binaries where waste could pay; see the module.

    Raises DataGap for an asset without a state. A battery out of service has no power.
    """
    grid, n, steps = context.grid, len(fleet), context.grid.n
    power = parameter(fleet, "power_mw") * available(fleet, context)
    wear = parameter(fleet, "wear_eur_per_mwh") * grid.hours
    eta_c, eta_d = parameter(fleet, "charge_efficiency"), parameter(fleet, "discharge_efficiency")
    keep = _store.keep_share(parameter(fleet, "standing_loss_per_h"), grid)
    capacity = parameter(fleet, "capacity_mwh")
    initial = np.clip(stored(fleet, context), 0.0, capacity)
    floor, ceiling = capacity * parameter(fleet, "soc_min"), capacity * parameter(fleet, "soc_max")
    lower, upper = _store.window(initial, keep, floor, ceiling)
    window = lower, upper
    end = _store.end_value_columns("end", _store.ends_of(ids(fleet), context), steps, floor, lower[:, -1])
    lower = _store.hard_end(end, lower, _required_end(fleet, initial, keep, power, grid, ceiling))
    risky = _exclusive.at_risk(context, eta_c * eta_d, parameter(fleet, "wear_eur_per_mwh"), power * np.ones(steps))
    binaries = (_exclusive.columns(risky),) if risky.size else ()
    rated = np.broadcast_to(power, (n, steps))
    columns = (
        Columns("charge", (n, steps), 0.0, rated, wear, term="wear"),
        Columns("discharge", (n, steps), 0.0, rated, wear, term="wear"),
        Columns("content", (n, steps), lower, upper),
        end.columns,
        *binaries,
    )
    sizes = [c.size for c in columns]
    gains = {CHARGE: _store.diagonal(eta_c * grid.hours), DISCHARGE: _store.diagonal(-grid.hours / eta_d)}
    rows = [_store.balance_rows("balance", sizes, CONTENT, gains, initial, keep)]
    rows += _taper(fleet, sizes, steps) + _store.end_value_rows("end_value", sizes, CONTENT, END, end)
    if risky.size:
        rows += _exclusive.rows(risky, sizes, (CHARGE, DISCHARGE, CHARGING), rated, rated)
    ones = _store.diagonal(np.ones(n * steps))
    injection = stack(sizes, {CHARGE: sp.csr_array(-ones), DISCHARGE: ones}, n * steps)
    tapers = _taper_room(fleet, sizes, initial, steps)
    reserve = partial(_headroom, fleet, sizes, power, initial, window, tapers)
    return Block(
        NAME, columns, tuple(rows), ids(fleet), injection,
        read=_reader(ids(fleet), steps), headroom=reserve, two_ways=eta_c * eta_d,
    )  # fmt: skip


def _headroom(
    fleet: Sequence[Asset], sizes: Sequence[int], power: Array, initial: Array, window: tuple[Array, Array],
    tapers: Sequence[Linear],
) -> Headroom:  # fmt: skip
    """Up: from the set-point to full discharge, with what lies above the floor; down: to full charge, with the way
    to the ceiling or to where the taper begins. One that is outside this window sells nothing.

    A call down that meets an idle or charging plan fills eta_c a MWh; one that replaces discharging leaves 1 / eta_d
    in store, the larger, and the plan may do either: it is what is held. Made good by charging less (eta_c), a MWh
    takes back 1 / (eta_c eta_d).
    """
    low, high = window
    n, steps = low.shape
    eta_c, eta_d = parameter(fleet, "charge_efficiency"), parameter(fleet, "discharge_efficiency")
    size, rated = n * steps, np.repeat(power.ravel(), steps)
    up = scaled(sizes, {CHARGE: np.ones(1), DISCHARGE: -np.ones(1)}, size, rated)
    down = scaled(sizes, {CHARGE: -np.ones(1), DISCHARGE: np.ones(1)}, size, rated)
    per_mwh = np.repeat(eta_d, steps, axis=1)
    out = scaled(sizes, {CONTENT: per_mwh}, size, -per_mwh * low)
    into = scaled(sizes, {CONTENT: -per_mwh}, size, per_mwh * high)
    first_out, first_into = (eta_d * np.maximum(x, 0.0) for x in (initial - low[:, :1], high[:, :1] - initial))
    floor, ceiling, knee = (
        parameter(fleet, name) * parameter(fleet, "capacity_mwh") for name in ("soc_min", "soc_max", "taper_from_soc")
    )
    above = (high.max(axis=1, keepdims=True) - np.minimum(knee, ceiling)) * eta_d
    below = (floor - low.min(axis=1, keepdims=True)) * eta_d
    back = 1.0 / (eta_c * eta_d)
    return Headroom(
        room(up, n, energy=at_edges(out, first_out, n), takes_back=back, relief_mwh=below, most_mw=2.0 * power),
        room(
            down, n, energy=at_edges(into, first_into, n), takes_back=back, relief_mwh=above, most_mw=2.0 * power,
            beside=tapers,
        ),
        TwoWays(
            scaled(sizes, {CHARGE: np.ones(1)}, size), scaled(sizes, {DISCHARGE: np.ones(1)}, size), power.ravel()
        ),
    )  # fmt: skip


def _taper_room(fleet: Sequence[Asset], sizes: Sequence[int], initial: Array, steps: int) -> list[Linear]:
    """What the taper leaves beside charging, at the content of either end of a step."""
    n, share = len(fleet), 1.0 - parameter(fleet, "taper_from_soc")
    if not (share > 0.0).any():
        return []
    rated, capacity = parameter(fleet, "power_mw"), parameter(fleet, "capacity_mwh")
    most = np.divide(rated, share, out=np.full(share.shape, INF), where=share > 0.0)
    slope = np.where(share > 0.0, most / capacity, 0.0)
    by_content = scaled(sizes, {CONTENT: np.repeat(-slope, steps, axis=1)}, n * steps)
    net = scaled(sizes, {CHARGE: -np.ones(1), DISCHARGE: np.ones(1)}, n * steps)
    edges = at_edges(by_content, (-slope * initial).ravel(), n)
    at = np.arange(n * (steps + 1)).reshape(n, steps + 1)
    return [
        Linear(sp.csr_array(edges.matrix[u] + net.matrix), edges.offset[u] + np.repeat(most, steps))
        for u in (at[:, :-1].ravel(), at[:, 1:].ravel())
    ]


def default_mw(asset: Asset, state: AssetState | None, inputs: Mapping[str, Array], grid: TimeGrid) -> Array:
    """At rest, (T,) zeros."""
    return np.zeros(grid.n)


def window(params: Params) -> tuple[float, float] | None:
    """The energy window, MWh."""
    return params.soc_min * params.capacity_mwh, params.soc_max * params.capacity_mwh


def store(asset: Asset) -> tuple[str, float] | None:
    """Its cells, MWh."""
    return asset.id, float(asset.params.capacity_mwh)


def reach_mw(params: Params) -> tuple[float, float] | None:
    """Plus and minus the rating."""
    return -params.power_mw, params.power_mw


def merit_mw(
    asset: Asset, default: Array, inputs: Mapping[str, Array], grid: TimeGrid, price_eur_per_mwh: Array
) -> Array:
    """Full charge in the cheapest quarter of the steps and full discharge in the dearest, where that pays, (T,)."""
    q: Params = asset.params
    low, high = np.quantile(price_eur_per_mwh, 0.25), np.quantile(price_eur_per_mwh, 0.75)
    worth = high * q.charge_efficiency * q.discharge_efficiency - low > 2.0 * q.wear_eur_per_mwh
    sold = np.where(price_eur_per_mwh >= high, q.power_mw, 0.0)
    return np.asarray(np.where(price_eur_per_mwh <= low, -q.power_mw, sold) * worth, dtype=float)


def _flat(values: Array, steps: int) -> Array:
    return np.repeat(np.ravel(values), steps)


def _required_end(
    fleet: Sequence[Asset], initial: Array, keep: Array, power: Array, grid: TimeGrid, ceiling: Array
) -> Array:
    """(n, 1) the content asked for at the end where nothing values it: the initial one, or what full charge reaches."""
    taper = parameter(fleet, "taper_from_soc") * parameter(fleet, "capacity_mwh")
    most = _store.reachable(
        np.minimum(initial, ceiling), keep, power * parameter(fleet, "charge_efficiency") * grid.hours
    )[:, -1:]
    untouched = initial * np.prod(keep, axis=1, keepdims=True)
    held = np.where(initial > taper, np.minimum(most, np.maximum(taper, untouched)), most)
    return np.minimum(np.minimum(initial, ceiling), held)


def _taper(fleet: Sequence[Asset], sizes: Sequence[int], steps: int) -> list[Rows]:
    """c * (1 - taper) / power + e / capacity <= 1 for the assets that taper."""
    n = len(fleet)
    share = 1.0 - parameter(fleet, "taper_from_soc").ravel()
    tapered = np.flatnonzero((share > 0.0) & (parameter(fleet, "power_mw").ravel() > 0.0))
    if not tapered.size:
        return []
    size = tapered.size * steps
    at = (tapered[:, None] * steps + np.arange(steps)).ravel(), np.arange(size)
    slope = _flat(share[tapered] / parameter(fleet, "power_mw").ravel()[tapered], steps)
    scale = _flat(1.0 / parameter(fleet, "capacity_mwh").ravel()[tapered], steps)
    parts = {
        CHARGE: sp.csr_array((slope, at[::-1]), shape=(size, n * steps)),
        CONTENT: sp.csr_array((scale, at[::-1]), shape=(size, n * steps)),
    }
    return [Rows("taper", -INF, 1.0, own=stack(sizes, parts, size))]


def _reader(asset_ids: tuple[str, ...], steps: int) -> Reader:
    n = len(asset_ids)

    def read(x: Array, duals: Mapping[str, Array]) -> Mapping[str, AssetResult]:
        content = x[2 * n * steps : 3 * n * steps].reshape(n, steps)
        values = _store.marginal_value(duals, "balance", n, steps)
        return {a: AssetResult(stored_mwh=content[i], marginal_value=values[i]) for i, a in enumerate(asset_ids)}

    return read
