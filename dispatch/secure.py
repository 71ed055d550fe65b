"""Solve, check by AC power flow, cut, solve again, until the plan is clean in every case.

Cuts settle on the relaxation; the MIP is solved with them; afterwards the commitment stays and an LP
repairs the plan, and only where that leaves a limit exceeded the MIP is asked again. A cut is

    sum_i keep[i] (dp[bus_i] + tan_phi_i dq[bus_i]) p_i[t] - excess <= limit - background - fixed parts,

divided by its largest coefficient, so that `excess` is in MW of the asset that acts best. Its price
lies above every economic value, so a limit is exceeded only where nothing of ours can keep it; the
plan is then the one that exceeds least and its status "violated". An element cut for a third time at
the same step is cut deeper by a share of what the linearisation missed, at most by 0.2 %; cuts are in
percent of a rating or of nominal voltage.

Cuts keep a margin of 1 % of a rating and 0.1 % of nominal voltage, so that the minutes inside a
quarter, whose mean is planned, stay inside the limits too.

Lazy security as a method: A. S. Xavier et al., Transmission constraint filtering in large-scale
security-constrained unit commitment, IEEE Trans. Power Syst. 34 (2019).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp

from dispatch.block import Block, Columns, Rows
from dispatch.exposure import Case, Exposure, Scenarios, bus_injection
from dispatch.problem import Problem, cost_terms, groups, injection, read_schedule
from dispatch.solvers.highs_door import Living, Raw
from vpp.domain.errors import NotSolved
from vpp.domain.network import Cut, Flow, Network, Violation
from vpp.domain.schedule import Solution
from vpp.domain.time import Array, TimeGrid

__all__ = ["Case", "Exposure", "Scenarios", "Secured", "bus_injection", "secure_plan", "solve_secure"]

EXCESS_EUR_PER_MWH = 20_000.0
EXCESS_MW = 1e-6
NEAR_PCT = 97.0
MARGIN_LOADING_PCT, MARGIN_VOLTAGE_PCT = 1.0, 0.1
DEEPER, DEEPEST_PCT = 0.25, 0.2
SETTLE_SHARE, FIRST_MIP_SHARE = 0.4, 0.6
SMALL = 1e-7


@dataclass(frozen=True)
class Secured:
    """A solution, and the problem with its cuts at which `x` was found; `row_duals` (rows,) where there are any."""

    solution: Solution
    problem: Problem
    x: Array
    cuts: tuple[Cut, ...]
    row_duals: Array | None = None


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
    hint: Mapping[str, Array] | None = None,
) -> Secured:  # fmt: skip
    """`solve_secure` with the cut problem and its point, for bids and as seeds of the next run.

    `hint` are commitments (T,) by asset, such as the last plan's: where they are feasible and lie
    within `rel_gap` of the bound there is no need for a MIP.
    """
    if (network is None) != (exposure is None) and network is not None:
        raise ValueError("a network needs an exposure")
    return _Loop(problem, network, exposure, deadline_s, rel_gap, max_rounds, hint or {}).run(seed_cuts)


@dataclass
class _Found:
    """What one AC check of a plan found."""

    violations: list[Violation]
    flow: Flow | None

    @property
    def excess(self) -> float:
        return sum(v.excess for v in self.violations)


@dataclass
class _Loop:
    problem: Problem
    network: Network | None
    exposure: Exposure | None
    deadline_s: float
    rel_gap: float
    max_rounds: int
    hint: Mapping[str, Array] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)
    wall_s: dict[str, float] = field(default_factory=dict)
    cuts: list[Cut] = field(default_factory=list)
    repeats: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    helpless: set[tuple[str, int, str]] = field(default_factory=set)
    rounds: int = 0
    bound: float = -np.inf

    def run(self, seed_cuts: Sequence[Cut]) -> Secured:
        with self._timed("build"):
            self.living = Living(self.problem)
            self._seed(seed_cuts)
        before, relaxed = self._settle()
        raw, found = self._commit() if self.problem.integer.any() else relaxed
        return self._secured(raw, found, before)

    @property
    def left_s(self) -> float:
        return self.deadline_s - (time.perf_counter() - self.began)

    def _timed(self, what: str) -> _Timer:
        return _Timer(self.wall_s, what)

    def _settle(self) -> tuple[int, tuple[Raw, _Found]]:
        """The number of violations before any cut, then the relaxation with cuts and what is left of them."""
        raw = self._lp()
        found = self._check(raw)
        before = len(found.violations)
        best = raw, found
        for _ in range(self.max_rounds):
            spent = self.left_s < (1 - SETTLE_SHARE) * self.deadline_s and self.problem.integer.any()
            if not found.violations or spent or self.left_s <= 0 or not self._cut(found, raw):
                break
            raw = self._lp()
            found = self._check(raw)
            best = min(best, (raw, found), key=lambda b: b[1].excess)
        return before, best

    def _lp(self) -> Raw:
        with self._timed("solve"):
            raw = self.living.solve_lp(self.left_s)
        self.bound = max(self.bound, raw.objective)
        return raw

    def _commit(self) -> tuple[Raw, _Found]:
        """The MIP, then repairs by LP with its commitment; the MIP again where a limit stays exceeded."""
        plan = self._mip(FIRST_MIP_SHARE * self.left_s)
        found = self._check(plan)
        best = plan, found
        for _ in range(self.max_rounds):
            if not found.violations or self.left_s <= 0 or not self._cut(found, plan):
                break
            try:
                with self._timed("solve"):
                    plan = self.living.solve_fixed(plan.x, self.left_s)
                if self._exceeded(plan.x).any() and not self._exceeded(best[0].x).any():
                    plan = self._mip(self.left_s / 2)
            except NotSolved:
                break
            found = self._check(plan)
            best = min((plan, found), best, key=lambda b: b[1].excess)
        return best

    def _mip(self, deadline_s: float) -> Raw:
        """A plan with its commitments, with duals: the hint if it is good enough, else the better of the
        hint and the MIP near the relaxation, and without a hint the whole MIP where the gap stays too wide.
        """
        until = self.left_s - deadline_s
        relaxed = self._lp()
        with self._timed("solve"):
            best = hinted = self._hinted()
            if best is not None and self._gap(best.objective) <= self.rel_gap:
                return best
            with suppress(NotSolved):
                share = deadline_s / (3 if hinted else 2)
                best = _better(best, self.living.solve_near(relaxed.x, share, self.rel_gap / 2))
            if best is None or (hinted is None and self._gap(best.objective) > self.rel_gap):
                try:
                    raw = self.living.solve_mip(self.left_s - until, self.rel_gap, best.x if best else None)
                    self.bound = max(self.bound, raw.bound)
                    best = _better(best, raw)
                except NotSolved:
                    if best is None:
                        raise
            return self.living.solve_fixed(best.x, max(self.left_s, 1.0))

    def _hinted(self) -> Raw | None:
        """The LP with the hinted commitments, None where there are none or they do not fit."""
        x = hinted_integers(self.problem, self.hint)
        if x is None:
            return None
        try:
            return self.living.solve_fixed(x, max(self.left_s, 1.0))
        except NotSolved:
            return None

    def _gap(self, objective: float) -> float:
        return (objective - min(self.bound, objective)) / max(1.0, abs(objective))

    def _check(self, raw: Raw) -> _Found:
        if self.network is None or self.exposure is None:
            return _Found([], None)
        with self._timed("ac"):
            p, q = bus_injection(self.exposure, injection(self.problem, raw.x))
            flow = self.network.flow(self.problem.grid, p, q)
            return _Found(self.network.violations(flow, self.exposure.names), flow)

    def _cut(self, found: _Found, raw: Raw) -> bool:
        """Adds cuts against `found`; false where none can help."""
        if self.network is None or self.exposure is None or found.flow is None:
            return False
        with self._timed("ac"):
            cuts = self.network.cuts(found.flow, near_pct=NEAR_PCT)
        with self._timed("build"):
            names = self.exposure.names
            deeper = [c for c in (self._deepened(c, found.flow, names) for c in cuts) if c is not None]
            self.repeats.update({_key(c, names) for c in deeper})
            block, kept = cut_block(f"cuts {self.rounds + 1}", deeper, self.exposure, self.problem.grid)
            self.helpless |= {_key(c, names) for c in deeper} - {_key(c, names) for c in kept}
            hopeless = self.helpless | self._exceeded_keys(raw.x, names)
            if not kept or all((v.element, v.step, v.case) in hopeless for v in found.violations):
                return False
            self._add(block, kept)
        self.rounds += 1
        return True

    def _deepened(self, cut: Cut, flow: Flow, names: Sequence[str]) -> Cut | None:
        """The cut, deeper from its element's third one at the step on; None where it is known and kept."""
        margin = MARGIN_VOLTAGE_PCT if cut.element.startswith("bus") else MARGIN_LOADING_PCT
        cut = replace(cut, limit=cut.limit - margin)
        p, q = flow.p_mw[cut.case, cut.step], flow.q_mvar[cut.case, cut.step]
        missed = float(cut.dp @ p + cut.dq @ q) - cut.limit
        before = self.repeats[_key(cut, names)]
        if missed <= 0:
            return None if before else cut
        return replace(cut, limit=cut.limit - min(DEEPEST_PCT, missed * DEEPER * max(0, before - 1)))

    def _seed(self, cuts: Sequence[Cut]) -> None:
        if self.exposure is not None:
            block, kept = cut_block("cuts 0", cuts, self.exposure, self.problem.grid)
            self._add(block, kept)

    def _add(self, block: Block, kept: Sequence[Cut]) -> None:
        if kept:
            self.living.add_block(block)
            self.cuts += kept

    def _exceeded(self, x: Array) -> Array:
        """Excess (cuts known at x,) in MW."""
        excess = x[self.problem.columns :]
        return excess * (excess > EXCESS_MW)

    def _exceeded_keys(self, x: Array, names: Sequence[str]) -> set[tuple[str, int, str]]:
        return {_key(c, names) for c, excess in zip(self.cuts, self._exceeded(x), strict=False) if excess}

    def _secured(self, raw: Raw, found: _Found, violations_first: int) -> Secured:
        count = len(self.problem.asset_ids)
        tan_phi = self.exposure.tan_phi if self.exposure else np.zeros(count)
        bound = min(self.bound, raw.objective)
        status = (
            "violated"
            if found.violations
            else "optimal"
            if self._gap(raw.objective) <= self.rel_gap + SMALL
            else "feasible"
        )
        grown = self.living.problem
        x = np.concatenate([raw.x, np.zeros(grown.columns - len(raw.x))])
        duals = (
            None
            if raw.row_duals is None
            else np.concatenate([raw.row_duals, np.zeros(grown.rows - len(raw.row_duals))])
        )
        wall = {name: self.wall_s.get(name, 0.0) for name in ("build", "solve", "ac")}
        solution = Solution(
            read_schedule(grown, x, duals, tan_phi), raw.objective, bound, status, cost_terms(grown, x),
            self.rounds, violations_first, wall,
        )  # fmt: skip
        return Secured(solution, grown, x, tuple(self.cuts), duals)


