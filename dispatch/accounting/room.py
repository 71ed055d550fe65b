"""Rooms: money for every degree and hour outside the band, from measured contents."""

from __future__ import annotations

import numpy as np

from dispatch.accounting.trace import Trace
from vpp.domain.time import Array


def indoor_c(x: Trace, capacity: float, edge_c: float) -> Array:
    """Temperatures (T,) at the measured contents; `capacity` MWh_th/K."""
    distance = x.stored_mwh / capacity
    found: Array = edge_c - distance if x.asset.params.mode == "cooling" else edge_c + distance
    return found


def degree_hours(indoor: Array, low_c: Array | float, high_c: Array | float, hours: Array) -> float:
    """Degrees outside the band at each interval's end, times its length."""
    outside = np.maximum(np.maximum(low_c - indoor, indoor - high_c), 0.0)
    return float(outside @ hours)
