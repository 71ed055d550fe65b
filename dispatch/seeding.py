"""Cuts before they are needed, so that rounds are few.

A store that may not charge at one step charges at the next, and a branch that may not carry what it did is asked to
carry the opposite. So the elements that are broken at most steps are bounded at every step of the case, in both
directions, by their linearisation at the point where they were found broken. Of these rows only those are kept that
some plan inside the bounds of our assets could pass:

    sum over assets of max(a_i low_i, a_i high_i) > right side,    low, high = bounds of power @ x.

A. S. Xavier et al., IEEE Trans. Power Syst. 34 (2019), for the filter by reach.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from dispatch.cut_pool import cut_rows
from dispatch.exposure import Exposure
from dispatch.problem import Problem
from vpp.domain.network import Asked, Cut, Violation
from vpp.domain.time import Array, TimeGrid

SEEDED = 6


def reach(problem: Problem) -> tuple[Array, Array]:
    """Least and greatest injection (N*T,) in MW that the bounds of the columns allow, each asset and step alone."""
    up, down = problem.power.maximum(0.0), problem.power.minimum(0.0)
    lower, upper = (v[: problem.power.shape[1]] for v in (problem.lower, problem.upper))
    low: Array = up @ lower + down @ upper + problem.power_offset
    high: Array = up @ upper + down @ lower + problem.power_offset
    return low, high


def broken_most(
    violations: Sequence[Violation], names: Sequence[str], steps: int, known: Collection[tuple[int, str]] = ()
) -> Asked:
    """By (case, step) the elements of each case that are broken at most of its steps, `SEEDED` at most.

    Those `known` (case, element) are left out.
    """
    found: dict[tuple[int, int], set[str]] = {}
    for case, name in enumerate(names):
        count = Counter(v.element for v in violations if v.case == name and (case, v.element) not in known)
        count.pop("network", None)
        elements = {element for element, _ in count.most_common(SEEDED)}
        if elements:
            found |= {(case, step): elements for step in range(steps)}
    return found


def within_reach(
    cuts: Sequence[Cut], exposure: Exposure, grid: TimeGrid, bounds: tuple[Array, Array]
) -> list[Cut]:
    """The cuts that an injection between `bounds` (N*T,) can pass."""
    matrix, rhs, kept = cut_rows(cuts, exposure, grid)
    low, high = bounds
    most = matrix.maximum(0.0) @ high + matrix.minimum(0.0) @ low
    return [cut for cut, past in zip(kept, most > rhs, strict=True) if past or np.isnan(past)]
