"""What a trajectory costs, from measured power and contents: the terms of the objective, restated.

    battery        wear * |P| h
    CHP            fuel_price * h * (a P + b on + boiler / eta_b) + start_cost * starts + slack * (unmet + dumped)
    process        start_cost * starts + missed_price * tonnes that could not be shipped or stored
    price-elastic  benefit lost against the reference, for the move m behind the change of consumption
                   (`substitution`): h * integral from m to 0 of p0 * (1 + x / (eps L) - returned) dx,
                   in PIECES on either side of 0 as in the plan, each at the benefit of its middle
    curtailable    curtailment_cost * (limit - P) h
    thermal store  slack * (heat left in the room + cold nobody needed)

The boiler, the missed tonnes and the slacks are not metered: they follow from the balance of the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dispatch.substitution import moved_behind, returned_share
from vpp.domain.errors import Fault, InputFaults
from vpp.domain.portfolio import Asset
from vpp.domain.time import Array, TimeGrid

SLACK_EUR_PER_MWH_TH = 1000.0
PIECES = 6


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
    available: bool = True

    @property
    def starts(self) -> int:
        before = np.concatenate([[float(self.was_on)], self.on[:-1]])
        return int(np.sum((self.on > 0.5) & (before < 0.5)))

    def inflow_mwh(self, loss_per_h: float) -> Array:
        """Net energy that must have entered the store in each step, (T,)."""
        before = np.concatenate([[self.start_mwh], self.stored_mwh[:-1]])
        flow: Array = self.stored_mwh - before * np.maximum(0.0, 1.0 - loss_per_h * self.grid.hours)
        return flow


Costs = dict[str, float]


def _battery(x: Trace) -> Costs:
    return {"wear": x.asset.params.wear_eur_per_mwh * float(np.abs(x.power_mw) @ x.grid.hours)}


def _chp(x: Trace) -> Costs:
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


def _price_elastic(x: Trace) -> Costs:
    q, hours = x.asset.params, x.grid.hours
    load = np.maximum(x.inputs["load_mw"], 0.0)
    moved = moved_behind(-x.power_mw - load, hours, q.substitution, q.window_h)
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


def _curtailable(x: Trace) -> Costs:
    q = x.asset.params
    most = min(q.capacity_mw, q.s_rating_mva / float(np.hypot(1.0, x.asset.tan_phi))) * x.available
    spilled = np.maximum(np.clip(x.inputs["available_mw"], 0.0, most) - x.power_mw, 0.0)
    return {"penalties": q.curtailment_cost_eur_per_mwh * float(spilled @ x.grid.hours)}


def _thermal_store(x: Trace) -> Costs:
    q = x.asset.params
    cop = q.cop(np.asarray(x.inputs["ambient_c"]))
    net = (cop * -x.power_mw - x.inputs["heat_mw_th"]) * x.grid.hours
    return {"penalties": SLACK_EUR_PER_MWH_TH * float(np.abs(x.inflow_mwh(q.loss_per_h) - net).sum())}


def _fixed_load(x: Trace) -> Costs:
    return {}


def _silo(mills: Sequence[Trace]) -> Costs:
    silo, hours = mills[0].asset.params.silo, mills[0].grid.hours
    per_t = silo.kwh_per_t / 1000.0
    made = sum((-m.power_mw * 1000.0 / m.asset.params.kwh_per_t for m in mills), np.zeros(len(hours))) * hours
    content = sum((m.stored_mwh for m in mills), np.zeros(len(hours))) / per_t
    start = sum(m.start_mwh for m in mills) / per_t
    gained = np.diff(np.concatenate([[start], content]))
    slack_t = np.abs(gained - made + np.maximum(mills[0].inputs["shipments_t_per_h"], 0.0) * hours)
    return {
        "starts": float(sum(m.asset.params.start_cost_eur * m.starts for m in mills)),
        "missed_production": silo.missed_eur_per_t * float(slack_t.sum()),
    }


def _alone(rule: Callable[[Trace], Costs]) -> Callable[[Sequence[Trace]], list[Costs]]:
    return lambda traces: [rule(trace) for trace in traces]


def _process(traces: Sequence[Trace]) -> list[Costs]:
    silos: dict[str, list[Trace]] = {}
    for trace in traces:
        silos.setdefault(trace.asset.params.silo.id, []).append(trace)
    return [_silo(mills) for mills in silos.values()]


RULES: dict[str, Callable[[Sequence[Trace]], list[Costs]]] = {
    "battery": _alone(_battery),
    "chp": _alone(_chp),
    "price_elastic": _alone(_price_elastic),
    "curtailable": _alone(_curtailable),
    "thermal_store": _alone(_thermal_store),
    "fixed_load": _alone(_fixed_load),
    "process": _process,
}


def costs(traces: Sequence[Trace]) -> Costs:
    """Money by term over all assets, spent positive; energy, deviation and fees are not in here.

    Raises InputFaults for a kind without a rule here.
    """
    unknown = [Fault(t.asset.id, "kind", f"{t.asset.kind} has no rule in dispatch.accounting.RULES") for t in traces
               if t.asset.kind not in RULES]  # fmt: skip
    if unknown:
        raise InputFaults(unknown)
    total: Costs = {}
    for kind in dict.fromkeys(t.asset.kind for t in traces):
        for part in RULES[kind]([t for t in traces if t.asset.kind == kind]):
            for term, money in part.items():
                total[term] = total.get(term, 0.0) + money
    return total
