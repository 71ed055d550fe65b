"""Price-elastic load, recomputed:

    own = L (clip(1 + eps (price - p0) / p0) - 1)
    consumption(x) = L + own(x) - sigma / W * integral of own over the W hours before x

where the part of the integral before the plan is the input `owed_mw`, as far as min L <= L + owed <= max L.
The consumption must be the answer to the price that was decided.
"""

from __future__ import annotations

import numpy as np

from dispatch.check.tools import TOLERANCE_MW, Plan, Recomputed, beyond
from vpp.domain.errors import Fault
from vpp.domain.time import Array


def recompute(plan: Plan) -> Recomputed:
    q, load, name = plan.asset.params, np.maximum(plan.inputs["load_mw"], 0.0), plan.asset.id
    if "price_eur_per_mwh" not in plan.decisions:
        return Recomputed(None, (Fault(name, "price_eur_per_mwh", "missing"),))
    relative = plan.decision("price_eur_per_mwh") / q.reference_price_eur_per_mwh - 1.0
    own = load * (np.clip(1.0 + q.elasticity * relative, q.min_share, q.max_share) - 1.0)
    owed = np.clip(plan.inputs.get("owed_mw", np.zeros(plan.grid.n)), load * (q.min_share - 1.0),
                   load * (q.max_share - 1.0))  # fmt: skip
    consumed = load + owed + own - q.substitution * _came_back(own, q.window_h, plan.grid.hours)
    low, high = -load * q.max_share, -load * q.min_share
    faults = beyond(name, "power_mw", plan.power_mw, low, high, TOLERANCE_MW)
    answer = "power_mw (answer to the decided price)"
    return Recomputed(None, tuple(faults + beyond(name, answer, plan.power_mw, -consumed, -consumed, TOLERANCE_MW)))


def _came_back(moved_mw: Array, window_h: float, hours: Array) -> Array:
    """Mean power per step, (T,), of what was moved and comes back evenly over the `window_h` after it.

    With E the twice integrated move, the mean over a step [a, b] is (E(b) - E(a) - E(b-W) + E(a-W)) / (W h).
    """
    edge = np.concatenate([[0.0], np.cumsum(hours)])
    once = np.concatenate([[0.0], np.cumsum(moved_mw * hours)])
    twice = np.concatenate([[0.0], np.cumsum(once[:-1] * hours + moved_mw * hours**2 / 2.0)])

    def integral(x: Array) -> Array:
        k = np.clip(np.searchsorted(edge, x, side="right") - 1, 0, len(hours) - 1)
        dx = np.maximum(x, 0.0) - edge[k]
        return np.asarray(twice[k] + once[k] * dx + moved_mw[k] * dx**2 / 2.0)

    mean: Array = np.diff(integral(edge) - integral(edge - window_h)) / (window_h * hours)
    return mean
