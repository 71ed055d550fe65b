"""Combined heat and power: a gas engine with minimum load, a heat store and a back-up boiler.

With power p (MW), binaries on, start, stop (`_commitment`), step length h (hours) and d (minutes):

    p_min on <= p <= p_max on,      injection = p
    p[t] - p[t-1] <= r d on[t-1] + max(p_min, r d) start[t]
    p[t-1] - p[t] <= r d on[t]   + max(p_min, r d) stop[t]
    fuel = a p + b on,   heat = k p + q on,   boiler fuel = boiler / eta
    s[t] = (1 - loss h) s[t-1] + h (heat + boiler + unmet - dumped - demand),     0 <= s <= store

Costs: fuel and starts; `unmet` and `dumped` heat are slacks at PENALTY_EUR_PER_MWH_TH, so that heat is
neither missed nor dumped unless nothing else is possible. Source: B. Knueven, J. Ostrowski and
J.-P. Watson, "On mixed-integer programming formulations for the unit commitment problem", INFORMS
Journal on Computing 32 (4), 2020 (output, ramp, start and stop limits); engine with heat store and
boiler as in H. Lund and A. N. Andersen, "Optimal designs of small CHP plants in a market with
fluctuating electricity prices", Energy Conversion and Management 46 (6), 2005.

The power before the first step is brought inside [p_min, p_max] of a running engine. A stop that is
known from above or by an outage may fall from the lowest power the ramp can have reached by then. Reserve is what
a running engine has left beside its plan, as `_spinning` states it, and heat that its store takes or has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dispatch.assets import _commitment, _spinning, _store
from dispatch.assets._commitment import Machines, before_matrix
from dispatch.assets._inputs import ids, no_fleet_faults, parameter, stored, trajectories
from dispatch.assets._store import End, diagonal
from dispatch.block import INF, AssetResult, Block, Columns, Context, Reader, Rows, eye, stack
from dispatch.headroom import Headroom, at_edges, room, scaled
from vpp.domain.portfolio import Asset, AssetState, Control
from vpp.domain.time import Array, TimeGrid

NAME = "chp"
INPUTS = ("heat_demand_mw_th",)
CONTROL: Control = "continuous"
GENERATES = True
FOLLOWS: Mapping[str, float] = {}
NEVER_OFF = ""
fleet_faults = no_fleet_faults
PENALTY_EUR_PER_MWH_TH = 1000.0
MOST_HEAT_AND_POWER_PER_FUEL = 1.1
ON, START, STOP, POWER, BOILER, STORE, UNMET, DUMPED, END = range(9)


class Params(BaseModel):
    """One engine with its heat side; fuel and heat are linear in power while it runs, MW per MW and MW."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    power_mw: float = Field(gt=0)
    min_power_mw: float = Field(ge=0)
    fuel_mw_per_mw: float = Field(gt=0)
    fuel_no_load_mw: float = Field(ge=0)
    heat_mw_per_mw: float = Field(ge=0)
    heat_no_load_mw: float
    fuel_price_eur_per_mwh: float = Field(ge=0)
    start_cost_eur: float = Field(ge=0)
    min_up_h: float = Field(ge=0, le=168)
    min_down_h: float = Field(ge=0, le=168)
    ramp_mw_per_min: float = Field(gt=0)
    boiler_mw_th: float = Field(ge=0)
    boiler_efficiency: float = Field(gt=0, le=1.1)
    store_mwh_th: float = Field(ge=0)
    store_loss_per_h: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _consistent(self) -> Params:
        faults = []
        if self.min_power_mw > self.power_mw:
            faults.append(f"min_power_mw {self.min_power_mw} is above power_mw {self.power_mw}")
        if self.heat_at(self.min_power_mw) < 0.0:
            faults.append("heat at min_power_mw is negative")
        for power in (self.min_power_mw, self.power_mw):
            fuel = self.fuel_mw_per_mw * power + self.fuel_no_load_mw
            if power + self.heat_at(power) > MOST_HEAT_AND_POWER_PER_FUEL * fuel:
                faults.append(f"power and heat at {power} MW exceed the fuel of {fuel} MW")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def heat_at(self, power_mw: float) -> float:
        """Heat (MW_th) of the running engine at `power_mw`."""
        return self.heat_mw_per_mw * power_mw + self.heat_no_load_mw


