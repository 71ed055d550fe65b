"""Forecast cases: the one table that every model learns from and is asked with.

A case is one issue and one target of one series: what could be known at the issue (`x`), the value that came
(`y`), and when that value became known (`known`). Learning at a moment m uses cases with known <= m only, so a
model, a blend or a calibration cannot see the future, whatever else it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.calendar import Index
from vpp.domain.errors import LookAhead
from vpp.domain.time import Array


@dataclass(frozen=True)
class Cases:
    """Rows (R,) in order of issue; times are minutes since 1970 in one clock.

    `y` is NaN where the value is a gap; `x` (R, F) has the columns `names`. Raises LookAhead for a case whose
    outcome was known at its issue, and ValueError for rows out of order.
    """

    issue: Index
    target: Index
    known: Index
    y: Array
    x: Array
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if np.any(self.known <= self.issue):
            raise LookAhead(f"the outcome of {int(np.sum(self.known <= self.issue))} cases was known at their issue")
        if np.any(np.diff(self.issue) < 0):
            raise ValueError("cases must come in the order of their issue")
        if self.x.shape != (len(self.y), len(self.names)):
            raise ValueError(f"{self.x.shape} features for {len(self.y)} cases and {len(self.names)} names")

    def __len__(self) -> int:
        return len(self.y)

    @property
    def lead(self) -> Index:
        """Minutes from the issue to the target (R,)."""
        lead: Index = self.target - self.issue
        return lead

    def column(self, name: str) -> Array:
        """Feature `name` (R,). Raises KeyError that names the features there are."""
        if name not in self.names:
            raise KeyError(f"no feature {name!r}; there are {', '.join(self.names)}")
        column: Array = self.x[:, self.names.index(name)]
        return column

    def select(self, names: Sequence[str]) -> Array:
        """Features `names` as (R, len(names))."""
        return self.x[:, [self.names.index(n) for n in names]]

    def rows(self, where: NDArray[np.bool_] | Index) -> Cases:
        """Some rows, by mask or position."""
        return Cases(
            self.issue[where], self.target[where], self.known[where], self.y[where], self.x[where], self.names
        )  # fmt: skip

    def learnable(self, moment: int) -> Cases:
        """Cases whose outcome is there and was known at `moment`."""
        return self.rows((self.known <= moment) & np.isfinite(self.y))


def joined(parts: Sequence[Cases]) -> Cases:
    """All rows of `parts` in order of issue; they must have the same features."""
    if len({p.names for p in parts}) != 1:
        raise ValueError("cases with different features cannot be joined")
    order = np.argsort(np.concatenate([p.issue for p in parts]), kind="stable")
    return Cases(
        np.concatenate([p.issue for p in parts])[order], np.concatenate([p.target for p in parts])[order],
        np.concatenate([p.known for p in parts])[order], np.concatenate([p.y for p in parts])[order],
        np.concatenate([p.x for p in parts])[order], parts[0].names,
    )  # fmt: skip
