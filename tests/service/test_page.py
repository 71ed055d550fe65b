"""The page: signed in by key, offline, and charts that say what the record says."""

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from nicegui import Client
from nicegui.page import page

from tests.service.api_world import NOW, START, World, made_run
from tests.service.test_api_desk import two_bus_flow
from vpp.domain.forecast import Forecast
from vpp.domain.forecast_score import SeriesScore
from vpp.domain.time import QUARTER, TimeGrid
from vpp.service.api.network_view import plan_forecast
from vpp.service.page import charts, network_chart, view
from vpp.service.page.forecast_panel import ForecastPanel
from vpp.service.page.layout import fitted, on_map, tree_layout
from vpp.service.page.lines import event_line, forecast_line, plan_line
from vpp.service.page.network_panel import step_of
from vpp.service.page.snapshot import Snapshot, band_of, collect, recent_runs
from vpp.service.page.view import Page
from vpp.service.page.words import LANGUAGES, words
from vpp.service.received import LIMITS

OTHER_HOST = re.compile(r"""(?:src|href)=["']?https?://|url\(["']?https?://|import[^;]*["']https?://""")
SAY = words("en")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world whose page runs: NiceGUI is one application per process."""
    world = World(tmp_path_factory.mktemp("page"))
    with world.client:
        yield world
    world.store.close()


@pytest.fixture(scope="module")
def shown(served: World) -> Snapshot:
    return collect(served.app.state.api)


def sign_in(world: World, token: str) -> TestClient:
    browser = TestClient(world.app)
    browser.post("/session", content=f"token={token}", headers={"content-type": "application/x-www-form-urlencoded"})
    return browser


def test_without_a_key_the_page_leads_to_the_sign_in(served: World) -> None:
    browser = TestClient(served.app)
    answer = browser.get("/")
    assert answer.url.path == "/sign-in"
    assert answer.status_code == 200
    assert 'type="password"' in answer.text or "password" in answer.text
    for token in ("wrong", served.data_centre, served.issuer):
        assert sign_in(served, token).get("/").url.path == "/sign-in"


def test_the_page_is_there_for_an_operator_and_needs_no_other_host(served: World) -> None:
    browser = sign_in(served, served.operator)
    answer = browser.get("/")
    assert (answer.url.path, answer.status_code) == ("/", 200)
    assert SAY("plan_title") in answer.text
    assert not OTHER_HOST.search(answer.text)
    assets = set(re.findall(r"""["'(](/_nicegui/[^"'()\s]+\.(?:js|css))""", answer.text))
    assert assets
    for path in sorted(assets):
        found = browser.get(path)
        assert found.status_code == 200, path
        if path.endswith(".css"):
            assert not OTHER_HOST.search(found.text), path
    assert browser.get("/v1/runs").status_code == 200, "one cookie serves page and API"
    browser.get("/sign-out")
    assert browser.get("/v1/runs").status_code == 401


def test_the_language_is_kept(served: World) -> None:
    browser = sign_in(served, served.operator)
    assert words("zh")("plan_title") in browser.get("/?lang=zh").text
    assert words("zh")("plan_title") in browser.get("/").text
    assert SAY("plan_title") in browser.get("/?lang=en").text


def test_an_open_page_needs_no_key_but_its_api_does(tmp_path: Path, served: World) -> None:
    world = World(tmp_path, open_page=True)
    browser = TestClient(world.app)
    assert browser.get("/").url.path == "/"
    assert browser.get("/v1/runs").status_code == 401
    world.store.close()


def test_a_refresh_fills_every_chart_and_table(served: World) -> None:
    async def opened() -> Page:
        with Client(page("")):
            made = Page(served.app.state.api, "zh")
            made.build()
            await made.refresh()
            return made

    assert served.client.portal is not None
    made = served.client.portal.call(opened)
    assert all(made.charts[name].options["series"] for name in ("plan", "price", "stores", "event"))
    assert made.tables["runs"].rows[1]["level"] == words("zh")("level_optimal")
    assert len(made.tables["states"].rows) == len(served.system.portfolio.assets)
    assert made.network.drawing.note.text == words("zh")("network_none")
    panel = made.forecasts
    assert panel.fan.options["series"] and panel.choice.value == panel.choice.options[0]
    assert made.network.drawing.note.visible and not made.network.drawing.chart.visible


def test_the_chosen_series_is_drawn_and_kept_and_its_score_is_in_the_table(served: World, shown: Snapshot) -> None:
    assert shown.fan is not None
    names, wide = shown.fan.forecast.series, {"50": 0.5, "80": 0.8, "90": 0.9}
    score = SeriesScore(names[1], "blend+naive", 1.0, 2.0, wide, 7, True, NOW, {0.5: 0.4})

    async def chosen() -> ForecastPanel:
        with Client(page("")):
            made = Page(served.app.state.api, "en")
            made.build()
            made.show(shown)
            made.forecasts.choice.set_value(names[1])
            made.show(replace(shown, scores=(score,), earlier_fan=None))
            assert made.forecasts.issued.text == "issued 2016-07-12 15:00"
            made.forecasts.which.set_value("earlier")
            assert made.forecasts.issued.text == "" and made.forecasts.fan.note.visible, "there is none"
            return made.forecasts

    assert served.client.portal is not None
    panel = served.client.portal.call(chosen)
    assert panel.choice.value == names[1]
    assert [line["name"] for line in panel.reliability.options["series"]][1] == names[1]
    assert panel.table.rows == [{
        "series": names[1], "loss": "1", "loss_naive": "2", "skill": "50.0", "50": "50.0", "80": "80.0", "90": "90.0",
        "n": 7, "source": "blend + seasonal naive", "until": "2016-07-12 15:00", "drifted": "yes",
    }]  # fmt: skip
    assert panel.line.text.startswith("Better than the naive in 1 of 1 series.")


def test_both_languages_say_everything() -> None:
    assert LANGUAGES["en"].keys() == LANGUAGES["zh"].keys()
    holes = re.compile(r"\{(\w+)\}")
    for key, text in LANGUAGES["en"].items():
        assert set(holes.findall(text)) == set(holes.findall(LANGUAGES["zh"][key])), key


def test_the_snapshot_reads_the_plan_in_force(shown: Snapshot) -> None:
    assert shown.run is not None and shown.run.id == "r1"
    assert shown.plan is not None and shown.plan.values == pytest.approx(np.full(24, 0.1))
    assert [name for name, _ in shown.stores] == ["battery-glass"]
    assert shown.event is not None and shown.event.event.id == "dr-1"
    assert shown.event.baseline is not None and shown.event.baseline.values == pytest.approx(np.full(6, -3.0))
    assert [r.id for r in shown.runs] == ["r2", "r1"]
    assert np.isfinite(shown.price.values).all()


def test_charts_use_local_wall_time_and_mark_the_event(shown: Snapshot) -> None:
    options = charts.plan_chart(shown, SAY)
    plan = next(s for s in options["series"] if s["name"] == SAY("plan"))
    assert plan["data"][0] == [charts.wall_ms(NOW, "Europe/Berlin"), pytest.approx(0.1)]
    assert charts.wall_ms(NOW, "Europe/Berlin") - NOW.timestamp() * 1000 == 2 * 3600 * 1000, "summer time"
    assert len(plan["data"]) == 25, "the last interval has its width"
    meter = options["series"][-1]
    area = meter["markArea"]["data"][0]
    assert area[0]["xAxis"] == charts.wall_ms(START, "Europe/Berlin")
    assert meter["data"][0][1] is None, "a gap is a gap"
    price = charts.price_chart(shown, SAY)
    assert [s["name"] for s in price["series"]] == ["Price", "Firm position"]
    assert [axis["name"] for axis in price["yAxis"]] == ["Price, EUR/MWh", "Firm position, MW"]
    assert price["xAxis"]["name"] == "Local time (Europe/Berlin)"
    assert charts.stores_chart(shown, SAY)["series"][0]["name"] == "battery-glass"
    assert [s["name"] for s in charts.event_chart(shown, SAY)["series"]][1] == SAY("baseline")


def test_the_band_is_the_plan_plus_what_the_scenarios_leave_open(served: World) -> None:
    portfolio = served.system.portfolio
    wind = next(a for a in portfolio.assets if a.inputs.get("available_mw"))
    given = wind.inputs["available_mw"]
    assert given.series is not None
    run = made_run(served.system, "x")
    scenarios = np.tile(np.linspace(-1.0, 1.0, 101)[:, None, None], (1, 1, 24))
    quantiles = np.zeros((1, 9, 24))
    levels = (0.05, 0.10, 0.25, 0.40, 0.50, 0.60, 0.75, 0.90, 0.95)
    forecast = Forecast(NOW, run.schedule.grid, (given.series,), levels, quantiles, scenarios, ("naive",))
    scale = sum(
        i.scale
        for a in portfolio.assets
        for n, i in a.inputs.items()
        if n == "available_mw" and i.series == given.series
    )
    band = band_of(portfolio, run.schedule, forecast)
    assert band is not None
    assert band[0].values == pytest.approx(np.full(24, 0.1 - 0.9 * scale))
    assert band[1].values == pytest.approx(np.full(24, 0.1 + 0.9 * scale))
    assert band_of(portfolio, run.schedule, replace(forecast, scenarios=scenarios[:0])) is None


@pytest.mark.parametrize(("loading", "colour"), [(20, charts.GREEN), (85, charts.ORANGE), (100, charts.RED)])
def test_lines_are_coloured_by_loading(loading: float, colour: str) -> None:
    flow = two_bus_flow(TimeGrid.uniform(NOW, QUARTER, 2), loading)
    network = cast(Any, SimpleNamespace(buses=(98, 99), elements=("line 1",), ends={"line 1": (98, 99)}))
    graph = network_chart.network_chart(network, flow, 1, SAY, {})["series"][0]
    assert [(x["source"], x["target"], x["lineStyle"]["color"]) for x in graph["links"]] == [("98", "99", colour)]
    bare = cast(Any, SimpleNamespace(buses=(98, 99), elements=("line 1",)))
    assert network_chart.network_chart(bare, flow, 1, SAY, {})["series"] == []
    (bar,) = network_chart.bars_chart(bare, flow, 1, SAY)["series"]
    assert bar["data"][0]["itemStyle"]["color"] == colour


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).filter(lambda e: e[0] != e[1]), max_size=40))
def test_every_bus_has_a_place_of_its_own(edges: list[tuple[int, int]]) -> None:
    ends = {f"line {i}": e for i, e in enumerate(edges)}
    places = tree_layout(ends)
    assert places.keys() == {b for e in edges for b in e}
    assert len(set(places.values())) == len(places)


