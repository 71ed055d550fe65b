"""The independent check of contracts: what is planned passes, and a planted fault of every rule is found by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dispatch.check import check_contracts, check_schedule
from dispatch.check.contracts import RULES
from dispatch.product import Contract, Scope
from dispatch.products import connection_limit, demand_charge
from dispatch.products.registry import PRODUCTS
from dispatch.products.reserve import Side, decision
from tests.dispatch.random_fleet import Fleet, random_fleet
from tests.dispatch.trade_cases import Traded, reserve_contract, terms, trade
from vpp.domain.schedule import Schedule

QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
KINDS = ("battery", "chp", "thermal_unit", "thermal_store", "curtailable", "process", "fixed_load")
EVERYONE = Scope(assets=("all",))


def faults(fleet: Fleet, contracts: Sequence[Contract], schedule: Schedule) -> list[str]:
    return [str(f) for f in check_contracts(contracts, fleet.assets, fleet.states, fleet.inputs, schedule)]


def limit(fleet: Fleet, import_mw: float | None, export_mw: float | None) -> Contract:
    q = connection_limit.Terms(id="gate", of=EVERYONE, import_mw=import_mw, export_mw=export_mw)
    return Contract("connection_limit", q, tuple(a.id for a in fleet.assets))


def charge(fleet: Fleet, already_mw: float = 0.5, split: int | None = None) -> Contract:
    q = demand_charge.Terms(id="peak", of=EVERYONE, price_eur_per_mw=4000.0)
    period = np.zeros(fleet.grid.n) if split is None else (np.arange(fleet.grid.n) >= split).astype(float)
    known = {"period": period, "already_mw": np.where(period > 0, 0.0, already_mw)}
    return Contract("demand_charge", q, tuple(a.id for a in fleet.assets), known)


def prices(fleet: Fleet, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-10.0, 160.0, fleet.grid.n)


def test_every_product_with_contracts_has_a_rule() -> None:
    assert set(RULES) == {name for name, product in PRODUCTS.items() if product.Terms is not None or product.KNOWN}


@settings(max_examples=12, deadline=None, phases=QUICK)
@given(
    st.integers(0, 10_000), st.sampled_from(["quarters", "mixed", "hours", "odd"]),
    st.sampled_from(["up", "down", "symmetric"]), st.sampled_from([30, 60, 120]), st.booleans(),
)  # fmt: skip
def test_what_is_planned_passes(seed: int, grid_name: str, direction: str, interval_min: int, firm: bool) -> None:
    fleet = random_fleet(seed, grid_name, KINDS)
    definition = terms(direction=direction, interval_min=interval_min, activation_min=30.0)
    reserve = reserve_contract(fleet, definition, 70.0, firm_mw=0.6 if firm else np.nan)
    contracts = [reserve, charge(fleet, split=fleet.grid.n // 2)]
    schedule = trade(fleet, contracts, prices(fleet, seed), gap=1e-3).schedule
    assert check_schedule(fleet.assets, fleet.states, fleet.inputs, schedule) == []
    assert faults(fleet, contracts, schedule) == []


def sold(kind: str, direction: Side, seed: int = 3, **changes: object) -> tuple[Fleet, Contract, Traded]:
    """A fleet of one kind that sells a lot."""
    fleet = random_fleet(seed, "quarters", (kind,), outages=False)
    contract = reserve_contract(fleet, terms(direction=direction, activation_min=30.0, **changes), 500.0)
    return fleet, contract, trade(fleet, [contract], prices(fleet, seed), gap=1e-6)


def with_share(traded: Traded, asset: str, side: Side, row: np.ndarray) -> Schedule:
    """The plan with another share of one asset, and what it states of the contract adjusted to it."""
    schedule, name = traded.schedule, decision("r", side)
    told = {**schedule.decisions[asset], name: row}
    more = row - schedule.decisions[asset].get(name, np.zeros(schedule.grid.n))
    stated = dict(schedule.products["r"])
    stated["sold_mw"] = stated["sold_mw"] + more
    return replace(schedule, decisions={**schedule.decisions, asset: told}, products={**schedule.products, "r": stated})


@pytest.mark.parametrize(
    ("kind", "side"),
    [("battery", "up"), ("battery", "down"), ("chp", "up"), ("chp", "down"), ("thermal_unit", "up"),
     ("thermal_unit", "down"), ("thermal_store", "up"), ("thermal_store", "down"), ("curtailable", "down")],
)  # fmt: skip
def test_more_than_can_be_delivered_is_found(kind: str, side: Side) -> None:
    fleet, contract, traded = sold(kind, side)
    name, tried = decision("r", side), 0
    for asset in fleet.assets:
        row = traded.schedule.decisions[asset.id][name]
        if row.max() < 0.05:
            continue
        tried += 1
        assert faults(fleet, [contract], traded.schedule) == []
        more = faults(fleet, [contract], with_share(traded, asset.id, side, row * 1.2 + 0.05 * (row > 0)))
        assert any(f.startswith(f"{asset.id}/reserve {side}_mw") for f in more), more
    assert tried > 0


def test_energy_that_is_not_there_is_found() -> None:
    """Power is left, energy is not: half an hour at the price of an empty store."""
    fleet, contract, traded = sold("battery", "up", sustain_h=0.25)
    asset = fleet.assets[0]
    longer = replace(contract, terms=contract.terms.model_copy(update={"sustain_h": 4.0}))
    found = faults(fleet, [longer], traded.schedule)
    assert any(f.startswith(f"{asset.id}/reserve up_mw") for f in found)


def test_a_recovery_without_power_is_found() -> None:
    fleet, contract, traded = sold("battery", "up")
    faster = replace(contract, terms=contract.terms.model_copy(update={"recovery_h": 0.05}))
    found = faults(fleet, [faster], traded.schedule)
    assert any("reserve up_mw" in f for f in found)


def mill_case() -> tuple[Fleet, Contract, Traded]:
    for seed in range(20):
        fleet, contract, traded = sold("process", "up", seed)
        if any(rows[decision("r", "up")].max() > 0.1 for rows in traded.schedule.decisions.values()):
            return fleet, contract, traded
    raise AssertionError("no mill sells anything")


def test_a_mill_sells_what_runs_whole_and_once_per_rest() -> None:
    fleet, contract, traded = mill_case()
    assert faults(fleet, [contract], traded.schedule) == []
    name = decision("r", "up")
    asset = next(a for a in fleet.assets if traded.schedule.decisions[a.id][name].max() > 0.1)
    row, rated = traded.schedule.decisions[asset.id][name], asset.params.power_mw
    half = faults(fleet, [contract], with_share(traded, asset.id, "up", row / 2))
    assert any(f.startswith(f"{asset.id}/reserve up_mw: step") for f in half)
    always = faults(fleet, [contract], with_share(traded, asset.id, "up", np.full(fleet.grid.n, rated)))
    assert any("sold again" in f for f in always)
    off = np.where(traded.schedule.commitment[asset.id] < 0.5, rated, 0.0)
    if off.any():
        assert any("runs and may stop" in f for f in faults(fleet, [contract], with_share(traded, asset.id, "up", off)))
    carried = replace(contract, terms=contract.terms.model_copy(update={"sustain_h": 200.0, "recovery_h": 24.0}))
    assert any("silo in MWh" in f for f in faults(fleet, [carried], traded.schedule))


def test_shares_must_add_up_and_belong_to_the_contract() -> None:
    fleet, contract, traded = sold("battery", "up")
    first, schedule = fleet.assets[0].id, traded.schedule
    name = decision("r", "up")
    without = replace(schedule, decisions={**schedule.decisions, first: {}})
    assert any(f.startswith("r/up_mw held") for f in faults(fleet, [contract], without))
    stranger = replace(contract, assets=(fleet.assets[1].id,))
    assert any(f.startswith(f"{first}/{name}") for f in faults(fleet, [stranger], schedule))
    firm = replace(contract, known={**contract.known, "firm_mw": np.full(fleet.grid.n, 99.0)})
    assert any(f.startswith("r/sold_mw (reported)") for f in faults(fleet, [firm], schedule))
    uneven = schedule.decisions[first][name].copy()
    uneven[int(np.argmax(uneven))] *= 0.5
    assert any("in one interval" in f for f in faults(fleet, [contract], with_share(traded, first, "up", uneven)))


def test_a_kind_without_reserve_is_refused() -> None:
    fleet = random_fleet(1, "quarters", ("fixed_load", "battery"))
    contract = reserve_contract(fleet, terms(), 500.0)
    traded = trade(fleet, [contract], prices(fleet, 1))
    row = np.full(fleet.grid.n, 0.1)
    schedule = replace(
        traded.schedule, decisions={**traded.schedule.decisions, "fixed_load-0": {decision("r", "up"): row}}
    )
    assert "fixed_load-0/reserve: a fixed_load sells none" in faults(fleet, [contract], schedule)


def test_a_broken_limit_and_a_false_peak_are_found() -> None:
    fleet = random_fleet(5, "mixed", ("battery", "fixed_load"), outages=False)
    contracts = [limit(fleet, 1.2, 0.5), charge(fleet)]
    schedule = trade(fleet, contracts, prices(fleet, 5)).schedule
    net = schedule.power_mw.sum(axis=0)
    assert faults(fleet, [limit(fleet, -net.min() + 0.01, net.max() + 0.01)], schedule) == []
    assert faults(fleet, [limit(fleet, -net.min() - 0.01, None)], schedule)[0].startswith("gate/connection_limit")
    assert faults(fleet, [limit(fleet, None, max(net.max() - 0.01, 0.0))], schedule)[0].startswith("gate/connection")
    assert faults(fleet, [contracts[1]], schedule) == []
    less = {"peak_mw": schedule.products["peak"]["peak_mw"] - 0.01}
    wrong = replace(schedule, products={**schedule.products, "peak": less})
    assert faults(fleet, [contracts[1]], wrong)[0].startswith("peak/peak_mw (reported)")


def test_the_reserve_of_a_base_station_is_never_sold() -> None:
    """A kind without a headroom view holds nothing, whatever is paid; planted shares of it are refused."""
    fleet = random_fleet(1, "quarters", ("backup_battery", "battery"), outages=False)
    contract = reserve_contract(fleet, terms(), 500.0)
    traded = trade(fleet, [contract], prices(fleet, 1))
    name, backups = decision("r", "up"), [a.id for a in fleet.assets if a.kind == "backup_battery"]
    assert backups and traded.schedule.products["r"]["sold_mw"].max() > 0.0
    assert all(name not in traded.schedule.decisions.get(a, {}) for a in backups)
    told = {**traded.schedule.decisions.get(backups[0], {}), name: np.full(fleet.grid.n, 0.01)}
    planted = replace(traded.schedule, decisions={**traded.schedule.decisions, backups[0]: told})
    assert f"{backups[0]}/reserve: a backup_battery sells none" in faults(fleet, [contract], planted)
