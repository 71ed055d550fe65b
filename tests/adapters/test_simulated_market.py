"""The example market: reproducible prices an hour, and awards that follow the bid's curve."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from adapters.simulated_market import award, cleared_price, offered_at
from vpp.domain.market import Bid
from vpp.domain.time import QUARTER, Array, TimeGrid

START = datetime(2016, 7, 11, 22, tzinfo=UTC)
DAY = date(2016, 7, 12)
HOUR = timedelta(hours=1)


def bid(prices: Array, mw: Array) -> Bid:
    return Bid(
        "b", "u", "energy", START - 12 * HOUR, START - 14 * HOUR, TimeGrid.uniform(START, HOUR, mw.shape[1]), prices, mw
    )


CURVE = bid(np.array([[20.0, 30.0], [50.0, 60.0], [80.0, 90.0]]), np.array([[-2.0, -1.0], [0.0, 0.5], [3.0, 2.0]]))


@pytest.mark.parametrize(
    ("price", "mw"),
    [
        ([20.0, 30.0], [-2.0, -1.0]),
        ([49.99, 59.99], [-2.0, -1.0]),
        ([50.0, 60.0], [0.0, 0.5]),
        ([500.0, 89.0], [3.0, 0.5]),
        ([-100.0, 0.0], [-2.0, -1.0]),
    ],
)
def test_the_curve_is_a_step_function_of_the_price(price: list[float], mw: list[float]) -> None:
    assert offered_at(CURVE, np.array(price)).tolist() == mw


def test_more_is_sold_at_a_higher_price() -> None:
    offers = np.array([offered_at(CURVE, np.full(2, p)) for p in np.linspace(-50.0, 150.0, 41)])
    assert (np.diff(offers, axis=0) >= 0.0).all()


def test_an_award_is_the_share_of_what_was_offered_at_the_cleared_price() -> None:
    found = award(CURVE, np.array([85.0, 45.0]), 0.9)
    assert [p.mw for p in found] == pytest.approx([2.7, -0.9])
    assert [p.price_eur_per_mwh for p in found] == [85.0, 45.0]
    assert [(p.start, p.end) for p in found] == [(START, START + HOUR), (START + HOUR, START + 2 * HOUR)]
    assert all((p.unit, p.product, p.gate, p.firm) == ("u", "energy", START - 12 * HOUR, True) for p in found)


def test_a_price_is_one_draw_an_hour_and_the_same_every_time() -> None:
    grid, expected = TimeGrid.uniform(START, QUARTER, 96), np.linspace(20.0, 100.0, 96)
    once, again = (cleared_price(expected, grid, 0.15, 1, DAY) for _ in range(2))
    assert once.tolist() == again.tolist()
    factor = (once / expected).reshape(24, 4)
    assert np.ptp(factor, axis=1) == pytest.approx(np.zeros(24), abs=1e-12)
    assert len(set(factor[:, 0].round(9))) == 24
    hourly = cleared_price(np.full(24, 50.0), TimeGrid.uniform(START, HOUR, 24), 0.15, 1, DAY)
    assert hourly / 50.0 == pytest.approx(factor[:, 0])


def test_other_seeds_and_days_clear_otherwise() -> None:
    grid, expected = TimeGrid.uniform(START, HOUR, 24), np.full(24, 50.0)
    found = {
        tuple(cleared_price(expected, grid, 0.15, seed, day)) for seed in (1, 2) for day in (DAY, date(2016, 7, 13))
    }
    assert len(found) == 4
    assert cleared_price(expected, grid, 0.0, 1, DAY).tolist() == expected.tolist()


def test_the_shocks_have_the_stated_spread_and_memory() -> None:
    """Unit variance and a correlation of 0.8 from hour to hour, over 400 days."""
    grid = TimeGrid.uniform(START, HOUR, 24)
    z = np.array([cleared_price(np.ones(24), grid, 1.0, 3, DAY + timedelta(days=k)) for k in range(400)]) - 1.0
    assert z.std(axis=0) == pytest.approx(np.ones(24), abs=0.15)
    assert np.corrcoef(z[:, :-1].ravel(), z[:, 1:].ravel())[0, 1] == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(("day", "hours"), [(date(2016, 3, 27), 23), (date(2016, 10, 30), 25)])
def test_days_of_23_and_25_hours(day: date, hours: int) -> None:
    grid = TimeGrid.local_day(day, "Europe/Berlin")
    factor = cleared_price(np.ones(grid.n), grid, 0.2, 1, day)
    assert len(set(factor.round(9))) == hours
