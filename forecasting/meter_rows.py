"""Rows of a meter or a weather service, put on one axis of UTC quarters; what does not fit is named, never guessed.

A row is a stamp (the start of its quarter) and a value. Stamps in local time are ambiguous twice a year: the hour
that the clocks repeat comes twice, or once where the meter wrote over it; and a meter that ignores the change
writes an hour that does not exist. Two rows of the repeated hour are told apart by their order (the first is summer
time); one alone may be either, so it is a gap. Two rows of one quarter that agree are one value; two that do
not agree are a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from forecasting.calendar import Index, quarter_of
from vpp.domain.time import Array

Mask = NDArray[np.bool_]
CLOCK_KINDS = ("double_hour", "single_hour", "impossible_hour")


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


def placed_local(series: str, stamps: Sequence[datetime], values: Array, zone: str) -> Placed:
    """As `placed` for naive local `stamps` (R,) in the order of their writing; clock changes are named too.

    Raises ValueError for a stamp that is not the start of a quarter.
    """
    utc, kinds = _read_clock(stamps, ZoneInfo(zone))
    kept = np.array([k not in ("single_hour", "impossible_hour") for k in kinds], dtype=bool)
    made = placed(series, utc[kept], np.asarray(values, dtype=float)[kept])
    named: list[Finding] = []
    for kind in CLOCK_KINDS:
        hit = np.array([k == kind for k in kinds], dtype=bool)
        if hit.any():
            begin = int(utc[hit].min())
            mask = np.isin(np.arange(begin, int(utc[hit].max()) + 1), utc[hit])
            named += spans(series, kind, mask, begin)
    return Placed(made.first, made.values, tuple(sorted([*made.findings, *named])))


def _read_clock(stamps: Sequence[datetime], zone: ZoneInfo) -> tuple[Index, list[str]]:
    """UTC quarter of each stamp and what is special about it."""
    count: dict[datetime, int] = {}
    for stamp in stamps:
        if stamp.tzinfo is not None or stamp.minute % 15 or stamp.second or stamp.microsecond:
            raise ValueError(f"{stamp.isoformat()} is not a local time at the start of a quarter")
        count[stamp] = count.get(stamp, 0) + 1
    seen: dict[datetime, int] = {}
    quarters, kinds = [], []
    for stamp in stamps:
        seen[stamp] = seen.get(stamp, 0) + 1
        early, late = stamp.replace(tzinfo=zone, fold=0), stamp.replace(tzinfo=zone, fold=1)
        shift = (late.utcoffset() or timedelta()) - (early.utcoffset() or timedelta())
        if not shift:
            kinds.append("")
        elif shift > timedelta():
            kinds.append("impossible_hour")
        else:
            kinds.append("double_hour" if count[stamp] > 1 else "single_hour")
        chosen = late if shift < timedelta() and seen[stamp] > 1 else early
        quarters.append(quarter_of(chosen.astimezone(UTC)))
    return np.array(quarters, dtype=np.int64), kinds
