"""Connection limit and demand charge against literal models, and the laws every product keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyomo.environ as pyo
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dispatch.block import Block
from dispatch.problem import assemble, columns_of
from dispatch.product import Contract, ContractTerms, Scope, Trade
from dispatch.products import connection_limit, demand_charge
from dispatch.products.registry import PRODUCTS
from dispatch.reach import reach_of
from dispatch.solvers.highs_door import Living
from tests.dispatch.commitment_oracle import GRIDS, solve
from tests.dispatch.random_fleet import Fleet, random_fleet
from tests.dispatch.test_reserve import terms as _reserve_terms
from tests.dispatch.tiny import battery, grid, load
from tests.dispatch.trade_cases import kind_blocks, reserve_contract, trade, trade_of
from vpp.domain.errors import DataGap
from vpp.domain.time import Array, TimeGrid

QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
EVERYONE = Scope(assets=("all",))
seeds, grids = st.integers(0, 10_000), st.sampled_from(["quarters", "mixed", "odd", "minutes", "hours"])
KINDS = ("battery", "curtailable", "fixed_load")


def limit(import_mw: float | None, export_mw: float | None, price: float = 20_000.0) -> connection_limit.Terms:
    return connection_limit.Terms(
        id="gate", of=EVERYONE, import_mw=import_mw, export_mw=export_mw, excess_eur_per_mwh=price
    )


def charge(price: float = 4000.0, expected: float = 0.0) -> demand_charge.Terms:
    return demand_charge.Terms(id="peak", of=EVERYONE, price_eur_per_mw=price, expected_peak_mw=expected)


def bound(fleet: Fleet, product: str, definition: ContractTerms, **known: Array) -> Contract:
    return Contract(product, definition, tuple(a.id for a in fleet.assets), known)


def charged(fleet: Fleet, definition: demand_charge.Terms, already: float = 0.2) -> Contract:
    n = fleet.grid.n
    return bound(fleet, "demand_charge", definition, period=np.zeros(n), already_mw=np.full(n, already))


def prices(fleet: Fleet, seed: int) -> Array:
    return np.random.default_rng(seed).uniform(5.0, 160.0, fleet.grid.n)


def store_oracle(
    on: TimeGrid, load_mw: Array, price: Array, more: Callable[[pyo.ConcreteModel, list[float]], object]
) -> float:
    """A lossless store of 1 MW and 2 MWh beside a load, sold at `price`; `more` adds a product's rules and cost."""
    m, h = pyo.ConcreteModel(), [x / 60 for x in on.minutes]
    m.t = range(on.n)
    m.p, m.e = pyo.Var(m.t, bounds=(-1, 1)), pyo.Var(m.t, bounds=(0, 2))
    m.rules = pyo.ConstraintList()
    for t in m.t:
        m.rules.add(m.e[t] == (1.0 if t == 0 else m.e[t - 1]) - h[t] * m.p[t])
    m.rules.add(m.e[on.n - 1] >= 1.0)
    m.net = [m.p[t] - float(load_mw[t]) for t in m.t]
    money = -sum(h[t] * float(price[t]) * m.net[t] for t in m.t)
    m.objective = pyo.Objective(expr=money + more(m, h))
    return solve(m)


def store_plan(on: TimeGrid, load_mw: Array, price: Array, product: Block) -> float:
    ids = ("b", "l")
    sold = PRODUCTS["energy"].blocks  # the unit's energy, sold at its price
    free = Trade(on, ids, price, price, 0.0, positions=(position(on, ids),))
    blocks = [battery("b", on, 1.0, 2.0, 1.0), load("l", load_mw), *sold(free), product]
    return Living(assemble(on, ids, blocks)).solve_lp(30.0).objective


def position(on: TimeGrid, ids: tuple[str, ...]) -> object:
    from dispatch.product import UnitPosition

    return UnitPosition("u", ids, np.full(on.n, np.nan))


