"""Building: heating, ventilation and air conditioning of a commercial building, inside an occupancy band.

One thermal node with heat capacity C (MWh_th/K) and transmittance U (MW_th/K), cooled or heated by electricity:

    C dT/dt = U (ambient - T) + internal + solar -+ COP(ambient) p,      0 <= p <= p_max,     injection = -p

solved exactly over each step (`_room`). The band of T is comfort_min to comfort_max where `occupancy` is 1,
setback_min to setback_max where it is 0, and linear between; leaving it costs `discomfort_eur_per_c_h`. The
content, MWh_th, is the cold (or heat) in the building above its setback limit on the warm (cold) side.
Pre-cooling and rebound are in no rule of their own: they follow from the node. One node and not two, because
a building reports one temperature, and a wall temperature that nobody measures would start every plan wrong.

Source: K. J. Kircher and K. M. Zhang, "On the lumped capacitance approximation accuracy in RC network building
models", Energy and Buildings 108, 2015; the equivalent network as in `_room`. A building out of service for us
follows its own thermostat.

It sells no reserve: the band is priced, not held, so a plan may stand at or past its edge, from where a call leads to
temperatures that no limit bounds, and what a call moved leaks away at a rate that the weather after it decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dispatch.assets import _room, _store
from dispatch.assets._inputs import available, ids, no_fleet_faults, parameter, stored, trajectories
from dispatch.assets._merit import shifted
from dispatch.assets._room import Mode, Rooms
from dispatch.block import AssetResult, Block, Context, Reader, eye, stack
from vpp.domain.portfolio import Asset, AssetState, Control
from vpp.domain.time import Array, TimeGrid

NAME = "building"
INPUTS = ("ambient_c", "internal_mw_th", "solar_mw_th", "occupancy")
CONTROL: Control = "continuous"
GENERATES = False
FOLLOWS: Mapping[str, float] = {}
NEVER_OFF = ""
fleet_faults = no_fleet_faults


class Params(BaseModel):
    """One building; `mode` says whether its machine cools or heats, temperatures are of the indoor air."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mode: Mode = "cooling"
    max_power_mw: float = Field(gt=0)
    cop_at_20c: float = Field(gt=1, le=20)
    cop_slope_per_c: float = 0.0
    heat_capacity_mwh_th_per_c: float = Field(gt=0)
    transmittance_mw_th_per_c: float = Field(gt=0)
    comfort_min_c: float = Field(ge=0, le=45)
    comfort_max_c: float = Field(ge=0, le=45)
    setback_min_c: float = Field(ge=0, le=45)
    setback_max_c: float = Field(ge=0, le=45)
    discomfort_eur_per_c_h: float = Field(gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> Params:
        faults = _room.cop_faults(self.mode, self.cop_at_20c, self.cop_slope_per_c)
        if self.comfort_min_c >= self.comfort_max_c:
            faults.append(f"comfort_min_c {self.comfort_min_c} is not below comfort_max_c {self.comfort_max_c}")
        if self.setback_min_c > self.comfort_min_c:
            faults.append(f"setback_min_c {self.setback_min_c} is above comfort_min_c {self.comfort_min_c}")
        if self.setback_max_c < self.comfort_max_c:
            faults.append(f"setback_max_c {self.setback_max_c} is below comfort_max_c {self.comfort_max_c}")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def edge_c(self) -> float:
        """The setback limit at which the machine must work: the content is 0 there."""
        return self.setback_max_c if self.mode == "cooling" else self.setback_min_c

    @property
    def band_mwh_th(self) -> float:
        """From one setback limit to the other."""
        return self.heat_capacity_mwh_th_per_c * (self.setback_max_c - self.setback_min_c)

    def cop(self, ambient_c: Array) -> Array:
        """Heat moved per electricity at `ambient_c`, same shape."""
        return np.maximum(1.0, self.cop_at_20c + self.cop_slope_per_c * (ambient_c - 20.0))


def block(fleet: Sequence[Asset], context: Context) -> Block:
    """The physics of `fleet` over `context.grid`. Raises DataGap for a missing state or input."""
    given = {name: trajectories(fleet, context, name) for name in INPUTS}
    rooms, initial = _rooms(fleet, given, context.grid), stored(fleet, context)
    most = np.broadcast_to(parameter(fleet, "max_power_mw"), rooms.shape).copy()
    own = rooms.thermostat(initial, rooms.band[0], most[:, 0])
    in_service = available(fleet, context) > 0.0
    least, most = np.where(in_service, 0.0, own), np.where(in_service, most, own)
    columns, end = _room.columns(rooms, initial, _store.ends_of(ids(fleet), context), least, most)
    sizes = [c.size for c in columns]
    rows = _room.rows(rooms, sizes, initial, end)
    size = rooms.cop.size
    power = stack(sizes, {_room.POWER: sp.csr_array(-eye(size))}, size)
    return Block(NAME, columns, tuple(rows), ids(fleet), power, read=_reader(fleet, rooms, sizes))


def _rooms(fleet: Sequence[Asset], given: Mapping[str, Array], grid: TimeGrid) -> Rooms:
    ambient, occupied = given["ambient_c"], np.clip(given["occupancy"], 0.0, 1.0)
    inner = parameter(fleet, "comfort_min_c"), parameter(fleet, "comfort_max_c")
    outer = parameter(fleet, "setback_min_c"), parameter(fleet, "setback_max_c")
    low, high = (night + occupied * (day - night) for night, day in zip(outer, inner, strict=True))
    return Rooms(
        grid,
        np.array([1.0 if a.params.mode == "cooling" else -1.0 for a in fleet]).reshape(-1, 1),
        parameter(fleet, "heat_capacity_mwh_th_per_c"),
        parameter(fleet, "transmittance_mw_th_per_c"),
        parameter(fleet, "edge_c"),
        np.stack([a.params.cop(row) for a, row in zip(fleet, ambient, strict=True)]),
        ambient,
        given["internal_mw_th"] + given["solar_mw_th"],
        low,
        high,
        parameter(fleet, "discomfort_eur_per_c_h"),
    )


def _reader(fleet: Sequence[Asset], rooms: Rooms, sizes: Sequence[int]) -> Reader:
    names = ids(fleet)

    def read(x: Array, duals: Mapping[str, Array]) -> dict[str, AssetResult]:
        return _room.results(rooms, names, sizes, x, duals)

    return read


def default_mw(asset: Asset, state: AssetState | None, inputs: Mapping[str, Array], grid: TimeGrid) -> Array:
    """Injection (T,) of a building whose thermostat works only at the edge of the band.

    An unknown state counts as the middle of the first step's band.
    """
    given = {name: np.asarray(inputs[name], dtype=float)[None, :] for name in INPUTS}
    rooms = _rooms([asset], given, grid)
    floor, ceiling = rooms.band
    initial = (floor[:, 0] + ceiling[:, 0]) / 2.0 if state is None else np.array([state.stored_mwh])
    injection: Array = -rooms.thermostat(initial, floor, np.array([asset.params.max_power_mw]))[0]
    return injection


def window(params: Params) -> tuple[float, float] | None:
    """What the building holds inside its setback band, MWh thermal."""
    return 0.0, params.band_mwh_th


def store(asset: Asset) -> tuple[str, float] | None:
    """What it holds inside its setback band, MWh thermal."""
    return asset.id, float(asset.params.band_mwh_th)


def reach_mw(params: Params) -> tuple[float, float] | None:
    """Full power or off."""
    return -params.max_power_mw, 0.0


def merit_mw(
    asset: Asset, default: Array, inputs: Mapping[str, Array], grid: TimeGrid, price_eur_per_mwh: Array
) -> Array:
    """Full power in the cheapest quarter of the steps, off in the dearest, else the default, (T,)."""
    return shifted(default, price_eur_per_mwh, 0.0, asset.params.max_power_mw)
