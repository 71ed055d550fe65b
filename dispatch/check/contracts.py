"""Contracts, re-checked: what was sold and what is limited, from power, commitment and the shares of the assets.

    connection limit  -import_mw <= sum_i P_i <= export_mw
    envelope          -import_mw[t] <= sum_i P_i[t] <= export_mw[t], also with all reserve of one direction called
    demand charge     peak = max(already, expected, quarter-hour means of -sum_i P_i in the billing period)
    microgrid         -import_mw (1 - separate) <= sum_i P_i <= export_mw (1 - separate)
    reserve           sum of the shares = sold - short in every interval, sold = firm where the gate has closed,
                      shares constant in an interval and held by nobody but the contract's assets; every share can
                      be delivered: see `dispatch.check.calls`

What a plan states of a contract is compared, never used. Sources: those of the products.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from dispatch.check import microgrid
from dispatch.check.calls import Share, undeliverable
from dispatch.check.tools import TOLERANCE_MW, Plan, beyond
from dispatch.check.whole import plans, recompute
from vpp.domain.errors import Fault
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array, TimeGrid

QUARTER_MIN = 15
PRODUCT_TOLERANCE_MW = 5 * TOLERANCE_MW


class Bound(Protocol):
    """A contract as the check reads it."""

    @property
    def product(self) -> str: ...
    @property
    def terms(self) -> Any: ...
    @property
    def assets(self) -> tuple[str, ...]: ...
    @property
    def known(self) -> Mapping[str, Array]: ...


def _sum(schedule: Schedule, assets: Sequence[str]) -> Array:
    rows = [schedule.asset_ids.index(a) for a in assets]
    return np.asarray(schedule.power_mw[rows].sum(axis=0))


def _connection_limit(contract: Bound, schedule: Schedule, checked: Collection[str]) -> list[Fault]:
    q, net = contract.terms, _sum(schedule, contract.assets)
    least = -np.inf if q.import_mw is None else -q.import_mw
    most = np.inf if q.export_mw is None else q.export_mw
    return beyond(q.id, "connection_limit", net, least, most, PRODUCT_TOLERANCE_MW)


def _operating_envelope(contract: Bound, schedule: Schedule, checked: Collection[str]) -> list[Fault]:
    q, net = contract.terms, _sum(schedule, contract.assets)
    least, most = -contract.known["import_mw"], contract.known["export_mw"]
    name = f"operating envelope of {q.issuer}"
    faults = beyond(q.id, name, net, least, most, PRODUCT_TOLERANCE_MW)
    up, down = (_held(schedule, contract.assets, side) for side in ("up", "down"))
    lowest, highest = np.minimum(net, least), np.maximum(net, most)
    faults += beyond(q.id, f"{name}, reserve down called", net - down, lowest, np.inf, PRODUCT_TOLERANCE_MW)
    faults += beyond(q.id, f"{name}, reserve up called", net + up, -np.inf, highest, PRODUCT_TOLERANCE_MW)
    return faults


def _held(schedule: Schedule, assets: Sequence[str], side: str) -> Array:
    """(T,) MW of all reserve held in a direction by `assets`."""
    start = share_name("", side)
    rows = [v for a in assets for k, v in schedule.decisions.get(a, {}).items() if k.startswith(start)]
    return np.asarray(np.sum([np.zeros(schedule.grid.n), *map(np.asarray, rows)], axis=0))


def _quarters(grid: TimeGrid, values: Array) -> tuple[Array, Array]:
    """Mean of each quarter-hour of the clock over the part that lies in the grid, and the step it begins in."""
    minute = int(grid.start.timestamp()) // 60 + np.arange(sum(grid.minutes))
    step = np.repeat(np.arange(grid.n), grid.minutes)
    quarter = minute // QUARTER_MIN - minute[0] // QUARTER_MIN
    count = np.bincount(quarter)
    mean = np.bincount(quarter, weights=values[step]) / count
    return mean, step[np.concatenate([[0], np.cumsum(count)[:-1]])]


def _demand_charge(contract: Bound, schedule: Schedule, checked: Collection[str]) -> list[Fault]:
    q, told = contract.terms, schedule.products.get(contract.terms.id, {}).get("peak_mw")
    if told is None:
        return []
    mean, first = _quarters(schedule.grid, -_sum(schedule, contract.assets))
    period, already = contract.known["period"], contract.known["already_mw"]
    peak = np.maximum(already, q.expected_peak_mw)
    for number in np.unique(period):
        inside = period == number
        peak[inside] = max(peak[inside].max(), mean[period[first] == number].max(initial=-np.inf))
    return beyond(q.id, "peak_mw (reported)", np.asarray(told), peak, peak, PRODUCT_TOLERANCE_MW)


def _sides(direction: str) -> tuple[str, ...]:
    return ("up", "down") if direction == "symmetric" else (direction,)


def share_name(contract: str, side: str) -> str:
    """Name of an asset's share among its decisions."""
    return f"reserve_{side}_mw:{contract}"


