"""The device side: refuses what it must, reads back what it wrote, survives its servers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.modbus import Endpoint, ModbusDevices
from tests.adapters.examples import NOW, setpoint
from tests.adapters.modbus_server import DEVICES, DeviceServer
from vpp.domain.command import CommandStatus, Outcome, Setpoint
from vpp.domain.errors import InputFaults
from vpp.domain.time import MINUTE

ACKED, REJECTED, LOST = CommandStatus.ACKED, CommandStatus.REJECTED, CommandStatus.LOST
SUPERSEDED, EXPIRED = CommandStatus.SUPERSEDED, CommandStatus.EXPIRED


@pytest.fixture
def server() -> Iterator[DeviceServer]:
    running = DeviceServer(["storage", "consumer"])
    yield running
    running.close()


@pytest.fixture
def devices(server: DeviceServer, tmp_path: Path) -> Iterator[ModbusDevices]:
    opened = ModbusDevices(server.endpoints, DEVICES, tmp_path / "devices.db", timeout_s=1.0)
    yield opened
    opened.close()


def to(asset: str, sequence: int, epoch: int = 1, **changes: object) -> Setpoint:
    values = {"id": f"{asset}:{epoch}:{sequence}", "sequence": sequence, "epoch": epoch}
    return setpoint(asset, sequence, **values | changes)


def one(devices: ModbusDevices, command: Setpoint, now: object = NOW) -> Outcome:
    (outcome,) = devices.write([command], now)  # type: ignore[arg-type]
    assert (outcome.setpoint_id, outcome.asset_id) == (command.id, command.asset_id)
    return outcome


def test_a_command_is_executed_and_read_back(server: DeviceServer, devices: ModbusDevices) -> None:
    outcomes = devices.write([to("consumer-2", 1, value=-0.75), to("storage-1", 1, value=0.123456)], NOW)
    assert [(o.asset_id, o.status) for o in outcomes] == [("consumer-2", ACKED), ("storage-1", ACKED)]
    assert outcomes[0].readback == pytest.approx(-0.75)
    assert server.units[1].executed[0]["setpoint"] == 75_000
    assert server.units[0].executed[0] | {"digest": 0} == {
        "setpoint": 12_346, "quantity": 0, "delay_s": 0, "revert_s": 300, "epoch": 1, "sequence": 1, "digest": 0,
    }  # fmt: skip


def test_telemetry_has_our_sign(server: DeviceServer, devices: ModbusDevices) -> None:
    server.units[1].raw |= {"stored": 50_000, "on": 1, "minutes_in_state": 9, "in_default": 1, "sequence": 4}
    found = devices.read(["storage-1", "consumer-2", "unknown"], NOW)
    assert {a: t.power_mw for a, t in found.items()} == pytest.approx({"storage-1": 0.12345, "consumer-2": -0.12345})
    reading = found["consumer-2"]
    assert (reading.stored_mwh, reading.on, reading.minutes_in_state, reading.in_default) == (0.5, True, 9, True)
    assert (reading.setpoint_sequence, reading.at) == (4, NOW)


def test_a_repeat_is_acknowledged_and_not_executed(server: DeviceServer, devices: ModbusDevices) -> None:
    one(devices, to("storage-1", 1))
    repeat = one(devices, to("storage-1", 1), NOW + 9 * MINUTE)
    assert (repeat.status, repeat.reason, repeat.readback) == (ACKED, "repeat", pytest.approx(0.5))
    assert server.executions() == {(1, 1, 1): 1}


def test_older_sequence_and_older_epoch_are_superseded(server: DeviceServer, devices: ModbusDevices) -> None:
    assert one(devices, to("storage-1", 5)).status is ACKED
    assert one(devices, to("storage-1", 4)).status is SUPERSEDED
    assert one(devices, to("storage-1", 1, epoch=2)).status is ACKED
    assert one(devices, to("storage-1", 99)).status is SUPERSEDED
    assert one(devices, to("consumer-2", 1)).status is ACKED
    assert server.executions() == {(1, 1, 5): 1, (1, 2, 1): 1, (2, 1, 1): 1}


def test_the_order_survives_a_restart(server: DeviceServer, devices: ModbusDevices, tmp_path: Path) -> None:
    one(devices, to("storage-1", 5))
    devices.close()
    again = ModbusDevices(server.endpoints, DEVICES, tmp_path / "devices.db")
    assert one(again, to("storage-1", 5)).reason == "repeat"
    assert one(again, to("storage-1", 4)).status is SUPERSEDED
    again.close()
    assert server.executions() == {(1, 1, 5): 1}


def test_a_batch_is_executed_in_order_whatever_its_order(server: DeviceServer, devices: ModbusDevices) -> None:
    outcomes = devices.write([to("storage-1", 2), to("storage-1", 1), to("storage-1", 2)], NOW)
    assert [(o.status, o.reason) for o in outcomes][:2] == [(ACKED, ""), (ACKED, "")]
    assert [c["sequence"] for c in server.units[0].executed] == [1, 2]


def test_too_late_is_expired(server: DeviceServer, devices: ModbusDevices) -> None:
    assert one(devices, to("storage-1", 1), NOW + 5 * MINUTE).status is EXPIRED
    assert server.executions() == {}


@pytest.mark.parametrize("changes", [{"value": 1e6}, {"epoch": 70_000}, {"asset": "nobody"}])
def test_what_cannot_be_said_is_rejected(
    server: DeviceServer, devices: ModbusDevices, changes: dict[str, object]
) -> None:
    asset = str(changes.pop("asset", "storage-1"))
    outcome = one(devices, to(asset, 1, **changes))  # type: ignore[arg-type]
    assert outcome.status is REJECTED and outcome.reason
    assert server.executions() == {}


@pytest.mark.parametrize(("mode", "reason"), [
    ("stuck", "the device holds 0/0"), ("clips", "the device took 0.25"), ("refuses", "exception 3"),
])  # fmt: skip
def test_a_device_that_does_not_take_it(
    server: DeviceServer, devices: ModbusDevices, mode: str, reason: str
) -> None:
    server.units[0].mode = mode
    outcome = one(devices, to("storage-1", 1))
    assert outcome.status is REJECTED
    assert reason in outcome.reason
    server.units[0].mode = "good"
    assert one(devices, to("storage-1", 1)).status is REJECTED
    assert one(devices, to("storage-1", 2)).status is ACKED


def test_on_off_and_prices(server: DeviceServer, devices: ModbusDevices) -> None:
    on = one(devices, to("consumer-2", 1, quantity="on", value=1.0))
    price = one(devices, to("consumer-2", 2, quantity="price_eur_per_mwh", value=-12.34))
    assert (on.status, on.readback, price.status, price.readback) == (ACKED, 1.0, ACKED, pytest.approx(-12.34))
    assert [c["setpoint"] for c in server.units[1].executed] == [1, -1234]


def test_a_silent_server_loses_only_its_own(server: DeviceServer, devices: ModbusDevices, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dead = Endpoint("127.0.0.1", probe.getsockname()[1], 1, "storage")
    mixed = ModbusDevices({**server.endpoints, "dead": dead}, DEVICES, tmp_path / "mixed.db", timeout_s=0.3)
    outcomes = mixed.write([to("dead", 1), to("dead", 2), to("storage-1", 1)], NOW)
    assert [o.status for o in outcomes] == [LOST, LOST, ACKED]
    assert "no answer" in outcomes[0].reason
    assert set(mixed.read(["dead", "storage-1"], NOW)) == {"storage-1"}
    mixed.close()


def test_it_connects_again(server: DeviceServer, devices: ModbusDevices) -> None:
    assert one(devices, to("storage-1", 1)).status is ACKED
    server.stop()
    assert one(devices, to("storage-1", 2)).status is LOST
    assert devices.read(["storage-1"], NOW) == {}
    server.start()
    assert one(devices, to("storage-1", 3)).status is ACKED
    assert one(devices, to("storage-1", 2)).status is SUPERSEDED
    assert set(devices.read(["storage-1"], NOW)) == {"storage-1"}


def test_an_answer_lost_on_the_way_is_not_a_second_execution(server: DeviceServer, devices: ModbusDevices) -> None:
    write, calls = devices._execute, []

    def answer_lost(*arguments: object) -> Outcome:
        outcome = write(*arguments)  # type: ignore[arg-type]
        calls.append(outcome)
        raise ConnectionError("cut")

    devices._execute = answer_lost  # type: ignore[method-assign,assignment]
    outcome = one(devices, to("storage-1", 1))
    assert (outcome.status, outcome.reason, len(calls)) == (ACKED, "repeat", 1)
    assert server.executions() == {(1, 1, 1): 1}


def test_old_entries_go_and_the_order_stays(server: DeviceServer, devices: ModbusDevices) -> None:
    one(devices, to("storage-1", 7))
    devices._log.forget(NOW + 6 * MINUTE)
    assert one(devices, to("storage-1", 7)).status is SUPERSEDED
    assert server.executions() == {(1, 1, 7): 1}


def test_an_unknown_profile_is_refused_before_anything_opens(tmp_path: Path) -> None:
    with pytest.raises(InputFaults, match="x/profile: toaster"):
        ModbusDevices({"x": Endpoint("127.0.0.1", 1, 1, "toaster")}, DEVICES, tmp_path / "log.db")
    assert list(tmp_path.iterdir()) == []
