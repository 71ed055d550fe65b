"""What a solver found, checked."""

from __future__ import annotations

from dataclasses import dataclass

from vpp.domain.time import Array


@dataclass(frozen=True)
class Raw:
    """A checked solution: x (columns,), row_duals (rows,) = d objective / d row bound or None for a MIP.

    `bound` is a lower bound on the objective; `status` is "optimal" or "time_limit".
    """

    x: Array
    row_duals: Array | None
    objective: float
    bound: float
    status: str