def _reserve(contract: Bound, schedule: Schedule, checked: Collection[str]) -> list[Fault]:
    q, told = contract.terms, schedule.products.get(contract.terms.id)
    none, interval, firm = np.zeros(schedule.grid.n), contract.known["interval"], contract.known["firm_mw"]
    faults: list[Fault] = []
    for side in _sides(q.direction):
        name = share_name(q.id, side)
        holders = {a: np.asarray(rows[name]) for a, rows in schedule.decisions.items() if name in rows and a in checked}
        for asset, row in holders.items():
            faults += beyond(asset, name, row, 0.0, np.inf if asset in contract.assets else 0.0, TOLERANCE_MW)
            faults += beyond(asset, name, row, 0.0, np.where(interval >= 0, np.inf, 0.0), TOLERANCE_MW)
            for number in np.unique(interval[interval >= 0]):
                part = row[interval == number]
                faults += beyond(asset, f"{name} in one interval", part, part[0], part[0], TOLERANCE_MW)
        if told is None:
            continue
        total = sum(holders.values(), none)
        left = np.asarray(told["sold_mw"]) - np.asarray(told[f"short_{side}_mw"])
        faults += beyond(q.id, f"{side}_mw held", total, left, left, PRODUCT_TOLERANCE_MW)
    if told is not None:
        owed = np.where(np.isfinite(firm) & (interval >= 0), firm, np.asarray(told["sold_mw"]))
        faults += beyond(q.id, "sold_mw (reported)", np.asarray(told["sold_mw"]), owed, owed, PRODUCT_TOLERANCE_MW)
    return faults


def _microgrid(contract: Bound, schedule: Schedule, checked: Collection[str]) -> list[Fault]:
    return microgrid.recompute(contract.terms, contract.assets, schedule)


RULES: dict[str, Callable[[Bound, Schedule, Collection[str]], list[Fault]]] = {
    "connection_limit": _connection_limit,
    "demand_charge": _demand_charge,
    "microgrid": _microgrid,
    "operating_envelope": _operating_envelope,
    "reserve": _reserve,
}


def check_contracts(
    contracts: Sequence[Bound],
    assets: Sequence[Asset],
    states: Mapping[str, AssetState],
    inputs: Mapping[str, Mapping[str, Array]],
    schedule: Schedule,
) -> list[Fault]:
    """Every way in which `schedule` breaks a contract, misreports it, or sells reserve it cannot deliver.

    Reserve is that of `assets`. `check_schedule` has found no missing row in the schedule. Raises KeyError for a
    product without a rule.
    """
    checked = {a.id for a in assets}
    faults = [f for c in contracts for f in RULES[c.product](c, schedule, checked)]
    reserves = [c for c in contracts if c.product == "reserve"]
    if not reserves:
        return faults
    parts = plans(assets, states, inputs, schedule)
    stored = {name: found.stored_mwh for name, found in recompute(parts).items()}
    silos: dict[str, list[Plan]] = {}
    for part in parts:
        if part.asset.kind == "process":
            silos.setdefault(part.asset.params.silo.id, []).append(part)
    for part in parts:
        shares = [
            Share(c.terms, side, part.decision(share_name(c.terms.id, side)), c.known["interval"])
            for c in reserves
            for side in _sides(c.terms.direction)
        ]
        shares = [s for s in shares if s.held_mw.max() > TOLERANCE_MW]
        if shares:
            mates = len(silos[part.asset.params.silo.id]) if part.asset.kind == "process" else 1
            faults += undeliverable(part, stored[part.asset.id], shares, mates)
    return faults
