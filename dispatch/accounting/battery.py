"""Battery: wear * |P| h."""

from __future__ import annotations

import numpy as np

from dispatch.accounting.trace import Costs, Trace


def costs(x: Trace) -> Costs:
    return {"wear": x.asset.params.wear_eur_per_mwh * float(np.abs(x.power_mw) @ x.grid.hours)}