def _better(one: Raw | None, other: Raw) -> Raw:
    return other if one is None or other.objective < one.objective else one


def hinted_integers(problem: Problem, hint: Mapping[str, Array]) -> Array | None:
    """Columns with the integers at the hinted commitments, inside their bounds; None where one is missing."""
    x = np.zeros(problem.columns)
    for block, first in zip(problem.blocks, problem.column_start, strict=True):
        if block.hinted is not None:
            mine = block.hinted(hint)
            if mine is None:
                return None
            x[first : first + mine.size] = mine
            continue
        for group, start in groups(block, first):
            if not group.integer:
                continue
            if group.shape != (len(block.assets), problem.grid.n) or not set(block.assets) <= hint.keys():
                return None
            x[start : start + group.size] = np.concatenate([hint[a] for a in block.assets])
    return np.clip(np.round(x), problem.lower, problem.upper)


class _Timer:
    """Adds the wall time of its body to an account."""

    def __init__(self, account: dict[str, float], name: str) -> None:
        self.account, self.name = account, name

    def __enter__(self) -> None:
        self.began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.account[self.name] = self.account.get(self.name, 0.0) + time.perf_counter() - self.began


def _key(cut: Cut, names: Sequence[str]) -> tuple[str, int, str]:
    return cut.element, cut.step, names[cut.case]


