"""Who may say what an asset does: higher priorities narrow the bounds, lower ones choose inside them.

device protection > site stop > grid emergency > operator > activated reserve > DR order > firm position >
schedule. Proposals outside their time do not count; where two of the same priority conflict, the later
one by id order yields. A proposal that lies wholly outside the bounds left to it is recorded as not
kept: a grid order never beats a plant's interlock, it becomes non-delivery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from vpp.domain.command import Proposal
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array, TimeGrid, utc

INF = float("inf")
KEPT_MW = 1e-3


@dataclass(frozen=True)
class Window:
    """What is left of an asset's range at one moment, who narrowed it first and whom that left outside.

    `preferred_mw`, always inside the range, is the wish of the highest priority that has one.
    """

    lower_mw: float
    upper_mw: float
    preferred_mw: float | None
    source: str
    unkept: tuple[Proposal, ...] = ()

    def clip(self, value_mw: float) -> float:
        """`value_mw` inside the range."""
        return min(max(value_mw, self.lower_mw), self.upper_mw)


def arbitrate(proposals: Sequence[Proposal], at: datetime) -> dict[str, Window]:
    """The window of every asset that has a proposal in force at `at`; bounds that cross are never kept."""
    windows: dict[str, Window] = {}
    in_force = [p for p in proposals if p.start <= at < p.end]
    for p in sorted(in_force, key=lambda p: (-p.priority, p.id)):
        windows[p.asset_id] = _narrow(windows.get(p.asset_id), p)
    return windows


def _narrow(left: Window | None, p: Proposal) -> Window:
    if left is None:
        left = Window(-INF, INF, None, p.source)
    lower, upper = max(left.lower_mw, p.lower_mw), min(left.upper_mw, p.upper_mw)
    if lower > upper:
        return replace(left, unkept=(*left.unkept, p))
    narrowed = replace(left, lower_mw=lower, upper_mw=upper)
    preferred = left.preferred_mw if left.preferred_mw is not None else p.preferred_mw
    return replace(narrowed, preferred_mw=None if preferred is None else narrowed.clip(preferred))


def limits_over(grid: TimeGrid, proposals: Sequence[Proposal]) -> Mapping[str, tuple[Array, Array]]:
    """Bounds per asset over `grid` that hold at every moment of each step.

    Where bounds that follow one another within a step leave nothing in common, those at its start hold.
    """
    found: dict[str, tuple[Array, Array]] = {}
    changes = sorted({utc(moment) for p in proposals for moment in (p.start, p.end)})
    for t, (start, end) in enumerate(zip(grid.starts, grid.edges[1:], strict=True)):
        for moment in [start, *(m for m in changes if start < m < end)]:
            for asset_id, window in arbitrate(proposals, moment).items():
                low, high = found.setdefault(asset_id, (np.full(grid.n, -np.inf), np.full(grid.n, np.inf)))
                lower, upper = max(low[t], window.lower_mw), min(high[t], window.upper_mw)
                if lower <= upper:
                    low[t], high[t] = lower, upper
    return found


def unkept(
    limits: Mapping[str, tuple[Array, Array]], schedule: Schedule
) -> dict[str, tuple[datetime, float, float, float]]:
    """Assets that leave their limits in the schedule: when first, with what power and limits there, MW."""
    found = {}
    for asset_id, (low, high) in limits.items():
        power = schedule.power_of(asset_id)
        outside = np.flatnonzero((power < low - KEPT_MW) | (power > high + KEPT_MW))
        if outside.size:
            t = int(outside[0])
            found[asset_id] = (schedule.grid.starts[t], float(power[t]), float(low[t]), float(high[t]))
    return found
