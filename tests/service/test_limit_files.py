"""limits.yaml: what it binds, and every fault of it at once; the example portfolio is the demo without its model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from grid_models.model import GridModel
from tests.service.conftest import DEMO, ROOT, local
from vpp.domain.envelope import newest
from vpp.domain.errors import InputFaults
from vpp.domain.time import QUARTER
from vpp.service.portfolio import LoadedPortfolio, load_portfolio

EXAMPLE = ROOT / "config" / "demo-limits"
PLACE = {"id": "cable", "of": {"sites": ["plastics-works"]}, "import_mw": 1.1, "export_mw": 0.4}
SENT = {
    "id": "doe-1", "issuer": "dso", "place": "cable", "received_at": "2016-07-11T05:00:00Z",
    "intervals": [{"start": "2016-07-12T10:00:00+02:00", "end": "2016-07-12T12:00:00+02:00", "import_mw": 0.5}],
}  # fmt: skip


def folder(path: Path, **sections: Any) -> Path:
    """The demo with a limits.yaml."""
    shutil.copytree(DEMO, path)
    (path / "limits.yaml").write_text(yaml.safe_dump(sections))
    return path


def issuer(*places: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"id": "dso", "name": "Ring grid operator", "places": list(places), **changes}


def faults(path: Path, **sections: Any) -> list[str]:
    with pytest.raises(InputFaults) as caught:
        load_portfolio(folder(path, **sections))
    return [str(f) for f in caught.value.faults]


def test_places_bind_whom_they_name(tmp_path: Path) -> None:
    scopes: dict[str, dict[str, list[str]]] = {
        "asset": {"assets": ["chp"]}, "meter": {"metering_points": ["mp:mill-1", "mp:mill-2"]},
        "group": {"congestion_points": ["feeder-9"]}, "unit": {"trading_units": ["demo-unit"]},
        "sites": {"sites": ["glass-works", "steel-shop"], "assets": ["chp"]},
    }  # fmt: skip
    places = [{**PLACE, "id": name, "of": of} for name, of in scopes.items()]
    loaded = load_portfolio(folder(tmp_path / "p", issuers=[issuer(PLACE, *places)], envelopes=[SENT]))
    bound = {p.id: p.assets for p in loaded.received.places}
    buses = loaded.portfolio.congestion_points[0].buses
    assert bound["cable"] == ("extruders", "battery-plastics") and bound["asset"] == ("chp",)
    assert bound["meter"] == ("mill-1", "mill-2")
    assert bound["group"] == tuple(a.id for a in loaded.portfolio.assets if a.bus in buses)
    assert bound["unit"] == tuple(a.id for a in loaded.portfolio.assets)
    assert bound["sites"] == ("melting", "battery-glass", "battery-steel", "chp", "finishing-shop")
    (sent,) = loaded.received.envelopes
    assert sent.revision == 1 and sent.intervals[0].start == local("2016-07-12 10:00")
    assert sent.intervals[0].export_mw is None and loaded.received.names == {"dso": "Ring grid operator"}


def test_an_id_may_come_back_with_another_revision(tmp_path: Path) -> None:
    again = {**SENT, "revision": 2, "intervals": []}
    loaded = load_portfolio(folder(tmp_path / "p", issuers=[issuer(PLACE)], envelopes=[SENT, again]))
    (known,) = newest(loaded.received.envelopes, local("2016-07-12 00:00"))
    assert known.revision == 2 and known.intervals == ()


def test_every_fault_is_listed_at_once(tmp_path: Path) -> None:
    wrong = [
        {**PLACE, "id": "chp"},
        {**PLACE, "id": "b", "of": {"sites": ["nowhere"], "congestion_points": ["feeder-7"]}},
        {**PLACE, "id": "c", "of": {"sites": ["wind-park"], "congestion_points": []}},
        {**PLACE, "id": "c"},
    ]
    sent = [
        {**SENT, "issuer": "nobody"}, {**SENT, "id": "doe-2", "place": "d"}, {**SENT, "id": "doe-3"},
        {**SENT, "id": "doe-3"}, {**SENT, "id": "doe-4", "received_at": "2016-07-11T05:00:00", "revision": 0},
        {**SENT, "id": "doe-5", "intervals": [{**SENT["intervals"][0], "import_mw": None, "export_kw": 3}]},  # type: ignore[index]
    ]  # fmt: skip
    found = faults(tmp_path / "p", issuers=[issuer(PLACE, *wrong)], envelopes=sent, envelope=[])
    for part in (
        "limits.yaml/envelope: unknown field", "chp/id: is taken", "b/of.sites: unknown site nowhere",
        "b/of.congestion_points: unknown congestion point feeder-7", "c/id: is taken", "b/of: binds no asset",
        "doe-1/issuer: unknown issuer nobody", "doe-2/place: dso states no default limits for d",
        "doe-3/revision: 1 of dso is given twice", "doe-4/received_at", "doe-4/revision", "doe-5/intervals.0",
    ):  # fmt: skip
        assert any(f.startswith(part) for f in found), (part, found)


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"envelopes": [SENT]}, "limits.yaml/issuers: is missing"),
        ({"issuers": [issuer()]}, "dso/places"),
        ({"issuers": [issuer({**PLACE, "import_mw": -1})]}, "dso/places.0.import_mw"),
        ({"issuers": [issuer({"id": "cable", "of": PLACE["of"], "import_mw": 1})]}, "dso/places.0.export_mw"),
        ({"issuers": [issuer({**PLACE, "of": {}})]}, "dso/places.0.of"),
        ({"issuers": [issuer(PLACE), issuer({**PLACE, "id": "x"})]}, "dso/id: duplicate id"),
    ],
)
def test_a_fault_is_named_for_its_field(tmp_path: Path, sections: dict[str, Any], reason: str) -> None:
    found = faults(tmp_path / "p", **sections)
    assert any(f.startswith(reason) for f in found), found


def test_the_example_is_the_demo_without_its_network(checked: tuple[LoadedPortfolio, GridModel]) -> None:
    demo, grid = checked
    example = load_portfolio(EXAMPLE)
    assert example.network is None and not (EXAMPLE / "network.yaml").exists()
    mine, theirs = example.portfolio, demo.portfolio
    assert mine.assets == theirs.assets and mine.sites == theirs.sites
    assert mine.trading_units == theirs.trading_units and mine.congestion_points == theirs.congestion_points
    assert (example.market, example.stages, example.initial) == (demo.market, demo.stages, demo.initial)
    assert example.events == demo.events and example.rules is not None and demo.rules is not None
    assert example.rules.digest == demo.rules.digest
    for name, series in example.series.items():
        source = grid.series.get(name, demo.series.get(name))
        assert source is not None
        k, j = ((local("2016-06-01 00:00") - x.start) // QUARTER for x in (series, source))
        np.testing.assert_allclose(series.values[k : k + 960], source.values[j : j + 960], atol=1e-4)


def test_a_file_may_build_on_another(tmp_path: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "demo")
    mine = tmp_path / "mine"
    shutil.copytree(EXAMPLE, mine)
    elsewhere = "\nlocation: {latitude: 1.0, longitude: 2.0}\n"
    (mine / "portfolio.yaml").write_text((EXAMPLE / "portfolio.yaml").read_text() + elsewhere)
    first = load_portfolio(mine)
    assert first.portfolio.id == "demo-limits" and first.location.latitude == 1.0
    assert set(first.series) == {"steel", *(p.stem.replace("-", ":", 1) for p in mine.glob("series/*-*.parquet"))}
    market = tmp_path / "demo" / "market.yaml"
    market.write_text(market.read_text().replace("deviation_beta: 0.25", "deviation_beta: 0.5"))
    second = load_portfolio(mine)
    assert (first.market.deviation_beta, second.market.deviation_beta) == (0.25, 0.5)
    assert first.digest != second.digest


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("base: ../nowhere.yaml", "market.yaml/base: ../nowhere.yaml is no file"),
        ("base: [a]", "market.yaml/base: ['a'] is no file"),
        ("base: stages.yaml", "market.yaml/base: stages.yaml builds on another file itself"),
    ],
)
def test_a_base_that_cannot_be_built_on_is_named(tmp_path: Path, text: str, reason: str) -> None:
    shutil.copytree(DEMO, tmp_path / "demo")
    shutil.copytree(EXAMPLE, tmp_path / "mine")
    (tmp_path / "mine" / "market.yaml").write_text(text)
    with pytest.raises(InputFaults) as caught:
        load_portfolio(tmp_path / "mine")
    assert reason in [str(f) for f in caught.value.faults]


def test_the_example_has_limits_of_every_sort() -> None:
    received = load_portfolio(EXAMPLE).received
    assert {p.issuer for p in received.places} == {i.id for i in received.issuers}
    assert any(len(p.assets) == 1 for p in received.places) and any(len(p.assets) > 5 for p in received.places)
    assert len({e.id for e in received.envelopes}) < len(received.envelopes), "one of them was revised"
