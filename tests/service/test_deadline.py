"""`vpp plan --deadline S`: a feasible plan with its true gap, however short S is."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from dispatch.check import check_schedule
from tests.service.conftest import ISSUED, Make
from vpp.domain.errors import NotSolved
from vpp.domain.schedule import DispatchRun
from vpp.domain.stage import LADDER
from vpp.service.cli import app
from vpp.service.knowledge import gather
from vpp.service.plan import plan_day, plan_report
from vpp.service.situation import Situation
from vpp.service.system import System

Secured = tuple[System, Situation, DispatchRun]


@pytest.fixture(autouse=True)
def few_scenarios(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenarios are counted and not judged, so four are as good as two hundred here."""
    monkeypatch.setattr("vpp.service.plan.gather", partial(gather, scenarios=4))


@pytest.mark.parametrize("deadline_s", [1.0, 5.0])
def test_the_demos_plan_is_feasible_and_its_gap_is_true(make: Make, secured: Secured, deadline_s: float) -> None:
    system = make(ISSUED)
    situation, run = plan_day(system, ISSUED, True, deadline_s)
    report = json.loads(json.dumps(plan_report(situation, run), allow_nan=False))
    assert check_schedule(situation.dispatched, situation.states, situation.inputs, run.schedule) == []
    assert report["deadline_s"] == deadline_s
    assert report["level"] in LADDER
    other = secured[2].solution
    if report["level"] == "optimal":
        assert report["no_gap"] is None
        assert report["bound"] <= report["objective"] + 1e-6
        assert other is None or report["bound"] <= other.objective + 1e-6, "no plan lies below a bound"
        assert report["gap"] == pytest.approx((report["objective"] - report["bound"]) / abs(report["objective"]))
    else:
        assert report["reason"]
        assert report["gap"] is None
        assert "fallback" in report["no_gap"]
    if report["certificate"]["verdict"] == "clean":
        assert report["violations_final"] == 0
    else:
        assert report["violations_final"] > 0, "what is not clean says so"
    system.store.close()


def test_with_a_second_for_the_optimum_alone_the_plan_needs_no_mip(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """However late the MIPs are, the known commitment, made feasible by an LP and by cuts, is a plan."""
    from dispatch import heuristics
    from dispatch.solvers.highs_door import Living
    from vpp.domain.errors import NotSolved

    def late(*_: object, **__: object) -> None:
        raise NotSolved("late: the time limit passed without a solution")

    monkeypatch.setattr(heuristics, "solve_alone", late)
    monkeypatch.setattr(Living, "solve_mip", late)
    monkeypatch.setattr(Living, "solve_near", late)
    system = make(ISSUED)
    report = plan_report(*plan_day(system, ISSUED, True, 60.0))
    assert report["level"] == "optimal", report["reason"]
    assert report["certificate"]["verdict"] == "clean"
    assert 0.0 < report["gap"] < 1.0
    assert report["status"] == "feasible"
    system.store.close()


def test_without_a_deadline_the_stages_own_is_told(make: Make) -> None:
    situation = gather(make(ISSUED), "day_ahead", "plan", ISSUED, scenarios=0)
    assert situation.stage.deadline.total_seconds() == 20.0


def test_the_command_passes_it_on(secured: Secured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[object] = []
    _, situation, run = secured

    def planned(*args: object) -> tuple[Situation, DispatchRun]:
        seen.append(args[-1])
        return situation, run

    unfaulty = SimpleNamespace(new_faults=lambda _: ())
    monkeypatch.setattr("vpp.service.plan.prepare_day", lambda *_: (unfaulty, ISSUED))
    monkeypatch.setattr("vpp.service.plan.plan_day", planned)
    target = tmp_path / "plan.json"
    assert CliRunner().invoke(app, ["plan", "--deadline", "2.5", "--json", str(target)]).exit_code == 0
    assert CliRunner().invoke(app, ["plan", "--json", str(target)]).exit_code == 0
    assert seen == [2.5, None]
    assert json.loads(target.read_text())["deadline_s"] == 20.0
    refused = CliRunner().invoke(app, ["plan", "--deadline", "0"])
    assert refused.exit_code == 2


@pytest.mark.parametrize("seconds", ["inf", "nan", "-inf", "0", "86401"])
def test_a_deadline_that_is_no_time_is_refused(seconds: str) -> None:
    refused = CliRunner().invoke(app, ["plan", "--deadline", seconds])
    assert refused.exit_code == 2
    assert "seconds" in refused.output


def test_a_fallback_says_why_it_has_no_gap(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: object, **__: object) -> None:
        raise NotSolved("late")

    monkeypatch.setattr("vpp.service.cascade.one_way_plan", late)
    report = plan_report(*plan_day(make(ISSUED, network=False), ISSUED, False, 1.0))
    assert (report["status"], report["objective"], report["bound"], report["gap"]) == ("fallback", None, None, None)
    assert report["no_gap"].startswith("this is a fallback schedule")
    assert "late" in report["reason"]
