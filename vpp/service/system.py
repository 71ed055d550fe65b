"""Everything a running service holds, wired once by `bootstrap` and passed on as one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np

from adapters.plant_link import Minutes
from adapters.store import Store
from vpp.domain.command import MeterRow, Outcome
from vpp.domain.forecast import Forecast, History
from vpp.domain.network import Network
from vpp.domain.portfolio import AssetState, Portfolio
from vpp.domain.ports import Devices, LearningForecaster
from vpp.domain.stage import Stage
from vpp.domain.time import QUARTER, Array, TimeGrid, floor_to
from vpp.service.data_screen import DataScreen
from vpp.service.market_config import MarketConfig
from vpp.service.portfolio import LoadedPortfolio
from vpp.service.series_book import SeriesBook
from vpp.service.situation import Background, GridSide

SCENARIOS = 200
TAPS = "taps"
RATIO_SPAN = timedelta(days=28)
MeterSource = Callable[[datetime, datetime], Sequence[MeterRow]]
TruthSource = Callable[[datetime, datetime], Minutes]


class Sender(Protocol):
    """Empties the outbox into the field."""

    def pump(self, now: datetime) -> list[Outcome]:
        """Send what is due and store what became of it."""


@dataclass
class System:
    """`reactive` holds the archive's Mvar series of the background; `meters` brings rows of [start, end).

    `truth` is what a virtual plant alone can tell of them; nothing but the report of a settled call asks for it.
    """

    loaded: LoadedPortfolio
    store: Store
    book: SeriesBook
    forecaster: LearningForecaster
    network: Network | None = None
    background: Background | None = None
    reactive: SeriesBook | None = None
    relay: Sender | None = None
    devices: Devices | None = None
    meters: MeterSource | None = None
    truth: TruthSource | None = None
    epoch: int = 0
    seed: int = 1
    screen: DataScreen | None = None
    last_forecast: Forecast | None = field(default=None)
    _ratio: tuple[datetime, Array] | None = field(default=None)

    @property
    def portfolio(self) -> Portfolio:
        return self.loaded.portfolio

    @property
    def market(self) -> MarketConfig:
        return self.loaded.market

    def stage(self, name: str) -> Stage:
        """The stage of that name. Raises StopIteration for an unknown one."""
        return next(s for s in self.loaded.stages if s.name == name)

    def states(self, now: datetime) -> dict[str, AssetState]:
        """The last known state of every asset; the portfolio's initial one where it never answered.

        Assets with a limit of starts also get those that telemetry showed in the last 24 h, those with a patience
        the degree-hours that it showed of the day so far.
        """
        found = self.loaded.states(now)
        found.update(self.store.meters.latest_states(list(found)))
        limited = [
            a.id for a in self.portfolio.assets if getattr(a.params, "max_starts_per_day", None) is not None
        ]
        if limited:
            for asset_id, started in self.store.meters.starts(limited, now - timedelta(days=1), now).items():
                found[asset_id] = replace(found[asset_id], started=started)
        for a in self.portfolio.assets:
            if getattr(a.params, "patience_c_h_per_day", None) is not None:
                midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
                off_mwh, hours = self.store.meters.off_content(a.id, a.params.set_mwh_th, midnight, now)
                away_c_h = off_mwh / a.params.heat_capacity_mwh_th_per_c * hours
                found[a.id] = replace(found[a.id], away_c_h=away_c_h, away_h=hours)
        return found

    def forecast(self, now: datetime, grid: TimeGrid, scenarios: int = SCENARIOS) -> Forecast:
        """Forecast of every series over `grid`, made from what was known at `now`."""
        start, end = floor_to(grid.start, QUARTER), floor_to(grid.end + QUARTER - timedelta(seconds=1), QUARTER)
        quarters = TimeGrid.between(start, end, QUARTER)
        self.last_forecast = self.forecaster.forecast(self.history(now), quarters, scenarios)
        return self.last_forecast.on(grid)

    def history(self, now: datetime) -> History:
        return self.book.history(now)

    def new_faults(self, now: datetime) -> list[tuple[str, str]]:
        """Code and message for each series and kind of fault that the data known at `now` newly shows."""
        return self.screen.news(self.history(now)) if self.screen is not None else []

    def name_faults(self, now: datetime) -> None:
        """An alarm for each of the new faults."""
        for code, message in self.new_faults(now):
            self.store.alarms.raise_(code, message, now)

    def grid_side(self, now: datetime) -> GridSide | None:
        """The network with Q/P as the last four weeks showed it, renewed once a day."""
        if self.network is None or self.background is None:
            return None
        day = floor_to(now, timedelta(days=1))
        if self._ratio is None or self._ratio[0] != day:
            self._ratio = day, self._reactive_ratio(now)
        taps = self.store.settings.get(TAPS)
        network = self.network if taps is None else self.network.starting_at(taps)
        return GridSide(network, self.background, self._ratio[1])

    def taps_moved(self, taps: tuple[int, ...]) -> None:
        """Keep the tap positions of the minute that was just planned; the next flow starts from them."""
        if list(taps) != self.store.settings.get(TAPS):
            self.store.settings.put(TAPS, list(taps))

    def _reactive_ratio(self, now: datetime) -> Array:
        assert self.background is not None
        ratio = np.zeros(len(self.background.series))
        for i, name in enumerate(self.background.series):
            if self.reactive is not None and name in self.reactive.ids:
                p, q = (b.window(name, now, RATIO_SPAN) for b in (self.book, self.reactive))
                n = min(len(p), len(q))
                seen = np.isfinite(p[-n:]) & np.isfinite(q[-n:])
                power = float(np.square(p[-n:][seen]).sum())
                ratio[i] = float(p[-n:][seen] @ q[-n:][seen]) / power if power > 0 else 0.0
        return ratio
