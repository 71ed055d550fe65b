"""`vpp demo`: first certified plan, virtual plant, service and page, and the three clocks, until interrupted."""

from __future__ import annotations

import logging
import threading
import time
from datetime import date, datetime
from pathlib import Path

from rich.console import Console

from vpp.domain.stage import DAY_AHEAD
from vpp.service.api.app import create_app
from vpp.service.desk import PLAN
from vpp.service.serving import first_key, serve_app
from vpp.service.settings import Settings
from vpp.service.simulate import Progress, Request, Simulation, prepare, run
from vpp.service.uftp_door import uftp_door

log = logging.getLogger(__name__)
DAYS = 28
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def run_demo(
    portfolio: Path, start: date, speed: float, host: str, port: int,
    database: Path | None, settings: Settings, progress: Progress,
) -> None:  # fmt: skip
    """Prepare, say when the first certified schedule is there, serve, and run the clocks in the background."""
    began, console = time.perf_counter(), Console(stderr=True)
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    where = database or settings.state_dir / f"demo-{int(time.time())}.db"
    request = Request(portfolio, start, DAYS, 1, speed, where)
    simulation = prepare(request, settings, progress, intraday_models=False)
    first = simulation.system.store.runs.latest(DAY_AHEAD, PLAN)
    if first is not None and first.certificate is not None:
        seconds = time.perf_counter() - began
        console.print(f"first day-ahead schedule after {seconds:.1f} s: {first.level}, {first.certificate.verdict}")
    lock = threading.RLock()
    token = first_key(simulation.system)
    console.print(f"page on http://{host}:{port}, record in {where}" + (f", operator key {token}" if token else ""))
    ending = threading.Event()
    threading.Thread(target=_clocks, args=(simulation, lock, progress, ending), daemon=True).start()
    threading.Thread(target=_learn, args=(simulation,), daemon=True).start()
    try:
        system, page = simulation.system, host in LOOPBACK
        with uftp_door(system, lock, lambda: now_of(simulation)) as doors:
            serve_app(create_app(system, lambda: now_of(simulation), lock, open_page=page, doors=doors), host, port)
    finally:
        ending.set()
        simulation.link.shutdown()


def _clocks(simulation: Simulation, lock: threading.RLock, progress: Progress, ending: threading.Event) -> None:
    """The clocks; where they stop, for an error or at the last day, the page shows an alarm, not a frozen world."""
    alarms = simulation.system.store.alarms
    try:
        run(simulation, progress, lock)
        alarms.raise_("clock", f"the {DAYS} days of the demo are over; start it again", simulation.end)
    except Exception as why:
        if ending.is_set():
            return
        log.exception("the clocks stopped")
        alarms.raise_("clock", f"the clocks stopped: {why!r}", now_of(simulation), "critical")


def _learn(simulation: Simulation) -> None:
    """Intraday models in the background; until they are there the naive stands in and the page says so."""
    simulation.train_intraday(lambda n, of: None)


def now_of(simulation: Simulation) -> datetime:
    """The loop's clock."""
    return simulation.loop.last or simulation.start

