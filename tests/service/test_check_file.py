"""`vpp check` on files that are no plan: every fault at once, and nothing is started for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import DEMO
from vpp.domain.errors import InputFaults
from vpp.service import check_file as module
from vpp.service.check_file import check_file
from vpp.service.plan import parse_plan
from vpp.service.portfolio import load_portfolio
from vpp.service.settings import Settings

KNOWN = {"a": 0, "b": 1}


def body(**changes: Any) -> dict[str, Any]:
    """Two quarters of two assets."""
    times = ["2016-07-11T08:00:00Z", "2016-07-11T08:15:00Z"]
    return {"times": times, "step": "PT15M", "schedule": {"a": [1.0, 2.0], "b": [0.0, 0.0]}, **changes}


def faults(**changes: Any) -> list[str]:
    with pytest.raises(InputFaults) as wrong:
        parse_plan(json.dumps(body(**changes)), KNOWN)
    return [str(f) for f in wrong.value.faults]


def test_a_plan_is_read() -> None:
    plan = parse_plan(json.dumps(body(costs={"energy": 1.0}, commitment={"a": [0, 1]})), KNOWN)
    assert plan.schedule["a"] == [1.0, 2.0]
    assert plan.commitment == {"a": [0, 1]}


def test_every_fault_of_a_file_is_listed_at_once() -> None:
    found = faults(
        schedule={"a": [float("nan"), 2.0], "b": [0.0], "ghost": [0.0, 0.0]},
        commitment={"spook": [0, 1]},
        energy_mwh={"a": [1.0, 2.0, 3.0]},
    )
    assert any(f.startswith("plan/schedule.a.0: ") for f in found)
    assert "b/schedule: has 1 values for 2 times" in found
    assert "ghost/schedule: is no asset of the portfolio" in found
    assert "spook/commitment: is no asset of the portfolio" in found
    assert "a/energy_mwh: has 3 values for 2 times" in found


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"schedule": {"a": [1.0, 2.0]}}, "b/schedule: is missing"),
        ({"times": []}, "plan/times: is empty"),
        ({"times": ["2016-07-11T08:00:00Z", "2016-07-11T09:00:00Z"]}, "plan/times: are not consecutive steps of PT15M"),
        ({"step": "PT20M"}, "plan/step: PT20M over 2 times; must be PT15M, PT30M, PT1H"),
        ({"step": "PT1H"}, "plan/times: are not consecutive steps of PT1H"),
        ({"decisions": {"a": {"boiler_mw_th": [1.0]}}}, "a/decisions.boiler_mw_th: has 1 values for 2 times"),
        ({"q_mvar": {"ghost": [0.0, 0.0]}}, "ghost/q_mvar: is no asset of the portfolio"),
        ({"initial_state": {"ghost": {"power_mw": 0, "stored_mwh": 0, "on": False, "minutes_in_state": 1}}},
         "ghost/initial_state: is no asset of the portfolio"),
    ],
)  # fmt: skip
def test_one_fault(changes: dict[str, Any], fault: str) -> None:
    assert fault in faults(**changes)


@pytest.mark.parametrize(
    "time", ["2016-07-11T08:00:00", "yesterday", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
)
def test_times_need_a_zone(time: str) -> None:
    assert [f for f in faults(times=[time, "2016-07-11T08:15:00Z"]) if f.startswith("plan/times.0")]


def test_a_time_without_a_place_in_the_calendar_says_which_years_have_one() -> None:
    found = faults(times=["2016-07-11T08:00:00Z", "9999-12-31T23:59:59-14:00"])
    assert found == ["plan/times.1: must lie in the years 1970 to 2199"]


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), "one", None])
def test_only_numbers_are_power(value: object) -> None:
    assert [f for f in faults(schedule={"a": [value, 1.0], "b": [0.0, 0.0]}) if f.startswith("plan/schedule.a.0")]


def test_commitment_is_whole() -> None:
    assert [f for f in faults(commitment={"a": [0.5, 1]}) if f.startswith("plan/commitment.a.0")]


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"times": 3}', "[" * 100_000, '{"times": ' + "[" * 100_000])
def test_what_is_no_plan_at_all(text: str) -> None:
    with pytest.raises(InputFaults):
        parse_plan(text, KNOWN)


def test_nothing_is_started_for_a_faulty_file(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("started")

    monkeypatch.setattr(module, "prepare_day", never)
    monkeypatch.setattr(module, "open_system", never)
    with pytest.raises(InputFaults) as wrong:
        check_file(json.dumps(body()), DEMO, settings, None, lambda *_: None, print)
    missing = {f.where for f in wrong.value.faults if f.reason == "is missing"}
    assert missing == load_portfolio(DEMO).portfolio.index.keys()
    with pytest.raises(InputFaults):
        check_file("{}", DEMO, settings, Path("none.db"), lambda *_: None, print)


def test_a_record_that_is_none_is_not_made(settings: Settings, tmp_path: Path) -> None:
    """A missing file would otherwise become an empty record that agrees with everything."""
    known = load_portfolio(DEMO).portfolio.index
    text = json.dumps(body(schedule={a: [0.0, 0.0] for a in known}))
    missing, other = tmp_path / "none.db", tmp_path / "text.db"
    other.write_text("no record at all")
    for path, reason in ((missing, "no such file"), (other, "is no SQLite file")):
        with pytest.raises(InputFaults) as wrong:
            check_file(text, DEMO, settings, path, lambda *_: None, print)
        assert [f.reason for f in wrong.value.faults] == [reason]
    assert not missing.exists()
