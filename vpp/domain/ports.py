"""What the service needs from outside. Adapters implement these; only bootstrap names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

from vpp.domain.command import Outcome, Setpoint, Telemetry
from vpp.domain.forecast import Forecast, History
from vpp.domain.forecast_score import SeriesScore
from vpp.domain.learnt import ModelRecord
from vpp.domain.time import Array, TimeGrid

LearningStage = Literal["day_ahead", "intraday"]


class Forecaster(Protocol):
    """Quantiles and joint scenarios of every series in `history`, from what was known then."""

    def forecast(self, history: History, grid: TimeGrid, scenarios: int) -> Forecast:
        """`grid` is a quarter-hour grid that starts at or after `history.issued_at`."""


class LearningForecaster(Forecaster, Protocol):
    """A forecaster whose models are trained from a history; `progress` is told (done, of)."""

    def train_day_ahead(self, history: History, progress: Callable[[int, int], None] | None = None) -> None:
        """Learn what `history` knew, for the day ahead."""

    def train_intraday(self, history: History, progress: Callable[[int, int], None] | None = None) -> None:
        """Learn what `history` knew, for the next hours."""

    def track_record(self, history: History, most: int | None = None) -> tuple[SeriesScore, ...]:
        """Out-of-sample scores of the last days by the outcomes `history` knows; at most `most` forecasts are made
        again in this call, all where it is None. One caller at a time."""

    def past_forecast(self, now: datetime) -> Forecast | None:
        """The oldest of the forecasts made again that ends after `now`; the caller is that of `track_record`."""

    def trained_until(self, stage: LearningStage) -> datetime | None:
        """Issue time of the history that `stage` learnt from."""

    def record(self, stage: LearningStage) -> ModelRecord | None:
        """The models of `stage` as the record keeps them."""

    def restore(self, record: ModelRecord) -> None:
        """Forecast with the models of `record` from now on. Raises NotFound where it cannot read them."""

    def drifted(self, history: History) -> Mapping[str, bool]:
        """Whether each modelled series wants a refit."""

    def naive(self, history: History, grid: TimeGrid) -> Array:
        """Quantiles (S, L, T) of the seasonal naive over `grid`."""


class Devices(Protocol):
    """The field: set-points out, readings in."""

    def write(self, setpoints: Sequence[Setpoint], now: datetime) -> list[Outcome]:
        """One outcome per set-point; repeats, older epochs or sequences and expired ones are refused."""

    def read(self, asset_ids: Sequence[str], now: datetime) -> Mapping[str, Telemetry]:
        """Readings of those that answer; a silent device is missing from the answer."""

    def close(self) -> None:
        """Release the connections."""
