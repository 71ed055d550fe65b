"""Process: mills that run or stop and fill a shared silo, from which shipments leave.

With binaries on, start, stop (`_commitment`), step length h (hours), mill i of silo g, content e in
MWh of electricity (tonnes times the silo's kWh/t / 1000):

    injection = -power on
    e[t] = e[t-1] + h (sum over i of rate_i on_i[t] - shipments[t]) + missed[t] - spilled[t]
    rate_i = power_i * silo kWh/t / mill kWh/t,     min <= e <= capacity,     0 <= missed <= h shipments
    sum over the silo's mills of on[t] <= crew limit
    sum of start over (t - 24 h, t] + starts before the grid in that window <= max_starts_per_day

The limit of starts holds in any 24 h, so a plan remembers what the plans before it started. Missed and
spilled product cost `missed_eur_per_t`; product may spill only where a silo's mills are held on by
their minimum run or by the stage above, because a free mill can always stop. Known states also lift
the crew limit and the number of starts where they exceed it. Source: the discrete-time
state-task network of E. Kondili, C. C. Pantelides and R. W. H. Sargent, "A general algorithm for
short-term scheduling of batch operations I", Computers and Chemical Engineering 17 (2), 1993, and for
cement mills with silos P. M. Castro, I. Harjunkoski and I. E. Grossmann, "New continuous-time
scheduling formulation for continuous plants under variable electricity cost", Industrial and
Engineering Chemistry Research 48 (14), 2009.

The state `stored_mwh` of a mill is its silo's content divided by the number of its mills.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dispatch.assets import _commitment, _store
from dispatch.assets._commitment import Machines
from dispatch.assets._inputs import ids, parameter, stored, trajectories
from dispatch.block import INF, AssetResult, Block, Columns, Context, EndValue, Reader, Rows, eye, stack
from dispatch.headroom import Headroom, Linear, at_edges, room
from dispatch.sparse import at_each_step, diagonal
from vpp.domain.errors import Fault, InputFaults
from vpp.domain.portfolio import Asset, AssetState, Control
from vpp.domain.time import Array, TimeGrid

NAME = "process"
INPUTS = ("shipments_t_per_h", "rota")
CONTROL: Control = "request"
GENERATES = False
FOLLOWS: Mapping[str, float] = {}
NEVER_OFF = ""
DAY_MIN = 1440.0
ON, START, STOP, CONTENT, MISSED, SPILLED, END = range(7)


class Silo(BaseModel):
    """A product store shared by the mills that name the same `id`; `kwh_per_t` values its content."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: str = Field(min_length=1)
    capacity_t: float = Field(gt=0)
    min_t: float = Field(default=0.0, ge=0)
    kwh_per_t: float = Field(gt=0)
    missed_eur_per_t: float = Field(gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> Silo:
        if self.min_t >= self.capacity_t:
            raise ValueError(f"min_t {self.min_t} is not below capacity_t {self.capacity_t}")
        return self

    @property
    def mwh_per_t(self) -> float:
        return self.kwh_per_t / 1000.0


class Params(BaseModel):
    """One mill; `crew_limit` is the number of mills of its silo that may run at once."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    power_mw: float = Field(gt=0)
    kwh_per_t: float = Field(gt=0)
    min_run_h: float = Field(ge=0, le=168)
    min_stop_h: float = Field(ge=0, le=168)
    start_cost_eur: float = Field(ge=0)
    silo: Silo
    max_starts_per_day: int | None = Field(default=None, ge=0)
    crew_limit: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> Params:
        run_t = self.tonnes_per_h * self.min_run_h
        if run_t > self.silo.capacity_t - self.silo.min_t:
            raise ValueError(f"one minimum run of {run_t:g} t does not fit into the silo between min_t and capacity_t")
        return self

    @property
    def tonnes_per_h(self) -> float:
        return self.power_mw * 1000.0 / self.kwh_per_t


@dataclass(frozen=True)
class Silos:
    """G silos of n mills: `of_mill` (n,) is the silo of each, `first` (G,) the first mill of each, in fleet order."""

    specs: tuple[Silo, ...]
    of_mill: NDArray[np.int64]
    first: tuple[int, ...]

    def total(self, values: Array) -> Array:
        """(G, ...) the sum of `values` (n, ...) over the mills of each silo."""
        return np.asarray(self.member @ values)

    @property
    def member(self) -> sp.csr_array:
        """(G,n) a one where mill i fills silo g."""
        at = self.of_mill, np.arange(len(self.of_mill))
        return sp.csr_array((np.ones(len(self.of_mill)), at), shape=(len(self.specs), len(self.of_mill)))

    @property
    def mwh_per_t(self) -> Array:
        """(G,1) MWh of electricity per tonne in the silo."""
        return np.array([s.mwh_per_t for s in self.specs]).reshape(-1, 1)

    def number(self, name: str) -> Array:
        """(G,1) values of one silo parameter."""
        return np.array([getattr(s, name) for s in self.specs], dtype=float).reshape(-1, 1)


def silos_of(fleet: Sequence[Asset]) -> Silos:
    """The silos of a fleet. Raises InputFaults where mills describe the same silo differently."""
    specs: list[Silo] = []
    first: list[int] = []
    at: dict[str, int] = {}
    faults: list[Fault] = []
    for i, asset in enumerate(fleet):
        silo: Silo = asset.params.silo
        if silo.id not in at:
            at[silo.id] = len(specs)
            specs.append(silo)
            first.append(i)
        elif specs[at[silo.id]] != silo:
            faults.append(Fault(asset.id, "silo", f"differs from {fleet[first[at[silo.id]]].id}"))
    if faults:
        raise InputFaults(faults)
    of_mill = np.array([at[a.params.silo.id] for a in fleet], dtype=np.int64)
    return Silos(tuple(specs), of_mill, tuple(first))


def block(fleet: Sequence[Asset], context: Context) -> Block:
    """The physics of `fleet` over `context.grid`. Raises DataGap for a missing state or missing shipments and
    InputFaults where mills describe the same silo differently.
    """
    silos, steps = silos_of(fleet), context.grid.n
    m = _commitment.machines(fleet, context, parameter(fleet, "min_run_h"), parameter(fleet, "min_stop_h"))
    shipped = np.maximum(trajectories([fleet[i] for i in silos.first], context, INPUTS[0]), 0.0)
    shipped_mwh = shipped * context.grid.hours * silos.mwh_per_t
    initial, keep = np.maximum(silos.total(stored(fleet, context) * m.count), 0.0), np.ones_like(shipped)
    running = silos.total((m.known == 1) * m.count)
    floor, ceiling = (silos.number(name) * silos.mwh_per_t for name in ("min_t", "capacity_t"))
    lower, upper = _store.window(initial, keep, floor, ceiling)
    end = _store.end_value_columns("end", _ends(fleet, silos, context), steps, floor, lower[:, -1])
    price = np.repeat(silos.number("missed_eur_per_t") / silos.mwh_per_t, steps, axis=1)
    spilling = np.flatnonzero(running.any(axis=1))
    columns = (
        *_commitment.columns(m, parameter(fleet, "start_cost_eur")),
        Columns("content", keep.shape, lower.ravel(), upper.ravel(), term="stored_energy"),
        Columns("missed", keep.shape, 0.0, shipped_mwh.ravel(), price.ravel(), term="missed_production"),
        Columns("spilled", (spilling.size, steps), cost=price[spilling].ravel(), term="missed_production"),
        end.columns,
    )
    sizes = [c.size for c in columns]
    made = at_each_step(sp.csr_array(silos.member @ diagonal(_rate(fleet))), context.grid.hours)
    gains = {ON: made, MISSED: eye(keep.size), SPILLED: _spills(spilling, keep.shape)}
    rows = [*_commitment.rows(m, sizes, ON), *_crew_rows(fleet, silos, m, sizes, running)]
    rows += _start_rows(fleet, m, sizes, context)
    rows.append(_store.balance_rows("silo_balance", sizes, CONTENT, gains, initial, keep, -shipped_mwh))
    rows += _store.end_value_rows("end_value", sizes, CONTENT, END, end)
    power = stack(sizes, {ON: diagonal(-_flat(parameter(fleet, "power_mw"), steps))}, m.known.size)
    read = _reader(fleet, silos, m, spilling, sizes)
    reserve = partial(_headroom, fleet, context, silos, m, sizes, (initial, lower))
    return Block(NAME, columns, tuple(rows), ids(fleet), power, read=read, headroom=reserve)


def _spills(spilling: NDArray[np.int64], shape: tuple[int, int]) -> sp.csr_array:
    """(G*T, spilling silos * T) the MWh a silo gains per MWh spilled."""
    at = (spilling[:, None] * shape[1] + np.arange(shape[1])).ravel()
    return sp.csr_array((-np.ones(at.size), (at, np.arange(at.size))), shape=(shape[0] * shape[1], at.size))


def _headroom(
    fleet: Sequence[Asset], context: Context, silos: Silos, m: Machines, sizes: Sequence[int],
    content: tuple[Array, Array],
) -> Headroom:  # fmt: skip
    """Up: a mill that runs and is past its minimum run stops, not in the step it starts in, all or nothing, and rests
    its minimum stop; its share of the silo above the floor carries the product it does not make. Nothing starts on
    call."""
    (initial, low), (n, steps) = content, m.shape
    rated = parameter(fleet, "power_mw")
    since = np.array([context.states[a.id].minutes_in_state for a in fleet], dtype=float).reshape(-1, 1)
    held = (m.times < m.up - since - _commitment.EPS_MIN) & (m.initial_on[:, None] > 0.0) & (m.known == 1)
    stoppable = _commitment.past_minimum_run(m, sizes, ON)
    per_step = diagonal(np.repeat(rated, steps, axis=1))
    power = Linear(sp.csr_array(per_step @ stoppable), -(rated * held).ravel())
    mills = np.bincount(silos.of_mill)[silos.of_mill]
    own = sp.csr_array(diagonal(rated.ravel() / _rate(fleet).ravel() / mills) @ silos.member.T)
    share = stack(sizes, {CONTENT: at_each_step(own, np.ones(steps))}, n * steps)
    left = at_edges(Linear(share, -(own @ low).ravel()), own @ np.maximum(initial - low[:, :1], 0.0), n)
    floor = silos.number("min_t") * silos.mwh_per_t
    below = own @ (floor - low.min(axis=1, keepdims=True))
    rest = parameter(fleet, "min_stop_h")
    return Headroom(room(power, n, energy=left, whole_mw=rated, rest_h=rest, relief_mwh=below))


def _flat(values: Array, steps: int) -> Array:
    return np.repeat(np.ravel(values), steps)


def _rate(fleet: Sequence[Asset]) -> Array:
    """(n,1) MWh of silo content that a running mill makes per hour."""
    return np.array([a.params.tonnes_per_h * a.params.silo.mwh_per_t for a in fleet]).reshape(-1, 1)


def _ends(fleet: Sequence[Asset], silos: Silos, context: Context) -> list[EndValue | None]:
    """End value of each silo: the segments of its mills' shares, dearest first."""
    given = _store.ends_of(ids(fleet), context)
    parts: list[list[EndValue]] = [[] for _ in silos.specs]
    for asset, end, g in zip(fleet, given, silos.of_mill, strict=True):
        if end is not None:
            parts[g].append(EndValue(end.width_mwh * context.units.get(asset.id, 1), end.value))
    merged: list[EndValue | None] = []
    for present in parts:
        if not present:
            merged.append(None)
            continue
        width = np.concatenate([np.asarray(p.width_mwh, dtype=float) for p in present])
        value = np.concatenate([np.asarray(p.value, dtype=float) for p in present])
        order = np.argsort(-value, kind="stable")
        merged.append(EndValue(width[order], value[order]))
    return merged


def _crew_rows(
    fleet: Sequence[Asset], silos: Silos, m: Machines, sizes: Sequence[int], held_on: Array
) -> list[Rows]:
    """At most the smallest `crew_limit` among a silo's mills run at once; known states lift it."""
    given = [INF if a.params.crew_limit is None else float(a.params.crew_limit) for a in fleet]
    limit = np.full((len(silos.specs), 1), INF)
    np.minimum.at(limit[:, 0], silos.of_mill, given)
    limited = np.flatnonzero(limit < silos.total(np.broadcast_to(m.count, (len(fleet), 1))))
    if not limited.size:
        return []
    running = at_each_step(sp.csr_array(silos.member[limited]), np.ones(m.shape[1]))
    most = np.maximum(limit[limited], held_on[limited])
    return [Rows("crew", -INF, most.ravel(), own=stack(sizes, {ON: running}, most.size))]


def _start_rows(fleet: Sequence[Asset], m: Machines, sizes: Sequence[int], context: Context) -> list[Rows]:
    """At most `max_starts_per_day` in the 24 h that end with each step, earlier ones counted; known starts lift it."""
    given = np.array([np.nan if a.params.max_starts_per_day is None else a.params.max_starts_per_day for a in fleet])
    limited = np.flatnonzero(np.isfinite(given))
    if not limited.size:
        return []
    age = m.times[:, None] - m.times
    in_day = ((age >= 0.0) & (age < DAY_MIN)).astype(float)
    earlier = np.stack([_earlier_starts(context, fleet[int(i)].id, m.times) for i in limited])
    pick = sp.csr_array((np.ones(limited.size), (np.arange(limited.size), limited)), shape=(limited.size, m.shape[0]))
    left = np.maximum(given[limited, None] - earlier, 0.0) * np.broadcast_to(m.count, (len(fleet), 1))[limited]
    most = np.maximum(left, _commitment.known_starts(m)[limited] @ in_day.T)
    starts = sp.csr_array(sp.kron(pick, sp.csr_array(in_day)))
    return [Rows("starts_per_day", -INF, most.ravel(), own=stack(sizes, {START: starts}, most.size))]


def _earlier_starts(context: Context, asset_id: str, times: Array) -> Array:
    """(T,) the starts before the grid that are less than 24 h old at each step."""
    start = context.grid.start
    before = np.array([(s - start).total_seconds() / 60.0 for s in context.states[asset_id].started if s < start])
    return np.asarray((times[:, None] - before < DAY_MIN).sum(axis=1), dtype=float)


def _reader(
    fleet: Sequence[Asset], silos: Silos, m: Machines, spilling: NDArray[np.int64], sizes: Sequence[int]
) -> Reader:
    cuts, steps = np.cumsum(sizes)[:END], m.shape[1]
    mills = silos.total(np.broadcast_to(m.count, (len(fleet), 1)))

    def read(x: Array, duals: Mapping[str, Array]) -> dict[str, AssetResult]:
        groups = [part.reshape(-1, steps) for part in np.split(x, cuts)[:END]]
        values = _store.marginal_value(duals, "silo_balance", len(silos.specs), steps)
        share, spilled = groups[CONTENT] / mills, np.zeros_like(groups[CONTENT])
        spilled[spilling] = groups[SPILLED]
        groups[SPILLED] = spilled
        in_tonnes = {at: groups[at] / silos.mwh_per_t for at in (CONTENT, MISSED, SPILLED)}
        results = {}
        for i, (asset, g) in enumerate(zip(fleet, silos.of_mill, strict=True)):
            decisions = {"silo_t": in_tonnes[CONTENT][g]}
            if silos.first[g] == i:
                decisions |= {"missed_t": in_tonnes[MISSED][g], "spilled_t": in_tonnes[SPILLED][g]}
            on = _commitment.as_commitment(groups[ON][i])
            results[asset.id] = AssetResult(on, share[g], values[g], decisions)
        return results

    return read


def default_mw(asset: Asset, state: AssetState | None, inputs: Mapping[str, Array], grid: TimeGrid) -> Array:
    """The rota (T,): consumption of `power_mw` where it says 1; a mill out of service stays off."""
    p: Params = asset.params
    in_service = 1.0 if state is None or state.available else 0.0
    injection: Array = -p.power_mw * in_service * np.asarray(inputs["rota"], dtype=float)
    return injection


def window(params: Params) -> tuple[float, float] | None:
    """None of its own: the silo's window holds for all its mills together, see `fleet_faults`."""
    return None


def store(asset: Asset) -> tuple[str, float] | None:
    """The silo, MWh of electricity."""
    silo: Silo = asset.params.silo
    return silo.id, silo.capacity_t * silo.mwh_per_t


def reach_mw(params: Params) -> tuple[float, float] | None:
    """Running or off."""
    return -params.power_mw, 0.0


def merit_mw(
    asset: Asset, default: Array, inputs: Mapping[str, Array], grid: TimeGrid, price_eur_per_mwh: Array
) -> Array:
    """As many hours as the rota runs, in the cheapest steps, (T,)."""
    running = float(np.sum((default < 0.0) * grid.hours))
    order = np.argsort(price_eur_per_mwh, kind="stable")
    chosen = np.zeros(grid.n, dtype=bool)
    chosen[order] = np.cumsum(grid.hours[order]) <= running + 1e-9
    return np.asarray(-asset.params.power_mw * chosen, dtype=float)


def fleet_faults(assets: Sequence[Asset], stored_mwh: Mapping[str, float]) -> Iterator[Fault]:
    """Mills of one silo must describe the same silo and ship the same; its content must fit into it."""
    groups: dict[str, list[Asset]] = {}
    for asset in assets:
        groups.setdefault(asset.params.silo.id, []).append(asset)
    for first, *others in groups.values():
        for mill in others:
            if mill.params.silo != first.params.silo:
                yield Fault(mill.id, "silo", f"{mill.params.silo.id} is described otherwise at {first.id}")
            if mill.inputs["shipments_t_per_h"] != first.inputs["shipments_t_per_h"]:
                yield Fault(mill.id, "inputs.shipments_t_per_h", f"differs from that of {first.id}, same silo")
        silo: Silo = first.params.silo
        tonnes = sum(stored_mwh[m.id] for m in (first, *others)) / silo.mwh_per_t
        if not silo.min_t <= round(tonnes, 6) <= silo.capacity_t:
            limits = f"{silo.min_t:g} to {silo.capacity_t:g} t"
            yield Fault(first.id, "initial.stored_mwh", f"silo {silo.id} holds {tonnes:g} t, outside {limits}")
