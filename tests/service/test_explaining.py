"""Why: the plan's prices in its JSON, and explanations by command line, from a plan file, and from the record."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.store import open_store
from tests.service.api_world import NOW, World
from tests.service.conftest import DAY, DEMO, ISSUED, Make, local
from vpp.domain.errors import DataGap, InputFaults, NotFound
from vpp.domain.schedule import DispatchRun
from vpp.domain.time import QUARTER, rfc3339
from vpp.service import explaining
from vpp.service.asset_side import AssetSide, kept_side
from vpp.service.cascade import committing, run_stage
from vpp.service.cli import main
from vpp.service.explaining import explain_day, explain_recorded, explain_run
from vpp.service.knowledge import gather
from vpp.service.plan import plan_report
from vpp.service.settings import Settings
from vpp.service.situation import Situation
from vpp.service.system import System

EVENING = local("2016-07-12 18:00")
Planned = tuple[System, Situation, DispatchRun]


@pytest.fixture(scope="module")
def offgrid(make: Make) -> Planned:
    """The demo day without its network: fast, and its prices are the market's."""
    system = make(ISSUED, network=False)
    s = gather(system, "day_ahead", "plan", ISSUED, scenarios=0)
    run = run_stage(s, "offgrid", committing())
    assert run.level == "optimal"
    return system, s, run


@pytest.fixture(scope="module")
def database(offgrid: Planned, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record with that plan in it."""
    file = tmp_path_factory.mktemp("record") / "day.db"
    store = open_store(f"sqlite:///{file}")
    store.runs.record(offgrid[2], [])
    store.close()
    return file


def test_the_plans_json_has_system_and_nodal_prices(offgrid: Planned) -> None:
    _, s, run = offgrid
    prices = json.loads(json.dumps(plan_report(s, run), allow_nan=False))["prices"]
    assert prices.keys() == {"market_eur_per_mwh", "system_eur_per_mwh", "unit_eur_per_mwh", "nodal_eur_per_mwh"}
    np.testing.assert_allclose(prices["system_eur_per_mwh"], s.price_eur_per_mwh, atol=1e-6)
    assert prices["unit_eur_per_mwh"] == {"demo-unit": prices["system_eur_per_mwh"]}
    assert prices["nodal_eur_per_mwh"].keys() == {str(a.bus) for a in s.portfolio.assets}
    for values in prices["nodal_eur_per_mwh"].values():
        np.testing.assert_allclose(values, prices["system_eur_per_mwh"], atol=1e-6)


def test_a_secured_plan_has_a_price_for_every_bus_and_explains_by_its_network(
    secured: tuple[System, Situation, DispatchRun],
) -> None:
    _, s, run = secured
    assert run.solution is not None
    prices = run.solution.prices
    assert prices is not None
    for battery in s.portfolio.of_kind("battery"):
        parts = prices.parts(battery.id)
        nodal = parts["energy"] + parts.get("network", 0.0)
        np.testing.assert_allclose(nodal, prices.nodal_eur_per_mwh[str(battery.bus)], atol=1e-5)
    away, home = prices.nodal_eur_per_mwh["104"], prices.system_eur_per_mwh
    assert (away > home + 5.0).any()
    bound = int(np.argmax(away - home))
    held = [c for c in prices.couplings if c.part == "network" and c.step == bound and abs(c.dual_eur) > 1e-6]
    assert held
    told = explain_run(run, s.portfolio, "battery-plastics", s.grid.starts[bound])
    assert told["price_parts_eur_per_mwh"]["network"] == pytest.approx(float(away[bound] - home[bound]), abs=1e-3)
    assert {b["name"] for b in told["binding"] if b["part"] == "network"} <= {c.name for c in held}


def test_a_battery_that_is_free_to_move_is_marginal_at_its_price(offgrid: Planned) -> None:
    _, s, run = offgrid
    assert run.solution is not None
    assert run.solution.prices is not None
    params = s.portfolio.asset("battery-glass").params
    power, value = run.schedule.power_of("battery-glass"), run.schedule.marginal_value["battery-glass"]
    price = run.solution.prices.of("battery-glass", s.grid.n)
    selling = np.flatnonzero((power > 1e-4) & (power < params.power_mw - 1e-4))
    assert selling.size
    marginal = value[selling] / params.discharge_efficiency + params.wear_eur_per_mwh
    np.testing.assert_allclose(marginal, price[selling], atol=1e-4)


def test_the_sentence_says_what_when_why_and_what_would_change_it(offgrid: Planned) -> None:
    _, s, run = offgrid
    told = explain_run(run, s.portfolio, "mill-3", EVENING)
    json.dumps(told, allow_nan=False)
    assert told["sentence"].startswith(
        "mill-3 is off at 18:00 on 12 July because of its price, 188.00 EUR/MWh (energy 136.00, grid fee 52.00)."
    )
    assert (told["on"], told["reason"], told["power_mw"]) == (False, "price", 0.0)
    start = told["next"][0]
    assert (start["would"], start["side"]) == ("start", "below")
    assert start["price_eur_per_mwh"] < 100.0
    assert f"{start['price_eur_per_mwh']:.2f} EUR/MWh" in told["sentence"]
    assert start["extra_cost_eur"] > 0.0
    rested = explain_run(run, s.portfolio, "offices", EVENING)
    assert rested["sentence"].endswith("because nobody controls it.")


def test_what_the_run_does_not_cover_is_named_all_at_once(offgrid: Planned) -> None:
    _, s, run = offgrid
    with pytest.raises(InputFaults) as caught:
        explain_run(run, s.portfolio, "mill-9", EVENING + timedelta(days=3))
    assert [(f.where, f.field) for f in caught.value.faults] == [("request", "asset"), ("request", "at")]
    fallen = replace(run, level="merit_order", reason="optimal: late", solution=None)
    with pytest.raises(DataGap, match="came from the rung merit_order, because optimal: late"):
        explain_run(fallen, s.portfolio, "mill-3", EVENING)
    with pytest.raises(DataGap, match="real_time runs follow the plan above them"):
        explain_run(replace(run, stage="real_time", inputs={}), s.portfolio, "mill-3", EVENING)


def test_a_run_out_of_the_record_is_explained_as_it_was(offgrid: Planned, database: Path, settings: Settings) -> None:
    _, s, run = offgrid
    told = explain_recorded(database, DEMO, "mill-3", EVENING, settings)
    assert told == explain_run(run, s.portfolio, "mill-3", EVENING)
    store = open_store(f"sqlite:///{database}")
    side = kept_side(store.runs.get("offgrid"))
    store.close()
    assert isinstance(side, AssetSide)
    assert side.states == s.states
    np.testing.assert_array_equal(side.inputs["cooling"]["ambient_c"], s.inputs["cooling"]["ambient_c"])
    with pytest.raises(NotFound, match="covers"):
        explain_recorded(database, DEMO, "mill-3", EVENING + timedelta(days=30), settings)


@pytest.fixture
def untrained(offgrid: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands on the untrained system without a network."""
    monkeypatch.setattr(explaining, "prepare_day", lambda *_: (offgrid[0], ISSUED))
    monkeypatch.setattr(explaining, "plan_day", lambda *_, **__: (offgrid[1], offgrid[2]))


def test_a_plan_file_is_explained_with_its_own_commitments(
    offgrid: Planned, untrained: None, settings: Settings
) -> None:
    _, s, run = offgrid
    text = json.dumps(plan_report(s, run))
    told = explain_day(DEMO, None, "mill-3", EVENING, settings, text, lambda n, of: None)
    whole = explain_run(run, s.portfolio, "mill-3", EVENING)
    assert (told["reason"], told["on"], told["price_eur_per_mwh"]) == ("price", False, whole["price_eur_per_mwh"])
    assert told["next"][0]["price_eur_per_mwh"] == pytest.approx(whole["next"][0]["price_eur_per_mwh"], abs=0.5)
    other = json.loads(text)
    plain = [other[name] for name in ("schedule", "commitment", "q_mvar", "energy_mwh")]
    for lists in (*plain, *other["decisions"].values()):
        for name in lists:
            lists[name] = lists[name][:96]
    other["times"] = other["times"][:96]
    with pytest.raises(InputFaults, match=f"not those of the day-ahead plan of {DAY}"):
        explain_day(DEMO, None, "mill-3", EVENING, settings, json.dumps(other), lambda n, of: None)


def ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["vpp", "explain", "--portfolio", str(DEMO), *arguments])
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main()
    told = capsys.readouterr()
    return int(end.value.code or 0), told.out, told.err


