"""What a day truly cost and what it could have cost, on truths made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.plant_link import Minutes
from dispatch.ladder import device_default
from grid_models.model import GridModel
from tests.service.conftest import Make, local
from tests.service.test_orders import EVENT, answer, stored
from vpp.domain.market import EventStatus, Position, Statement
from vpp.domain.portfolio import AssetState
from vpp.domain.time import MINUTE, QUARTER, Array, TimeGrid
from vpp.service.inputs import trajectories
from vpp.service.oracle import oracle_cost, perfect_foresight
from vpp.service.portfolio import LoadedPortfolio
from vpp.service.system import System
from vpp.service.truth import (
    Truth,
    _trailing_mean,
    delivered_mwh,
    realised_cost,
    realised_violation_minutes,
    true_delivery,
)

START = local("2016-07-12 10:00")
Checked = tuple[LoadedPortfolio, GridModel]


@pytest.fixture
def system(make: Make) -> Iterator[System]:
    made = make(START, network=False)
    yield made
    made.store.close()


def true_series(checked: Checked, start: datetime, minutes: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """P and Q of every series by the minute, as the data set has them."""
    loaded, grid = checked
    p, q = {}, {}
    for name, series in (dict(loaded.series) | dict(grid.series)).items():
        first = (start - series.start) // QUARTER
        count = -(-minutes // 15)
        p[name] = np.repeat(series.values[first : first + count], 15)[:minutes]
        values = grid.q_values.get(name)
        q[name] = np.zeros(minutes) if values is None else np.repeat(values[first : first + count], 15)[:minutes]
    return p, q


def resting(checked: Checked, minutes: int, start: datetime = START) -> Truth:
    """Nobody moves and every content stays."""
    assets = checked[0].portfolio.assets
    p, q = true_series(checked, start, minutes)
    none: Array = np.zeros((len(assets), minutes))
    content = np.array([[checked[0].initial[a.id].stored_mwh] * minutes for a in assets])
    return Truth(TimeGrid.uniform(start, MINUTE, minutes), none, content, none.copy(), p, q)


def moved(truth: Truth, row: int, power: Array, stored_mwh: Array | None = None) -> Truth:
    """One asset's power, and its content where given."""
    power_mw, content = truth.power_mw.copy(), truth.stored_mwh.copy()
    power_mw[row] = power
    if stored_mwh is not None:
        content[row] = stored_mwh
    return replace(truth, power_mw=power_mw, stored_mwh=content)


def price(system: System, truth: Truth, eur_per_mwh: float) -> None:
    system.store.market.save_prices(
        "day_ahead_energy", truth.quarters, np.full(truth.quarters.n, eur_per_mwh), START - timedelta(days=1)
    )


def difference(system: System, a: Truth, b: Truth, **how: bool) -> dict[str, float]:
    """Terms of `a` less those of `b`."""
    initial = system.loaded.states(START)
    first, second = (realised_cost(system, t, initial, firm=True, events=True, **how) for t in (a, b))
    return {k: v - second[k] for k, v in first.items()}


def test_a_battery_that_sells_for_an_hour(system: System, checked: Checked) -> None:
    """0.4 MW at 60 EUR/MWh, 8 EUR/MWh of wear, 0.5 MWh less in store at 70 EUR/MWh, no fee on injection."""
    truth = resting(checked, 60)
    price(system, truth, 60.0)
    row = system.portfolio.index["battery-glass"]
    sold = moved(truth, row, np.full(60, 0.4), np.linspace(1.5, 1.0, 60))
    terms = difference(system, sold, truth)
    expected = {"energy": -24.0, "wear": 3.2, "stored_energy": 35.0, "fee": 0.0, "deviation": 0.0}
    for term, money in expected.items():
        assert terms[term] == pytest.approx(money, abs=1e-9), term


def test_consumption_pays_energy_and_fee(system: System, checked: Checked) -> None:
    """10:00-11:00 local is flat (18), 11:00-12:00 valley (8)."""
    truth = resting(checked, 120)
    price(system, truth, 50.0)
    used = moved(truth, system.portfolio.index["offices"], np.full(120, -0.3))
    terms = difference(system, used, truth)
    assert terms["energy"] == pytest.approx(0.3 * 2 * 50.0)
    assert terms["fee"] == pytest.approx(0.3 * (18.0 + 8.0))


def test_generation_pays_no_fee(system: System, checked: Checked) -> None:
    truth = resting(checked, 60)
    drawn = moved(truth, system.portfolio.index["chp"], np.full(60, -0.1))
    assert difference(system, drawn, truth)["fee"] == 0.0


def test_a_deviation_is_settled_against_the_position_at_two_prices(system: System, checked: Checked) -> None:
    """Sold 1.0 MW for an hour: half an hour at 1.4 MW, half at 0.2 MW; 25 % on either side of 60."""
    truth = resting(checked, 60)
    price(system, truth, 60.0)
    hour = [Position("demo-unit", "day_ahead_energy", START, START + 4 * QUARTER, 1.0, 60.0, START)]
    system.store.market.save_positions(hour)
    power = np.repeat([1.4, 0.2], 30)
    sold = moved(truth, system.portfolio.index["wind-89"], power)
    terms = realised_cost(system, sold, system.loaded.states(START), firm=True, events=False)
    assert terms["energy"] == pytest.approx(-60.0)
    assert terms["deviation"] == pytest.approx(-0.2 * 45.0 + 0.4 * 75.0)
    unsold = realised_cost(system, sold, system.loaded.states(START), firm=False, events=False)
    assert unsold["energy"] == pytest.approx(-60.0 * 0.8)
    assert unsold["deviation"] == 0.0


