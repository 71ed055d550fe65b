"""Consumption that is moved and comes back: the same energy, part of it evenly over the hours after.

A load that moves by m(y) MW at time y consumes, with substitution sigma over a window of W hours,

    consumption(x) = reference(x) + m(x) - sigma / W * integral of m over [x - W, x]

and over a step [a, b] of length h, with M the twice integrated move, the mean of what came back is
sigma (M(b) - M(a) - M(b - W) + M(a - W)) / (W h). What moves before the first step still bring back is given
as a trajectory. Source:
D. S. Kirschen et al., "Factoring the elasticity of demand in electricity prices", IEEE Trans. Power
Systems 15(2), 2000 (cross-time elasticity), with a flat kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vpp.domain.time import Array


@dataclass
class Rebound:
    """What comes back, one step after the other: `owed()` before the step's own move, `own` per MW of it.

    `before_mw` (T,) is consumption that moves before the first step bring back: more for what was reduced.
    """

    hours: Array
    substitution: float
    window_h: float
    before_mw: Array | float = 0.0
    _steps: int = 0
    _edge: Array = field(init=False)
    _once: Array = field(init=False)
    _twice: Array = field(init=False)
    _moved: Array = field(init=False)

    def __post_init__(self) -> None:
        n = len(self.hours)
        self._edge = np.concatenate([[0.0], np.cumsum(self.hours)])
        self._once, self._twice, self._moved = np.zeros(n + 1), np.zeros(n + 1), np.zeros(n)

    @property
    def own(self) -> float:
        """MW that comes back within the next step per MW moved in it."""
        h = float(self.hours[self._steps])
        return self.substitution * (h**2 - max(h - self.window_h, 0.0) ** 2) / (2.0 * self.window_h * h)

    def owed(self) -> float:
        """MW of the next step that answers earlier moves, with the sign of the moves."""
        t = self._steps
        before = -float(np.broadcast_to(self.before_mw, self.hours.shape)[t])
        if self.substitution == 0.0 or t == 0:
            return before
        a, b = self._edge[t], self._edge[t + 1]
        total = self._at(b) - self._at(a) - self._at(b - self.window_h) + self._at(a - self.window_h)
        return before + self.substitution * total / (self.window_h * float(self.hours[t]))

    def add(self, moved_mw: float) -> None:
        """The move of the next step."""
        t, h = self._steps, float(self.hours[self._steps])
        self._moved[t] = moved_mw
        self._once[t + 1] = self._once[t] + moved_mw * h
        self._twice[t + 1] = self._twice[t] + self._once[t] * h + moved_mw * h**2 / 2.0
        self._steps += 1

    def _at(self, x: float) -> float:
        """The twice integrated move at hour `x`, as if nothing moved from the next step on."""
        if x <= 0.0:
            return 0.0
        k = min(int(np.searchsorted(self._edge, x, side="right")) - 1, self._steps)
        moved = self._moved[k] if k < self._steps else 0.0
        dx = x - self._edge[k]
        return float(self._twice[k] + self._once[k] * dx + moved * dx**2 / 2.0)


def moved_behind(
    change_mw: Array, hours: Array, substitution: float, window_h: float, before_mw: Array | float = 0.0
) -> Array:
    """The moves (T,) behind a change of consumption against the reference (T,), MW; `before_mw` as in `Rebound`."""
    back, moved = Rebound(hours, substitution, window_h, before_mw), np.empty(len(hours))
    for t, change in enumerate(change_mw):
        moved[t] = (change + back.owed()) / (1.0 - back.own)
        back.add(float(moved[t]))
    return moved


def returned_share(hours: Array, substitution: float, window_h: float) -> Array:
    """Share (T,) of the energy moved in each step that has come back by the end of the last one."""
    left = np.cumsum(hours[::-1])[::-1]

    def integral(z: Array) -> Array:
        return np.where(z <= window_h, z**2 / (2.0 * window_h), z - window_h / 2.0)

    share: Array = substitution * (integral(left) - integral(left - hours)) / hours
    return share
