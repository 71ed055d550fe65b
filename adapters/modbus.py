"""Modbus TCP devices, driven by register profiles.

A command is one write of the whole command block, then one read of telemetry that must show its epoch,
sequence and value. One connection a server, opened when first needed and again after a failure. Times are
durations on the wire: `delay_s` from the write to the start, `revert_s` from the start to the default.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from adapters.device_log import DeviceLog, Entry, Told
from adapters.profiles import NotRepresentable, Profile, load_profiles
from vpp.domain.command import CommandStatus, Outcome, Setpoint, Telemetry
from vpp.domain.errors import Fault, InputFaults

QUANTITIES = ("power_mw", "on", "price_eur_per_mwh")
TIMEOUT_S = 2.0
KW_PER_MW = 1000.0
KEPT = timedelta(days=30)
R = TypeVar("R")
Raw = dict[str, int]


@dataclass(frozen=True)
class Endpoint:
    """Where a device answers: server, unit on it, and the register profile it speaks."""

    host: str
    port: int
    unit: int
    profile: str


class Silent(Exception):
    """No answer from a server."""


class Refused(Exception):
    """The device answered that it does not take the request."""


class ModbusDevices:
    """The port `Devices` over Modbus TCP; one thread at a time."""

    def __init__(
        self, endpoints: Mapping[str, Endpoint], profiles_dir: Path, log_path: Path, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Raises InputFaults for an endpoint whose profile does not exist."""
        self._profiles = load_profiles(profiles_dir)
        faults = [
            Fault(asset, "profile", f"{e.profile} is not in {profiles_dir}")
            for asset, e in endpoints.items()
            if e.profile not in self._profiles
        ]
        if faults:
            raise InputFaults(faults)
        self._endpoints = dict(endpoints)
        self._timeout_s = timeout_s
        self._log = DeviceLog(log_path)
        self._clients: dict[tuple[str, int], ModbusTcpClient] = {}
        self._silent: set[tuple[str, int]] = set()
        self._pruned: date | None = None

    def write(self, setpoints: Sequence[Setpoint], now: datetime) -> list[Outcome]:
        """One outcome per set-point, in the order given; executed in the order of (epoch, sequence)."""
        self._silent.clear()
        if self._pruned != now.date():
            self._log.forget(now - KEPT)
            self._pruned = now.date()
        outcomes: dict[int, Outcome] = {}
        ready: list[tuple[int, Raw]] = []
        for i in sorted(range(len(setpoints)), key=lambda i: (setpoints[i].epoch, setpoints[i].sequence)):
            try:
                ready.append((i, self._encode(setpoints[i], now)))
            except NotRepresentable as error:
                outcomes[i] = _outcome(setpoints[i], CommandStatus.REJECTED, now, None, str(error))
        entries = self._log.intend([setpoints[i] for i, _ in ready], now)
        for (i, raw), entry in zip(ready, entries, strict=True):
            outcomes[i] = self._deliver(setpoints[i], raw, entry, now)
        answered = {CommandStatus.ACKED: Told.DONE, CommandStatus.REJECTED: Told.REFUSED}
        self._log.settle(
            [
                (outcomes[i].setpoint_id, answered[outcomes[i].status], outcomes[i].readback, outcomes[i].reason)
                for (i, _), entry in zip(ready, entries, strict=True)
                if entry.told in (Told.NEW, Told.INTERRUPTED) and outcomes[i].status in answered
            ]
        )
        return [outcomes[i] for i in range(len(setpoints))]

    def read(self, asset_ids: Sequence[str], now: datetime) -> Mapping[str, Telemetry]:
        """Readings of those that answer."""
        self._silent.clear()
        found: dict[str, Telemetry] = {}
        for asset in asset_ids:
            endpoint = self._endpoints.get(asset)
            if endpoint is None:
                continue
            try:
                raw = self._retrying(endpoint, lambda client, e=endpoint: self._read(client, e))  # type: ignore[misc]
            except (Silent, Refused):
                continue
            found[asset] = _telemetry(asset, self._profiles[endpoint.profile], raw, now)
        return found

    def close(self) -> None:
        """Release the connections and the log."""
        for client in self._clients.values():
            _close(client)
        self._clients.clear()
        self._log.close()

    def _encode(self, setpoint: Setpoint, now: datetime) -> Raw:
        endpoint = self._endpoints.get(setpoint.asset_id)
        if endpoint is None:
            raise NotRepresentable(f"{setpoint.asset_id} has no endpoint")
        return command_numbers(self._profiles[endpoint.profile], setpoint, now)

    def _deliver(self, setpoint: Setpoint, raw: Raw, entry: Entry, now: datetime) -> Outcome:
        known = {
            Told.DONE: CommandStatus.ACKED, Told.REFUSED: CommandStatus.REJECTED,
            Told.OLDER: CommandStatus.SUPERSEDED, Told.EXPIRED: CommandStatus.EXPIRED,
        }  # fmt: skip
        if entry.told in known:
            reason = "repeat" if entry.told is Told.DONE else entry.reason
            return _outcome(setpoint, known[entry.told], now, entry.readback, reason)
        endpoint = self._endpoints[setpoint.asset_id]
        uncertain = entry.told is Told.INTERRUPTED

        def attempt(client: ModbusTcpClient) -> Outcome:
            nonlocal uncertain
            if uncertain:
                decided = self._decide(client, endpoint, setpoint, raw, now)
                if decided is not None:
                    return decided
            uncertain = True
            return self._execute(client, endpoint, setpoint, raw, now)

        try:
            return self._retrying(endpoint, attempt)
        except Silent as error:
            return _outcome(setpoint, CommandStatus.LOST, now, None, str(error))
        except Refused as error:
            return _outcome(setpoint, CommandStatus.REJECTED, now, None, str(error))

    def _decide(
        self, client: ModbusTcpClient, endpoint: Endpoint, setpoint: Setpoint, raw: Raw, now: datetime
    ) -> Outcome | None:
        """After an interruption the device says whether it has the command; None: it has not, and still may."""
        seen = self._read(client, endpoint)
        last, order = (seen["epoch"], seen["sequence"]), (setpoint.epoch, setpoint.sequence)
        profile = self._profiles[endpoint.profile]
        if last == order:
            return _outcome(setpoint, CommandStatus.ACKED, now, accepted(profile, seen, raw["quantity"]), "repeat")
        if last > order:
            return _outcome(setpoint, CommandStatus.SUPERSEDED, now, None, f"the device holds {last[0]}/{last[1]}")
        if setpoint.valid_until <= now:
            return _outcome(setpoint, CommandStatus.EXPIRED, now, None, "interrupted, then too late")
        return None

    def _execute(
        self, client: ModbusTcpClient, endpoint: Endpoint, setpoint: Setpoint, raw: Raw, now: datetime
    ) -> Outcome:
        profile = self._profiles[endpoint.profile]
        registers = profile.command.encode(raw, profile.word_order)
        _answer(client.write_registers(profile.command.address, registers, device_id=endpoint.unit))
        seen = self._read(client, endpoint)
        readback = accepted(profile, seen, raw["quantity"])
        if (seen["epoch"], seen["sequence"]) != (setpoint.epoch, setpoint.sequence):
            reason = f"the device holds {seen['epoch']}/{seen['sequence']}"
            return _outcome(setpoint, CommandStatus.REJECTED, now, readback, reason)
        if abs(readback - setpoint.value) > _tolerance(profile, raw["quantity"]):
            return _outcome(setpoint, CommandStatus.REJECTED, now, readback, f"the device took {readback:g}")
        return _outcome(setpoint, CommandStatus.ACKED, now, readback, "")

    def _read(self, client: ModbusTcpClient, endpoint: Endpoint) -> Raw:
        profile = self._profiles[endpoint.profile]
        block = profile.telemetry
        reply = _answer(client.read_input_registers(block.address, count=block.count, device_id=endpoint.unit))
        try:
            return block.decode(reply.registers, profile.word_order)
        except ValueError as error:
            raise Refused(str(error)) from error

    def _retrying(self, endpoint: Endpoint, action: Callable[[ModbusTcpClient], R]) -> R:
        """`action` on the server's connection, once more on a fresh one. Raises Silent, also for the rest of a call."""
        server = (endpoint.host, endpoint.port)
        failure = "it did not answer before"
        for _ in range(0 if server in self._silent else 2):
            try:
                return action(self._client(server))
            except (ModbusException, OSError) as error:
                failure = str(error)
                client = self._clients.pop(server, None)
                if client is not None:
                    _close(client)
        self._silent.add(server)
        raise Silent(f"no answer from {endpoint.host}:{endpoint.port}: {failure}")

    def _client(self, server: tuple[str, int]) -> ModbusTcpClient:
        client = self._clients.get(server)
        if client is None:
            client = ModbusTcpClient(server[0], port=server[1], timeout=self._timeout_s, retries=0)
            if not client.connect():  # type: ignore[no-untyped-call]
                raise ConnectionError("connection refused")
            self._clients[server] = client
        return client


