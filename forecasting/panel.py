"""The known past of many series on one axis of UTC quarters."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecasting.calendar import Index, quarter_of
from vpp.domain.errors import LookAhead
from vpp.domain.forecast import History
from vpp.domain.time import QUARTER, Array


@dataclass(frozen=True)
class Panel:
    """Values (S, N) of quarters `first`..`first`+N-1; NaN is a gap or not known yet.

    `end` (S,) is the column after the last value known at the issue time of the history it came from; `late`
    (S,) is how many quarters before an issue time the knowledge of a series ends (its delay, rounded up).
    """

    ids: tuple[str, ...]
    first: int
    values: Array
    end: Index
    late: Index
    lower: Array
    upper: Array

    @classmethod
    def of(cls, history: History, ids: Sequence[str] | None = None, days: float | None = None) -> Panel:
        """What `history` knew at its issue time, at most the last `days` days; it cannot hold more."""
        names = tuple(history.series) if ids is None else tuple(ids)
        known = [history.until_known(name) for name in names]
        now = quarter_of(history.issued_at)
        starts = [quarter_of(s.start) for s in known]
        earliest = min(starts, default=now)
        first = earliest if days is None else max(earliest, now - int(days * 96))
        values = np.full((len(names), max(now - first, 1)), np.nan)
        end = np.zeros(len(names), dtype=np.int64)
        for i, (s, start) in enumerate(zip(known, starts, strict=True)):
            cut = s.values[max(0, first - start) :]
            at = max(start, first) - first
            values[i, at : at + len(cut)] = cut
            there = np.flatnonzero(np.isfinite(cut))
            end[i] = at + there[-1] + 1 if len(there) else 0
        late = np.array([-(-s.delay // QUARTER) for s in known], dtype=np.int64)
        lower, upper = np.array([s.lower for s in known]), np.array([s.upper for s in known])
        return cls(names, first, values, end, late, lower, upper)

    @property
    def n(self) -> int:
        return int(self.values.shape[1])

    def known_at(self, issue: Index) -> Index:
        """How many columns each series knew at the starts of columns `issue` (R,): (S, R)."""
        known: Index = np.clip(np.minimum(issue[None, :] - self.late[:, None], self.end[:, None]), 0, None)
        return known

    def read(self, at: Index, end: Index) -> Array:
        """Values at columns `at` (S or 1, ...), NaN before the first. Raises LookAhead at or past `end`."""
        if np.any(at >= end):
            raise LookAhead(f"a feature asked for {int(np.max(at - end)) + 1} quarters past what was known")
        shape = np.broadcast_shapes(at.shape, (len(self.ids),) + (1,) * (at.ndim - 1))
        at = np.broadcast_to(at, shape)
        rows = np.arange(len(self.ids)).reshape((-1,) + (1,) * (at.ndim - 1))
        return np.where(at >= 0, self.values[rows, np.maximum(at, 0)], np.nan)

    def select(self, rows: Sequence[int]) -> Panel:
        """The panel of some of its series."""
        r = list(rows)
        return Panel(
            tuple(self.ids[i] for i in r), self.first, self.values[r], self.end[r], self.late[r],
            self.lower[r], self.upper[r],
        )  # fmt: skip

    def digest(self) -> str:
        """A fingerprint of ids, axis, delays, bounds and values."""
        h = hashlib.blake2b(digest_size=16)
        h.update(repr((self.ids, self.first, self.late.tolist(), self.lower.tolist(), self.upper.tolist())).encode())
        h.update(np.ascontiguousarray(self.values).tobytes())
        return h.hexdigest()

    def part(self, start: int, stop: int) -> Panel:
        """Columns start..stop-1 as a panel."""
        a, b = max(start, 0), min(stop, self.n)
        end = np.clip(self.end - a, 0, b - a)
        return Panel(
            self.ids, self.first + a, self.values[:, a:b], end, self.late, self.lower, self.upper,
        )  # fmt: skip

    def filled_share(self, quarters: int) -> Array:
        """Share (S,) of the last `quarters` columns that have a value."""
        share: Array = np.isfinite(self.values[:, -quarters:]).sum(axis=1) / quarters
        return share
