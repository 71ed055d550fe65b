"""`vpp serve --live`: the loop on the wall clock and on real Modbus devices, beside the API and the page."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from pydantic import Field

from adapters.modbus import Endpoint
from vpp.domain.errors import Fault, InputFaults
from vpp.domain.forecast import Series
from vpp.domain.time import QUARTER, rfc3339
from vpp.service.api.app import create_app
from vpp.service.asset_checks import CONFIG
from vpp.service.bootstrap import connect_field, load_checked, open_system
from vpp.service.desk import Desk
from vpp.service.event_clock import EventClock
from vpp.service.learning import Learning, recall_models
from vpp.service.loop import Loop
from vpp.service.portfolio import LoadedPortfolio
from vpp.service.serving import first_key, serve_app, start_live, wall_clock
from vpp.service.settings import Settings
from vpp.service.simulate import RECORD
from vpp.service.system import System
from vpp.service.uftp_door import uftp_door
from vpp.service.yaml_files import Edge, read_mapping, validated

RECENT = timedelta(days=2)


class EndpointFile(Edge):
    """Where a device answers: Modbus TCP server, unit on it, register profile in `config/devices`."""

    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    unit: int = Field(ge=1, le=247)
    profile: str


def read_devices(path: Path, faults: list[Fault]) -> dict[str, Endpoint | None]:
    """The endpoint of each asset of the file, None for a faulty one; what is wrong joins `faults`."""
    profiles = {p.stem for p in (CONFIG / "devices").glob("*.yaml")}
    found: dict[str, Endpoint | None] = {}
    users: dict[tuple[str, int, int], list[str]] = defaultdict(list)
    for asset, raw in (read_mapping(path, faults) or {}).items():
        given = validated(EndpointFile, raw, str(asset), faults)
        found[str(asset)] = None
        if given is None:
            continue
        if given.profile not in profiles:
            faults.append(Fault(str(asset), "profile", f"unknown device profile {given.profile}"))
        users[given.host, given.port, given.unit].append(str(asset))
        found[str(asset)] = Endpoint(given.host, given.port, given.unit, given.profile)
    faults += [
        Fault(other, "unit", f"{unit} at {host}:{port} is already {first}")
        for (host, port, unit), (first, *others) in users.items()
        for other in others
    ]
    return found


def device_faults(loaded: LoadedPortfolio, named: Collection[str]) -> list[Fault]:
    """Devices of assets that do not exist, and assets to be commanded that have none."""
    known = loaded.portfolio.index
    faults = [Fault(name, "", "is no asset of the portfolio") for name in named if name not in known]
    commanded = [a.id for a in loaded.portfolio.assets if a.control != "none"]
    return faults + [Fault(asset, "", "has no device") for asset in commanded if asset not in named]


def _checked(portfolio: Path, devices: Path, settings: Settings) -> dict[str, Endpoint]:
    faults: list[Fault] = []
    named = read_devices(devices, faults)
    try:
        loaded, _ = load_checked(portfolio, settings.cache_dir)
    except InputFaults as wrong:
        raise InputFaults([*wrong.faults, *faults]) from None
    if named or not faults:
        faults += device_faults(loaded, named)
    if faults:
        raise InputFaults(faults)
    return {asset: endpoint for asset, endpoint in named.items() if endpoint is not None}


def open_live(portfolio: Path, url: str, devices: Path, log: Path, settings: Settings, now: datetime) -> Loop:
    """The loop of a service that commands the devices of the file `devices` from `now` on, under the next epoch.

    `log` is the device side's durable record; it belongs to the record at `url`. Raises InputFaults with
    every fault of portfolio and devices, and for a record that holds a simulation.
    """
    endpoints = _checked(portfolio, devices, settings)
    system = open_system(portfolio, url, settings, now)
    if system.store.settings.get(RECORD) is not None:
        system.store.close()
        raise InputFaults([Fault("record", "", "holds a simulation; a live service needs a record of its own")])
    system.epoch = system.store.commands.next_epoch(now)
    connect_field(system, endpoints, log, settings.redis_url)
    _warn_of_old_series(system, now)
    recall_models(system, now)
    loop = Loop(Desk(system), EventClock(system, ()), Learning(system, background=True))
    loop.resume()
    return loop


def _warn_of_old_series(system: System, now: datetime) -> None:
    """An alarm where forecasts rest on values that ended long ago: a live service has no meter feed of its own."""
    history = system.history(now)
    ends = {name: _known_until(history.until_known(name)) for name in system.book.ids}
    old = {name: end for name, end in ends.items() if end < now - RECENT}
    if old:
        name = min(old, key=lambda n: old[n])
        message = f"{len(old)} series have no value of the last two days; {name} ends at {rfc3339(old[name])}"
        system.store.alarms.raise_("old series", message, now)


def _known_until(series: Series) -> datetime:
    known = np.flatnonzero(np.isfinite(series.values))
    return series.start + (int(known[-1]) + 1 if len(known) else 0) * QUARTER


def serve_live(
    portfolio: Path, database: Path | None, devices: Path, settings: Settings, host: str, port: int
) -> None:
    """Tick the stages every minute of UTC and serve, until interrupted."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{database.resolve()}" if database else settings.database
    log = database.with_name(database.name + ".devices.db") if database else settings.state_dir / "devices.db"
    loop, lock = open_live(portfolio, url, devices, log, settings, wall_clock()), threading.RLock()
    system = loop.desk.system
    first_key(system)
    if loop.learning is not None and system.forecaster.trained_until("day_ahead") is None:
        loop.learning.refit(wall_clock(), "first")
    scheduler = start_live(loop, lock)
    try:
        with uftp_door(system, lock, wall_clock) as doors:
            serve_app(create_app(system, wall_clock, lock, doors=doors), host, port)
    finally:
        scheduler.shutdown()
        if system.devices is not None:
            system.devices.close()
