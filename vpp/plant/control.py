"""The control channel: JSON lines over TCP on loopback, one request, one reply.

Operations: hello, advance (lockstep), meters, minutes, log, states, shutdown. A request that cannot be served is
answered {"error": reason} and the connection stays open.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from vpp.plant.clock import Clock
from vpp.plant.field import HOST, Field
from vpp.plant.moments import epoch_s, text_of
from vpp.plant.world import World

LONGEST_LINE = 2**20
Request = dict[str, Any]


class Control:
    """Serves one plant. An open connection is contact: a client that dies lets go of it."""

    def __init__(self, world: World, clock: Clock, field: Field) -> None:
        self._world, self._clock, self._field = world, clock, field
        self.stop = asyncio.Event()
        self._connections = 0
        self._last_contact = time.monotonic()
        self._server: asyncio.Server | None = None
        self._operations: dict[str, Callable[[Request], Awaitable[Request]]] = {
            "hello": self._hello, "advance": self._advance, "meters": self._meters, "minutes": self._minutes,
            "log": self._log, "states": self._states, "shutdown": self._shutdown,
        }  # fmt: skip

    @property
    def silence_s(self) -> float:
        """Wall seconds without contact."""
        return 0.0 if self._connections else time.monotonic() - self._last_contact

    async def open(self) -> int:
        """Listen on a free port and return it."""
        self._server = await asyncio.start_server(self._serve, HOST, 0, limit=LONGEST_LINE)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            while line := await reader.readline():
                reply = await self._answer(line)
                writer.write(json.dumps(reply).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass
        finally:
            self._connections -= 1
            self._last_contact = time.monotonic()
            writer.close()

    async def _answer(self, line: bytes) -> Request:
        try:
            request = json.loads(line)
            if not isinstance(request, dict) or request.get("op") not in self._operations:
                return {"error": f"op is one of {', '.join(self._operations)}"}
            await self._clock.catch_up()
            return await self._operations[request["op"]](request)
        except (ValueError, TypeError) as error:
            return {"error": str(error)}
        except KeyError as error:
            return {"error": f"{error.args[0]} is missing"}

    async def _hello(self, request: Request) -> Request:
        spec = self._world.spec
        return {
            "now": text_of(self._clock.now), "start": text_of(spec.start.timestamp()),
            "end": text_of(spec.end.timestamp()), "speed": spec.speed, "lockstep": spec.speed is None,
            "devices": self._field.addresses(),
        }  # fmt: skip

    async def _advance(self, request: Request) -> Request:
        await self._clock.advance(epoch_s(request["to"]))
        return {"now": text_of(self._clock.now)}

    async def _meters(self, request: Request) -> Request:
        return {"rows": list(self._world.meters.rows(epoch_s(request["start"]), epoch_s(request["end"])))}

    async def _minutes(self, request: Request) -> Request:
        start, end = epoch_s(request["start"]), epoch_s(request["end"])
        return self._world.record.table(start, end, self._world.truth)

    async def _log(self, request: Request) -> Request:
        return self._world.write_counts()

    async def _states(self, request: Request) -> Request:
        return self._world.states()

    async def _shutdown(self, request: Request) -> Request:
        self.stop.set()
        return {"now": text_of(self._clock.now)}
