"""Solve, check by AC power flow, cut, solve again, until the plan is clean in every case.

Cuts settle on the living relaxation (see `cut_pool`), those of what is broken most before they are needed (see
`seeding`); a plan that breaks nothing is held to its limits exactly where that is worth part of the gap (see
`refine`). Plans come from cheap to dear: known commitments, best
responses to the relaxation's prices and then to the plan's own, guided rounding (see `heuristics`), the MIP
near the relaxation and the incumbent, the whole MIP; the first plan within `rel_gap` of the bound ends the
search. Each commitment becomes a plan by an LP with its integers fixed, which repairs what the AC check finds
by further cuts. So cuts settle while the gap is still wide, and the dear steps, which close it, know them
all. Where a good plan was early (a tenth of the deadline), one more round of responses may improve it. Each
plan asks the parts' convex hulls for the bound it still lacks (see `hull`); one too dear for it is followed by
the schedules that weigh most there. A roll begins at the last plan and prices: where these certify it, it needs
no relaxation.

The bound is the best of the relaxation's, the Lagrangian one of the best responses, the hulls' and the MIP's. At the
deadline the best plan known is returned with it: fewest limits exceeded first, then least cost. The plan
that exceeds a limit nothing of ours can keep is the one that exceeds least; its status is "violated".

Lazy security as a method: A. S. Xavier et al., Transmission constraint filtering in large-scale
security-constrained unit commitment, IEEE Trans. Power Syst. 34 (2019).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from dispatch.cut_pool import MARGIN_LOADING_PCT, SMALL, cut_rows
from dispatch.cutting import Checked, Cutting
from dispatch.exposure import Case, Exposure, Scenarios, bus_injection
from dispatch.heuristics import (
    balanced_responses,
    best_responses,
    guided_rounding,
    known_integers,
    repriced_responses,
)  # fmt: skip
from dispatch.hull import hull_bound
from dispatch.parts import Part, integer_parts
from dispatch.problem import Problem, cost_terms, read_schedule
from dispatch.refine import allowed_eur
from dispatch.secured import Secured
from dispatch.solvers.highs_door import Basis
from dispatch.solvers.raw import Raw
from dispatch.warm import Warm, basis_on, cuts_on, plan_basis_on, plan_on, prices_on
from vpp.domain.errors import NotSolved
from vpp.domain.network import Cut, Network
from vpp.domain.schedule import Solution
from vpp.domain.time import Array

__all__ = [
    "Case", "Exposure", "MARGIN_LOADING_PCT", "Scenarios", "Secured", "bus_injection", "cut_rows", "secure_plan",
    "solve_secure",
]  # fmt: skip

SHORT_SHARE, SETTLE_SHARE = 0.1, 0.4
RESPOND_SHARE, ROUND_SHARE, NEAR_SHARE, WHOLE_SHARE = 0.5, 0.3, 0.4, 0.7
PART_OF_GAP, TIGHT_GAP, PART_OF_ALLOWED = 0.5, 5e-3, 0.1
POLISH_SHARE, FINISHED, GRACE_S = 0.1, 0.1, 1.0
PART_OF_MISS, RELAXED_PART_OF_MISS, REFINED_ROUNDS = 0.2, 1.0, 8
Propose = Callable[[], Array | None]


def solve_secure(
    problem: Problem, network: Network | None, exposure: Exposure | None, *, deadline_s: float,
    rel_gap: float = 1e-3, max_rounds: int = 8, seed_cuts: Sequence[Cut] = (),
) -> Solution:  # fmt: skip
    """The cheapest plan that is clean in every case of `exposure`; without a network the plain optimum.

    Status is "optimal", "feasible" (late, gap above `rel_gap`) or "violated" (see `secure_plan`).
    Raises NotSolved where no plan was found within `deadline_s` of wall time.
    """
    return secure_plan(
        problem, network, exposure,
        deadline_s=deadline_s, rel_gap=rel_gap, max_rounds=max_rounds, seed_cuts=seed_cuts,
    ).solution  # fmt: skip


def secure_plan(
    problem: Problem, network: Network | None, exposure: Exposure | None, *, deadline_s: float,
    rel_gap: float = 1e-3, max_rounds: int = 8, seed_cuts: Sequence[Cut] = (),
    hint: Mapping[str, Array] | None = None, warm: Warm | None = None,
    fallback: Mapping[str, Array] | None = None,
) -> Secured:  # fmt: skip
    """`solve_secure` with the cut problem and its point, for bids and as the beginning of the next run.

    `hint` are commitments (T,) by asset, such as the last plan's, and `warm` is what the last roll left:
    where their commitment is feasible and lies within `rel_gap` of the bound nothing else is tried. `fallback`
    are commitments that are likely to be secure, not cheap: they come first where time is short.
    """
    if (network is None) != (exposure is None) and network is not None:
        raise ValueError("a network needs an exposure")
    cutting = Cutting(problem, network, exposure)
    search = _Search(cutting, deadline_s, rel_gap, max_rounds, hint or {}, warm, fallback or {})
    return search.run(seed_cuts)


@dataclass
class _Search:
    """The best plan so far and its bound, and where the next one comes from."""

    cutting: Cutting
    deadline_s: float
    rel_gap: float
    max_rounds: int
    hint: Mapping[str, Array]
    warm: Warm | None
    fallback: Mapping[str, Array]
    began: float = field(default_factory=time.perf_counter)
    bound: float = -np.inf
    first: float = np.inf
    best: Checked | None = None
    answers: Array | None = None
    certified: Checked | None = None
    plan_basis: Basis | None = None
    prices: Array | None = None
    violations_first: int | None = None

    def run(self, seed_cuts: Sequence[Cut]) -> Secured:
        cutting = self.cutting
        with cutting.timed("build"):
            grid, cases = cutting.problem.grid, cutting.exposure.names if cutting.exposure else ()
            cutting.begin([*seed_cuts, *(cuts_on(self.warm, grid, cases) if self.warm else ())])
            basis = basis_on(self.warm, cutting.grown) if self.warm else None
            if basis is not None:
                cutting.living.begin_at(basis)
        if self.warm and cutting.problem.integer.any():
            self._attempt(self._rolled)
            if self.warm.prices is not None:
                self._attempt(self._certify)
            if self._done:
                return self._secured(basis)
        point = self._checked(self._lp())
        if self.left_s < (1 - SHORT_SHARE) * self.deadline_s and cutting.problem.integer.any() and not self.best:
            self._attempt(self._hinted if self.hint else self._fallen_back)
        relaxed = self._settled(point)
        basis = cutting.living.basis()
        if cutting.problem.integer.any():
            self._commit()
        else:
            self.best = relaxed
        return self._secured(basis)

    def _checked(self, raw: Raw) -> Checked:
        point = self.cutting.check(raw)
        if self.violations_first is None:
            self.violations_first = len(point.violations)
        return point

    @cached_property
    def parts(self) -> list[Part]:
        return integer_parts(self.cutting.problem)

    @property
    def left_s(self) -> float:
        return self.deadline_s - (time.perf_counter() - self.began)

    def _settled(self, point: Checked) -> Checked:
        """The relaxation with cuts, from its first `point`."""
        best, part = point, RELAXED_PART_OF_MISS if self.cutting.problem.integer.any() else PART_OF_MISS
        for _ in range(self.max_rounds):
            spent = self.left_s < (1 - SETTLE_SHARE) * self.deadline_s and self.cutting.problem.integer.any()
            if spent or self.left_s <= 0 or not self._improved(point, part):
                break
            point = self.cutting.check(self._lp())
            best = point if point.excess <= best.excess else best
        return best

    def _improved(self, point: Checked, part: float = PART_OF_MISS) -> bool:
        """Cuts against what a point violates; where it violates nothing, better ones for what it does not meet exactly.

        These are worth more than `part` of the gap (see `allowed_eur`). Bounds found with cuts since replaced are void.
        """
        had, late = len(self.cutting.pool.replaced), self.cutting.rounds >= REFINED_ROUNDS
        if not point.violations and (late or (self.best is not None and point.rank > self.best.rank)):
            return False
        spent = np.inf if self.cutting.problem.integer.any() else point.raw.objective - self.first
        allowed = allowed_eur(part * self.rel_gap * self.cutting.money(point), spent)
        better = self.cutting.cut(point) if point.violations else self.cutting.refine(point, allowed)
        if len(self.cutting.pool.replaced) > had:
            self.bound = -np.inf
        return better

    def _lp(self) -> Raw:
        """The relaxation with every cut known; raises the bound."""
        with self.cutting.timed("solve"):
            self.relaxed = self.cutting.living.solve_lp(self.left_s)
        self.relaxed_rows = self.cutting.grown.rows
        self.first = min(self.first, self.relaxed.objective)
        self.bound = max(self.bound, self.relaxed.objective)
        return self.relaxed

    def _fresh(self) -> Raw:
        return self._lp() if self.cutting.grown.rows > self.relaxed_rows else self.relaxed

    def _commit(self) -> None:
        """Plans from cheap to dear until one is good enough. Raises NotSolved where there is none at all."""
        why: NotSolved | None = None
        for propose in self._proposals():
            if self._done or self.left_s <= 0:
                break
            why = self._attempt(propose) or why
        if self.best is None:
            raise why or NotSolved("late: no time was left for a plan")
        if self._done and self.left_s > (1 - POLISH_SHARE) * self.deadline_s:
            self._attempt(self._reprice)

    def _attempt(self, propose: Propose) -> NotSolved | None:
        """Tries a commitment, if there is one; why it failed."""
        try:
            x = propose()
            if x is not None:
                self._try(x)
        except NotSolved as why:
            return why
        return None

    @property
    def _done(self) -> bool:
        """Whether the best plan is final and within the gap."""
        best = self.best
        return best is not None and best.settled and self._gap(best.raw.objective) <= self.rel_gap + SMALL

    def _proposals(self) -> Iterator[Propose]:
        """Where the next commitment may come from. Each knows the cuts found by those before it."""
        yield self._hinted
        yield self._certify
        yield self._respond
        yield self._certify
        if self.cutting.grown.rows > self.relaxed_rows:
            yield self._respond
        yield self._balance
        if self.best is None or not self.best.settled or self.best.violations:
            yield self._fallen_back
        yield self._reprice
        yield self._round
        yield self._near
        yield self._certify
        for _ in range(self.max_rounds + 1):
            rows = self.cutting.grown.rows
            yield self._whole
            if self.cutting.grown.rows == rows:
                return

    def _rolled(self) -> Array | None:
        """The last roll's plan, and the living LP at its basis."""
        x = plan_on(self.warm, self.cutting.grown) if self.warm else None
        if x is not None and self.warm is not None:
            basis = plan_basis_on(self.warm, self.cutting.grown)
            if basis is not None:
                self.cutting.living.begin_at(basis)
        return x

    def _hinted(self) -> Array | None:
        return known_integers(self.cutting.problem, self.hint) if self.hint else None

    def _fallen_back(self) -> Array | None:
        return known_integers(self.cutting.problem, self.fallback) if self.fallback else None

    def _certify(self) -> Array | None:
        """Raises the bound towards what the best plan needs, once for each plan; proposes what weighs most where the
        plan is too dear for it.
        """
        best = self.best
        if best is None or not best.settled or best is self.certified or not self.parts:
            return None
        self.certified, objective = best, best.raw.objective
        allowed = self.rel_gap * max(1.0, abs(objective))
        with self.cutting.timed("solve"):
            hull = hull_bound(
                self.cutting.grown, self.parts, self._prices(), self.cutting.padded(best.raw.x), objective - allowed,
                PART_OF_ALLOWED * allowed, RESPOND_SHARE * self.left_s, self.plan_basis,
            )  # fmt: skip
        self.bound = max(self.bound, hull.bound)
        self.prices = hull.prices
        return None if self._done else hull.x

    def _prices(self) -> Array:
        """The best prices known, on today's rows."""
        grown = self.cutting.grown
        if self.prices is None and self.warm is not None:
            self.prices = prices_on(self.warm, grown)
        if self.prices is None:
            self.prices = self._fresh().row_duals
        assert self.prices is not None
        return np.concatenate([self.prices, np.zeros(grown.rows - len(self.prices))])

    def _respond(self) -> Array:
        relaxed = self._fresh()
        with self.cutting.timed("solve"):
            answers = best_responses(
                self.cutting.grown, self.parts, relaxed, RESPOND_SHARE * self.left_s,
                self._part_gap, self._known,
            )  # fmt: skip
        self.bound = max(self.bound, relaxed.objective + answers.gain)
        self.answers = answers.x
        return answers.x

    def _balance(self) -> Array | None:
        if self.answers is None or not self.parts:
            return None
        relaxed = self._fresh()
        with self.cutting.timed("solve"):
            x = balanced_responses(
                self.cutting.grown, self.parts, relaxed, self.cutting.padded(self.answers),
                RESPOND_SHARE * self.left_s, PART_OF_GAP * self._allowed,
            )  # fmt: skip
        return None if np.array_equal(x[: len(self.answers)], self.answers) else x

    def _reprice(self) -> Array | None:
        if self.best is None or self._gap(self.best.raw.objective) <= FINISHED * self.rel_gap:
            return None
        relaxed, plan = self._fresh(), self.best.raw
        with self.cutting.timed("solve"):
            return repriced_responses(
                self.cutting.grown, self.parts, relaxed, plan, RESPOND_SHARE * self.left_s,
                PART_OF_GAP * self._allowed,
            )  # fmt: skip

    @property
    def _part_gap(self) -> float:
        """What the answers may miss in sum, in money: less where a plan is known and only its bound is missing."""
        tight = self._allowed * min(1.0, TIGHT_GAP / max(self.rel_gap, SMALL)) if self.best else self._allowed
        return PART_OF_GAP * tight

    @property
    def _allowed(self) -> float:
        """The gap asked for, in money."""
        return self.rel_gap * max(1.0, abs(self.relaxed.objective))

    def _round(self) -> Array:
        relaxed = self._fresh()
        with self.cutting.timed("solve"):
            return guided_rounding(
                self.cutting.grown, self.parts, relaxed.x, ROUND_SHARE * self.left_s, self._known
            )  # fmt: skip

    def _near(self) -> Array:
        relaxed, living = self._fresh(), self.cutting.living
        with self.cutting.timed("solve"):
            return living.solve_near(relaxed.x, NEAR_SHARE * self.left_s, self.rel_gap / 2, start=self._known).x

    def _whole(self) -> Array:
        share = WHOLE_SHARE if self.cutting.network is not None else 1.0
        with self.cutting.timed("solve"):
            raw = self.cutting.living.solve_mip(share * self.left_s, self.rel_gap, self._known)
        self.bound = max(self.bound, raw.bound)
        return raw.x

    @property
    def _known(self) -> Array | None:
        """The best plan so far on today's columns."""
        return self.cutting.padded(self.best.raw.x) if self.best else None

    def _try(self, x: Array) -> None:
        """The plan of a commitment, repaired by cuts as far as time and its commitment allow."""
        mine: Checked | None = None
        for _ in range(self.max_rounds + 1):
            with self.cutting.timed("solve"):
                raw = self.cutting.living.solve_fixed(x, max(self.left_s, GRACE_S if self.best is None else 0.0))
            basis, exceeds = self.cutting.living.basis(), self.cutting.exceeded(raw.x).any()
            point = self._checked(raw)
            more = self.left_s > 0 and self._improved(point)
            point = replace(point, settled=not (more and point.violations))
            follows = mine is not None and mine is self.best and point.excess <= mine.excess
            if self.best is None or follows or point.rank < self.best.rank:
                self.best, self.plan_basis, mine = point, basis, point
            if not more or (exceeds and point.violations):
                return

    def _gap(self, objective: float) -> float:
        return (objective - min(self.bound, objective)) / max(1.0, abs(objective))

    def _secured(self, basis: Basis | None) -> Secured:
        assert self.best is not None
        raw, cutting = self.best.raw, self.cutting
        x = cutting.completed(self.best)
        grown = cutting.grown
        objective = max(raw.objective, grown.objective(x))
        tan_phi = cutting.exposure.tan_phi if cutting.exposure else np.zeros(len(grown.asset_ids))
        within = self._gap(objective) <= self.rel_gap + SMALL
        status = "violated" if self.best.violations else "optimal" if within else "feasible"
        duals = raw.row_duals
        duals = None if duals is None else np.concatenate([duals, np.zeros(grown.rows - len(duals))])
        wall = {name: cutting.wall_s.get(name, 0.0) for name in ("build", "solve", "ac", "sensitivities")}
        solution = Solution(
            read_schedule(grown, x, duals, tan_phi), objective, min(self.bound, objective), status,
            cost_terms(grown, x), cutting.rounds, self.violations_first or 0, wall,
            relaxations=cutting.relaxations(self.best),
        )  # fmt: skip
        pool, told = cutting.pool, duals if cutting.groups is None else None
        return Secured(
            solution, grown, x, tuple(pool.cuts), told, basis, self.plan_basis, cutting.tight(self.best),
            tuple(pool.names), self.prices, tuple(pool.live),
        )  # fmt: skip
