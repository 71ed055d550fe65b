"""A site sees and does its own things only, and what it needs to decide before it accepts."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from dispatch.settlement import Delivery, settle
from tests.service.api_world import NOW, START, World, made_event, made_offer, world
from vpp.domain.command import Priority
from vpp.domain.market import EventStatus, Statement
from vpp.domain.time import QUARTER, rfc3339

__all__ = ["world"]
EVENT = "/v1/site/events/dr-1"


def settled(world: World) -> Statement:
    """The call settled: the data centre delivered half of 0.3 MW, the cold store all of 0.2 MW."""
    event, one = made_event(), np.ones(6)
    parts = [Delivery("data-centre", 0.3 * one, -one, -0.85 * one), Delivery("cold-store", 0.2 * one, -one, -0.8 * one)]
    found = settle(event, parts, "10in10", "EUR")
    world.store.events.save_statement(found)
    return found


def test_an_event_tells_everything_before_it_is_accepted(world: World) -> None:
    e = world.ask(world.data_centre, "GET", EVENT).json()
    first = e["intervals"][0]
    told = (first["baseline_kw"], first["offered_reduction_kw"], first["offered_ceiling_kw"])
    assert told == pytest.approx((1000, 360, 640))
    assert (first["accepted_reduction_kw"], first["ceiling_kw"]) == (None, None)
    assert len(e["intervals"]) == 6
    assert (e["id"], e["version"], e["direction"], e["test"], e["can_answer"]) == ("dr-1", 1, "up", False, True)
    assert (e["price_eur_per_mwh"], e["penalty_eur_per_mwh"], e["currency"]) == ("240.00", "180.00", "EUR")
    assert e["paid_cap"] == "129.60", "0.36 MW for 1.5 h at 240 EUR/MWh"
    assert e["metering_points"] == ["mp:cooling"]
    assert (e["accept_by"], e["baseline_method"]) == (rfc3339(NOW + 2 * QUARTER), "10in10")
    assert [r["limit_kw"] for r in e["rebound"]] == pytest.approx([200, 0])


def test_accepting_whole_sets_the_ceiling(world: World) -> None:
    done = world.ask(world.data_centre, "POST", f"{EVENT}/acceptance", json={"share": 0.5})
    assert done.status_code == 200
    assert done.json()["intervals"][0]["accepted_reduction_kw"] == pytest.approx(180)
    assert done.json()["intervals"][0]["ceiling_kw"] == pytest.approx(820)
    (taken,) = world.store.events.acceptances("dr-1")
    assert taken.site == "data-centre" and taken.mw == pytest.approx(np.full(6, 0.18))


def test_accepting_in_part_by_interval(world: World) -> None:
    kw = [0.0, 100.0, 200.0, 300.0, 360.0, 400.0]
    done = world.ask(world.data_centre, "POST", f"{EVENT}/acceptance", json={"reduction_kw": kw}).json()
    assert [i["accepted_reduction_kw"] for i in done["intervals"]] == pytest.approx(kw)


def test_a_part_beyond_the_offer_lists_every_interval(world: World) -> None:
    kw = [500.0, 100.0, -1.0, 100.0, 100.0, 401.0]
    answer = world.ask(world.data_centre, "POST", f"{EVENT}/acceptance", json={"reduction_kw": kw})
    assert answer.status_code == 422
    assert [f["field"] for f in answer.json()["faults"]] == ["reduction_kw.0", "reduction_kw.2", "reduction_kw.5"]
    assert world.store.events.acceptances("dr-1") == []


@pytest.mark.parametrize("body", [{}, {"share": 1.0, "reduction_kw": [1.0] * 6}, {"share": 1.1}, {"reduction_kw": [1]}])
def test_an_answer_is_either_a_share_or_a_list(world: World, body: dict[str, object]) -> None:
    assert world.ask(world.data_centre, "POST", f"{EVENT}/acceptance", json=body).status_code == 422


def test_an_answer_after_accept_by_is_refused(world: World) -> None:
    world.now = made_event().accept_by
    assert world.ask(world.data_centre, "POST", f"{EVENT}/acceptance", json={"share": 1.0}).status_code == 200
    world.now += QUARTER
    late = world.ask(world.data_centre, "POST", f"{EVENT}/acceptance", json={"share": 0.1})
    assert late.status_code == 409
    assert world.store.events.acceptances("dr-1")[0].mw[0] == pytest.approx(0.36)
    assert world.ask(world.data_centre, "GET", EVENT).json()["can_answer"] is False


def test_an_answer_to_a_closed_call_is_refused(world: World) -> None:
    world.store.events.save(replace(made_event(), status=EventStatus.ORDERED))
    assert world.ask(world.data_centre, "POST", f"{EVENT}/acceptance", json={"share": 1.0}).status_code == 409


def test_a_site_stops_at_any_time_before_the_end(world: World) -> None:
    url, reason = f"{EVENT}/withdrawal", {"reason": "an urgent order came in"}
    assert world.ask(world.data_centre, "POST", url, json=reason).status_code == 409, "it accepted nothing"
    world.ask(world.data_centre, "POST", f"{EVENT}/acceptance", json={"share": 1.0})
    world.now = START + 2 * QUARTER
    assert world.ask(world.data_centre, "POST", url, json={}).status_code == 422
    done = world.ask(world.data_centre, "POST", url, json=reason)
    assert done.json()["withdrawn_at"] == rfc3339(START + 2 * QUARTER)
    world.now = START + 6 * QUARTER
    assert world.ask(world.data_centre, "POST", url, json=reason).status_code == 409


def test_the_statement_is_the_sites_own_in_cents(world: World) -> None:
    assert world.ask(world.data_centre, "GET", f"{EVENT}/statement").status_code == 404
    settled(world)
    found = world.ask(world.data_centre, "GET", f"{EVENT}/statement").json()
    assert len(found["lines"]) == 6
    line = found["lines"][0]
    assert [Decimal(line[k]) for k in ("ordered_kw", "baseline_kw", "metered_kw", "delivered_kw", "settled_kwh")] == [
        300, 1000, 850, 150, Decimal("37.5")
    ]  # fmt: skip
    assert (found["payment"], found["penalty"], found["net"]) == ("54.00", "40.50", "13.50")
    assert "dispute" in found["how_to_dispute"]


def test_a_dispute_reaches_the_operator(world: World) -> None:
    url, reason = f"{EVENT}/dispute", {"reason": "the meter of 17:45 is wrong"}
    assert world.ask(world.data_centre, "POST", url, json=reason).status_code == 409
    settled(world)
    assert world.ask(world.data_centre, "POST", url, json=reason).status_code == 201
    disputes = world.ask(world.operator, "GET", "/v1/events/dr-1").json()["disputes"]
    assert disputes["data-centre"]["reason"] == reason["reason"]
    assert "17:45" in world.ask(world.operator, "GET", "/v1/alarms").json()[0]["message"]


def test_unavailability_holds_a_battery_at_zero_above_the_operator(world: World) -> None:
    body = {"asset": "battery-glass", "start": rfc3339(NOW), "end": rfc3339(NOW + 4 * QUARTER), "reason": "repair"}
    made = world.ask(world.glass_works, "POST", "/v1/site/unavailability", json=body)
    assert made.status_code == 201
    (held,) = world.store.events.active_proposals(NOW)
    assert (held.priority, held.lower_mw, held.upper_mw) == (Priority.SITE_STOP, 0.0, 0.0)
    assert len(world.ask(world.glass_works, "GET", "/v1/site/unavailability").json()) == 1
    path = f"/v1/site/unavailability/{made.json()['id']}"
    assert world.ask(world.cold_store, "GET", "/v1/site/unavailability").json() == []
    assert world.ask(world.cold_store, "DELETE", path).status_code == 404
    assert world.ask(world.operator, "DELETE", f"/v1/overrides/{made.json()['id']}").status_code == 404
    assert world.ask(world.glass_works, "DELETE", path).status_code == 204
    assert world.store.events.active_proposals(NOW) == []


def test_what_cannot_be_off_is_said_with_every_other_fault(world: World) -> None:
    body = {"asset": "cooling", "start": rfc3339(NOW), "end": rfc3339(NOW - QUARTER), "reason": "repair"}
    answer = world.ask(world.data_centre, "POST", "/v1/site/unavailability", json=body)
    assert answer.status_code == 422
    assert {f["field"] for f in answer.json()["faults"]} == {"asset", "end"}


def test_faults_of_form_and_meaning_of_a_stop_are_listed_together(world: World) -> None:
    body = {"asset": "cooling", "start": rfc3339(NOW), "end": rfc3339(NOW - QUARTER), "reason": " "}
    answer = world.ask(world.data_centre, "POST", "/v1/site/unavailability", json=body)
    assert answer.status_code == 422
    assert {f["field"] for f in answer.json()["faults"]} == {"end", "reason"}


OTHERS = [
    ("GET", EVENT, None), ("POST", f"{EVENT}/acceptance", {"share": 1.0}),
    ("POST", f"{EVENT}/withdrawal", {"reason": "r"}), ("GET", f"{EVENT}/statement", None),
    ("POST", f"{EVENT}/dispute", {"reason": "r"}),
    ("POST", "/v1/site/unavailability",
     {"asset": "cooling", "start": rfc3339(NOW), "end": rfc3339(NOW + QUARTER), "reason": "r"}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body"), OTHERS)
def test_an_event_or_asset_of_others_is_not_there(world: World, method: str, path: str, body: object) -> None:
    settled(world)
    stranger = world.ask(world.glass_works, method, path, json=body)
    nothing = world.ask(world.glass_works, method, path.replace("dr-1", "dr-9"), json=body)
    assert stranger.status_code == nothing.status_code == 404
    assert stranger.json()["detail"] == nothing.json()["detail"].replace("dr-9", "dr-1")
    assert world.store.events.acceptances("dr-1") == []


def test_no_answer_to_a_site_names_another_site_or_its_assets(world: World) -> None:
    settled(world)
    for token in (world.data_centre, world.cold_store):
        world.ask(token, "POST", f"{EVENT}/acceptance", json={"share": 1.0})
    own = {"data-centre", "cooling"}
    foreign = {s.id for s in world.system.portfolio.sites} | {a.id for a in world.system.portfolio.assets}
    paths = ["/v1/site/assets", "/v1/site/events", EVENT, f"{EVENT}/statement", "/v1/site/unavailability"]
    for path in paths:
        answer = world.ask(world.data_centre, "GET", path)
        assert answer.status_code == 200
        assert not [word for word in foreign - own if f'"{word}"' in answer.text or f'mp:{word}"' in answer.text]


def test_a_site_lists_only_events_offered_to_it(world: World) -> None:
    other = world.store.events.save(made_event(id="dr-2"))
    world.store.events.save_offer(made_offer(other, "cold-store", ("chambers",), 0.1))
    assert [e["id"] for e in world.ask(world.data_centre, "GET", "/v1/site/events").json()] == ["dr-1"]
    assert [e["id"] for e in world.ask(world.cold_store, "GET", "/v1/site/events").json()] == ["dr-1", "dr-2"]
    assert [a["id"] for a in world.ask(world.data_centre, "GET", "/v1/site/assets").json()] == ["cooling"]
