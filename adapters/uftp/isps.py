"""ISPs on the wire: numbers from 1 within a local day, watts, consumption positive.

    p_wire [W] = -10^6 p [MW],     ISP k of day D covers quarter k of D in local time: 92, 96 or 100 of them
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from typing import Protocol
from zoneinfo import ZoneInfoNotFoundError

import numpy as np

from vpp.domain.time import QUARTER, Array, TimeGrid, local_midnight

WATTS = 1e6
DURATION = "PT15M"
assert QUARTER.total_seconds() == 900


class Isp(Protocol):
    """What every ISP element has."""

    start: int
    duration: int


@dataclass(frozen=True)
class Run:
    """`count` ISPs from number `first` on that share one power in watts."""

    first: int
    count: int
    watts: int


def mw_of(watts: float) -> float:
    """MW of injection of a power on the wire; a zero is positive."""
    return -watts / WATTS + 0.0


def watts_of(mw: float) -> int:
    """Power on the wire of MW of injection, to the nearest watt."""
    return -round(mw * WATTS)


def rounded(mw: Array) -> Array:
    """`mw` as the wire can say it."""
    return np.array([mw_of(watts_of(v)) if np.isfinite(v) else np.nan for v in mw])


def place_faults(isps: Sequence[Isp], grid: TimeGrid) -> list[str]:
    """Reasons to refuse ISPs that do not exist on that day or are stated twice."""
    faults = [] if isps else ["ISPs out of bounds: the message has none"]
    outside = [i for i in isps if i.start < 1 or i.duration < 1 or i.start + i.duration - 1 > grid.n]
    if outside:
        named = ", ".join(f"{i.start}+{i.duration}" for i in outside)
        faults.append(f"ISPs out of bounds: {named}, the day has {grid.n}")
    seen = np.zeros(grid.n, dtype=int)
    for isp in isps:
        if isp not in outside:
            seen[isp.start - 1 : isp.start - 1 + isp.duration] += 1
    if (seen > 1).any():
        named = ", ".join(str(k + 1) for k in np.flatnonzero(seen > 1))
        faults.append(f"ISP conflict: {named} stated more than once")
    return faults


def covered(isp: Isp, grid: TimeGrid) -> slice:
    """Where an ISP element lies in the arrays of its day; what is outside the day is cut off."""
    first = max(isp.start, 1) - 1
    return slice(first, min(max(isp.start - 1 + isp.duration, first), grid.n))


def runs(mw: Array) -> Iterator[Run]:
    """Equal neighbours as one element; NaN is left out."""
    watts = [(k, watts_of(v)) for k, v in enumerate(mw) if np.isfinite(v)]
    for _, same in groupby(enumerate(watts), key=lambda e: (e[1][0] - e[0], e[1][1])):
        members = [pair for _, pair in same]
        yield Run(members[0][0] + 1, len(members), members[0][1])


def zone_fault(name: str, day: date, ours: str) -> str | None:
    """Why a time zone is refused: at the bounds of the day its offset must be that of our zone."""
    bounds = (day, day + timedelta(days=1))
    try:
        same = all(local_midnight(d, name) == local_midnight(d, ours) for d in bounds)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        return f"TimeZone rejected: {name} is unknown"
    return None if same else f"TimeZone rejected: {name} is not as {ours} on {day}"
