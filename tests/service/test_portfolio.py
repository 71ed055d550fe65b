"""The demo loads clean; every bad input is named, and several are all named at once."""

import itertools
import re
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import yaml

from dispatch.registry import KINDS
from vpp.domain.errors import InputFaults
from vpp.domain.time import TimeGrid
from vpp.service.inputs import series_used
from vpp.service.plausible import SWITCHED, controls
from vpp.service.portfolio import LoadedPortfolio, load_portfolio, read_portfolio
from vpp.service.references import check_against_network, check_against_series

DEMO = Path(__file__).resolve().parents[2] / "config" / "demo"
Folder = Callable[..., Path]


@pytest.fixture(scope="module")
def demo() -> LoadedPortfolio:
    return load_portfolio(DEMO)


@pytest.fixture
def changed(tmp_path: Path) -> Folder:
    """The demo with text replaced: (file, old, new) each, where `old` must be there."""

    number = itertools.count()

    def make(*changes: tuple[str, str, str]) -> Path:
        folder = tmp_path / f"portfolio-{next(number)}"
        shutil.copytree(DEMO, folder)
        for file, old, new in changes:
            text = (folder / file).read_text()
            assert old in text, f"{old} is not in {file}"
            (folder / file).write_text(text.replace(old, new, 1))
        return folder

    return make


def faults_of(folder: Path) -> list[str]:
    with pytest.raises(InputFaults) as caught:
        load_portfolio(folder)
    return [str(fault) for fault in caught.value.faults]


P = "portfolio.yaml"
CASES = yaml.safe_load((Path(__file__).parent / "bad_portfolios.yaml").read_text())
BAD = {name: ((case["file"], case["old"], case["new"]), case["fault"]) for name, case in CASES.items()}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name: str, changed: Folder) -> None:
    change, pattern = BAD[name]
    found = faults_of(changed(change))
    assert any(re.search(pattern, fault) for fault in found), found


def test_one_fault_is_told_once(changed: Folder) -> None:
    for name in ("negative capacity", "pmin above pmax", "nan", "soc window upside down", "unknown kind"):
        assert len(faults_of(changed(BAD[name][0]))) == 1, name


def test_both_entries_of_a_repeated_id_are_faulted(changed: Folder) -> None:
    first = (P, "{power_mw: 0.6, capacity_mwh: 1.2", "{power_mw: 0.6, capacity_mwh: -1.2")
    found = faults_of(changed(first, (P, "id: battery-glass", "id: battery-cold-store")))
    assert "battery-cold-store/id: duplicate id in assets" in found
    assert "battery-cold-store/capacity_mwh: is negative, got -1.2" in found


@pytest.mark.parametrize(("suffix", "content"), [("parquet", b"PAR1 broken"), ("csv", b"local_time,mw\n\xff\xfe,1\n")])
def test_an_unreadable_series_is_a_fault_of_that_series(suffix: str, content: bytes, changed: Folder) -> None:
    folder = changed((P, "series/steel.parquet", f"series/bad.{suffix}"))
    (folder / f"series/bad.{suffix}").write_bytes(content)
    found = faults_of(folder)
    assert len(found) == 1 and found[0].startswith(f"steel/file: series/bad.{suffix} is unreadable: ")


UNREADABLE = {
    "a mapping as a key": "? {a: b}\n: 1\n",
    "a list as a key": "? [a, b]\n: 1\n",
    "a date that does not exist": "start: 2016-13-45T00:00:00Z\n",
    "a mapping that holds itself": "a: &x {y: *x}\n",
    "an integer of 5000 digits": f"a: {'9' * 5000}\n",
    "brackets without end": f"a: {'[' * 100_000}\n",
    "aliases that double": "a0: &a0 [x, x]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]\n" for k in range(1, 40)),
}  # fmt: skip


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("file", ["portfolio", "network"])
def test_a_file_that_cannot_be_read_is_one_fault_and_never_a_crash(name: str, file: str, changed: Folder) -> None:
    folder = changed()
    (folder / f"{file}.yaml").write_text(UNREADABLE[name])
    (found,) = faults_of(folder)
    assert re.match(rf"{file}.yaml(/line \d+)?: unreadable YAML: .", found), found