def cut_block(name: str, cuts: Sequence[Cut], exposure: Exposure, grid: TimeGrid) -> tuple[Block, list[Cut]]:
    """The rows of `cuts` over injections with a priced excess, and the cuts that an asset of ours can act on."""
    matrix, rhs, kept = cut_rows(cuts, exposure, grid)
    price = EXCESS_EUR_PER_MWH * grid.hours[np.array([c.step for c in kept], dtype=np.int64)]
    columns = Columns("excess_mw", (1, len(kept)), cost=price, term="network")
    own = sp.csr_array(-sp.eye_array(len(kept)))
    return Block(name, (columns,), (Rows("cuts", -np.inf, rhs, own=own, injection=matrix),)), kept


def cut_rows(cuts: Sequence[Cut], exposure: Exposure, grid: TimeGrid) -> tuple[sp.csr_array, Array, list[Cut]]:
    """Coefficients (m, N*T) with a largest of one, right sides (m,); cuts nobody acts on are left out."""
    size = exposure.incidence.shape[0]
    if not cuts:
        return sp.csr_array((0, size * grid.n)), np.empty(0), []
    cases, step = exposure.all_cases, np.array([c.step for c in cuts], dtype=np.int64)
    dp, dq = np.stack([c.dp for c in cuts]), np.stack([c.dq for c in cuts])
    effect = dp @ exposure.incidence.T + (dq @ exposure.incidence.T) * exposure.tan_phi
    keep = np.stack([cases[c.case].keep[:, c.step] for c in cuts])
    fixed = np.stack([cases[c.case].fixed_mw[:, c.step] for c in cuts])
    background = (dp * exposure.p_background_mw[step]).sum(1) + (dq * exposure.q_background_mvar[step]).sum(1)
    rhs = np.array([c.limit for c in cuts]) - background - np.where(keep, 0.0, effect * fixed).sum(1)
    coefficient = np.where(keep, effect, 0.0)
    scale = np.abs(coefficient).max(axis=1, initial=0.0)
    acts = np.flatnonzero(scale > SMALL * np.maximum(1.0, np.abs(dp).max(axis=1)))
    scaled = coefficient[acts] / scale[acts, None]
    row, asset = np.nonzero(np.abs(scaled) > SMALL)
    at = row, asset * grid.n + step[acts][row]
    matrix = sp.csr_array((scaled[row, asset], at), shape=(len(acts), size * grid.n))
    return matrix, rhs[acts] / scale[acts], [cuts[i] for i in acts.tolist()]
