"""Microgrid: island price * hours open + separation cost * islands begun + excess price * energy beyond its limits.

The excess is not metered: it is what the exchange of the members has beyond the limits, or beyond nothing
while the connection is open.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dispatch.accounting.trace import Costs
from vpp.domain.time import Array, TimeGrid


def costs(terms: Any, grid: TimeGrid, exchange_mw: Array, separate: Array, was_separate: bool = False) -> Costs:
    """Money by term from the measured exchange (T,), MW of injection, and the open connection (T,), 0 or 1."""
    closed = 1.0 - separate
    beyond = np.maximum(exchange_mw - terms.export_mw * closed, -terms.import_mw * closed - exchange_mw)
    begun = np.maximum(np.diff(np.concatenate([[float(was_separate)], separate])), 0.0)
    return {
        "fee": terms.island_eur_per_h * float(separate @ grid.hours),
        "starts": terms.separation_eur * float(begun.sum()),
        "penalties": terms.excess_eur_per_mwh * float(np.maximum(beyond, 0.0) @ grid.hours),
    }