Ended = Callable[..., tuple[int, str, str]]


def test_the_command_line_answers_from_the_day_and_from_the_record(
    untrained: None, database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--asset", "mill-3", "--at", "2016-07-12T18:00:00+02:00")
    code, out, err = ended(monkeypatch, capsys, *asked)
    assert code == 0
    body: dict[str, Any] = json.loads(out)
    assert (body["asset"], body["at"], body["reason"]) == ("mill-3", "2016-07-12T16:00:00Z", "price")
    assert "mill-3 is off" in err
    assert json.loads(ended(monkeypatch, capsys, *asked, "--db", str(database))[1]) == body


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--asset", "mill-9", "--at", "2016-07-12T18:00:00+02:00"), "request/asset: no asset mill-9 in the plan"),
        (("--asset", "mill-3", "--at", "2016-07-12T18:00:00"), "has no time zone"),
        (("--asset", "mill-3", "--at", "tomorrow"), "is no RFC 3339 time"),
        (("--asset", "mill-3", "--at", "2016-07-12T18:00:00+02:00", "--plan", "nowhere.json"), "no such file"),
        (("--asset", "mill-3", "--at", "2016-07-12T18:00:00+02:00", "--plan", "a", "--db", "b"), "exclude each other"),
        (("--asset", "mill-3", "--at", "2016-07-12T18:00:00+02:00", "--db", "nowhere.db"), "no such file"),
    ],
)  # fmt: skip
def test_a_bad_question_ends_with_two(
    more: tuple[str, ...], told: str, untrained: None, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    code, _, err = ended(monkeypatch, capsys, *more)
    assert code == 2
    assert told in " ".join(err.replace("│", " ").split())


def test_the_api_answers_operators_and_names_what_it_cannot(offgrid: Planned, tmp_path: Path) -> None:
    world = World(tmp_path)
    world.store.runs.record(offgrid[2], [])
    where, asked = "/v1/runs/offgrid/explain", {"asset": "mill-3", "at": rfc3339(EVENING)}
    body = world.ask(world.operator, "GET", where, params=asked).json()
    assert (body["asset"], body["reason"], body["on"]) == ("mill-3", "price", False)
    assert body["sentence"].startswith("mill-3 is off at 18:00")
    assert world.ask(world.desk, "GET", where, params=asked).status_code == 403
    assert world.ask(world.operator, "GET", "/v1/runs/none/explain", params=asked).status_code == 404
    assert world.ask(world.operator, "GET", where, params={"asset": "mill-3"}).status_code == 422
    unknown = world.ask(world.operator, "GET", where, params={**asked, "asset": "mill-9"})
    assert (unknown.status_code, unknown.json()["faults"][0]["field"]) == (422, "asset")
    bare = {"asset": "mill-3", "at": rfc3339(NOW + QUARTER)}
    assert world.ask(world.operator, "GET", "/v1/runs/r1/explain", params=bare).status_code == 409
