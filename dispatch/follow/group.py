"""Groups behind one connection: members move, one after the other, until the sum of them fits.

What is too much or too little in the sum is wished of the first member on top of what it does, what is then
left of the second, and so on; each keeps what its devices can. What no member can take stays in the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dispatch.follow.whole import follow
from dispatch.wish import Wish
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array

FITS_MW = 1e-6
PASSES = 2


@dataclass(frozen=True)
class Group:
    """The sum of the members' injections lies in [lower_mw, upper_mw], (T,) each."""

    members: tuple[str, ...]
    lower_mw: Array
    upper_mw: Array

    def missing_mw(self, schedule: Schedule) -> Array:
        """(T,) injection that the members lack (positive) or have too much (negative)."""
        total = np.sum([schedule.power_of(m) for m in self.members], axis=0)
        missing: Array = np.clip(total, self.lower_mw, self.upper_mw) - total
        return missing


def follow_in_groups(wishes: Sequence[Wish], groups: Sequence[Group]) -> Schedule:
    """`follow`, with the wishes of members moved so that their groups hold where they can."""
    adjusted = {w.asset.id: w for w in wishes}
    schedule = follow(wishes)
    for group in groups:
        turns = [m for _ in range(PASSES) for m in group.members]
        for member in turns:
            missing = group.missing_mw(schedule)
            if np.abs(missing).max() <= FITS_MW:
                break
            moved = schedule.power_of(member) + missing
            adjusted[member] = replace(adjusted[member], power_mw=moved)
            kind = adjusted[member].asset.kind
            schedule = _with(schedule, follow([adjusted[w.asset.id] for w in wishes if w.asset.kind == kind]))
    return schedule


def _with(schedule: Schedule, part: Schedule) -> Schedule:
    """`schedule` with what `part` says of its assets."""
    power, reactive = schedule.power_mw.copy(), schedule.q_mvar.copy()
    rows = [schedule.asset_ids.index(name) for name in part.asset_ids]
    power[rows], reactive[rows] = part.power_mw, part.q_mvar
    return replace(
        schedule, power_mw=power, q_mvar=reactive,
        commitment={**schedule.commitment, **part.commitment},
        stored_mwh={**schedule.stored_mwh, **part.stored_mwh},
        decisions={**schedule.decisions, **part.decisions},
    )  # fmt: skip
