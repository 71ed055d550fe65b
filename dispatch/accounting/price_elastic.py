"""Price-elastic load: benefit lost against the reference, for the move m behind the change of consumption.

With `substitution`: h * integral from m to 0 of p0 * (1 + x / (eps L) - returned) dx, in PIECES on either
side of 0 as in the plan, each at the benefit of its middle. What comes back of moves before the trace (`owed_mw`, as
far as it fits between the shares) is no move of its own.
"""

from __future__ import annotations

import numpy as np

from dispatch.accounting.trace import Costs, Trace
from dispatch.substitution import moved_behind, returned_share

PIECES = 6


def costs(x: Trace) -> Costs:
    q, hours = x.asset.params, x.grid.hours
    load = np.maximum(x.inputs["load_mw"], 0.0)
    owed = np.clip(x.inputs.get("owed_mw", np.zeros(len(load))), (q.min_share - 1.0) * load, (q.max_share - 1.0) * load)
    moved = moved_behind(-x.power_mw - load, hours, q.substitution, q.window_h, owed)
    back = returned_share(hours, q.substitution, q.window_h)
    lost = np.zeros(len(load))
    for limit in (q.min_share - 1.0, q.max_share - 1.0):
        mine = np.maximum(moved * np.sign(limit), 0.0)
        width = abs(limit) * load / PIECES
        for k in range(PIECES):
            piece = mine - k * width if k == PIECES - 1 else np.minimum(mine - k * width, width)
            worth = 1.0 + limit * (k + 0.5) / PIECES / q.elasticity - back
            lost -= np.sign(limit) * q.reference_price_eur_per_mwh * worth * np.maximum(piece, 0.0)
    return {"comfort": float(lost @ hours)}
