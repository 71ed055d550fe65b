"""Real time: the quarter's energy is kept, committed states stay, and storage fills a call's gap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.check import check_schedule
from tests.service.conftest import Make, local
from tests.service.test_orders import EVENT, stored
from vpp.domain.command import Priority, Proposal, Telemetry
from vpp.domain.market import Position
from vpp.domain.portfolio import AssetState
from vpp.domain.schedule import DispatchRun, Schedule
from vpp.domain.stage import REAL_TIME
from vpp.domain.time import MINUTE, QUARTER, TimeGrid
from vpp.service.cascade import committing, run_stage
from vpp.service.knowledge import gather
from vpp.service.situation import Situation
from vpp.service.system import System
from vpp.service.tracking import QuarterMeter, Tracker, observe

START = local("2016-07-12 17:30")
UNIT = "demo-unit"


@pytest.fixture
def system(make: Make) -> Iterator[System]:
    """Off the grid, with a second for each minute's problem to compile too."""
    made = make(START, network=False)
    stages = tuple(replace(s, deadline=timedelta(seconds=20)) for s in made.loaded.stages)
    made.loaded = replace(made.loaded, stages=stages)
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def upper(make: Make) -> Schedule:
    """The intraday plan above, without a position."""
    s = gather(make(START, network=False), "intraday", "roll", START, scenarios=0)
    run = run_stage(s, "upper", committing())
    assert run.level == "optimal"
    return run.schedule


def on_plan(system: System, upper: Schedule, now: datetime) -> dict[str, AssetState]:
    """Every device does what the plan says, with the content the portfolio starts from."""
    t = upper.grid.index_of(now)
    states = {}
    for asset, stated in system.loaded.states(now).items():
        on = asset in upper.commitment and upper.commitment[asset][t] > 0.5
        states[asset] = replace(stated, power_mw=float(upper.power_of(asset)[t]), on=on, minutes_in_state=600)
    return states


def tell(system: System, states: dict[str, AssetState], now: datetime) -> dict[str, Telemetry]:
    """Telemetry of those states, in the record."""
    read = {
        a: Telemetry(a, now, s.power_mw, 0.0, s.stored_mwh, s.on, True, s.minutes_in_state, False, 0)
        for a, s in states.items()
    }
    system.store.meters.state_write(list(read.values()), now)
    return read


def minute(
    system: System,
    upper: Schedule,
    now: datetime,
    states: dict[str, AssetState],
    quarter: QuarterMeter,
    tracker: Tracker,
) -> tuple[Situation, DispatchRun]:
    """One real-time run on what the devices tell."""
    s = observe(system, now, tell(system, states, now), quarter, upper)
    return s, run_stage(s, f"rt-{now}", tracker.solver(upper))


def sold(system: System, mw: float) -> None:
    """A firm hour."""
    start, end = START - 2 * QUARTER, START + 2 * QUARTER
    system.store.market.save_positions([Position(UNIT, "day_ahead_energy", start, end, mw, 60.0, start)])


def test_the_quarter_ends_with_its_energy(system: System, upper: Schedule) -> None:
    """Wind gives 0.3 MW less than planned for the first five minutes; batteries make good for it."""
    states, quarter, tracker = on_plan(system, upper, START), QuarterMeter(), Tracker()
    planned = sum(s.power_mw for s in states.values())
    firm = planned - 0.2
    sold(system, firm)
    for k in range(15):
        now = START + k * MINUTE
        dip = 0.3 if k < 5 else 0.0
        if k:
            quarter.add(now, {UNIT: sum(s.power_mw for s in states.values())})
        s, run = minute(system, upper, now, states, quarter, tracker)
        assert run.level == "optimal", run.reason
        assert check_schedule(s.dispatched, s.states, s.inputs, run.schedule) == []
        system.store.runs.record(run, [])
        for i, asset in enumerate(run.schedule.asset_ids):
            moved = float(run.schedule.power_mw[i, 0]) - (dip if asset == "wind-89" else 0.0)
            states[asset] = replace(states[asset], at=now, power_mw=moved)
    quarter.add(START + QUARTER, {UNIT: sum(s.power_mw for s in states.values())})
    measured = [m[UNIT] for m in quarter.minutes.values()]
    assert len(measured) == 15
    assert np.mean(measured) == pytest.approx(firm, abs=0.03)
    assert abs(measured[0] - firm) > 0.1, "the dip was there to be made good"


def test_chp_keeps_its_committed_state(system: System, upper: Schedule) -> None:
    for on in (0.0, 1.0):
        above = replace(upper, commitment=dict(upper.commitment) | {"chp": np.full(upper.grid.n, on)})
        states = on_plan(system, above, START)
        states["chp"] = replace(states["chp"], on=bool(on), power_mw=1.2 * on)
        s, run = minute(system, above, START, states, QuarterMeter(), Tracker())
        assert s.committed["chp"].tolist() == [int(on)] * 15
        assert run.level == "optimal", run.reason
        chp = run.schedule.power_of("chp")
        assert np.all(chp >= 1.0 - 1e-6) if on else np.all(np.abs(chp) < 1e-6)


