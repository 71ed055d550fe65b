"""From the outbox to the devices: at least once delivered, at most once executed, whenever it dies."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.modbus import ModbusDevices
from adapters.relay import Relay
from adapters.store import Store
from tests.adapters.children import pump_and_die
from tests.adapters.examples import NOW, run, setpoint
from tests.adapters.modbus_server import DEVICES, DeviceServer
from vpp.domain.command import CommandStatus
from vpp.domain.time import MINUTE

PLACES = ("before the write", "before the log is settled", "before the mark")


@pytest.fixture
def server() -> Iterator[DeviceServer]:
    running = DeviceServer(["storage", "consumer"])
    yield running
    running.close()


def record(store: Store, server: DeviceServer, run_id: str = "r1") -> None:
    epoch = store.commands.next_epoch(NOW)
    commands = [setpoint(name, epoch=epoch, id=f"{run_id}:{name}", run_id=run_id) for name in server.names]
    store.runs.record(run(run_id), commands)


@pytest.fixture
def devices(server: DeviceServer, tmp_path: Path) -> Iterator[ModbusDevices]:
    opened = ModbusDevices(server.endpoints, DEVICES, tmp_path / "devices.db")
    yield opened
    opened.close()


def test_what_is_due_is_sent_once(store: Store, server: DeviceServer, devices: ModbusDevices) -> None:
    record(store, server)
    relay = Relay(store, devices)
    assert [o.status for o in relay.pump(NOW)] == [CommandStatus.ACKED] * 2
    assert relay.pump(NOW + MINUTE) == []
    assert store.commands.counts()["acked"] == 2
    assert set(server.executions().values()) == {1}


def test_late_ones_are_expired_and_not_sent(store: Store, server: DeviceServer, devices: ModbusDevices) -> None:
    record(store, server)
    assert Relay(store, devices).pump(NOW + 5 * MINUTE) == []
    assert store.commands.counts()["expired"] == 2
    assert server.executions() == {}


def test_a_failed_pump_is_made_good_by_the_next(store: Store, server: DeviceServer, devices: ModbusDevices) -> None:
    relay, mark = Relay(store, devices), store.commands.mark
    assert relay.pump(NOW) == []
    record(store, server)
    store.commands.mark = lambda outcomes: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(ZeroDivisionError):
        relay.pump(NOW)
    store.commands.mark = mark  # type: ignore[method-assign]
    assert {o.reason for o in relay.pump(NOW)} == {"repeat"}
    assert store.commands.unfinished() == []
    assert set(server.executions().values()) == {1}


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("minutes", [1, 9])
def test_a_killed_relay_executes_nothing_twice(
    store: Store, server: DeviceServer, tmp_path: Path, where: str, minutes: int
) -> None:
    record(store, server)
    log = tmp_path / "devices.db"
    child = multiprocessing.get_context("spawn").Process(
        target=pump_and_die, args=(tmp_path / "record.db", log, DEVICES, server.endpoints, where)
    )
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    written = 0 if where == "before the write" else 1
    assert sorted(server.executions().values()) == [1, 1][: 2 * written]
    assert len(store.commands.unfinished()) == 2

    devices = ModbusDevices(server.endpoints, DEVICES, log)
    outcomes = Relay(store, devices).pump(NOW + minutes * MINUTE)
    devices.close()
    late = minutes == 9 and not written
    assert {o.status for o in outcomes} == {CommandStatus.EXPIRED if late else CommandStatus.ACKED}
    assert {o.reason == "repeat" for o in outcomes} == {bool(written)}
    assert sorted(server.executions().values()) == ([] if late else [1, 1])
    assert store.commands.unfinished() == []
