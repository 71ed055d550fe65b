"""Thermal unit without heat: a biomass plant or a gas engine, on or off, with a convex cost of output.

With power p (MW), binaries on, start, stop (`_commitment`), step length h (hours) and d (minutes):

    p_min on <= p <= p_max on,      injection = p
    p[t] <= su after a start at t,  p[t-1] <= sd before a stop at t
    p[t] - p[t-1] <= ru d on both sides on,      p[t-1] - p[t] <= rd d
    cost = h c(p) while on, c piecewise linear and convex,  plus a price for each start by its time off line

in the tight form of `_thermal`: minimum times, limits of starts, stops and ramps, and priced starts, each as
close to its hull as the literature goes (B. Knueven, J. Ostrowski and J.-P. Watson, "On mixed-integer programming
formulations for the unit commitment problem", INFORMS Journal on Computing 32 (4), 2020). A start or stop
limit that is not given is what the ramp reaches in the step, and minimum output at least.

A unit that must run is on wherever its state, its minimum stop time and the stage above let it. The power
before the first step is brought inside [p_min, p_max] of a running unit. A stop that is known from above or by
an outage may fall from the lowest power the ramp can have reached by then. Reserve is what a running unit has
left beside its plan, as `_spinning` states it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dispatch.assets import _commitment, _spinning, _thermal
from dispatch.assets._commitment import Machines
from dispatch.assets._inputs import ids, no_fleet_faults, parameter
from dispatch.assets._start_match import Prices, StopsBefore
from dispatch.assets._thermal import Units
from dispatch.assets._thermal_limits import Shape
from dispatch.block import AssetResult, Block, Context, Reader
from dispatch.headroom import Headroom, room
from vpp.domain.portfolio import Asset, AssetState, Control
from vpp.domain.time import Array, TimeGrid

NAME = "thermal_unit"
INPUTS: tuple[str, ...] = ()
CONTROL: Control = "continuous"
GENERATES = True
FOLLOWS: Mapping[str, float] = {}
NEVER_OFF = ""
fleet_faults = no_fleet_faults
EPS_MW = 1e-9
SLOPE_EUR_PER_MWH = 1e-9


class CostPoint(BaseModel):
    """An hour at `power_mw` costs `eur_per_h`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    power_mw: float = Field(ge=0)
    eur_per_h: float


class StartPrice(BaseModel):
    """A start costs `eur` from `after_off_h` hours off line on."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    after_off_h: float = Field(ge=0)
    eur: float = Field(ge=0)


class Params(BaseModel):
    """One unit; its cost curve runs from minimum to maximum output, its start prices from 0 h off line."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    power_mw: float = Field(gt=0)
    min_power_mw: float = Field(ge=0)
    cost_curve: tuple[CostPoint, ...] = Field(min_length=1)
    start_prices: tuple[StartPrice, ...] = (StartPrice(after_off_h=0.0, eur=0.0),)
    min_up_h: float = Field(ge=0, le=168)
    min_down_h: float = Field(ge=0, le=168)
    ramp_up_mw_per_min: float = Field(gt=0)
    ramp_down_mw_per_min: float = Field(gt=0)
    start_power_mw: float | None = Field(default=None, ge=0)
    stop_power_mw: float | None = Field(default=None, ge=0)
    must_run: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Params:
        mw, starts = [p.power_mw for p in self.cost_curve], self.start_prices
        faults = []
        if self.min_power_mw > self.power_mw:
            faults.append(f"min_power_mw {self.min_power_mw} is above power_mw {self.power_mw}")
        if (mw[0], mw[-1]) != (self.min_power_mw, self.power_mw):
            faults.append("cost_curve does not run from min_power_mw to power_mw")
        if any(b <= a for a, b in itertools.pairwise(mw)):
            faults.append("cost_curve has powers that do not rise")
        elif any(b < a - SLOPE_EUR_PER_MWH for a, b in zip(self.slopes, self.slopes[1:], strict=False)):
            faults.append("cost_curve is not convex")
        if not starts or starts[0].after_off_h != 0.0:
            faults.append("start_prices do not begin at after_off_h 0")
        if any(b.after_off_h <= a.after_off_h or b.eur < a.eur for a, b in itertools.pairwise(starts)):
            faults.append("start_prices do not rise")
        for name in ("start_power_mw", "stop_power_mw"):
            if (limit := getattr(self, name)) is not None and limit < self.min_power_mw:
                faults.append(f"{name} {limit} is below min_power_mw")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def slopes(self) -> list[float]:
        """EUR per MWh of each segment of the cost curve."""
        pairs = zip(self.cost_curve, self.cost_curve[1:], strict=False)
        return [(b.eur_per_h - a.eur_per_h) / (b.power_mw - a.power_mw) for a, b in pairs]