def command_numbers(profile: Profile, setpoint: Setpoint, now: datetime) -> Raw:
    """Raw numbers of the command block, times rounded to the second. Raises NotRepresentable."""
    fields = profile.command.by_name
    delay_s = max(0, round((setpoint.valid_from - now).total_seconds()))
    until_s = max(delay_s, round((setpoint.valid_until - now).total_seconds()))
    if setpoint.quantity == "on" and setpoint.value not in (0.0, 1.0):
        raise NotRepresentable(f"on is 0 or 1, not {setpoint.value:g}")
    power = setpoint.quantity == "power_mw"
    if setpoint.quantity == "on":
        value = round(setpoint.value)
    else:
        value = fields["setpoint"].raw(setpoint.value * (KW_PER_MW if power else 1.0), signed=power)
    return {
        "setpoint": value,
        "quantity": QUANTITIES.index(setpoint.quantity),
        "delay_s": fields["delay_s"].raw(delay_s),
        "revert_s": fields["revert_s"].raw(until_s - delay_s),
        "epoch": fields["epoch"].raw(setpoint.epoch),
        "sequence": fields["sequence"].raw(setpoint.sequence),
        "digest": zlib.crc32(setpoint.id.encode()),
    }


def accepted(profile: Profile, seen: Raw, quantity: int) -> float:
    """The device's own set-point in MW, 0 or 1, or EUR/MWh."""
    field, raw = profile.telemetry.by_name["accepted_setpoint"], seen["accepted_setpoint"]
    if QUANTITIES[quantity] == "on":
        return float(raw)
    power = QUANTITIES[quantity] == "power_mw"
    return field.value(raw, signed=power) / (KW_PER_MW if power else 1.0)