def test_the_page_says_which_forecasts_are_naive(shown: Snapshot) -> None:
    assert forecast_line(replace(shown, naive=None), SAY) == SAY("no_forecast")
    assert forecast_line(replace(shown, naive=()), SAY) == SAY("naive_none")
    line = forecast_line(replace(shown, naive=("a", "b"), forecasts=40), SAY)
    assert "2 of 40" in line and "a, b" in line


def test_the_busbars_of_a_substation_are_drawn_apart_and_north_is_up() -> None:
    places = fitted(
        on_map({1: (11.45, 53.59), 2: (11.45, 53.59), 3: (11.45, 53.59), 4: (11.50, 53.61), 5: (11.45, 53.58)})
    )
    together = [places[1], places[2], places[3]]
    gaps = [math.dist(a, b) for a, b in itertools.combinations(together, 2)]
    assert min(gaps) > 20.0 and max(gaps) < 60.0, "of 1000 units"
    assert places[4][1] < min(y for _, y in together) < max(y for _, y in together) < places[5][1]
    assert places[4][0] > max(x for x, _ in together)
    metres = (places[4][0] - places[5][0]) / (places[5][1] - places[4][1])
    assert metres == pytest.approx(0.05 * math.cos(math.radians(53.592)) / 0.03, rel=1e-3)


