"""The EV depot against a literal model car by car, exact aggregation, and what check and follow make of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyomo.environ as pyo
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dispatch.assets import ev_fleet
from dispatch.check import check_schedule
from dispatch.follow import follow
from dispatch.wish import Wish
from tests.dispatch.block_solver import solve_block
from tests.dispatch.oracle_tools import SEEDS, asset_of, context_of, grid_of, optimum, random_end_value, state_of
from tests.dispatch.random_fleet import GRID_NAMES, plan, random_fleet
from vpp.domain.schedule import Schedule
from vpp.domain.time import TimeGrid

START = datetime(2016, 7, 11, 22, tzinfo=UTC)  # midnight in Berlin, a Tuesday
QUICK = (Phase.explicit, Phase.reuse, Phase.generate)


def session(name: str, come: int, hours: int, rng, feeds: bool) -> dict:
    """A few cars that come `come` hours after midnight and stay `hours`, with different needs."""
    power = rng.uniform(0.02, 0.2)
    return {
        "id": name, "arrival": f"{come % 24:02}:20", "departure": f"{(come + hours) % 24:02}:20",
        "count": int(rng.integers(1, 4)), "power_mw": power, "energy_mwh": power * hours * rng.uniform(0.1, 0.8),
        "v2g_mw": power * feeds, "lend_mwh": 0.3 * power * feeds,
    }  # fmt: skip


def random_params(rng, feeds: bool) -> ev_fleet.Params:
    sessions = [session(f"s{k}", int(rng.integers(0, 4)), int(rng.integers(1, 4)), rng, feeds) for k in range(2)]
    sessions.append(session("before", 22, int(rng.integers(3, 6)), rng, feeds))
    sessions.append(session("after", int(rng.integers(2, 5)), 8, rng, feeds))
    total = sum(s["count"] * s["power_mw"] for s in sessions)
    return ev_fleet.Params(sessions=sessions, feeder_mw=total * rng.choice([0.6, 1.2]), wear_eur_per_mwh=9.0)


def cars_of(q, grid, stored) -> list[dict]:
    """Every single car on the grid; the cars of session `before` hold what the depot holds, as far as they can."""
    found, horizon = [], float(grid.hours.sum())
    for s in q.sessions:
        come = s.arrival.hour + s.arrival.minute / 60
        go = s.departure.hour + s.departure.minute / 60
        for day in (-24, 0):
            begin, end = come + day, go + day + 24 * (s.departure <= s.arrival)
            if end <= 0 or begin >= horizon:
                continue
            x = s.lend_mwh
            if begin < 0:
                x = min(stored / s.count, s.lend_mwh + s.energy_mwh, s.lend_mwh - 0.93 * s.power_mw * begin)
            found += [{"s": s, "begin": begin, "end": end, "x": x, "name": f"{s.id}{day}{n}"} for n in range(s.count)]
    return found


def oracle(q, grid, prices, stored, end=None) -> float:
    """Each car with a charger of its own; the direction is the depot's."""
    cars, horizon = cars_of(q, grid, stored), float(grid.hours.sum())
    m = pyo.ConcreteModel()
    m.t, m.car = pyo.RangeSet(0, grid.n - 1), pyo.RangeSet(0, len(cars) - 1)
    m.c, m.d, m.x = (pyo.Var(m.car, m.t, domain=pyo.NonNegativeReals) for _ in range(3))
    m.short = pyo.Var(m.car, domain=pyo.NonNegativeReals)
    m.feeds, m.rules, spent, held = pyo.Var(m.t, domain=pyo.Binary), pyo.ConstraintList(), 0, 0
    edge = np.concatenate([[0.0], np.cumsum(grid.hours)])
    for k, car in enumerate(cars):
        s, before = car["s"], car["x"]
        full = s.lend_mwh + s.energy_mwh
        for t in range(grid.n):
            h = edge[t + 1] - edge[t]
            plugged = max(0.0, min(car["end"], edge[t + 1]) - max(car["begin"], edge[t])) / h
            m.rules.add(m.c[k, t] <= s.power_mw * plugged)
            m.rules.add(m.d[k, t] <= s.v2g_mw * plugged)
            m.rules.add(m.x[k, t] == before + h * (0.93 * m.c[k, t] - m.d[k, t] / 0.93))
            m.rules.add(m.x[k, t] <= full)
            spent += h * (9.0 * m.d[k, t] - prices[t] * (m.d[k, t] - m.c[k, t]))
            before = m.x[k, t]
        left_h = max(0.0, car["end"] - horizon)
        wanted = full - 0.93 * s.power_mw * left_h
        if left_h > 0 and end is None:
            even = s.lend_mwh + s.energy_mwh * (horizon - car["begin"]) / (car["end"] - car["begin"])
            wanted = max(wanted, min(even, car["x"] + 0.93 * s.power_mw * (horizon - max(0.0, car["begin"]))))
        m.rules.add(before + m.short[k] >= wanted)
        spent += q.missed_eur_per_mwh * m.short[k]
        held += before if left_h > 0 else 0
    for t in m.t:
        m.rules.add(sum(m.c[k, t] for k in m.car) <= q.feeder_mw * (1 - m.feeds[t]))
        m.rules.add(sum(m.d[k, t] for k in m.car) <= q.feeder_mw * m.feeds[t])
    if end is not None:
        m.s = pyo.Var(range(len(end.value)), bounds=lambda _, k: (0, float(end.width_mwh[k])))
        m.rules.add(sum(m.s[k] for k in m.s) <= held)
        spent -= sum(float(end.value[k]) * m.s[k] for k in m.s)
    m.cost = pyo.Objective(expr=spent)
    return optimum(m)


