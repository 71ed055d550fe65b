"""Which integers a relaxation settles: those integral there, and at the steps around."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from dispatch.problem import Problem, groups
from vpp.domain.time import Array

INTEGRAL: Final = 1e-6


def settled_columns(problem: Problem, relaxed: Array, steps: int) -> NDArray[np.int32]:
    """Integer columns whose relaxed values are integral from `steps` before to `steps` after."""
    settled = [np.empty(0, dtype=np.int64)]
    for block, first in zip(problem.blocks, problem.column_start, strict=True):
        for group, start in groups(block, first):
            if group.integer:
                value = relaxed[start : start + group.size].reshape(group.shape)
                open_ = np.abs(value - np.round(value)) > INTEGRAL
                width = np.ones(2 * steps + 1)
                near = np.array([np.convolve(row, width, mode="full")[steps:-steps] > 0.5 for row in open_])
                settled.append(start + np.flatnonzero(~near))
    return np.concatenate(settled).astype(np.int32)
