"""Commands a device has accepted, and which of them holds.

A command starts `delay_s` after its write and ends `revert_s` after its start. Of those that have started and
not ended the one written last holds; where none does, the device is at its default. A minute belongs to the
commands that hold at its end, so that a command takes effect in the minute of its start.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vpp.plant.device import Order
from vpp.plant.moments import MINUTE_S


@dataclass(frozen=True, slots=True)
class Command:
    """One accepted write; times in seconds since the Unix epoch on the plant's clock."""

    order: Order
    epoch: int
    sequence: int
    digest: int
    received_at: float
    starts_at: float
    reverts_at: float


@dataclass
class Queue:
    """The commands of one device in the order of their writes."""

    last: Command | None = None
    _waiting: list[Command] = field(default_factory=list)

    def add(self, command: Command) -> None:
        """Take one more."""
        self._waiting.append(command)
        self.last = command

    def holding(self, minute: int) -> Command | None:
        """The command that holds over the minute, None for the default. Forgets those that ended before it."""
        end = (minute + 1) * MINUTE_S
        if self._waiting and min(c.reverts_at for c in self._waiting) < end:
            self._waiting = [c for c in self._waiting if c.reverts_at >= end]
        for command in reversed(self._waiting):
            if command.starts_at < end:
                return command
        return None
