"""Every profile of the project: what is encoded is what is decoded, with the sign of the table."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus import accepted, command_numbers
from adapters.profiles import NotRepresentable, load_profile, load_profiles, load_signs
from dispatch.registry import KINDS
from tests.adapters.examples import NOW, setpoint
from vpp.domain.errors import InputFaults
from vpp.domain.time import MINUTE
from vpp.plant.register_map import load_profile as load_in_plant

ROOT = Path(__file__).resolve().parents[2]
DEVICES = ROOT / "config" / "devices"
PROFILES = load_profiles(DEVICES)
SIGNS = load_signs(ROOT / "config" / "signs.yaml")


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = (DEVICES / "storage.yaml").read_text()
    assert old in text
    path = tmp_path / "storage.yaml"
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize("name", sorted(PROFILES))
@given(mw=st.floats(-20_000, 20_000))
def test_power_goes_out_and_comes_back(name: str, mw: float) -> None:
    profile = PROFILES[name]
    raw = command_numbers(profile, setpoint(value=mw), NOW)
    wire = profile.command.decode(profile.command.encode(raw, profile.word_order), profile.word_order)
    assert wire == raw
    telemetry = dict.fromkeys(profile.telemetry.by_name, 0) | {"accepted_setpoint": wire["setpoint"]}
    assert accepted(profile, telemetry, wire["quantity"]) == pytest.approx(mw, abs=0.5001e-5)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_has_the_sign_of_its_profile(kind: str) -> None:
    entry = SIGNS[kind]
    profile = PROFILES[entry.profile]
    raw = command_numbers(profile, setpoint(value=1.0), NOW)
    assert raw["setpoint"] == 100_000 * entry.sign
    for name in ("power", "reactive", "accepted_setpoint"):
        assert profile.telemetry.by_name[name].sign == entry.sign
    assert profile.telemetry.by_name["stored"].sign == 1


def test_the_table_names_every_kind() -> None:
    assert set(SIGNS) == set(KINDS)


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_the_plant_reads_the_same_wire(name: str) -> None:
    ours, theirs = PROFILES[name], load_in_plant(DEVICES / f"{name}.yaml")
    raw = command_numbers(ours, setpoint(value=-0.25, epoch=3, sequence=70_000), NOW)
    assert theirs.command.unpack(ours.command.encode(raw)) == raw
    assert theirs.setpoint(raw["setpoint"], "power_mw") == pytest.approx(-0.25)
    numbers = {f.name: i for i, f in enumerate(ours.telemetry.fields)}
    assert ours.telemetry.decode(theirs.telemetry.pack(numbers)) == numbers


@given(st.data())
def test_any_numbers_in_both_word_orders(data: st.DataObject) -> None:
    for order in ("big", "little"):
        for profile in PROFILES.values():
            for block in (profile.command, profile.telemetry):
                raw = {f.name: data.draw(st.integers(*f.limits)) for f in block.fields}
                registers = block.encode(raw, order)
                assert all(0 <= r <= 0xFFFF for r in registers) and len(registers) == block.count
                assert block.decode(registers, order) == raw


def test_little_word_order_swaps_only_the_words_of_a_number() -> None:
    block = PROFILES["storage"].command
    raw = dict.fromkeys(block.by_name, 0) | {"setpoint": 0x00010002, "quantity": 3}
    assert block.encode(raw, "big")[:3] == [1, 2, 3]
    assert block.encode(raw, "little")[:3] == [2, 1, 3]


@pytest.mark.parametrize("quantity", ["on", "price_eur_per_mwh"])
def test_only_power_has_a_sign(quantity: str) -> None:
    raw = command_numbers(PROFILES["consumer"], setpoint(quantity=quantity, value=1.0), NOW)
    assert raw["setpoint"] == (1 if quantity == "on" else 100)


@pytest.mark.parametrize("changes", [
    {"value": float("nan")}, {"value": float("inf")}, {"value": 30_000.0}, {"epoch": 2**16}, {"sequence": -1},
    {"valid_until": NOW + 2000 * MINUTE}, {"quantity": "on", "value": 0.5},
])  # fmt: skip
def test_what_does_not_fit_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(NotRepresentable):
        command_numbers(PROFILES["storage"], setpoint(**changes), NOW)


def test_times_are_durations_from_now() -> None:
    later = setpoint(valid_from=NOW + 20 * MINUTE, valid_until=NOW + 50 * MINUTE)
    raw = command_numbers(PROFILES["storage"], later, NOW + 5 * MINUTE)
    assert (raw["delay_s"], raw["revert_s"]) == (15 * 60, 30 * 60)
    raw = command_numbers(PROFILES["storage"], later, NOW + 30 * MINUTE)
    assert (raw["delay_s"], raw["revert_s"]) == (0, 20 * 60)


@pytest.mark.parametrize(("old", "new", "field"), [
    ("type: uint16, unit: s", "type: uint8, unit: s", "command.fields.2.type"),
    ("{name: digest", "{name: checksum", ""),
    ("protocol: modbus_tcp", "protocol: telepathy", "protocol"),
    ("profile: storage", "profile: battery", "profile"),
    ("scale: 0.01", "scale: 0", "command.fields.0.scale"),
    ("{name: available", "{nme: 1, name: available", "telemetry.fields.4.nme"),
])  # fmt: skip
def test_a_broken_profile_is_named(tmp_path: Path, old: str, new: str, field: str) -> None:
    path = changed(tmp_path, old, new)
    with pytest.raises(InputFaults) as caught:
        load_profile(path)
    assert field in "\n".join(fault.field for fault in caught.value.faults)
