"""The demo with received limits instead of a model: the same stages keep them, and no certificate is claimed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
import pytest

from dispatch.ladder import device_default, merit_order
from tests.service.conftest import ISSUED, Make, local
from tests.service.test_desk import equip, quick
from tests.service.test_tracking import minute, on_plan
from vpp.domain.command import Telemetry
from vpp.domain.envelope import Envelope, Interval, Issuer, Place, ReceivedLimits
from vpp.domain.schedule import DispatchRun, Schedule
from vpp.domain.time import MINUTE, Array, TimeGrid, local_time
from vpp.service.assemble import groups_of
from vpp.service.cascade import committing, run_stage
from vpp.service.commands import continuous
from vpp.service.desk import Desk
from vpp.service.event_clock import EventClock
from vpp.service.explaining import explain_run
from vpp.service.knowledge import gather
from vpp.service.loop import Loop
from vpp.service.plan import check_plan, parse_plan, plan_report
from vpp.service.portfolio import LoadedPortfolio
from vpp.service.received import LIMITS, bounds_at, limits_kept, roofs_mw, source_of
from vpp.service.situation import Situation
from vpp.service.system import System
from vpp.service.tracking import QuarterMeter, Tracker

START = local("2016-07-12 17:30")
TOLERANCE_MW = 1e-3
BIG = 1000.0
PLASTICS, FEEDER, WIND = "plastics-cable", "feeder-9-group", "wind-cable"


def members(loaded: LoadedPortfolio, place: str) -> tuple[str, ...]:
    point = loaded.portfolio.congestion_points[0]
    inside = {
        PLASTICS: lambda a: a.site == "plastics-works",
        FEEDER: lambda a: a.bus in point.buses,
        WIND: lambda a: a.site == "wind-park",
    }[place]
    return tuple(a.id for a in loaded.portfolio.assets if inside(a))


def received(loaded: LoadedPortfolio, defaults: dict[str, tuple[float, float]], *sent: Envelope) -> ReceivedLimits:
    """One issuer with a default (import, export) for each place."""
    places = tuple(Place(name, "dso", members(loaded, name), *both) for name, both in defaults.items())
    return ReceivedLimits((Issuer("dso", "Ring grid operator"),), places, sent)


def envelope(place: str, start: datetime, end: datetime, **limits: float) -> Envelope:
    return Envelope(f"doe-{place}", 1, "dso", place, ISSUED - timedelta(hours=2), (Interval(start, end, **limits),))


def net(schedule: Schedule, assets: Sequence[str]) -> Array:
    total: Array = np.sum([schedule.power_of(a) for a in assets], axis=0)
    return total


def planned(system: System, now: datetime = ISSUED, stage: str = "day_ahead") -> tuple[Situation, DispatchRun]:
    purpose = "plan" if stage == "day_ahead" else "roll"
    s = gather(system, stage, purpose, now, scenarios=0)
    return s, run_stage(s, f"{stage}-{now}", committing())


def assert_kept(system: System, run: DispatchRun, known_at: datetime) -> None:
    """Every place keeps what the rule itself says, and the run claims no certificate."""
    bounds = bounds_at(system, run.schedule.grid, known_at)
    for place in system.loaded.received.places:
        exchange, b = net(run.schedule, place.assets), bounds[place.id]
        assert (exchange >= -b.import_mw - TOLERANCE_MW).all(), place.id
        assert (exchange <= b.export_mw + TOLERANCE_MW).all(), place.id
    assert run.certificate is None
    assert run.inputs[LIMITS]["source"] == "limits received from Ring grid operator"
    assert run.inputs[LIMITS]["certificate"].startswith("none")


@pytest.fixture(scope="module")
def free(make: Make, checked: tuple[LoadedPortfolio, object]) -> tuple[LoadedPortfolio, DispatchRun]:
    """The demo day without any limits."""
    system = make(ISSUED, network=False, stages=quick(checked[0].stages))
    found = planned(system)[1]
    system.store.close()
    return checked[0], found


@pytest.fixture(scope="module")
def limits(free: tuple[LoadedPortfolio, DispatchRun]) -> ReceivedLimits:
    """Limits that the free plan breaks, each for a part of the day."""
    loaded, run = free
    taken, fed = net(run.schedule, members(loaded, PLASTICS)), net(run.schedule, members(loaded, WIND))
    group = net(run.schedule, members(loaded, FEEDER))
    noon, evening = local("2016-07-12 12:00"), local("2016-07-12 20:00")
    return received(
        loaded, {PLASTICS: (BIG, BIG), FEEDER: (-0.85 * group.min(), BIG), WIND: (BIG, 0.7 * fed.max())},
        envelope(PLASTICS, local("2016-07-12 00:00"), evening, import_mw=-0.8 * taken.min()),
        envelope(WIND, noon, evening, export_mw=0.5 * fed.max()),
    )  # fmt: skip


@pytest.fixture
def limited(make: Make, checked: tuple[LoadedPortfolio, object], limits: ReceivedLimits) -> Iterator[System]:
    system = make(ISSUED, network=False, stages=quick(checked[0].stages), received=limits)
    yield system
    system.store.close()


def test_the_day_ahead_keeps_what_the_free_plan_breaks(
    limited: System, free: tuple[LoadedPortfolio, DispatchRun]
) -> None:
    with pytest.raises(AssertionError):
        assert_kept(limited, free[1], ISSUED)
    s, run = planned(limited)
    assert run.level == "optimal" and run.reason == "", run.reason
    assert_kept(limited, run, ISSUED)
    assert run.solution is not None and free[1].solution is not None
    assert run.solution.objective >= free[1].solution.bound - 1e-6, "limits never make it better"
    report = plan_report(s, run)
    assert report["network"] == "limits received from Ring grid operator" and report["certificate"] is None
    assert report["limits"]["places"][PLASTICS]["envelopes"] == [f"doe-{PLASTICS} r1"]
    assert report["limits"]["places"][FEEDER] == {
        **report["limits"]["places"][FEEDER], "issuer": "dso", "envelopes": [], "default_in_use": True,
    }  # fmt: skip
    told = report["products"][PLASTICS]["over_import_mw"]
    assert max(told) < 1e-6


def test_what_a_limit_does_to_an_asset_is_explained(limited: System) -> None:
    _, run = planned(limited)
    told = explain_run(run, limited.portfolio, "wind-89", local("2016-07-12 13:00"))
    assert "a limit received from the grid operator -" in told["sentence"], "what it takes from the price of energy"


def test_a_limit_falls_to_the_default_when_its_envelope_expires(limited: System) -> None:
    s = gather(limited, "day_ahead", "plan", ISSUED, scenarios=0)
    known = next(c.known for c in s.contracts if c.id == WIND)["export_mw"]
    default = next(p for p in limited.loaded.received.places if p.id == WIND).export_mw
    noon, evening = (s.grid.index_of(local(f"2016-07-12 {hour}:00")) for hour in (12, 20))
    assert known[noon] == known[evening - 1] == pytest.approx(default * 0.5 / 0.7)
    assert known[noon - 1] == known[evening] == default


def test_intraday_and_real_time_keep_them_too(limited: System) -> None:
    _, roll = planned(limited, START, "intraday")
    assert roll.level == "optimal", roll.reason
    assert_kept(limited, roll, START)
    states, tracker = on_plan(limited, roll.schedule, START), Tracker()
    s, run = minute(limited, roll.schedule, START, states, QuarterMeter(), tracker)
    assert run.level == "optimal", run.reason
    assert_kept(limited, run, START)
    assert source_of(s) == "limits received from Ring grid operator"


def test_real_time_moves_what_follows_when_the_rest_takes_more(limited: System) -> None:
    """The extruders are measured above plan; the battery beside them keeps the cable inside its limit."""
    _, roll = planned(limited, START, "intraday")
    states = on_plan(limited, roll.schedule, START)
    limit = bounds_at(limited, TimeGrid.uniform(START, MINUTE, 15), START)[PLASTICS].import_mw[0]
    states["extruders"] = replace(states["extruders"], power_mw=-limit - 0.1)
    _, run = minute(limited, roll.schedule, START, states, QuarterMeter(), Tracker())
    assert run.level == "optimal", run.reason
    assert run.schedule.power_of("battery-plastics")[0] >= 0.1 - TOLERANCE_MW
    assert net(run.schedule, members(limited.loaded, PLASTICS))[0] >= -limit - TOLERANCE_MW


def test_a_limit_that_cannot_be_kept_is_exceeded_least_and_named(
    limited: System, free: tuple[LoadedPortfolio, DispatchRun]
) -> None:
    """Nothing may be imported for two hours, and the battery is out of service: the extruders' load stays."""
    start, end = local("2016-07-12 08:00"), local("2016-07-12 10:00")
    shut = replace(envelope(PLASTICS, start, end, import_mw=0.0), revision=2)
    limited.store.envelopes.save(shut)
    out = Telemetry("battery-plastics", ISSUED, 0.0, 0.0, 0.5, False, False, 500, False, 0)
    limited.store.meters.state_write([out], ISSUED)
    s, run = planned(limited)
    assert run.level == "optimal" and run.solution is not None and run.solution.costs["penalties"] > 0.0
    assert f"{PLASTICS}/operating envelope of dso" in run.reason
    inside = np.array([start <= t < end for t in s.grid.starts])
    extruders = members(limited.loaded, PLASTICS)
    told = run.schedule.products[PLASTICS]["over_import_mw"]
    np.testing.assert_allclose(told[inside], -net(run.schedule, extruders)[inside], atol=1e-4)
    assert told[~inside].max() < 1e-4 and told[inside].min() > 1e-3
    idle = device_default(s.dispatched, s.states, s.inputs, s.grid)
    alone = merit_order(s.portfolio.assets, s.states, s.inputs, s.grid, s.price_eur_per_mwh, s.limits)
    for other in (idle, alone, free[1].schedule):
        taken = -net(other, ("extruders",))[inside]
        assert told[inside].sum() <= taken.sum() + 1e-4
    assert run.inputs[LIMITS]["places"][PLASTICS]["import_mw"][int(np.argmax(inside))] == 0.0


