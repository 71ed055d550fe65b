"""Systems on the demo portfolio without trained models: the seasonal naive forecasts, the record lives in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from adapters.store import Store, open_store
from forecasting.pipeline import Pipeline
from grid_models.model import GridModel
from vpp.domain.schedule import DispatchRun
from vpp.domain.time import local_time
from vpp.service.bootstrap import load_checked
from vpp.service.cascade import committing, run_stage
from vpp.service.knowledge import gather
from vpp.service.portfolio import LoadedPortfolio
from vpp.service.series_book import SeriesBook
from vpp.service.settings import Settings
from vpp.service.situation import Situation
from vpp.service.system import System

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "config" / "demo"
ZONE = "Europe/Berlin"
DAY = date(2016, 7, 12)
ISSUED = datetime(2016, 7, 11, 8, 0, tzinfo=UTC)
Make = Callable[..., System]


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The shared network cache; models and state of their own."""
    own = tmp_path_factory.mktemp("state")
    return Settings(state_dir=own, cache_dir=ROOT / ".cache" / "vpp", models_dir=own / "models")


@pytest.fixture(scope="session")
def checked(settings: Settings) -> tuple[LoadedPortfolio, GridModel]:
    """The demo and its network, read once."""
    loaded, grid = load_checked(DEMO, settings.cache_dir)
    assert grid is not None
    return loaded, grid


@pytest.fixture(scope="session")
def make(checked: tuple[LoadedPortfolio, GridModel]) -> Make:
    """A system whose live metering begins at `cut`; without `network` only the series of the grid are there."""
    loaded, grid = checked

    def build(cut: datetime, store: Store | None = None, network: bool = True, **changes: object) -> System:
        archive = dict(loaded.series) | dict(grid.series)
        reactive = {
            name: replace(grid.series[name], values=values) for name, values in grid.q_values.items()
        }
        system = System(
            loaded, store or open_store("sqlite://"), SeriesBook(archive, cut),
            Pipeline(None, zone=ZONE, latitude=53.6, longitude=10.0, workers=1),
            reactive=SeriesBook(reactive, cut),
        )  # fmt: skip
        if network:
            system.network, system.background = grid.network, grid.background
        system.loaded = replace(loaded, **changes)  # type: ignore[arg-type]
        return system

    return build


@pytest.fixture(scope="session")
def secured(make: Make) -> tuple[System, Situation, DispatchRun]:
    """The demo day's plan as issued the morning before; nothing is recorded."""
    system = make(ISSUED)
    situation = gather(system, "day_ahead", "plan", ISSUED, scenarios=20)
    return system, situation, run_stage(situation, "secured", committing())


@pytest.fixture
def system(make: Make) -> Iterator[System]:
    """A fresh record, live from the demo day's issue on."""
    made = make(ISSUED)
    yield made
    made.store.close()


def local(text: str) -> datetime:
    """Local wall time such as `2016-07-12 18:10` in UTC."""
    moment = datetime.fromisoformat(text)
    return local_time(moment.date(), moment.time(), ZONE)
