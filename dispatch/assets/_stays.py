"""Stays of cars on a time grid: when a class of sessions is plugged in, and what it has received so far.

A session recurs on its weekdays at local times; one of its stays [begin, end) is plugged for the share

    overlap[t] = |[begin, end) and step t| / h[t]

of step t. Content is counted per class above the level a car may be drawn down to, so that it is `lend` at
arrival and must be `lend + need` at departure. A depot reports one content for all its cars; which class holds
it is taken by rule: first what each class must have so as still to be full in time, then the rest in the order of
departure, no class more than its chargers can have given it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from dispatch.assets._inputs import stored
from dispatch.block import Context
from vpp.domain.portfolio import Asset
from vpp.domain.time import Array, TimeGrid, local_time

EPS = 1e-9


class Sessions(Protocol):
    """The parameters of a depot, as far as stays depend on them."""

    @property
    def sessions(self) -> Sequence[Any]: ...

    @property
    def zone(self) -> str: ...

    @property
    def charge_efficiency(self) -> float: ...


@dataclass(frozen=True)
class Stay:
    """One class of `count` cars from `begin_h` to `end_h` (hours from the start of the grid), class totals in MW, MWh.

    `name` is the session's id and the local date of arrival.
    """

    name: str
    count: int
    begin_h: float
    end_h: float
    charge_mw: float
    discharge_mw: float
    lend_mwh: float
    need_mwh: float

    @property
    def full_mwh(self) -> float:
        """Content with which the cars leave."""
        return self.lend_mwh + self.need_mwh

    def overlap(self, grid: TimeGrid) -> Array:
        """(T,) share of each step in which the cars are plugged in."""
        edge = np.concatenate([[0.0], np.cumsum(grid.hours)])
        inside = np.minimum(self.end_h, edge[1:]) - np.maximum(self.begin_h, edge[:-1])
        share: Array = np.maximum(inside, 0.0) / grid.hours
        return share


def stays_of(params: Sessions, grid: TimeGrid) -> list[Stay]:
    """The stays that touch the grid, in the order of the sessions and then of their days."""
    zone, horizon_h = ZoneInfo(params.zone), float(grid.hours.sum())
    first = grid.start.astimezone(zone).date() - timedelta(days=1)
    days = [first + timedelta(days=d) for d in range(int(horizon_h // 24) + 4)]
    found = []
    for s in params.sessions:
        for day in days:
            leaves = day if s.departure > s.arrival else day + timedelta(days=1)
            begin, end = (
                (local_time(on, at, params.zone) - grid.start).total_seconds() / 3600.0
                for on, at in ((day, s.arrival), (leaves, s.departure))
            )
            if day.weekday() in s.weekdays and end > EPS and begin < horizon_h - EPS:
                n = s.count
                found.append(
                    Stay(f"{s.id}@{day}", n, begin, end, n * s.power_mw, n * s.v2g_mw, n * s.lend_mwh, n * s.energy_mwh)
                )
    return found


def first_contents(params: Sessions, stays: Sequence[Stay], stored_mwh: float) -> Array:
    """(I,) content of each stay when the grid starts, or on arrival where it comes later, MWh."""
    begun = [i for i, s in enumerate(stays) if s.begin_h < -EPS]
    begun.sort(key=lambda i: stays[i].end_h)
    content = np.array([s.lend_mwh for s in stays])
    content[begun] = 0.0
    left = max(stored_mwh, 0.0)
    gain = {i: stays[i].charge_mw * params.charge_efficiency for i in begun}
    most = {i: min(stays[i].full_mwh, stays[i].lend_mwh - gain[i] * stays[i].begin_h) for i in begun}
    must = {i: min(most[i], max(0.0, stays[i].full_mwh - gain[i] * stays[i].end_h)) for i in begun}
    for level in (must, most):
        for i in begun:
            given = min(left, max(0.0, level[i] - content[i]))
            content[i] += given
            left -= given
    return content


@dataclass(frozen=True)
class Depots:
    """The stays of a fleet and their plugged steps: pair k is stay `stay[k]` in step `step[k]`, by stay, then by step.

    `owner` (I,) is the asset of each stay, `first` (I,) its content when it begins, `last` (I,) its last pair,
    `share` (K,) of the step it is plugged, `goes` (I,) whether it leaves inside the grid.
    """

    stays: tuple[Stay, ...]
    owner: NDArray[np.intp]
    first: Array
    stay: NDArray[np.intp]
    step: NDArray[np.intp]
    share: Array
    last: NDArray[np.intp]
    goes: NDArray[np.bool_]

    def each(self, name: str) -> Array:
        """(I,) values of one field of the stays."""
        return np.array([getattr(s, name) for s in self.stays], dtype=float)


def depots(fleet: Sequence[Asset], context: Context) -> Depots:
    """The stays of `fleet` on the context's grid. Raises DataGap for an asset without a state."""
    grid, contents = context.grid, stored(fleet, context).ravel()
    groups = [stays_of(a.params, grid) for a in fleet]
    stays = tuple(s for group in groups for s in group)
    first = [
        first_contents(a.params, group, content) for a, group, content in zip(fleet, groups, contents, strict=True)
    ]
    overlap = np.array([s.overlap(grid) for s in stays]).reshape(len(stays), grid.n)
    stay, step = np.nonzero(overlap > EPS)
    owner = np.repeat(np.arange(len(fleet)), [len(g) for g in groups])
    last = np.searchsorted(stay, np.arange(len(stays)), side="right") - 1
    goes = np.array([s.end_h <= grid.hours.sum() + EPS for s in stays], dtype=bool)
    return Depots(
        stays, owner, np.concatenate([np.empty(0), *first]), stay, step, overlap[stay, step], last, goes
    )  # fmt: skip
