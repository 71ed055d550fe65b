"""One stage run: certified plans, contingencies of our own making, and the way down the ladder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest

from dispatch.exposure import Exposure
from dispatch.secure import secure_plan
from tests.service.conftest import ISSUED, Make, local
from vpp.domain.errors import NotConverged, NotSolved
from vpp.domain.schedule import DispatchRun, Solution
from vpp.domain.stage import LADDER, REAL_TIME
from vpp.domain.time import Array
from vpp.service import cascade
from vpp.service.arbitrate import unkept
from vpp.service.assemble import ALL_AT_DEFAULT, PRICE_TAKERS_TOGETHER, context_of, exposure_of, problem_of
from vpp.service.cascade import Candidate, committing, run_stage
from vpp.service.desk import Desk
from vpp.service.knowledge import gather
from vpp.service.plan import plan_report
from vpp.service.situation import Situation
from vpp.service.system import System

NOON = local("2016-07-12 11:00")
Secured = tuple[System, Situation, DispatchRun]


@pytest.fixture(scope="module")
def short(make: Make, checked: tuple) -> Situation:  # type: ignore[type-arg]
    """Two hours of the demo day's valley of prices, the section outage in force."""
    stages = tuple(
        replace(s, horizon=timedelta(hours=2), tail_step=None, deadline=timedelta(seconds=40))
        if s.name == "intraday"
        else s
        for s in checked[0].stages
    )
    return gather(make(NOON, stages=stages), "intraday", "roll", NOON, scenarios=4)


@pytest.fixture(scope="module")
def good(short: Situation) -> DispatchRun:
    """The certified plan of those two hours."""
    run = run_stage(short, "good", committing())
    assert run.level == "optimal"
    return run


@pytest.fixture
def candidates(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Candidate]]:
    """Every rung that was judged, in order."""
    seen: list[Candidate] = []
    judge = cascade._judged

    def kept(*args: object) -> Candidate:
        seen.append(judge(*args))  # type: ignore[arg-type]
        return seen[-1]

    monkeypatch.setattr(cascade, "_judged", kept)
    yield seen


def test_kinds_are_told_how_little_a_mwh_can_be_worth(short: Situation) -> None:
    """A surplus earns the price less the deviation; real time, which is convex, is told nothing."""
    told = context_of(short).lowest_value_eur_per_mwh
    price = short.price_eur_per_mwh
    assert told == pytest.approx(price - short.deviation_factor * np.abs(price) - 0.01)
    now = replace(short, stage=replace(short.stage, name=REAL_TIME))
    assert context_of(now).lowest_value_eur_per_mwh is None


def test_the_demo_days_plan_is_certified_clean(secured: Secured) -> None:
    _, s, run = secured
    assert (run.level, run.reason) == ("optimal", "")
    assert run.certificate is not None and run.solution is not None
    assert run.certificate.verdict == "clean"
    assert run.certificate.violations == ()
    assert run.certificate.contingencies == {ALL_AT_DEFAULT: 0, PRICE_TAKERS_TOGETHER: 0}
    assert run.certificate.scenarios == len(s.forecast.scenarios)
    assert run.solution.violations_first > 0, "without cuts it would have violated"
    assert run.solution.bound <= run.solution.objective + 1e-6


def test_without_security_it_overloads_a_line_and_breaks_a_voltage_limit(make: Make) -> None:
    s = gather(make(ISSUED), "day_ahead", "plan", ISSUED, scenarios=0)
    run = run_stage(s, "x", committing(False), secure=False)
    assert run.level == "optimal" and run.certificate is not None
    assert run.certificate.verdict == "violated"
    expected = [v for v in run.certificate.violations if v.case == "expected"]
    assert any(v.element.startswith("line") and v.unit == "%" and v.value > 100.0 for v in expected)
    assert any(v.element.startswith("bus") and v.unit == "pu" for v in expected)
    tan_phi = np.array([a.tan_phi for a in s.portfolio.assets])
    assert run.schedule.q_mvar == pytest.approx(tan_phi[:, None] * run.schedule.power_mw)
    assert plan_report(s, run)["costs"]["network"] == 0.0


def mean_forecast_only(s: Situation, exposure: Exposure | None) -> Solution:
    """A plan that is secure on the mean forecast, without its errors, and in no other case."""
    assert s.grid_side is not None and exposure is not None
    return secure_plan(
        problem_of(s), s.grid_side.network, replace(exposure, cases=(), errors=None),
        deadline_s=40.0, rel_gap=5e-3, max_rounds=12,
    ).solution  # fmt: skip


