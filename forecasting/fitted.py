"""What one series has learnt by a moment: its models, their blend, its calibration.

`Fitted.forecast` answers cases issued from then on; `Fitted.learn` follows the outcomes of what it forecast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forecasting.blend import Blend
from forecasting.calendar import Index
from forecasting.cases import Cases
from forecasting.conformal import USUAL_PACE, Pace, Tracker
from forecasting.models.model import Fit, Levels, Model
from vpp.domain.time import Array


@dataclass(frozen=True)
class Bounds:
    """The physics of a series: quantiles inside [lower, upper], and 0 on rows where the feature `dark` is 1."""

    lower: float = -np.inf
    upper: float = np.inf
    dark: str | None = None

    def __call__(self, cases: Cases, quantiles: Array) -> Array:
        inside = np.clip(quantiles, self.lower, self.upper)
        return np.where(cases.column(self.dark) > 0, 0.0, inside) if self.dark is not None else inside


@dataclass(frozen=True)
class Scheme:
    """How to forecast one series: models by name (the first `naive` are the naive ones), lead groups by their
    edges in minutes, the bounds that a row's quantiles keep, how many rows a model learns from at most, and how fast
    the calibration follows."""

    models: Mapping[str, Fit]
    naive: int
    lead_edges: tuple[int, ...] = ()
    bounds: Bounds = Bounds()
    most_rows: int = 10_000
    pace: Pace = USUAL_PACE

    def fit(self, past: Cases, levels: Levels) -> dict[str, Model]:
        """The naive models on all of `past`, the others on at most `most_rows` of it, drawn by its length."""
        kept = past
        if len(past) > self.most_rows:
            drawn = np.random.default_rng(len(past)).choice(len(past), self.most_rows, replace=False)
            kept = past.rows(np.sort(drawn))
        return {
            name: fit(past if k < self.naive else kept, levels) for k, (name, fit) in enumerate(self.models.items())
        }

    def lead_group(self, cases: Cases) -> Index:
        """Group (R,) of each row by its lead."""
        return np.searchsorted(np.asarray(self.lead_edges), cases.lead, side="right").astype(np.int64)


@dataclass(frozen=True)
class Condition:
    """The group of a row: its lead, and whether its median is low, middling or high."""

    edges: Array

    @classmethod
    def of(cls, y: Array) -> Condition:
        """Heights are thirds of the values `y`, above the least one."""
        there = y[np.isfinite(y)]
        high = there[there > there.min()] if len(there) else there
        return cls(np.unique(np.quantile(high, (1 / 3, 2 / 3))) if len(high) else high)

    def groups(self, scheme: Scheme) -> int:
        return (len(scheme.lead_edges) + 1) * (len(self.edges) + 1)

    def group(self, scheme: Scheme, cases: Cases, quantiles: Array) -> Index:
        """Group (R,) of rows with uncalibrated quantiles (L, R)."""
        height = np.searchsorted(self.edges, np.nan_to_num(quantiles[len(quantiles) // 2]))
        group: Index = scheme.lead_group(cases) * (len(self.edges) + 1) + height
        return group


@dataclass(frozen=True)
class Fitted:
    """Models that learnt at one moment, their blend, and the calibration as it stands."""

    scheme: Scheme
    levels: Levels
    models: Mapping[str, Model]
    blend: Blend
    condition: Condition
    tracker: Tracker

    def single(self, cases: Cases) -> Array:
        """Quantiles (M, L, R) of every model inside the bounds."""
        return np.stack([self.scheme.bounds(cases, m.predict(cases)) for m in self.models.values()])

    def raw(self, cases: Cases) -> Array:
        """Quantiles (L, R) of the blend."""
        return self.blend.mix(self.single(cases), self.scheme.lead_group(cases))

    def moved(self, cases: Cases, raw: Array, group: Index) -> Array:
        """Quantiles (L, R) as the calibration moves them, inside the bounds; neighbours may cross."""
        return self.scheme.bounds(cases, self.tracker.moved(raw, group))

    def forecast(self, cases: Cases) -> Array:
        """Calibrated quantiles (L, R)."""
        raw = self.raw(cases)
        ordered: Array = np.sort(self.moved(cases, raw, self.condition.group(self.scheme, cases, raw)), axis=0)
        return ordered


def positions(issue: Index) -> Sequence[tuple[int, Index]]:
    """Each issue time of sorted `issue` (R,) with the positions of its rows."""
    times, start = np.unique(issue, return_index=True)
    end = np.append(start[1:], len(issue))
    return [(int(t), np.arange(a, b)) for t, a, b in zip(times, start, end, strict=False)]
