"""The only place that names concrete classes: portfolio folder and settings in, a wired `System` out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from adapters.store import open_store
from dispatch.registry import KINDS
from forecasting.calendar import Calendar
from forecasting.local_holidays import holidays_of
from forecasting.pipeline import Pipeline
from grid_models.model import GridModel, load_grid
from grid_models.spec import NetworkSpec
from vpp.domain.errors import Fault as InputFault
from vpp.domain.errors import InputFaults, UnknownElement
from vpp.domain.forecast import Series
from vpp.domain.portfolio import Outage, Portfolio
from vpp.domain.time import QUARTER, Array, TimeGrid
from vpp.service.asset_checks import CONFIG
from vpp.service.data_screen import DataScreen
from vpp.service.portfolio import LoadedPortfolio, load_portfolio, read_portfolio
from vpp.service.references import check_against_elements, check_against_network, check_against_series
from vpp.service.series_book import SeriesBook
from vpp.service.settings import Settings
from vpp.service.system import System

if TYPE_CHECKING:
    from adapters.modbus import Endpoint

NETWORK, MODEL = "network.yaml", "model"
SAME_SIZE = 0.01
PROFILE_CLASSES = {"gen:PV": "pv", "gen:WP": "wind", "load:": "load"}


def load_model(
    spec: NetworkSpec, outages: Sequence[Outage], cache_dir: Path, faults: list[InputFault]
) -> GridModel | None:
    """The network model; what cannot be read or modelled joins `faults`.

    A network whose outages alone are faulty is there without them, so that buses can still be checked.
    """
    try:
        return load_grid(spec, outages, cache_dir)
    except Exception as error:
        whole = _reasons(spec, error)
    if not outages:
        faults += whole
        return None
    grid = load_model(spec, (), cache_dir, faults)
    if grid is not None:
        faults += [f for outage in outages for f in _outage_faults(spec, outage, cache_dir)] or whole
    return grid


def _outage_faults(spec: NetworkSpec, outage: Outage, cache_dir: Path) -> list[InputFault]:
    try:
        load_grid(spec, (outage,), cache_dir)
    except UnknownElement as why:
        return [InputFault(outage.id, "outage", reason) for reason in str(why).split("; ")]
    return []


def _reasons(spec: NetworkSpec, why: Exception) -> list[InputFault]:
    """Why there is no model: a parser may fail in any way on a file that is not its own."""
    if isinstance(why, UnknownElement):
        return [InputFault(NETWORK, MODEL, reason) for reason in str(why).split("; ")]
    if isinstance(why, ModuleNotFoundError):
        return [InputFault(NETWORK, MODEL, f"needs the package {why.name}, which is not installed")]
    if spec.file is None:
        raise why
    return [InputFault(NETWORK, MODEL, f"{spec.file} is no readable network: {type(why).__name__}: {why}")]


def converges(grid: GridModel) -> bool:
    """Whether the AC power flow of the base case has a solution: first known background, our assets at zero."""
    start = min((s.start for s in grid.series.values()), default=datetime(2016, 1, 1, tzinfo=UTC))
    names = grid.background.series
    p = np.array([_first(grid.series[n].values) for n in names]).reshape(-1, 1)
    q = np.array([_first(grid.q_values[n]) if n in grid.q_values else 0.0 for n in names]).reshape(-1, 1)
    p_mw, q_mvar = grid.background.injection(p, q)
    flow = grid.network.flow(TimeGrid.between(start, start + QUARTER, QUARTER), p_mw[None], q_mvar[None])
    return bool(flow.converged.all())


def _first(values: Array) -> float:
    """The first value that is no gap; 0 where there is none."""
    known = np.flatnonzero(np.isfinite(values))
    return float(values[known[0]]) if len(known) else 0.0


def _base_case(grid: GridModel) -> list[InputFault]:
    try:
        solved = converges(grid)
    except UnknownElement as why:
        return [InputFault(NETWORK, MODEL, str(why))]
    except np.linalg.LinAlgError:
        solved = False
    return [] if solved else [InputFault(NETWORK, MODEL, "does not converge")]


def counted_twice(portfolio: Portfolio, grid: GridModel) -> list[InputFault]:
    """Assets that the background also feeds in: as large, at the same bus and by the same profile."""
    rows = {name: row for row, name in enumerate(grid.background.series)}
    faults = []
    for asset in portfolio.assets:
        for source in asset.inputs.values():
            if asset.bus is None or asset.bus not in grid.network.buses or source.series not in rows:
                continue
            fed_mw = float(grid.background.p_map[rows[source.series], grid.network.buses.index(asset.bus)])
            if fed_mw > 0.0 and abs(fed_mw - source.scale) <= SAME_SIZE * fed_mw:
                fed = f"{source.series}, {fed_mw:g} MW at bus {asset.bus}"
                reason = f"{asset.id} is a generator of the grid too ({fed}); list it, or it counts twice"
                faults.append(InputFault(NETWORK, "own_generation", reason))
    return faults


def load_checked(directory: Path, cache_dir: Path) -> tuple[LoadedPortfolio, GridModel | None]:
    """A portfolio that fits its network and its series. Raises InputFaults with every fault and misfit at once."""
    read = read_portfolio(directory)
    faults = list(read.faults)
    grid = load_model(read.network, read.outages, cache_dir, faults) if read.network is not None else None
    if grid is not None:
        faults += check_against_network(read.references, set(grid.network.buses)) + _base_case(grid)
        faults += check_against_elements(read.references, grid.network.elements)
        faults += counted_twice(read.loaded.portfolio, grid) if read.loaded is not None else []
    if grid is not None or not read.given:
        faults += check_against_series(read.references, grid.series.keys() if grid is not None else ())
    if faults or read.loaded is None:
        raise InputFaults(list(dict.fromkeys(faults)))
    return read.loaded, grid


def load_stated(directory: Path, cache_dir: Path) -> LoadedPortfolio:
    """The portfolio without its network; where it has faults, those of buses and series are listed with them."""
    try:
        return load_portfolio(directory)
    except InputFaults:
        load_checked(directory, cache_dir)
        raise


def open_system(
    directory: Path, database: str, settings: Settings, cut: datetime, seed: int = 1, models: bool = True
) -> System:
    """A service whose series end at `cut`, where live metering begins. `models` False keeps models in memory."""
    loaded, grid = load_checked(directory, settings.cache_dir)
    place, location = loaded.portfolio, loaded.location
    calendar = Calendar(place.zone, location.latitude, location.longitude, holidays_of(place.holidays))
    screen = DataScreen(calendar)
    archive: dict[str, Series] = screen.of(loaded.series)
    if grid is not None:
        archive |= grid.series
        grid.network.warm_up()
    pipeline = Pipeline(
        settings.models_dir if models else None,
        zone=calendar.zone, latitude=calendar.latitude, longitude=calendar.longitude, holidays=calendar.holidays,
        classes=classes_of(archive), weight=weights_of(loaded.portfolio),
    )  # fmt: skip
    return System(
        loaded=loaded, store=open_store(database), book=SeriesBook(archive, cut), forecaster=pipeline,
        network=grid.network if grid else None, background=grid.background if grid else None,
        reactive=_reactive(grid, cut), seed=seed, screen=screen,
    )  # fmt: skip


def classes_of(archive: Mapping[str, Series]) -> dict[str, str]:
    """The class of each series: the kind that its portfolio states, or that of a SimBench profile by its name."""
    found = {}
    for name, series in archive.items():
        kind = series.kind or next((k for start, k in PROFILE_CLASSES.items() if name.startswith(start)), "")
        if kind:
            found[name] = kind
    return found


def weights_of(portfolio: Portfolio) -> dict[str, float]:
    """What one unit of each series injects in all assets that follow it, MW: their sum is what the portfolio sells."""
    found: dict[str, float] = defaultdict(float)
    for asset in portfolio.assets:
        for what, sign in KINDS[asset.kind].FOLLOWS.items():
            given = asset.inputs[what]
            if given.series is not None:
                found[given.series] += sign * given.scale
    return dict(found)


def connect_field(system: System, endpoints: Mapping[str, Endpoint], log: Path, redis_url: str | None) -> None:
    """Let the service read and command its devices; `log` is the device side's own durable record.

    With `redis_url` set-points and outcomes go through Redis Streams. Raises InputFaults where no server answers.
    """
    from adapters.modbus import ModbusDevices
    from adapters.relay import Relay

    devices = ModbusDevices(endpoints, CONFIG / "devices", log)
    system.devices = devices
    if redis_url is None:
        system.relay = Relay(system.store, devices)
    else:
        from adapters.redis_bus import open_round_trip

        system.relay = open_round_trip(system.store, devices, redis_url, f"vpp:{log.resolve()}")


def _reactive(grid: GridModel | None, cut: datetime) -> SeriesBook | None:
    if grid is None:
        return None
    q = {
        name: Series(name, grid.series[name].start, values, grid.series[name].delay)
        for name, values in grid.q_values.items()
    }
    return SeriesBook(q, cut)
