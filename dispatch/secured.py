"""What the secure loop gives back: a plan, the problem it was found in, and what the next roll may begin with."""

from __future__ import annotations

from dataclasses import dataclass

from dispatch.problem import Problem
from dispatch.solvers.highs_door import Basis
from dispatch.warm import Warm
from vpp.domain.network import Cut
from vpp.domain.schedule import Solution
from vpp.domain.time import Array


@dataclass(frozen=True)
class Secured:
    """A solution, and the problem with its cuts at which `x` was found; `row_duals` (rows,) where there are any and
    every cut is a row over injections. `cuts` are in the order of their rows, `live` those of them that still
    bound. The rest is for `warm`.
    """

    solution: Solution
    problem: Problem
    x: Array
    cuts: tuple[Cut, ...]
    row_duals: Array | None = None
    basis: Basis | None = None
    plan_basis: Basis | None = None
    tight: tuple[Cut, ...] = ()
    cases: tuple[str, ...] = ("expected",)
    prices: Array | None = None
    live: tuple[Cut, ...] = ()

    @property
    def warm(self) -> Warm:
        """What the next roll may begin with."""
        return Warm(self.problem, self.x, self.basis, self.tight, self.cases, self.plan_basis, self.prices)
