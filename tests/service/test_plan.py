"""`vpp plan` as JSON and its independent check: what is untouched is clean, what is tampered with is named."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from tests.adapters.examples import FAULTS
from tests.service.conftest import DAY, DEMO, ISSUED, Make
from vpp.domain.command import Priority, Proposal
from vpp.domain.schedule import DispatchRun
from vpp.domain.time import QUARTER, TimeGrid, local_midnight
from vpp.service import check_file as module
from vpp.service.cascade import committing, run_stage
from vpp.service.check_file import check_file
from vpp.service.knowledge import gather
from vpp.service.plan import check_plan, fault_check_json, parse_plan, plan_report
from vpp.service.settings import Settings
from vpp.service.situation import Situation
from vpp.service.system import System

Body = dict[str, Any]
Secured = tuple[System, Situation, DispatchRun]


@pytest.fixture(scope="module")
def report(secured: Secured) -> Body:
    """What `vpp plan --json` writes for the demo day, read back."""
    _, situation, run = secured
    read: Body = json.loads(json.dumps(plan_report(situation, run), allow_nan=False))
    return read


@pytest.fixture(scope="module")
def offgrid(make: Make) -> System:
    """The physics without the network: fast."""
    return make(ISSUED, network=False)


def found(system: System, body: Body) -> list[str]:
    return check_plan(system, ISSUED, parse_plan(json.dumps(body), system.portfolio.index))


def test_it_has_every_field_of_the_contract(report: Body) -> None:
    scalar = {"objective", "bound", "gap", "gap_abs", "level", "status", "rounds", "violations_first"}
    lists = {"schedule", "q_mvar", "commitment", "energy_mwh", "decisions", "prices", "times"}
    other = {"violations_final", "wall_s", "step", "initial_state", "inputs_digest", "certificate"}
    assert scalar | lists | other <= report.keys()
    assert set(report["wall_s"]) == {"forecast", "build", "solve", "ac", "certify", "total"}
    certificate = {"verdict", "engine", "scenarios", "share_clean", "worst", "contingencies", "violations"}
    assert certificate <= report["certificate"].keys()
    assert {"element", "step", "value", "limit"} <= report["certificate"]["worst"].keys()
    assert report["gap_abs"] == pytest.approx(abs(report["objective"] - report["bound"]))
    assert report["gap"] == pytest.approx(report["gap_abs"] / max(1.0, abs(report["objective"])))


def test_the_certificate_lists_what_it_looked_at(report: Body) -> None:
    """Both transformers of the demo's substation can stand in for each other, on the day and in its planned state."""
    certificate = report["certificate"]
    found = {f["name"]: f for f in certificate["after_faults"]}
    assert set(found) == {"one_transformer_out", "planned_switching"}
    named = {"expected", "one_transformer_out", "planned_switching", f"{certificate['scenarios']} scenarios"}
    assert named | certificate["contingencies"].keys() == set(certificate["checked"])
    assert found["one_transformer_out"]["checked"] > 0 and found["one_transformer_out"]["note"] == ""
    assert not any(f["binding"] for f in found.values())


def test_contingencies_are_told_with_their_worst_violations() -> None:
    told = fault_check_json(FAULTS[0], TimeGrid.uniform(ISSUED, QUARTER, 4))
    (broken,) = told["broken"]
    assert (told["name"], told["binding"], told["checked"]) == ("one_transformer_out", True, 2)
    assert (broken["outage"], broken["violated_steps"], broken["unsupplied_mw"]) == ("trafo 0", 2, 1.5)
    assert [(v["element"], v["value"], v["limit"]) for v in broken["worst"]] == [
        ("line 84", 130.0, 120.0), ("bus 7", 0.94, 0.95),
    ]  # fmt: skip
    again = fault_check_json(FAULTS[1], TimeGrid.uniform(ISSUED, QUARTER, 4))
    assert again["relieved"] == {"line 3": "load cut"} and len(again["lasting"]) == 1


def test_times_run_from_ten_oclock_of_the_day_before_to_the_end_of_the_day(report: Body) -> None:
    times = [datetime.fromisoformat(t) for t in report["times"]]
    assert report["step"] == "PT15M"
    assert (times[0], len(times)) == (ISSUED, 152)
    assert times[-1] + QUARTER == local_midnight(DAY + timedelta(days=1), "Europe/Berlin")
    assert all(t.endswith("Z") for t in report["times"])


