"""The doors are equal: one problem through HiGHS, through Pyomo, and where it is convex through CVXPY, has one optimum.

Every kind of the registry over random fleets, every product over all kinds, and a rule of an operator.
Where a problem has integers, its convex part is the same problem with the integers of the optimum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest

from dispatch.block import Block
from dispatch.problem import Problem, assemble
from dispatch.product import Contract, ContractTerms, Scope
from dispatch.products import connection_limit, demand_charge, microgrid, operating_envelope
from dispatch.products.dr_call import dr_call
from dispatch.products.energy import bid_energy, position_energy
from dispatch.products.grid_fee import grid_fee
from dispatch.products.registry import PRODUCTS as REGISTRY
from dispatch.registry import KINDS
from dispatch.rule_places import Places
from dispatch.rules import RuleFile
from dispatch.solvers import cvxpy_door
from dispatch.solvers.cvxpy_door import RealTime
from dispatch.solvers.highs_door import Living
from dispatch.solvers.pyomo_door import rule_rows, solve_with_pyomo
from tests.dispatch.random_fleet import GRID_NAMES, Fleet, price_block, random_fleet
from tests.dispatch.trade_cases import kind_blocks, reserve_contract, terms, trade_of
from vpp.domain.errors import NotSolved
from vpp.domain.time import Array

EQUAL = 1e-6
EVERYONE = Scope(assets=("all",))
EXACT = {"mip_rel_gap": 1e-9, "mip_abs_gap": 1e-9, "threads": 1}
FINER = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}
Product = Callable[[Fleet, tuple[str, ...], Array], list[Block]]


def fleet_blocks(fleet: Fleet) -> list[Block]:
    kinds = dict.fromkeys(a.kind for a in fleet.assets)
    return [KINDS[k].block([a for a in fleet.assets if a.kind == k], fleet.context()) for k in kinds]


def same_optimum(problem: Problem) -> float:
    """The objective that every door finds; raises AssertionError where one differs."""
    raw = Living(problem).solve_mip(60.0, 1e-10)
    scale = max(1.0, abs(raw.objective))
    _, by_pyomo = solve_with_pyomo(problem, "appsi_highs", EXACT)
    assert by_pyomo == pytest.approx(raw.objective, abs=EQUAL * scale)
    at = np.flatnonzero(problem.integer)
    lower, upper = problem.lower.copy(), problem.upper.copy()
    lower[at] = upper[at] = np.round(raw.x[at])
    convex = replace(problem, lower=lower, upper=upper)
    n, steps = len(problem.asset_ids), problem.grid.n
    with mock.patch.dict(cvxpy_door.ACCURACY, FINER):
        _, by_cvxpy = RealTime(convex, 0).solve(convex, np.zeros((n, steps)), 0.0, deadline_s=60.0)
    assert by_cvxpy == pytest.approx(raw.objective, abs=EQUAL * scale)
    return raw.objective


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_one_optimum(kind: str, seed: int) -> None:
    fleet = random_fleet(seed, GRID_NAMES[seed % len(GRID_NAMES)], kinds=(kind,))
    ids = tuple(a.id for a in fleet.assets)
    price = np.random.default_rng(seed).uniform(10.0, 160.0, fleet.grid.n)
    same_optimum(assemble(fleet.grid, ids, [*fleet_blocks(fleet), price_block(ids, fleet.grid, price)]))


def _sold(fleet: Fleet, ids: tuple[str, ...], price: Array) -> list[Block]:
    return [bid_energy(ids, ids, fleet.grid, price)]


def _firm(fleet: Fleet, ids: tuple[str, ...], price: Array) -> list[Block]:
    position = np.where(np.arange(fleet.grid.n) % 3 == 0, np.nan, -0.5)
    return [position_energy(ids, ids, fleet.grid, position, price, 0.2, 0.4)]


def _uncertain(fleet: Fleet, ids: tuple[str, ...], price: Array) -> list[Block]:
    error = np.random.default_rng(3).normal(0.0, 0.3, (5, fleet.grid.n))
    return [position_energy(ids, ids, fleet.grid, np.full(fleet.grid.n, -0.5), price, 0.2, 0.4, error_mw=error)]


def _fee(fleet: Fleet, ids: tuple[str, ...], price: Array) -> list[Block]:
    return [*_sold(fleet, ids, price), grid_fee(ids, ids, fleet.grid, 0.4 * price)]


def _called(fleet: Fleet, ids: tuple[str, ...], price: Array) -> list[Block]:
    active = np.arange(fleet.grid.n) >= fleet.grid.n // 2
    baseline, ordered = np.full(fleet.grid.n, -1.0), np.full(fleet.grid.n, 0.8)
    return [*_sold(fleet, ids, price), dr_call(ids[:3], ids, fleet.grid, active, baseline, ordered, 300.0, 90.0)]


PRODUCTS: dict[str, Product] = {
    "energy": _sold, "position": _firm, "uncertain position": _uncertain, "grid fee": _fee, "order": _called,
}  # fmt: skip


@pytest.fixture(scope="module")
def everyone() -> Iterator[tuple[Fleet, tuple[str, ...], list[Block], Array]]:
    """One asset of every kind."""
    fleet = random_fleet(7, GRID_NAMES[0], kinds=tuple(KINDS), n=1)
    price = np.random.default_rng(7).uniform(10.0, 160.0, fleet.grid.n)
    yield fleet, tuple(a.id for a in fleet.assets), fleet_blocks(fleet), price


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_product_has_one_optimum(product: str, everyone: Any) -> None:
    fleet, ids, blocks, price = everyone
    same_optimum(assemble(fleet.grid, ids, [*blocks, *PRODUCTS[product](fleet, ids, price)]))


CONTRACTS: dict[str, Callable[[Fleet], Contract]] = {
    "connection_limit": lambda fleet: _contract(
        fleet, "connection_limit",
        connection_limit.Terms(id="gate", of=EVERYONE, import_mw=0.8, export_mw=0.3, excess_eur_per_mwh=900.0),
    ),
    "demand_charge": lambda fleet: _contract(
        fleet, "demand_charge", demand_charge.Terms(id="peak", of=EVERYONE, price_eur_per_mw=800.0),
        period=np.zeros(fleet.grid.n), already_mw=np.full(fleet.grid.n, 0.2),
    ),
    "microgrid": lambda fleet: _contract(
        fleet, "microgrid",
        microgrid.Terms(id="island", of=EVERYONE, import_mw=1.0, export_mw=0.5, may_island=True, separation_eur=20.0,
                        island_eur_per_h=-5.0, excess_eur_per_mwh=900.0),
    ),
    "operating_envelope": lambda fleet: Contract(
        "operating_envelope", operating_envelope.Received("gate", "dso", "DSO", excess_eur_per_mwh=900.0),
        tuple(a.id for a in fleet.assets),
        {"import_mw": np.linspace(0.4, 1.0, fleet.grid.n), "export_mw": np.linspace(0.6, 0.1, fleet.grid.n)},
    ),
    "reserve": lambda fleet: reserve_contract(fleet, terms()),
}  # fmt: skip


def _contract(fleet: Fleet, product: str, definition: ContractTerms, **known: Array) -> Contract:
    return Contract(product, definition, tuple(a.id for a in fleet.assets), known)


@pytest.mark.parametrize("product", CONTRACTS)
def test_every_contract_has_one_optimum(product: str) -> None:
    fleet = random_fleet(7, GRID_NAMES[0], kinds=("battery", "curtailable", "fixed_load"))
    price = np.random.default_rng(7).uniform(10.0, 160.0, fleet.grid.n)
    kinds, ids = kind_blocks(fleet), tuple(a.id for a in fleet.assets)
    products = REGISTRY[product].blocks(trade_of(fleet, [CONTRACTS[product](fleet)], kinds))
    assert products
    same_optimum(assemble(fleet.grid, ids, [*kinds, price_block(ids, fleet.grid, price), *products]))


def test_no_product_of_the_registry_is_left_out() -> None:
    assert REGISTRY.keys() - CONTRACTS.keys() == {"energy", "grid_fee", "dr_call"}


def test_a_rule_of_an_operator_has_one_optimum_and_costs(everyone: Any) -> None:
    fleet, ids, blocks, price = everyone

    def rules(b: Any, plan: Any) -> None:
        @b.Constraint(plan.steps)  # type: ignore[untyped-decorator]
        def import_limit(b: Any, t: int) -> Any:
            return sum(plan.power_mw[a][t] for a in plan.assets) >= -1.0

    stacked = [*blocks, *_sold(fleet, ids, price)]
    file = RuleFile("rules.py", "", rules)
    excess, rows = rule_rows(file, "Europe/Berlin", fleet.assets, fleet.states, Places(fleet.grid, ids, stacked))
    free = same_optimum(assemble(fleet.grid, ids, stacked))
    assert same_optimum(assemble(fleet.grid, ids, [*stacked, *excess], rows)) > free + 1.0


def test_a_solver_that_pyomo_does_not_have_is_named(everyone: Any) -> None:
    fleet, ids, blocks, price = everyone
    problem = assemble(fleet.grid, ids, [*blocks, *_sold(fleet, ids, price)])
    with pytest.raises(NotSolved, match="no solver nobody_has_this"):
        solve_with_pyomo(problem, "nobody_has_this")


def test_an_impossible_problem_is_not_solved_by_pyomo_either(everyone: Any) -> None:
    fleet, ids, blocks, price = everyone
    problem = assemble(fleet.grid, ids, [*blocks, *_sold(fleet, ids, price)])
    impossible = replace(problem, row_lower=problem.row_lower + 1e6, row_upper=problem.row_upper + 1e6)
    with pytest.raises(NotSolved):
        solve_with_pyomo(impossible, "appsi_highs")
