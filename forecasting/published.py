"""A series whose values become known one by one, each at its own moment.

A price of tomorrow's noon is known today when the auction has cleared, a forecast of the load when it is issued: the
moment of knowledge does not follow from the time of delivery. So it is kept beside every value, and a value is only
read for an issue at which it was known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.calendar import Index
from vpp.domain.errors import LookAhead
from vpp.domain.time import Array


@dataclass(frozen=True)
class Published:
    """Values (N,) of intervals of `step` minutes from minute `first`; value i became known at minute `known[i]`.

    Minutes count from 1970 in the clock of the data. NaN is a gap, and there is nothing to know early about it.
    """

    first: int
    step: int
    values: Array
    known: Index

    @classmethod
    def of(cls, start: Index, values: Array, step: int, known: Index) -> Published:
        """From intervals that begin at minutes `start` (M,) in any order.

        What is missing between them becomes a gap, and so does an interval told twice with two values; told twice
        alike it is known when the last was told.
        """
        first, at = int(start.min()), (start - start.min()) // step
        n = int(at.max()) + 1
        low, high = np.full(n, np.inf), np.full(n, -np.inf)
        with np.errstate(invalid="ignore"):
            np.minimum.at(low, at, values)
            np.maximum.at(high, at, values)
        moment = first + step * np.arange(1, n + 1, dtype=np.int64)
        moment[at] = np.iinfo(np.int64).min
        np.maximum.at(moment, at, known)
        return cls(first, step, np.where(low == high, low, np.nan), moment)

    def read(self, minute: Index, issue: Index) -> Array:
        """Values of the intervals that hold `minute`, for forecasts issued at `issue` (broadcast together).

        NaN before the first and after the last interval. Raises LookAhead for a value that was not known then.
        """
        at = (minute - self.first) // self.step
        inside = (at >= 0) & (at < len(self.values))
        at = np.clip(at, 0, len(self.values) - 1)
        early = inside & (self.known[at] > issue) & np.isfinite(self.values[at])
        if np.any(early):
            late = int(np.max(np.where(early, self.known[at] - issue, 0)))
            raise LookAhead(f"a feature asked for a value that became known {late} minutes after the issue")
        return np.where(inside, self.values[at], np.nan)
