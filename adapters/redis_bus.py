"""Set-points and outcomes through Redis Streams, for devices that are served by another process.

Two streams with a consumer group each: an entry is removed only after it was handled, so delivery is at
least once; the device side makes execution once. What an unanswered consumer took is given to another
after `IDLE_MS`, and a consumer that comes back under its name gets its own unfinished entries first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import redis

from adapters.store import Store
from adapters.store.codec import dumps, loads
from vpp.domain.command import CommandStatus, Outcome, Setpoint
from vpp.domain.errors import Fault, InputFaults
from vpp.domain.ports import Devices

IDLE_MS = 60_000
BATCH = 1000
CONNECT_S = 3.0
GRACE = timedelta(minutes=1)
SERVICE = "service"
M = TypeVar("M", Setpoint, Outcome)


class Stream(Generic[M]):
    """One stream of messages of one kind with one consumer group."""

    def __init__(self, client: Any, name: str, kind: type[M]) -> None:
        self._client, self._name, self._group = client, name, f"{name}:handlers"
        self._kind: type[M] = kind
        try:
            client.xgroup_create(name, self._group, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def publish(self, messages: Iterable[M]) -> None:
        """Append all of them or none."""
        with self._client.pipeline(transaction=True) as pipe:
            for message in messages:
                pipe.xadd(self._name, {"body": dumps(message)})
            pipe.execute()

    def take(self, consumer: str, idle_ms: int = IDLE_MS) -> list[tuple[str, M]]:
        """(entry, message) of what this consumer left unfinished, then of what others did, then of what is new."""
        found: dict[str, dict[str, str]] = dict(self._read(consumer, "0"))
        found.update(self._client.xautoclaim(self._name, self._group, consumer, idle_ms, count=BATCH)[1])
        found.update(self._read(consumer, ">"))
        return [(entry, loads(self._kind, fields["body"])) for entry, fields in found.items() if fields]

    def _read(self, consumer: str, after: str) -> list[tuple[str, dict[str, str]]]:
        replies = self._client.xreadgroup(self._group, consumer, {self._name: after}, count=BATCH)
        return [entry for _, entries in replies for entry in entries]

    def done(self, entries: Sequence[str]) -> None:
        """Remove handled entries."""
        if entries:
            with self._client.pipeline(transaction=True) as pipe:
                pipe.xack(self._name, self._group, *entries)
                pipe.xdel(self._name, *entries)
                pipe.execute()


class RedisBus:
    """Both directions on one server."""

    def __init__(self, url: str, prefix: str = "vpp") -> None:
        """Raises redis.ConnectionError where no server answers."""
        self._client: Any = redis.Redis.from_url(url, decode_responses=True, protocol=2)
        self.setpoints = Stream(self._client, f"{prefix}:setpoints", Setpoint)
        self.outcomes = Stream(self._client, f"{prefix}:outcomes", Outcome)

    def close(self) -> None:
        """Release the connections."""
        self._client.close()


class RedisRelay:
    """The service's side: publishes what is due, stores what comes back."""

    def __init__(self, store: Store, bus: RedisBus, limit: int = BATCH) -> None:
        self._store, self._bus, self._limit = store, bus, limit
        self._interrupted = True

    def pump(self, now: datetime) -> list[Outcome]:
        """Publish, collect, and give up those that nobody answered until `GRACE` after their end."""
        commands = self._store.commands
        commands.expire(now)
        waiting = commands.unfinished() if self._interrupted else []
        self._interrupted = True
        waiting += commands.due(now, self._limit)
        if waiting:
            self._bus.setpoints.publish(waiting)
        self._interrupted = False
        taken = self._bus.outcomes.take(SERVICE)
        outcomes = [outcome for _, outcome in taken]
        commands.mark(outcomes)
        self._bus.outcomes.done([entry for entry, _ in taken])
        return outcomes + self._give_up(now)

    def _give_up(self, now: datetime) -> list[Outcome]:
        late = [s for s in self._store.commands.unfinished() if s.valid_until + GRACE <= now]
        lost = [Outcome(s.id, s.asset_id, CommandStatus.LOST, now, None, "nobody answered") for s in late]
        self._store.commands.mark(lost)
        return lost


class DeviceWorker:
    """The devices' side: writes what was published and answers."""

    def __init__(self, bus: RedisBus, devices: Devices, consumer: str) -> None:
        """`consumer` is this worker's name, the same after a restart."""
        self._bus, self._devices, self._consumer = bus, devices, consumer

    def step(self, now: datetime) -> list[Outcome]:
        """Handle what is there; returns at once."""
        taken = self._bus.setpoints.take(self._consumer)
        if not taken:
            return []
        outcomes = self._devices.write([setpoint for _, setpoint in taken], now)
        self._bus.outcomes.publish(outcomes)
        self._bus.setpoints.done([entry for entry, _ in taken])
        return outcomes


class RoundTrip:
    """Both sides in the service's own process: what is published is written and answered in the same pump.

    While the server is away nothing is sent, commands wait in the outbox until they end, and an alarm says so.
    """

    def __init__(self, store: Store, bus: RedisBus, devices: Devices) -> None:
        self._store = store
        self._relay, self._worker = RedisRelay(store, bus), DeviceWorker(bus, devices, SERVICE)

    def pump(self, now: datetime) -> list[Outcome]:
        """Publish, write, and store the answers."""
        try:
            before = self._relay.pump(now)
            self._worker.step(now)
            return before + self._relay.pump(now)
        except (redis.ConnectionError, redis.TimeoutError) as why:
            self._store.alarms.raise_("redis", f"commands wait: {why}", now)
            return []


def ping(url: str) -> None:
    """Ask the server at `url` for an answer. Raises InputFaults where none comes."""
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=CONNECT_S, socket_timeout=CONNECT_S) as client:
            client.ping()
    except (redis.RedisError, ValueError, OSError) as why:
        raise InputFaults([Fault("environment", "redis_url", f"no Redis server: {why}")]) from why


def open_round_trip(store: Store, devices: Devices, url: str, prefix: str) -> RoundTrip:
    """Through the server at `url`, in streams under `prefix`. Raises InputFaults where it does not answer."""
    try:
        return RoundTrip(store, RedisBus(url, prefix), devices)
    except (redis.RedisError, ValueError) as why:
        raise InputFaults([Fault("environment", "redis_url", f"no Redis server: {why}")]) from why
