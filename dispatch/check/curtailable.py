"""Curtailable generation, recomputed: 0 <= P <= min(available, capacity, S / sqrt(1 + tan_phi^2))."""

from __future__ import annotations

import numpy as np

from dispatch.check.tools import TOLERANCE_MW, Plan, Recomputed, beyond


def recompute(plan: Plan) -> Recomputed:
    q = plan.asset.params
    most = min(q.capacity_mw, q.s_rating_mva / float(np.hypot(1.0, plan.asset.tan_phi))) * plan.state.available
    available = np.clip(plan.inputs["available_mw"], 0.0, most)
    return Recomputed(None, tuple(beyond(plan.asset.id, "power_mw", plan.power_mw, 0.0, available, TOLERANCE_MW)))