def block(fleet: Sequence[Asset], context: Context) -> Block:
    """The physics of `fleet` over `context.grid`. Raises DataGap for a missing state or heat demand."""
    m = _commitment.machines(fleet, context, parameter(fleet, "min_up_h"), parameter(fleet, "min_down_h"))
    keep = _store.keep_share(parameter(fleet, "store_loss_per_h"), context.grid)
    initial = np.maximum(stored(fleet, context), 0.0)
    lower, upper = _store.window(initial, keep, np.zeros_like(initial), parameter(fleet, "store_mwh_th"))
    end = _store.end_value_columns("end", _store.ends_of(ids(fleet), context), context.grid.n, np.zeros(len(fleet)))
    required = np.minimum(initial, upper[:, -1:])
    columns = _columns(fleet, context, m, (_store.hard_end(end, lower, required), upper), end)
    sizes = [c.size for c in columns]
    size = m.known.size
    rows = [*_commitment.rows(m, sizes, ON), *_output_rows(fleet, sizes, size), *_ramp_rows(fleet, context, m, sizes)]
    rows += [
        _heat_rows(fleet, context, sizes, initial, keep),
        *_store.end_value_rows("end_value", sizes, STORE, END, end),
    ]
    power = stack(sizes, {POWER: eye(size)}, size)
    spinning = partial(_machine, fleet, context, m, sizes)
    reserve = partial(_headroom, fleet, sizes, initial, (lower, upper), spinning)
    return Block(NAME, columns, tuple(rows), ids(fleet), power, read=_reader(fleet, sizes, m.shape), headroom=reserve)


def _machine(fleet: Sequence[Asset], context: Context, m: Machines, sizes: Sequence[int]) -> _spinning.Machine:
    one, low, high = eye(m.known.size), parameter(fleet, "min_power_mw"), parameter(fleet, "power_mw")
    power, on, start, stop = (stack(sizes, {at: one}, m.known.size) for at in (POWER, ON, START, STOP))
    ramp, edge, stop_edge = _ramps(fleet, context, m)
    minutes, was_on = np.asarray(context.grid.minutes, dtype=float), m.initial_on[:, None]
    return _spinning.Machine(
        power, on, start, stop, low, high, np.minimum(edge, high), np.minimum(stop_edge, high), ramp, ramp, minutes,
        _initial_power(fleet, context, m), was_on,
    )  # fmt: skip


def _headroom(
    fleet: Sequence[Asset], sizes: Sequence[int], initial: Array, window: tuple[Array, Array],
    spinning: Callable[[], _spinning.Machine],
) -> Headroom:  # fmt: skip
    """Between minimum load and rating while it runs, within its ramps, as long as the heat store takes or has the heat
    that changes."""
    low, high = window
    n, steps = low.shape
    size, gain = n * steps, np.repeat(parameter(fleet, "heat_mw_per_mw"), steps, axis=1)
    up, down = _spinning.ways(spinning())
    per_mwh = np.divide(1.0, gain, out=np.zeros_like(gain), where=gain > 0.0)
    heated = scaled(sizes, {STORE: -per_mwh}, size, per_mwh * high)
    missing = scaled(sizes, {STORE: per_mwh}, size, -per_mwh * low)
    heats = parameter(fleet, "heat_mw_per_mw") > 0.0
    first = [np.maximum(x, 0.0) * per_mwh[:, :1] for x in (high[:, :1] - initial, initial - low[:, :1])]
    return Headroom(
        room(
            up.limits[0], n, energy=at_edges(heated, first[0], n), stores=heats, ramp_mw_per_min=up.ramp,
            relief_mwh=(high.max(axis=1, keepdims=True) - parameter(fleet, "store_mwh_th")) * per_mwh[:, :1],
            most_mw=parameter(fleet, "power_mw"), beside=up.limits[1:],
        ),
        room(
            down.limits[0], n, energy=at_edges(missing, first[1], n), stores=heats, ramp_mw_per_min=down.ramp,
            beside=down.limits[1:],
        ),
    )  # fmt: skip


