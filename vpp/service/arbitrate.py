"""Who may say what an asset does: higher priorities narrow the bounds, lower ones choose inside them.

device protection > site stop > grid emergency > operator > activated reserve > DR order > schedule.
Proposals outside their time do not count; where two of the same priority conflict, the later one by
id order yields. A proposal that lies wholly outside the bounds left to it is recorded as not kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from vpp.domain.command import Proposal
from vpp.domain.time import Array, TimeGrid


@dataclass(frozen=True)
class Window:
    """What is left of an asset's range at one moment, who narrowed it and whom that left outside."""

    lower_mw: float
    upper_mw: float
    preferred_mw: float | None
    source: str
    unkept: tuple[Proposal, ...] = ()

    def clip(self, value_mw: float) -> float:
        return min(max(value_mw, self.lower_mw), self.upper_mw)


def arbitrate(proposals: Sequence[Proposal], at: datetime) -> dict[str, Window]:
    """The window of every asset that has a proposal in force at `at`."""
    windows: dict[str, Window] = {}
    in_force = [p for p in proposals if p.start <= at < p.end]
    for p in sorted(in_force, key=lambda p: (-p.priority, p.id)):
        windows[p.asset_id] = _narrow(windows.get(p.asset_id), p)
    return windows


def _narrow(left: Window | None, p: Proposal) -> Window:
    if left is None:
        return Window(p.lower_mw, p.upper_mw, p.preferred_mw, p.source)
    lower, upper = max(left.lower_mw, p.lower_mw), min(left.upper_mw, p.upper_mw)
    if lower > upper:
        return Window(left.lower_mw, left.upper_mw, left.preferred_mw, left.source, (*left.unkept, p))
    preferred = left.preferred_mw if left.preferred_mw is not None else p.preferred_mw
    return Window(lower, upper, preferred, left.source, left.unkept)


def limits_over(grid: TimeGrid, proposals: Sequence[Proposal]) -> Mapping[str, tuple[Array, Array]]:
    """Bounds per asset over `grid` from the proposals in force at each step's start."""
    found: dict[str, tuple[Array, Array]] = {}
    for t, start in enumerate(grid.starts):
        for asset_id, window in arbitrate(proposals, start).items():
            low, high = found.setdefault(asset_id, (np.full(grid.n, -np.inf), np.full(grid.n, np.inf)))
            low[t], high[t] = window.lower_mw, window.upper_mw
    return found
