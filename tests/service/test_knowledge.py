"""What a stage run may know: nothing of the future, what is firm, what is fixed, what energy is worth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from tests.service.conftest import Make, local
from vpp.domain.command import Priority, Proposal
from vpp.domain.market import Position
from vpp.domain.schedule import DispatchRun, Schedule
from vpp.domain.time import QUARTER, Array, TimeGrid, local_midnight
from vpp.service.knowledge import firm_until, gather, positions_over, price_over
from vpp.service.situation import grid_for
from vpp.service.system import System

ZONE = "Europe/Berlin"
NOW = datetime(2016, 7, 11, 8, 0, tzinfo=UTC)
DAY = TimeGrid.local_day(date(2016, 7, 12), ZONE)
PRODUCT = "day_ahead_energy"


@pytest.fixture
def offgrid(make: Make) -> Iterator[System]:
    """The demo without its network, live from `NOW` on."""
    made = make(NOW, network=False)
    yield made
    made.store.close()


def sold(system: System, mw: float = 3.0, grid: TimeGrid = DAY) -> None:
    """A firm position over `grid`."""
    system.store.market.save_positions(
        [Position("demo-unit", PRODUCT, a, b, mw, 50.0, a) for a, b in zip(grid.starts, grid.edges[1:], strict=True)]
    )


def planned(system: System, stage: str, purpose: str, at: datetime, grid: TimeGrid, **changes: object) -> Schedule:
    """A recorded run whose schedule rests, with `changes`."""
    ids = tuple(a.id for a in system.portfolio.assets)
    power: Array = np.zeros((len(ids), grid.n))
    schedule = replace(Schedule(ids, grid, power, power), **changes)  # type: ignore[arg-type]
    run = DispatchRun(f"{stage}-{at}", stage, purpose, at, at, "optimal", "", None, schedule, None, "", {})
    system.store.runs.record(run, [])
    return schedule


def test_the_future_of_every_series_changes_nothing(make: Make) -> None:
    digests = set()
    for seed in (None, 1):
        system = make(NOW + timedelta(days=2), network=False)
        if seed is not None:
            for series in system.book.history(NOW).series.values():
                first = series.known(NOW)
                series.values[first:] = np.random.default_rng(seed).uniform(size=len(series.values) - first)
        digests.add(gather(system, "day_ahead", "plan", NOW).digest())
    assert len(digests) == 1


def test_the_past_changes_it(make: Make) -> None:
    system = make(NOW, network=False)
    before = gather(system, "day_ahead", "plan", NOW).digest()
    series = system.book.history(NOW).series["load:G3-M"]
    series.values[: series.known(NOW)] *= 1.5
    assert gather(system, "day_ahead", "plan", NOW).digest() != before


@pytest.mark.parametrize(
    "change",
    [
        lambda s: replace(s, deviation_factor=0.3),
        lambda s: replace(s, price_eur_per_mwh=s.price_eur_per_mwh + 1e-9),
        lambda s: replace(s, given_mw={"offices": np.zeros(s.grid.n)}),
        lambda s: replace(s, purpose="other"),
        lambda s: replace(s, limits={"chp": (np.zeros(s.grid.n), np.ones(s.grid.n))}),
        lambda s: replace(s, last=Schedule((), s.grid, np.zeros((0, s.grid.n)), np.zeros((0, s.grid.n)))),
        lambda s: replace(s, portfolio=replace(s.portfolio, assets=s.portfolio.assets[1:])),
        lambda s: replace(s, forecast=replace(s.forecast, scenarios=s.forecast.scenarios + 1e-9)),
        lambda s: replace(s, states=s.states | {"chp": replace(s.states["chp"], minutes_in_state=1)}),
    ],
)
def test_the_digest_knows_every_input(offgrid: System, change: object) -> None:
    s = gather(offgrid, "day_ahead", "plan", NOW, scenarios=3)
    assert change(s).digest() != s.digest()  # type: ignore[operator]
    assert replace(s).digest() == s.digest()


def test_positions_before_and_after_the_award(offgrid: System) -> None:
    """Nothing is firm today, so the grid of the plan begins without a position; tomorrow's must survive that."""
    grid = gather(offgrid, "day_ahead", "bid", NOW, scenarios=0).grid
    assert np.isnan(positions_over(offgrid, grid, "bid")[0].mw).all()
    sold(offgrid)
    after = positions_over(offgrid, grid, "plan")[0]
    tomorrow = np.array([t >= DAY.start for t in grid.starts])
    assert np.isnan(after.mw[~tomorrow]).all()
    assert after.mw[tomorrow] == pytest.approx(np.full(96, 3.0))
    assert set(after.assets) == set(offgrid.portfolio.index)


def test_a_long_step_is_firm_only_where_all_of_it_is(offgrid: System) -> None:
    sold(offgrid, grid=TimeGrid.uniform(DAY.start, QUARTER, 6))
    grid = TimeGrid.uniform(DAY.start - QUARTER * 4, timedelta(hours=1), 4)
    assert np.isfinite(positions_over(offgrid, grid, "roll")[0].mw).tolist() == [False, True, False, False]