@given(st.dictionaries(st.integers(0, 50), st.tuples(st.floats(-180, 180), st.floats(-80, 80)), max_size=30))
def test_a_map_fits_its_frame(coordinates: dict[int, tuple[float, float]]) -> None:
    places = fitted(on_map(coordinates))
    assert places.keys() == coordinates.keys()
    assert all(-1e-6 <= v <= 1000.0 + 1e-6 for place in places.values() for v in place)


def test_open_elements_are_dashed_and_the_worst_closed_one_is_thick() -> None:
    flow = two_bus_flow(TimeGrid.uniform(NOW, QUARTER, 2), 40.0)
    loading = np.array([[[40.0, 60.0, 90.0], [40.0, 60.0, 90.0]]])
    flow = replace(flow, loading_pct=loading)
    network = cast(Any, SimpleNamespace(
        buses=(98, 99), elements=("line 1", "line 2", "line 3"), ends={f"line {n}": (98, 99) for n in (1, 2, 3)},
        open_at=lambda moment: frozenset({"line 3"} if moment == NOW else ()),
    ))  # fmt: skip

    def drawn(step: int) -> list[tuple[str, float]]:
        graph = network_chart.network_chart(network, flow, step, SAY, {98: "<mill>"})["series"][0]
        assert [n["text"] for n in graph["data"]] == ["Bus 98: 1.0000 pu<br>&lt;mill&gt;", "Bus 99: 1.0000 pu"]
        return [(x["lineStyle"].get("type", "solid"), x["lineStyle"]["width"]) for x in graph["links"]]

    assert drawn(0) == [("solid", 3), ("solid", 6), ("dashed", 1.5)]
    assert drawn(1) == [("solid", 3), ("solid", 3), ("solid", 6)]
    assert network_chart.most_loaded(network, flow) == (0, "line 3", 90.0)