def block(fleet: Sequence[Asset], context: Context) -> Block:
    """The physics of `fleet` over `context.grid`. Raises DataGap for a missing state."""
    asked = replace(context, committed={a.id: _asked(a, context) for a in fleet})
    m = _commitment.machines(fleet, asked, parameter(fleet, "min_up_h"), parameter(fleet, "min_down_h"))
    units = _units(fleet, context, m)
    model = _thermal.model(units, context.grid.hours, reserve=False)
    sold = partial(_headroom, units, model)
    return Block(NAME, model.columns, model.rows, ids(fleet), model.power, read=_reader(fleet, m.shape), headroom=sold)


def _headroom(units: Units, model: _thermal.Model) -> Headroom:
    """Between minimum and maximum output while it runs, within its ramps (`_spinning`); it has no store to empty."""
    s, columns = units.shape, model.power.shape[1]
    on, start, stop = (
        sp.csr_array((np.ones(at.size), (np.arange(at.size), at.ravel())), shape=(at.size, columns))
        for at in (model.on, model.start, model.stop)
    )
    machine = _spinning.Machine(
        model.power, on, start, stop, s.low, s.high, s.start, s.stop, s.ramp_up, s.ramp_down, s.minutes,
        units.before_mw, units.machines.initial_on[:, None],
    )  # fmt: skip
    ways = _spinning.ways(machine)
    n, _ = s.size
    up, down = (room(w.limits[0], n, ramp_mw_per_min=w.ramp, beside=w.limits[1:]) for w in ways)
    return Headroom(up, down)


def _asked(asset: Asset, context: Context) -> NDArray[np.int8]:
    """Commitment (T,) asked for from above, or by a unit that must run; -1 where free."""
    given = np.asarray(context.committed.get(asset.id, np.full(context.grid.n, -1, dtype=np.int8)))
    return np.where((given < 0) & asset.params.must_run, 1, given).astype(np.int8)


def _units(fleet: Sequence[Asset], context: Context, m: Machines) -> Units:
    low, high = parameter(fleet, "min_power_mw"), parameter(fleet, "power_mw")
    minutes = np.asarray(context.grid.minutes, dtype=float)
    up, down = (parameter(fleet, f"ramp_{way}_mw_per_min") for way in ("up", "down"))
    was_on = m.initial_on[:, None] > 0.0
    measured = np.array([context.states[a.id].power_mw for a in fleet]).reshape(-1, 1)
    before = np.where(was_on, np.clip(measured, low, high), 0.0)
    start, stop = (_edge(fleet, f"{what}_power_mw", ramp * minutes) for what, ramp in (("start", up), ("stop", down)))
    reached = np.maximum(before - down * m.times, low)
    stop = np.where(m.known == 0, np.maximum(stop, reached), stop)
    shape = Shape(low, high, start, stop, up * minutes, down * minutes, m.times, minutes, m.up, m.excused)
    off = np.flatnonzero(~was_on[:, 0])
    since = np.array([float(context.states[a.id].minutes_in_state) for a in fleet])
    stopped = StopsBefore(off, since[off], np.ones(off.size))
    width, slope = _segments(fleet)
    return Units(
        m, shape, np.ones_like(low), (m.known == 1).astype(float), (m.known != 0).astype(float), before,
        np.array([[a.params.cost_curve[0].eur_per_h] for a in fleet]), width, slope, _prices(fleet), stopped,
    )  # fmt: skip