@pytest.mark.parametrize("file", ["portfolio", "market", "stages", "network", "events"])
def test_a_folder_in_the_place_of_a_file_is_one_fault(file: str, changed: Folder) -> None:
    folder = changed()
    (folder / f"{file}.yaml").unlink()
    (folder / f"{file}.yaml").mkdir()
    (found,) = faults_of(folder)
    assert found.startswith(f"{file}.yaml: unreadable YAML: ")


def test_an_empty_mapping_says_what_is_missing(changed: Folder) -> None:
    expected = {
        "portfolio": ("portfolio.yaml/zone: is missing", "portfolio.yaml/assets: is missing"),
        "market": ("market.yaml/energy: is missing", "market.yaml/currency: is missing"),
        "stages": ("stages.yaml/day_ahead: is missing", "stages.yaml/issue: is missing"),
        "network": ("network.yaml/model: is missing",),
    }
    for file, missing in expected.items():
        folder = changed()
        (folder / f"{file}.yaml").write_text("{}\n")
        assert set(missing) <= set(faults_of(folder)), file


def test_a_portfolio_sells_through_trading_units(changed: Folder) -> None:
    folder = changed()
    text = (folder / P).read_text()
    first, last = text.index("trading_units:"), text.index("congestion_points:")
    (folder / P).write_text(text[:first] + text[last:])
    assert faults_of(folder) == ["portfolio.yaml/trading_units: is missing"]


@pytest.mark.parametrize("step", ["PT30M", "PT1H"])
def test_plans_may_have_longer_steps(step: str, changed: Folder) -> None:
    loaded = load_portfolio(changed(("stages.yaml", "day_ahead: {step: PT15M", f"day_ahead: {{step: {step}")))
    assert loaded.stage("day_ahead").step in (timedelta(minutes=30), timedelta(hours=1))


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ("0001-01-01T00:00:00,0.1\n", "steel/local_time: 0001-01-01T00:00:00 must lie in the years 1970 to 2199"),
        ("9999-12-31T23:45:00,0.1\n", "steel/local_time: 9999-12-31T23:45:00 must lie in the years 1970 to 2199"),
        ("2016-01-04T00:00:00,\n2016-01-04T00:15:00,\n", "steel/mw: series/own.csv holds gaps only, no value"),
    ],
)
def test_a_series_that_cannot_be_used_is_a_fault(rows: str, fault: str, changed: Folder) -> None:
    folder = changed((P, "series/steel.parquet", "series/own.csv"))
    (folder / "series/own.csv").write_text("local_time,mw\n" + rows)
    assert faults_of(folder) == [fault]


def test_kinds_that_are_on_or_off_are_known() -> None:
    assert set(SWITCHED) <= set(KINDS)
    assert {name: controls(kind) for name, kind in KINDS.items() if name in ("battery", "chp", "process")} == {
        "battery": ("continuous", "step", "request"), "chp": ("continuous",), "process": ("request", "step"),
    }  # fmt: skip


def test_a_plan_with_a_commitment_is_told_ahead_only_to_kinds_made_for_it() -> None:
    fixed = ("chp", "ev_fleet", "thermal_unit", "water_works")
    assert [controls(KINDS[name]) for name in fixed] == [("continuous",)] * 4
    assert (controls(KINDS["price_elastic"]), controls(KINDS["fixed_load"])) == (("price",), ("none",))


def test_input_is_never_refused_without_a_fault() -> None:
    with pytest.raises(ValueError, match="without a fault"):
        InputFaults([])


def test_faults_of_all_files_come_at_once(changed: Folder) -> None:
    names = (
        "unknown kind", "negative capacity", "wrong unit elsewhere", "nan in the market", "unreadable yaml", "stages",
    )  # fmt: skip
    found = faults_of(changed(*(BAD[name][0] for name in names)))
    for name in names:
        assert any(re.search(BAD[name][1], fault) for fault in found), (name, found)


