"""What other processes do in the tests; importable, so that they can be spawned."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path
from queue import Queue
from typing import Any

from adapters.modbus import Endpoint, ModbusDevices
from adapters.relay import Relay
from adapters.store import open_store
from tests.adapters.examples import NOW

CYCLES = 40


def claim_all(path: Path, barrier: Barrier, won: Queue[int]) -> None:
    """Open the store at the same moment as the others, then try for every cycle."""
    barrier.wait()
    store = open_store(path)
    barrier.wait()
    won.put(sum(store.runs.claim("real_time", NOW + timedelta(minutes=i), NOW) for i in range(CYCLES)))


def die(*_: Any, **__: Any) -> None:
    """As if the power of this process were cut."""
    os.kill(os.getpid(), signal.SIGKILL)


def pump_and_die(db: Path, log: Path, profiles: Path, endpoints: dict[str, Endpoint], where: str) -> None:
    """Pump once, killed before the write, before the device log is settled, or before the mark."""
    store = open_store(db)
    devices = ModbusDevices(endpoints, profiles, log)
    if where == "before the write":
        devices._execute = die  # type: ignore[method-assign,assignment]
    elif where == "before the log is settled":
        devices._log.settle = die  # type: ignore[method-assign,assignment]
    else:
        store.commands.mark = die  # type: ignore[method-assign,assignment]
    Relay(store, devices).pump(NOW)