def test_prices_are_expected_until_they_are_cleared_and_known(offgrid: System) -> None:
    expected = offgrid.market.expected_price(DAY, ZONE)
    assert price_over(offgrid, DAY, NOW) == pytest.approx(expected)
    offgrid.store.market.save_prices(PRODUCT, DAY, np.full(96, 77.0), NOW + timedelta(hours=1))
    assert price_over(offgrid, DAY, NOW) == pytest.approx(expected), "not known yet"
    assert price_over(offgrid, DAY, NOW + timedelta(hours=1)) == pytest.approx(np.full(96, 77.0))


def test_the_intraday_grid_reaches_the_end_of_the_last_firm_day(offgrid: System) -> None:
    noon = local("2016-07-11 12:00")
    assert firm_until(offgrid, noon) == DAY.start
    sold(offgrid)
    assert firm_until(offgrid, noon) == DAY.end
    grid = grid_for(offgrid.stage("intraday"), noon, ZONE, DAY.end)
    assert (grid.end, grid.minutes[0], grid.minutes[23], grid.minutes[24]) == (DAY.end, 15, 15, 60)


@pytest.mark.parametrize(
    ("day", "quarters"), [(date(2016, 3, 27), 92), (date(2016, 7, 12), 96), (date(2016, 10, 30), 100)]
)
def test_the_clock_change_gives_92_or_100_quarters(make: Make, day: date, quarters: int) -> None:
    issued = local_midnight(day - timedelta(days=1), ZONE) + timedelta(hours=10)
    system = make(issued, network=False)
    s = gather(system, "day_ahead", "plan", issued, scenarios=0)
    assert sum(t >= local_midnight(day, ZONE) for t in s.grid.starts) == quarters
    assert s.grid.n == 56 + quarters
    assert s.grid.end == local_midnight(day + timedelta(days=1), ZONE)
    assert all(np.isfinite(v).all() and v.shape == (s.grid.n,) for row in s.inputs.values() for v in row.values())
    system.store.close()


def test_a_request_inside_its_notice_is_fixed_to_what_was_asked(offgrid: System) -> None:
    grid = TimeGrid.uniform(NOW - QUARTER, QUARTER, 24)
    on = np.array([1.0, 0.0, 1.0] + [0.0] * 21)
    planned(offgrid, "day_ahead", "plan", NOW - timedelta(hours=2), grid, commitment={"mill-1": on, "chp": on})
    s = gather(offgrid, "intraday", "roll", NOW, scenarios=0)
    assert s.committed["mill-1"].tolist() == [0, 1] + [-1] * (s.grid.n - 2)
    assert "chp" not in s.committed, "it follows, so nothing of it is announced"


def test_a_stop_beats_what_was_announced(offgrid: System) -> None:
    grid = TimeGrid.uniform(NOW, QUARTER, 24)
    planned(offgrid, "day_ahead", "plan", NOW - timedelta(hours=2), grid, commitment={"mill-1": np.ones(24)})
    stop = Proposal("p", "mill-1", "site", Priority.SITE_STOP, NOW, NOW + QUARTER, 0.0, 0.0)
    offgrid.store.events.add_proposal(stop)
    s = gather(offgrid, "intraday", "roll", NOW, scenarios=0)
    assert s.committed["mill-1"][:2].tolist() == [0, 1]
    assert s.limits["mill-1"][0][:2].tolist() == [0.0, -np.inf]


def test_an_expired_override_limits_nothing(offgrid: System) -> None:
    past = Proposal("p", "chp", "op", Priority.OPERATOR, NOW - QUARTER, NOW, 0.0, 0.0)
    later = replace(past, id="q", start=NOW + QUARTER, end=NOW + 2 * QUARTER)
    for proposal in (past, later):
        offgrid.store.events.add_proposal(proposal)
    low, high = gather(offgrid, "day_ahead", "plan", NOW, scenarios=0).limits["chp"]
    assert np.flatnonzero(np.isfinite(low)).tolist() == [1]
    assert high[1] == 0.0


def test_energy_left_is_worth_what_the_stage_above_says(offgrid: System) -> None:
    grid = TimeGrid.uniform(NOW - timedelta(hours=2), QUARTER, 200)
    value = np.linspace(0.0, 199.0, 200)
    stored = {"battery-glass": np.linspace(0.0, 1.99, 200)}
    planned(
        offgrid, "day_ahead", "plan", NOW - timedelta(hours=2), grid,
        stored_mwh=stored, marginal_value={"battery-glass": value},
    )  # fmt: skip
    s = gather(offgrid, "intraday", "roll", NOW, scenarios=0)
    t = grid.index_of(s.grid.end - QUARTER)
    steps = s.end_value["battery-glass"]
    assert steps.value.tolist() == [value[t] + 2.0, value[t] - 2.0]
    assert steps.width_mwh[0] == pytest.approx(stored["battery-glass"][t] - 0.05 * 3.0)
    assert s.end_value["battery-steel"].value.tolist() == [70.0], "the stated price where the plan has no value"


def test_the_day_ahead_plan_values_energy_as_stated(offgrid: System) -> None:
    values = gather(offgrid, "day_ahead", "plan", NOW, scenarios=0).end_value
    assert {a: v.value.tolist() for a, v in values.items() if a in ("chp", "mill-1", "cooling")} == {
        "chp": [38.0], "mill-1": [65.0], "cooling": [14.0],
    }  # fmt: skip
