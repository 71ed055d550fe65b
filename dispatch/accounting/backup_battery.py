"""Backup batteries: wear * |P + L| h + penalty * h * what the content is short of the reserve."""

from __future__ import annotations

import numpy as np

from dispatch.accounting.trace import Costs, Trace

SHORT_EUR_PER_MWH_H = 1000.0


def costs(x: Trace) -> Costs:
    q, hours = x.asset.params, x.grid.hours
    load = np.maximum(x.inputs["load_mw"], 0.0)
    end = np.cumsum(hours)
    taken, at = np.concatenate([[0.0], np.cumsum(load * hours)]), np.concatenate([[0.0], end])
    beyond = np.maximum(end + q.reserve_h - end[-1], 0.0) * load[-1]
    ahead = np.interp(np.minimum(end + q.reserve_h, end[-1]), at, taken) + beyond - taken[1:]
    capacity = q.count * q.site_capacity_mwh
    reserve = np.minimum(q.soc_max * capacity, q.soc_min * capacity + ahead / q.discharge_efficiency)
    short = np.maximum(reserve - x.stored_mwh, 0.0)
    return {
        "wear": q.wear_eur_per_mwh * float(np.abs(x.power_mw + load) @ hours),
        "penalties": SHORT_EUR_PER_MWH_H * float(short @ hours),
    }