def test_the_network_shows_now_until_a_moment_is_chosen() -> None:
    flow = two_bus_flow(TimeGrid.uniform(NOW, QUARTER, 8), 40.0)
    assert [step_of(flow, NOW + k * timedelta(minutes=5)) for k in (-9, 0, 2, 3, 23, 24, 99)] == [0, 0, 0, 1, 7, 7, 7]


def test_a_failed_reading_is_said_and_the_next_one_heals_it(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(api: Any) -> Snapshot:
        raise ValueError("no")

    async def read_twice() -> list[str]:
        with Client(page("")):
            made = Page(served.app.state.api, "en")
            made.build()
            said = []
            for reader in (broken, collect):
                monkeypatch.setattr(view, "collect", reader)
                await made.refresh()
                said.append(made.labels["failed"].text)
            return said

    assert served.client.portal is not None
    assert served.client.portal.call(read_twice) == [SAY("reading_failed"), ""]


def test_a_record_that_no_loop_runs_gets_a_forecast_for_looking_only(served: World) -> None:
    api = served.app.state.api
    run = replace(made_run(served.system, "looked-at"), id="looked-at")
    served.now = NOW + timedelta(minutes=7)
    try:
        found = plan_forecast(api, run)
    finally:
        served.now = NOW
    assert found is not None and found.issued_at == NOW and found.grid.end == run.schedule.grid.end
    assert found.scenarios.shape[0] == 200
    assert plan_forecast(api, run) is found, "kept"
    assert served.system.last_forecast is None, "the loop's own is not touched"


def test_the_lines_say_what_is_in_force(shown: Snapshot) -> None:
    assert plan_line(replace(shown, run=None), SAY) == SAY("no_released_plan")
    said = plan_line(shown, SAY)
    assert "intraday, issued 2016-07-12 15:00, optimal" in said
    assert "clean, 97 % of 200 scenarios without violation" in said
    assert shown.run is not None
    limited = replace(shown.run, certificate=None, inputs={LIMITS: {"issuers": ["Ring grid", "Coast"]}})
    assert "Certificate: none; limits received from Ring grid, Coast." in plan_line(replace(shown, run=limited), SAY)
    assert event_line(shown, SAY) == (
        "dr-1: 1.00 MW more injection on 2016-07-12, 17:30 to 19:00; offered, waiting for answers."
    )
    assert event_line(replace(shown, event=None), SAY) == ""


def test_every_stage_keeps_its_last_runs_on_the_page(tmp_path: Path) -> None:
    world = World(tmp_path)
    for k in range(9):
        at = NOW + timedelta(minutes=k)
        run = made_run(world.system, f"t{k}", at, 4, stage="real_time", purpose="track", cycle_start=at)
        world.store.runs.record(run, [])
    assert [r.id for r in recent_runs(world.app.state.api)] == ["t8", "t7", "t6", "t5", "r2", "r1"]
    world.store.close()
