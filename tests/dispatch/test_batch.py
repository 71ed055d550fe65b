"""The batch machine against a literal model, its windows, order and gaps, and the faults the check finds."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyomo.environ as pyo
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dispatch.assets import batch
from dispatch.block import EndValue
from dispatch.check import check_schedule
from dispatch.follow import follow
from dispatch.wish import Wish
from tests.dispatch.block_solver import solve_block
from tests.dispatch.oracle_tools import START, asset_of, context_of, grid_of, optimum
from vpp.domain.portfolio import AssetState
from vpp.domain.schedule import Schedule
from vpp.domain.time import TimeGrid

QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
QUARTERS = TimeGrid.uniform(START, timedelta(minutes=15), 32)


def clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def random_params(rng) -> batch.Params:
    """A production day from an hour before midnight on; the grid covers its first hours, windows overlap."""
    jobs, at = [], 0
    for k in range(3):
        profile = [{"minutes": int(rng.choice([7, 20, 30])), "power_mw": rng.uniform(0.5, 3.0)} for _ in range(2)]
        length, count = sum(p["minutes"] for p in profile), int(rng.integers(1, 3))
        last = at + (count - 1) * length + int(rng.integers(20, 150))
        jobs.append({"id": f"j{k}", "profile": profile, "count": count, "earliest": clock(at), "latest": clock(last),
                     "missed_eur": float(rng.choice([40.0, 2000.0]))})  # fmt: skip
        at += count * length
    return batch.Params(
        jobs=jobs, day_begins="23:00", turnaround_min=int(rng.choice([0, 5])), setup_min=int(rng.choice([0, 20])),
        max_gap_min=int(rng.choice([10, 40])) if rng.random() < 0.7 else None, break_eur=rng.uniform(20.0, 300.0),
    )  # fmt: skip


def minute_profile(job) -> np.ndarray:
    return np.concatenate([np.full(p.minutes, p.power_mw) for p in job.profile])


def what_runs(q, tasks, stored, horizon) -> tuple[int, float, np.ndarray]:
    """First task still to start, when the machine is free (minutes), and what the running task draws by minute."""
    first, left, free, mw = 0, stored, -np.inf, np.zeros(horizon)
    while first < len(tasks) and left > 1e-3:
        profile = minute_profile(tasks[first])
        if left >= profile.sum() / 60 - 1e-3:
            left, free = left - profile.sum() / 60, 0
        else:
            rest = profile[int(np.searchsorted(np.cumsum(profile) / 60, left - 1e-9) + 1) :]
            mw[: len(rest)] += rest[:horizon]
            left, free = 0.0, len(rest)
        first += 1
    return first, free, mw


def windows(tasks, pause, first, free, begin, horizon) -> tuple[dict[int, int], dict[int, int]]:
    """Earliest and latest start of each open task, minutes; a window missed by the state ends with the first start."""
    soonest, latest = {}, {}
    for k in range(first, len(tasks)):
        wanted = max(minute(tasks[k].earliest), free + pause[k] if k else 0, 0)
        later = begin[begin >= wanted]
        soonest[k] = int(later[0]) if later.size else max(int(wanted), horizon)
        latest[k], free = max(minute(tasks[k].latest), soonest[k]), soonest[k] + tasks[k].minutes
    return soonest, latest


def minute(at) -> int:
    return at.hour * 60 + at.minute


def order_and_gaps(m, q, tasks, pause, first, free, begin, horizon) -> None:
    """Pairs of choices that exclude each other, and those that break the sequence."""

    def due(ended, k):
        possible = begin[begin >= ended + pause[k]]
        return max(ended + q.max_gap_min, possible[0] if possible.size else horizon)

    def sequence(k):
        return q.max_gap_min is not None and k > 0 and tasks[k] is tasks[k - 1]

    if first in m.k and sequence(first):
        d = due(free, first)
        m.rules.add(m.broken[first] >= sum(m.y[first, t] for t in m.t if begin[t] > d))
        if d < horizon:
            m.rules.add(m.broken[first] >= m.later[first])
    for k in range(first + 1, len(tasks)):
        m.rules.add(sum(m.y[k, t] for t in m.t) <= sum(m.y[k - 1, t] for t in m.t))
        for s in m.t:
            ended = begin[s] + tasks[k - 1].minutes
            for t in m.t:
                if begin[t] < ended + pause[k]:
                    m.rules.add(m.y[k - 1, s] + m.y[k, t] <= 1)
                elif sequence(k) and begin[t] > due(ended, k):
                    m.rules.add(m.y[k - 1, s] + m.y[k, t] <= 1 + m.broken[k])
            if sequence(k) and due(ended, k) < horizon:
                m.rules.add(m.y[k - 1, s] + m.later[k] <= 1 + m.broken[k])


def oracle(q, grid, prices, stored, end) -> float:
    """One machine: a binary for every task and step, each pair of choices ruled out one by one."""
    tasks = [job for job in q.jobs for _ in range(job.count)]
    pause = [q.turnaround_min + q.setup_min * (k > 0 and job is not tasks[k - 1]) for k, job in enumerate(tasks)]
    begin, horizon = np.concatenate([[0], np.cumsum(grid.minutes)[:-1]]), sum(grid.minutes)
    first, free, mw = what_runs(q, tasks, stored, horizon)
    soonest, latest = windows(tasks, pause, first, free, begin, horizon)
    m = pyo.ConcreteModel()
    m.k, m.t = pyo.Set(initialize=list(soonest)), pyo.RangeSet(0, grid.n - 1)
    m.y = pyo.Var(m.k, m.t, domain=pyo.Binary)
    m.missed, m.later, m.broken = (pyo.Var(m.k, domain=pyo.Binary) for _ in range(3))
    m.rules, spent = pyo.ConstraintList(), 0
    drawn = [mw[begin[t] : begin[t] + grid.minutes[t]].sum() / 60 for t in m.t]
    for k in m.k:
        profile, waits = minute_profile(tasks[k]), latest[k] + tasks[k].minutes > horizon
        for t in m.t:
            if not soonest[k] <= begin[t] <= latest[k] or begin[t] + len(profile) > horizon:
                m.y[k, t].fix(0)
            shifted = np.zeros(horizon + len(profile))
            shifted[begin[t] : begin[t] + len(profile)] = profile
            for s in m.t:
                drawn[s] += m.y[k, t] * float(shifted[begin[s] : begin[s] + grid.minutes[s]].sum() / 60)
        m.later[k].setub(int(waits))
        m.rules.add(sum(m.y[k, t] for t in m.t) + m.missed[k] + m.later[k] == 1)
        spent += tasks[k].missed_eur * m.missed[k] + q.break_eur * m.broken[k]
        before = m.missed[k - 1] if k > first else 0
        m.rules.add(m.missed[k] >= before)
        if waits:
            m.rules.add(m.missed[k] <= before)
    order_and_gaps(m, q, tasks, pause, first, free, begin, horizon)
    spent += sum(prices[t] * drawn[t] for t in m.t)
    if end is not None:
        m.s = pyo.Var(range(len(end.value)), bounds=lambda _, i: (0, float(end.width_mwh[i])))
        m.rules.add(sum(m.s[i] for i in m.s) <= stored + sum(drawn[t] for t in m.t))
        spent -= sum(float(end.value[i]) * m.s[i] for i in m.s)
    m.cost = pyo.Objective(expr=spent)
    return optimum(m)


def machine(q, stored: float = 0.0, name: str = "m", since: int = 0, **more) -> tuple:
    on = bool(stored > 0.0)
    return asset_of(name, "batch", q), AssetState(name, START, START, 0.0, stored, on, since, **more)


@pytest.mark.parametrize("valued", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_equals_the_literal_model(seed: int, valued: bool) -> None:
    rng, grid = np.random.default_rng(seed), grid_of(seed)
    prices = rng.uniform(-20.0, 200.0, grid.n)
    fleet, states, expected, ends = [], {}, 0.0, {}
    for i in range(2):
        q = random_params(rng)
        q = q.model_copy(update={"max_gap_min": None}) if seed % 3 == 0 else q
        profile = minute_profile(q.jobs[0])
        stored = float(np.cumsum(profile)[rng.integers(1, len(profile))] / 60) if rng.random() < 0.5 else 0.0
        asset, states[f"m{i}"] = machine(q, stored, f"m{i}")
        fleet.append(asset)
        if valued:
            ends[asset.id] = EndValue(np.array([2.0, 1e6]), np.array([110.0, 60.0]))
        expected += oracle(q, grid, prices, stored, ends.get(asset.id))
    block = batch.block(fleet, context_of(grid, states, end_value=ends))
    solved = solve_block(block, [a.id for a in fleet], grid, prices)
    assert solved.objective == pytest.approx(expected, rel=1e-6, abs=1e-6)
    relaxed = replace(block, columns=tuple(replace(c, integer=False) for c in block.columns))
    bound = solve_block(relaxed, [a.id for a in fleet], grid, prices).objective
    assert bound <= solved.objective + 1e-6
    if not valued and all(a.params.max_gap_min is None for a in fleet):
        assert bound == pytest.approx(solved.objective, rel=1e-6, abs=1e-6), "order rows are those of a network"


HEATS = {
    "jobs": [{"id": "heat", "profile": [{"minutes": 15, "power_mw": 1.0}, {"minutes": 30, "power_mw": 3.0}], "count": 3,
              "earliest": "01:00", "latest": "05:00", "missed_eur": 500.0}],
    "day_begins": "23:00", "turnaround_min": 15, "max_gap_min": 30, "break_eur": 100.0,
}  # fmt: skip


def told(starts: list[int], stored: float = 0.0, since: int = 0, changes=None, **more) -> list[str]:
    """Faults of three heats of 45 minutes started with the quarters `starts` of a night."""
    asset, state = machine(batch.Params(**{**HEATS, **(changes or {})}), stored, since=since)
    drawn, on, start = np.zeros(32), np.zeros(32), np.zeros(32)
    for t in starts:
        drawn[t : t + 3] += [1.0, 3.0, 3.0]
        on[t : t + 3], start[t] = 1.0, 1.0
    decisions = {"start": start, "broken": np.zeros(32), "missed": np.zeros(32), **more}
    power, on = decisions.pop("power", -drawn), decisions.pop("on", on)
    schedule = Schedule(
        ("m",), QUARTERS, np.array([power]), np.zeros((1, 32)), commitment={"m": on}, decisions={"m": decisions}
    )
    return [str(f) for f in check_schedule([asset], {"m": state}, {"m": {}}, schedule)]


def test_three_heats_by_hand() -> None:
    """From 01:00 on; 15 minutes between heats at least, 30 at most."""
    assert told([4, 8, 12]) == []
    assert told([4, 9, 14]) == []
    assert told([12, 16, 20]) == []
    assert told([4, 8, 16], broken=np.eye(32)[16]) == []
    assert told([4, 8], missed=np.eye(32)[0]) == []


@pytest.mark.parametrize(
    ("starts", "more", "fault"),
    [
        ([3, 7, 11], {}, "m/window"),
        ([16, 20, 24], {}, "m/window"),
        ([4, 7, 11], {}, "m/order"),
        ([4, 6, 12], {}, "m/order"),
        ([4, 8, 16], {}, "m/broken"),
        ([4, 8], {}, "m/missed"),
        ([4, 8, 12], {"missed": np.eye(32)[0]}, "m/missed"),
        ([4, 8, 12, 16], {}, "m/start"),
        ([4, 8, 12], {"power": -np.ones(32)}, "m/power_mw"),
        ([4, 8, 12], {"on": np.zeros(32)}, "m/commitment"),
        ([4, 8, 12], {"start": np.eye(32)[4] + np.eye(32)[8] + 0.5 * np.eye(32)[12]}, "m/start"),
    ],
)
def test_the_check_finds_what_is_wrong(starts, more, fault) -> None:
    assert any(f.startswith(fault) for f in told(starts, **more))


def test_a_heat_that_runs_is_finished_and_the_next_one_follows_it() -> None:
    """A third of the energy of 1.75 MWh is drawn: a quarter at 1 MW, then 0.333 MWh at 3 MW."""
    stored = 0.25 + 1.0 / 3.0
    asset, state = machine(batch.Params(**{**HEATS, "max_gap_min": None}), stored)
    context = context_of(QUARTERS, {"m": state})
    prices = np.where(np.arange(32) < 24, 50.0, 40.0)
    block = batch.block([asset], context)
    solved = solve_block(block, ["m"], QUARTERS, prices)
    left_min = 30 - 1.0 / 3.0 / 3.0 * 60
    assert -solved.injection[0, 0] == pytest.approx(3.0)
    assert -solved.injection[0, 1] == pytest.approx(3.0 * (left_min - 15) / 15)
    result = block.read(solved.x, {})["m"]
    assert result.commitment[:3].tolist() == [1.0, 1.0, 0.0]
    assert result.stored_mwh[1] == pytest.approx(1.75)
    assert result.decisions["start"][4:].sum() == 2.0
    schedule = Schedule(
        ("m",), QUARTERS, solved.injection, 0 * solved.injection, {"m": result.commitment},
        {"m": result.stored_mwh}, {"m": result.decisions},
    )  # fmt: skip
    assert check_schedule([asset], {"m": state}, {"m": {}}, schedule) == []


def test_a_machine_out_of_service_makes_nothing() -> None:
    asset, state = machine(batch.Params(**HEATS), available=False)
    solved = solve_block(batch.block([asset], context_of(QUARTERS, {"m": state})), ["m"], QUARTERS, np.full(32, 50.0))
    assert not solved.injection.any() and solved.objective == pytest.approx(1500.0)


def test_what_was_announced_is_kept() -> None:
    """A start at 02:00 is announced and nothing before it; the cheapest hour would have been the first."""
    asset, state = machine(batch.Params(**HEATS))
    decided = np.full(32, -1, dtype=np.int8)
    decided[:8], decided[8:10] = 0, 1
    context = replace(context_of(QUARTERS, {"m": state}), committed={"m": decided})
    block = batch.block([asset], context)
    solved = solve_block(block, ["m"], QUARTERS, np.linspace(10.0, 300.0, 32))
    assert np.flatnonzero(block.read(solved.x, {})["m"].decisions["start"])[0] == 8


@pytest.mark.parametrize("seed", range(4))
def test_a_plan_names_its_own_starts_as_a_hint(seed: int) -> None:
    """The commitment of an optimal plan gives back the starts that made it, so that it can be repaired."""
    rng = np.random.default_rng(seed)
    fleet, states = [], {}
    for i in range(2):
        asset, states[f"m{i}"] = machine(random_params(rng), name=f"m{i}")
        fleet.append(asset)
    end = {a.id: EndValue(np.array([99.0]), np.array([150.0])) for a in fleet}
    block = batch.block(fleet, context_of(QUARTERS, states, end_value=end))
    solved = solve_block(block, [a.id for a in fleet], QUARTERS, rng.uniform(20.0, 120.0, 32))
    known = {a: r.commitment for a, r in block.read(solved.x, {}).items()}
    assert block.hinted is not None and block.hinted({}) is None
    size = block.columns[0].size
    assert solved.x[:size].sum() > 4.0
    assert block.hinted(known)[:size] == pytest.approx(solved.x[:size], abs=1e-6)


def test_a_new_production_day_begins_with_nothing_done() -> None:
    changes = {
        "day_begins": "03:00",
        "jobs": [{**HEATS["jobs"][0], "earliest": "04:00", "latest": "06:00", "count": 2}],
    }
    asset, state = machine(batch.Params(**{**HEATS, **changes}), stored=3.5)
    block = batch.block(
        [asset], context_of(QUARTERS, {"m": state}, end_value={"m": EndValue(np.array([9.0]), np.array([99.0]))})
    )
    solved = solve_block(block, ["m"], QUARTERS, np.full(32, 50.0))
    result = block.read(solved.x, {})["m"]
    assert result.stored_mwh[11] == pytest.approx(3.5) and result.stored_mwh[12] == pytest.approx(0.0)
    assert result.decisions["start"].sum() == 2.0 and result.stored_mwh[-1] == pytest.approx(3.5)


@settings(max_examples=40, deadline=None, phases=QUICK)
@given(st.integers(0, 10_000), st.integers(0, 1), st.booleans())
def test_any_wish_is_followed_inside_windows_order_and_gaps(seed: int, which: int, none: bool) -> None:
    rng, grid = np.random.default_rng(seed), grid_of(which)
    q = random_params(rng)
    share = rng.choice([0.0, 0.4, 1.0])
    asset, state = machine(q, float(minute_profile(q.jobs[0]).sum() / 60 * share))
    wanted = np.zeros(grid.n) if none else -q.power_mw * rng.choice([0.0, 1.0], grid.n)
    schedule = follow([Wish(asset, state, grid, wanted, {})])
    assert check_schedule([asset], {"m": state}, {"m": {}}, schedule) == []


def test_nobody_wishes_and_every_heat_is_made_at_the_last_moment_without_a_break() -> None:
    asset, state = machine(batch.Params(**HEATS))
    schedule = follow([Wish(asset, state, QUARTERS, np.zeros(32), {})])
    starts = np.flatnonzero(schedule.decisions["m"]["start"])
    assert starts.size == 3 and starts[0] >= 8 and starts[-1] == 20
    assert not schedule.decisions["m"]["broken"].any() and not schedule.decisions["m"]["missed"].any()


def test_an_order_not_to_consume_keeps_heats_from_starting() -> None:
    asset, state = machine(batch.Params(**HEATS))
    schedule = follow([Wish(asset, state, QUARTERS, np.full(32, -3.0), {}, lower_mw=-2.0)])
    assert not schedule.power_mw.any()
    assert schedule.decisions["m"]["missed"].sum() == 3.0


def test_the_profile_keeps_its_energy_on_every_grid() -> None:
    asset, state = machine(batch.Params(**{**HEATS, "max_gap_min": None}))
    for minutes in ((15,) * 32, (60,) * 8, (5,) * 60 + (30, 90, 60), (20,) * 24):
        grid = TimeGrid(START, minutes)
        drawn = -batch.default_mw(asset, state, {}, grid) @ grid.hours
        assert drawn == pytest.approx(3 * 1.75)


def test_jobs_that_do_not_fit_are_refused() -> None:
    job = HEATS["jobs"][0]
    for changes, reason in (
        ({"jobs": [{**job, "earliest": "06:00", "latest": "05:00"}]}, "earliest lies after latest"),
        ({"jobs": [{**job, "latest": "22:30"}]}, "runs past the production day"),
        ({"jobs": [{**job, "count": 40}]}, "a production day has 1440"),
        ({"jobs": [job, job]}, "same id"),
        ({"zone": "Mars/Olympus"}, "unknown zone"),
    ):
        with pytest.raises(ValidationError, match=reason):
            batch.Params(**{**HEATS, **changes})
    assert batch.Params(**HEATS).power_mw == 3.0
