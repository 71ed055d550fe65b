"""The grid desk: calls with every fault, jobs, order, and what it may see of whom."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.service.api_world import DEMO, NOW, START, World, demo, made_event, made_offer, world
from vpp.domain.command import MeterRow
from vpp.domain.market import EventStatus
from vpp.domain.network import Flow
from vpp.domain.time import QUARTER, TimeGrid, rfc3339
from vpp.service.api.disclosure import LEAST_SITES, disclose, sites_of

__all__ = ["world"]
CALL = {
    "id": "dr-new", "programme": "feeder-relief", "congestion_point": "feeder-9", "mw": 0.5,
    "start": rfc3339(START), "end": rfc3339(START + 2 * QUARTER), "accept_by": rfc3339(NOW + QUARTER),
    "price_eur_per_mwh": "240.00", "penalty_eur_per_mwh": "180.00", "fills_gap": ["battery-glass"],
}  # fmt: skip
SITES = {a.site: a.id for a in demo(DEMO).portfolio.assets}


def offers_of(world: World, event_id: str = "dr-1") -> dict[str, Any]:
    found: dict[str, Any] = world.ask(world.desk, "GET", f"/v1/desk/events/{event_id}").json()["offers"]
    return found


def test_fewer_than_three_sites_are_withheld_and_said_so(world: World) -> None:
    found = offers_of(world)
    assert {o["connection"] for o in found["offers"]} == {"data-centre", "plastics-works"}
    assert found["withheld_sites"] == 1
    assert "withheld" in found["note"]
    assert "cold-store" not in str(found)


def test_three_sites_are_one_group(world: World) -> None:
    event = world.store.events.get("dr-1")
    for site, asset in (("glass-works", "melting"), ("shopping-centre", "ventilation")):
        world.store.events.save_offer(made_offer(event, site, (asset,), 0.1))
    found = offers_of(world)
    (group,) = [o for o in found["offers"] if o["connection"] is None]
    assert (group["sites"], found["withheld_sites"]) == (3, 0)
    assert group["mw"] == pytest.approx([0.6] * 6)
    assert group["baseline_mw"] == pytest.approx([-3.0] * 6)
    assert not {"cold-store", "glass-works", "shopping-centre"} & set(str(found).split("'"))


@given(st.sets(st.sampled_from(sorted(SITES)), min_size=1))
def test_whatever_sites_offer_nobody_is_seen_alone_against_its_contract(sites: set[str]) -> None:
    portfolio = demo(DEMO).portfolio
    offers = [made_offer(made_event(), s, (SITES[s],), 0.1) for s in sorted(sites)]
    found = disclose(portfolio, offers)
    visible = {s.id for s in portfolio.sites if s.show_single}
    assert {o.site for o in found.single} == sites & visible
    in_group = sites_of(portfolio, [a for o in found.group for a in o.assets])
    assert not in_group or len(in_group) >= LEAST_SITES
    assert in_group | {o.site for o in found.withheld} == sites - visible


def test_a_call_with_faults_lists_them_all_and_starts_nothing(world: World) -> None:
    body = {
        **CALL, "congestion_point": "nowhere", "start": rfc3339(NOW - timedelta(minutes=7)),
        "end": rfc3339(NOW + timedelta(days=2)), "fills_gap": ["nobody"], "accept_by": rfc3339(NOW - QUARTER),
    }  # fmt: skip
    answer = world.ask(world.desk, "POST", "/v1/desk/events", json=body)
    assert answer.status_code == 422
    fields = [f["field"] for f in answer.json()["faults"]]
    assert set(fields) == {"congestion_point", "start", "end", "fills_gap.0", "accept_by"}
    assert [e.id for e in world.store.events.list()] == ["dr-1"]


def test_faults_of_form_are_listed_beside_them(world: World) -> None:
    body = {**CALL, "congestion_point": "nowhere", "mw": 1e308, "start": rfc3339(NOW - QUARTER), "colour": "red"}
    answer = world.ask(world.desk, "POST", "/v1/desk/events", json=body)
    assert answer.status_code == 422
    assert {f["field"] for f in answer.json()["faults"]} == {"congestion_point", "mw", "start", "accept_by", "colour"}


def test_an_id_in_use_is_a_conflict(world: World) -> None:
    assert world.ask(world.desk, "POST", "/v1/desk/events", json={**CALL, "id": "dr-1"}).status_code == 409


def metered(world: World) -> None:
    """Four weeks of half a megawatt of consumption at every metering point."""
    begin = NOW - timedelta(days=28)
    starts = [begin + k * QUARTER for k in range((NOW - begin) // QUARTER)]
    rows = [MeterRow(m.id, t, 15, -0.5, t + QUARTER) for m in world.system.portfolio.metering_points for t in starts]
    world.store.meters.write(rows)


def test_a_call_is_a_job_whose_offers_are_disclosed_by_the_rule(world: World) -> None:
    metered(world)
    answer = world.ask(world.desk, "POST", "/v1/desk/events", json=CALL)
    assert answer.status_code == 202
    job = world.finished(world.desk, answer.json()["poll"], 200.0)
    assert (job["status"], job["error"]) == ("done", None)
    result = job["result"]
    assert (result["id"], result["status"], result["opposite_position"]) == ("dr-new", "offered", "demo-unit")
    assert result["offers"] == offers_of(world, "dr-new")
    singles = {o["connection"] for o in result["offers"]["offers"]} - {None}
    assert singles <= {"data-centre", "plastics-works"}
    assert all(o["sites"] >= LEAST_SITES for o in result["offers"]["offers"] if o["connection"] is None)
    assert world.ask(world.data_centre, "GET", "/v1/site/events/dr-new").json()["can_answer"] is True


def test_an_order_waits_for_the_sites_or_accept_by(world: World) -> None:
    early = world.ask(world.desk, "POST", "/v1/desk/events/dr-1/order")
    assert early.status_code == 409
    for token in (world.data_centre, world.cold_store):
        world.ask(token, "POST", "/v1/site/events/dr-1/acceptance", json={"share": 1.0})
    assert world.ask(world.desk, "POST", "/v1/desk/events/dr-1/order").status_code == 409, "one site may still answer"
    world.now = made_event().accept_by
    done = world.ask(world.desk, "POST", "/v1/desk/events/dr-1/order")
    assert (done.status_code, done.json()["status"]) == (200, "ordered")
    assert world.store.events.get("dr-1").status is EventStatus.ORDERED
    assert world.ask(world.desk, "POST", "/v1/desk/events/dr-1/order").status_code == 409


@pytest.mark.parametrize(
    ("bus", "at", "status"),
    [(1, NOW, 422), (100_000, NOW, 422), (98, NOW + timedelta(days=2), 422), (101, NOW, 403), (98, NOW, 202)],
)
def test_a_node_is_answered_only_where_it_may_be(world: World, bus: int, at: Any, status: int) -> None:
    path = f"/v1/desk/flexibility?bus={bus}&at={rfc3339(at).replace('+', '%2B')}&horizon=PT15M"
    answer = world.ask(world.desk, "GET", path)
    assert answer.status_code == status, answer.text
    if status == 202:
        job = world.finished(world.desk, answer.json()["poll"])
        assert (job["status"], job["error"]) == ("done", None)
        assert job["result"]["assets"] == ["cooling"]
        (interval,) = job["result"]["intervals"]
        assert interval["p_min_mw"] <= interval["planned"][0] <= interval["p_max_mw"]
        assert job["result"]["certificate"] is None, "there is no network here"


def test_a_feeder_of_three_sites_is_answered_without_names(world: World) -> None:
    query = {"point": "feeder-9", "at": rfc3339(NOW), "horizon": "PT15M"}
    asked = [world.ask(who, "GET", "/v1/desk/flexibility", params=query) for who in (world.desk, world.operator)]
    assert [a.status_code for a in asked] == [202, 202]
    polls = [a.json()["poll"] for a in asked]
    desk, operator = (
        world.finished(who, poll)["result"] for who, poll in zip((world.desk, world.operator), polls, strict=True)
    )
    assert desk["assets"] == [] and desk["held_to_plan"] == {} and desk["sites"] == operator["sites"] >= LEAST_SITES
    assert set(operator["assets"]) >= {"cooling", "chambers"} and "chambers" not in str(desk)
    assert desk["intervals"] == operator["intervals"]


def test_a_question_lists_all_its_faults(world: World) -> None:
    query = {"bus": 1, "element": "line 1", "at": rfc3339(NOW - timedelta(days=9)), "horizon": "PT7M"}
    answer = world.ask(world.desk, "GET", "/v1/desk/flexibility", params=query)
    assert answer.status_code == 422
    assert {f["field"] for f in answer.json()["faults"]} == {"bus", "element", "at", "horizon"}


def test_without_a_model_there_is_no_network(world: World) -> None:
    assert world.ask(world.desk, "GET", "/v1/desk/network").status_code == 404


def two_bus_flow(grid: TimeGrid, loading_pct: float) -> Flow:
    one = np.ones((1, grid.n, 2))
    good = np.ones((1, grid.n), dtype=bool)
    return Flow(grid, one, one, one, loading_pct * np.ones((1, grid.n, 1)), np.zeros((1, grid.n, 0), dtype=int), good)


def test_the_network_shows_the_loading_of_the_plan_in_force(world: World) -> None:
    world.system.network = cast(Any, SimpleNamespace(buses=(98, 99), elements=("line 1",), ends={"line 1": (98, 99)}))
    run = world.store.runs.get("r1")
    world.app.state.api.flows["r1"] = two_bus_flow(run.schedule.grid, 87.5)
    found = world.ask(world.desk, "GET", "/v1/desk/network").json()
    assert found["elements"] == [{"name": "line 1", "ends": [98, 99], "loading_pct": [87.5] * 24}]
    assert [b["number"] for b in found["buses"]] == [98, 99]
    assert (found["run"], found["verdict"]) == ("r1", "clean")