def test_a_plan_that_passes_on_the_mean_forecast_is_refused_for_all_price_takers_at_once(
    short: Situation, candidates: list[Candidate]
) -> None:
    run = run_stage(short, "x", mean_forecast_only)
    first = candidates[0]
    assert first.certificate is not None and first.faults == ()
    assert {v.case for v in first.certificate.violations} == {PRICE_TAKERS_TOGETHER}
    assert first.certificate.contingencies[PRICE_TAKERS_TOGETHER] > 0
    assert run.level != "optimal"
    assert PRICE_TAKERS_TOGETHER in run.reason


def test_a_plan_is_refused_for_what_its_devices_do_when_control_is_lost(
    short: Situation, good: DispatchRun, candidates: list[Candidate]
) -> None:
    """With all mills on the rota at once, the default of the fleet overloads the ring, whatever is planned."""
    rota = {a: dict(v) | ({"rota": np.ones(short.grid.n)} if "rota" in v else {}) for a, v in short.inputs.items()}
    s = replace(short, inputs=rota)
    assert good.solution is not None
    solution = good.solution
    run = run_stage(s, "x", lambda *_: solution)
    first = candidates[0]
    assert first.certificate is not None
    assert {v.case for v in first.certificate.violations} == {ALL_AT_DEFAULT}
    assert run.certificate is not None and run.certificate.verdict == "violated"


def refuse(*_: object) -> Solution:
    raise NotSolved("infeasible")


def diverge(*_: object) -> Solution:
    raise NotConverged("step 3")


def crash(*_: object) -> Solution:
    raise RuntimeError("the solver's library failed")


def changed(good: DispatchRun, power_mw: Array) -> Solution:
    """The good solution with another power."""
    assert good.solution is not None
    return replace(good.solution, schedule=replace(good.schedule, power_mw=power_mw))


def nonsense(good: DispatchRun) -> Callable[..., Solution]:
    """The good plan with one value that is no number."""
    power = good.schedule.power_mw.copy()
    power[0, 0] = np.nan
    return lambda *_: changed(good, power)


def unphysical(good: DispatchRun) -> Callable[..., Solution]:
    """The good plan with a battery far above its rating."""
    power = good.schedule.power_mw.copy()
    power[good.schedule.asset_ids.index("battery-steel"), 0] = 5.0
    return lambda *_: changed(good, power)


@pytest.mark.parametrize("solve", [refuse, diverge, crash, nonsense, unphysical], ids=lambda f: f.__name__)
def test_what_a_solver_does_wrong_leads_to_the_last_good_plan(
    short: Situation, good: DispatchRun, solve: Callable[..., object]
) -> None:
    solver = solve(good) if solve in (nonsense, unphysical) else solve
    run = run_stage(replace(short, last=good.schedule), "x", solver)  # type: ignore[arg-type]
    assert run.level == "last_good"
    assert run.reason.startswith("optimal: ")
    assert run.certificate is not None and run.certificate.verdict == "clean"
    assert np.isfinite(run.schedule.power_mw).all()
    assert run.schedule.power_mw == pytest.approx(good.schedule.power_mw, abs=1e-3)


def test_a_late_solver_is_left_behind(short: Situation, good: DispatchRun) -> None:
    late = replace(short.stage, deadline=timedelta())
    run = run_stage(replace(short, stage=late, last=good.schedule), "x", committing())
    assert (run.level, run.solution) == ("last_good", None)
    assert run.reason


def test_a_limit_that_one_asset_cannot_keep_leaves_the_plan_of_the_others(short: Situation) -> None:
    """The CHP gives what it can of an impossible order; nobody else falls down the ladder for it."""
    never = {"chp": (np.full(short.grid.n, 5.0), np.full(short.grid.n, 6.0))}
    run = run_stage(replace(short, limits=never), "x", committing())
    assert run.level == "optimal" and run.solution is not None
    most = short.portfolio.asset("chp").params.power_mw
    assert run.schedule.power_of("chp")[-1] == pytest.approx(most)
    assert run.solution.costs["limits"] > 1e4
    assert unkept(never, run.schedule)["chp"][2:] == (5.0, 6.0)


def test_a_kept_limit_costs_nothing_and_is_not_named(short: Situation) -> None:
    limits = {"battery-glass": (np.full(short.grid.n, -0.1), np.full(short.grid.n, 0.1))}
    run = run_stage(replace(short, limits=limits), "x", committing())
    assert run.level == "optimal" and run.solution is not None
    assert run.solution.costs["limits"] == pytest.approx(0.0, abs=1e-3)
    assert unkept(limits, run.schedule) == {}
    assert np.abs(run.schedule.power_of("battery-glass")).max() <= 0.1 + 1e-6


def test_without_a_last_plan_the_ladder_ends_in_merit_order_or_default(
    short: Situation, candidates: list[Candidate]
) -> None:
    run = run_stage(replace(short, last=None), "x", refuse)
    levels = [c.level for c in candidates]
    assert levels == ["merit_order", "device_default"][: len(levels)]
    assert run.level == levels[-1] or not candidates[-1].clean
    assert all(not c.faults for c in candidates), [c.why_not() for c in candidates]


