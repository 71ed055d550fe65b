"""Curtailable generation: curtailment_cost * (limit - P) h."""

from __future__ import annotations

import numpy as np

from dispatch.accounting.trace import Costs, Trace


def costs(x: Trace) -> Costs:
    q = x.asset.params
    most = min(q.capacity_mw, q.s_rating_mva / float(np.hypot(1.0, x.asset.tan_phi))) * x.available
    spilled = np.maximum(np.clip(x.inputs["available_mw"], 0.0, most) - x.power_mw, 0.0)
    return {"penalties": q.curtailment_cost_eur_per_mwh * float(spilled @ x.grid.hours)}