def test_a_missing_file_is_named_and_the_others_are_read(changed: Folder) -> None:
    folder = changed(BAD["unknown kind"][0])
    (folder / "market.yaml").unlink()
    found = faults_of(folder)
    assert "market.yaml: the file is missing" in found
    assert any(fault.startswith("chp/kind") for fault in found)


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert faults_of(tmp_path / "none")[0].endswith("is no folder")


def test_a_portfolio_needs_no_network_and_no_events(changed: Folder) -> None:
    folder = changed()
    for name in ("network.yaml", "events.yaml"):
        (folder / name).unlink()
    loaded = load_portfolio(folder)
    assert loaded.network is None
    assert loaded.events == ()


def test_the_digest_follows_every_file(changed: Folder, demo: LoadedPortfolio) -> None:
    assert load_portfolio(changed()).digest == demo.digest
    for change in (("market.yaml", "weekend_factor: 0.8", "weekend_factor: 0.7"), ("ATTRIBUTION.md", "CC BY", "CC-BY")):
        assert load_portfolio(changed(change)).digest != demo.digest


def test_unknown_buses_are_named() -> None:
    named = read_portfolio(DEMO).references
    assert check_against_network(named, range(111)) == []
    found = [str(f) for f in check_against_network(named, set(range(111)) - {98})]
    assert found == ["cooling/bus: unknown bus 98", "feeder-9/buses: unknown bus 98"]


def test_a_network_asks_for_a_bus(changed: Folder) -> None:
    named = read_portfolio(changed((P, "    bus: 98\n", ""))).references
    found = [str(f) for f in check_against_network(named, range(111))]
    assert found == ["cooling/bus: is missing, and a network is given"]


def test_missing_series_are_named(demo: LoadedPortfolio) -> None:
    used = set(series_used(demo.portfolio))
    named = read_portfolio(DEMO).references
    assert check_against_series(named, used - {"steel"}) == []
    found = [str(f) for f in check_against_series(named, used - {"gen:WP8"})]
    assert found == ["wind-82/inputs.available_mw: missing series gen:WP8"]


def test_a_device_profile_needs_no_python(tmp_path: Path, changed: Folder) -> None:
    config = tmp_path / "config"
    shutil.copytree(DEMO.parent / "devices", config / "devices")
    shutil.copy(DEMO.parent / "signs.yaml", config / "signs.yaml")
    folder = changed((P, "    bus: 98\n", "    bus: 98\n    device: chiller\n"))
    assert [str(f) for f in read_portfolio(folder, config).faults] == ["cooling/device: unknown device profile chiller"]
    text = (config / "devices" / "consumer.yaml").read_text()
    (config / "devices" / "chiller.yaml").write_text(text.replace("profile: consumer", "profile: chiller"))
    loaded = read_portfolio(folder, config).loaded
    assert loaded is not None
    assert loaded.devices["cooling"] == "chiller"


def test_the_table_of_signs_gives_each_kind_its_profile(tmp_path: Path, demo: LoadedPortfolio) -> None:
    kinds = {a.id: a.kind for a in demo.portfolio.assets}
    stated = yaml.safe_load((DEMO.parent / "signs.yaml").read_text())["signs"]
    assert demo.devices == {asset: stated[kind]["profile"] for asset, kind in kinds.items()}
    config = tmp_path / "config"
    shutil.copytree(DEMO.parent / "devices", config / "devices")
    rest = {kind: sign for kind, sign in stated.items() if kind != "chp"}
    rest["battery"] = {"profile": "cell", "sign": 1}
    (config / "signs.yaml").write_text(yaml.safe_dump({"signs": rest}))
    found = [str(f) for f in read_portfolio(DEMO, config).faults]
    assert found == [
        "signs.yaml/signs.battery.profile: unknown device profile cell",
        "chp/device: is missing; config/signs.yaml names none for kind chp",
    ]


def test_what_faulty_entries_refer_to_is_read_all_the_same(changed: Folder) -> None:
    folder = changed(BAD["unknown kind"][0], (P, "    bus: 98\n", "    bus: 980\n    colour: red\n"))
    read = read_portfolio(folder)
    assert read.loaded is None
    assert ("cooling", 980) in read.references.buses
    written = set(re.findall(r"- id: (\S+)\n    kind:", (folder / P).read_text()))
    assert {asset for asset, _ in read.references.buses} == written


