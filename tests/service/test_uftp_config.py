"""uftp.yaml: every fault at once, the key from outside, and no door where there is no file."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.routing import Route

from adapters.store import open_store
from tests.service.api_world import DEMO, NOW, demo, made_system
from tests.service.uftp_world import ADDRESS, AGR, DSO, key_pair
from vpp.domain.errors import InputFaults
from vpp.domain.portfolio import Portfolio
from vpp.service.api.uftp import PATH
from vpp.service.uftp_config import OfferTerms, SettlementTerms, UftpConfig, load_uftp
from vpp.service.uftp_door import uftp_door

PRIVATE, PUBLIC = key_pair()
SOUND: dict[str, Any] = {
    "domain": AGR, "signing_key": {"env": "UFTP_KEY"},
    "operators": [{
        "domain": DSO, "public_key": PUBLIC, "endpoint": "https://dso.example.com/shapeshifter/api/v3/message",
        "congestion_points": {"feeder-9": ADDRESS}, "penalty_eur_per_mwh": "180.00",
    }],
}  # fmt: skip


def load(folder: Path, environ: dict[str, str] | None = None, **changes: Any) -> UftpConfig:
    """The sound file with something changed."""
    (folder / "uftp.yaml").write_text(yaml.safe_dump({**SOUND, **changes}))
    given = {"UFTP_KEY": PRIVATE} if environ is None else environ
    return load_uftp(folder / "uftp.yaml", demo(DEMO).portfolio, given)


def reasons(folder: Path, environ: dict[str, str] | None = None, **changes: Any) -> list[str]:
    with pytest.raises(InputFaults) as wrong:
        load(folder, environ, **changes)
    return [f"{f.field}: {f.reason}" for f in wrong.value.faults]


def operator(**changes: Any) -> dict[str, Any]:
    return {**SOUND["operators"][0], **changes}


def test_a_sound_file_names_everything_that_is_needed(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert (config.signing_key, config.zone, config.currency) == (PRIVATE, "Europe/Berlin", "EUR")
    assert config.keys == {DSO: PUBLIC} and config.names(DSO).point_of(ADDRESS) == "feeder-9"
    assert config.names(DSO).point_of("ean.123456789012") is None
    group = {a.id for a in config.groups["feeder-9"]}
    assert {"mill-1", "cooling", "offices"} <= group and "battery-glass" not in group
    (tmp_path / "own.key").write_text(PRIVATE + "\n")
    assert load(tmp_path, {}, signing_key={"file": "own.key"}).signing_key == PRIVATE
    assert load(tmp_path, operators=[operator(endpoint="http://127.0.0.1:8080/x")]).endpoints[DSO].startswith("http:")


def test_the_example_of_the_document_is_sound(tmp_path: Path) -> None:
    text = (DEMO.parents[1] / "docs" / "uftp.md").read_text()
    (tmp_path / "uftp.yaml").write_text(text.partition("```yaml\n")[2].partition("```")[0])
    config = load_uftp(tmp_path / "uftp.yaml", demo(DEMO).portfolio, {"VPP_UFTP_SIGNING_KEY": PRIVATE})
    assert (config.file.offers, config.file.settlement) == (OfferTerms(), SettlementTerms()), "it states the defaults"
    assert config.file.deliver_for == load(tmp_path).file.deliver_for


def test_every_fault_is_listed(tmp_path: Path) -> None:
    other = operator(domain=AGR, public_key="x", endpoint="http://dso.example.com/", congestion_points={
        "feeder-9": "ean.123456789012", "feeder-7": "ean.123456789012"})  # fmt: skip
    found = reasons(tmp_path, {}, operators=[SOUND["operators"][0], other])
    assert found == [
        "signing_key.env UFTP_KEY: is not set", f"operators.1.domain: {AGR} is named twice",
        "operators.1.public_key: is not base64",
        "operators.1.endpoint: must be an https URL, http only on this machine",
        "operators.1.congestion_points.feeder-7: is no congestion point of the portfolio",
        "operators.1.congestion_points.feeder-9: is traded with two grid operators",
        "operators.1.congestion_points: two of them have one address",
    ]  # fmt: skip
    assert reasons(tmp_path, {"UFTP_KEY": PUBLIC}) == ["signing_key.env UFTP_KEY: has 32 bytes, 64 are needed"]
    assert "cannot be read" in reasons(tmp_path, signing_key={"file": "none.key"})[0]
    assert "needs either env or file" in reasons(tmp_path, signing_key={"env": "A", "file": "b"})[0]
    wrong = reasons(tmp_path, domain="Not A Domain", offers={"share": 2, "vaild_for": "PT1H"}, deliver_for=5)
    assert [w.partition(":")[0] for w in wrong] == ["domain", "offers.share", "offers.vaild_for", "deliver_for"]
    assert reasons(tmp_path, operators=[]) == ["operators: names nobody"]
    (price,) = reasons(tmp_path, operators=[operator(penalty_eur_per_mwh="dear")])
    assert price.startswith("operators.0.penalty_eur_per_mwh: should be a valid decimal")
    assert reasons(tmp_path, operators=[operator(congestion_points={"feeder-9": "nowhere"})])


def test_a_meter_that_reaches_beyond_the_point_cannot_settle_it(tmp_path: Path) -> None:
    portfolio = demo(DEMO).portfolio
    outside = portfolio.asset("battery-glass")
    shared = [a if a.id != "cooling" else _metered(a, outside.metering_point) for a in portfolio.assets]
    load(tmp_path)
    with pytest.raises(InputFaults) as wrong:
        load_uftp(tmp_path / "uftp.yaml", _with(portfolio, shared), {"UFTP_KEY": PRIVATE})
    assert str(wrong.value).endswith("shares the meter mp:battery-glass with battery-glass, which is not at the point")


def test_a_point_of_one_customer_needs_its_consent(tmp_path: Path) -> None:
    portfolio = demo(DEMO).portfolio
    load(tmp_path)
    for point, allowed in (("data-centre", True), ("cement-works", False)):
        alone = [a if a.site == point else replace(a, bus=1) for a in portfolio.assets]
        if allowed:
            assert load_uftp(tmp_path / "uftp.yaml", _with(portfolio, alone), {"UFTP_KEY": PRIVATE}).groups
            continue
        with pytest.raises(InputFaults, match="fewer than 3 sites, and not all of them may be shown alone"):
            load_uftp(tmp_path / "uftp.yaml", _with(portfolio, alone), {"UFTP_KEY": PRIVATE})


def _metered(asset: Any, point: str) -> Any:
    return replace(asset, metering_point=point)


def _with(portfolio: Portfolio, assets: list[Any]) -> Portfolio:
    return replace(portfolio, assets=tuple(assets))


def test_there_is_no_door_without_the_file_and_one_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store("sqlite://")
    system = made_system(store)
    system.loaded = replace(system.loaded, directory=tmp_path)
    with uftp_door(system, threading.RLock(), lambda: NOW) as doors:
        assert doors == ()
    load(tmp_path)
    with pytest.raises(InputFaults), uftp_door(system, threading.RLock(), lambda: NOW):
        pass
    monkeypatch.setenv("UFTP_KEY", PRIVATE)
    with uftp_door(system, threading.RLock(), lambda: NOW) as doors:
        (router,) = doors
        paths = {r.path for r in router.routes if isinstance(r, Route)}
        assert paths == {PATH, "/v1/uftp/messages", "/v1/uftp/offers/{offer_id}/revoke"}
        assert any(t.name == "uftp" and t.is_alive() for t in threading.enumerate())
    assert not any(t.name == "uftp" and t.is_alive() for t in threading.enumerate()), "its worker has ended"
    assert list(store.alarms.list()) == []
