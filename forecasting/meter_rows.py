"""Rows of a meter or a weather service, put on one axis of UTC quarters; what does not fit is named, never guessed.

A row is the UTC quarter it begins and a value. Two rows of one quarter that agree are one value; two that do not agree
are a gap. Local stamps, ambiguous twice a year, are made UTC before they come here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.calendar import Index
from vpp.domain.time import Array

Mask = NDArray[np.bool_]


@dataclass(frozen=True, order=True)
class Finding:
    """A fault of `series` in UTC quarters [start, end); it could be seen once quarter `found` - 1 was known."""

    start: int
    end: int
    kind: str
    series: str
    found: int


@dataclass(frozen=True)
class Placed:
    """Values (N,) of the quarters from `first`, NaN where there is none, and what was found on the way."""

    first: int
    values: Array
    findings: tuple[Finding, ...]


def spans(series: str, kind: str, where: Mask, first: int) -> list[Finding]:
    """Findings of the runs of true columns in `where` (N,)."""
    edge = np.diff(np.concatenate([[0], where.astype(np.int64), [0]]))
    starts, ends = np.flatnonzero(edge == 1), np.flatnonzero(edge == -1)
    return [
        Finding(first + int(a), first + int(b), kind, series, first + int(b)) for a, b in zip(starts, ends, strict=True)
    ]


def placed(series: str, quarters: Index, values: Array) -> Placed:
    """Rows with UTC quarters (R,) and `values` (R,) on one axis; gaps, duplicates and conflicts are named."""
    if not len(quarters):
        return Placed(0, np.zeros(0), ())
    first, n = int(quarters.min()), int(np.ptp(quarters)) + 1
    at = quarters - first
    low, high, count = np.full(n, np.inf), np.full(n, -np.inf), np.zeros(n, dtype=np.int64)
    there = np.isfinite(values)
    np.minimum.at(low, at[there], values[there])
    np.maximum.at(high, at[there], values[there])
    np.add.at(count, at[there], 1)
    axis = np.where((count > 0) & (low == high), low, np.nan)
    findings = [
        *spans(series, "gap", count == 0, first), *spans(series, "duplicate", (count > 1) & (low == high), first),
        *spans(series, "conflict", (count > 1) & (low < high), first),
    ]  # fmt: skip
    return Placed(first, axis, tuple(sorted(findings)))
