"""From the outbox to the devices, in process.

Claim, write, mark: a crash anywhere in between leaves commands claimed and not marked. They are sent again
at the next pump, and the device side, which has its own durable log, answers for what it has already done.
"""

from __future__ import annotations

from datetime import datetime

from adapters.store import Store
from vpp.domain.command import Outcome
from vpp.domain.ports import Devices


class Relay:
    """The only sender of one store's commands to one set of devices."""

    def __init__(self, store: Store, devices: Devices, limit: int = 1000) -> None:
        self._store, self._devices, self._limit = store, devices, limit
        self._interrupted = True

    def pump(self, now: datetime) -> list[Outcome]:
        """Send what is due and store what became of it; late ones are expired without being sent."""
        commands = self._store.commands
        commands.expire(now)
        waiting = commands.unfinished() if self._interrupted else []
        waiting += commands.due(now, self._limit)
        if not waiting:
            self._interrupted = False
            return []
        self._interrupted = True
        outcomes = self._devices.write(waiting, now)
        commands.mark(outcomes)
        self._interrupted = False
        return outcomes
