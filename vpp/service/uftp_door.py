"""Opens the UFTP door of a served portfolio that has a uftp.yaml: its routes, and its worker while they are served.

A portfolio without the file does not need the protocol's library.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from fastapi import APIRouter

from vpp.service.system import System

FILE = "uftp.yaml"
ENDING_S = 30.0


@contextmanager
def uftp_door(
    system: System, lock: threading.RLock, clock: Callable[[], datetime]
) -> Iterator[tuple[APIRouter, ...]]:
    """No route without the file. `lock` is held by whoever ticks the loop. Raises InputFaults for a faulty file."""
    if not (system.loaded.directory / FILE).exists():
        yield ()
        return
    from vpp.service.api.uftp import uftp_router
    from vpp.service.uftp import Uftp
    from vpp.service.uftp_config import load_uftp

    config = load_uftp(system.loaded.directory / FILE, system.portfolio, os.environ)
    uftp = Uftp(system, config, lock, clock)
    worker = uftp.start()
    try:
        yield (uftp_router(uftp),)
    finally:
        uftp.stop()
        worker.join(ENDING_S)