def test_what_arrives_later_does_not_change_the_replay(limited: System) -> None:
    before = gather(limited, "day_ahead", "plan", ISSUED, scenarios=0).digest()
    tighter = replace(
        envelope(PLASTICS, START, START + timedelta(hours=2), import_mw=0.1), revision=2,
        received_at=ISSUED + MINUTE,
    )  # fmt: skip
    limited.store.envelopes.save(tighter)
    assert gather(limited, "day_ahead", "plan", ISSUED, scenarios=0).digest() == before
    later = gather(limited, "intraday", "roll", START, scenarios=0)
    known = next(c for c in later.contracts if c.id == PLASTICS)
    assert known.known["import_mw"][0] == 0.1 and known.terms.envelopes == (f"doe-{PLASTICS} r2",)


def test_a_plan_file_is_held_against_the_limits(limited: System) -> None:
    s, run = planned(limited)
    assert run.level == "optimal"
    report = plan_report(s, run)
    text = json.dumps(report)
    assert check_plan(limited, ISSUED, parse_plan(text, limited.portfolio.index)) == []
    limited.store.envelopes.save(
        replace(envelope(PLASTICS, ISSUED, s.grid.end, import_mw=0.05), revision=2, received_at=ISSUED)
    )
    found = check_plan(limited, ISSUED, parse_plan(text, limited.portfolio.index))
    assert any(f.startswith(f"{PLASTICS}/operating envelope of dso: ") for f in found)


