"""Start-up costs by time off line, as a matching of starts with the stops before them.

A start at t costs the coldest price, less what the match with a stop at s saves:

    sum over s of match[s,t] <= start[t],     sum over t of match[s,t] <= stop[s]
    cost = cold start[t] - sum over s of (cold - price(a[t] - a[s])) match[s,t]

where a[t] is the time at which step t begins and price() rises with the time off line. Stops before the
grid take part with their age. The matching describes the hull of starts, stops and their costs: B. Knueven,
J. Ostrowski and J.-P. Watson, "A novel matching formulation for startup costs in unit commitment",
Mathematical Programming Computation 12, 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from dispatch.assets._bands import Bools, Positions
from dispatch.block import INF, Columns, Rows
from vpp.domain.time import Array

EPS_MIN = 1e-6
EPS_EUR = 1e-9


@dataclass(frozen=True)
class Prices:
    """Prices of a start: after `after_min` (n,S) minutes off line it costs `eur` (n,S), both rising; the first is 0."""

    after_min: Array
    eur: Array

    def at(self, unit: NDArray[np.int64], off_min: Array) -> Array:
        """Price (m,) of starts of `unit` (m,) after `off_min` (m,) minutes."""
        band = (self.after_min[unit] <= off_min[:, None] + EPS_MIN).sum(axis=1) - 1
        found: Array = self.eur[unit, np.maximum(band, 0)]
        return found

    @property
    def cold(self) -> Array:
        """(n,1) the highest price."""
        return self.eur[:, -1:]


@dataclass(frozen=True)
class StopsBefore:
    """`number` (m,) units of class `unit` (m,) that stopped `minutes` (m,) before the grid began."""

    unit: NDArray[np.int64]
    minutes: Array
    number: Array


@dataclass(frozen=True)
class Match:
    """Arcs: unit, step of the start, and the stop: a step, or -1 - k for entry k of the stops before the grid."""

    unit: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    saved_eur: Array

    def columns(self, count: Array) -> Columns:
        """One column for each arc; `count` (n,1) units a class."""
        return Columns("match", (1, self.unit.size), 0.0, count[self.unit, 0], -self.saved_eur, term="starts")


def match(prices: Prices, times: Array, down_min: Array, excused: Bools, before: StopsBefore) -> Match:
    """The arcs that save money: off line for at least `down_min` (n,1), unless excused, and not yet cold."""
    _n, steps = excused.shape
    priced = prices.eur[:, -1] > prices.eur[:, 0] + EPS_EUR
    unit, start, stop = ([np.empty(0, dtype=np.int64)] for _ in range(3))
    off = [np.empty(0)]
    for lag in range(1, steps):
        age = np.concatenate([np.full(lag, np.inf), times[lag:] - times[:-lag]])
        warm = (age < prices.after_min[:, -1:] - EPS_MIN) & priced[:, None]
        warm &= (age >= down_min - EPS_MIN) | excused.any(axis=1, keepdims=True)
        i, t = np.nonzero(warm)
        unit.append(i)
        start.append(t)
        stop.append(t - lag)
        off.append(age[t])
    entry, t = np.nonzero(
        priced[before.unit][:, None]
        & (times + before.minutes[:, None] >= down_min[before.unit] - EPS_MIN)
        & (times + before.minutes[:, None] < prices.after_min[before.unit, -1:] - EPS_MIN)
    )
    unit.append(before.unit[entry])
    start.append(t)
    stop.append(-1 - entry)
    off.append(times[t] + before.minutes[entry])
    units, ages = np.concatenate(unit), np.concatenate(off)
    saved = prices.cold[units, 0] - prices.at(units, ages)
    keep = saved > EPS_EUR
    starts, stops = np.concatenate(start), np.concatenate(stop)
    return Match(units[keep], starts[keep], stops[keep], saved[keep])


def rows(arcs: Match, columns: int, first: int, start: Positions, stop: Positions, before: StopsBefore) -> list[Rows]:
    """Each start is matched at most once, and each stop; `first` is the first arc's column of the block."""
    own = first + np.arange(arcs.unit.size)
    inside = arcs.stop >= 0
    at_stop = stop[arcs.unit, np.maximum(arcs.stop, 0)]
    found = [_at_most("start_match", own, start[arcs.unit, arcs.start], columns)]
    found.append(_at_most("stop_match", own[inside], at_stop[inside], columns))
    entry, row = np.unique(-1 - arcs.stop[~inside], return_inverse=True)
    if entry.size:
        data = (np.ones(row.size), (row, own[~inside]))
        earlier = sp.csr_array(sp.coo_array(data, shape=(entry.size, columns)))
        found.append(Rows("stop_before_match", -INF, before.number[entry], own=earlier))
    return [r for r in found if r.size]


def _at_most(label: str, own: NDArray[np.int64], other: NDArray[np.int64], columns: int) -> Rows:
    """sum of the columns `own` (m,) with the same `other` (m,) <= that other column."""
    column, row = np.unique(other, return_inverse=True)
    size = column.size
    data = np.concatenate([np.ones(row.size), -np.ones(size)])
    at = (np.concatenate([row, np.arange(size)]), np.concatenate([own, column]))
    return Rows(label, -INF, 0.0, own=sp.csr_array(sp.coo_array((data, at), shape=(size, columns))))
