"""Received limits in the model: the literal statement, the law of tighter limits, what cannot be kept, the check."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyomo.environ as pyo
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dispatch.block import Block
from dispatch.check import check_contracts
from dispatch.problem import assemble
from dispatch.product import Contract, Trade
from dispatch.products.operating_envelope import AIM, NAME, Received, blocks, limits
from dispatch.products.reserve import Side, decision
from dispatch.solvers.highs_door import Living
from tests.dispatch.commitment_oracle import GRIDS
from tests.dispatch.random_fleet import Fleet, random_fleet
from tests.dispatch.test_contracts import position, prices, store_oracle, store_plan
from tests.dispatch.tiny import load
from tests.dispatch.trade_cases import reserve_contract, trade
from tests.dispatch.trade_cases import terms as reserve_terms
from vpp.domain.errors import DataGap
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array, TimeGrid

QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
KINDS = ("battery", "curtailable", "fixed_load", "process")
seeds, grids = st.integers(0, 10_000), st.sampled_from(["quarters", "mixed", "odd", "minutes", "hours"])


def envelope(members: tuple[str, ...], import_mw: Array, export_mw: Array, price: float = 20_000.0) -> Contract:
    terms = Received("cable", "dso", "Grid operator", excess_eur_per_mwh=price)
    return Contract(NAME, terms, members, {"import_mw": import_mw, "export_mw": export_mw})


def of_fleet(fleet: Fleet, import_mw: Array, export_mw: Array) -> Contract:
    return envelope(tuple(a.id for a in fleet.assets), import_mw, export_mw)


def block(on: TimeGrid, contract: Contract, ids: tuple[str, ...]) -> Block:
    zero = np.zeros(on.n)
    view = Trade(on, ids, zero, zero, 0.0, positions=(position(on, ids),), contracts=(contract,))  # type: ignore[arg-type]
    (found,) = blocks(view)
    return found


@pytest.mark.parametrize("grid_name", sorted(GRIDS))
@pytest.mark.parametrize("seed", range(3))
def test_it_equals_the_literal_model(grid_name: str, seed: int) -> None:
    """A store beside a load: the price of the excess is low enough for the limits to be exceeded at times."""
    rng, on = np.random.default_rng(seed), GRIDS[grid_name]
    load_mw, price = rng.uniform(0.2, 2.0, on.n), rng.uniform(5.0, 150.0, on.n)
    taken, given = rng.uniform(0.5, 1.6, on.n), rng.uniform(0.0, 0.5, on.n)

    def rules(m: pyo.ConcreteModel, h: list[float]) -> object:
        m.over, m.under = (pyo.Var(m.t, domain=pyo.NonNegativeReals) for _ in range(2))
        for t in m.t:
            m.rules.add(m.net[t] >= -0.99 * float(taken[t]) - m.over[t])
            m.rules.add(m.net[t] <= 0.99 * float(given[t]) + m.under[t])
        return 900.0 * sum(h[t] * (m.over[t] + m.under[t]) for t in m.t)

    ids = ("b", "l")
    found = store_plan(on, load_mw, price, block(on, envelope(ids, taken, given, 900.0), ids))
    assert found == pytest.approx(store_oracle(on, load_mw, price, rules), rel=1e-6, abs=1e-6)


@settings(max_examples=12, deadline=None, phases=QUICK)
@given(seeds, grids, st.floats(0.0, 1.0))
def test_tighter_limits_never_make_a_plan_better(seed: int, grid_name: str, share: float) -> None:
    fleet, rng = random_fleet(seed, grid_name, KINDS), np.random.default_rng(seed)
    taken, given = rng.uniform(0.0, 2.0, (2, fleet.grid.n))
    tighter = share * rng.uniform(0.0, 1.0, fleet.grid.n)
    costs = [
        trade(fleet, [of_fleet(fleet, k * taken, k * given)], prices(fleet, seed), 1e-6).objective
        for k in (1.0, tighter)
    ]
    free = trade(fleet, [], prices(fleet, seed), 1e-6).objective
    slack = 1e-5 * max(1.0, abs(costs[1]))
    assert free <= costs[0] + slack and costs[0] <= costs[1] + slack


@settings(max_examples=12, deadline=None, phases=QUICK)
@given(seeds, grids)
def test_a_plan_keeps_its_limits_or_says_by_how_much_it_does_not(seed: int, grid_name: str) -> None:
    fleet, rng = random_fleet(seed, grid_name, KINDS), np.random.default_rng(seed)
    taken, given = rng.uniform(0.3, 2.0, (2, fleet.grid.n))
    contract = of_fleet(fleet, taken, given)
    schedule = trade(fleet, [contract], prices(fleet, seed), 1e-4).schedule
    net, told = schedule.power_mw.sum(axis=0), schedule.products["cable"]
    np.testing.assert_allclose(told["over_import_mw"], np.maximum(-net - taken, 0.0), atol=1e-5)
    np.testing.assert_allclose(told["over_export_mw"], np.maximum(net - given, 0.0), atol=1e-5)
    faults = check_contracts([contract], fleet.assets, fleet.states, fleet.inputs, schedule)
    over = max(float((-net - taken).max()), float((net - given).max()))
    assert bool(faults) == (over > 5e-4)
    assert all(str(f).startswith("cable/operating envelope of dso: step ") for f in faults)


@pytest.mark.parametrize(("evening_mw", "missed_mwh"), [(1.0, 0.0), (1.5, 1.25)])
def test_what_cannot_be_kept_is_exceeded_least(evening_mw: float, missed_mwh: float) -> None:
    """Load for 2.5 h, then 0.2 MW for 2.5 h, and 0.6 MW of import to aim at: a store of 2 MWh that holds 1 covers that
    much, and takes it back at 0.4 MW; what is missing beyond that nobody can cover."""
    on, ids = GRIDS["quarters"], ("b", "l")
    load_mw, price = np.where(np.arange(on.n) < 10, evening_mw, 0.2), np.full(on.n, 50.0)
    limited = block(on, envelope(ids, np.full(on.n, 0.6 / AIM), np.zeros(on.n)), ids)
    cost = store_plan(on, load_mw, price, limited)
    assert cost == pytest.approx(20_000.0 * missed_mwh + 50.0 * float(load_mw @ on.hours), rel=1e-6)


def test_a_plan_aims_inside_its_limits_and_tells_an_excess_of_the_limits_themselves() -> None:
    """A load of 1 MW that nothing serves: within 1 % of the limit nothing is exceeded, past it what is past it."""
    on, ids, zero = GRIDS["hours"], ("l",), np.zeros(GRIDS["hours"].n)
    for limit_mw, told_mw in ((1.02, 0.0), (1.005, 0.0), (0.9, 0.1)):
        stated = block(on, envelope(ids, np.full(on.n, limit_mw), zero), ids)
        raw = Living(assemble(on, ids, [load("l", np.ones(on.n)), stated])).solve_lp(30.0)
        found = stated.read(raw.x, {})["cable"].decisions
        np.testing.assert_allclose(found["over_import_mw"], told_mw, atol=1e-9)
        assert raw.objective == pytest.approx(20_000.0 * max(1.0 - AIM * limit_mw, 0.0) * float(on.hours.sum()))


def test_a_plan_that_breaks_a_limit_is_named_with_the_worst_step() -> None:
    fleet = random_fleet(5, "mixed", ("battery", "fixed_load"), outages=False)
    schedule = trade(fleet, [], prices(fleet, 5)).schedule
    net = schedule.power_mw.sum(axis=0)
    wide = of_fleet(fleet, np.maximum(-net, 0.0), np.maximum(net, 0.0))
    assert check_contracts([wide], fleet.assets, fleet.states, fleet.inputs, schedule) == []
    t = int(np.argmin(net))
    taken = wide.known["import_mw"].copy()
    taken[t] -= 0.01
    (fault,) = check_contracts(
        [of_fleet(fleet, taken, wide.known["export_mw"])], fleet.assets, fleet.states, fleet.inputs, schedule
    )
    assert fault.where == "cable" and fault.reason.startswith(f"step {t}: ")


def test_limits_are_asked_for_by_name_and_bound_the_sum_of_the_lower_rungs() -> None:
    on = GRIDS["quarters"]
    made = envelope(("b",), np.full(on.n, 0.4), np.full(on.n, 0.2))
    low, high = limits(made, on)
    assert low.tolist() == [-0.4 * AIM] * on.n and high.tolist() == [0.2 * AIM] * on.n
    with pytest.raises(DataGap, match="cable/import_mw"):
        limits(replace(made, known={}), on)


RESERVE_KINDS = ("battery", "curtailable", "fixed_load")


def held(schedule: Schedule, side: Side) -> Array:
    """(T,) MW of reserve in one direction, all assets."""
    rows = [d[decision("r", side)] for d in schedule.decisions.values() if decision("r", side) in d]
    total: Array = np.sum(rows, axis=0)
    return total


@settings(max_examples=10, deadline=None, phases=QUICK)
@given(seeds, st.sampled_from(["quarters", "mixed", "hours", "odd"]), st.sampled_from(["up", "down", "symmetric"]))
def test_a_call_of_all_that_is_held_keeps_the_limits_too(seed: int, grid_name: str, direction: str) -> None:
    fleet, rng = random_fleet(seed, grid_name, RESERVE_KINDS), np.random.default_rng(seed)
    reserve = reserve_contract(fleet, reserve_terms(direction=direction, activation_min=30.0), 300.0)
    taken, given = rng.uniform(1.0, 3.0, (2, fleet.grid.n))
    limited = of_fleet(fleet, taken, given)
    free, bound = (trade(fleet, c, prices(fleet, seed), 1e-5) for c in ([reserve], [limited, reserve]))
    told = bound.schedule.products["cable"]
    net = bound.schedule.power_mw.sum(axis=0)
    for side, most, over, sign in (("up", given, "over_export_mw", 1.0), ("down", taken, "over_import_mw", -1.0)):
        if direction in (side, "symmetric"):
            assert (sign * net + held(bound.schedule, side) <= most + told[over] + 1e-4).all()  # type: ignore[arg-type]
    assert free.objective <= bound.objective + 1e-4 * max(1.0, abs(bound.objective))
    faults = check_contracts([limited, reserve], fleet.assets, fleet.states, fleet.inputs, bound.schedule)
    assert all("reserve" not in str(f) for f in faults), faults


def test_reserve_that_a_limit_does_not_leave_is_short_and_found_by_the_check() -> None:
    """A firm MW up behind an export of what the plan injects already: without the limit it is held, with it short."""
    fleet = random_fleet(1, "quarters", ("battery",), outages=False)
    reserve = reserve_contract(fleet, reserve_terms(), 20.0, firm_mw=0.3)
    free = trade(fleet, [reserve], prices(fleet, 1)).schedule
    net = free.power_mw.sum(axis=0)
    tight = of_fleet(fleet, np.full(fleet.grid.n, 50.0), np.maximum(net, 0.0))
    assert free.products["r"]["short_up_mw"].max() < 1e-6
    found = [str(f) for f in check_contracts([tight], fleet.assets, fleet.states, fleet.inputs, free)]
    assert len(found) == 1 and found[0].startswith("cable/operating envelope of dso, reserve up called: step ")
    nothing = of_fleet(fleet, np.zeros(fleet.grid.n), np.zeros(fleet.grid.n))
    bound = trade(fleet, [nothing, reserve], prices(fleet, 1)).schedule
    assert bound.products["r"]["short_up_mw"].min() == pytest.approx(0.3, abs=1e-6)
    assert check_contracts([nothing, reserve], fleet.assets, fleet.states, fleet.inputs, bound) == []