@pytest.mark.parametrize("valued", [False, True])
@pytest.mark.parametrize("feeds", [False, True])
@pytest.mark.parametrize("seed", SEEDS[:4])
def test_the_aggregate_costs_what_all_cars_one_by_one_cost(seed: int, feeds: bool, valued: bool) -> None:
    rng, grid = np.random.default_rng(seed), grid_of(seed)
    prices = rng.uniform(-20.0, 200.0, grid.n)
    params = [random_params(rng, feeds) for _ in range(2)]
    fleet = [asset_of(f"ev{i}", "ev_fleet", q) for i, q in enumerate(params)]
    stored = [q.sessions[2].count * q.sessions[2].energy_mwh * 0.4 for q in params]
    states = {a.id: state_of(a.id, e) for a, e in zip(fleet, stored, strict=True)}
    ends = {a.id: random_end_value(rng, 0.5) for a in fleet} if valued else {}
    solved = solve_block(
        ev_fleet.block(fleet, context_of(grid, states, end_value=ends)), [a.id for a in fleet], grid, prices
    )
    expected = sum(oracle(q, grid, prices, e, ends.get(a.id)) for a, q, e in zip(fleet, params, stored, strict=True))
    assert solved.objective == pytest.approx(expected, rel=1e-6, abs=1e-6)


