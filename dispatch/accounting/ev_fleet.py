"""EV depot: wear * what is fed back + missed price * what the cars leave without.

What left with the cars is not metered: it is the content before, with what arrivals brought and what was charged,
less the content after; what it is short of the needs of all who left in the step is unmet.
"""

from __future__ import annotations

import numpy as np

from dispatch.accounting.trace import Costs, Trace
from dispatch.assets._stays import EPS, stays_of


def costs(x: Trace) -> Costs:
    q, hours = x.asset.params, x.grid.hours
    edge = np.concatenate([[0.0], np.cumsum(hours)])
    brought, owed, most = np.zeros(x.grid.n), np.zeros(x.grid.n), 0.0
    for stay in stays_of(q, x.grid):
        if stay.begin_h < -EPS:
            most += min(stay.full_mwh, stay.lend_mwh - q.charge_efficiency * stay.charge_mw * stay.begin_h)
        else:
            brought[int(np.searchsorted(edge, stay.begin_h + EPS)) - 1] += stay.lend_mwh
        if stay.end_h <= edge[-1] + EPS:
            owed[int(np.searchsorted(edge, stay.end_h - EPS)) - 1] += stay.full_mwh
    fed = np.maximum(x.power_mw, 0.0)
    flow = (q.charge_efficiency * np.maximum(-x.power_mw, 0.0) - fed / q.discharge_efficiency) * hours
    before = np.concatenate([[min(max(x.start_mwh, 0.0), most)], x.stored_mwh[:-1]])
    left = before + brought + flow - x.stored_mwh
    return {
        "wear": q.wear_eur_per_mwh * float(fed @ hours),
        "penalties": q.missed_eur_per_mwh * float(np.maximum(owed - left, 0.0).sum()),
    }
