"""Thermostat cluster: discomfort outside the band, and fatigue beyond each day's patience, for every unit.

A day is one of UTC; a part of one has its share of the patience.
"""

from __future__ import annotations

import numpy as np

from dispatch.accounting.room import degree_hours, indoor_c
from dispatch.accounting.trace import Costs, Trace


def costs(x: Trace) -> Costs:
    q, hours, half = x.asset.params, x.grid.hours, x.asset.params.band_c / 2.0
    edge = q.set_c + half if q.mode == "cooling" else q.set_c - half
    indoor = indoor_c(x, q.count * q.unit_heat_capacity_kwh_th_per_c / 1000.0, edge)
    outside = degree_hours(indoor, q.set_c - half, q.set_c + half, hours)
    since_midnight = int(x.grid.start.timestamp()) // 60 % 1440
    day = ((since_midnight + np.cumsum(x.grid.minutes) - x.grid.minutes) // 1440).astype(int)
    away = np.bincount(day, weights=np.abs(indoor - q.set_c) * hours)
    patience = q.patience_c_h_per_day * np.bincount(day, weights=hours) / 24.0
    tired = float(np.maximum(away - patience, 0.0).sum())
    each = q.discomfort_eur_per_unit_c_h * outside + q.fatigue_eur_per_unit_c_h * tired
    return {"comfort": q.count * each}