def test_a_network_file_lies_in_the_folder(changed: Folder, tmp_path: Path) -> None:
    for given, meant in (("net/own.json", None), (str(tmp_path / "far.json"), tmp_path / "far.json")):
        folder = changed(("network.yaml", "simbench: 1-MV-comm--2-sw", f"file: {given}"))
        network = load_portfolio(folder).network
        assert network is not None and network.file is not None
        assert Path(network.file) == (meant or folder / "net" / "own.json")


def test_the_demo_holds_what_it_promises(demo: LoadedPortfolio) -> None:
    portfolio = demo.portfolio
    assert {a.kind for a in portfolio.assets} >= {
        "battery", "chp", "curtailable", "fixed_load", "price_elastic", "process", "thermal_store",
    }  # fmt: skip
    assert len(portfolio.sites) >= 9
    assert {a.site for a in portfolio.assets} == {s.id for s in portfolio.sites}
    assert [o.lines_out for o in portfolio.outages] == [(84,)]
    assert portfolio.outages[0].switches == {225: True}
    assert all(a.notice == timedelta(minutes=30) and a.control == "request" for a in portfolio.of_kind("process"))
    assert [s.name for s in demo.stages] == ["day_ahead", "intraday", "real_time"]
    assert demo.states(datetime(2016, 7, 11, 8, tzinfo=UTC))["mill-2"].on


def test_the_quota_of_the_mills_is_what_is_shipped(demo: LoadedPortfolio) -> None:
    mills = demo.portfolio.of_kind("process")
    made = sum(m.params.tonnes_per_h * sum(m.inputs["rota"].hourly) for m in mills)
    assert made == pytest.approx(sum(mills[0].inputs["shipments_t_per_h"].hourly))


def test_the_steel_series_is_shifted_and_never_scaled(demo: LoadedPortfolio) -> None:
    steel = demo.series["steel"]
    assert steel.start == datetime(2016, 1, 3, 23, tzinfo=UTC)
    assert steel.start + len(steel.values) * timedelta(minutes=15) == datetime(2016, 10, 2, 22, tzinfo=UTC)
    assert len(steel.values) == 26208 - 4
    assert not np.isnan(steel.values).any()
    assert steel.values[:2] == pytest.approx([4 * 3.17 / 1000, 4 * 4.00 / 1000])
    assert np.max(steel.values) == pytest.approx(4 * 153.14 / 1000)
    assert demo.portfolio.asset("finishing-shop").inputs["load_mw"].scale == 1.0


def test_the_call_is_the_one_of_the_demo_day(demo: LoadedPortfolio) -> None:
    (plan,) = demo.events
    assert plan.event.id == "dr-demo"
    assert plan.event.called_at == datetime(2016, 7, 12, 13, tzinfo=UTC)
    assert (plan.event.start, plan.event.end) == (
        datetime(2016, 7, 12, 15, 30, tzinfo=UTC),
        datetime(2016, 7, 12, 17, 0, tzinfo=UTC),
    )
    assert plan.event.mw == 1.0
    assert isinstance(plan.event.price_eur_per_mwh, Decimal)
    assert sorted(a.share < 1.0 for a in plan.answers) == [False, False, True]
    assert [a.stops_at for a in plan.answers if a.stops_at] == [datetime(2016, 7, 12, 16, 10, tzinfo=UTC)]


def test_prices_and_fees_follow_the_local_clock(demo: LoadedPortfolio) -> None:
    tuesday = TimeGrid.local_day(date(2016, 7, 12), demo.portfolio.zone)
    price, fee = (of(tuesday, demo.portfolio.zone) for of in (demo.market.expected_price, demo.market.fee))
    assert np.argmin(price) // 4 == 13
    assert np.argmax(price) // 4 == 18
    assert fee[18 * 4] == demo.market.grid_fee.bands_eur_per_mwh["sharp"]
    assert demo.market.gate_at(date(2016, 7, 12), demo.portfolio.zone) == datetime(2016, 7, 11, 10, tzinfo=UTC)
