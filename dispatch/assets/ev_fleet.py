"""EV depot: classes of identical charging sessions behind one feeder, optionally feeding back (V2G).

For class i of N_i cars plugged in for the share o[i,t] of step t (`_stays`), charge c, discharge d (MW of the class),
content x at the end of the step above the level the cars may be drawn down to:

    0 <= c <= N P o,    0 <= d <= N D o,    injection = sum_i (d - c)
    x[i,t] = x[i,t-1] + h (eta_c c - d / eta_d),    0 <= x <= lend + need,    x = lend at arrival
    x at departure + unmet >= lend + need
    sum_i c <= feeder (1 - feeding),    sum_i d <= feeder feeding,    feeding binary where cars can feed back
    cost = wear h d + missed_eur_per_mwh unmet

A depot is commanded by its net power, so all its cars charge or all feed back. Cars that stay beyond the grid
must be left with what their chargers cannot give afterwards; without an end value, with the share of their
need that even charging would have given by then.

Aggregation is exact: every row of a class is linear and the same for each of its N cars, so a plan of the
class split evenly is feasible for every car, and the mean of any plans of single cars is one of the class. Which
class is served out of a net power is settled by least laxity in `follow`. Sources: J. Hu, S. You, M. Lind and
J. Ostergaard, "Coordinated charging of electric vehicles for congestion prevention in the distribution grid", IEEE
Trans. Smart Grid 5(2), 2014; Y. Nakahira, N. Chen, L. Chen and S. H. Low, "Smoothed least-laxity-first algorithm
for EV charging", ACM e-Energy 2017.

It sells no reserve: a call falls on cars that leave, so it must be made good class by class before each departure,
while a depot is commanded by its net power alone and a product's recovery time knows no departures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dispatch.assets import _store
from dispatch.assets._inputs import available, ids, no_fleet_faults, parameter
from dispatch.assets._stays import EPS, Depots, depots, first_contents, stays_of
from dispatch.assets._store import End
from dispatch.block import INF, AssetResult, Block, Columns, Context, Reader, Rows, eye, stack
from vpp.domain.portfolio import Asset, AssetState, Control
from vpp.domain.time import Array, TimeGrid

NAME = "ev_fleet"
INPUTS: tuple[str, ...] = ()
CONTROL: Control = "continuous"
GENERATES = False
FOLLOWS: Mapping[str, float] = {}
NEVER_OFF = ""
fleet_faults = no_fleet_faults
CHARGE, DISCHARGE, CONTENT, UNMET, LACK, FEEDING, END = range(7)
FED_MW = 1e-6
EVERY_DAY = (0, 1, 2, 3, 4, 5, 6)


class Session(BaseModel):
    """`count` cars that come and go at local times, each with its own charger; numbers are those of one car.

    `energy_mwh` is needed in the battery, `lend_mwh` may be taken out below the content at arrival and must be
    given back; a departure that is not after the arrival is on the next day. Weekdays are those of arrival, Monday 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: str = Field(min_length=1)
    arrival: time
    departure: time
    count: int = Field(ge=1)
    power_mw: float = Field(gt=0)
    energy_mwh: float = Field(ge=0)
    v2g_mw: float = Field(default=0.0, ge=0)
    lend_mwh: float = Field(default=0.0, ge=0)
    weekdays: tuple[int, ...] = EVERY_DAY

    @field_validator("weekdays")
    @classmethod
    def _days(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or not set(value) <= set(EVERY_DAY):
            raise ValueError("weekdays are 0 (Monday) to 6")
        return value

    @property
    def stay_h(self) -> float:
        """Hours between arrival and departure on a day without a change of clocks."""
        come, go = (datetime.combine(date(2001, 1, 1), at) for at in (self.arrival, self.departure))
        hours = (go - come).total_seconds() / 3600.0
        return hours if hours > 0.0 else hours + 24.0


class Params(BaseModel):
    """The sessions of one depot; its feeder limits the net power both ways, `zone` is that of the local times."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    feeder_mw: float = Field(gt=0)
    sessions: tuple[Session, ...] = Field(min_length=1)
    charge_efficiency: float = Field(default=0.93, gt=0, le=1)
    discharge_efficiency: float = Field(default=0.93, gt=0, le=1)
    wear_eur_per_mwh: float = Field(default=0.0, ge=0)
    missed_eur_per_mwh: float = Field(default=1000.0, gt=0)
    zone: str = "Europe/Berlin"

    @model_validator(mode="after")
    def _consistent(self) -> Params:
        faults = [
            f"session {s.id} needs {s.energy_mwh:g} MWh, its charger gives {most:g} while it stays"
            for s in self.sessions
            if s.energy_mwh > (most := s.power_mw * s.stay_h * self.charge_efficiency) + EPS
        ]
        faults += [f"session {s.id} may lend but cannot feed back" for s in self.sessions if s.lend_mwh > s.v2g_mw * 24]
        if len({s.id for s in self.sessions}) < len(self.sessions):
            faults.append("two sessions have the same id")
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError):
            faults.append(f"unknown zone {self.zone}")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def charge_mw(self) -> float:
        """The most the depot draws."""
        return min(self.feeder_mw, sum(s.count * s.power_mw for s in self.sessions))

    @property
    def discharge_mw(self) -> float:
        """The most the depot feeds back."""
        return min(self.feeder_mw, sum(s.count * s.v2g_mw for s in self.sessions))


def block(fleet: Sequence[Asset], context: Context) -> Block:
    """Columns charge, discharge and content per class and plugged step, what is unmet, the direction (n, T).

    Raises DataGap for an asset without a state. A depot out of service neither charges nor feeds back.
    """
    grid, n, d = context.grid, len(fleet), depots(fleet, context)
    serving = available(fleet, context).ravel()[d.owner]
    most_in = (serving * d.each("charge_mw"))[d.stay] * d.share
    most_out = (serving * d.each("discharge_mw"))[d.stay] * d.share
    full = d.each("lend_mwh") + d.each("need_mwh")
    end = _store.end_value_columns("end", _store.ends_of(ids(fleet), context), grid.n, np.zeros(n))
    required, missed = _required(fleet, d, grid, end), parameter(fleet, "missed_eur_per_mwh").ravel()[d.owner]
    wear = parameter(fleet, "wear_eur_per_mwh").ravel()[d.owner][d.stay] * grid.hours[d.step]
    direction = _direction(fleet, d, most_out, context)
    columns = (
        Columns("charge", (1, d.stay.size), 0.0, most_in, term="wear"),
        Columns("discharge", (1, d.stay.size), 0.0, most_out, wear, term="wear"),
        Columns("content", (1, d.stay.size), 0.0, full[d.stay], term="stored_energy"),
        Columns("unmet", (1, int(d.goes.sum())), 0.0, INF, missed[d.goes], term="penalties"),
        Columns("lack", (1, int((~d.goes).sum())), 0.0, INF, missed[~d.goes], term="stored_energy"),
        direction,
        end.columns,
    )
    sizes = [c.size for c in columns]
    at = d.owner[d.stay] * grid.n + d.step
    k = d.stay.size
    total = sp.csr_array((np.ones(k), (at, np.arange(k))), shape=(n * grid.n, k))
    rows = [
        _balance(fleet, d, grid, sizes),
        *_needs(d, required, sizes),
        *_feeder(fleet, d, total, most_in, most_out, sizes),
    ]
    rows += _end_rows(d, end, n, sizes)
    injection = stack(sizes, {CHARGE: sp.csr_array(-total), DISCHARGE: total}, n * grid.n)
    return Block(NAME, columns, tuple(rows), ids(fleet), injection, read=_reader(fleet, d, grid, sizes, required))


def _required(fleet: Sequence[Asset], d: Depots, grid: TimeGrid, end: End) -> Array:
    """(I,) content at the end of each stay, or at the end of the grid where that comes first."""
    horizon_h, eta = float(grid.hours.sum()), parameter(fleet, "charge_efficiency").ravel()[d.owner]
    begin, leave, full = d.each("begin_h"), d.each("end_h"), d.each("lend_mwh") + d.each("need_mwh")
    later = eta * d.each("charge_mw") * np.maximum(leave - horizon_h, 0.0)
    even = d.each("lend_mwh") + d.each("need_mwh") * (horizon_h - begin) / (leave - begin)
    reach = d.first + eta * d.each("charge_mw") * (np.minimum(leave, horizon_h) - np.maximum(begin, 0.0))
    wished = np.where(end.valued[d.owner], 0.0, np.minimum(even, reach))
    return np.where(d.goes, full, np.maximum(np.maximum(full - later, 0.0), wished))


def _direction(fleet: Sequence[Asset], d: Depots, most_out: Array, context: Context) -> Columns:
    """(n, T) 1 where a depot may feed back; free only where some car can, and nobody has decided already."""
    steps = context.grid.n
    can = np.zeros((len(fleet), steps))
    np.maximum.at(can, (d.owner[d.stay], d.step), most_out > 0.0)
    lower, upper = np.zeros_like(can), can.copy()
    for i, asset in enumerate(fleet):
        if asset.id in context.committed:
            fixed = np.asarray(context.committed[asset.id])
            lower[i], upper[i] = np.where(fixed == 1, can[i], 0.0), np.where(fixed == 0, 0.0, can[i])
    return Columns("feeding", can.shape, lower.ravel(), upper.ravel(), integer=bool((upper > lower).any()), term="wear")


def _balance(fleet: Sequence[Asset], d: Depots, grid: TimeGrid, sizes: Sequence[int]) -> Rows:
    """x[k] - x[k-1] - h (eta_c c - d / eta_d) = content at the beginning in a stay's first step, else 0."""
    k = d.stay.size
    begins = np.concatenate([[True], d.stay[1:] != d.stay[:-1]]) if k else np.zeros(0, dtype=bool)
    later = np.flatnonzero(~begins)
    before = sp.csr_array((np.ones(later.size), (later, later - 1)), shape=(k, k))
    hours = grid.hours[d.step]
    gain = hours * parameter(fleet, "charge_efficiency").ravel()[d.owner][d.stay]
    loss = hours / parameter(fleet, "discharge_efficiency").ravel()[d.owner][d.stay]
    parts = {CONTENT: sp.csr_array(eye(k) - before), CHARGE: _store.diagonal(-gain), DISCHARGE: _store.diagonal(loss)}
    right = np.where(begins, d.first[d.stay], 0.0)
    return Rows("balance", right, right, own=stack(sizes, parts, k))


def _needs(d: Depots, required: Array, sizes: Sequence[int]) -> list[Rows]:
    """content at the last pair + unmet (or lack) >= what is required, for stays that go and stays that last."""
    found = []
    for label, group, mine in (("need", UNMET, d.goes), ("left", LACK, ~d.goes)):
        at, size = d.last[mine], int(mine.sum())
        if size:
            content = sp.csr_array((np.ones(size), (np.arange(size), at)), shape=(size, sizes[CONTENT]))
            found.append(Rows(label, required[mine], INF, own=stack(sizes, {CONTENT: content, group: eye(size)}, size)))
    return found


def _feeder(
    fleet: Sequence[Asset], d: Depots, total: sp.csr_array, most_in: Array, most_out: Array, sizes: Sequence[int]
) -> list[Rows]:
    """Both directions within the feeder, one of them at a time."""
    feeder = np.repeat(parameter(fleet, "feeder_mw").ravel(), total.shape[0] // len(fleet))
    inward, outward = total @ most_in, total @ most_out
    out_most, in_most = np.minimum(feeder, outward), np.minimum(feeder, inward)
    found = []
    both = np.flatnonzero(outward > 0.0)
    bound = np.flatnonzero((inward > feeder + EPS) | ((outward > 0.0) & (inward > 0.0)))
    if bound.size:
        closed = _pick(np.where(outward > 0.0, in_most, 0.0), bound)
        own = stack(sizes, {CHARGE: total[bound], FEEDING: closed}, bound.size)
        found.append(Rows("feeder_in", -INF, in_most[bound], own=own))
    if both.size:
        own = stack(sizes, {DISCHARGE: total[both], FEEDING: sp.csr_array(-_pick(out_most, both))}, both.size)
        found.append(Rows("feeder_out", -INF, 0.0, own=own))
    return found


def _pick(values: Array, rows: NDArray[np.intp]) -> sp.csr_array:
    """The rows `rows` of the diagonal matrix of `values`."""
    return sp.csr_array((values[rows], (np.arange(rows.size), rows)), shape=(rows.size, values.size))


def _end_rows(d: Depots, end: End, n: int, sizes: Sequence[int]) -> list[Rows]:
    """What the cars that stay hold at the end of the grid is the sum of the end value's segments."""
    valued = np.flatnonzero(end.valued)
    if not valued.size:
        return []
    lasting = np.flatnonzero(~d.goes)
    held = sp.csr_array(
        (np.ones(lasting.size), (d.owner[lasting], d.last[lasting])), shape=(n, sizes[CONTENT])
    )[valued]  # fmt: skip
    segments = sp.csr_array(sp.kron(sp.eye_array(n), -np.ones((1, end.columns.shape[1]))))[valued]
    return [Rows("end_value", 0.0, 0.0, own=stack(sizes, {CONTENT: held, END: segments}, valued.size))]


def _reader(fleet: Sequence[Asset], d: Depots, grid: TimeGrid, sizes: Sequence[int], required: Array) -> Reader:
    cuts, steps = np.cumsum(sizes), grid.n
    lasting = np.array([d.stays[i].end_h for i in d.stay]) > np.cumsum(grid.hours)[d.step] + EPS

    def per_step(values: Array, pairs: NDArray[np.bool_]) -> Array:
        return np.asarray(np.bincount(d.step[pairs], values[pairs], minlength=steps), dtype=float)

    def read(x: Array, duals: Mapping[str, Array]) -> Mapping[str, AssetResult]:
        charge, discharge, content = np.split(x, cuts)[:3]
        results = {}
        for a, asset in enumerate(fleet):
            mine = d.owner[d.stay] == a
            told = {"unmet_mwh": np.zeros(steps)}
            for i in np.flatnonzero(d.owner == a):
                k, stay = d.stay == i, d.stays[i]
                told[f"charge_mw {stay.name}"] = per_step(charge, k)
                if stay.discharge_mw > 0.0:
                    told[f"discharge_mw {stay.name}"] = per_step(discharge, k)
                if d.goes[i]:
                    told["unmet_mwh"][d.step[d.last[i]]] += max(0.0, required[i] - content[d.last[i]])
            value = None
            if "balance" in duals:
                value = -per_step(duals["balance"], mine) / np.maximum(per_step(np.ones(mine.size), mine), 1.0)
            fed = np.asarray(per_step(discharge, mine) > FED_MW, dtype=float)
            results[asset.id] = AssetResult(fed, per_step(content, mine & lasting), value, told)
        return results

    return read


def default_mw(asset: Asset, state: AssetState | None, inputs: Mapping[str, Array], grid: TimeGrid) -> Array:
    """Charging at once (T,): every car at full power from arrival on, within the feeder the first to leave first."""
    q: Params = asset.params
    if state is not None and not state.available:
        return np.zeros(grid.n)
    stays = stays_of(q, grid)
    content = first_contents(q, stays, 0.0 if state is None else state.stored_mwh)
    order = sorted(range(len(stays)), key=lambda i: stays[i].end_h)
    shares, drawn = [s.overlap(grid) for s in stays], np.zeros(grid.n)
    for t, h in enumerate(grid.hours):
        for i in order:
            asked = (stays[i].full_mwh - content[i]) / (h * q.charge_efficiency)
            power = max(0.0, min(stays[i].charge_mw * shares[i][t], asked, q.feeder_mw - drawn[t]))
            content[i] += h * q.charge_efficiency * power
            drawn[t] += power
    return -drawn


def window(params: Params) -> tuple[float, float] | None:
    """From nothing to every car full, MWh."""
    return 0.0, sum(s.count * (s.lend_mwh + s.energy_mwh) for s in params.sessions)


def store(asset: Asset) -> tuple[str, float] | None:
    """The cars of all sessions, MWh."""
    limits = window(asset.params)
    return (asset.id, limits[1]) if limits and limits[1] > 0.0 else None


def reach_mw(params: Params) -> tuple[float, float] | None:
    """Every charger at full power to every car feeding back."""
    return -params.charge_mw, params.discharge_mw


def merit_mw(
    asset: Asset, default: Array, inputs: Mapping[str, Array], grid: TimeGrid, price_eur_per_mwh: Array
) -> Array:
    """Every stay charges in the cheapest of its steps, (T,)."""
    q: Params = asset.params
    drawn, order = np.zeros(grid.n), np.argsort(price_eur_per_mwh, kind="stable")
    for stay in stays_of(q, grid):
        most = stay.charge_mw * stay.overlap(grid)[order]
        before = np.cumsum(most * grid.hours[order]) - most * grid.hours[order]
        left = np.maximum(stay.need_mwh / q.charge_efficiency - before, 0.0)
        drawn[order] += np.minimum(most, left / grid.hours[order])
    return -np.minimum(drawn, q.feeder_mw)