@pytest.mark.parametrize("minutes", [30, 60])
def test_a_plan_in_longer_steps_says_so_and_is_checked_in_them(make: Make, minutes: int) -> None:
    system = make(ISSUED)
    step = timedelta(minutes=minutes)
    stages = tuple(replace(s, step=step) if s.name == "day_ahead" else s for s in system.loaded.stages)
    system.loaded = replace(system.loaded, stages=stages)
    situation = gather(system, "day_ahead", "plan", ISSUED, scenarios=0)
    body = json.loads(json.dumps(plan_report(situation, run_stage(situation, "x", committing()))))
    assert (body["step"], len(body["times"])) == ("PT30M" if minutes == 30 else "PT1H", 38 * 60 // minutes)
    assert found(system, body) == []
    body["schedule"]["battery-glass"][0] += 0.1
    assert any(f.startswith("battery-glass/") for f in found(system, body))
    assert found(make(ISSUED, network=False), body) == [f"plan/step: is {body['step']}, the portfolio plans in PT15M"]


def test_every_list_is_as_long_as_times(report: Body, offgrid: System) -> None:
    n = len(report["times"])
    for name in ("schedule", "q_mvar"):
        assert report[name].keys() == offgrid.portfolio.index.keys()
    rows = [v for name in ("schedule", "q_mvar", "commitment", "energy_mwh") for v in report[name].values()]
    rows += [v for d in report["decisions"].values() for v in d.values()]
    rows.append(report["prices"]["market_eur_per_mwh"])
    assert {len(r) for r in rows} == {n}
    assert report["commitment"].keys() >= {"mill-1", "mill-2", "mill-3", "chp"}
    assert {v for row in report["commitment"].values() for v in row} <= {0, 1}
    assert "boiler_mw_th" in report["decisions"]["chp"]
    assert report["initial_state"]["mill-2"] == {
        "power_mw": -1.5, "stored_mwh": 5.28, "on": True, "minutes_in_state": 120,
    }  # fmt: skip


def test_the_balance_of_a_battery_can_be_recomputed_by_hand(report: Body) -> None:
    """e[t] = e[t-1] (1 - loss h) + h (0.94 c - d / 0.94), energy at the end of the interval."""
    energy = 1.5
    for p, told in zip(report["schedule"]["battery-glass"], report["energy_mwh"]["battery-glass"], strict=True):
        energy = energy * (1 - 0.0002 * 0.25) + 0.25 * (0.94 * max(-p, 0.0) - max(p, 0.0) / 0.94)
        assert told == pytest.approx(energy, abs=1e-4)


def test_the_untouched_file_is_clean(
    report: Body, secured: Secured, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "prepare_day", lambda *_: (secured[0], ISSUED))
    monkeypatch.setattr(System, "new_faults", lambda self, at: [("data steel: frozen", f"steel: frozen at {at}")])
    told: list[str] = []
    assert check_file(json.dumps(report), DEMO, settings, None, lambda *_: None, told.append) == []
    assert told == [f"steel: frozen at {ISSUED}"]


def tamper_power(body: Body) -> None:
    body["schedule"]["battery-steel"][40] += 0.2


def tamper_rating(body: Body) -> None:
    body["schedule"]["battery-glass"][10] = 1.8


def tamper_commitment(body: Body) -> None:
    body["commitment"]["chp"] = [1 - v for v in body["commitment"]["chp"]]


def tamper_energy(body: Body) -> None:
    body["energy_mwh"]["cooling"][77] += 0.1


def tamper_decision(body: Body) -> None:
    body["decisions"]["chp"]["boiler_mw_th"][20] += 0.5


def tamper_silo(body: Body) -> None:
    body["decisions"]["mill-1"]["silo_t"][30] += 50.0


def tamper_q(body: Body) -> None:
    body["q_mvar"]["offices"][5] += 0.1


def tamper_state(body: Body) -> None:
    body["initial_state"]["battery-shopping"]["stored_mwh"] = 0.6


def tamper_minutes(body: Body) -> None:
    body["initial_state"]["mill-2"]["minutes_in_state"] = 1


@pytest.mark.parametrize(
    ("tamper", "asset"),
    [
        (tamper_power, "battery-steel"), (tamper_rating, "battery-glass"), (tamper_commitment, "chp"),
        (tamper_energy, "cooling"), (tamper_decision, "chp"), (tamper_silo, "mill-1"), (tamper_q, "offices"),
        (tamper_state, "battery-shopping"), (tamper_minutes, "mill-2"),
    ],
)  # fmt: skip
def test_what_is_tampered_with_is_named(
    offgrid: System, report: Body, tamper: Callable[[Body], None], asset: str
) -> None:
    body = copy.deepcopy(report)
    assert found(offgrid, body) == []
    tamper(body)
    named = found(offgrid, body)
    assert named and {line.split("/")[0] for line in named} == {asset}, named


def test_an_overloaded_line_is_named(secured: Secured, report: Body) -> None:
    """All mills, cooling and price-takers at noon: physics allows it, the ring does not."""
    body = copy.deepcopy(report)
    for asset, mw in {"mill-1": -1.2, "mill-2": -1.5, "mill-3": -1.8, "extruders": -0.845, "chambers": -0.975}.items():
        body["schedule"][asset][104:112] = [mw] * 8
    lines = found(secured[0], body)
    assert any(line.startswith("line 18/expected: ") and "%" in line for line in lines)


def test_an_ordered_limit_is_named(offgrid: System, report: Body) -> None:
    row = np.array(report["schedule"]["wind-89"])
    t = int(np.argmax(row))
    start = ISSUED + t * QUARTER
    limit = Proposal("p", "wind-89", "desk", Priority.GRID_EMERGENCY, start, start + QUARTER, 0.0, row[t] / 2)
    offgrid.store.events.add_proposal(limit)
    try:
        assert [line.split("/")[0] for line in found(offgrid, report)] == ["wind-89"]
    finally:
        offgrid.store.events.cancel_proposal("p")


def test_a_plan_of_another_time_is_refused(offgrid: System, report: Body) -> None:
    later = copy.deepcopy(report)
    later["times"] = [t.replace("2016-07-1", "2016-08-1") for t in report["times"]]
    assert found(offgrid, later)[0].startswith("plan/times: begin at ")
    short = {k: v for k, v in copy.deepcopy(report).items() if k in ("times", "step", "schedule")}
    short["times"] = short["times"][:-4]
    short["schedule"] = {a: v[:-4] for a, v in short["schedule"].items()}
    assert found(offgrid, short)[0].startswith("plan/times: end at ")
