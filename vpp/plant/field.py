"""The field side: one Modbus TCP server a site on loopback, one unit an asset.

Commands are one block write (function 16) of the whole command block; telemetry is made when it is read
(function 4). Register maps come from the devices' profiles. A command the device does not take is answered
with "illegal value" and logged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import cast

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from vpp.plant.clock import Clock
from vpp.plant.register_map import QUANTITIES, Profile, load_profile
from vpp.plant.spec import Spec
from vpp.plant.world import Refused, World, Write

HOST = "127.0.0.1"
WRITE_BLOCK, READ_INPUT = 16, 4
MOST_MINUTES = 2**16 - 1


@dataclass(frozen=True)
class Address:
    """Where a device is found."""

    host: str
    port: int
    unit: int
    profile: str


class Unit:
    """The registers of one device."""

    def __init__(self, world: World, clock: Clock, device: int, profile: Profile) -> None:
        self._world, self._clock, self._device, self._profile = world, clock, device, profile

    async def action(
        self, function: int, start: int, address: int, count: int,
        registers: list[int], values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:  # fmt: skip
        """Hook of the server: refresh telemetry before a read, take a command before a write."""
        if function == READ_INPUT:
            registers[: self._profile.telemetry.size] = self.telemetry()
            return None
        if values is None:
            return None
        block = self._profile.command
        if function != WRITE_BLOCK or address != block.address or len(values) != block.size:
            return self._refuse("a command is one write of the whole block", ExcCodes.ILLEGAL_ADDRESS)
        return self._command([int(v) for v in values])

    def telemetry(self) -> tuple[int, ...]:
        """Registers of the telemetry block as of now."""
        block = self._profile.telemetry
        reading = self._world.read(self._device)
        last = reading.last
        raw = {
            "power": block.field("power").raw(reading.power_mw * 1000.0),
            "reactive": block.field("reactive").raw(reading.q_mvar * 1000.0),
            "stored": block.field("stored").raw(reading.stored_mwh * 1000.0),
            "on": int(reading.on),
            "available": 1,
            "minutes_in_state": min(reading.minutes_in_state, MOST_MINUTES),
            "in_default": int(reading.in_default),
            "epoch": last.epoch if last else 0,
            "sequence": last.sequence if last else 0,
            "accepted_setpoint": self._profile.raw_setpoint(last.order.value, last.order.quantity) if last else 0,
        }
        return block.pack(raw)

    def _command(self, registers: list[int]) -> ExcCodes | None:
        raw = self._profile.command.unpack(registers)
        if raw["quantity"] >= len(QUANTITIES):
            return self._refuse(f"quantity {raw['quantity']} is unknown", ExcCodes.ILLEGAL_VALUE)
        quantity = QUANTITIES[raw["quantity"]]
        write = Write(
            quantity, self._profile.setpoint(raw["setpoint"], quantity),
            raw["delay_s"], raw["revert_s"], raw["epoch"], raw["sequence"], raw["digest"],
        )  # fmt: skip
        try:
            self._world.accept(self._device, write, self._clock.now)
        except Refused as reason:
            return self._refuse(str(reason), ExcCodes.ILLEGAL_VALUE)
        return None

    def _refuse(self, reason: str, code: ExcCodes) -> ExcCodes:
        self._world.log.refused(self._world.assets[self._device].id, self._clock.now, reason)
        return code


def _sim_device(unit: int, profile: Profile, action: Callable[..., object]) -> SimDevice:
    bits = [SimData(0, count=16, values=False, datatype=DataType.BITS)]
    words = [
        [SimData(block.address, count=block.size, values=0, datatype=DataType.REGISTERS)]
        for block in (profile.command, profile.telemetry)
    ]
    return SimDevice(unit, (bits, list(bits), *words), action=action)  # type: ignore[arg-type]


class Handler(ServerRequestHandler):
    """One connection, answered in the loop's own thread: no wake-up through a socket for every request."""

    def handle_later(self) -> None:
        """Answer the request in hand."""
        self._answering = self.loop.create_task(self.handle_request())  # type: ignore[no-untyped-call]


class Server(ModbusTcpServer):
    """One site."""

    def callback_new_connection(self) -> Handler:
        """A new client."""
        return Handler(self, self.trace_packet, self.trace_pdu, self.trace_connect)  # type: ignore[no-untyped-call]


class Field:
    """The running servers."""

    def __init__(self, servers: tuple[Server, ...], addresses: Mapping[str, Address]) -> None:
        self._servers = servers
        self._addresses = addresses

    def addresses(self) -> dict[str, dict[str, object]]:
        """{asset: {"host", "port", "unit", "profile"}}."""
        return {asset: asdict(address) for asset, address in self._addresses.items()}

    async def close(self) -> None:
        """Stop listening and drop the connections."""
        for server in self._servers:
            await server.shutdown()  # type: ignore[no-untyped-call]


def load_profiles(spec: Spec) -> dict[str, Profile]:
    """The register map of every profile the spec names. Raises InputFaults."""
    names = sorted({a.profile for a in spec.assets})
    return {name: load_profile(spec.devices_dir / f"{name}.yaml") for name in names}


async def open_field(world: World, clock: Clock, profiles: Mapping[str, Profile]) -> Field:
    """Start the servers on free ports; they listen when this returns."""
    sites: dict[str, list[int]] = {}
    for i, asset in enumerate(world.assets):
        sites.setdefault(asset.site, []).append(i)
    servers: list[Server] = []
    addresses: dict[str, Address] = {}
    for members in sites.values():
        units = [
            _sim_device(unit, profiles[world.assets[i].profile],
                        Unit(world, clock, i, profiles[world.assets[i].profile]).action)
            for unit, i in enumerate(members, start=1)
        ]  # fmt: skip
        server = Server(units, address=(HOST, 0))
        await server.serve_forever(background=True)
        listener = cast(asyncio.Server, server.transport)
        port = int(listener.sockets[0].getsockname()[1])
        servers.append(server)
        for unit, i in enumerate(members, start=1):
            asset = world.assets[i]
            addresses[asset.id] = Address(HOST, port, unit, asset.profile)
    return Field(tuple(servers), addresses)
