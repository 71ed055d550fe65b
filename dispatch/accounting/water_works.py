"""Water works: start_cost * starts + slack * (what was lacking + what was wasted), from the balance of the basin."""

from __future__ import annotations

import numpy as np

from dispatch.accounting.trace import Costs, Trace

SLACK_EUR_PER_MWH = 1000.0


def costs(x: Trace) -> Costs:
    q = x.asset.params
    net = (-x.power_mw - x.inputs["need_mw"]) * x.grid.hours
    slack = np.abs(x.inflow_mwh(q.loss_per_h) - net)
    return {"starts": q.start_cost_eur * x.starts, "penalties": SLACK_EUR_PER_MWH * float(slack.sum())}
