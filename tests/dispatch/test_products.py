"""Products price what the contract prices, and the two-price law leaves no arbitrage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatch.problem import assemble, columns_of, cost_terms
from dispatch.products.dr_call import dr_call
from dispatch.products.energy import best_error, bid_energy, deviation_prices, likely_errors, position_energy
from dispatch.products.grid_fee import grid_fee
from dispatch.solvers.highs_door import Living
from tests.dispatch.tiny import battery, generator, grid, idle, load
from vpp.domain.errors import NotSolved

ON = grid(4)
prices = st.lists(st.floats(-500, 500), min_size=4, max_size=4).map(np.array)
shares = st.floats(0, 2)


def solved(blocks, ids, on=ON):
    problem = assemble(on, ids, blocks)
    return problem, Living(problem).solve_mip(30.0, 0.0)


def test_injection_is_sold_at_its_price_only_in_the_sold_steps() -> None:
    ids = ("g", "l")
    sold = np.array([True, True, False, False])
    blocks = [load("g", np.full(4, -2.0)), load("l", np.ones(4))]
    problem, raw = solved([*blocks, bid_energy(ids, ids, ON, np.array([10.0, 20.0, 30.0, 40.0]), sold)], ids)
    assert raw.objective == pytest.approx(-(10 + 20) / 4)
    np.testing.assert_allclose(raw.x[columns_of(problem, "energy", "net_mw")], 1.0)


def test_only_the_assets_of_the_unit_are_sold() -> None:
    blocks = [load("g", np.full(4, -2.0)), load("l", np.ones(4))]
    _, raw = solved([*blocks, bid_energy(("l",), ("g", "l"), ON, np.full(4, 10.0))], ("g", "l"))
    assert raw.objective == pytest.approx(10.0)


@given(prices, shares, shares)
def test_a_surplus_never_earns_what_a_shortfall_pays(price: np.ndarray, up: float, down: float) -> None:
    earned, paid = deviation_prices(price, up, down)
    assert (earned < paid).all()
    assert (earned <= price).all() and (price <= paid).all()


@settings(max_examples=60, deadline=None)
@given(prices, shares, st.lists(st.floats(-3, 3), min_size=4, max_size=4).map(np.array))
def test_no_arbitrage_against_a_firm_position(price: np.ndarray, beta: float, position: np.ndarray) -> None:
    """A free injection of -4..4 MW: never surplus and shortfall at once, and without a load profit is bounded."""
    ids = ("x",)
    energy = position_energy(ids, ids, ON, position, price, beta)
    problem, raw = solved([idle("x", ON, 4.0), energy], ids)
    surplus = raw.x[columns_of(problem, "energy", "surplus_mw")]
    shortfall = raw.x[columns_of(problem, "energy", "shortfall_mw")]
    assert not ((surplus > 1e-7) & (shortfall > 1e-7)).any()
    np.testing.assert_allclose(raw.x[:4], position + surplus - shortfall, atol=1e-6)
    earned, paid = deviation_prices(price, beta, beta)
    by_hand = -price * position + np.minimum(-earned * (4 - position), paid * (position + 4))
    assert raw.objective == pytest.approx(np.minimum(by_hand, -price * position).sum() / 4, abs=1e-4)


def test_money_by_term_of_a_deviation_by_hand() -> None:
    ids = ("l",)
    position = np.array([-1.0, -1.0, -1.0, np.nan])
    mw, price = np.array([1.0, 0.5, 2.0, 1.0]), np.array([40.0, 40.0, -20.0, 80.0])
    energy = position_energy(ids, ids, ON, position, price, 0.25, floor_eur_per_mwh=0.0)
    problem, raw = solved([load("l", mw), energy], ids)
    terms = cost_terms(problem, raw.x)
    assert terms["energy"] == pytest.approx((40 + 40 - 20 + 80) / 4)
    assert terms["deviation"] == pytest.approx((-0.5 * 30 + 1.0 * -15) / 4)


errors = st.lists(st.lists(st.floats(-3, 3), min_size=4, max_size=4), min_size=2, max_size=6).map(np.array)


@settings(max_examples=60, deadline=None)
@given(prices, shares, st.lists(st.floats(-3, 3), min_size=4, max_size=4).map(np.array), errors)
def test_a_deviation_costs_the_mean_over_the_likely_errors(
    price: np.ndarray, beta: float, position: np.ndarray, error: np.ndarray
) -> None:
    ids, mw = ("l",), np.ones(4)
    problem, raw = solved([load("l", mw), position_energy(ids, ids, ON, position, price, beta, error_mw=error)], ids)
    earned, paid = deviation_prices(price, beta, beta)
    metered = -mw + error - position
    by_hand = (paid * np.maximum(-metered, 0.0) - earned * np.maximum(metered, 0.0)).mean(axis=0)
    assert raw.objective == pytest.approx((by_hand - price * position).sum() / 4, abs=1e-4)
    assert cost_terms(problem, raw.x)["energy"] == pytest.approx(-(price * position).sum() / 4, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.floats(1, 200), st.floats(0.01, 1), st.floats(0.01, 1), errors)
def test_nothing_sold_in_advance_beats_the_best_quantile(
    price: float, up: float, down: float, error: np.ndarray
) -> None:
    prices = np.full(4, price)
    earned, paid = deviation_prices(prices, up, down)

    def expected(sold: np.ndarray) -> np.ndarray:
        metered = error - sold
        return (paid * np.maximum(-metered, 0.0) - earned * np.maximum(metered, 0.0)).mean(axis=0) - prices * sold

    best = expected(best_error(error, prices, up, down))
    ordered = np.sort(error, axis=0)
    gap = np.diff(ordered, axis=0, prepend=ordered[:1], append=ordered[-1:]).max(axis=0)
    for sold in error:
        assert (best <= expected(sold) + (paid - earned) * gap + 1e-9).all()


def test_likely_errors_keep_the_spread_and_have_no_mean() -> None:
    samples = np.random.default_rng(3).normal(5.0, [1.0, 2.0], (400, 2))
    found = likely_errors(samples, 8)
    assert found.shape == (8, 2)
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-12)
    assert (np.diff(found, axis=0) > 0).all()
    np.testing.assert_allclose(found.std(axis=0), [0.96, 1.92], rtol=0.1)


def test_a_plan_holds_back_what_may_never_come() -> None:
    """A generator that can sell 1 MW more at 40 per MWh does so against a likely shortfall, not against a surplus."""
    ids, price = ("l", "g"), np.full(4, 40.0)
    error = np.array([[-2.0] * 4, [2.0] * 4])
    for marginal, expected in ((35.0, 1.0), (45.0, 0.0)):
        blocks = [load("l", np.zeros(4)), generator("g", ON, 1.0, marginal)]
        energy = position_energy(ids, ids, ON, np.zeros(4), price, 0.25, error_mw=error)
        problem, raw = solved([*blocks, energy], ids)
        injection = problem.power @ raw.x + problem.power_offset
        np.testing.assert_allclose(injection[4:], expected, atol=1e-7)


def test_a_battery_does_not_trade_against_itself() -> None:
    """Flat prices, any spread: a store keeps to its position."""
    ids = ("b",)
    energy = position_energy(ids, ids, ON, np.zeros(4), np.full(4, 50.0), 0.1)
    _, raw = solved([battery("b", ON, 1.0, 2.0, 1.0), energy], ids)
    np.testing.assert_allclose(raw.x[:4], 0.0, atol=1e-7)


def test_the_fee_is_paid_on_consumption_of_each_asset_not_on_their_sum() -> None:
    ids = ("g", "l")
    blocks = [load("g", np.full(4, -2.0)), load("l", np.ones(4))]
    fee = np.array([8.0, 0.0, 8.0, 4.0])
    problem, raw = solved([*blocks, grid_fee(ids, ids, ON, fee)], ids)
    assert cost_terms(problem, raw.x)["fee"] == pytest.approx(20.0 / 4)
    with pytest.raises(ValueError, match="negative"):
        grid_fee(ids, ids, ON, np.array([1.0, -1.0, 0.0, 0.0]))


def call(ordered: float, penalty: float, revenue: float = 0.0, cost: float = 100.0):
    """A load of 3 MW that a generator at `cost` can offset by 2 MW, called in the two middle steps."""
    ids = ("g", "l")
    active = np.array([False, True, True, False])
    event = dr_call(ids, ids, ON, active, np.full(4, -3.0), np.full(4, ordered), penalty, revenue)
    return solved([generator("g", ON, 2.0, cost), load("l", np.full(4, 3.0)), event], ids)


def test_a_call_is_delivered_where_the_penalty_is_above_the_cost() -> None:
    problem, raw = call(1.0, penalty=400.0)
    np.testing.assert_allclose(raw.x[:4], [0, 1, 1, 0], atol=1e-7)
    assert cost_terms(problem, raw.x)["penalties"] == pytest.approx(0.0)


def test_what_is_missing_is_penalised() -> None:
    problem, raw = call(2.5, penalty=400.0)
    assert cost_terms(problem, raw.x)["penalties"] == pytest.approx(2 * 0.5 * 400 / 4)
    problem, raw = call(1.0, penalty=50.0)
    np.testing.assert_allclose(raw.x[:4], 0.0, atol=1e-7)
    assert cost_terms(problem, raw.x)["penalties"] == pytest.approx(2 * 50 / 4)


def test_delivery_earns_up_to_the_order_and_no_further() -> None:
    _, raw = call(1.0, penalty=0.0, revenue=150.0)
    np.testing.assert_allclose(raw.x[:4], [0, 1, 1, 0], atol=1e-7)
    assert raw.objective == pytest.approx(2 * (100 - 150) / 4)
    with pytest.raises(ValueError, match="negative"):
        call(1.0, penalty=-1.0)


def test_a_call_for_less_injection_is_the_same_turned_round() -> None:
    """A generator that earns 100 at its 2 MW gives up what is called where that pays, and pays for what it cannot."""
    ids, active = ("g",), np.array([False, True, True, False])
    cases = (0.5, 400.0, [2.0, 1.5, 1.5, 2.0]), (0.5, 50.0, [2.0] * 4), (3.0, 400.0, [2.0, 0.0, 0.0, 2.0])
    for ordered, penalty, expected in cases:
        event = dr_call(ids, ids, ON, active, np.full(4, 2.0), np.full(4, ordered), penalty, sign=-1.0)
        problem, raw = solved([generator("g", ON, 2.0, -100.0), event], ids)
        np.testing.assert_allclose(raw.x[:4], expected, atol=1e-7)
        missed = sum(max(0.0, ordered - (2.0 - p)) for p in expected[1:3])
        assert cost_terms(problem, raw.x)["penalties"] == pytest.approx(missed * penalty / 4)


def test_a_call_outside_its_steps_binds_nothing() -> None:
    problem, _ = call(1.0, penalty=400.0)
    assert len(columns_of(problem, "dr_call", "under_mw")) == 2
    with pytest.raises(NotSolved):
        Living(problem).solve_lp(0.0)