@settings(max_examples=25, deadline=None, phases=QUICK)
@given(st.integers(0, 10_000), st.sampled_from(GRID_NAMES))
def test_a_class_split_evenly_serves_every_car(seed: int, grid_name: str) -> None:
    """Per car: its charger, its own content between nothing and full, and its need at departure unless told unmet."""
    fleet = random_fleet(seed, grid_name, ("ev_fleet",), outages=False)
    schedule = plan(fleet, seed).schedule
    for asset in fleet.assets:
        q, told = asset.params, schedule.decisions[asset.id]
        per_session = {s.id: s for s in q.sessions}
        lacking, nothing = 0.0, np.zeros(fleet.grid.n)
        for key in (k for k in told if k.startswith("charge_mw ")):
            name = key.split(" ", 1)[1]
            s = per_session[name.split("@")[0]]
            draw, feed = told[key] / s.count, told.get(f"discharge_mw {name}", nothing) / s.count
            assert draw.max() <= s.power_mw + 1e-7 and feed.max() <= s.v2g_mw + 1e-7
            gain = np.cumsum(fleet.grid.hours * (q.charge_efficiency * draw - feed / q.discharge_efficiency))
            assert gain.max() <= s.lend_mwh + s.energy_mwh + 1e-6
            stay = next(x for x in ev_fleet.stays_of(q, fleet.grid) if x.name == name)
            begun = stay.begin_h < -1e-9
            if not begun:
                assert gain.min() >= -s.lend_mwh - 1e-6
            if not begun and stay.end_h <= fleet.grid.hours.sum() + 1e-9:
                lacking += s.count * max(0.0, s.energy_mwh - gain[-1])
        assert lacking <= told["unmet_mwh"].sum() + 1e-6


@settings(max_examples=25, deadline=None, phases=QUICK)
@given(st.integers(0, 10_000), st.sampled_from(GRID_NAMES))
def test_a_planned_net_power_alone_can_be_split_so_that_all_are_served(seed: int, grid_name: str) -> None:
    """The depot hears only its net power: least laxity finds a split of it that leaves no more unmet than the plan."""
    fleet = random_fleet(seed, grid_name, ("ev_fleet",))
    schedule = plan(fleet, seed).schedule
    wishes = [
        Wish(a, fleet.states[a.id], fleet.grid, p, fleet.inputs[a.id])
        for a, p in zip(fleet.assets, schedule.power_mw, strict=True)
    ]
    split = follow(wishes)
    assert check_schedule(fleet.assets, fleet.states, fleet.inputs, split) == []
    for asset in fleet.assets:
        unmet = [s.decisions[asset.id]["unmet_mwh"].sum() for s in (schedule, split)]
        assert unmet[1] <= unmet[0] + 1e-6


NIGHT = {
    "sessions": [{"id": "van", "arrival": "01:00", "departure": "05:00", "count": 10, "power_mw": 0.01,
                  "energy_mwh": 0.0186, "v2g_mw": 0.01, "lend_mwh": 0.01}],
    "feeder_mw": 0.08,
}  # fmt: skip


def hourly(charge: list[float], feed: list[float] | None = None, unmet: float = 0.0, **more) -> list[str]:
    """Faults of the ten vans of NIGHT over six hours from midnight."""
    grid, asset = TimeGrid.uniform(START, timedelta(hours=1), 6), asset_of("ev", "ev_fleet", ev_fleet.Params(**NIGHT))
    c, d = np.array(charge), np.array(feed or [0.0] * 6)
    told = {"charge_mw van@2016-07-12": c, "discharge_mw van@2016-07-12": d, "unmet_mwh": np.eye(6)[4] * unmet}
    power = more.pop("power", d - c)
    schedule = Schedule(
        ("ev",), grid, np.array([power]), np.zeros((1, 6)), decisions={"ev": {**told, **more}},
        commitment={"ev": (d > 0).astype(float)},
    )  # fmt: skip
    return [str(f) for f in check_schedule([asset], {"ev": state_of("ev")}, {"ev": {}}, schedule)]


def test_ten_vans_by_hand() -> None:
    """0.186 MWh for all need 0.2 MWh at the chargers; of 0.1 MWh that may be lent 0.08 MWh give 0.0744 MWh."""
    assert hourly([0, 0.05, 0.05, 0.05, 0.05, 0]) == []
    assert hourly([0, 0, 0.08, 0.08, 0.04, 0], unmet=0.0) == []
    assert hourly([0, 0, 0.05, 0.05, 0.05, 0], unmet=0.2 * 0.93 - 0.15 * 0.93) == []
    lent = [0, 0.0744, 0, 0, 0, 0]
    assert hourly([0, 0, 0.08, 0.08, 0.08, 0], lent, unmet=0.186 + 0.08 - 0.24 * 0.93) == []


