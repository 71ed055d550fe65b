"""The grid desk's page and its routes on the demo's real network: roles, content, disclosure, both languages."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response
from nicegui import Client
from nicegui.page import page

from adapters.store import open_store
from tests.service.api_world import NOW, made_run
from tests.service.conftest import Make
from tests.service.test_page import OTHER_HOST
from vpp.domain.network import Contingency, Flow, Loading, RankedNetwork, Voltage
from vpp.domain.time import QUARTER, rfc3339
from vpp.service.api.access import DESK, OPERATOR, Principal
from vpp.service.api.app import create_app
from vpp.service.api.context import Api
from vpp.service.api.desk_network import headroom_mw
from vpp.service.api.network_view import bands_of, plan_flow
from vpp.service.api.outages import RankedOutage, ranked
from vpp.service.page import charts, network_chart
from vpp.service.page.desk_view import DeskPage, outage_row, read
from vpp.service.page.region_drawing import region_svg
from vpp.service.page.region_panel import Told, told_of
from vpp.service.page.words import words

SAY = words("en")
SHOWN_BUS, HIDDEN_BUS, BARE_BUS = 98, 101, 1


class Served:
    """The demo with its network, a plan by hand for six hours from NOW, and a key of each role."""

    def __init__(self, make: Make, path: Any) -> None:
        self.store = open_store(path / "record.db")
        self.system = make(NOW, self.store)
        self.store.runs.record(made_run(self.system, "r1"), [])
        self.app: FastAPI = create_app(self.system, lambda: NOW, threading.RLock())
        self.client = TestClient(self.app)
        self.keys = {role: self.store.access.create_key(role)[1] for role in ("operator", "desk")}
        self.keys["site"] = self.store.access.create_key("site", "data-centre")[1]

    @property
    def api(self) -> Api:
        found: Api = self.app.state.api
        return found

    def flow(self) -> Flow:
        found = plan_flow(self.api, self.store.runs.get("r1"))
        assert found is not None
        return found

    def get(self, role: str, path: str, **query: str) -> Response:
        return self.client.get(path, params=query, headers={"Authorization": f"Bearer {self.keys[role]}"})

    def browser(self, role: str) -> TestClient:
        made = TestClient(self.app)
        form = {"content-type": "application/x-www-form-urlencoded"}
        made.post("/session", content=f"token={self.keys[role]}", headers=form)
        return made


@pytest.fixture(scope="module")
def served(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(make, tmp_path_factory.mktemp("desk"))
    with made.client:
        yield made
    for thread in threading.enumerate():
        if thread.name.startswith("job-"):
            thread.join(60.0)
    made.store.close()


@pytest.fixture(scope="module")
def outages(served: Served) -> tuple[RankedOutage, ...]:
    assert isinstance(served.system.network, RankedNetwork)
    return ranked(served.system.network, served.flow())


def opened(served: Served, language: str = "en", role: str = DESK) -> DeskPage:
    with Client(page("")):
        made = DeskPage(served.api, language, Principal("k", cast(Any, role), None))
        made.build()
        return made


def test_the_page_is_there_for_desks_and_operators_and_needs_no_other_host(served: Served) -> None:
    for role, path in (("desk", "/desk"), ("operator", "/desk"), ("site", "/sign-in")):
        answer = served.browser(role).get("/desk")
        assert (answer.status_code, answer.url.path) == (200, path), role
    assert TestClient(served.app).get("/desk").url.path == "/sign-in"
    desk = served.browser("desk").get("/")
    assert desk.url.path == "/desk", "a grid desk is led to its own page"
    assert SAY("region_title") in desk.text and SAY("outages_title") in desk.text
    assert not OTHER_HOST.search(desk.text)
    assert words("zh")("region_title") in served.browser("desk").get("/desk?lang=zh").text


def test_the_drawing_has_every_element_its_loading_and_the_open_ones(served: Served) -> None:
    network, flow = served.system.network, served.flow()
    assert network is not None
    out = network.open_at(NOW)  # type: ignore[attr-defined]
    assert out
    (graph,) = network_chart.network_chart(network, flow, 3, SAY, {SHOWN_BUS: "<b>"})["series"]
    dashed = {link["name"] for link in graph["links"] if link["lineStyle"].get("type") == "dashed"}
    assert dashed == out and len(graph["links"]) == len(network.elements)
    nodes = {node["name"]: node for node in graph["data"]}
    row, band = network.buses.index(SHOWN_BUS), bands_of(network)[SHOWN_BUS]
    use = network_chart.band_use_pct(float(flow.vm_pu[0, 3, row]), band)
    assert nodes[str(SHOWN_BUS)]["itemStyle"]["color"] == network_chart.colour_of(use)
    assert nodes[str(SHOWN_BUS)]["text"].endswith("<br>&lt;b&gt;")
    assert nodes[str(SHOWN_BUS)]["symbolSize"] > nodes[str(BARE_BUS)]["symbolSize"]


@pytest.mark.parametrize(
    ("vm_pu", "use", "colour"),
    [(1.0, 0.0, charts.GREEN), (1.03, 60.0, network_chart.YELLOW), (0.95, 100.0, charts.RED),
     (0.96, 80.0, charts.ORANGE),
     (float("nan"), float("nan"), charts.GREY)],
)  # fmt: skip
def test_buses_are_coloured_by_their_use_of_the_band(vm_pu: float, use: float, colour: str) -> None:
    found = network_chart.band_use_pct(vm_pu, (0.95, 1.05))
    assert found == pytest.approx(use, nan_ok=True)
    assert network_chart.colour_of(round(found, 6)) == colour
    assert np.isnan(network_chart.band_use_pct(vm_pu, None))


def test_outages_are_ranked_and_have_the_point_to_close(served: Served, outages: tuple[RankedOutage, ...]) -> None:
    accepted = served.get("desk", "/v1/desk/contingencies")
    assert accepted.status_code == 202
    rows = finished(served, accepted.json()["poll"])["outages"]
    assert [r["outage"] for r in rows] == [o.alone.outage for o in outages]
    network = served.system.network
    assert isinstance(network, RankedNetwork)
    alone = {c.outage: c for c in network.n_minus_one(served.flow())}
    assert alone.keys() == {r["outage"] for r in rows}
    helped = [r for r in rows if r["remedies"]]
    assert helped, "the demo's ring can be reclosed"
    for r in helped:
        assert all(one["unsupplied_mw"] <= r["unsupplied_mw"] + 1e-9 for one in r["remedies"])
        assert all(one["close"] in network.open_at(NOW) for one in r["remedies"])  # type: ignore[attr-defined]
    first = rows[0]
    assert first["unsupplied_mw"] == pytest.approx(alone[first["outage"]].unsupplied_mw)
    assert list(served.api.outages) == ["r1"], "tried once"


def finished(served: Served, poll: str) -> dict[str, Any]:
    for _ in range(600):
        job = served.get("desk", poll).json()
        if job["status"] in ("done", "failed"):
            assert job["error"] is None
            return cast(dict[str, Any], job["result"])
        threading.Event().wait(0.1)
    raise AssertionError(f"{poll} did not end")


def made_contingency(name: str, loading: float, dark: float = 0.0, remedy: str | None = None) -> Contingency:
    return Contingency(name, remedy, dark, (), 0, Loading("line 9", 0, loading, 120.0),
                       Voltage("bus 1", 0, 1.0, 1.05, -0.05))  # fmt: skip


def test_the_rank_puts_limits_first_then_what_stays_dark_then_what_was_dark() -> None:
    past = RankedOutage(made_contingency("past", 130.0), ())
    stays = RankedOutage(made_contingency("stays", 20.0, 1.0), ())
    back = RankedOutage(made_contingency("back", 20.0, 5.0), (made_contingency("back", 60.0, 0.0, "line 7"),))
    high, low = RankedOutage(made_contingency("high", 90.0), ()), RankedOutage(made_contingency("low", 10.0), ())
    order = sorted([low, back, high, past, stays], key=lambda o: o.rank, reverse=True)
    assert [o.alone.outage for o in order] == ["past", "stays", "back", "high", "low"]
    row = outage_row(back)
    assert (row["remedy"], row["unsupplied"], row["unsupplied_after"]) == ("line 7", "5.000", "0.000")
    assert row["loading_after"] == "line 9: 60.0 %" and row["loading_pct"] == "20.0"
    assert outage_row(stays)["remedy"] == "–"
    half = RankedOutage(back.alone, (*back.tried, made_contingency("back", 20.0, 4.0)))
    assert half.after.unsupplied_mw == 4.0 and [c.remedy for c in half.remedies] == ["line 7"]
    assert half.rank > stays.rank, "in one switching state nothing helps"


def test_headroom_is_the_most_that_breaks_no_limit(served: Served) -> None:
    at = NOW + 5 * QUARTER
    answer = served.get("desk", "/v1/desk/headroom", at=rfc3339(at))
    assert answer.status_code == 200 and answer.json()["at"] == rfc3339(at)
    network, flow = served.system.network, served.flow()
    assert network is not None
    assert [b["number"] for b in answer.json()["buses"]] == list(network.buses)
    room = {b["number"]: b["generation_mw"] for b in answer.json()["buses"]}
    mw, most = room[SHOWN_BUS], answer.json()["most_mw"]
    assert 0.0 < mw < most

    def broken(more_mw: float) -> bool:
        p = flow.p_mw[:, 5:6].copy()
        p[0, 0, network.buses.index(SHOWN_BUS)] += more_mw
        there = network.starting_at([int(k) for k in flow.taps[0, 4]])
        return bool(there.violations(there.flow(flow.grid.part(5, 6), p, flow.q_mvar[:, 5:6])))

    assert not broken(mw - 0.01) and broken(mw + most / 2**12)
    late = served.get("desk", "/v1/desk/headroom", at=rfc3339(NOW - QUARTER))
    assert late.status_code == 422 and late.json()["faults"][0]["field"] == "at"


def test_a_bus_is_told_by_the_rules_of_the_route(served: Served) -> None:
    desk, operator = (Principal("k", cast(Any, role), None) for role in (DESK, OPERATOR))
    hidden = told_of(served.api, desk, HIDDEN_BUS, NOW)
    assert hidden.interval is None and "fewer than 3 sites" in hidden.why
    bare = told_of(served.api, desk, BARE_BUS, NOW)
    assert bare.interval is None and "no controllable asset" in bare.why
    far = told_of(served.api, desk, SHOWN_BUS, NOW + 96 * QUARTER)
    assert far.interval is None and "outside the plan" in far.why
    assert told_of(served.api, operator, HIDDEN_BUS, NOW, patience_s=0.0).late, "an operator is answered"
    shown = told_of(served.api, desk, SHOWN_BUS, NOW)
    assert shown.interval is not None and shown.interval["start"] == rfc3339(NOW)
    assert shown.interval["p_min_mw"] <= shown.interval["planned"][0] <= shown.interval["p_max_mw"]


def test_the_page_shows_a_clicked_bus_outages_and_headroom(served: Served, outages: tuple[RankedOutage, ...]) -> None:
    async def used() -> DeskPage:
        made = opened(served)
        await made.refresh()
        await made.rank()
        await made._bus_clicked(SHOWN_BUS)
        return made

    assert served.client.portal is not None
    made = served.client.portal.call(used)
    assert made.network.at == 0 and made.network.drawing.chart.visible
    assert [r["outage"] for r in made.outages.rows] == [o.alone.outage for o in outages]
    assert made.no_outages.text == ""
    assert len(made.headroom.rows) == len(served.flow().vm_pu[0, 0])
    assert made.headroom.rows[0]["ours"] in ("yes", "")
    assert made.region.note.text.startswith(f"Bus {SHOWN_BUS} in the quarter hour from")
    assert "<polygon" in made.region.drawing.content
    assert [r["extreme"] for r in made.region.table.rows] == ["least P", "greatest P", "least Q", "greatest Q"]
    names = {a.id for a in served.system.portfolio.assets}
    texts = {node["text"] for node in made.network.drawing.options["series"][0]["data"]}
    assert not [name for name in names for text in texts if name in text], "a grid desk reads no asset's name"


def test_another_step_asks_again_and_a_reason_is_text(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def told(api: Api, who: Principal, bus: int, at: Any) -> Told:
        asked.append((bus, at))
        return Told(None, f"<i>{bus}</i>")

    async def moved() -> DeskPage:
        made = opened(served, "zh")
        await made.refresh()
        monkeypatch.setattr("vpp.service.page.region_panel.told_of", told)
        await made._bus_clicked(HIDDEN_BUS)
        made.network.chosen = NOW + 2 * QUARTER
        made.network._draw()
        await made._step_stays()
        return made

    assert served.client.portal is not None
    made = served.client.portal.call(moved)
    assert asked == [(HIDDEN_BUS, NOW), (HIDDEN_BUS, NOW + 2 * QUARTER)]
    assert f"<i>{HIDDEN_BUS}</i>" in made.region.note.text, "a label shows text, not markup"
    assert made.region.drawing.content == "" and made.region.table.rows == []
    assert made.headroom_of == ("r1", 2)
    found = headroom_mw(served.api, served.store.runs.get("r1"), served.flow(), 2)
    assert len(made.headroom.rows) == len(found)


def test_an_answer_that_comes_after_a_newer_question_is_not_shown(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer_shown = threading.Event()

    def told(api: Api, who: Principal, bus: int, at: Any) -> Told:
        if bus == HIDDEN_BUS:
            assert newer_shown.wait(30.0)
        return Told(None, f"told of {bus}")

    async def clicked_twice() -> str:
        made = opened(served)
        monkeypatch.setattr("vpp.service.page.region_panel.told_of", told)
        old = asyncio.create_task(made.region.ask(HIDDEN_BUS, NOW))
        await asyncio.sleep(0)
        await made.region.ask(SHOWN_BUS, NOW)
        newer_shown.set()
        await old
        return made.region.note.text

    assert served.client.portal is not None
    assert served.client.portal.call(clicked_twice).endswith(f"told of {SHOWN_BUS}")


def test_the_slider_and_the_drawing_tell_the_page(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def told(api: Api, who: Principal, bus: int, at: Any) -> Told:
        asked.append((bus, at))
        return Told(None, "no")

    def event(**values: Any) -> Any:
        return SimpleNamespace(**values)

    async def handled() -> DeskPage:
        made = opened(served)
        await made.refresh()
        monkeypatch.setattr("vpp.service.page.region_panel.told_of", told)
        await made.network._stays(event(args=4))
        await made.network._clicked(event(args={"dataType": "edge", "name": "line 1"}))
        await made.network._clicked(event(args={"dataType": "node", "name": str(SHOWN_BUS)}))
        await made.network._go_worst()
        await made.network._go_now()
        return made

    assert served.client.portal is not None
    made = served.client.portal.call(handled)
    network = served.system.network
    assert network is not None
    worst = network_chart.most_loaded(network, served.flow())
    assert worst is not None
    steps = (4, worst[0], 0)
    assert asked == [(SHOWN_BUS, NOW + step * QUARTER) for step in steps]
    assert made.headroom_of == ("r1", 0)


def test_without_a_plan_the_page_says_so(served: Served) -> None:
    async def empty() -> DeskPage:
        made = opened(served)
        made.show(replace(read(served.api), run=None, flow=None))
        await made.rank()
        await made.room()
        return made

    assert served.client.portal is not None
    made = served.client.portal.call(empty)
    assert made.plan.text == SAY("no_released_plan")
    assert made.no_headroom.text == SAY("no_headroom") and made.no_outages.text == SAY("no_outages")
    assert made.headroom.rows == [] and made.outages.rows == []


def test_the_region_is_drawn_to_scale_and_escaped() -> None:
    interval = {"polygon": [[-1.0, 0.0], [1.0, -0.5], [1.0, 0.5]], "planned": [0.0, 0.0]}

    def say(key: str, **values: object) -> str:
        return f"<{key}>"

    drawn = region_svg(interval, say)
    assert "<p_axis>" not in drawn and "&lt;p_axis&gt;" in drawn
    outline = drawn.split('points="')[1].split('"')[0]
    left, low, high = (tuple(map(float, pair.split(","))) for pair in outline.split())
    assert left[0] < low[0] == high[0] and high[1] < left[1] < low[1], "P to the right, Q upwards"
    assert left[1] == pytest.approx((low[1] + high[1]) / 2, abs=0.1)
    assert region_svg({"polygon": [], "planned": [0.0, 0.0]}, SAY) == ""
