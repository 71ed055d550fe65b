"""What was published before a roll and is still owed is carried into it, by the record of what devices took."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from dispatch.check import check_schedule
from dispatch.registry import KINDS
from tests.service.conftest import Make
from vpp.domain.command import CommandStatus, Outcome, Setpoint, Telemetry
from vpp.domain.schedule import DispatchRun, Schedule
from vpp.domain.time import QUARTER, Array, TimeGrid
from vpp.service.assemble import kind_blocks
from vpp.service.knowledge import gather
from vpp.service.system import System

NOW = datetime(2016, 7, 11, 8, 0, tzinfo=UTC)
DEAR, SHARE, SUBSTITUTION, WINDOW_MIN = 180.0, 1.0 - 0.3, 0.8, 240


@pytest.fixture
def offgrid(make: Make) -> Iterator[System]:
    """The demo without its network, live from `NOW` on."""
    made = make(NOW, network=False)
    yield made
    made.store.close()


def publish(system: System, taken: bool, quarters: int = 4) -> None:
    """A dear price for the chambers in the quarters before `NOW`, each valid for two as the loop sends it."""
    epoch = system.store.commands.next_epoch(NOW)
    ids = tuple(a.id for a in system.portfolio.assets)
    grid = TimeGrid.uniform(NOW - QUARTER, QUARTER, 24)
    at_rest: Array = np.zeros((len(ids), grid.n))
    prices = {"chambers": {"price_eur_per_mwh": np.full(grid.n, 135.0)}}
    at = NOW - QUARTER
    schedule = Schedule(ids, grid, at_rest, at_rest, decisions=prices)
    day = DispatchRun("d", "day_ahead", "plan", at, at, "optimal", "", None, schedule, None, "", {})
    run = replace(day, id="r", stage="intraday", purpose="roll")
    system.store.runs.record(day, [])
    starts = [NOW - k * QUARTER for k in range(quarters, 0, -1)]
    orders = [
        Setpoint(f"s{k}", "chambers", "price_eur_per_mwh", DEAR, s - QUARTER, s, s + 2 * QUARTER, "r", epoch)
        for k, s in enumerate(starts)
    ]
    system.store.runs.record(run, orders)
    status = CommandStatus.ACKED if taken else CommandStatus.EXPIRED
    system.store.commands.mark([Outcome(o.id, o.asset_id, status, o.valid_from, o.value) for o in orders])


def by_minutes(load: Array, quarters: int) -> Array:
    """(16,) MW that comes back in each quarter after `NOW`, one minute after the other."""
    minutes = 15 * quarters
    back = np.zeros(minutes + WINDOW_MIN + 240)
    for m in range(minutes):
        moved = load[m // 15] * (SHARE - 1.0)
        felt = np.full(WINDOW_MIN + 1, 1.0 / WINDOW_MIN)
        felt[[0, -1]] /= 2.0
        back[m : m + WINDOW_MIN + 1] -= SUBSTITUTION * moved * felt
    return np.asarray(back[minutes : minutes + 240].reshape(-1, 15).mean(axis=1))


def test_what_was_published_comes_back_in_the_roll(offgrid: System) -> None:
    publish(offgrid, taken=True)
    s = gather(offgrid, "intraday", "roll", NOW, scenarios=0)
    series, expected = offgrid.history(NOW).series["load:G3-M"], s.inputs["chambers"]["load_mw"][0]
    first, told = (NOW - series.start) // QUARTER - 4, series.known(NOW)
    known = np.array([0.75 * series.values[at] if at < told else expected for at in range(first, first + 4)])
    assert first < told
    owed = s.inputs["chambers"]["owed_mw"]
    assert owed[:16] == pytest.approx(by_minutes(known, 4), abs=1e-9)
    assert owed[0] > 0.01 and not np.abs(owed[17:]).max() > 1e-9
    chambers = s.portfolio.asset("chambers")
    at_rest = KINDS["price_elastic"].default_mw(chambers, None, s.inputs["chambers"], s.grid)
    assert at_rest == pytest.approx(-(s.inputs["chambers"]["load_mw"] + owed))
    block = next(b for b in kind_blocks(s) if b.name == "price_elastic")
    i = block.assets.index("chambers")
    base = np.asarray(next(r for r in block.rows if r.label == "consumption").lower).reshape(-1, s.grid.n)[i]
    assert base == pytest.approx(s.inputs["chambers"]["load_mw"] + owed)


def test_prices_inside_the_notice_are_answered_with_what_is_owed(offgrid: System) -> None:
    """15 minutes of notice: the price of 135 EUR/MWh for the first quarter stands, and the debt comes on top."""
    publish(offgrid, taken=True)
    s = gather(offgrid, "intraday", "roll", NOW, scenarios=0)
    low, high = s.limits["chambers"]
    load, owed = (s.inputs["chambers"][name][0] for name in ("load_mw", "owed_mw"))
    moved = load * (1.0 - 0.3 * 0.5 - 1.0)
    own_return = SUBSTITUTION * 15.0 / WINDOW_MIN / 2.0 * moved
    assert low[0] == high[0] == pytest.approx(-(load + moved - own_return + owed))
    assert np.isinf(low[1]) and np.isinf(high[1])
    grid = s.grid.part(0, 1)
    power = np.array([[low[0]]])
    answer = {"chambers": {"price_eur_per_mwh": np.array([135.0])}}
    schedule = Schedule(("chambers",), grid, power, 0.25 * power, decisions=answer)
    assets, states = (s.portfolio.asset("chambers"),), s.states
    told = {"chambers": {name: row[:1] for name, row in s.inputs["chambers"].items()}}
    assert check_schedule(assets, states, told, schedule) == []
    forgotten = {"chambers": {"load_mw": told["chambers"]["load_mw"]}}
    assert check_schedule(assets, states, forgotten, schedule)


def test_a_price_that_no_device_took_owes_nothing(offgrid: System) -> None:
    publish(offgrid, taken=False)
    assert "owed_mw" not in gather(offgrid, "intraday", "roll", NOW, scenarios=0).inputs["chambers"]


def test_without_a_meter_the_load_expected_now_stands_in(offgrid: System) -> None:
    publish(offgrid, taken=True, quarters=2)
    series = offgrid.book.history(NOW).series["load:G3-M"]
    series.values[series.known(NOW) - 2 : series.known(NOW)] = np.nan
    s = gather(offgrid, "intraday", "roll", NOW, scenarios=0)
    expected = np.full(2, s.inputs["chambers"]["load_mw"][0])
    assert s.inputs["chambers"]["owed_mw"][:16] == pytest.approx(by_minutes(expected, 2), abs=1e-9)


def test_telemetry_tells_the_patience_that_is_spent(offgrid: System) -> None:
    """Half a degree off the set-point for two hours of the UTC day; what was before midnight is another day's."""
    cluster = next(a for a in offgrid.portfolio.assets if a.kind == "thermostat_cluster")
    q = cluster.params
    off_mwh = q.set_mwh_th - 0.5 * q.heat_capacity_mwh_th_per_c
    midnight = NOW.replace(hour=0)
    readings = [
        Telemetry(cluster.id, at, -0.1, 0.0, content, True, True, 5, False, 0)
        for hours, content in ((-1.0, 0.0), (1.0, off_mwh), (2.0, off_mwh), (3.0, off_mwh))
        for at in (midnight + timedelta(hours=hours),)
    ]
    offgrid.store.meters.state_write(readings)
    state = offgrid.states(NOW)[cluster.id]
    assert (state.away_c_h, state.away_h) == pytest.approx((1.0, 2.0))
    assert offgrid.states(midnight + timedelta(minutes=30))[cluster.id].away_h == 0.0
