"""The plant's own clock: told when to advance (lockstep), or running in wall time times a speed."""

from __future__ import annotations

import asyncio
import time

from vpp.plant.moments import MINUTE_S, text_of
from vpp.plant.world import World

BREATH = 15
"""Minutes stepped before the servers get their turn."""


class Clock:
    """`now` in seconds since the Unix epoch; with a speed it starts running when it is made, and stops at the end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.speed = world.spec.speed
        self._start = world.spec.start.timestamp()
        self._end = world.spec.end.timestamp()
        self._made_at = time.monotonic()
        self._stepping = asyncio.Lock()

    @property
    def now(self) -> float:
        """Seconds since the epoch on this clock."""
        if self.speed is None:
            return float(self.world.minute * MINUTE_S)
        return min(self._start + (time.monotonic() - self._made_at) * self.speed, self._end)

    async def advance(self, to_s: float) -> None:
        """Lockstep: live until `to_s`; a moment already past changes nothing. Raises ValueError past the end."""
        if self.speed is not None:
            raise ValueError("this plant runs freely; only a plant in lockstep is advanced")
        if to_s > self._end:
            raise ValueError(f"{text_of(to_s)} lies after the plant's end, {text_of(self._end)}")
        if to_s % MINUTE_S:
            raise ValueError(f"{text_of(to_s)} is not a whole minute")
        await self._live_until(int(to_s) // MINUTE_S)

    async def catch_up(self) -> None:
        """Live through what has already passed on this clock."""
        await self._live_until(int(self.now // MINUTE_S))

    async def run(self) -> None:
        """With a speed: live through the minutes as they end, until the plant's end."""
        if self.speed is None:
            raise ValueError("a plant in lockstep does not run by itself")
        while self.world.minute < self.world.end:
            await self.catch_up()
            wait = ((self.world.minute + 1) * MINUTE_S - self.now) / self.speed
            await asyncio.sleep(max(wait, 0.0))

    async def _live_until(self, minute: int) -> None:
        async with self._stepping:
            while self.world.minute < minute:
                for _ in range(min(BREATH, minute - self.world.minute)):
                    self.world.step()
                await asyncio.sleep(0)
