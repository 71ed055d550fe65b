"""Utilities, recomputed store by store: f_u[t] C_u = f_u[t-1] C_u (1 - loss h) + h (P_u - share_u need) + slacks.

All stores keep one fill; the plant takes the process load and what its utilities take, no more and no less,
inside its band. The content reported is that of all stores.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dispatch.check.tools import TOLERANCE_MW, TOLERANCE_MWH, Plan, Recomputed, beyond, idle, inside, integrate, slacks
from vpp.domain.errors import Fault
from vpp.domain.time import Array


def recompute(plan: Plan) -> Recomputed:
    q, used, name = plan.asset.params, -plan.power_mw, plan.asset.id
    process, needed = (np.maximum(plan.inputs[k], 0.0) for k in ("process_mw", "utilities_mw"))
    missing = [Fault(name, f"{u.name}_mw", "missing") for u in q.utilities if f"{u.name}_mw" not in plan.decisions]
    if missing:
        return Recomputed(None, tuple(missing))
    whole, start = sum(u.store_mwh for u in q.utilities), max(plan.state.stored_mwh, 0.0)
    faults, taken, contents = [], process, []
    for u in q.utilities:
        faults += _utility(plan, u)
        power, share = plan.decision(f"{u.name}_mw"), u.store_mwh / whole
        slack = (plan.decision(f"{u.name}_lacking_mwh") - plan.decision(f"{u.name}_wasted_mwh")) / plan.grid.hours
        contents.append(integrate(start * share, power - u.share * needed + slack, q.loss_per_h, plan.grid.hours))
        taken = taken + power
    stored = np.sum(contents, axis=0)
    for u, content in zip(q.utilities, contents, strict=True):
        common = stored * u.store_mwh / whole
        faults += beyond(name, f"fill of {u.name}", content, common, common, TOLERANCE_MWH)
    faults += beyond(name, "power_mw", used, taken, taken, TOLERANCE_MW * (1 + len(q.utilities)))
    faults += inside(plan, stored, start, q.loss_per_h, 0.0, whole) + _band(plan, process, needed, start)
    lack, waste = (_of_all(plan, what, whole) for what in ("lacking", "wasted"))
    faults += idle(plan, ("lacking_mwh", lack), ("wasted_mwh", waste), stored, np.zeros(plan.grid.n), whole)
    return Recomputed(stored, tuple(faults))


def _of_all(plan: Plan, what: str, whole: float) -> Array:
    """(T,) MWh lacking or wasted in all stores alike, which alone can be spared while they keep one fill."""
    shares = [plan.decision(f"{u.name}_{what}_mwh") / u.store_mwh for u in plan.asset.params.utilities]
    return np.asarray(whole * np.min(shares, axis=0))


def _utility(plan: Plan, u: Any) -> list[Fault]:
    faults = slacks(plan, {f"{u.name}_lacking_mwh": np.inf, f"{u.name}_wasted_mwh": np.inf})
    power = plan.decision(f"{u.name}_mw")
    return faults + beyond(plan.asset.id, f"{u.name}_mw", power, u.min_power_mw, u.max_power_mw, TOLERANCE_MW)


def _band(plan: Plan, process: Array, needed: Array, start: float) -> list[Fault]:
    """The whole load near what the plant would take anyway, as far as its machines reach; out of service just that."""
    q, reference = plan.asset.params, process + needed
    least = process + sum(u.min_power_mw for u in q.utilities)
    most = process + sum(u.max_power_mw for u in q.utilities)
    low = np.clip(reference * (1.0 - q.band_share), least, most)
    high = np.clip(reference * (1.0 + q.band_share), least, most)
    if not plan.state.available:
        whole = sum(u.store_mwh for u in q.utilities)
        fill = min(start / whole, 1.0)
        held = [
            np.clip(u.share * needed + q.loss_per_h * fill * u.store_mwh, u.min_power_mw, u.max_power_mw)
            for u in q.utilities
        ]
        low = high = np.clip(process + np.sum(held, axis=0), low, high)
    return beyond(plan.asset.id, "band", -plan.power_mw, low, high, TOLERANCE_MW * (1 + len(q.utilities)))
