"""Series as they were known, and forecasts made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np

from vpp.domain.errors import LookAhead
from vpp.domain.time import QUARTER, Array, TimeGrid, utc

LEVELS: tuple[float, ...] = (0.05, 0.10, 0.25, 0.40, 0.50, 0.60, 0.75, 0.90, 0.95)


@dataclass(frozen=True)
class Series:
    """Quarter-hour means from `start`; a gap is NaN. The value of an interval is known `delay` after its end.

    `screen` makes gaps of faults in what is known at an issue time, where the series comes from a meter.
    """

    id: str
    start: datetime
    values: Array
    delay: timedelta = timedelta(minutes=1)
    lower: float = 0.0
    upper: float = np.inf
    kind: str = ""
    """Class of what is measured ("pv", "wind", "load"), empty where none is stated."""
    screen: Callable[[Series], Series] | None = None

    def known(self, issued_at: datetime) -> int:
        """How many leading values were known at `issued_at`."""
        passed = (utc(issued_at) - self.delay - self.start) // QUARTER
        return int(np.clip(passed, 0, len(self.values)))


@dataclass(frozen=True)
class History:
    """Series as known at `issued_at`; asking for anything later raises LookAhead."""

    issued_at: datetime
    series: Mapping[str, Series]

    def until_known(self, series_id: str) -> Series:
        """The series cut to what was known at `issued_at`, and screened by that alone."""
        s = self.series[series_id]
        cut = replace(s, values=s.values[: s.known(self.issued_at)], screen=None)
        return cut if s.screen is None else s.screen(cut)

    def window(self, series_id: str, start: datetime, end: datetime) -> Array:
        """Values of [start, end), NaN before the series begins. Raises LookAhead past `issued_at`."""
        s = self.series[series_id]
        if utc(end) + s.delay > self.issued_at:
            raise LookAhead(f"{series_id} until {end} was not known at {self.issued_at}")
        first, last = (start - s.start) // QUARTER, (end - s.start) // QUARTER
        at = np.arange(first, last)
        inside = (at >= 0) & (at < len(s.values))
        return np.where(inside, s.values[np.clip(at, 0, len(s.values) - 1)], np.nan)


@dataclass(frozen=True)
class Origin:
    """What makes a forecast again: issue time, quarters, number of scenarios, digests of the models by stage.

    `digest` is that of the quantiles and scenarios that were made.
    """

    issued_at: datetime
    grid: TimeGrid
    scenarios: int
    models: Mapping[str, str]
    digest: str


@dataclass(frozen=True)
class Forecast:
    """Quantiles (S, L, T) at `levels` and joint scenarios (K, S, T) of S series over `grid`.

    `source` names for each series the model that made it ("blend", "naive", ...).
    """

    issued_at: datetime
    grid: TimeGrid
    series: tuple[str, ...]
    levels: tuple[float, ...]
    quantiles: Array
    scenarios: Array
    source: tuple[str, ...]
    origin: Origin | None = None

    @cached_property
    def index(self) -> dict[str, int]:
        return {s: i for i, s in enumerate(self.series)}

    @cached_property
    def expected(self) -> Array:
        """Mean of each predictive distribution, (S, T): the quantile function's average, flat tails."""
        levels = np.asarray(self.levels)
        edges = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [1.0]])
        mean: Array = np.einsum("l,slt->st", np.diff(edges), self.quantiles)
        return mean

    def mean_of(self, series_id: str) -> Array:
        """Expected value of one series, (T,)."""
        row: Array = self.expected[self.index[series_id]]
        return row

    def on(self, grid: TimeGrid) -> Forecast:
        """The same forecast as means over another grid inside this one's span."""
        return Forecast(
            self.issued_at, grid, self.series, self.levels,
            grid.sample(self.grid, self.quantiles), grid.sample(self.grid, self.scenarios), self.source, self.origin,
        )  # fmt: skip
