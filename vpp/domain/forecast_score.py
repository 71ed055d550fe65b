"""How well past forecasts of a series did, out of sample.

The skill is 1 - pinball / pinball_naive: the share of the naive forecast's loss that the model saves. A forecast is
calibrated (reliable) where the share of outcomes below each quantile is the quantile's level (Gneiting,
Balabdaoui and Raftery, JRSS B 69(2), 2007).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class SeriesScore:
    """Scores over `n` scored steps, pinball losses in the unit of the series.

    `coverage` is the share of outcomes inside the central bands "50", "80" and "90"; `reliability` the share below
    the quantile of each level, empty where no scored step had a band of any width. `source` names the model as a
    `Forecast` does; `drifted` says that its calibration had to move so far that it wants a refit.
    """

    series: str
    source: str
    pinball: float
    pinball_naive: float
    coverage: Mapping[str, float]
    n: int
    drifted: bool
    trained_until: datetime | None
    reliability: Mapping[float, float]

    @property
    def skill(self) -> float | None:
        """None where the naive made no loss to save."""
        return 1.0 - self.pinball / self.pinball_naive if self.pinball_naive > 0.0 else None