def test_the_rungs_below_keep_them_where_devices_can(limited: System) -> None:
    """Without a solver the merit order would charge the battery beside the extruders; the group keeps the cable."""
    s = gather(limited, "day_ahead", "plan", ISSUED, scenarios=0)
    at = s.portfolio.assets, s.states, s.inputs, s.grid, s.price_eur_per_mwh, s.limits
    loose, tight = merit_order(*at), merit_order(*at, groups_of(s))
    limit = next(c for c in s.contracts if c.id == PLASTICS).known["import_mw"]
    over = [float(np.maximum(-net(x, members(limited.loaded, PLASTICS)) - limit, 0.0).sum()) for x in (loose, tight)]
    assert over[1] < over[0]


def test_the_loop_obeys_what_arrives_between_two_minutes(limited: System) -> None:
    equip(limited, START)
    loop = Loop(Desk(limited), EventClock(limited))
    loop.tick(START)
    first = limited.store.runs.latest("real_time")
    assert first is not None
    assert_kept(limited, first, START)
    wind = net(first.schedule, members(limited.loaded, WIND))[0]
    arrived = START + timedelta(seconds=20)
    cap = replace(
        envelope(WIND, START, START + timedelta(hours=1), export_mw=0.6 * float(wind)), revision=2, received_at=arrived
    )
    limited.store.envelopes.save(cap)
    loop.tick(START + MINUTE)
    second = limited.store.runs.latest("real_time")
    assert second is not None and second.id != first.id
    assert net(second.schedule, members(limited.loaded, WIND))[0] <= 0.6 * wind + TOLERANCE_MW
    assert_kept(limited, second, START + MINUTE)
    kept = limited.store.runs.get(second.id).inputs[LIMITS]["places"][WIND]
    assert kept["envelopes"] == [f"doe-{WIND} r2"] and kept["export_mw"][0] == 0.6 * float(wind)


