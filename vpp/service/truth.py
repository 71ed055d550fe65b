"""What truly happened, read from the plant after the fact, and what it cost.

Only evaluation sees this: nothing in here reaches a forecast or a plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

import numpy as np

from adapters.plant_link import Minutes, PlantLink
from dispatch.accounting import Trace, costs
from dispatch.registry import KINDS
from dispatch.settlement import deviation_money
from vpp.domain.market import Event
from vpp.domain.portfolio import AssetState
from vpp.domain.time import MINUTE, QUARTER, Array, TimeGrid
from vpp.service.inputs import trajectories
from vpp.service.knowledge import positions_over, price_over
from vpp.service.orders import event_grid, orders_of
from vpp.service.system import System

CHUNK_MINUTES = 240
RATED_MINUTES = 15


@dataclass(frozen=True)
class Truth:
    """Minutes of [grid.start, grid.end): by asset (N,T) in the portfolio's order, by series (T,)."""

    grid: TimeGrid
    power_mw: Array
    stored_mwh: Array
    on: Array
    series: Mapping[str, Array]
    q_series: Mapping[str, Array]

    @property
    def quarters(self) -> TimeGrid:
        return TimeGrid.between(self.grid.start, self.grid.end, QUARTER)


def read_truth(system: System, link: PlantLink, start: datetime, end: datetime) -> Truth:
    """The plant's own record of [start, end)."""
    parts: list[Minutes] = []
    at = start
    while at < end:
        until = min(at + CHUNK_MINUTES * MINUTE, end)
        parts.append(link.minutes(at, until))
        at = until
    ids = [a.id for a in system.portfolio.assets]
    power, stored, on = (
        np.array([np.concatenate([getattr(p, name)[i] for p in parts]) for i in ids])
        for name in ("power_mw", "stored_mwh", "on")
    )
    series, q_series = (
        {k: np.concatenate([getattr(p, name)[k] for p in parts]) for k in getattr(parts[0], name)}
        for name in ("series", "q_series")
    )
    return Truth(TimeGrid.between(start, end, MINUTE), power, stored, on, series, q_series)


def realised_cost(
    system: System, truth: Truth, initial: Mapping[str, AssetState], *, firm: bool, events: bool
) -> dict[str, float]:
    """Money spent by term. `firm` settles against the positions; without it everything sells at the price."""
    portfolio, quarters = system.portfolio, truth.quarters
    inputs = trajectories(portfolio, truth.grid, truth.series)
    traces = [
        Trace(a, truth.grid, truth.power_mw[i], truth.on[i], initial[a.id].on, initial[a.id].stored_mwh,
              truth.stored_mwh[i], inputs[a.id], minutes_before=initial[a.id].minutes_in_state)
        for i, a in enumerate(portfolio.assets)
    ]  # fmt: skip
    terms = costs(traces)
    power = quarters.sample(truth.grid, truth.power_mw)
    terms |= _energy(system, power, quarters, firm)
    terms["fee"] = _fees(system, power, quarters)
    terms["stored_energy"] = _content_used(system, truth, initial)
    if firm and (income := capacity_income(system, quarters)):
        terms["reserve"] = -income
    if events:
        terms["events"] = -float(_event_income(system, truth))
    return terms


def _energy(system: System, power: Array, quarters: TimeGrid, firm: bool) -> dict[str, float]:
    price = price_over(system, quarters, quarters.end)
    energy = deviation = 0.0
    for unit in positions_over(system, quarters, "settle"):
        rows = [system.portfolio.index[a] for a in unit.assets]
        position = unit.mw if firm else np.full(quarters.n, np.nan)
        money = deviation_money(position, power[rows].sum(axis=0), price, system.market.deviation_beta, quarters.hours)
        energy, deviation = energy + money[0], deviation + money[1]
    return {"energy": energy, "deviation": deviation}


