"""How much more (or less) injection a group of assets can hold over a window.

    maximise d   subject to   sum_i p_i[t] >= reference[t] + d   (up)   for every t in the window
                              sum_i p_i[t] <= reference[t] - d   (down)

over the physics of the assets from their present state (the same blocks as every plan) and, where a
network model is given, its cuts, so that the answer is one that the network allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy.sparse as sp

from dispatch.block import INF, Block, Columns, Rows
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array, TimeGrid

Direction = Literal["up", "down"]
WORTH_PER_MWH = 600.0
"""Above every price of energy and comfort, below every slack (unmet heat, overheating, a broken limit)."""


def group_map(group: Sequence[str], asset_ids: Sequence[str], steps: Sequence[int], n_steps: int) -> sp.csr_array:
    """(len(steps), N*T) map from injections to the group's sum at each of `steps`."""
    position = {a: i for i, a in enumerate(asset_ids)}
    rows = np.repeat(np.arange(len(steps)), len(group))
    cols = np.array([position[a] * n_steps + t for t in steps for a in group], dtype=int)
    return sp.csr_array((np.ones(len(cols)), (rows, cols)), shape=(len(steps), len(asset_ids) * n_steps))


def flexible_power(
    group: Sequence[str], asset_ids: Sequence[str], grid: TimeGrid, window: Sequence[int], reference_mw: Array,
    direction: Direction, most_mw: float = INF,
) -> Block:  # fmt: skip
    """Its only column is the MW held over `window` beyond `reference_mw` (T,), worth much more than energy."""
    sign = 1.0 if direction == "up" else -1.0
    hours = float(grid.hours[list(window)].sum())
    column = Columns("held_mw", (1, 1), 0.0, most_mw, -WORTH_PER_MWH * hours, term="flexibility")
    total = group_map(group, asset_ids, window, grid.n)
    own = sp.csr_array(np.full((len(window), 1), -1.0))
    floor = sign * np.asarray(reference_mw)[list(window)]
    return Block(f"flexibility {direction}", (column,), (Rows("held", floor, INF, own=own, injection=total * sign),))


def held_mw(
    schedule: Schedule, group: Sequence[str], window: Sequence[int], reference_mw: Array, direction: Direction
) -> float:
    """MW a schedule holds over the window beyond the reference, never negative."""
    rows = [schedule.asset_ids.index(a) for a in group]
    total = schedule.power_mw[rows].sum(axis=0)[list(window)] - np.asarray(reference_mw)[list(window)]
    return max(0.0, float(np.min(total if direction == "up" else -total)))
