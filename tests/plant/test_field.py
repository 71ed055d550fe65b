"""Commands over real Modbus: obeyed inside limits, in time, and gone when they end."""

from __future__ import annotations

import sqlite3
from zlib import crc32

import numpy as np
import pytest

from tests.plant.running import Starter, asset, hourly


def test_setpoint_is_read_back_obeyed_and_reverts(start: Starter) -> None:
    plant = start()
    assert not plant.write("battery", 0.5).isError()
    told = plant.read("battery")
    assert (told["accepted_setpoint"], told["epoch"], told["sequence"], told["in_default"]) == (500.0, 1, 1, 0)
    plant.advance(20)
    held = plant.power("battery", 0, 20)
    assert held[:15] == pytest.approx(np.full(15, 0.5))
    assert held[15:] == pytest.approx(np.zeros(5))
    assert plant.read("battery")["in_default"] == 1
    assert plant.ask("log")["default_minutes"]["battery"] == 5


def test_delay_is_honoured_and_the_newest_write_holds(start: Starter) -> None:
    plant = start()
    plant.write("battery", 0.2, revert_s=1800)
    plant.write("battery", -0.3, delay_s=600, revert_s=300)
    plant.advance(35)
    expected = np.concatenate([np.full(10, 0.2), np.full(5, -0.3), np.full(15, 0.2), np.zeros(5)])
    assert plant.power("battery", 0, 35) == pytest.approx(expected)


def test_a_newer_command_cannot_be_overrun_by_an_older_one_in_the_queue(start: Starter) -> None:
    plant = start()
    plant.write("battery", 0.2, delay_s=600, revert_s=1800)
    plant.write("battery", -0.3, revert_s=1200)
    plant.advance(45)
    expected = np.concatenate([np.full(20, -0.3), np.full(20, 0.2), np.zeros(5)])
    assert plant.power("battery", 0, 45) == pytest.approx(expected)


def test_rating_and_availability_clip(start: Starter) -> None:
    plant = start()
    plant.write("battery", 3.0, revert_s=300)
    plant.write("pv", 1.0, delay_s=10 * 3600, revert_s=3600)
    plant.write("cooling", -0.9, revert_s=300)
    plant.advance(12 * 60)
    assert plant.power("battery", 0, 5) == pytest.approx(np.full(5, 1.0))
    pv, available = plant.power("pv", 0, 720), np.array(plant.minutes(0, 720)["detail"]["pv"]["available_mw"])
    assert pv[:600] == pytest.approx(available[:600])
    assert pv[600:660] == pytest.approx(np.minimum(available[600:660], 1.0))
    assert (available[600:660] > 1.0).any()
    assert plant.power("cooling", 0, 5).min() >= -0.6


def test_signs_on_the_wire(start: Starter) -> None:
    plant = start()
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
    start: Starter, name: str, value: float, quantity: int, fields: dict[str, int]
) -> None:
    plant = start.plants[-1]
    before = plant.ask("log")
    assert plant.write(name, value, quantity=quantity, **fields).isError()
    after = plant.ask("log")
    assert after["rejected"] == before["rejected"] + 1
    assert after["writes"] == before["writes"]


def test_part_of_a_block_and_an_unknown_unit_are_refused(start: Starter) -> None:
    plant = start.plants[-1]
    client, unit = plant.client("battery")
    assert client.write_registers(0, [1, 2, 3], device_id=unit).isError()
    assert client.write_register(0, 1, device_id=unit).isError()
    assert client.read_input_registers(0, count=4, device_id=99).isError()
    assert not client.read_input_registers(0, count=4, device_id=unit).isError()


def test_a_repeated_write_is_executed_and_counted_twice(start: Starter) -> None:
    plant = start()
    plant.write("battery", 0.1, sequence=5)
    plant.write("battery", 0.2, sequence=6)
    plant.advance(1)
    assert plant.ask("log")["executed_twice"] == 0
    plant.write("battery", 0.1, sequence=5)
    plant.write("pv", 0.1, sequence=5)
    plant.write("battery", 0.1, sequence=5, epoch=2, delay_s=600)
    plant.advance(3)
    log = plant.ask("log")
    assert (log["writes"], log["executed"], log["executed_twice"], log["rejected"]) == (5, 3, 1, 0)
    assert log["by_asset"]["battery"] == {"writes": 4, "executed": 2, "executed_twice": 1, "rejected": 0}
    assert plant.power("battery", 1, 3) == pytest.approx([0.1, 0.1]), "the plant executes whatever it gets"


def test_the_log_is_durable(start: Starter) -> None:
    plant = start()
    plant.write("battery", 0.1, delay_s=60, revert_s=120, digest=crc32(b"id"))
    plant.advance(2)
    plant.process.kill()
    plant.process.wait()
    with sqlite3.connect(plant.spec["log"]) as db:
        rows = db.execute(
            "SELECT asset, epoch, sequence, digest, starts_at - received_at, reverts_at - starts_at, quantity, value,"
            " executed, executed_at - received_at FROM writes"
        ).fetchall()
    assert rows == [("battery", 1, 1, crc32(b"id"), 60.0, 120.0, "power_mw", 0.1, 1, 60.0)]


def test_price_takers_answer_with_a_random_part(start: Starter) -> None:
    taker = asset("taker", "price_elastic", "consumer", {
        "min_share": 0.5, "elasticity": -0.2, "reference_price_eur_per_mwh": 100.0, "response_sigma": 0.2,
        "max_share": 1.5}, {"load_mw": hourly(2.0)})  # fmt: skip
    plant = start(assets=[taker], initial={})
    plant.write("taker", 200.0, quantity=2, revert_s=6 * 3600)
    plant.advance(8 * 60)
    share = plant.power("taker", 0, 480) / -2.0
    answered = share[:360].reshape(24, 15)
    assert np.ptp(answered, axis=1).max() < 1e-12, "one draw a quarter"
    assert np.unique(answered[:, 0].round(6)).size > 20
    assert answered.mean() == pytest.approx(0.8, abs=0.03)
    assert answered.std() == pytest.approx(0.2 * 0.2, rel=0.5)
    assert share[360:] == pytest.approx(np.ones(120)), "without a price the reference"
    plant.write("taker", 1000.0, quantity=2, revert_s=600)
    plant.advance(8 * 60 + 10)
    assert plant.power("taker", 480, 490).max() <= -0.5 * 2.0 + 1e-9


def test_requests_come_late_at_times(start: Starter) -> None:
    mill = {"power_mw": 1.0, "kwh_per_t": 36.0, "silo": {"id": "s", "capacity_t": 5e4, "kwh_per_t": 36.0}}
    inputs = {"shipments_t_per_h": hourly(10.0), "rota": hourly(0.0)}
    mills = [asset(f"mill-{k}", "process", "consumer", mill, inputs) for k in range(12)]
    initial = {m["id"]: {"stored_mwh": 10.0} for m in mills}
    plant = start(assets=mills, initial=initial, randomness={"request_failure": 0.5, "request_share_low": 0.2})
    for m in mills:
        plant.write(m["id"], 1, quantity=1, revert_s=7200)
    plant.advance(30)
    first = [int(np.flatnonzero(plant.power(m["id"], 0, 30))[0]) for m in mills]
    assert 2 <= sum(late > 0 for late in first) <= 10
    assert max(first) <= 12
