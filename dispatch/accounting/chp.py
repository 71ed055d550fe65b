"""CHP: fuel_price * h * (a P + b on + boiler / eta_b) + start_cost * starts + slack * (unmet + dumped).

The boiler and the slacks are not metered: they follow from the balance of the store.
"""

from __future__ import annotations

import numpy as np

from dispatch.accounting.trace import SLACK_EUR_PER_MWH_TH, Costs, Trace


def costs(x: Trace) -> Costs:
    q, hours = x.asset.params, x.grid.hours
    made = (q.heat_mw_per_mw * x.power_mw + q.heat_no_load_mw * x.on) * hours
    topped_up = x.inflow_mwh(q.store_loss_per_h) + x.inputs["heat_demand_mw_th"] * hours - made
    boiler = np.clip(topped_up, 0.0, q.boiler_mw_th * hours)
    slack = np.abs(topped_up - boiler)
    burnt = (q.fuel_mw_per_mw * x.power_mw + q.fuel_no_load_mw * x.on) * hours + boiler / q.boiler_efficiency
    return {
        "fuel": q.fuel_price_eur_per_mwh * float(burnt.sum()),
        "starts": q.start_cost_eur * x.starts,
        "penalties": SLACK_EUR_PER_MWH_TH * float(slack.sum()),
    }
