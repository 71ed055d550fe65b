"""What a trajectory costs, from measured power and contents: the terms of the objective, restated.

    battery        wear * |P| h
    CHP            fuel_price * h * (a P + b on + boiler / eta_b) + start_cost * starts
    process        start_cost * starts + missed_price * tonnes that could not be shipped
    price-elastic  benefit lost against the reference: L h * integral from s to 1 of p0 (1 + (x-1)/eps) dx
    curtailable    curtailment_cost * (available - P) h
    thermal store  1000 per MWh of heat left in the room

The boiler and the missed tonnes are not metered: they follow from the balance of the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vpp.domain.portfolio import Asset
from vpp.domain.time import Array, TimeGrid

UNSERVED_HEAT_EUR_PER_MWH = 1000.0


@dataclass(frozen=True)
class Trace:
    """One asset over `grid`: power (T,) MW, running (T,) 0/1, content before the start and at each end (MWh)."""

    asset: Asset
    grid: TimeGrid
    power_mw: Array
    on: Array
    was_on: bool
    start_mwh: float
    stored_mwh: Array
    inputs: Mapping[str, Array]

    @property
    def starts(self) -> int:
        before = np.concatenate([[float(self.was_on)], self.on[:-1]])
        return int(np.sum((self.on > 0.5) & (before < 0.5)))

    def inflow_mwh(self, loss_per_h: float) -> Array:
        """Net energy that must have entered the store in each step, (T,)."""
        before = np.concatenate([[self.start_mwh], self.stored_mwh[:-1]])
        flow: Array = self.stored_mwh - before * (1.0 - loss_per_h * self.grid.hours)
        return flow


Costs = dict[str, float]


def _battery(x: Trace) -> Costs:
    return {"wear": x.asset.params.wear_eur_per_mwh * float(np.abs(x.power_mw) @ x.grid.hours)}


def _chp(x: Trace) -> Costs:
    q, hours = x.asset.params, x.grid.hours
    made = (q.heat_mw_per_mw * x.power_mw + q.heat_no_load_mw * x.on) * hours
    topped_up = x.inflow_mwh(q.store_loss_per_h) + x.inputs["heat_demand_mw_th"] * hours - made
    boiler = np.clip(topped_up, 0.0, q.boiler_mw_th * hours)
    unmet = np.maximum(topped_up - boiler, 0.0)
    burnt = (q.fuel_mw_per_mw * x.power_mw + q.fuel_no_load_mw * x.on) * hours + boiler / q.boiler_efficiency
    return {
        "fuel": q.fuel_price_eur_per_mwh * float(burnt.sum()),
        "starts": q.start_cost_eur * x.starts,
        "penalties": UNSERVED_HEAT_EUR_PER_MWH * float(unmet.sum()),
    }


def _price_elastic(x: Trace) -> Costs:
    q, load = x.asset.params, x.inputs["load_mw"]
    share = np.divide(-x.power_mw, load, out=np.ones_like(load), where=load > 1e-9)
    gone = 1.0 - share
    lost = q.reference_price_eur_per_mwh * (gone - gone**2 / (2.0 * q.elasticity))
    return {"comfort": float((lost * load) @ x.grid.hours)}


def _curtailable(x: Trace) -> Costs:
    available = np.minimum(x.inputs["available_mw"], x.asset.params.capacity_mw)
    spilled = np.maximum(available - x.power_mw, 0.0)
    return {"curtailment": x.asset.params.curtailment_cost_eur_per_mwh * float(spilled @ x.grid.hours)}


def _thermal_store(x: Trace) -> Costs:
    q = x.asset.params
    cop = q.cop_at_20c + q.cop_slope_per_c * (x.inputs["ambient_c"] - 20.0)
    net = (cop * -x.power_mw - x.inputs["heat_mw_th"]) * x.grid.hours
    left = np.maximum(x.inflow_mwh(q.loss_per_h) - net, 0.0)
    return {"penalties": UNSERVED_HEAT_EUR_PER_MWH * float(left.sum())}


def _fixed_load(x: Trace) -> Costs:
    return {}


RULES: dict[str, Callable[[Trace], Costs]] = {
    "battery": _battery,
    "chp": _chp,
    "price_elastic": _price_elastic,
    "curtailable": _curtailable,
    "thermal_store": _thermal_store,
    "fixed_load": _fixed_load,
}


def _silo(mills: Sequence[Trace]) -> Costs:
    silo, hours = mills[0].asset.params.silo, mills[0].grid.hours
    per_t = silo.kwh_per_t / 1000.0
    made = sum((-m.power_mw * 1000.0 / m.asset.params.kwh_per_t for m in mills), np.zeros(len(hours))) * hours
    content = sum((m.stored_mwh for m in mills), np.zeros(len(hours))) / per_t
    start = sum(m.start_mwh for m in mills) / per_t
    gained = np.diff(np.concatenate([[start], content]))
    missed = np.maximum(gained - made + mills[0].inputs["shipments_t_per_h"] * hours, 0.0)
    return {
        "starts": float(sum(m.asset.params.start_cost_eur * m.starts for m in mills)),
        "missed_production": silo.missed_eur_per_t * float(missed.sum()),
    }


def costs(traces: Sequence[Trace]) -> Costs:
    """Money by term over all assets, spent positive; energy, deviation and fees are not in here."""
    total: Costs = {}
    silos: dict[str, list[Trace]] = {}
    for trace in traces:
        if trace.asset.kind == "process":
            silos.setdefault(trace.asset.params.silo.id, []).append(trace)
    parts = [RULES[t.asset.kind](t) for t in traces if t.asset.kind != "process"]
    for part in [*parts, *map(_silo, silos.values())]:
        for term, money in part.items():
            total[term] = total.get(term, 0.0) + money
    return total
