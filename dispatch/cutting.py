"""A living problem, its AC check, and the cuts that the check adds to it.

A point is checked in every case of the exposure; cuts against what it violates join the living LP, with
a priced excess each. Where many assets act alike, cuts stand over the sums of their groups.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from dispatch.block import Block, Rows
from dispatch.cut_pool import (
    EXCESS_EUR_PER_MWH,
    EXCESS_MW,
    SMALL,
    CutPool,
    Key,
    alike,
    bus_block,
    cut_block,
    excess_block,
    group_cut_rows,
    scales,
)  # fmt: skip
from dispatch.exposure import Exposure, bus_injection
from dispatch.problem import Problem, injection
from dispatch.solvers.highs_door import Living
from dispatch.solvers.raw import Raw
from vpp.domain.network import Cut, Flow, Network, Relaxation, Violation
from vpp.domain.time import Array

NEAR_PCT, NEAR_ERRORS_PCT = 97.0, 90.0
TIGHT_PCT = 10.0
PART_OF_ALLOWED = 0.02
EXPECTED = ("expected",)


@dataclass(frozen=True)
class Checked:
    """A point with what its AC check found; `settled`: nothing further can be cut against it."""

    raw: Raw
    violations: tuple[Violation, ...]
    flow: Flow | None
    settled: bool = False

    @property
    def excess(self) -> float:
        """Sum of the relative excesses."""
        return sum(v.excess for v in self.violations)

    @property
    def rank(self) -> tuple[float, float]:
        """Less is better: limits exceeded first, then cost."""
        return self.excess, self.raw.objective


@dataclass
class Cutting:
    """The problem with every cut known so far; `wall_s` by what the time went to, "sensitivities" a part of "ac"."""

    problem: Problem
    network: Network | None
    exposure: Exposure | None
    rounds: int = 0
    wall_s: dict[str, float] = field(default_factory=dict)

    def begin(self, seeds: Sequence[Cut]) -> None:
        """Load the problem with the cuts `seeds`."""
        self.living, self.groups = Living(self.problem), None
        self.pool = CutPool(*((self.exposure.names, self.exposure.errors) if self.exposure else (EXPECTED,)))
        if self.exposure is not None and self.network is not None:
            self.groups = alike(self.exposure)
            if self.groups is not None:
                self.living.add_block(bus_block(self.groups, self.problem.grid))
            self._add(seeds, *self._rows(seeds))
        grouped = self.groups.count * self.problem.grid.n if self.groups else 0
        self.excess_from = self.problem.columns + grouped

    @property
    def grown(self) -> Problem:
        """The problem with its cuts."""
        return self.living.problem

    def timed(self, what: str) -> Timer:
        return Timer(self.wall_s, what)

    def check(self, raw: Raw) -> Checked:
        """Every violation of a point."""
        if self.network is None or self.exposure is None:
            return Checked(raw, (), None)
        with self.timed("ac"):
            p, q = bus_injection(self.exposure, injection(self.problem, raw.x))
            flow = self.network.flow(self.problem.grid, p, q)
            return Checked(raw, tuple(self.network.violations(flow, self.exposure.names)), flow)

    def cut(self, point: Checked) -> bool:
        """Adds cuts against a point; false where none can help."""
        if self.network is None or point.flow is None:
            return False
        with self.timed("ac"):
            near_pct = NEAR_PCT if self.pool.errors is None else NEAR_ERRORS_PCT
            with self.timed("sensitivities"):
                offered = self.network.cuts(point.flow, near_pct=near_pct)
        with self.timed("build"):
            taken = self.pool.taken(offered, point.flow)
            rows, kept = self._rows(taken)
            nobody = {self.pool.key(c) for c in taken} - {self.pool.key(c) for c in kept}
            self.pool.helpless |= nobody
            hopeless = self.pool.helpless | self._exceeded_keys(point.raw.x)
            if not kept or all((v.element, v.step, v.case) in hopeless for v in point.violations):
                return False
            self.rounds += 1
            self._add(taken, rows, kept)
        return True

    def _rows(self, cuts: Sequence[Cut]) -> tuple[tuple[Block, Rows | None], list[Cut]]:
        """A block with the excess of the cuts (and their rows, unless these are over groups), and the cuts that act."""
        assert self.exposure is not None
        grid, name = self.problem.grid, f"cuts {self.rounds}"
        if self.groups is None:
            block, kept = cut_block(name, cuts, self.exposure, grid)
            return (block, None), kept
        columns = self.grown.columns
        matrix, rhs, kept = group_cut_rows(cuts, self.exposure, grid, self.groups, self.problem.columns, columns)
        own = sp.csr_array(sp.hstack([matrix, -sp.eye_array(len(kept))], format="csr"))
        return (excess_block(name, kept, grid), Rows("cuts", -np.inf, rhs, own=own)), kept

    def _add(self, offered: Sequence[Cut], rows: tuple[Block, Rows | None], kept: Sequence[Cut]) -> None:
        if kept:
            self.living.add_block(rows[0])
            if rows[1] is not None:
                self.living.add_rows(rows[1])
        self.pool.add(kept, offered, self.grown.rows - len(kept))

    def refine(self, point: Checked, allowed_eur: float) -> bool:
        """Linearises anew, at a point without violations, the priced limits that it does not meet where their cuts say.

        A cut that holds the plan where its element has room is replaced. False where all this is worth less than
        `allowed_eur`, to first order.
        """
        priced = self._priced(point)
        if self.network is None or self.exposure is None or point.flow is None or not priced:
            return False
        flow, pool = point.flow, self.pool
        with self.timed("ac"), self.timed("sensitivities"):
            fresh = self._at(flow, [pool.cuts[i] for i in priced])
        with self.timed("build"):
            scale = scales([pool.cuts[i] for i in priced], self.exposure)
            worth, taken, replaced = 0.0, dict[Key, Cut](), set[int]()
            for (i, price), per_mw in zip(priced.items(), scale, strict=True):
                key = pool.key(pool.cuts[i])
                if key not in fresh or not _same_side(pool.cuts[i], fresh[key]):
                    continue
                past, aimed = pool.aimed(fresh[key], flow)
                money = price * abs(past) / per_mw
                if money <= PART_OF_ALLOWED * allowed_eur:
                    continue
                worth += money
                taken[key] = aimed
                if past < 0.0:
                    replaced.add(i)
            if worth <= allowed_eur:
                return False
            self.living.free_rows([pool.rows[i] for i in sorted(replaced)])
            pool.replaced |= replaced
            rows, kept = self._rows(list(taken.values()))
            self.rounds += 1
            self._add([], rows, kept)
        return True

    def _priced(self, point: Checked) -> dict[int, float]:
        """The cuts that have a price at a point with duals, EUR per MW of their excess, by their place in the pool."""
        duals = point.raw.row_duals
        if duals is None:
            return {}
        at = [(i, abs(float(duals[row]))) for i, row in enumerate(self.pool.rows) if row < len(duals)]
        return {i: price for i, price in at if price > SMALL and i not in self.pool.replaced}

    def _at(self, flow: Flow, cuts: Sequence[Cut]) -> dict[Key, Cut]:
        """The elements of `cuts` linearised anew at `flow`."""
        assert self.network is not None
        asked: dict[tuple[int, int], set[str]] = {}
        for cut in cuts:
            asked.setdefault((cut.case, cut.step), set()).add(cut.element)
        found: dict[Key, Cut] = {}
        for cut in self.network.cuts(flow, asked=asked):
            found.setdefault(self.pool.key(cut), cut)
        return found

    def exceeded(self, x: Array) -> Array:
        """Excess (cuts known at x,) in MW."""
        excess = x[self.excess_from :]
        return excess * (excess > EXCESS_MW)

    def _exceeded_keys(self, x: Array) -> set[Key]:
        found = zip(self.pool.cuts, self.exceeded(x), strict=False)
        return {self.pool.key(c) for c, excess in found if excess}

    def relaxations(self, point: Checked) -> tuple[Relaxation, ...]:
        """What each limit that `point` exceeds lacks, with the priced excess of its cut that is exceeded most."""
        most: dict[Key, tuple[float, float]] = {}
        for cut, excess in zip(self.pool.cuts, self.exceeded(point.raw.x), strict=False):
            price = EXCESS_EUR_PER_MWH * float(self.problem.grid.hours[cut.step]) * float(excess)
            key = self.pool.key(cut)
            most[key] = max(most.get(key, (0.0, 0.0)), (float(excess), price))
        return tuple(
            Relaxation(v.element, v.step, v.case, abs(v.value - v.limit), v.unit, *priced)
            for v, priced in ((v, most.get((v.element, v.step, v.case), (0.0, 0.0))) for v in point.violations)
        )

    def tight(self, point: Checked) -> tuple[Cut, ...]:
        """The cuts that a point uses to within 10 % of a rating or of nominal voltage."""
        flow = point.flow
        if flow is None:
            return ()
        at = [(c, flow.p_mw[c.case, c.step], flow.q_mvar[c.case, c.step]) for c in self.pool.live]
        return tuple(c for c, p, q in at if c.limit - float(c.dp @ p + c.dq @ q) <= TIGHT_PCT)

    def padded(self, x: Array) -> Array:
        """A point found before the last cuts, on today's columns."""
        return np.concatenate([x, np.zeros(self.grown.columns - len(x))])


def _same_side(one: Cut, other: Cut) -> bool:
    """Whether two cuts of an element push the plan the same way; else they bound its two directions, or both bands."""
    return float(one.dp @ other.dp + one.dq @ other.dq) > 0.0


class Timer:
    """Adds the wall time of its body to an account."""

    def __init__(self, account: dict[str, float], name: str) -> None:
        self.account, self.name = account, name

    def __enter__(self) -> None:
        self.began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.account[self.name] = self.account.get(self.name, 0.0) + time.perf_counter() - self.began
