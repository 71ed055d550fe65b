"""A Modbus TCP server whose devices accept commands, on loopback in a thread, for the tests."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from pathlib import Path
from typing import Any, cast

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from adapters.modbus import Endpoint
from adapters.profiles import load_profile

DEVICES = Path(__file__).resolve().parents[2] / "config" / "devices"


class Unit:
    """`mode`: "good"; "stuck" keeps its old command; "clips" halves set-points; "refuses" answers an exception."""

    def __init__(self, profile: str) -> None:
        self.profile = load_profile(DEVICES / f"{profile}.yaml")
        self.mode = "good"
        self.executed: list[dict[str, int]] = []
        self.raw = dict.fromkeys(self.profile.telemetry.by_name, 0) | {"available": 1, "power": 12_345}

    async def action(
        self, function: int, start: int, address: int, count: int, registers: list[int], values: Any
    ) -> ExcCodes | None:
        if values is None:
            registers[: self.profile.telemetry.count] = self.profile.telemetry.encode(self.raw)
            return None
        if self.mode == "refuses":
            return ExcCodes.ILLEGAL_VALUE
        if self.mode != "stuck":
            command = self.profile.command.decode([int(v) for v in values])
            self.executed.append(command)
            half = 2 if self.mode == "clips" else 1
            self.raw |= {name: command[name] for name in ("epoch", "sequence")}
            self.raw["accepted_setpoint"] = command["setpoint"] // half
        return None


class DeviceServer:
    """Units 1.. of one server; `stop` and `start` again on the same port."""

    def __init__(self, profiles: list[str]) -> None:
        self.units = [Unit(p) for p in profiles]
        self.names = [f"{p}-{i}" for i, p in enumerate(profiles, start=1)]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._server: ModbusTcpServer | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.start()

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    async def _start(self) -> None:
        bits = [SimData(0, count=16, values=False, datatype=DataType.BITS)]
        devices = [
            SimDevice(
                number,
                (bits, list(bits), *(
                    [SimData(0, count=n, values=0, datatype=DataType.REGISTERS)]
                    for n in (unit.profile.command.count, unit.profile.telemetry.count)
                )),
                action=unit.action,
            )
            for number, unit in enumerate(self.units, start=1)
        ]  # fmt: skip
        self._server = ModbusTcpServer(devices, address=("127.0.0.1", self.port))
        await self._server.serve_forever(background=True)

    def stop(self) -> None:
        server = cast(ModbusTcpServer, self._server)
        asyncio.run_coroutine_threadsafe(server.shutdown(), self._loop).result(10)

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        return {
            name: Endpoint("127.0.0.1", self.port, number, unit.profile.profile)
            for number, (name, unit) in enumerate(zip(self.names, self.units, strict=True), start=1)
        }

    def executions(self) -> dict[tuple[int, int, int], int]:
        """How often each (unit, epoch, sequence) was executed."""
        return dict(Counter((i, c["epoch"], c["sequence"]) for i, u in enumerate(self.units, 1) for c in u.executed))
