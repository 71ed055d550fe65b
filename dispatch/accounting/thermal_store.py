"""Thermal store: slack * (heat left in the room + cold nobody needed), which follow from the balance of the store."""

from __future__ import annotations

import numpy as np

from dispatch.accounting.trace import SLACK_EUR_PER_MWH_TH, Costs, Trace


def costs(x: Trace) -> Costs:
    q = x.asset.params
    cop = q.cop(np.asarray(x.inputs["ambient_c"]))
    net = (cop * -x.power_mw - x.inputs["heat_mw_th"]) * x.grid.hours
    return {"penalties": SLACK_EUR_PER_MWH_TH * float(np.abs(x.inflow_mwh(q.loss_per_h) - net).sum())}
