"""Microgrid, recomputed from its members' powers: the exchange inside its limits, none at all while it islands.

-import (1 - separate) <= sum of P <= export (1 - separate)

Announced outages separate it; it islands by itself only where it may, for shortest_island_h at least and
islands_per_day times a day at most. A plan that tells nothing of it islands where it must. What a plan prices as
unserved or unused is no excuse: no device sheds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dispatch.check.tools import TOLERANCE_MW, beyond, minutes_before
from vpp.domain.errors import Fault
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array, TimeGrid

DAY_MIN = 1440.0


def recompute(terms: Any, members: Sequence[str], schedule: Schedule) -> list[Fault]:
    """Every way in which `schedule` breaks the microgrid's terms; faults stand at the microgrid's id."""
    grid, name = schedule.grid, terms.id
    told: Mapping[str, Array] = schedule.products.get(name, {})
    must = np.array([any(_touches(o, grid, t) for o in terms.outages) for t in range(grid.n)], dtype=float)
    separate = np.asarray(told.get("separate", must), dtype=float)
    faults = beyond(name, "separate", separate, must, np.maximum(must, float(terms.may_island)), 1e-6)
    faults += beyond(name, "separate", np.minimum(np.abs(separate), np.abs(separate - 1.0)), 0.0, 0.0, 1e-6)
    exchange = sum((schedule.power_of(m) for m in members), np.zeros(grid.n))
    closed, tolerance = 1.0 - np.round(separate), TOLERANCE_MW * max(1, len(members))
    faults += beyond(name, "exchange_mw", exchange, -terms.import_mw * closed, terms.export_mw * closed, tolerance)
    return faults + _islands(terms, grid, separate > 0.5, must > 0.5)


def _touches(outage: Any, grid: TimeGrid, t: int) -> bool:
    return bool(outage.start < grid.edges[t + 1] and grid.edges[t] < outage.end)


def _islands(terms: Any, grid: TimeGrid, separate: Any, must: Any) -> list[Fault]:
    """Islands begun by choice: how long they last, and how many there are in a day."""
    faults, begin = [], minutes_before(grid)
    before = any(o.start < grid.start <= o.end for o in terms.outages)
    begun = [t for t in range(grid.n) if separate[t] and not (separate[t - 1] if t else before)]
    for t in (t for t in begun if not must[t]):
        end = next((u for u in range(t, grid.n) if not separate[u]), None)
        if end is not None and begin[end] - begin[t] < 60.0 * terms.shortest_island_h - 1e-6:
            lasted = f"step {t}: an island of {begin[end] - begin[t]:.0f} min"
            faults.append(Fault(terms.id, "shortest_island_h", lasted))
    per_day = np.bincount((begin[begun] // DAY_MIN).astype(int), minlength=1).astype(float)
    forced = np.bincount((begin[[t for t in begun if must[t]]] // DAY_MIN).astype(int), minlength=len(per_day))
    return faults + beyond(terms.id, "islands_per_day", per_day, 0.0, np.maximum(terms.islands_per_day, forced), 1e-6)
