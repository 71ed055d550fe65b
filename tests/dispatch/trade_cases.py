"""Fleets that trade: random assets with contracts, their optimal plans, and what the laws of products need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import time
from typing import Any

import numpy as np

from dispatch.block import Block, EndValue
from dispatch.problem import Problem, assemble, cost_terms, read_schedule
from dispatch.product import Contract, Trade
from dispatch.products import reserve
from dispatch.products.registry import PRODUCTS
from dispatch.registry import KINDS
from tests.dispatch.random_fleet import Fleet, price_block, solved
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array

DEFINITION: dict[str, Any] = {
    "id": "r", "direction": "up", "of": {"assets": ["x"]}, "issue": time(8), "gate": time(9), "award": time(9, 30),
    "interval_min": 60, "min_mw": 0.01, "step_mw": 0.01, "most_mw": 50.0, "activation_min": 15.0, "sustain_h": 0.5,
    "recovery_h": 1.0, "hourly_eur_per_mw_h": (20.0,) * 24, "price_cap_eur_per_mw_h": 1000.0,
    "penalty_eur_per_mw_h": 2000.0,
}  # fmt: skip


def terms(**changes: Any) -> reserve.Terms:
    """A capacity product of hours, half an hour sustained and recovered from within an hour."""
    return reserve.Terms(**{**DEFINITION, **changes})


def hourly(minutes: Sequence[int], per: int = 60) -> Array:
    """(T,) number of the interval of `per` minutes each step begins in."""
    begins = np.concatenate([[0], np.cumsum(minutes[:-1])])
    return (begins // per).astype(float)


def reserve_contract(
    fleet: Fleet, definition: reserve.Terms, price: Array | float = 20.0, firm_mw: Array | float = np.nan,
    interval: Array | None = None,
) -> Contract:  # fmt: skip
    """A contract of the whole fleet; open where `firm_mw` is NaN."""
    n = fleet.grid.n
    numbers = hourly(fleet.grid.minutes, definition.interval_min) if interval is None else interval
    known = {
        "interval": numbers, "price_eur_per_mw_h": np.broadcast_to(price, (n,)).astype(float),
        "firm_mw": np.broadcast_to(firm_mw, (n,)).astype(float),
    }  # fmt: skip
    return Contract("reserve", definition, tuple(a.id for a in fleet.assets), known)


@dataclass(frozen=True)
class Traded:
    """The optimum of a fleet with its contracts."""

    problem: Problem
    x: Array
    schedule: Schedule
    costs: Mapping[str, float]
    objective: float


def kind_blocks(fleet: Fleet) -> tuple[Block, ...]:
    """One block a kind; every store values what is left in it."""
    ends = {
        a.id: EndValue(np.array([0.3, 0.5]), np.array([40.0, 20.0]))
        for a in fleet.assets
        if a.kind in ("battery", "chp", "thermal_store", "process")
    }
    context = fleet.context(end_value=ends)
    kinds = dict.fromkeys(a.kind for a in fleet.assets)
    return tuple(KINDS[k].block([a for a in fleet.assets if a.kind == k], context) for k in kinds)


def trade_of(fleet: Fleet, contracts: Sequence[Contract], kinds: tuple[Block, ...]) -> Trade:
    zero = np.zeros(fleet.grid.n)
    return Trade(
        fleet.grid, tuple(a.id for a in fleet.assets), zero, zero, 0.0, contracts=tuple(contracts), kinds=kinds
    )


def trade(fleet: Fleet, contracts: Sequence[Contract], price: Array, gap: float = 1e-7) -> Traded:
    """Energy sold at `price` (T,), and everything the contracts ask for."""
    kinds, ids = kind_blocks(fleet), tuple(a.id for a in fleet.assets)
    view = trade_of(fleet, contracts, kinds)
    names = ("connection_limit", "operating_envelope", "demand_charge", "reserve")
    products = [b for p in names for b in PRODUCTS[p].blocks(view)]
    problem = assemble(fleet.grid, ids, [*kinds, price_block(ids, fleet.grid, price), *products])
    x = solved(problem, gap).x
    schedule = read_schedule(problem, x, None, np.array([a.tan_phi for a in fleet.assets]))
    return Traded(problem, x, schedule, cost_terms(problem, x), problem.objective(x))