def test_what_is_asked_or_priced_counts_as_measured(system: System, upper: Schedule) -> None:
    states = on_plan(system, upper, START)
    states["chambers"] = replace(states["chambers"], power_mw=-0.33)
    s, run = minute(system, upper, START, states, QuarterMeter(), Tracker())
    assert s.given_mw.keys() == {a.id for a in system.portfolio.assets if a.control != "continuous"}
    assert run.schedule.power_of("chambers") == pytest.approx(np.full(15, -0.33))


def test_storage_fills_a_calls_gap(system: System, upper: Schedule) -> None:
    """One site gives nothing of its 0.4 MW: the fillers hold the whole megawatt between them."""
    stored(system, EVENT)
    states = on_plan(system, upper, START)
    states["cooling"] = replace(states["cooling"], power_mw=-0.7)
    s, run = minute(system, upper, START, states, QuarterMeter(), Tracker())
    gap = next(c for c in s.calls if c.id == "e1:storage")
    assert gap.ordered_mw == pytest.approx(np.ones(15))
    given = run.schedule.power_of("battery-plastics") + run.schedule.power_of("battery-logistics")
    assert given[0] == pytest.approx(1.0, abs=0.02)


def test_a_limit_on_a_mill_does_not_stop_the_others(system: System, upper: Schedule) -> None:
    """The mill still runs inside its notice; real time does not decide on it and goes on with the rest."""
    stop = Proposal("p", "mill-1", "site", Priority.SITE_STOP, START, START + QUARTER, 0.0, 0.0)
    cap = Proposal("q", "battery-glass", "op", Priority.OPERATOR, START, START + QUARTER, -0.1, 0.1)
    for proposal in (stop, cap):
        system.store.events.add_proposal(proposal)
    states = on_plan(system, upper, START)
    states["mill-1"] = replace(states["mill-1"], on=True, power_mw=-1.2)
    s, run = minute(system, upper, START, states, QuarterMeter(), Tracker())
    assert s.limits.keys() == {"battery-glass"}
    assert run.level == "optimal", run.reason
    assert np.abs(run.schedule.power_of("battery-glass")).max() <= 0.1 + 1e-6


def test_the_compiled_problem_is_kept_from_minute_to_minute(system: System, upper: Schedule) -> None:
    """The shape must not follow the event: it is owed outside and inside of it by the same rows."""
    tracker, quarter = Tracker(), QuarterMeter()
    event = replace(EVENT, start=START + 5 * MINUTE, end=START + 5 * MINUTE + 6 * QUARTER)
    stored(system, event)
    for k in (0, 1, 10):
        now = START + k * MINUTE
        _, run = minute(system, upper, now, on_plan(system, upper, now), quarter, tracker)
        assert run.level == "optimal", run.reason
    assert len(tracker.doors) == 1


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=14), st.floats(-10, 10))
def test_what_is_left_is_the_position_less_what_was_measured(values: list[float], firm: float) -> None:
    quarter = QuarterMeter()
    for k, value in enumerate(values):
        quarter.add(START + (k + 1) * MINUTE, {UNIT: value})
    total, count = quarter.so_far(UNIT, START + len(values) * MINUTE)
    assert total == pytest.approx(sum(values))
    assert count == len(values)


def test_a_minute_read_twice_counts_once() -> None:
    quarter = QuarterMeter()
    for value in (1.0, 2.0):
        quarter.add(START + MINUTE, {UNIT: value})
    assert quarter.so_far(UNIT, START + MINUTE) == (2.0, 1)


def test_a_new_quarter_forgets_the_old() -> None:
    quarter = QuarterMeter()
    quarter.add(START, {UNIT: 5.0})
    assert quarter.so_far(UNIT, START) == (0.0, 0), "that minute ended the quarter before"
    quarter.add(START + MINUTE, {UNIT: 3.0})
    assert quarter.so_far(UNIT, START + MINUTE) == (3.0, 1)


def test_a_restart_in_the_middle_of_a_quarter_has_a_forecast(system: System, upper: Schedule) -> None:
    assert system.last_forecast is None
    s = observe(system, START + 7 * MINUTE, {}, QuarterMeter(), upper)
    assert all(np.isfinite(v).all() for row in s.inputs.values() for v in row.values())


def test_real_time_sees_fifteen_minutes(system: System, upper: Schedule) -> None:
    s = observe(system, START, {}, QuarterMeter(), upper)
    assert s.grid == TimeGrid.uniform(START, MINUTE, 15)
    assert s.stage.name == REAL_TIME
