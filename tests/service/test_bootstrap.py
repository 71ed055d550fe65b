"""A portfolio is held against its network as a whole: every fault of files, buses, series and the network at once."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pandapower as pp
import pytest

from adapters.relay import Relay
from forecasting.pipeline import Pipeline
from tests.grid_models.small_net import small_net
from tests.service.conftest import ISSUED, Make
from vpp.domain.errors import InputFaults
from vpp.service.bootstrap import connect_field, load_checked, load_stated, open_system, weights_of
from vpp.service.dr import holidays
from vpp.service.portfolio import load_portfolio
from vpp.service.portfolio_files import country_of
from vpp.service.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DEMO, CACHE = ROOT / "config" / "demo", ROOT / ".cache" / "vpp"
P, N = "portfolio.yaml", "network.yaml"
Folder = Callable[..., Path]

CHANGES = {
    "chp/kind: unknown kind turbine": (P, "kind: chp", "kind: turbine"),
    "battery-cold-store/capacity_mwh: is negative": (
        P, "{power_mw: 0.6, capacity_mwh: 1.2", "{power_mw: 0.6, capacity_mwh: -1.2",
    ),
    "cooling/bus: unknown bus 980": (P, "    bus: 98\n", "    bus: 980\n"),
    "wind-82/inputs.available_mw: missing series gen:WP9": (P, "gen:WP8", "gen:WP9"),
    "feeder-9/buses: unknown bus 900": (P, "buses: [90, 91", "buses: [900, 91"),
    "market.yaml/": ("market.yaml", "weekend_factor: 0.8", "weekend_factor: .nan"),
    "section-84/outage: line 840": (N, "lines_out: [84]", "lines_out: [840]"),
    "events.yaml/colour: unknown field": ("events.yaml", "events:", "colour: red\nevents:"),
}  # fmt: skip


@pytest.fixture
def changed(tmp_path: Path) -> Folder:
    """The demo with text replaced: (file, old, new) each, where `old` must be there."""

    def make(*changes: tuple[str, str, str]) -> Path:
        folder = tmp_path / "portfolio"
        shutil.copytree(DEMO, folder)
        for file, old, new in changes:
            text = (folder / file).read_text()
            assert old in text, f"{old} is not in {file}"
            (folder / file).write_text(text.replace(old, new, 1))
        return folder

    return make


def faults_of(folder: Path, cache: Path = CACHE) -> list[str]:
    with pytest.raises(InputFaults) as caught:
        load_checked(folder, cache)
    return [str(fault) for fault in caught.value.faults]


def test_faults_of_files_buses_series_and_network_come_at_once(changed: Folder) -> None:
    found = faults_of(changed(*CHANGES.values()))
    missing = [start for start in CHANGES if not any(fault.startswith(start) for fault in found)]
    assert missing == [], found
    assert len(found) == len(CHANGES), found


def test_the_command_lists_them_all_and_ends_with_2(
    changed: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from vpp.service.cli import main

    out = tmp_path / "plan.json"
    words = ["vpp", "plan", "--portfolio", str(changed(*CHANGES.values())), "--day", "2016-07-12", "--json", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setenv("VPP_CACHE_DIR", str(CACHE))
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert not out.exists()
    assert [start for start in CHANGES if not any(line.startswith(start) for line in told)] == []


def test_the_portfolio_alone_tells_as_much_and_needs_no_network_when_it_is_right(
    changed: Folder, tmp_path: Path
) -> None:
    empty = tmp_path / "cache"
    assert load_stated(DEMO, empty).portfolio.id == "demo"
    assert not empty.exists()
    folder = changed(CHANGES["chp/kind: unknown kind turbine"], CHANGES["cooling/bus: unknown bus 980"])
    with pytest.raises(InputFaults) as caught:
        load_stated(folder, CACHE)
    assert {fault.field for fault in caught.value.faults} == {"kind", "bus"}


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("1-MV-comm--2-sw", "1-MV-comm--9-sw", "network.yaml/model: simbench code '1-MV-comm--9-sw' is unknown"),
        ("[80, 81,", "[8000, 81,", "network.yaml/model: own_generation: sgen 8000 does not exist"),
        ("load_growth: 1.5", "load_growth: 40", "network.yaml/model: does not converge"),
        ("simbench: 1-MV-comm--2-sw", "file: none.json", "network.yaml/model: network file "),
        ("load_growth: 1.5", "load_growth: -1", "network.yaml/load_growth: "),
    ],
)
def test_a_network_that_cannot_be_used_is_a_fault(
    changed: Folder, tmp_path: Path, old: str, new: str, fault: str
) -> None:
    found = faults_of(changed((N, old, new), CHANGES["chp/kind: unknown kind turbine"]), tmp_path / "cache")
    assert sum(f.startswith(fault) for f in found) == 1, found
    assert any(f.startswith("chp/kind") for f in found)
    assert len(found) == 2, found


def test_an_element_that_does_not_exist_is_a_fault(changed: Folder) -> None:
    found = faults_of(changed((P, "element: line 18", "element: line 9999")))
    assert found == ["feeder-9/element: unknown element line 9999"]


def test_a_generator_of_ours_is_not_fed_in_by_the_background_too(changed: Folder, tmp_path: Path) -> None:
    found = faults_of(changed((N, "[80, 81, 82, 83, 84, 87, 88, 89]", "[]")), tmp_path / "cache")
    assert len(found) == 8
    said = "wind-82 is a generator of the grid too (gen:WP8, 6.1 MW at bus 89); list it, or it counts twice"
    assert f"network.yaml/own_generation: {said}" in found


@pytest.mark.parametrize("content", ["{", "[1, 2]", '{"a": 1}', "", "no json"])
def test_an_unreadable_network_file_is_a_fault(changed: Folder, tmp_path: Path, content: str) -> None:
    folder = changed((N, "simbench: 1-MV-comm--2-sw", "file: net.json"))
    (folder / "net.json").write_text(content)
    (found,) = faults_of(folder, tmp_path / "cache")
    assert found.startswith("network.yaml/model: ")
    assert "net.json" in found


def test_a_network_file_is_taken_from_the_folder_and_its_buses_are_checked(
    changed: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = changed((N, "simbench: 1-MV-comm--2-sw", "file: net.json"), (N, "[80, 81, 82, 83, 84, 87, 88, 89]", "[]"))
    pp.to_json(small_net(), str(folder / "net.json"))
    monkeypatch.chdir(tmp_path)
    found = faults_of(folder, tmp_path / "cache")
    assert "cooling/bus: unknown bus 98" in found
    assert "section-84/outage: line 84 does not exist" in found, [f for f in found if "section" in f]
    assert not any(f.startswith("network.yaml") for f in found)


def test_what_a_unit_of_each_series_injects_is_its_weight() -> None:
    found = weights_of(load_portfolio(DEMO).portfolio)
    assert found["steel"] == -1.0
    assert all(w > 0 if name.startswith("gen:") else w < 0 for name, w in found.items())
    assert len(found) > 5


def test_commands_go_straight_to_the_devices_unless_a_redis_server_is_named(make: Make, tmp_path: Path) -> None:
    system = make(ISSUED, network=False)
    connect_field(system, {}, tmp_path / "log.db", None)
    assert isinstance(system.relay, Relay)
    with pytest.raises(InputFaults, match="environment/redis_url"):
        connect_field(system, {}, tmp_path / "log.db", "redis://127.0.0.1:1/0")


@pytest.mark.parametrize(
    ("zone", "stated", "country"),
    [
        ("Europe/Berlin", "holidays: DE\n", "DE"),
        ("Europe/Berlin", "holidays: CN\n", "CN"),
        ("Asia/Shanghai", "", "CN"),
        ("Europe/Berlin", "", "DE"),
        ("UTC", "", ""),
    ],
)
def test_forecasts_the_screen_and_baselines_keep_the_holidays_of_the_portfolio(
    zone: str, stated: str, country: str, tmp_path: Path
) -> None:
    for name in ("demo", "demo-limits"):
        shutil.copytree(ROOT / "config" / name, tmp_path / name)
    path = tmp_path / "demo" / P
    text = path.read_text().replace("\nzone: Europe/Berlin\n", f"\nzone: {zone}\n")
    path.write_text(text.replace("holidays: DE\n", stated))
    system = open_system(tmp_path / "demo-limits", "sqlite://", Settings(cache_dir=CACHE), ISSUED, models=False)
    national = {"DE": date(2016, 12, 26), "CN": date(2016, 10, 4)}
    assert system.portfolio.holidays == country
    assert system.screen is not None
    assert isinstance(system.forecaster, Pipeline)
    for calendar in (system.forecaster.calendar, system.screen.calendar):
        found = calendar.holidays(2016)
        assert calendar.zone == zone
        assert {name for name, day in national.items() if day in found} == {country} - {""}
    assert found <= holidays(country, ISSUED)
    system.store.close()


def test_a_zone_of_no_country_has_none() -> None:
    assert [country_of(z) for z in ("Europe/Berlin", "Europe/Zurich", "UTC", "Etc/GMT-1")] == ["DE", "CH", "", ""]
