"""Prices from duals: of the market, of nodes behind a limit, of fees and rules; marginal cost is the nodal price."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from dispatch.block import INF, Block, Columns, Rows, eye
from dispatch.exposure import Exposure
from dispatch.prices import prices_of
from dispatch.problem import assemble, injection, limit_block
from dispatch.products.energy import bid_energy, position_energy
from dispatch.products.grid_fee import grid_fee
from dispatch.secure import Secured, secure_plan
from tests.dispatch.tiny import ThreeBusNet, exposure, generator, grid, idle, load
from vpp.domain.portfolio import Asset
from vpp.domain.prices import Prices
from vpp.domain.time import Array

ON = grid(4, 60)
PRICE = np.array([10.0, 20.0, 30.0, 40.0])
STEEP = 2.0


def asset(name: str, bus: int | None = None) -> Asset:
    return Asset(name, "any", "s", f"mp:{name}", "node", bus, None)


def priced(found: Secured, assets: list[Asset], where: Exposure | None = None) -> Prices:
    assert found.row_duals is not None
    return prices_of(found.problem, found.x, found.row_duals, assets, found.cuts, where, (0, 1, 2))


def quadratic(name: str, upper_mw: float, segments: int = 400) -> Block:
    """A generator whose marginal cost rises with power: cost STEEP * p^2 in fine segments, marginal 2 STEEP p."""
    width = upper_mw / segments
    cost = np.repeat(2.0 * STEEP * width * (np.arange(segments) + 0.5)[:, None], ON.n, axis=1) * ON.hours
    columns = Columns("p_mw", (segments, ON.n), 0.0, width, cost.ravel(), term="fuel")
    power = sp.csr_array(sp.kron(np.ones((1, segments)), sp.eye_array(ON.n), format="csr"))
    return Block(name, (columns,), (), (name,), power)


def test_the_system_price_of_a_bid_is_the_markets() -> None:
    ids = ("g", "x")
    problem = assemble(ON, ids, [generator("g", ON, 2.0, 25.0), idle("x", ON, 1.0), bid_energy(ids, ids, ON, PRICE)])
    prices = priced(secure_plan(problem, None, None, deadline_s=20), [asset("g"), asset("x")])
    np.testing.assert_allclose(prices.system_eur_per_mwh, PRICE)
    np.testing.assert_allclose(prices.nodal_eur_per_mwh["node"], PRICE)
    np.testing.assert_allclose(prices.of("g", ON.n), PRICE)
    assert prices.more == {}


def test_the_system_price_of_a_firm_position_is_that_of_the_deviation() -> None:
    ids = ("g",)
    firm = position_energy(ids, ids, ON, np.array([1.0, 1.0, 3.0, np.nan]), PRICE, 0.5)
    problem = assemble(ON, ids, [generator("g", ON, 2.0, 22.0), firm])
    prices = priced(secure_plan(problem, None, None, deadline_s=20), [asset("g")])
    assert prices.system_eur_per_mwh[0] == pytest.approx(10.0 * 1.5 + 0.01)
    assert prices.system_eur_per_mwh[1] == pytest.approx(22.0)
    assert prices.system_eur_per_mwh[2:] == pytest.approx([30.0 * 1.5 + 0.01, 40.0])


def test_a_free_asset_has_the_marginal_cost_of_its_node() -> None:
    """Behind line 1 (1 MW) a load of 1.8 MW and a generator of rising cost: their node is dearer than the market."""
    ids, net = ("g", "l", "x"), ThreeBusNet(rating_mw=(9.0, 1.0))
    sold = bid_energy(ids, ids, ON, np.zeros(4) + 1.0)
    problem = assemble(ON, ids, [quadratic("g", 2.0), load("l", np.full(4, 1.8)), idle("x", ON, 0.5), sold])
    where = exposure([2, 2, 1], np.zeros((4, 3)))
    found = secure_plan(problem, net, where, deadline_s=20)
    prices = priced(found, [asset("g", 2), asset("l", 2), asset("x", 1)], where)
    power = injection(found.problem, found.x)[0]
    assert (power > 0.1).all()
    assert (power < 1.9).all()
    marginal = 2.0 * STEEP * power
    np.testing.assert_allclose(prices.nodal_eur_per_mwh["2"], marginal, atol=2.0 * STEEP * 2.0 / 400)
    np.testing.assert_allclose(prices.of("g", ON.n), prices.nodal_eur_per_mwh["2"], atol=1e-6)
    np.testing.assert_allclose(prices.nodal_eur_per_mwh["1"], 1.0, atol=1e-6)
    assert (prices.nodal_eur_per_mwh["2"] > 3.0).all()
    binding = [c for c in prices.couplings if c.part == "network" and abs(c.dual_eur) > 1e-6]
    assert {(c.name, c.step) for c in binding} == {("line 1", t) for t in range(4)}
    assert all(c.slack == pytest.approx(0.0, abs=1e-6) and c.effect.keys() == {"g", "l"} for c in binding)


def test_a_price_is_what_one_more_mwh_would_save() -> None:
    """The nodal price against a finite difference of the optimum: a little free injection at the node."""
    ids, net = ("g", "l"), ThreeBusNet(rating_mw=(9.0, 1.0))
    where, little = exposure([2, 2], np.zeros((4, 3))), 1e-3

    def cost(extra: float) -> tuple[float, Secured]:
        blocks = [quadratic("g", 2.0), load("l", np.full(4, 1.8) - extra), bid_energy(ids, ids, ON, PRICE / 10.0)]
        found = secure_plan(assemble(ON, ids, blocks), net, where, deadline_s=20)
        return found.solution.objective, found

    before, found = cost(0.0)
    after, _ = cost(little)
    prices = priced(found, [asset("g", 2), asset("l", 2)], where)
    saved = (before - after) / little
    assert float(prices.nodal_eur_per_mwh["2"] @ ON.hours) == pytest.approx(saved, abs=0.1)


def test_fee_and_ordered_limit_are_parts_of_the_price_of_those_they_bind() -> None:
    ids = ("l", "x")
    fee, none = np.array([5.0, 6.0, 7.0, 8.0]), np.full(4, -np.inf)
    limits = limit_block(ids, ON, {"x": (none, np.array([np.inf, 0.2, np.inf, np.inf]))})
    blocks = [load("l", np.ones(4)), generator("x", ON, 1.0, 15.0), bid_energy(ids, ids, ON, PRICE)]
    problem = assemble(ON, ids, [*blocks, grid_fee(("l",), ids, ON, fee), limits])
    prices = priced(secure_plan(problem, None, None, deadline_s=20), [asset("l"), asset("x")])
    np.testing.assert_allclose(prices.more["fee"]["l"], fee)
    assert "x" not in prices.more["fee"]
    np.testing.assert_allclose(prices.more["limit"]["x"], [0.0, -5.0, 0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(prices.of("x", ON.n), PRICE + prices.more["limit"]["x"])
    assert [(c.name, c.step) for c in prices.couplings] == [("ordered limit", 1)]


def test_a_rule_over_on_and_power_keeps_both_effects() -> None:
    on = Columns("on", (1, ON.n), 0.0, 1.0, np.full(ON.n, -5.0))
    mill = Block("m", (on,), (), ("m",), sp.csr_array(-1.0 * eye(ON.n)))
    ids = ("m", "x")
    blocks = [mill, generator("x", ON, 1.0, 50.0), bid_energy(ids, ids, ON, np.zeros(4))]
    columns = 4 + 4 + 4
    own = sp.csr_array(([1.0], ([0], [2])), shape=(1, columns))
    over = sp.csr_array(([-1.0], ([0], [4 + 2])), shape=(1, 8))
    rule = Rows("rules", -INF, 0.25, own, over, ("half[2]",))
    prices = priced(secure_plan(assemble(ON, ids, blocks, [rule]), None, None, deadline_s=20), [asset("m"), asset("x")])
    found = [c for c in prices.couplings if c.part == "rule"]
    assert [(c.part, c.name, c.step, dict(c.effect_on), dict(c.effect)) for c in found] == [
        ("rule", "half", 2, {"m": 1.0}, {"x": -1.0})
    ]
    assert found[0].dual_eur == pytest.approx(-5.0)


def test_cuts_that_are_not_those_of_the_rows_are_refused() -> None:
    ids, net = ("g", "l"), ThreeBusNet(rating_mw=(9.0, 1.0))
    where = exposure([2, 2], np.zeros((4, 3)))
    blocks = [quadratic("g", 2.0), load("l", np.full(4, 1.8)), bid_energy(ids, ids, ON, PRICE / 10.0)]
    found = secure_plan(assemble(ON, ids, blocks), net, where, deadline_s=20)
    assert len(found.cuts) > 1
    with pytest.raises(ValueError, match="cuts for"):
        priced(replace(found, cuts=found.cuts[:1]), [asset("g", 2), asset("l", 2)], where)


def test_a_limit_that_nobody_could_reach_is_no_coupling() -> None:
    ids = ("x",)
    far: Array = np.full(4, 50.0)
    blocks = [generator("x", ON, 1.0, 15.0), bid_energy(ids, ids, ON, PRICE)]
    problem = assemble(ON, ids, [*blocks, limit_block(ids, ON, {"x": (-far, far)})])
    assert priced(secure_plan(problem, None, None, deadline_s=20), [asset("x")]).couplings == ()