def _edge(fleet: Sequence[Asset], name: str, ramp_mw: Array) -> Array:
    """(n,T) highest power next to a start or stop: as given, or what the ramp reaches; inside the unit's range."""
    low, high = parameter(fleet, "min_power_mw"), parameter(fleet, "power_mw")
    given = np.array([getattr(a.params, name) for a in fleet], dtype=float).reshape(-1, 1)
    edge: Array = np.clip(np.where(np.isnan(given), ramp_mw, given), low, high)
    return edge


def _segments(fleet: Sequence[Asset]) -> tuple[Array, Array]:
    """(n,L) widths, MW, and slopes, EUR per MWh, of the cost curves above minimum output."""
    most = max(len(a.params.cost_curve) for a in fleet) - 1
    width, slope = np.zeros((len(fleet), most)), np.zeros((len(fleet), most))
    for i, a in enumerate(fleet):
        mw = np.array([p.power_mw for p in a.params.cost_curve])
        width[i, : mw.size - 1], slope[i, : mw.size - 1] = np.diff(mw), a.params.slopes
    return width, slope


def _prices(fleet: Sequence[Asset]) -> Prices:
    most = max(len(a.params.start_prices) for a in fleet)
    after, eur = np.full((len(fleet), most), np.inf), np.zeros((len(fleet), most))
    for i, a in enumerate(fleet):
        prices = a.params.start_prices
        after[i, : len(prices)] = [60.0 * p.after_off_h for p in prices]
        eur[i] = prices[-1].eur
        eur[i, : len(prices)] = [p.eur for p in prices]
    return Prices(after, eur)


def _reader(fleet: Sequence[Asset], shape: tuple[int, int]) -> Reader:
    asset_ids, size = ids(fleet), shape[0] * shape[1]

    def read(x: Array, duals: Mapping[str, Array]) -> dict[str, AssetResult]:
        on = _commitment.as_commitment(x[:size].reshape(shape))
        return {asset_id: AssetResult(on[i]) for i, asset_id in enumerate(asset_ids)}

    return read


def default_mw(asset: Asset, state: AssetState | None, inputs: Mapping[str, Array], grid: TimeGrid) -> Array:
    """A unit that hears nothing unloads to minimum output (T,) and stops as soon as it may; one that must run stays
    there, and starts as soon as it may. An unknown state is a stopped unit, one out of service stays off.
    """
    q: Params = asset.params
    power = np.zeros(grid.n)
    if state is not None and not state.available:
        return power
    on, since = (False, np.inf) if state is None else (state.on, float(state.minutes_in_state))
    last = float(np.clip(state.power_mw, q.min_power_mw, q.power_mw)) if state is not None and on else 0.0
    for t, minutes in enumerate(grid.minutes):
        fall = q.ramp_down_mw_per_min * minutes
        edge = max(q.min_power_mw, fall) if q.stop_power_mw is None else q.stop_power_mw
        free = since >= 60.0 * (q.min_up_h if on else q.min_down_h) - _commitment.EPS_MIN
        stuck = on and last > edge + EPS_MW
        runs = (q.must_run or stuck) if free else on
        since = since if runs == on else 0.0
        last = (max(q.min_power_mw, last - fall) if on else q.min_power_mw) if runs else 0.0
        power[t], on, since = last, runs, since + minutes
    return power


def window(params: Params) -> tuple[float, float] | None:
    """No store."""
    return None


def store(asset: Asset) -> tuple[str, float] | None:
    """No store."""
    return None


def reach_mw(params: Params) -> tuple[float, float] | None:
    """Off to the rating."""
    return 0.0, params.power_mw


def merit_mw(
    asset: Asset, default: Array, inputs: Mapping[str, Array], grid: TimeGrid, price_eur_per_mwh: Array
) -> Array:
    """The output of the cost curve that earns most at the price, (T,); off where none earns anything."""
    curve = asset.params.cost_curve
    mw, eur_per_h = np.array([p.power_mw for p in curve]), np.array([p.eur_per_h for p in curve])
    margin = price_eur_per_mwh[:, None] * mw - eur_per_h
    best = margin.argmax(axis=1)
    return np.asarray(np.where(margin.max(axis=1) > 0.0, mw[best], 0.0), dtype=float)
