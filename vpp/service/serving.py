"""Serve the API and the page of a record, and tick a loop live: APScheduler, every minute of UTC."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from fastapi import FastAPI

from vpp.domain.time import MINUTE, floor_to, rfc3339
from vpp.service.api.app import create_app
from vpp.service.bootstrap import open_system
from vpp.service.loop import Loop
from vpp.service.settings import Settings
from vpp.service.simulate import RECORD
from vpp.service.system import System
from vpp.service.uftp_door import uftp_door

log = logging.getLogger(__name__)
EVERY_MINUTE = CronTrigger(second=0, timezone=UTC)


def wall_clock() -> datetime:
    """Now, aware UTC."""
    return datetime.now(UTC)


def start_live(
    loop: Loop, lock: threading.RLock, clock: Callable[[], datetime] = wall_clock, trigger: BaseTrigger = EVERY_MINUTE
) -> BackgroundScheduler:
    """Tick the loop at every full minute of UTC; a tick that is still running when the next is due is not doubled.

    The scheduler only ticks: that a cycle runs once is decided by its unique row. A tick that fails raises an
    alarm and the next one goes on; minutes that no tick reached are recorded as missed.
    """

    def tick() -> None:
        now = floor_to(clock(), MINUTE)
        with lock:
            try:
                if loop.last is not None:
                    loop.missed(loop.last, now)
                loop.tick(now)
            except Exception as why:
                log.exception("the tick of %s failed", rfc3339(now))
                message = f"the tick of {rfc3339(now)} failed: {type(why).__name__}: {why}"
                loop.desk.system.store.alarms.raise_("clock", message, now)

    scheduler = BackgroundScheduler(timezone=UTC)
    scheduler.add_job(tick, trigger, max_instances=1, coalesce=True, misfire_grace_time=30)
    scheduler.start()
    return scheduler


def serve_app(app: FastAPI, host: str, port: int) -> None:
    """Serve until interrupted."""
    uvicorn.run(app, host=host, port=port, log_level="warning")


def serve_record(portfolio: Path, database: Path | None, settings: Settings, host: str, port: int) -> None:
    """The API and the page on an existing record; makes an operator key where there is none and prints it once."""
    url = f"sqlite:///{database.resolve()}" if database else settings.database
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    system = open_system(portfolio, url, settings, wall_clock())
    first_key(system)
    lock = threading.RLock()
    with uftp_door(system, lock, lambda: record_clock(system)) as doors:
        serve_app(create_app(system, lambda: record_clock(system), lock, doors=doors), host, port)


def record_clock(system: System) -> datetime:
    """The newest moment a simulated record knows, the wall clock on a live one."""
    if system.store.settings.get(RECORD) is None:
        return wall_clock()
    cycles = system.store.runs.list(1)
    return cycles[0].issued_at if cycles else wall_clock()


def first_key(system: System) -> str | None:
    """The token of a new operator key where no key exists yet; shown once, stored hashed."""
    if system.store.access.list():
        return None
    _, token = system.store.access.create_key("operator", None, "first key")
    log.warning("operator key, shown once: %s", token)
    return token
