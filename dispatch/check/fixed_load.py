"""Fixed load, recomputed: P = -load."""

from __future__ import annotations

from dispatch.check.tools import TOLERANCE_MW, Plan, Recomputed, beyond


def recompute(plan: Plan) -> Recomputed:
    load = plan.inputs["load_mw"]
    return Recomputed(None, tuple(beyond(plan.asset.id, "power_mw", plan.power_mw, -load, -load, TOLERANCE_MW)))
