"""What forecasting models learnt and how well they forecast, as the record keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from vpp.domain.time import Array, TimeGrid


@dataclass(frozen=True)
class TrialScore:
    """Mean pinball loss of the blend and of the best naive model over `n` outcomes, in the unit of the series.

    `coverage` is the share of outcomes inside each central band ("50", "80", "90").
    """

    pinball: float
    pinball_naive: float
    coverage: Mapping[str, float]
    n: int


@dataclass(frozen=True)
class ModelRecord:
    """One training: its stage, the digest of what it learnt from, until when, and the models as plain data."""

    digest: str
    stage: str
    until: datetime
    features: tuple[str, ...]
    levels: tuple[float, ...]
    series: tuple[str, ...]
    trials: Mapping[str, TrialScore]
    blob: bytes = field(repr=False)


@dataclass(frozen=True)
class DayForecast:
    """What was forecast of [grid.start, grid.end) at `issued_at`: quantiles (S, L, T), and those of the naive."""

    issued_at: datetime
    grid: TimeGrid
    series: tuple[str, ...]
    levels: tuple[float, ...]
    source: tuple[str, ...]
    quantiles: Array
    naive: Array


@dataclass(frozen=True)
class DayScore:
    """Sums over the `n` outcomes of one day of one series: pinball losses, outcomes inside each band, and
    outcomes below each level (half of those that equal their quantile)."""

    series: str
    day: datetime
    source: str
    n: int
    pinball: float
    pinball_naive: float
    inside: Mapping[str, int]
    below: tuple[float, ...]
