"""Commands over real Modbus: obeyed inside limits, in time, and gone when they end."""

from __future__ import annotations

import sqlite3
from zlib import crc32

import numpy as np
import pytest

from tests.plant.running import Plant, Starter, crowd


def test_setpoint_is_read_back_obeyed_and_reverts(plant: Plant) -> None:
    before = plant.ask("log")["default_minutes"]["battery"]
    assert not plant.write("battery", 0.5).isError()
    told = plant.read("battery")
    assert (told["accepted_setpoint"], told["epoch"], told["sequence"]) == (500.0, 1, plant.sequence)
    assert told["in_default"] == 0
    plant.advance(20)
    held = plant.power("battery", 0, 20)
    assert held[:15] == pytest.approx(np.full(15, 0.5))
    assert held[15:] == pytest.approx(np.zeros(5))
    assert plant.read("battery")["in_default"] == 1
    assert plant.ask("log")["default_minutes"]["battery"] == before + 5


def test_delay_is_honoured_and_the_newest_write_holds(plant: Plant) -> None:
    plant.write("battery", -0.2, revert_s=1800)
    plant.write("battery", -0.3, delay_s=600, revert_s=300)
    plant.advance(35)
    expected = np.concatenate([np.full(10, -0.2), np.full(5, -0.3), np.full(15, -0.2), np.zeros(5)])
    assert plant.power("battery", 0, 35) == pytest.approx(expected)


def test_a_newer_command_is_not_overrun_by_an_older_one_in_the_queue(plant: Plant) -> None:
    plant.write("battery", 0.2, delay_s=600, revert_s=1800)
    plant.write("battery", -0.3, revert_s=1200)
    plant.advance(45)
    expected = np.concatenate([np.full(20, -0.3), np.full(20, 0.2), np.zeros(5)])
    assert plant.power("battery", 0, 45) == pytest.approx(expected)


def test_rating_and_availability_clip(plant: Plant) -> None:
    plant.write("battery", 3.0, revert_s=300)
    plant.write("pv", 1.0, delay_s=10 * 3600, revert_s=3600)
    plant.write("cooling", -0.9, revert_s=300)
    plant.advance(12 * 60)
    assert plant.power("battery", 0, 5) == pytest.approx(np.full(5, 1.0))
    pv, available = plant.power("pv", 0, 720), np.array(plant.minutes(0, 720)["detail"]["pv"]["available_mw"])
    assert pv[:600] == pytest.approx(available[:600])
    assert pv[600:660] == pytest.approx(np.minimum(available[600:660], 1.0))
    assert (available[600:660] > 1.0).any()
    assert plant.power("cooling", 0, 5).min() == pytest.approx(-0.6)


def test_signs_on_the_wire(plant: Plant) -> None:
    plant.write("cooling", -0.4)
    plant.advance(1)
    client, unit = plant.client("cooling")
    block = plant.profile("cooling").telemetry
    raw = block.unpack(client.read_input_registers(0, count=block.size, device_id=unit).registers)
    assert raw["power"] == 40000, "consumption is positive on a consumer's wire"
    assert plant.read("cooling")["power"] == pytest.approx(-400.0)
    fixed = plant.read("fixed")
    assert fixed["reactive"] == pytest.approx(0.3 * fixed["power"], abs=0.02)
    assert fixed["power"] < 0


@pytest.mark.parametrize(
    ("name", "value", "quantity", "fields"),
    [("fixed", 0.1, 0, {}), ("battery", 1, 1, {}), ("mill-1", -1.0, 0, {}), ("battery", 50.0, 2, {}),
     ("battery", 0.1, 3, {}), ("battery", 0.1, 0, {"revert_s": 0}), ("mill-1", 2, 1, {})],
)  # fmt: skip
def test_what_a_device_cannot_do_is_refused(
    long_lived: Plant, name: str, value: float, quantity: int, fields: dict[str, int]
) -> None:
    before = long_lived.ask("log")
    assert long_lived.write(name, value, quantity=quantity, **fields).isError()
    after = long_lived.ask("log")
    assert after["rejected"] == before["rejected"] + 1
    assert after["writes"] == before["writes"]


def test_part_of_a_block_and_an_unknown_unit_are_refused(long_lived: Plant) -> None:
    client, unit = long_lived.client("battery")
    assert client.write_registers(0, [1, 2, 3], device_id=unit).isError()
    assert client.write_register(0, 1, device_id=unit).isError()
    assert client.read_input_registers(0, count=4, device_id=99).isError()
    assert not client.read_input_registers(0, count=4, device_id=unit).isError()


def test_price_takers_answer_over_the_wire(plant: Plant) -> None:
    plant.write("taker", 200.0, quantity=2, revert_s=3600)
    plant.advance(180)
    reference = np.array(plant.minutes(0, 180)["detail"]["taker"]["reference_mw"])
    share = -plant.power("taker", 0, 180) / reference
    assert share[:60].mean() < 0.9
    assert share[60:120].mean() > 1.02, "half of what was reduced comes back within the hour"
    assert share[120:] == pytest.approx(np.ones(60)), "then the reference"


def test_requests_come_late_at_times(plant: Plant) -> None:
    names = [m["id"] for m in crowd()]
    for name in names:
        plant.write(name, 1, quantity=1, revert_s=7200)
    plant.advance(30)
    power = plant.minutes(0, 30)["power_mw"]
    first = [int(np.flatnonzero(power[name])[0]) for name in names]
    assert 2 <= sum(late > 0 for late in first) <= 10
    assert max(first) <= 12


def test_a_repeated_write_is_executed_and_counted_and_the_log_is_durable(start: Starter) -> None:
    plant = start()
    plant.write("battery", 0.1, sequence=5, revert_s=3600)
    plant.write("battery", 0.2, sequence=6, delay_s=60, revert_s=120, digest=crc32(b"id"))
    plant.advance(2)
    assert plant.ask("log")["executed_twice"] == 0
    plant.write("battery", 0.1, sequence=5)
    plant.write("pv", 0.1, sequence=5)
    plant.write("battery", 0.1, sequence=5, epoch=2, delay_s=600)
    plant.advance(4)
    log = plant.ask("log")
    assert (log["writes"], log["executed"], log["executed_twice"], log["rejected"]) == (5, 4, 1, 0)
    assert log["by_asset"]["battery"] == {"writes": 4, "executed": 3, "executed_twice": 1, "rejected": 0}
    assert plant.power("battery", 0, 4) == pytest.approx([0.1, 0.2, 0.1, 0.1]), "the plant executes what it gets"
    plant.process.kill()
    plant.process.wait()
    with sqlite3.connect(plant.spec["log"]) as db:
        row = db.execute(
            "SELECT asset, epoch, digest, starts_at - received_at, reverts_at - starts_at, quantity, value, executed,"
            " executed_at - received_at FROM writes WHERE sequence = 6"
        ).fetchone()
    assert row == ("battery", 1, crc32(b"id"), 60.0, 120.0, "power_mw", 0.2, 1, 60.0)