def test_a_free_generator_is_commanded_no_more_than_its_share_of_what_is_left(limited: System) -> None:
    _, roll = planned(limited, START, "intraday")
    states = on_plan(limited, roll.schedule, START)
    s, run = minute(limited, roll.schedule, START, states, QuarterMeter(), Tracker())
    roofs = roofs_mw(s, run.schedule)
    wind = members(limited.loaded, WIND)
    export = next(c for c in s.contracts if c.id == WIND).known["export_mw"][0]
    assert sum(roofs[a] for a in wind) == pytest.approx(max(export, net(run.schedule, wind)[0]))
    available = {a: v["available_mw"] for a, v in s.inputs.items() if "available_mw" in v}
    told = run.schedule, s.portfolio.assets, available, {}, START, "r", 1
    value, open_ended = ({p.asset_id: p.value for p in continuous(*told, most)} for most in (roofs, None))
    assert sum(value[a] for a in wind) <= export + TOLERANCE_MW
    assert all(value[a] <= open_ended[a] for a in wind)


@pytest.mark.parametrize("day", [date(2016, 3, 27), date(2016, 10, 30)])
def test_a_day_of_summer_time_has_its_limits_at_wall_time(
    make: Make, checked: tuple[LoadedPortfolio, object], day: date
) -> None:
    zone = "Europe/Berlin"
    issued = local_time(day - timedelta(days=1), datetime(2016, 1, 1, 10).time(), zone)
    start, end = (local_time(day, datetime(2016, 1, 1, hour).time(), zone) for hour in (1, 4))
    sent = replace(envelope(WIND, start, end, export_mw=1.0), received_at=issued)
    limits = received(checked[0], {WIND: (BIG, 9.0)}, sent)
    system = make(issued, network=False, received=limits, stages=quick(checked[0].stages))
    s, run = planned(system, issued)
    assert run.level == "optimal", run.reason
    assert_kept(system, run, issued)
    known = next(c.known for c in s.contracts if c.id == WIND)["export_mw"]
    assert s.grid.n - 56 == {3: 92, 10: 100}[day.month]
    assert int((known == 1.0).sum()) == {3: 8, 10: 16}[day.month] and set(known) == {1.0, 9.0}
    system.store.close()


def test_nothing_is_offered_that_the_limits_of_the_unit_forbid(
    make: Make, checked: tuple[LoadedPortfolio, object]
) -> None:
    everyone = tuple(a.id for a in checked[0].portfolio.assets)
    evening = Interval(local("2016-07-12 17:00"), local("2016-07-12 21:00"), 4.0, 2.0)
    sent = Envelope("evening", 1, "dso", "unit", ISSUED, (evening,))
    limits = ReceivedLimits((Issuer("dso", "Ring"),), (Place("unit", "dso", everyone, BIG, BIG),), (sent,))
    system = make(ISSUED, network=False, received=limits, stages=quick(checked[0].stages))
    (bid,) = Desk(system).bid(ISSUED)
    inside = np.array([evening.start <= t < evening.end for t in bid.grid.starts])
    assert inside.sum() == 4 and bid.mw[:, inside].max() <= 2.0 + TOLERANCE_MW and bid.mw[:, ~inside].max() > 2.0
    system.store.close()


def test_a_model_and_limits_hold_together_and_the_certificate_is_the_models(make: Make, limits: ReceivedLimits) -> None:
    system = make(ISSUED, received=limits)
    s = gather(system, "day_ahead", "plan", ISSUED, scenarios=0)
    assert source_of(s) == "network model; limits received from Ring grid operator"
    assert limits_kept(s)[LIMITS]["certificate"] == "of the network model"
    assert len(s.contracts) == len(limits.places) and s.grid_side is not None
    system.store.close()


def test_no_limits_leave_no_trace(free: tuple[LoadedPortfolio, DispatchRun]) -> None:
    assert LIMITS not in free[1].inputs and free[1].certificate is None
