"""Reserve equals a literal model, and what is sold can be delivered: a call is played at every step of the plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dispatch.check.calls import SELLS
from dispatch.products.reserve import Side, Terms, decision
from tests.dispatch.activation import Battery, begins, play
from tests.dispatch.random_fleet import Fleet, random_fleet
from tests.dispatch.reserve_oracle import PRICE_EUR_PER_MW_H, oracle
from tests.dispatch.reserve_sellers import SELLERS
from tests.dispatch.trade_cases import Traded, reserve_contract, terms, trade
from vpp.domain.time import Array

QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
seeds, grids = st.integers(0, 10_000), st.sampled_from(["quarters", "mixed", "odd", "hours"])
PRODUCTS = {
    "up": terms(),
    "down": terms(direction="down", sustain_h=1.0, recovery_h=3.0),
    "symmetric": terms(direction="symmetric", interval_min=120, sustain_h=0.25, recovery_h=0.75),
    "long": terms(direction="symmetric", interval_min=30, sustain_h=0.75, recovery_h=2.0),
}


def prices(fleet: Fleet, seed: int) -> Array:
    return np.random.default_rng(seed).uniform(-10.0, 160.0, fleet.grid.n)


def held(traded: Traded, asset: str, side: Side, contract: str = "r") -> Array:
    return traded.schedule.decisions[asset].get(decision(contract, side), np.zeros(traded.schedule.grid.n))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("grid_name", ["quarters", "mixed", "odd"])
def test_equals_the_literal_model(seed: int, grid_name: str) -> None:
    fleet = random_fleet(seed, grid_name, ("battery",), outages=seed == 3)
    assert equal_to_the_literal_model(fleet, seed) > 0.0


def equal_to_the_literal_model(fleet: Fleet, seed: int) -> float:
    """Two contracts, one firm for odd seeds, against the oracle. Gives the most MW sold."""
    contracts = [replace_id(PRODUCTS[name], name) for name in sorted(PRODUCTS)[seed % 3 : seed % 3 + 2]]
    firm = {contracts[0].id: 0.4} if seed % 2 else {}
    price = prices(fleet, seed)
    bound = [reserve_contract(fleet, c, PRICE_EUR_PER_MW_H, firm_mw=firm.get(c.id, np.nan)) for c in contracts]
    traded = trade(fleet, bound, price, gap=1e-9)
    assert traded.objective == pytest.approx(oracle(fleet, contracts, price, firm), rel=1e-6, abs=1e-6)
    return float(max(row.max() for told in traded.schedule.decisions.values() for name, row in told.items()
                     if name.startswith("reserve_")))  # fmt: skip


OTHERS = sorted(set(SELLERS) - {"battery"})


def test_every_kind_that_sells_has_a_literal_seller() -> None:
    assert set(SELLERS) == set(SELLS)


@pytest.mark.parametrize("kind", OTHERS)
def test_every_seller_equals_the_literal_model(kind: str) -> None:
    cases = [(seed, ("quarters", "mixed", "odd")[seed % 3]) for seed in range(6)]
    sold = [equal_to_the_literal_model(random_fleet(s, grid, (kind,), outages=False), s) for s, grid in cases]
    assert sum(mw > 0.05 for mw in sold) >= 2, sold


def test_a_pool_of_all_kinds_equals_the_literal_model() -> None:
    fleet = random_fleet(4, "hours", tuple(SELLERS), outages=False, n=1)
    assert equal_to_the_literal_model(fleet, 4) > 0.5


def replace_id(definition: Terms, name: str) -> Terms:
    return definition.model_copy(update={"id": name})


@settings(max_examples=8, deadline=None, phases=QUICK)
@given(seeds, grids, st.sampled_from(sorted(PRODUCTS)))
def test_a_call_at_every_step_is_delivered_and_made_good(seed: int, grid_name: str, name: str) -> None:
    fleet, contract = random_fleet(seed, grid_name, ("battery",)), PRODUCTS[name]
    traded = trade(fleet, [reserve_contract(fleet, contract, PRICE_EUR_PER_MW_H)], prices(fleet, seed), gap=1e-6)
    for asset in fleet.assets:
        battery = Battery(asset, fleet.states[asset.id])
        for side in contract.sides:
            for begin in begins(traded.schedule):
                assert play(battery, traded.schedule, side, begin, contract) == [], (asset.id, side, begin)


def oversold(traded: Traded, asset: str, side: Side, by_mw: float) -> Traded:
    """The same plan, with more held in every step that holds anything."""
    schedule, name = traded.schedule, decision("r", side)
    told = dict(schedule.decisions[asset])
    told[name] = np.where(told[name] > 1e-6, told[name] + by_mw, 0.0)
    return replace(traded, schedule=replace(schedule, decisions={**schedule.decisions, asset: told}))


@pytest.mark.parametrize("side", ["up", "down"])
def test_playing_finds_what_could_not_be_delivered(side: Side) -> None:
    """The plan sells to the limit: more of it breaks the power, the window or the recovery."""
    contract = terms(direction=side)
    fleet = random_fleet(2, "quarters", ("battery",), outages=False)
    traded = trade(fleet, [reserve_contract(fleet, contract, 500.0)], prices(fleet, 2))
    found = {}
    for asset in fleet.assets:
        assert held(traded, asset.id, side).max() > 0.05
        more = oversold(traded, asset.id, side, 0.05).schedule
        battery = Battery(asset, fleet.states[asset.id])
        found[asset.id] = [p for begin in begins(more) for p in play(battery, more, side, begin, contract)]
    assert all(found.values())