def test_what_the_grid_desk_paid_is_income_once_it_is_settled(system: System, checked: Checked) -> None:
    truth = resting(checked, 60, EVENT.start)
    initial = system.loaded.states(START)
    stored(system)
    assert realised_cost(system, truth, initial, firm=False, events=True)["events"] == 0.0
    system.store.events.save_statement(Statement("e1", "ten", "EUR", (), {"vpp_net": Decimal("123.45")}))
    assert realised_cost(system, truth, initial, firm=False, events=True)["events"] == pytest.approx(-123.45)
    assert "events" not in realised_cost(system, truth, initial, firm=False, events=False)


def test_energy_by_kind_is_signed_injection(system: System, checked: Checked) -> None:
    truth = moved(resting(checked, 60), system.portfolio.index["wind-89"], np.full(60, 2.0))
    truth = moved(truth, system.portfolio.index["mill-1"], np.full(60, -1.2))
    found = delivered_mwh(system, truth)
    assert found["curtailable"] == pytest.approx(2.0)
    assert found["process"] == pytest.approx(-1.2)
    assert found["battery"] == 0.0


def test_true_delivery_is_what_differs_from_the_devices_default(system: System) -> None:
    stored(system)
    system.store.events.save_acceptance(answer("data-centre", 0.4))
    fleet = [a.id for a in system.portfolio.assets]
    asked: list[datetime] = []

    def plant(start: datetime, end: datetime) -> Minutes:
        asked.extend((start, end))
        default = {a: np.full(90, -0.7) for a in fleet}
        power = default | {"cooling": np.repeat([-0.7, -0.5, -0.2, -0.2, -0.7, -0.9], 15)}
        return Minutes((), power, default, {}, {}, {}, {}, {})

    assert true_delivery(system, EVENT) == {}
    system.truth = plant
    found = true_delivery(system, EVENT)
    assert asked == [EVENT.start, EVENT.end]
    assert found["data-centre"] == pytest.approx([0.0, 0.2, 0.5, 0.5, 0.0, -0.2])
    assert found["storage"] == pytest.approx([0.0] * 6)


@given(st.lists(st.floats(0, 200), min_size=1, max_size=60))
def test_a_rating_is_held_by_the_mean_of_the_last_fifteen_minutes(values: list[float]) -> None:
    mean = _trailing_mean(np.array(values)[None, :, None])[0, :, 0]
    for t, got in enumerate(mean):
        assert got == pytest.approx(np.mean(values[max(0, t - 14) : t + 1]), abs=1e-6)


def test_an_element_out_of_service_has_no_loading() -> None:
    assert _trailing_mean(np.full((1, 3, 1), np.nan)).tolist() == [[[0.0], [0.0], [0.0]]]


def test_minutes_outside_a_limit_are_counted(make: Make, checked: Checked) -> None:
    """7 MW of mills at the end of the re-supplied ring for the last ten of thirty minutes break its voltage."""
    system = make(START)
    truth = resting(checked, 30)
    assert realised_violation_minutes(system, truth) == 0
    heavy = moved(truth, system.portfolio.index["mill-1"], np.r_[np.zeros(20), np.full(10, -7.0)])
    assert realised_violation_minutes(system, heavy) == 10
    short = moved(truth, system.portfolio.index["mill-1"], np.r_[np.zeros(29), np.full(1, -4.5)])
    assert realised_violation_minutes(system, short) < 2
    system.store.close()


def idle(system: System, checked: Checked, hours: int) -> tuple[Truth, dict[str, AssetState]]:
    """Every device at its default for some hours, contents between quarters by the straight line."""
    initial, minutes = system.loaded.states(START), hours * 60
    p, q = true_series(checked, START, minutes)
    grid = TimeGrid.uniform(START, QUARTER, hours * 4)
    fine = TimeGrid.uniform(START, MINUTE, minutes)
    values = {k: grid.sample(fine, v) for k, v in p.items()}
    plan = device_default(system.portfolio.assets, initial, trajectories(system.portfolio, grid, values), grid)
    content, on = [], []
    for i, a in enumerate(system.portfolio.assets):
        ends = np.r_[initial[a.id].stored_mwh, plan.stored_mwh.get(a.id, np.zeros(grid.n))]
        content.append(np.interp(np.arange(1, minutes + 1) / 15.0, np.arange(grid.n + 1), ends))
        on.append(np.repeat(plan.commitment.get(a.id, plan.power_mw[i] != 0.0), 15))
    power = np.repeat(plan.power_mw, 15, axis=1)
    return Truth(fine, power, np.array(content), np.array(on, dtype=float), p, q), initial


def test_perfect_foresight_costs_no_more_than_the_idle_hours(system: System, checked: Checked) -> None:
    truth, initial = idle(system, checked, 4)
    price(system, truth, 60.0)
    cost_idle = sum(realised_cost(system, truth, initial, firm=False, events=False).values())
    best = perfect_foresight(system, truth, initial)
    least = sum(oracle_cost(system, best, truth, initial).values())
    assert least <= cost_idle + 1e-6
    assert least > cost_idle - 2000.0


def test_the_oracle_earns_only_from_settled_events(system: System, checked: Checked) -> None:
    start = START + 4 * QUARTER
    event = replace(EVENT, start=start, end=start + 6 * QUARTER, status=EventStatus.CANCELLED)
    truth, initial = idle(system, checked, 4)
    best = perfect_foresight(system, truth, initial)
    alone = sum(oracle_cost(system, best, truth, initial).values())
    stored(system, event)
    assert sum(oracle_cost(system, best, truth, initial).values()) == pytest.approx(alone)
    system.store.events.save_statement(Statement("e1", "ten", "EUR", (), {"vpp_net": Decimal(0)}))
    assert sum(oracle_cost(system, best, truth, initial).values()) == pytest.approx(alone - 360.0)
