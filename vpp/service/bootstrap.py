"""The only place that names concrete classes: portfolio folder and settings in, a wired `System` out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from adapters.store import open_store
from forecasting.pipeline import Pipeline
from grid_models.model import GridModel, load_grid
from grid_models.spec import NetworkSpec
from vpp.domain.errors import Fault as InputFault
from vpp.domain.errors import InputFaults, UnknownElement
from vpp.domain.forecast import Series
from vpp.service.portfolio import (
    LoadedPortfolio,
    check_against_network,
    check_against_series,
    load_portfolio,
)
from vpp.service.series_book import SeriesBook
from vpp.service.settings import Settings
from vpp.service.system import System

Say = Callable[[str], None]


def load_model(loaded: LoadedPortfolio, cache_dir: Path) -> GridModel | None:
    """The network model of a portfolio, None without one. Raises InputFaults for what nobody models."""
    if loaded.network is None:
        return None
    try:
        return load_grid(NetworkSpec.model_validate(loaded.network), loaded.portfolio.outages, cache_dir)
    except UnknownElement as why:
        raise InputFaults([InputFault("network.yaml", "model", str(why))]) from why


def load_checked(directory: Path, cache_dir: Path) -> tuple[LoadedPortfolio, GridModel | None]:
    """A portfolio that fits its network and its series. Raises InputFaults with every misfit."""
    loaded = load_portfolio(directory)
    grid = load_model(loaded, cache_dir)
    faults = [] if grid is None else check_against_network(loaded, grid.network.buses)
    faults += check_against_series(loaded, tuple(grid.series) if grid else ())
    if faults:
        raise InputFaults(faults)
    return loaded, grid


def open_system(
    directory: Path, database: str, settings: Settings, cut: datetime, seed: int = 1, models: bool = True
) -> System:
    """A service whose series end at `cut`, where live metering begins. `models` False keeps models in memory."""
    loaded, grid = load_checked(directory, settings.cache_dir)
    archive: dict[str, Series] = dict(loaded.series)
    if grid is not None:
        archive |= grid.series
        grid.network.warm_up()
    location = loaded.location
    pipeline = Pipeline(
        settings.models_dir if models else None,
        zone=loaded.portfolio.zone, latitude=location.latitude, longitude=location.longitude,
    )  # fmt: skip
    return System(
        loaded=loaded, store=open_store(database), book=SeriesBook(archive, cut), forecaster=pipeline,
        network=grid.network if grid else None, background=grid.background if grid else None,
        reactive=_reactive(grid, cut), seed=seed,
    )  # fmt: skip


def _reactive(grid: GridModel | None, cut: datetime) -> SeriesBook | None:
    if grid is None:
        return None
    q = {
        name: Series(name, grid.series[name].start, values, grid.series[name].delay)
        for name, values in grid.q_values.items()
    }
    return SeriesBook(q, cut)
