"""Night of a photovoltaic series, learnt from its own past.

A series is solar when it produces on most quarters with the sun above 10 degrees and almost never below
some elevation; below that elevation its power is zero. Panels face different ways and profiles may carry a
shifted clock, so the elevation is found from the data instead of being the horizon.
"""

from __future__ import annotations

import numpy as np

from forecasting.calendar import Days
from forecasting.panel import Panel
from vpp.domain.time import Array

_PRODUCES = 0.01
_STRAY_SHARE = 0.02
_DAY_SHARE = 0.5
_CANDIDATES_DEG = np.arange(-1.0, -13.0, -1.0)


def dark_below_deg(panel: Panel, days: Days) -> Array:
    """Elevation (S,) in degrees below which a series is dark; -inf for a series that is not solar."""
    elevation = days.elevation_deg[: panel.n]
    there = np.isfinite(panel.values)
    peak = np.max(np.where(there, panel.values, 0.0), axis=1, keepdims=True)
    produces = there & (panel.values > _PRODUCES * peak)

    def share(when: Array) -> Array:
        count = (there & (when > 0)).sum(axis=1)
        hits = (produces & (when > 0)).sum(axis=1)
        return np.where(count >= 48, hits / np.maximum(count, 1), np.nan)

    solar = (share((elevation > 10.0).astype(float)) > _DAY_SHARE) & (peak[:, 0] > 0)
    limit = np.full(len(panel.ids), -np.inf)
    for candidate in _CANDIDATES_DEG[::-1]:
        stray = share((elevation < candidate).astype(float))
        limit = np.where(solar & (stray <= _STRAY_SHARE), candidate, limit)
    return limit