def test_a_refused_certificate_moves_down(short: Situation, good: DispatchRun, candidates: list[Candidate]) -> None:
    run = run_stage(replace(short, last=good.schedule), "x", committing(False))
    assert [c.level for c in candidates] == ["optimal", "last_good"]
    assert run.level == "last_good"
    assert "line" in run.reason or "bus" in run.reason


def overloaded(s: Situation, factor: float) -> Situation:
    """Third-party load times `factor`."""
    loads = np.array([name.startswith("load:") for name in s.forecast.series])
    scale = np.where(loads, factor, 1.0)[:, None, None]
    drawn = s.forecast.scenarios * scale.reshape(1, -1, 1)
    return replace(s, forecast=replace(s.forecast, quantiles=s.forecast.quantiles * scale, scenarios=drawn))


def test_where_even_the_default_violates_the_least_violation_is_released(
    short: Situation, good: DispatchRun, candidates: list[Candidate]
) -> None:
    stage = replace(short.stage, deadline=timedelta(seconds=3))
    run = run_stage(overloaded(replace(short, stage=stage, last=good.schedule), 7.0), "x", committing())
    levels = [c.level for c in candidates]
    assert "device_default" in levels
    assert all(a in LADDER and LADDER.index(a) < LADDER.index(b) for a, b in pairwise(levels))
    assert all(not c.clean for c in candidates)
    least = min(candidates, key=lambda c: c.total_violation)
    assert run.level == least.level
    assert run.certificate is not None and least.certificate is not None
    assert run.certificate.verdict == "violated"
    assert run.certificate.violations == least.certificate.violations
    assert len(run.certificate.violations) > 0


def test_an_alarm_is_raised_for_a_violated_run(make: Make, short: Situation, good: DispatchRun) -> None:
    system = make(NOON)
    situation = overloaded(replace(short, last=good.schedule), 7.0)
    run = run_stage(situation, "x", refuse)
    desk = Desk(system)
    assert desk.claim("intraday", NOON, NOON)
    desk._record(run, [], "intraday", NOON, situation)
    alarms = system.store.alarms.list()
    assert [a.code for a in alarms] == ["violated"]
    assert run.certificate is not None
    assert system.store.runs.violations(("roll",)) == len(run.certificate.violations)
    system.store.close()


def test_an_alarm_is_raised_where_too_few_scenarios_of_a_days_plan_are_clean(
    make: Make, short: Situation, good: DispatchRun
) -> None:
    assert good.certificate is not None
    told = []
    for share, purpose in ((0.95, "plan"), (0.9, "plan"), (0.9, "roll")):
        system = make(NOON)
        desk = Desk(system)
        assert desk.claim("intraday", NOON, NOON)
        certificate = replace(good.certificate, scenarios=200, share_clean=share)
        desk._record(replace(good, reason="", purpose=purpose, certificate=certificate), [], "intraday", NOON, short)
        told.append([(a.code, a.message) for a in system.store.alarms.list()])
        system.store.close()
    assert told[0] == told[2] == []
    ((code, message),) = told[1]
    assert code == "scenarios"
    assert "90.0% of 200 scenarios without violation, target 95%" in message


def test_a_load_flow_that_fails_never_leaves_a_run_without_a_schedule(
    short: Situation, good: DispatchRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object, **__: object) -> None:
        raise NotConverged("the reference engine diverged")

    monkeypatch.setattr(cascade, "certify", lost)
    run = run_stage(replace(short, last=good.schedule), "x", refuse)
    assert run.certificate is not None and run.certificate.verdict == "violated"
    assert "the reference engine diverged" in run.reason
    assert np.isfinite(run.schedule.power_mw).all()


def test_the_same_situation_gives_the_same_schedule(short: Situation, good: DispatchRun) -> None:
    again = run_stage(short, "again", committing())
    assert again.inputs_digest == good.inputs_digest
    assert np.array_equal(again.schedule.power_mw, good.schedule.power_mw)
    assert again.certificate == good.certificate


def test_the_exposure_lists_what_we_can_do_wrong(short: Situation) -> None:
    exposure = exposure_of(short)
    assert exposure is not None
    assert exposure.names == ("expected", ALL_AT_DEFAULT, PRICE_TAKERS_TOGETHER)
    lost, together = exposure.cases
    assert not lost.keep.any()
    taker = short.portfolio.index["chambers"]
    assert not together.keep[taker].any() and together.keep[short.portfolio.index["mill-1"]].all()
    most = 1.3 * short.inputs["chambers"]["load_mw"]
    assert together.fixed_mw[taker] == pytest.approx(-most)
