"""Settlement to the cent, and its laws."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.products.energy import FLOOR_EUR_PER_MWH, deviation_prices
from dispatch.settlement import Delivery, cents, decimal_mw, deviation_money, settle
from vpp.domain.errors import DataGap
from vpp.domain.market import Event
from vpp.domain.time import QUARTER, Array

START = datetime(2016, 7, 12, 15, 30, tzinfo=UTC)
D = Decimal


def event(quarters: int, price: str = "240.00", penalty: str = "180.00") -> Event:
    return Event("e", 1, "p", "c", START, START, START + quarters * QUARTER, 1.0, D(price), D(penalty), START)


def test_a_statement_by_hand() -> None:
    """Ordered 1 MW for four quarters at 240 and 180: delivered 1.0, 0.6332 (metered -1.36675), -0.2 and 1.5 MW.

    Payments 60.00, 0.1583 * 240 = 37.99 (37.992), 0, 60.00; penalties 0, 0.3668 * 45 = 16.51 (16.506), 45.00, 0.
    """
    metered = np.array([-1.0, -1.36675, -2.2, -0.5])
    d = Delivery("site", np.ones(4), np.full(4, -2.0), metered)
    found = settle(event(4), [d], "m", "EUR")
    assert [x.metered_mw for x in found.lines] == [D("-1.0000"), D("-1.3668"), D("-2.2000"), D("-0.5000")]
    assert [x.delivered_mw for x in found.lines] == [D("1.0000"), D("0.6332"), D("-0.2000"), D("1.5000")]
    assert [x.payment for x in found.lines] == [D("60.00"), D("37.99"), D("0.00"), D("60.00")]
    assert [x.penalty for x in found.lines] == [D("0.00"), D("16.51"), D("45.00"), D("0.00")]
    assert found.totals == {
        "settled_mwh": D("0.658300"), "delivered_mwh": D("0.733300"), "payment": D("157.99"), "penalty": D("61.51"),
        "net": D("96.48"),
    }  # fmt: skip
    assert [x.start for x in found.lines] == [START + k * QUARTER for k in range(4)]


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(0.00005, "0.0001"), (0.00004999, "0.0000"), (-0.00005, "-0.0001"), (1.00015, "1.0002"), (-0.0, "0.0000")],
)
def test_megawatts_are_rounded_half_up_to_a_tenth_of_a_kilowatt(value: float, rounded: str) -> None:
    assert str(decimal_mw(value)) == rounded


@pytest.mark.parametrize(("value", "rounded"), [("0.005", "0.01"), ("0.004999", "0.00"), ("2.675", "2.68")])
def test_money_is_rounded_half_up_to_the_cent(value: str, rounded: str) -> None:
    assert str(cents(D(value))) == rounded


mw = st.floats(-50.0, 50.0, allow_nan=False)
ordered = st.floats(0.0, 20.0)
price = st.decimals(0, 5000, places=2)
rows = st.integers(1, 8).flatmap(
    lambda n: st.tuples(*(st.lists(x, min_size=n, max_size=n) for x in (ordered, mw, mw)))
)  # fmt: skip


@given(st.lists(rows, min_size=1, max_size=3), price, price)
def test_the_laws_of_a_statement(parts: list[tuple[list[float], ...]], pay: Decimal, fine: Decimal) -> None:
    n = min(len(p[0]) for p in parts)
    deliveries = [Delivery(f"s{k}", *(np.array(x[:n]) for x in p)) for k, p in enumerate(parts)]
    found = settle(event(n, str(pay), str(fine)), deliveries, "m", "EUR")
    assert len(found.lines) == n * len(parts)
    for x in found.lines:
        assert x.payment >= 0 and x.penalty >= 0
        assert x.payment.as_tuple().exponent == x.penalty.as_tuple().exponent == -2
        assert x.penalty == 0 or x.delivered_mw < x.ordered_mw
        assert x.delivered_mw == x.metered_mw - x.baseline_mw
        if x.delivered_mw >= x.ordered_mw:
            assert x.penalty == 0 and x.payment == cents(pay * x.ordered_mw / 4)
    for name in ("payment", "penalty", "settled_mwh"):
        assert found.totals[name] == sum((getattr(x, name) for x in found.lines), D(0))
    assert found.totals["net"] == found.totals["payment"] - found.totals["penalty"]
    assert found.totals["delivered_mwh"] == sum((x.delivered_mw for x in found.lines), D(0)) / 4


@given(st.floats(0.0, 5.0), st.floats(-5.0, 5.0), st.floats(0.001, 5.0))
def test_more_delivery_never_pays_less(want: float, delivered: float, more: float) -> None:
    nets = [
        settle(event(1), [Delivery("s", np.array([want]), np.zeros(1), np.array([x]))], "m", "EUR").totals["net"]
        for x in (delivered, delivered + more)
    ]
    assert nets[0] <= nets[1]


def test_gaps_and_wrong_orders_are_refused() -> None:
    one, gap = np.ones(2), np.array([1.0, np.nan])
    with pytest.raises(DataGap, match="s: the meter has a gap"):
        settle(event(2), [Delivery("s", one, one, gap)], "m", "EUR")
    with pytest.raises(DataGap, match="s: the baseline has a gap"):
        settle(event(2), [Delivery("s", one, gap, one)], "m", "EUR")
    with pytest.raises(ValueError, match="must not be negative"):
        settle(event(2), [Delivery("s", -one, one, one)], "m", "EUR")
    with pytest.raises(ValueError, match="must not be negative"):
        settle(event(2, penalty="-1.00"), [], "m", "EUR")
    with pytest.raises(ValueError, match="3 values for 2 quarters"):
        settle(event(2), [Delivery("s", np.ones(3), one, one)], "m", "EUR")


HOURS = np.full(1, 0.25)


def money(position: float, metered: float, price_eur: float, factor: float) -> float:
    p, m, x = (np.array([v]) for v in (position, metered, price_eur))
    return sum(deviation_money(p, m, x, factor, HOURS))


def test_deviation_by_hand() -> None:
    """Sold 2 MW at 100 for a quarter, delivered 3 and then 1, with a quarter more or less on the price."""
    assert deviation_money(np.full(1, 2.0), np.full(1, 3.0), np.full(1, 100.0), 0.25, HOURS) == (-50.0, -18.75)
    assert deviation_money(np.full(1, 2.0), np.full(1, 1.0), np.full(1, 100.0), 0.25, HOURS) == (-50.0, 31.25)
    assert deviation_money(np.full(1, 2.0), np.full(1, 3.0), np.full(1, -100.0), 0.25, HOURS) == (50.0, 31.25)
    assert deviation_money(np.full(1, np.nan), np.full(1, 3.0), np.full(1, 100.0), 0.25, HOURS) == (-75.0, 0.0)


@given(mw, mw, st.floats(-500.0, 500.0), st.floats(0.0, 2.0))
def test_deviating_never_pays(position: float, metered: float, price_eur: float, factor: float) -> None:
    """Whatever was sold, delivering it costs no more than having sold something else."""
    honest = money(metered, metered, price_eur, factor)
    assert money(position, metered, price_eur, factor) >= honest - 1e-9 * (1.0 + abs(honest))


@given(st.lists(st.floats(-500.0, 500.0), min_size=1, max_size=6), st.floats(0.0, 2.0), mw, mw)
def test_a_plan_counts_the_same_prices_and_a_floor(
    prices: list[float], factor: float, position: float, metered: float
) -> None:
    price_eur: Array = np.array(prices)
    n = len(prices)
    hours = np.full(n, 0.25)
    earned, paid = deviation_prices(price_eur, factor, factor)
    surplus, shortfall = max(metered - position, 0.0), max(position - metered, 0.0)
    planned = float(np.sum(hours * (paid * shortfall - earned * surplus)))
    _, settled = deviation_money(np.full(n, position), np.full(n, metered), price_eur, factor, hours)
    floor = FLOOR_EUR_PER_MWH * 0.25 * n * (surplus + shortfall)
    assert planned - settled == pytest.approx(floor, rel=1e-9, abs=1e-7)


def test_a_negative_factor_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        money(1.0, 2.0, 50.0, -0.1)
