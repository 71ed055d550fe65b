"""All devices under one sky, one minute after the other. No clock in here: somebody says when to step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vpp.domain.command import Quantity
from vpp.plant.commands import Command, Queue
from vpp.plant.conditions import Conditions
from vpp.plant.device import Order
from vpp.plant.fleet import build_fleet
from vpp.plant.meters import Meters
from vpp.plant.moments import MINUTE_S
from vpp.plant.recorder import Recorder
from vpp.plant.spec import Spec
from vpp.plant.truth import MINUTES, Truth
from vpp.plant.write_log import WriteLog


class Refused(Exception):
    """A device does not take this command; the message says why."""


@dataclass(frozen=True, slots=True)
class Write:
    """One command as it came from the wire, `value` in MW, 0/1 or EUR/MWh."""

    quantity: Quantity
    value: float
    delay_s: int
    revert_s: int
    epoch: int
    sequence: int
    digest: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What a device tells about itself; power over the last minute, content now."""

    power_mw: float
    q_mvar: float
    stored_mwh: float
    on: bool
    minutes_in_state: int
    in_default: bool
    last: Command | None


class World:
    """The plant up to the start of `minute` (minutes since the Unix epoch)."""

    def __init__(self, spec: Spec, truth: Truth, log: WriteLog) -> None:
        self.spec = spec
        self.assets = spec.assets
        self.truth = truth
        self.log = log
        self._fleet = build_fleet(spec)
        self._conditions = Conditions(spec, truth)
        self.minute = int(spec.start.timestamp()) // MINUTE_S
        self.end = int(spec.end.timestamp()) // MINUTE_S
        self.meters = Meters(spec, self._fleet, self._conditions)
        self.record = Recorder(spec.assets, self._fleet.devices, self.minute, self.end - self.minute)
        self.default_minutes = [0] * len(spec.assets)
        self._queues = [Queue() for _ in spec.assets]
        self._begun: set[int] = set()
        self._inputs = self._conditions.minutes(self.minute // MINUTES)

    def step(self) -> None:
        """Live through one minute. Raises ValueError past the plant's end."""
        if self.minute >= self.end:
            raise ValueError("the plant has reached its end")
        k, at = divmod(self.minute, MINUTES)
        if at == 0:
            self._inputs = self._conditions.minutes(k)
        inputs = self._inputs[at]
        default_mw = [d.steady_mw(known, self.minute) for d, known in zip(self._fleet.devices, inputs, strict=True)]
        for device, order, known in zip(self._fleet.devices, self._orders(), inputs, strict=True):
            device.step(order, known, self.minute)
        for shared, first in self._fleet.shared:
            shared.end_minute(inputs[first])
        self.record.record(self.minute, default_mw)
        self.minute += 1
        if at == MINUTES - 1:
            self.meters.record(k, self.record.mean_mw(self.minute - MINUTES, self.minute))

    def _orders(self) -> list[Order | None]:
        orders: list[Order | None] = []
        begun: list[int] = []
        for i, queue in enumerate(self._queues):
            command = queue.holding(self.minute)
            orders.append(command.order if command else None)
            if command is None:
                self.default_minutes[i] += 1
            elif command.order.number not in self._begun:
                begun.append(command.order.number)
        if begun:
            self._begun.update(begun)
            self.log.executed(begun, float(self.minute * MINUTE_S))
        return orders

    def accept(self, device: int, write: Write, now: float) -> Command:
        """Queue a command received at `now` (seconds since the epoch), durably. Raises Refused."""
        accepts = self._fleet.devices[device].accepts
        if write.quantity not in accepts:
            raise Refused(f"takes {', '.join(sorted(accepts)) or 'no command'}, not {write.quantity}")
        if write.quantity == "on" and write.value not in (0.0, 1.0):
            raise Refused(f"on is 0 or 1, not {write.value:g}")
        if write.revert_s == 0:
            raise Refused("revert_s 0 never holds")
        starts_at = now + write.delay_s
        order = Order(write.quantity, write.value, self.log.next_number())
        command = Command(
            order, write.epoch, write.sequence, write.digest, now, starts_at, starts_at + write.revert_s
        )  # fmt: skip
        self.log.accepted(self.assets[device].id, command)
        self._queues[device].add(command)
        return command

    def read(self, device: int) -> Reading:
        """Telemetry of one device."""
        state, queue = self._fleet.devices[device].state, self._queues[device]
        return Reading(
            state.power_mw, state.power_mw * self.assets[device].tan_phi, state.stored_mwh, state.on,
            state.minutes_in_state, queue.holding(self.minute) is None, queue.last,
        )  # fmt: skip

    def states(self) -> dict[str, dict[str, Any]]:
        """True state of every device."""
        return {
            a.id: {
                "power_mw": d.state.power_mw, "stored_mwh": d.state.stored_mwh, "on": d.state.on,
                "minutes_in_state": d.state.minutes_in_state, "available": True,
            }
            for a, d in zip(self.assets, self._fleet.devices, strict=True)
        }  # fmt: skip

    def write_counts(self) -> dict[str, Any]:
        """The log's summary and the minutes each device spent at its default."""
        minutes = {a.id: n for a, n in zip(self.assets, self.default_minutes, strict=True)}
        return self.log.summary() | {"default_minutes": minutes}
