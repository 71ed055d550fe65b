"""Utilities: slack * (what was lacking + what was wasted), the least that explains content and load.

Each store must have gained its part of the common content; what its machine cannot have given is slack, and
so is what then does not add up to the load, because moving a machine away from its store's need costs as much.
"""

from __future__ import annotations

import numpy as np

from dispatch.accounting.trace import Costs, Trace

SLACK_EUR_PER_MWH = 1000.0


def costs(x: Trace) -> Costs:
    q, hours = x.asset.params, x.grid.hours
    process, needed = (np.maximum(x.inputs[k], 0.0) for k in ("process_mw", "utilities_mw"))
    whole, gained = sum(u.store_mwh for u in q.utilities), x.inflow_mwh(q.loss_per_h) / hours
    slack, explained = np.zeros(len(hours)), process
    for u in q.utilities:
        wanted = u.share * needed + gained * u.store_mwh / whole
        given = np.clip(wanted, u.min_power_mw, u.max_power_mw)
        slack += np.abs(wanted - given)
        explained = explained + given
    slack += np.abs(-x.power_mw - explained)
    return {"penalties": SLACK_EUR_PER_MWH * float(slack @ hours)}