def _tolerance(profile: Profile, quantity: int) -> float:
    """Half a step of the coarser register, in the quantity's unit."""
    if QUANTITIES[quantity] == "on":
        return 0.0
    step = max(profile.command.by_name["setpoint"].scale, profile.telemetry.by_name["accepted_setpoint"].scale)
    return step * (1.0 + 1e-6) / (KW_PER_MW if QUANTITIES[quantity] == "power_mw" else 1.0)


def _telemetry(asset: str, profile: Profile, raw: Raw, now: datetime) -> Telemetry:
    field = profile.telemetry.by_name

    def mega(name: str) -> float:
        return field[name].value(raw[name]) / KW_PER_MW

    return Telemetry(
        asset, now, mega("power"), mega("reactive"), mega("stored"), bool(raw["on"]), bool(raw["available"]),
        raw["minutes_in_state"], bool(raw["in_default"]), raw["sequence"],
    )  # fmt: skip


def _close(client: ModbusTcpClient) -> None:
    client.close()  # type: ignore[no-untyped-call]


def _answer(reply: ModbusPDU) -> ModbusPDU:
    if reply.isError():
        raise Refused(f"the device answered exception {getattr(reply, 'exception_code', '?')}")
    return reply


def _outcome(
    setpoint: Setpoint, status: CommandStatus, now: datetime, readback: float | None, reason: str
) -> Outcome:
    return Outcome(setpoint.id, setpoint.asset_id, status, now, readback, reason)
