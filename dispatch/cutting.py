"""A living problem, its AC check, and the cuts that the check adds to it.

A point is checked in every case of the exposure; cuts against what it violates join the living LP, with
a priced excess each. Where many assets act alike, cuts stand over the sums of their groups.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from dispatch import refine
from dispatch.block import Block, Rows
from dispatch.cut_pool import (
    EXCESS_EUR_PER_MWH,
    EXCESS_MW,
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
from dispatch.seeding import broken_most, reach, within_reach
from dispatch.solvers.highs_door import Living
from dispatch.solvers.raw import Raw
from vpp.domain.network import Cut, Flow, Network, Relaxation, Violation
from vpp.domain.time import Array

NEAR_PCT, NEAR_ERRORS_PCT = 97.0, 90.0
TIGHT_PCT = 10.0
SEEDED_ROUNDS, TRIED, HALVINGS = 2, 3, 6
SHARE_OF_MOVED = 0.1
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
    seeded: set[tuple[int, str]] = field(default_factory=set)

    def begin(self, seeds: Sequence[Cut]) -> None:
        """Load the problem with the cuts `seeds`."""
        self.living, self.groups = Living(self.problem), None
        self.pool = CutPool(*((self.exposure.names, self.exposure.errors) if self.exposure else (EXPECTED,)))
        if self.exposure is not None and self.network is not None:
            self.groups = alike(self.exposure)
            if self.groups is not None:
                self.living.add_block(bus_block(self.groups, self.problem.grid))
            self._add(seeds, *self._rows(seeds))
            self.seeded = {(c.case, c.element) for c in seeds}
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
        """Adds cuts against a point, in place of older ones that are too strict there; false where none can help."""
        if self.network is None or point.flow is None:
            return False
        with self.timed("ac"):
            near_pct = NEAR_PCT if self.pool.errors is None else NEAR_ERRORS_PCT
            flow = self._solvable(self.network, point.flow)
            with self.timed("sensitivities"):
                offered = self.network.cuts(flow, near_pct=near_pct)
                seeds = self._seeds(point, flow)
        with self.timed("build"):
            taken = self.pool.taken(offered, flow)
            rows, kept = self._rows(taken)
            nobody = {self.pool.key(c) for c in taken} - {self.pool.key(c) for c in kept}
            self.pool.helpless |= nobody
            tried = {key for key in self._exceeded_keys(point.raw.x) if self.pool.repeats[key] >= TRIED}
            hopeless = self.pool.helpless | tried
            if not kept or all((v.element, v.step, v.case) in hopeless for v in point.violations):
                return False
            self.rounds += 1
            self._replace(refine.too_strict(self.pool, flow, kept))
            self._add(taken, rows, kept)
            self._seed(seeds, kept)
        return True

    def _solvable(self, network: Network, flow: Flow) -> Flow:
        """`flow`, but with our assets nearer to rest, by halves, where a step has no solution and so no derivative."""
        assert self.exposure is not None
        at_rest = bus_injection(self.exposure, np.zeros((len(self.problem.asset_ids), self.problem.grid.n)))
        for _ in range(HALVINGS):
            lost = ~flow.converged
            if not lost.any():
                break
            p, q = flow.p_mw.copy(), flow.q_mvar.copy()
            for moved, rest in ((p, at_rest[0]), (q, at_rest[1])):
                moved[lost] = (moved[lost] + rest[lost]) / 2.0
            flow = network.flow(flow.grid, p, q)
        return flow

    def _replace(self, places: Collection[int]) -> None:
        """Cuts of the pool that bound nothing from now on."""
        self.living.free_rows([self.pool.rows[i] for i in sorted(places)])
        self.pool.replaced |= set(places)

    def _seeds(self, point: Checked, flow: Flow) -> list[tuple[bool, Cut]]:
        """What is newly broken at most steps, linearised at all of them; true for the direction that it has."""
        assert self.network is not None
        if self.rounds >= SEEDED_ROUNDS:
            return []
        asked = broken_most(point.violations, self.pool.names, self.problem.grid.n, self.seeded)
        self.seeded |= {(case, element) for (case, _), elements in asked.items() for element in elements}
        known: set[Key] = set()
        found = []
        for cut in self.network.cuts(flow, asked=asked):
            found.append((self.pool.key(cut) not in known, self.pool.aimed(cut, flow)[1]))
            known.add(self.pool.key(cut))
        return found

    def _seed(self, seeds: Sequence[tuple[bool, Cut]], kept: Sequence[Cut]) -> None:
        """Rows of `seeds` that matter, without those that were `kept` anyway."""
        assert self.exposure is not None
        had = {self.pool.key(c) for c in kept}
        wanted = [cut for same, cut in seeds if not (same and self.pool.key(cut) in had)]
        if wanted:
            mine = within_reach(wanted, self.exposure, self.problem.grid, reach(self.problem))
            rows, acting = self._rows(mine, " seeds")
            self._add([], rows, acting, seeds=True)

    def _rows(self, cuts: Sequence[Cut], suffix: str = "") -> tuple[tuple[Block, Rows | None], list[Cut]]:
        """A block with the excess of the cuts (and their rows, unless these are over groups), and the cuts that act."""
        assert self.exposure is not None
        grid, name = self.problem.grid, f"cuts {self.rounds}{suffix}"
        if self.groups is None:
            block, kept = cut_block(name, cuts, self.exposure, grid)
            return (block, None), kept
        columns = self.grown.columns
        matrix, rhs, kept = group_cut_rows(cuts, self.exposure, grid, self.groups, self.problem.columns, columns)
        own = sp.csr_array(sp.hstack([matrix, -sp.eye_array(len(kept))], format="csr"))
        return (excess_block(name, kept, grid), Rows("cuts", -np.inf, rhs, own=own)), kept

    def _add(
        self, offered: Sequence[Cut], rows: tuple[Block, Rows | None], kept: Sequence[Cut], *, seeds: bool = False
    ) -> None:
        if kept:
            self.living.add_block(rows[0])
            if rows[1] is not None:
                self.living.add_rows(rows[1])
        self.pool.add(kept, offered, seeds=seeds)
        self.pool.rows += range(self.grown.rows - len(kept), self.grown.rows)

    def refine(self, point: Checked, allowed_eur: float) -> bool:
        """Better cuts for a point without violations (see `refine`); false where they are not worth `allowed_eur`."""
        if self.network is None or self.exposure is None or point.flow is None or point.raw.row_duals is None:
            return False
        flow, pool = point.flow, self.pool
        with self.timed("build"):
            prices = refine.priced(pool, point.raw.row_duals)
            if not prices:
                return False
            known = refine.close(pool, flow, prices)
            scale = scales([pool.cuts[i] for i in prices], self.exposure)
        with self.timed("ac"), self.timed("sensitivities"):
            fresh: dict[Key, Cut] = {}
            for cut in self.network.cuts(flow, asked=refine.asked([pool.cuts[i] for i in known])):
                fresh.setdefault(pool.key(cut), cut)
        with self.timed("build"):
            per_mw = dict(zip(prices, scale.tolist(), strict=True))
            better = refine.better(pool, flow, known, prices, per_mw, fresh)
            if better.worth_eur <= allowed_eur:
                return False
            self._replace(better.replaced)
            self.rounds += 1
            rows, kept = self._rows(better.cuts)
            self._add([], rows, kept)
        return True

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

    def money(self, point: Checked) -> float:
        """What a point costs or, where its terms cancel, a share of all that it moves; at least 1."""
        x = point.raw.x
        moved = float(np.abs(self.grown.cost[: len(x)]) @ np.abs(x))
        return max(1.0, abs(point.raw.objective), SHARE_OF_MOVED * moved)

    def padded(self, x: Array) -> Array:
        """A point found before the last cuts, on today's columns."""
        return np.concatenate([x, np.zeros(self.grown.columns - len(x))])

    def completed(self, point: Checked) -> Array:
        """A point on today's columns inside today's rows.

        Cuts made after it are exceeded where it violates something; else they only bound its margin, and are freed.
        """
        x = self.padded(point.raw.x)
        rows = np.array(self.pool.rows, dtype=np.int64)
        past = (self.grown.matrix[rows] @ x if len(rows) else np.empty(0)) - self.grown.row_upper[rows]
        late = np.flatnonzero(past > EXCESS_MW)
        if point.violations:
            x[self.excess_from + late] += past[late]
        elif len(late):
            self._replace(late.tolist())
        return x


class Timer:
    """Adds the wall time of its body to an account."""

    def __init__(self, account: dict[str, float], name: str) -> None:
        self.account, self.name = account, name

    def __enter__(self) -> None:
        self.began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.account[self.name] = self.account.get(self.name, 0.0) + time.perf_counter() - self.began