@pytest.mark.parametrize("grid_name", sorted(GRIDS))
@pytest.mark.parametrize("seed", range(4))
def test_a_limit_equals_the_literal_model(grid_name: str, seed: int) -> None:
    rng, on = np.random.default_rng(seed), GRIDS[grid_name]
    load_mw, price = rng.uniform(0.2, 2.0, on.n), rng.uniform(5.0, 150.0, on.n)
    definition = limit(float(rng.uniform(0.8, 1.5)), float(rng.uniform(0.0, 0.4)) if seed % 2 else None, 900.0)

    def rules(m: pyo.ConcreteModel, h: list[float]) -> object:
        m.over, m.under = (pyo.Var(m.t, domain=pyo.NonNegativeReals) for _ in range(2))
        for t in m.t:
            m.rules.add(-m.net[t] <= definition.import_mw + m.over[t])
            if definition.export_mw is not None:
                m.rules.add(m.net[t] <= definition.export_mw + m.under[t])
        return 900.0 * sum(h[t] * (m.over[t] + m.under[t]) for t in m.t)

    found = store_plan(on, load_mw, price, connection_limit.connection_limit(definition, ("b", "l"), ("b", "l"), on))
    assert found == pytest.approx(store_oracle(on, load_mw, price, rules), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("grid_name", [*sorted(GRIDS), "late"])
@pytest.mark.parametrize("seed", range(4))
def test_a_charge_equals_the_literal_model(grid_name: str, seed: int) -> None:
    """Quarter-hours of the clock from any minute on; the second half of the grid is another billing period."""
    rng = np.random.default_rng(seed)
    late = TimeGrid(GRIDS["minutes"].start.replace(minute=7), (1,) * 20 + (15, 30, 60, 45))
    on = late if grid_name == "late" else GRIDS[grid_name]
    load_mw, price = rng.uniform(0.2, 2.0, on.n), rng.uniform(5.0, 150.0, on.n)
    quarter_of = [(s.hour * 60 + s.minute) // 15 for s in on.starts]
    middle = quarter_of[on.n // 2]
    period = np.array([float(q >= middle) if seed % 2 else 0.0 for q in quarter_of])
    already = np.where(period > 0, 0.1, 0.5)

    def rules(m: pyo.ConcreteModel, h: list[float]) -> object:
        m.above = pyo.Var((0, 1), domain=pyo.NonNegativeReals)
        minutes: dict[int, list[int]] = {}
        at = on.start.hour * 60 + on.start.minute
        for t, length in enumerate(on.minutes):
            for _ in range(length):
                minutes.setdefault(at // 15, []).append(t)
                at += 1
        for inside in minutes.values():
            b = int(period[inside[0]])
            mean = -sum(m.net[t] for t in inside) / len(inside)
            m.rules.add(m.above[b] >= mean - (0.1 if b else 0.5))
        return 300.0 * (m.above[0] + m.above[1])

    product = demand_charge.demand_charge(charge(300.0), ("b", "l"), ("b", "l"), on, period, already)
    found = store_plan(on, load_mw, price, product)
    assert found == pytest.approx(store_oracle(on, load_mw, price, rules), rel=1e-6, abs=1e-6)


def test_a_peak_set_before_costs_nothing_again() -> None:
    on, ids = grid(8), ("l",)
    period, mw = np.zeros(8), np.array([1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0])
    for already, money in ((0.0, 2000.0), (1.5, 500.0), (3.0, 0.0)):
        product = demand_charge.demand_charge(charge(1000.0), ids, ids, on, period, np.full(8, already))
        raw = Living(assemble(on, ids, [load("l", mw), product])).solve_lp(30.0)
        assert raw.objective == pytest.approx(money)
        told = product.read(raw.x, {})["peak"].decisions["peak_mw"]
        np.testing.assert_allclose(told, max(already, 2.0))


def test_an_expected_peak_is_sunk() -> None:
    fleet = random_fleet(3, "quarters", KINDS, outages=False)
    free = trade(fleet, [charged(fleet, charge(4000.0, expected=50.0))], prices(fleet, 3))
    assert free.costs.get("demand", 0.0) == pytest.approx(0.0, abs=1e-9)


def test_what_is_wrong_with_terms_is_named() -> None:
    with pytest.raises(ValidationError, match="neither import_mw nor export_mw"):
        limit(None, None)
    with pytest.raises(ValidationError, match="names nobody"):
        Scope()
    with pytest.raises(ValidationError) as caught:
        _reserve_terms(interval_min=50, issue="10:00", min_mw=60.0, hourly_eur_per_mw_h=(2000.0,) * 24)
    for part in ("interval_min", "issue lies after the gate", "award lies before", "min_mw", "price_cap"):
        assert part in str(caught.value)
    fleet = random_fleet(1, "quarters", ("battery",))
    for name in ("demand_charge", "reserve"):
        definition = charge() if name == "demand_charge" else _reserve_terms()
        with pytest.raises(DataGap, match=f"{definition.id}/"):
            PRODUCTS[name].blocks(trade_of(fleet, [bound(fleet, name, definition)], kind_blocks(fleet)))


@pytest.mark.parametrize("name", sorted(PRODUCTS))
def test_every_product_is_a_product(name: str) -> None:
    product = PRODUCTS[name]
    assert name == product.NAME
    assert "=" in (product.__doc__ or "") and product.blocks.__doc__
    assert product.Terms is None or issubclass(product.Terms, ContractTerms)
    fleet = random_fleet(1, "quarters", ("battery",))
    assert list(product.blocks(trade_of(fleet, [], ()))) == [] or name == "grid_fee"


def everything(fleet: Fleet, loose: float = 1.0) -> list[Contract]:
    """All contracts at once; a larger `loose` leaves more freedom."""
    definition = _reserve_terms(direction="symmetric", most_mw=0.5 * loose)
    return [
        bound(fleet, "connection_limit", limit(1.5 * loose, 2.0 * loose)), charged(fleet, charge(800.0)),
        reserve_contract(fleet, definition, 30.0),
    ]  # fmt: skip


@settings(max_examples=10, deadline=None, phases=QUICK)
@given(seeds, grids)
def test_more_freedom_never_costs_more(seed: int, grid_name: str) -> None:
    fleet = random_fleet(seed, grid_name, KINDS)
    tight, wide = (trade(fleet, everything(fleet, k), prices(fleet, seed), 1e-6) for k in (1.0, 1.6))
    slack = 1e-5 * max(1.0, abs(tight.objective))
    assert wide.objective <= tight.objective + slack
    without = trade(fleet, everything(fleet)[:2], prices(fleet, seed), 1e-6)
    assert tight.objective <= without.objective + slack, "selling nothing is always possible"
    sunk = [c if c.product != "demand_charge" else charged(fleet, charge(800.0), 5.0) for c in everything(fleet)]
    assert trade(fleet, sunk, prices(fleet, seed), 1e-6).objective <= tight.objective + slack


@settings(max_examples=10, deadline=None, phases=QUICK)
@given(seeds, grids)
def test_limits_are_held_where_they_can_be(seed: int, grid_name: str) -> None:
    fleet = random_fleet(seed, grid_name, KINDS)
    traded = trade(fleet, everything(fleet), prices(fleet, seed), 1e-4)
    net, over = traded.schedule.power_mw.sum(axis=0), traded.schedule.products["gate"]
    assert (-net <= 1.5 + over["over_import_mw"] + 1e-5).all() and (net <= 2.0 + over["over_export_mw"] + 1e-5).all()
    reach = {a: r for b in kind_blocks(fleet) for a, r in reach_of(b, fleet.grid.n).items()}
    most_in, most_out = (sum(reach[a.id][k] for a in fleet.assets) for k in (0, 1))
    assert (over["over_export_mw"][most_out < 2.0] < 1e-6).all()
    assert (over["over_import_mw"][most_in > -1.5] < 1e-6).all()


@settings(max_examples=10, deadline=None, phases=QUICK)
@given(seeds, grids)
def test_the_order_of_assets_does_not_matter(seed: int, grid_name: str) -> None:
    fleet = random_fleet(seed, grid_name, KINDS)
    backward = replace(fleet, assets=fleet.assets[::-1])
    one, other = (trade(f, everything(f), prices(f, seed), 1e-7).objective for f in (fleet, backward))
    assert one == pytest.approx(other, rel=1e-5, abs=1e-4)


@settings(max_examples=10, deadline=None, phases=QUICK)
@given(seeds, grids, st.sampled_from([1e-3, 1e3]))
def test_kilowatts_or_megawatts_does_not_matter(seed: int, grid_name: str, k: float) -> None:
    """Everything k times as large costs k times as much; the end value's width and the limits are scaled, too."""
    on, rng = GRIDS[grid_name], np.random.default_rng(seed)
    ids, mw, price = ("b", "l"), rng.uniform(0.2, 2.0, on.n), rng.uniform(5.0, 150.0, on.n)

    def cost(scale: float) -> float:
        period, already = np.zeros(on.n), np.full(on.n, 0.4 * scale)
        blocks = [
            battery("b", on, 1.0 * scale, 2.0 * scale, 1.0 * scale), load("l", mw * scale),
            *PRODUCTS["energy"].blocks(Trade(on, ids, price, price, 0.0, positions=(position(on, ids),))),
            connection_limit.connection_limit(limit(1.2 * scale, 0.3 * scale), ids, ids, on),
            demand_charge.demand_charge(charge(500.0), ids, ids, on, period, already),
        ]  # fmt: skip
        return Living(assemble(on, ids, blocks)).solve_lp(30.0).objective

    assert cost(k) == pytest.approx(k * cost(1.0), rel=1e-5, abs=1e-4 * k)


@settings(max_examples=20, deadline=None, phases=QUICK)
@given(seeds, grids)
def test_no_plan_leaves_its_reach(seed: int, grid_name: str) -> None:
    fleet = random_fleet(seed, grid_name)
    reach = {a: r for b in kind_blocks(fleet) for a, r in reach_of(b, fleet.grid.n).items()}
    schedule = trade(fleet, [], prices(fleet, seed), 1e-2).schedule
    for asset in fleet.assets:
        low, high = reach[asset.id]
        assert (low - 1e-6 <= schedule.power_of(asset.id)).all() and (schedule.power_of(asset.id) <= high + 1e-6).all()


def test_rows_across_blocks_name_their_shape() -> None:
    fleet = random_fleet(1, "quarters", ("battery",))
    traded = trade(fleet, [reserve_contract(fleet, _reserve_terms(), 50.0)], prices(fleet, 1))
    held = traded.x[columns_of(traded.problem, "reserve", "held_mw up r")]
    sold = traded.x[columns_of(traded.problem, "reserve", "sold_mw r")]
    np.testing.assert_allclose(held.reshape(len(fleet.assets), -1).sum(axis=0), sold, atol=1e-7)


def test_the_sunk_peak_of_a_period_is_the_highest_of_its_steps() -> None:
    on, ids = grid(8), ("l",)
    already = np.array([0.3, 0.3, 1.5, 1.5, 0.9, 0.9, 0.9, 0.9])
    product = demand_charge.demand_charge(charge(1000.0), ids, ids, on, np.zeros(8), already)
    raw = Living(assemble(on, ids, [load("l", np.full(8, 2.0)), product])).solve_lp(30.0)
    assert raw.objective == pytest.approx(1000.0 * (2.0 - 1.5))
