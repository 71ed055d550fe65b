"""Limits over the API: an issuer sends, the service obeys from the next run on, and every fault comes at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.service.api_world import NOW, World
from vpp.domain.envelope import Envelope, Interval, Issuer, Place, ReceivedLimits
from vpp.domain.time import QUARTER, TimeGrid, rfc3339
from vpp.service.received import bounds_at

HOUR = timedelta(hours=1)
GRID = TimeGrid.uniform(NOW, QUARTER, 8)
FILED = Envelope("filed", 3, "dso", "cable", NOW - HOUR, (Interval(NOW, NOW + HOUR, 0.9, None),))
LIMITS = ReceivedLimits(
    (Issuer("dso", "Ring grid operator"), Issuer("tso", "Transmission operator")),
    (
        Place("cable", "dso", ("extruders", "battery-plastics"), 1.1, 0.4),
        Place("zone", "tso", ("battery-glass",), 5.0, 5.0),
    ),
    (FILED,),
)


class Limited(World):
    """With two issuers and a key of each."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.system.loaded = replace(self.system.loaded, received=LIMITS)
        self.dso, self.tso = (self.store.access.create_key("issuer", issuer=name)[1] for name in ("dso", "tso"))

    def send(self, token: str, **changes: Any) -> Any:
        body = {"id": "doe-1", "place": "cable", "intervals": [interval(0.5)], **changes}
        return self.ask(token, "POST", "/v1/limits", json=body)


def interval(import_mw: float | None = None, first: int = 0, last: int = 4, **more: float) -> dict[str, Any]:
    found: dict[str, Any] = {"start": rfc3339(NOW + first * QUARTER), "end": rfc3339(NOW + last * QUARTER), **more}
    return found if import_mw is None else {**found, "import_mw": import_mw}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Limited]:
    made = Limited(tmp_path)
    yield made
    made.store.close()


def imports(world: Limited, at: Any = NOW) -> list[float]:
    return bounds_at(world.system, GRID, at)["cable"].import_mw.tolist()


def test_what_is_sent_binds_the_next_run_and_comes_back(world: Limited) -> None:
    assert imports(world) == [0.9] * 4 + [1.1] * 4
    answer = world.send(world.dso, intervals=[interval(0.5, 0, 6, export_mw=0.2)])
    assert answer.status_code == 201
    told = answer.json()
    assert told["issuer"] == "dso" and told["received_at"] == rfc3339(NOW) and told["revision"] == 1
    assert imports(world) == [0.5] * 6 + [1.1] * 2, "the tighter of the two, then the default"
    assert imports(world, NOW - timedelta(seconds=1)) == [0.9] * 4 + [1.1] * 4
    seen = world.ask(world.dso, "GET", "/v1/limits").json()
    assert [e["id"] for e in seen["envelopes"]] == ["doe-1", "filed"] and seen["envelopes"][0] == told
    (place,) = seen["places"]
    assert place == {
        "id": "cable", "issuer": "dso", "assets": ["extruders", "battery-plastics"], "default_import_mw": 1.1,
        "default_export_mw": 0.4, "import_mw": 0.5, "export_mw": 0.2, "default_in_use": False,
    }  # fmt: skip


def test_a_newer_revision_replaces_and_an_empty_one_withdraws(world: Limited) -> None:
    world.send(world.dso)
    assert world.send(world.dso, revision=2, intervals=[interval(0.7)]).status_code == 201
    assert imports(world) == [0.7] * 4 + [1.1] * 4
    assert world.send(world.dso, revision=3, intervals=[]).status_code == 201
    assert imports(world) == [0.9] * 4 + [1.1] * 4
    assert world.send(world.dso, id="filed", revision=4, intervals=[interval(1.0)]).status_code == 201
    assert imports(world) == [1.0] * 4 + [1.1] * 4


def test_the_same_again_is_no_conflict_and_an_older_or_other_one_is(world: Limited) -> None:
    first = world.send(world.dso, revision=2).json()
    world.now = NOW + QUARTER
    assert world.send(world.dso, revision=2).json() == first
    for late in ({"revision": 1}, {"revision": 2, "intervals": [interval(0.6)]}, {"id": "filed", "revision": 3}):
        answer = world.send(world.dso, **late)
        assert answer.status_code == 409 and "revision" in answer.json()["detail"]
    assert imports(world) == [0.5] * 4 + [1.1] * 4


def test_every_fault_is_listed_at_once(world: Limited) -> None:
    body = {
        "id": "no spaces", "revision": 0, "place": "nowhere", "more": 1,
        "intervals": [interval(-1.0), {"start": "2016-07-12T13:00:00", "end": rfc3339(NOW)}, interval()],
    }  # fmt: skip
    answer = world.ask(world.dso, "POST", "/v1/limits", json=body)
    assert answer.status_code == 422
    named = {f["field"] for f in answer.json()["faults"]}
    assert {"id", "revision", "place", "more", "intervals.0.import_mw", "intervals.1.start"} <= named
    assert any("neither import_mw nor export_mw" in f["reason"] for f in answer.json()["faults"])
    assert world.send(world.dso, intervals=[interval(0.5, 4, 2)]).status_code == 422
    assert world.store.envelopes.known(NOW, NOW) == []


def test_an_issuer_limits_its_own_places_only_and_sees_no_others(world: Limited) -> None:
    answer = world.send(world.tso)
    assert answer.status_code == 422
    assert answer.json()["faults"][0]["reason"] == "tso states no default limits for cable"
    assert world.send(world.tso, place="zone").status_code == 201
    seen = world.ask(world.tso, "GET", "/v1/limits").json()
    assert [p["id"] for p in seen["places"]] == ["zone"] and {e["issuer"] for e in seen["envelopes"]} == {"tso"}
    everything = world.ask(world.operator, "GET", "/v1/limits").json()
    assert [p["id"] for p in everything["places"]] == ["cable", "zone"] and len(everything["envelopes"]) == 2


def test_what_is_over_is_refused_and_not_listed(world: Limited) -> None:
    world.now = NOW + 2 * HOUR
    answer = world.send(world.dso)
    assert answer.status_code == 422 and "are over" in answer.json()["faults"][0]["reason"]
    assert world.ask(world.operator, "GET", "/v1/limits").json()["envelopes"] == []


def test_only_issuers_send_and_sites_do_not_look(world: Limited) -> None:
    for token in (world.operator, world.desk, world.data_centre):
        assert world.send(token).status_code == 403
    assert world.ask(world.data_centre, "GET", "/v1/limits").status_code == 403
    assert world.ask("wrong.key", "GET", "/v1/limits").status_code == 401
    assert world.ask(world.dso, "GET", "/v1/runs").status_code == 403


def test_an_issuers_key_names_an_issuer_of_the_portfolio(world: Limited) -> None:
    def make(**body: Any) -> Any:
        return world.ask(world.operator, "POST", "/v1/keys", json=body)

    token = make(role="issuer", issuer="dso", label="ring control room").json()["token"]
    assert world.send(token).status_code == 201
    assert world.ask(token, "GET", "/v1/session").json()["issuer"] == "dso"
    assert {k["issuer"] for k in world.ask(world.operator, "GET", "/v1/keys").json()} == {None, "dso", "tso"}
    for wrong in (
        {"role": "issuer"}, {"role": "issuer", "issuer": "nobody"}, {"role": "desk", "issuer": "dso"},
        {"role": "issuer", "issuer": "dso", "site": "data-centre"},
    ):  # fmt: skip
        assert make(**wrong).status_code == 422, wrong
