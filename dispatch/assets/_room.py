"""A room with one heat capacity, kept inside a temperature band by a machine that moves heat by electricity.

With temperature T (deg C), heat capacity C (MWh_th/K), transmittance U (MW_th/K), ambient temperature a, heat
gains g (MW_th) and electric power p (MW), s = 1 where the machine cools and -1 where it heats:

    C dT/dt = U (a - T) + g - s COP(a) p,          COP(a) = max(1, cop_at_20c + slope (a - 20))

Inside, the state is the useful heat or cold in the room, counted from the temperature `edge` at which the
machine must work: x = s C (edge - T). Inputs and power are constant over a step of h hours, so the solution
is exact on any time grid, with tau = C / U:

    x[t] = k x[t-1] + tau (1 - k) (COP p - s (U (a - edge) + g)),       k = exp(-h / tau)

The band is soft, because a room drifts whatever is decided: degrees that `lacking` and `excess` leave it by

    x + C lacking >= floor,     x - C excess <= ceiling,      lacking, excess >= 0

cost money per degree and hour. Without an end value, content missing at the end against the start is `owed` at
OWED_EUR_PER_MWH_TH. Source: the first-order equivalent thermal network of D. S. Callaway, "Tapping the energy
storage potential in electric loads to deliver load following and regulation", Energy Conversion and Management
50 (5), 2009, solved as in P. Bacher and H. Madsen, "Identifying suitable models for the heat dynamics of
buildings", Energy and Buildings 43 (7), 2011.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp

from dispatch.assets import _store
from dispatch.assets._store import End, diagonal
from dispatch.block import INF, AssetResult, Columns, EndValue, Rows, eye, stack
from vpp.domain.time import Array, TimeGrid

Mode = Literal["cooling", "heating"]
OWED_EUR_PER_MWH_TH = 1000.0
HOTTEST_AMBIENT_C, COLDEST_AMBIENT_C = 45.0, -20.0
POWER, CONTENT, LACKING, EXCESS, OWED, END = range(6)


def cop_faults(mode: Mode, cop_at_20c: float, slope_per_c: float) -> list[str]:
    """What is wrong with a COP that is linear in the ambient temperature."""
    worst_c = HOTTEST_AMBIENT_C if mode == "cooling" else COLDEST_AMBIENT_C
    worst = cop_at_20c + slope_per_c * (worst_c - 20.0)
    faults = [f"the COP at {worst_c:g} C would be {worst:g}, below 1"] if worst < 1.0 else []
    if slope_per_c * (worst_c - 20.0) > 0.0:
        faults.append(f"cop_slope_per_c {slope_per_c:g} has the wrong sign for {mode}")
    return faults


@dataclass(frozen=True)
class Rooms:
    """n rooms over T steps: `sign`, `capacity`, `transmittance`, `edge_c` (n,1); `cop`, `gains_mw_th`, `ambient_c`
    and the band `low_c`, `high_c` (n,T); `discomfort` (n,1), money per degree and hour."""

    grid: TimeGrid
    sign: Array
    capacity: Array
    transmittance: Array
    edge_c: Array
    cop: Array
    ambient_c: Array
    gains_mw_th: Array
    low_c: Array
    high_c: Array
    discomfort: Array

    @property
    def shape(self) -> tuple[int, int]:
        n, steps = self.cop.shape
        return n, steps

    @property
    def keep(self) -> Array:
        """(n,T) share of a content that is left after each step."""
        share: Array = np.exp(-self.grid.hours[None, :] * self.transmittance / self.capacity)
        return share

    @property
    def gain_h(self) -> Array:
        """(n,T) content at the end of a step per MW_th through it, hours."""
        hours: Array = self.capacity / self.transmittance * (1.0 - self.keep)
        return hours

    @property
    def load_mw_th(self) -> Array:
        """(n,T) useful heat or cold the room loses at the edge temperature."""
        load: Array = self.sign * (self.transmittance * (self.ambient_c - self.edge_c) + self.gains_mw_th)
        return load

    def content(self, temperature_c: Array) -> Array:
        """MWh_th at a temperature, (n,T)."""
        content: Array = self.sign * self.capacity * (self.edge_c - temperature_c)
        return content

    def temperature(self, content_mwh_th: Array) -> Array:
        """Degrees at a content, (n,T)."""
        degrees: Array = self.edge_c - self.sign * content_mwh_th / self.capacity
        return degrees

    @property
    def band(self) -> tuple[Array, Array]:
        """(n,T) floor and ceiling of the content."""
        low, high = self.content(self.low_c), self.content(self.high_c)
        return np.minimum(low, high), np.maximum(low, high)

    def walk(self, initial: Array, power_mw: Array) -> Array:
        """(n,T) contents that follow from powers (n,T)."""
        content, stored = np.ravel(initial).astype(float), np.empty(self.shape)
        inflow = self.gain_h * (self.cop * power_mw - self.load_mw_th)
        for t in range(self.shape[1]):
            content = self.keep[:, t] * content + inflow[:, t]
            stored[:, t] = content
        return stored

    def thermostat(self, initial: Array, target: Array, most_mw: Array) -> Array:
        """(n,T) power of machines that run just enough to end each step at `target` (n,T) or above."""
        content, power = np.ravel(initial).astype(float), np.empty(self.shape)
        keep, gain, cop, load = self.keep, self.gain_h, self.cop, self.load_mw_th
        for t in range(self.shape[1]):
            missing = target[:, t] - keep[:, t] * content + gain[:, t] * load[:, t]
            power[:, t] = np.clip(missing / (gain[:, t] * cop[:, t]), 0.0, np.ravel(most_mw))
            content = keep[:, t] * content + gain[:, t] * (cop[:, t] * power[:, t] - load[:, t])
        return power


def columns(
    rooms: Rooms, initial: Array, ends: Sequence[EndValue | None], least: Array, most: Array
) -> tuple[tuple[Columns, ...], End]:
    """Groups `power`, `content`, `lacking`, `excess`, `owed`, `end` for powers inside [least, most] (n,T), and the end.

    `initial` (n,1), MWh_th.
    """
    n, steps = rooms.shape
    lowest = rooms.walk(initial, least)[:, -1]
    end = _store.end_value_columns("end", ends, steps, np.zeros(n), np.minimum(lowest, 0.0))
    price = (rooms.discomfort * rooms.grid.hours).ravel()
    owed = np.where(end.valued, 0.0, INF)
    groups = (
        Columns("power", rooms.shape, least.ravel(), most.ravel()),
        Columns("content", rooms.shape, -INF, INF, term="stored_energy"),
        Columns("lacking", rooms.shape, 0.0, INF, price, term="comfort"),
        Columns("excess", rooms.shape, 0.0, INF, price, term="comfort"),
        Columns("owed", (n, 1), 0.0, owed, OWED_EUR_PER_MWH_TH, term="stored_energy"),
        end.columns,
    )
    return groups, end


def rows(rooms: Rooms, sizes: Sequence[int], initial: Array, end: End) -> list[Rows]:
    """Balance, band and end of the rooms; the groups of `columns` stand first in `sizes`."""
    n, steps = rooms.shape
    gains = {POWER: diagonal(rooms.cop * rooms.gain_h)}
    inflow = -rooms.load_mw_th * rooms.gain_h
    found = [_store.balance_rows("room_balance", sizes, CONTENT, gains, initial, rooms.keep, inflow)]
    floor, ceiling = rooms.band
    degrees, one = diagonal(np.broadcast_to(rooms.capacity, rooms.shape)), eye(n * steps)
    found.append(Rows("floor", floor.ravel(), INF, stack(sizes, {CONTENT: one, LACKING: degrees}, n * steps)))
    over = stack(sizes, {CONTENT: one, EXCESS: sp.csr_array(-degrees)}, n * steps)
    found.append(Rows("ceiling", -INF, ceiling.ravel(), over))
    last = sp.csr_array((np.ones(n), (np.arange(n), np.arange(n) * steps + steps - 1)), shape=(n, n * steps))
    required = np.where(end.valued, -INF, np.minimum(np.ravel(initial), ceiling[:, -1]))
    found.append(Rows("end_content", required, INF, stack(sizes, {CONTENT: last, OWED: eye(n)}, n)))
    return found + _store.end_value_rows("end_value", sizes, CONTENT, END, end)


def results(
    rooms: Rooms, asset_ids: Sequence[str], sizes: Sequence[int], x: Array, duals: Mapping[str, Array]
) -> dict[str, AssetResult]:
    """Content, its marginal value and the temperature of every room."""
    content = x[sizes[POWER] : sizes[POWER] + sizes[CONTENT]].reshape(rooms.shape)
    values = _store.marginal_value(duals, "room_balance", *rooms.shape)
    degrees = rooms.temperature(content)
    return {
        asset_id: AssetResult(None, content[i], values[i], {"indoor_c": degrees[i]})
        for i, asset_id in enumerate(asset_ids)
    }
