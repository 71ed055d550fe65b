"""The link, the devices and the relay against the virtual plant as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.modbus import ModbusDevices
from adapters.plant_link import PlantFailed, PlantLink, connect, start_plant
from adapters.relay import Relay
from adapters.store import Store
from tests.adapters.examples import run, setpoint
from tests.plant.running import PROFILES, START, write_spec
from vpp.domain.command import CommandStatus
from vpp.domain.time import MINUTE, QUARTER


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[PlantLink]:
    folder = tmp_path / "plant"
    folder.mkdir()
    link = start_plant(json.loads(write_spec(folder).read_text()), folder)
    yield link
    link.shutdown()
    assert link.process is not None and link.process.poll() == 0


def test_the_loop_closes(plant: PlantLink, store: Store, tmp_path: Path) -> None:
    hello = plant.hello()
    assert (hello.now, hello.start, hello.lockstep, hello.speed) == (START, START, True, None)
    devices = ModbusDevices(hello.devices, PROFILES, tmp_path / "devices.db")
    epoch = store.commands.next_epoch(START)

    def to(asset: str, value: float, **changes: object) -> object:
        times = {"issued_at": START, "valid_from": START, "valid_until": START + QUARTER}
        return setpoint(asset, epoch=epoch, value=value, **{**times, **changes})

    later = START + 5 * MINUTE
    commands = [
        to("battery", 0.4), to("cooling", -0.25), to("mill-1", 1.0, quantity="on"), to("pv", 0.0),
        to("taker", 250.0, quantity="price_eur_per_mwh"), to("battery", -0.6, id="two", valid_from=later),
    ]  # fmt: skip
    store.runs.record(run(), commands)  # type: ignore[arg-type]
    outcomes = Relay(store, devices).pump(START)
    assert {(o.status, o.reason) for o in outcomes} == {(CommandStatus.ACKED, "")}
    assert plant.advance(START + 2 * MINUTE) == START + 2 * MINUTE
    first = devices.read(list(hello.devices), START + 2 * MINUTE)
    assert set(first) == set(hello.devices)
    assert first["battery"].power_mw == pytest.approx(0.4)
    assert first["cooling"].power_mw == pytest.approx(-0.25, abs=0.05)
    assert first["mill-1"].on
    assert first["mill-1"].power_mw < 0
    plant.advance(START + 8 * MINUTE)
    assert devices.read(["battery"], START)["battery"].power_mw == pytest.approx(-0.6)
    plant.advance(START + 17 * MINUTE)
    after = devices.read(["battery"], START)["battery"]
    assert (after.power_mw, after.in_default) == (0.0, True)
    assert plant.states()["battery"]["stored_mwh"] == pytest.approx(after.stored_mwh, abs=1e-4)
    log = plant.log()
    assert (log["writes"], log["executed_twice"]) == (6, 0)
    devices.close()


def test_meters_and_truth(plant: PlantLink, store: Store) -> None:
    plant.advance(START + QUARTER)
    rows = plant.meters(START - 4 * QUARTER, START + 2 * QUARTER)
    battery = [r for r in rows if r.point == "mp:battery"]
    assert [r.start for r in battery] == [START + (i - 4) * QUARTER for i in range(5)]
    assert all(r.known_at == r.start + QUARTER + MINUTE for r in rows)
    store.meters.write(rows)
    assert store.meters.read("mp:battery", START - QUARTER, START + QUARTER) == battery[3:]
    truth = plant.minutes(START, START + QUARTER)
    assert len(truth.starts) == 15
    (metered,) = (r.mw for r in rows if (r.point, r.start) == ("mp:fixed", START))
    assert truth.power_mw["fixed"].mean() == pytest.approx(metered, abs=1e-6)


def test_it_outlives_a_lost_connection(plant: PlantLink, tmp_path: Path) -> None:
    second = connect(tmp_path / "plant" / "plant.json")
    plant.close()
    assert second.hello().devices == plant.hello().devices
    second.close()


def test_refusals_and_failures_are_named(plant: PlantLink, tmp_path: Path) -> None:
    with pytest.raises(PlantFailed, match="advance: to is missing"):
        plant._ask("advance")
    with pytest.raises(PlantFailed, match="no plant is announced"):
        connect(tmp_path / "nothing.json")
    folder = tmp_path / "broken"
    folder.mkdir()
    spec = json.loads(write_spec(folder, seed=-1).read_text())
    with pytest.raises(PlantFailed, match="seed"):
        start_plant(spec, folder)