def _columns(
    fleet: Sequence[Asset], context: Context, m: Machines, bounds: tuple[Array, Array], end: End
) -> tuple[Columns, ...]:
    hours, price = context.grid.hours, parameter(fleet, "fuel_price_eur_per_mwh")
    on_cost = price * parameter(fleet, "fuel_no_load_mw") * hours
    power_cost = price * parameter(fleet, "fuel_mw_per_mw") * hours
    boiler_cost = price / parameter(fleet, "boiler_efficiency") * hours
    slack_cost = np.broadcast_to(PENALTY_EUR_PER_MWH_TH * hours, m.shape).ravel()
    most = (parameter(fleet, "power_mw") + 0.0 * hours).ravel()
    boiler = (parameter(fleet, "boiler_mw_th") + 0.0 * hours).ravel()
    return (
        *_commitment.columns(m, parameter(fleet, "start_cost_eur"), on_cost),
        Columns("power", m.shape, 0.0, most, power_cost.ravel(), term="fuel"),
        Columns("boiler", m.shape, 0.0, boiler, boiler_cost.ravel(), term="fuel"),
        Columns("store", m.shape, bounds[0].ravel(), bounds[1].ravel(), term="stored_energy"),
        Columns("unmet", m.shape, 0.0, INF, slack_cost, term="penalties"),
        Columns("dumped", m.shape, 0.0, INF, slack_cost, term="penalties"),
        end.columns,
    )


def _output_rows(fleet: Sequence[Asset], sizes: Sequence[int], size: int) -> list[Rows]:
    steps = size // len(fleet)
    most = diagonal(np.repeat(parameter(fleet, "power_mw"), steps, axis=1))
    least = diagonal(np.repeat(parameter(fleet, "min_power_mw"), steps, axis=1))
    return [
        Rows("max_power", -INF, 0.0, own=stack(sizes, {ON: sp.csr_array(-most), POWER: eye(size)}, size)),
        Rows("min_power", 0.0, INF, own=stack(sizes, {ON: sp.csr_array(-least), POWER: eye(size)}, size)),
    ]


def _initial_power(fleet: Sequence[Asset], context: Context, m: Machines) -> Array:
    """(n,1) power before the first step: inside the limits of a running engine, 0 of a stopped one."""
    measured = np.array([context.states[a.id].power_mw for a in fleet]).reshape(-1, 1)
    inside = np.clip(measured, parameter(fleet, "min_power_mw"), parameter(fleet, "power_mw"))
    return np.where(m.initial_on[:, None] > 0.0, inside, 0.0)


def _ramps(fleet: Sequence[Asset], context: Context, m: Machines) -> tuple[Array, Array, Array]:
    """(n,T) MW a step's ramp moves, and the highest power next to a start and a stop; a stop that is known may fall
    from what the ramp has reached by then."""
    per_minute, low = parameter(fleet, "ramp_mw_per_min"), parameter(fleet, "min_power_mw")
    ramp = per_minute * np.asarray(context.grid.minutes, dtype=float)
    edge = np.maximum(low, ramp)
    reached = np.maximum(_initial_power(fleet, context, m) - per_minute * m.times, low)
    return ramp, edge, np.where(m.known == 0, np.maximum(edge, reached), edge)


def _ramp_rows(fleet: Sequence[Asset], context: Context, m: Machines, sizes: Sequence[int]) -> list[Rows]:
    """Ramp, start and stop limits; only where a step is too short for the whole range."""
    n, steps = m.shape
    ramp, edge, stop_edge = _ramps(fleet, context, m)
    before = _initial_power(fleet, context, m)
    binding = (ramp < parameter(fleet, "power_mw")).ravel()
    if not binding.any():
        return []
    change = sp.csr_array(eye(n * steps) - before_matrix(np.ones((n, steps))))
    first = np.zeros((n, steps))
    first[:, :1] = 1.0
    up = {POWER: change, ON: sp.csr_array(-before_matrix(ramp)), START: diagonal(-edge)}
    down = {POWER: sp.csr_array(-change), ON: diagonal(-ramp), STOP: diagonal(-stop_edge)}
    up_limit = first * (before + ramp * m.initial_on[:, None])
    down_limit = first * -before
    return [
        Rows(label, -INF, limit.ravel()[binding], own=sp.csr_array(stack(sizes, parts, n * steps)[binding]))
        for label, parts, limit in (("ramp_up", up, up_limit), ("ramp_down", down, down_limit))
    ]


def _heat_rows(fleet: Sequence[Asset], context: Context, sizes: Sequence[int], initial: Array, keep: Array) -> Rows:
    hours = np.broadcast_to(context.grid.hours, keep.shape)
    gains = {
        ON: diagonal(parameter(fleet, "heat_no_load_mw") * hours),
        POWER: diagonal(parameter(fleet, "heat_mw_per_mw") * hours),
        BOILER: diagonal(hours),
        UNMET: diagonal(hours),
        DUMPED: diagonal(-hours),
    }
    demand = trajectories(fleet, context, INPUTS[0])
    return _store.balance_rows("heat_balance", sizes, STORE, gains, initial, keep, -hours * demand)


