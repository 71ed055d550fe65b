"""Thermostat cluster: a class of identical air-conditioners or heat pumps that switch one after the other.

N units, each a room as in `_room` with its thermostat at `set_c`; what is planned is the mean of the class.
The electric power of the units that run is p = N_on * unit_kw / 1000, so p stands for their number:

    0 <= p <= P,   P = N unit_kw / 1000,   injection = -p,    C dT/dt = U (ambient - T) + gains -+ COP p
    p[t] - p[t-1] = started[t] - stopped[t],         started, stopped >= 0
    sum of started[s] over s <= t that began less than min_on ago    <=  p[t]
    sum of stopped[s] over s <= t that began less than min_off ago   <=  P - p[t]

The last two are the minimum times of a class of units (cycling: what has just switched cannot switch back),
in their fluid limit, so that no count is integer: a unit is a kilowatt or two of a megawatt. What switched
before the plan is not known. The comfort band is set_c +- band_c / 2 for the mean temperature; leaving it
costs money per degree and hour. People tire of being uncomfortable (fatigue): the degree-hours away from
the set-point may add up to `patience_c_h_per_day` in each UTC day, in a shorter part of it to its share, and
what goes beyond costs `fatigue_eur_per_unit_c_h` a unit:

    away >= |T - set_c|,      sum over a day of h away - tired <= patience * hours / 24 - spent,      tired >= 0

`spent` and the hours it took are what telemetry saw of the day before the plan begins, so that a roll has no new
patience; what was spent beyond the share is paid and owes nothing more.
Rebound is in no rule of its own: a room that drifted must be brought back.
Source: H. Hao, B. M. Sanandaji, K. Poolla and T. L. Vincent, "Aggregate flexibility of thermostatically
controlled loads", IEEE Trans. Power Systems 30 (1), 2015; minimum times of clusters as in B. S. Palmintier
and M. D. Webster, "Heterogeneous unit clustering for efficient operational flexibility modeling", IEEE
Trans. Power Systems 29 (3), 2014. A class out of service for us is left to its thermostats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dispatch.assets import _room, _store
from dispatch.assets._inputs import available, ids, no_fleet_faults, parameter, stored, trajectories
from dispatch.assets._merit import shifted
from dispatch.assets._room import CONTENT, POWER, Mode, Rooms
from dispatch.assets._store import diagonal
from dispatch.block import INF, AssetResult, Block, Columns, Context, Reader, Rows, eye, previous, stack
from vpp.domain.errors import DataGap
from vpp.domain.portfolio import Asset, AssetState, Control
from vpp.domain.time import Array, TimeGrid

NAME = "thermostat_cluster"
INPUTS = ("ambient_c", "gains_mw_th")
CONTROL: Control = "continuous"
GENERATES = False
FOLLOWS: Mapping[str, float] = {}
NEVER_OFF = ""
fleet_faults = no_fleet_faults
DAY_MIN = 1440.0
EPS_MIN = 1e-6
STARTED, STOPPED, AWAY, TIRED = range(6, 10)


class Params(BaseModel):
    """`count` units of `unit_kw` electric each; capacity and transmittance are of one unit's room."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mode: Mode = "cooling"
    count: int = Field(ge=1)
    unit_kw: float = Field(gt=0)
    cop_at_20c: float = Field(gt=1, le=20)
    cop_slope_per_c: float = 0.0
    unit_heat_capacity_kwh_th_per_c: float = Field(gt=0)
    unit_transmittance_kw_th_per_c: float = Field(gt=0)
    set_c: float = Field(ge=0, le=45)
    band_c: float = Field(gt=0, le=10)
    min_on_min: float = Field(default=0.0, ge=0, le=120)
    min_off_min: float = Field(default=0.0, ge=0, le=120)
    discomfort_eur_per_unit_c_h: float = Field(gt=0)
    patience_c_h_per_day: float = Field(gt=0)
    fatigue_eur_per_unit_c_h: float = Field(gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> Params:
        faults = _room.cop_faults(self.mode, self.cop_at_20c, self.cop_slope_per_c)
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def power_mw(self) -> float:
        """All units at once."""
        return self.count * self.unit_kw / 1000.0

    @property
    def heat_capacity_mwh_th_per_c(self) -> float:
        return self.count * self.unit_heat_capacity_kwh_th_per_c / 1000.0

    @property
    def transmittance_mw_th_per_c(self) -> float:
        return self.count * self.unit_transmittance_kw_th_per_c / 1000.0

    @property
    def discomfort_eur_per_c_h(self) -> float:
        return self.count * self.discomfort_eur_per_unit_c_h

    @property
    def edge_c(self) -> float:
        """The limit of the band at which the units must run: the content is 0 there."""
        return self.set_c + (0.5 if self.mode == "cooling" else -0.5) * self.band_c

    @property
    def set_mwh_th(self) -> float:
        """The content at the set-point."""
        return self.heat_capacity_mwh_th_per_c * self.band_c / 2.0

    def cop(self, ambient_c: Array) -> Array:
        """Heat moved per electricity at `ambient_c`, same shape."""
        return np.maximum(1.0, self.cop_at_20c + self.cop_slope_per_c * (ambient_c - 20.0))


def block(fleet: Sequence[Asset], context: Context) -> Block:
    """The physics of `fleet` over `context.grid`. Raises DataGap for a missing state or input."""
    given = {name: trajectories(fleet, context, name) for name in INPUTS}
    rooms, initial = _rooms(fleet, given, context.grid), stored(fleet, context)
    n, steps = rooms.shape
    most = np.broadcast_to(parameter(fleet, "power_mw"), rooms.shape)
    target = np.broadcast_to(parameter(fleet, "set_mwh_th"), rooms.shape)
    own, in_service = rooms.thermostat(initial, target, most[:, 0]), available(fleet, context) > 0.0
    least, most = np.where(in_service, 0.0, own), np.where(in_service, most, own)
    first, end = _room.columns(rooms, initial, _store.ends_of(ids(fleet), context), least, most)
    days = days_of(context.grid)
    tired = parameter(fleet, "fatigue_eur_per_unit_c_h") * parameter(fleet, "count")
    columns = (
        *first,
        Columns("started", rooms.shape, 0.0, INF),
        Columns("stopped", rooms.shape, 0.0, INF),
        Columns("away", rooms.shape, 0.0, INF, term="comfort"),
        Columns("tired", (n, len(days)), 0.0, INF, np.repeat(tired, len(days)), term="comfort"),
    )
    sizes = [c.size for c in columns]
    rows = _room.rows(rooms, sizes, initial, end)
    rows += _cycling(fleet, context, sizes, in_service)
    rows += _fatigue(fleet, rooms, sizes, days, _patience(fleet, context, days))
    power = stack(sizes, {POWER: sp.csr_array(-eye(n * steps))}, n * steps)
    return Block(NAME, columns, tuple(rows), ids(fleet), power, read=_reader(fleet, rooms, sizes))


def _rooms(fleet: Sequence[Asset], given: Mapping[str, Array], grid: TimeGrid) -> Rooms:
    ambient, middle = given["ambient_c"], parameter(fleet, "set_c")
    half = np.broadcast_to(parameter(fleet, "band_c") / 2.0, ambient.shape)
    return Rooms(
        grid,
        np.array([1.0 if a.params.mode == "cooling" else -1.0 for a in fleet]).reshape(-1, 1),
        parameter(fleet, "heat_capacity_mwh_th_per_c"),
        parameter(fleet, "transmittance_mw_th_per_c"),
        parameter(fleet, "edge_c"),
        np.stack([a.params.cop(row) for a, row in zip(fleet, ambient, strict=True)]),
        ambient,
        given["gains_mw_th"],
        middle - half,
        middle + half,
        parameter(fleet, "discomfort_eur_per_c_h"),
    )


def days_of(grid: TimeGrid) -> Array:
    """(days, T) hours of each step, at the UTC day in which the step begins."""
    midnight = grid.start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    begin = (grid.start - midnight).total_seconds() / 60.0 + np.concatenate([[0.0], np.cumsum(grid.minutes[:-1])])
    day = (begin // DAY_MIN).astype(int)
    hours: Array = np.where(day == np.arange(day[-1] + 1)[:, None], grid.hours, 0.0)
    return hours


def _cycling(
    fleet: Sequence[Asset], context: Context, sizes: Sequence[int], in_service: NDArray[np.bool_]
) -> list[Rows]:
    """Switching follows the power; what has just switched cannot switch back. Free for classes out of service."""
    n, steps = len(fleet), context.grid.n
    size = n * steps
    before = np.zeros((n, steps))
    total = parameter(fleet, "power_mw")
    before[:, 0] = np.clip(_running_mw(fleet, context), 0.0, total[:, 0])
    one, change = eye(size), sp.csr_array(eye(size) - previous(n, steps))
    match = stack(sizes, {POWER: change, STARTED: sp.csr_array(-one), STOPPED: one}, size)
    started, stopped = (_recent(context.grid, parameter(fleet, f"min_{s}_min")) for s in ("on", "off"))
    bound = np.broadcast_to(np.where(in_service, 0.0, INF), (n, steps))
    return [
        Rows("switching", before.ravel(), before.ravel(), match),
        Rows("min_on", -INF, bound.ravel(), stack(sizes, {POWER: sp.csr_array(-one), STARTED: started}, size)),
        Rows("min_off", -INF, (total + bound).ravel(), stack(sizes, {POWER: one, STOPPED: stopped}, size)),
    ]


def _running_mw(fleet: Sequence[Asset], context: Context) -> Array:
    missing = [a.id for a in fleet if a.id not in context.states]
    if missing:
        raise DataGap(f"{missing[0]}/state: missing")
    return np.array([-context.states[a.id].power_mw for a in fleet], dtype=float)


def _recent(grid: TimeGrid, length_min: Array) -> sp.csr_array:
    """(n*T, n*T) with a one at (t, s) where s <= t and s began less than `length_min` (n,1) before t, or s = t."""
    begin = np.concatenate([[0.0], np.cumsum(grid.minutes[:-1], dtype=float)])
    age = begin[:, None] - begin[None, :]
    lengths = np.maximum(np.ravel(length_min), EPS_MIN)
    windows = {m: sp.csr_array(((age >= 0.0) & (age < m)).astype(float)) for m in np.unique(lengths)}
    return sp.csr_array(sp.block_diag([windows[m] for m in lengths], format="csr"))


def _patience(fleet: Sequence[Asset], context: Context, days: Array) -> Array:
    """(n, days) degree-hours that may still add up in each day; the first has been going on before the grid."""
    seen = [context.states[a.id] for a in fleet]
    hours = np.tile(days.sum(axis=1), (len(fleet), 1))
    hours[:, 0] += [s.away_h for s in seen]
    patience = parameter(fleet, "patience_c_h_per_day") * hours / 24.0
    patience[:, 0] = np.maximum(patience[:, 0] - [s.away_c_h for s in seen], 0.0)
    return np.asarray(patience)


def _fatigue(fleet: Sequence[Asset], rooms: Rooms, sizes: Sequence[int], days: Array, patience: Array) -> list[Rows]:
    """Degrees away from the set-point, and what they add up to in each day."""
    (n, steps), set_point = rooms.shape, parameter(fleet, "set_mwh_th")
    size, one = n * steps, eye(n * steps)
    degrees = diagonal(np.broadcast_to(rooms.capacity, rooms.shape))
    target = np.broadcast_to(set_point, rooms.shape).ravel()
    summed = sp.csr_array(sp.kron(sp.eye_array(n), sp.csr_array(days)))
    tired = sp.csr_array(-eye(n * len(days)))
    return [
        Rows("below_set", target, INF, stack(sizes, {CONTENT: one, AWAY: degrees}, size)),
        Rows("above_set", -INF, target, stack(sizes, {CONTENT: one, AWAY: sp.csr_array(-degrees)}, size)),
        Rows("fatigue", -INF, patience.ravel(), stack(sizes, {AWAY: summed, TIRED: tired}, patience.size)),
    ]


def _reader(fleet: Sequence[Asset], rooms: Rooms, sizes: Sequence[int]) -> Reader:
    names = ids(fleet)

    def read(x: Array, duals: Mapping[str, Array]) -> dict[str, AssetResult]:
        return _room.results(rooms, names, sizes, x, duals)

    return read


def default_mw(asset: Asset, state: AssetState | None, inputs: Mapping[str, Array], grid: TimeGrid) -> Array:
    """Injection (T,) of thermostats that hold the set-point as a mean; an unknown state counts as being there."""
    given = {name: np.asarray(inputs[name], dtype=float)[None, :] for name in INPUTS}
    rooms, p = _rooms([asset], given, grid), asset.params
    initial = np.array([p.set_mwh_th if state is None else state.stored_mwh])
    injection: Array = -rooms.thermostat(initial, np.full((1, grid.n), p.set_mwh_th), np.array([p.power_mw]))[0]
    return injection


def window(params: Params) -> tuple[float, float] | None:
    """What the rooms hold inside their comfort band, MWh thermal."""
    return 0.0, 2.0 * params.set_mwh_th


def store(asset: Asset) -> tuple[str, float] | None:
    """What they hold inside their comfort band, MWh thermal."""
    return asset.id, 2.0 * float(asset.params.set_mwh_th)


def reach_mw(params: Params) -> tuple[float, float] | None:
    """All units at once, or none."""
    return -params.power_mw, 0.0


def merit_mw(
    asset: Asset, default: Array, inputs: Mapping[str, Array], grid: TimeGrid, price_eur_per_mwh: Array
) -> Array:
    """All units in the cheapest quarter of the steps, none in the dearest, else the default, (T,)."""
    return shifted(default, price_eur_per_mwh, 0.0, asset.params.power_mw)
