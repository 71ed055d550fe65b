"""Process: start_cost * starts + missed_price * tonnes that could not be shipped or stored.

The missed tonnes are not metered: they follow from the balance of the silo.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dispatch.accounting.trace import Costs, Trace


def costs(traces: Sequence[Trace]) -> list[Costs]:
    silos: dict[str, list[Trace]] = {}
    for trace in traces:
        silos.setdefault(trace.asset.params.silo.id, []).append(trace)
    return [_silo(mills) for mills in silos.values()]


def _silo(mills: Sequence[Trace]) -> Costs:
    silo, hours = mills[0].asset.params.silo, mills[0].grid.hours
    per_t = silo.kwh_per_t / 1000.0
    made = sum((-m.power_mw * 1000.0 / m.asset.params.kwh_per_t for m in mills), np.zeros(len(hours))) * hours
    content = sum((m.stored_mwh for m in mills), np.zeros(len(hours))) / per_t
    start = sum(m.start_mwh for m in mills) / per_t
    gained = np.diff(np.concatenate([[start], content]))
    slack_t = np.abs(gained - made + np.maximum(mills[0].inputs["shipments_t_per_h"], 0.0) * hours)
    return {
        "starts": float(sum(m.asset.params.start_cost_eur * m.starts for m in mills)),
        "missed_production": silo.missed_eur_per_t * float(slack_t.sum()),
    }