def _reader(fleet: Sequence[Asset], sizes: Sequence[int], shape: tuple[int, int]) -> Reader:
    cuts = np.cumsum(sizes)[:END]
    asset_ids, gain = ids(fleet), parameter(fleet, "heat_mw_per_mw")
    no_load = parameter(fleet, "heat_no_load_mw")

    def read(x: Array, duals: Mapping[str, Array]) -> dict[str, AssetResult]:
        groups = [part.reshape(shape) for part in np.split(x, cuts)[:END]]
        heat = gain * groups[POWER] + no_load * groups[ON]
        values = _store.marginal_value(duals, "heat_balance", *shape)
        return {
            asset_id: AssetResult(
                _commitment.as_commitment(groups[ON][i]),
                groups[STORE][i],
                values[i],
                {
                    "boiler_mw_th": groups[BOILER][i],
                    "heat_mw_th": heat[i],
                    "unmet_mw_th": groups[UNMET][i],
                    "dumped_mw_th": groups[DUMPED][i],
                },
            )
            for i, asset_id in enumerate(asset_ids)
        }

    return read


def default_mw(asset: Asset, state: AssetState | None, inputs: Mapping[str, Array], grid: TimeGrid) -> Array:
    """Heat-led operation (T,): runs where the demand is at least the heat of minimum load, as soon as the minimum
    times allow, at the power that makes this heat within the ramp; the boiler meets the rest, the store takes
    what minimum load makes too much. An unknown state is a stopped engine, one out of service stays off.
    """
    p: Params = asset.params
    demand = np.asarray(inputs[INPUTS[0]], dtype=float)
    if state is not None and not state.available:
        return np.zeros(grid.n)
    was_on, since = (False, INF) if state is None else (state.on, float(state.minutes_in_state))
    wanted = demand >= p.heat_at(p.min_power_mw)
    on = _commitment.settle(wanted, was_on, since, _commitment.step_times(grid), p.min_up_h * 60.0, p.min_down_h * 60.0)
    goal = (demand - p.heat_no_load_mw) / p.heat_mw_per_mw if p.heat_mw_per_mw else np.full(grid.n, p.power_mw)
    before = float(np.clip(state.power_mw, p.min_power_mw, p.power_mw)) if state is not None and was_on else 0.0
    return _ramped(np.clip(goal, p.min_power_mw, p.power_mw), on, before, p, grid)


def window(params: Params) -> tuple[float, float] | None:
    """The heat store, MWh thermal."""
    return 0.0, params.store_mwh_th


def store(asset: Asset) -> tuple[str, float] | None:
    """The heat store, MWh thermal."""
    return asset.id, float(asset.params.store_mwh_th)


def reach_mw(params: Params) -> tuple[float, float] | None:
    """Off to the rating."""
    return 0.0, params.power_mw


def merit_mw(
    asset: Asset, default: Array, inputs: Mapping[str, Array], grid: TimeGrid, price_eur_per_mwh: Array
) -> Array:
    """Full power where the price beats the fuel, less what the boiler need not burn, (T,)."""
    q: Params = asset.params
    marginal = q.fuel_price_eur_per_mwh * (q.fuel_mw_per_mw - q.heat_mw_per_mw / q.boiler_efficiency)
    return np.asarray(np.where(price_eur_per_mwh > marginal, q.power_mw, 0.0), dtype=float)


def _ramped(goal: Array, on: NDArray[np.bool_], before: float, p: Params, grid: TimeGrid) -> Array:
    """`goal` followed within start, ramp and stop limits of one engine; the last step before a stop is low enough."""
    minutes = np.asarray(grid.minutes, dtype=float)
    limit = p.ramp_mw_per_min * minutes
    edge = np.maximum(p.min_power_mw, limit)
    ceiling = np.where(on, p.power_mw, 0.0)
    for t in range(grid.n - 2, -1, -1):
        fall = limit[t + 1] if on[t + 1] else edge[t + 1]
        ceiling[t] = min(ceiling[t], ceiling[t + 1] + fall) if on[t] else 0.0
    power = np.zeros(grid.n)
    for t in map(int, np.flatnonzero(on)):
        running = before > 0.0 if t == 0 else bool(on[t - 1])
        last = before if t == 0 else power[t - 1]
        low, high = (last - limit[t], last + limit[t]) if running else (0.0, edge[t])
        power[t] = np.clip(min(goal[t], ceiling[t]), max(low, p.min_power_mw), min(high, p.power_mw))
    return power
