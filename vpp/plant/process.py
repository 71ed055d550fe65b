"""The plant as a process: build the world, open the servers, announce them, live, and leave in time.

In lockstep it leaves after `idle_exit_s` of wall time without anybody on the control channel; with a speed,
`idle_exit_s` after its end, whoever is there. SIGTERM, SIGINT and the request "shutdown" end it at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from vpp.plant.clock import Clock
from vpp.plant.control import Control
from vpp.plant.field import Field, load_profiles, open_field
from vpp.plant.register_map import Profile
from vpp.plant.spec import Spec, load_spec
from vpp.plant.truth import load_truth
from vpp.plant.world import World
from vpp.plant.write_log import WriteLog

LONGEST_NAP_S = 1.0


def run_plant(path: Path) -> None:
    """Run the plant described in the JSON file at `path` to its end. Raises InputFaults before anything starts."""
    spec = load_spec(path)
    truth = load_truth(spec)
    profiles = load_profiles(spec)
    log = WriteLog(spec.log)
    try:
        asyncio.run(_live(World(spec, truth, log), profiles))
    finally:
        log.close()


async def _live(world: World, profiles: Mapping[str, Profile]) -> None:
    clock = Clock(world)
    field = await open_field(world, clock, profiles)
    control = Control(world, clock, field)
    port = await control.open()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, control.stop.set)
    _announce(world.spec, port, field)
    tasks = [asyncio.create_task(control.stop.wait()), asyncio.create_task(_idle(world.spec, clock, control))]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        world.spec.announce.unlink(missing_ok=True)
        await control.close()
        await field.close()


async def _idle(spec: Spec, clock: Clock, control: Control) -> None:
    """Return when nobody needs the plant any more; with a speed this also drives its clock."""
    if spec.speed is not None:
        await clock.run()
        await asyncio.sleep(spec.idle_exit_s)
        return
    while (left := spec.idle_exit_s - control.silence_s) > 0:
        await asyncio.sleep(min(left, LONGEST_NAP_S))


def _announce(spec: Spec, port: int, field: Field) -> None:
    spec.announce.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"pid": os.getpid(), "control_port": port, "devices": field.addresses()})
    draft = spec.announce.with_name(f"{spec.announce.name}.{os.getpid()}")
    draft.write_text(text)
    draft.replace(spec.announce)
