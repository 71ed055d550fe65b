"""What a model of one series is: fitted on cases, it answers cases with quantiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from forecasting.cases import Cases
from vpp.domain.time import Array

Levels = tuple[float, ...]


class Model(Protocol):
    """A fitted model."""

    def predict(self, cases: Cases) -> Array:
        """Quantiles (L, R), not falling with the level."""
        ...


Fit = Callable[[Cases, Levels], Model]
