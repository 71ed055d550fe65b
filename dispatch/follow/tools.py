"""What the forward rules share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dispatch.wish import Path, Wish
from vpp.domain.time import Array

EPS = 1e-9


def keep(loss_per_h: float, hours: Array) -> Array:
    """(T,) share of a content that is left after each step."""
    return np.maximum(0.0, 1.0 - loss_per_h * hours)


def clip(value: float, low: float, high: float) -> float:
    """`value` inside [low, high]; where they cross, `low` wins."""
    return max(low, min(value, high))


def alone(rule: Callable[[Wish], Path]) -> Callable[[Sequence[Wish]], list[Path]]:
    """The rule of a kind whose assets do not depend on each other."""
    return lambda wishes: [rule(wish) for wish in wishes]