def capacity_income(system: System, quarters: TimeGrid) -> float:
    """What the capacity that is firm over `quarters` earns; whether it was held is in the plans, not in the meter."""
    products = {c.id for c in system.loaded.contracts if c.product == "reserve"}
    return sum(
        p.mw * p.price_eur_per_mwh * (min(p.end, quarters.end) - max(p.start, quarters.start)).total_seconds() / 3600.0
        for unit in system.portfolio.trading_units
        for p in system.store.market.positions(unit.id, quarters.start, quarters.end)
        if p.product in products
    )


def _fees(system: System, power: Array, quarters: TimeGrid) -> float:
    fee = system.market.fee(quarters, system.portfolio.zone)
    consuming = [i for i, a in enumerate(system.portfolio.assets) if not KINDS[a.kind].GENERATES]
    return float(np.maximum(-power[consuming], 0.0).sum(axis=0) @ (fee * quarters.hours))


def _content_used(system: System, truth: Truth, initial: Mapping[str, AssetState]) -> float:
    """Stored energy taken out over the span, at the stated price of each kind."""
    stated = system.market.stored_energy_eur_per_mwh
    return sum(
        stated[a.kind] * float(initial[a.id].stored_mwh - truth.stored_mwh[i, -1])
        for i, a in enumerate(system.portfolio.assets)
        if a.kind in stated
    )


def _event_income(system: System, truth: Truth) -> Decimal:
    """What the grid desk paid for events that ended inside the span, penalties off."""
    total = Decimal(0)
    for event in system.store.events.list(truth.grid.start, truth.grid.end):
        statement = system.store.events.statement(event.id)
        if statement is not None:
            total += statement.totals["vpp_net"]
    return total


def realised_violation_minutes(system: System, truth: Truth) -> int:
    """Minutes in which a bus left its band or a rated element its rating (mean of the last 15 minutes).

    The reference engine solves every minute at the taps our control found on the true injections.
    """
    if system.network is None or system.background is None:
        return 0
    network, background = system.network, system.background
    position = {bus: i for i, bus in enumerate(network.buses)}
    p_series = np.array([truth.series[s] for s in background.series])
    q_series = np.array([truth.q_series[s] for s in background.series])
    p, q = background.injection(p_series, q_series)
    for i, asset in enumerate(system.portfolio.assets):
        if asset.bus is not None:
            p[:, position[asset.bus]] += truth.power_mw[i]
            q[:, position[asset.bus]] += asset.tan_phi * truth.power_mw[i]
    flow = network.verdict(network.flow(truth.grid, p[None], q[None]))
    rated = replace(flow, loading_pct=_trailing_mean(flow.loading_pct))
    return len({v.step for v in network.violations(rated)})


def _trailing_mean(loading_pct: Array) -> Array:
    """Mean over the last 15 minutes, (1,T,E); shorter at the start. NaN counts as nothing known."""
    known = np.nan_to_num(loading_pct)
    total = np.concatenate([np.zeros_like(known[:, :1]), np.cumsum(known, axis=1)], axis=1)
    last = np.arange(1, known.shape[1] + 1)
    first = np.maximum(last - RATED_MINUTES, 0)
    mean: Array = (total[:, last] - total[:, first]) / (last - first)[None, :, None]
    return mean


def delivered_mwh(system: System, truth: Truth) -> dict[str, float]:
    """Signed injection by kind, MWh."""
    found: dict[str, float] = {}
    for i, asset in enumerate(system.portfolio.assets):
        energy = float(truth.power_mw[i] @ truth.grid.hours)
        found[asset.kind] = found.get(asset.kind, 0.0) + energy
    return found


def true_delivery(system: System, event: Event) -> dict[str, list[float]]:
    """Per participant: MW per quarter beyond what the same devices would have done at their defaults.

    Empty without a virtual plant, which alone knows both.
    """
    if system.truth is None:
        return {}
    grid, found = event_grid(event), {}
    minutes, fine = system.truth(event.start, event.end), TimeGrid.between(event.start, event.end, MINUTE)
    answers = system.store.events.acceptances(event.id)
    for order in orders_of(event, system.store.events.offers(event.id), answers):
        extra = sum((minutes.power_mw[a] - minutes.default_mw[a] for a in order.assets), np.zeros(fine.n))
        found[order.participant] = grid.sample(fine, extra).tolist()
    return found