@pytest.mark.parametrize(
    ("charge", "feed", "fault"),
    [
        ([0, 0, 0.05, 0.05, 0.05, 0], None, "ev/unmet_mwh"),
        ([0, 0.09, 0.05, 0.05, 0.01, 0], None, "ev/feeder"),
        ([0, 0.11, 0.05, 0.04, 0.0, 0], None, "ev/charge_mw van@2016-07-12"),
        ([0.05, 0.05, 0.05, 0.05, 0, 0], None, "ev/charge_mw van@2016-07-12"),
        ([0, 0.08, 0.08, 0.08, 0.05, 0], None, "ev/content of van@2016-07-12"),
        ([0, 0, 0.08, 0.08, 0.08, 0], [0, 0.1, 0, 0, 0, 0], "ev/content of van@2016-07-12"),
        ([0, 0.05, 0.07, 0.08, 0.08, 0], [0, 0.05, 0, 0, 0, 0], "ev/both directions"),
    ],
)
def test_the_check_finds_what_is_wrong(charge, feed, fault) -> None:
    assert any(f.startswith(fault) for f in hourly(charge, feed))


def test_power_that_no_car_takes_and_cars_that_are_not_there_are_found() -> None:
    good = [0, 0.05, 0.05, 0.05, 0.05, 0]
    assert hourly(good, power=-np.array(good) - 0.01)[0].startswith("ev/power_mw")
    ghost = {"charge_mw ghost@2016-07-12": np.zeros(6)}
    assert hourly(good, **ghost) == ["ev/charge_mw ghost@2016-07-12: no such stay"]


def test_a_day_of_23_hours_and_weekdays_are_kept() -> None:
    """On the night the clocks go forward, vans that stay from 01:00 to 05:00 are there for three hours."""
    q = ev_fleet.Params(**NIGHT)
    spring = TimeGrid.local_day(datetime(2016, 3, 27).date(), q.zone)
    stays = ev_fleet.stays_of(q, spring)
    assert [(s.begin_h, s.end_h) for s in stays] == [(1.0, 4.0)]
    workdays = {**NIGHT["sessions"][0], "weekdays": [0, 1, 2, 3, 4]}
    assert ev_fleet.stays_of(ev_fleet.Params(**{**NIGHT, "sessions": [workdays]}), spring) == []


def test_the_direction_decided_above_is_kept_without_a_binary() -> None:
    grid, asset = grid_of(0), asset_of("ev", "ev_fleet", ev_fleet.Params(**NIGHT))
    context = context_of(grid, {"ev": state_of("ev")})
    free = ev_fleet.block([asset], context)
    assert any(c.integer for c in free.columns)
    decided = (np.arange(grid.n) < 8).astype(np.int8)
    fixed = ev_fleet.block([asset], replace(context, committed={"ev": decided}))
    assert not any(c.integer for c in fixed.columns)
    prices = np.where(np.arange(grid.n) < 6, 900.0, 10.0)
    solved = solve_block(fixed, ["ev"], grid, prices)
    assert solved.injection[0, 4:6].min() > 0.0 and solved.injection[0, 8:].max() <= 1e-9


def test_sessions_that_cannot_be_served_are_refused() -> None:
    for change, reason in (
        ({"energy_mwh": 0.05}, "its charger gives"),
        ({"arrival": "25:00"}, "arrival"),
        ({"weekdays": [7]}, "weekdays are 0"),
        ({"count": 0}, "count"),
    ):
        with pytest.raises(ValidationError, match=reason):
            ev_fleet.Params(**{**NIGHT, "sessions": [{**NIGHT["sessions"][0], **change}]})
    with pytest.raises(ValidationError, match="same id"):
        ev_fleet.Params(**{**NIGHT, "sessions": NIGHT["sessions"] * 2})
    with pytest.raises(ValidationError, match="unknown zone"):
        ev_fleet.Params(**NIGHT, zone="Mars/Olympus")
