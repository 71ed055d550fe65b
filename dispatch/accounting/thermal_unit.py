"""Thermal unit: h * c(p) while on, c the lines between the points of its cost curve, and a price by time off line
for each start."""

from __future__ import annotations

import numpy as np

from dispatch.accounting.trace import Costs, Trace


def costs(x: Trace) -> Costs:
    q = x.asset.params
    mw, eur_per_h = ([getattr(p, name) for p in q.cost_curve] for name in ("power_mw", "eur_per_h"))
    burnt = np.interp(x.power_mw, mw, eur_per_h) * (x.on > 0.5) * x.grid.hours
    return {"fuel": float(burnt.sum()), "starts": _starts(x)}


def _starts(x: Trace) -> float:
    money, was_on, off_min = 0.0, x.was_on, 0.0 if x.was_on else x.minutes_before
    for on, minutes in zip(x.on > 0.5, x.grid.minutes, strict=True):
        if on and not was_on:
            money += [p.eur for p in x.asset.params.start_prices if 60.0 * p.after_off_h <= off_min + 1e-6][-1]
        off_min = 0.0 if on else off_min + minutes
        was_on = bool(on)
    return money
