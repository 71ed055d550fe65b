"""How much of a requested deviation a group of assets can give, interval by interval, and where its rebound may go.

    maximise sum over t of h[t] d[t]    subject to    s[t] (sum_i p_i[t] - level[t]) >= d[t],  0 <= d[t] <= most[t]

where the deviation is requested, s = +1 for more injection and -1 for less, and, where only room is stated,

    low[t] - b[t] <= sum_i p_i[t] - level[t] <= high[t] + b[t],   b >= 0 at a price

so that what is given in one interval is taken back where the network has room for it. The unit price of a MWh given is
above every price of energy and comfort and below every slack, as in `dispatch.flexibility`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from dispatch.block import INF, Block, Columns, Rows
from dispatch.flexibility import WORTH_PER_MWH, group_map
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array, TimeGrid

BEYOND_PER_MWH = 100.0
FLEXIBILITY, ROOM = "flexibility", "room"


def requested_power(
    group: Sequence[str], asset_ids: Sequence[str], grid: TimeGrid, level_mw: Array, sign: Array, most_mw: Array,
    low_mw: Array, high_mw: Array,
) -> Block:  # fmt: skip
    """A block of the columns `held_mw` where `sign` is not 0, and `beyond_mw` where it is 0 and `low_mw` is finite.

    All arrays are (T,); `level_mw` is the injection of the group that deviations are counted from.
    """
    wanted = np.flatnonzero(sign)
    free = np.flatnonzero((sign == 0.0) & np.isfinite(low_mw) & np.isfinite(high_mw) & np.isfinite(level_mw))
    hours = grid.hours
    held = Columns("held_mw", (1, len(wanted)), 0.0, most_mw[wanted], -WORTH_PER_MWH * hours[wanted], term=FLEXIBILITY)
    beyond = Columns("beyond_mw", (1, len(free)), 0.0, INF, BEYOND_PER_MWH * hours[free], term=ROOM)
    given, kept = (group_map(group, asset_ids, [int(t) for t in steps], grid.n) for steps in (wanted, free))
    zero = sp.csr_array((len(wanted), len(free)))
    own = sp.csr_array(sp.hstack([-sp.eye_array(len(wanted)), zero], format="csr"))
    slack = sp.csr_array(sp.hstack([zero.T, sp.eye_array(len(free))], format="csr"))
    s = sp.diags_array(sign[wanted])
    rows = (
        Rows("held", (sign * level_mw)[wanted], INF, own=own, injection=sp.csr_array(s @ given)),
        Rows("room below", (level_mw + low_mw)[free], INF, own=slack, injection=kept),
        Rows("room above", -(level_mw + high_mw)[free], INF, own=slack, injection=sp.csr_array(-kept)),
    )
    return Block("requested flexibility", (held, beyond), rows)


def given_mw(schedule: Schedule, group: Sequence[str], level_mw: Array, sign: Array, most_mw: Array) -> Array:
    """(T,) the deviation a schedule gives where it is requested, at most what is requested; 0 elsewhere."""
    rows = [schedule.asset_ids.index(a) for a in group]
    deviation = schedule.power_mw[rows].sum(axis=0) - np.nan_to_num(level_mw)
    found: Array = sign * np.clip(sign * deviation, 0.0, np.where(sign != 0.0, most_mw, 0.0))
    return found
