"""One stage run, pure: a situation in, a dispatch run out, certified or down the ladder.

    optimal -> last_good -> merit_order -> device_default

A rung is taken when its schedule passes the independent check and, where a network model exists, its
certificate. If none passes, the rung with the smallest total violation is released, marked violated.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from dispatch.certify import certify
from dispatch.check import check_contracts, check_schedule
from dispatch.exposure import Exposure
from dispatch.ladder import device_default, last_good, merit_order
from dispatch.one_way import one_way_plan
from dispatch.prices import prices_of
from dispatch.secure import Secured
from dispatch.warm import Warm
from vpp.domain.errors import Fault, VppError
from vpp.domain.network import Certificate, Network
from vpp.domain.prices import Prices
from vpp.domain.schedule import DispatchRun, Schedule, Solution
from vpp.domain.time import Array
from vpp.service.assemble import exposure_of, groups_of, problem_of, rule_faults, scenarios_of
from vpp.service.asset_side import explainable
from vpp.service.received import limits_kept
from vpp.service.situation import Situation

log = logging.getLogger(__name__)
GAP = {"day_ahead": 1e-2, "intraday": 3e-2}
MAX_ROUNDS = 12
BROKEN = (VppError, ArithmeticError, RuntimeError, ValueError, LookupError, TypeError)
UNCERTIFIED = Certificate("violated", "none", 0, float("nan"), None, {}, ())
Made = tuple[Schedule, Solution | None]
Rung = Callable[[], Made]
Solve = Callable[[Situation, Exposure | None], Solution]


@dataclass
class Rolled:
    """What a service carries from roll to roll; forgetting it costs time and nothing else."""

    warm: Warm | None = None


@dataclass(frozen=True)
class Candidate:
    """One rung's schedule with its verdicts."""

    level: str
    schedule: Schedule
    solution: Solution | None
    certificate: Certificate | None
    faults: tuple[Fault, ...]

    @property
    def clean(self) -> bool:
        return not self.faults and (self.certificate is None or self.certificate.verdict == "clean")

    @property
    def total_violation(self) -> float:
        """Sum of the relative excesses; a broken physical limit weighs more than any network excess."""
        network = sum(v.excess for v in self.certificate.violations) if self.certificate else 0.0
        return 1e3 * len(self.faults) + network

    def why_not(self) -> str:
        """What keeps it from being released as clean."""
        reasons = [str(f) for f in self.faults[:3]]
        if self.certificate is not None and self.certificate.verdict == "violated":
            reasons += [
                f"{v.case}: {v.element} step {v.step} {v.value:.4g} {v.unit} (limit {v.limit:.4g})"
                for v in self.certificate.violations[:3]
            ]
        return "; ".join(reasons)


def run_stage(
    s: Situation, run_id: str, solve: Solve, *, secure: bool = True, reference_steps: slice | None = None
) -> DispatchRun:
    """Solve, check, certify; walk down the ladder until a rung is clean. Never returns without a schedule.

    `secure` False releases the first rung whatever its certificate says. `reference_steps` limits the
    reference engine's verdict to those steps; the batch engine judges the others.
    """
    began, certifying = time.perf_counter(), 0.0
    exposure = exposure_of(s)
    reasons: list[str] = []
    tried: list[Candidate] = []
    for level, build in _rungs(s, exposure, solve):
        made = _made(level, build, s, reasons)
        if made is None:
            continue
        planned = time.perf_counter()
        candidate = _judged(level, *made, s, exposure, reference_steps)
        certifying += time.perf_counter() - planned
        tried.append(candidate)
        if candidate.clean or not secure:
            break
        reasons.append(f"{candidate.level}: {candidate.why_not()}")
    best = min(tried, key=lambda c: (not c.clean, c.total_violation))
    certificate = best.certificate
    if best.faults and certificate is not None:
        certificate = replace(certificate, verdict="violated")
    wall = dict(best.solution.wall_s) if best.solution else {}
    wall["certify"], wall["total"] = certifying, time.perf_counter() - began
    return DispatchRun(
        run_id, s.stage.name, s.purpose, s.now, s.now, best.level, " | ".join(reasons), best.solution,
        best.schedule, certificate, s.digest(), wall, inputs={**explainable(s, best.solution), **limits_kept(s)},
    )  # fmt: skip


def _rungs(s: Situation, exposure: Exposure | None, solve: Solve) -> Iterator[tuple[str, Rung]]:
    assets, states, inputs, grid = s.portfolio.assets, s.states, s.inputs, s.grid
    last, price, limits, groups = s.last, s.price_eur_per_mwh, s.limits, groups_of(s)

    def optimal() -> Made:
        solution = solve(s, exposure)
        return solution.schedule, solution

    yield "optimal", optimal
    if last is not None:
        yield "last_good", lambda: (last_good(last, assets, states, inputs, grid, limits, groups), None)
    yield "merit_order", lambda: (merit_order(assets, states, inputs, grid, price, limits, groups), None)
    yield "device_default", lambda: (device_default(assets, states, inputs, grid), None)


def _made(level: str, build: Rung, s: Situation, reasons: list[str]) -> Made | None:
    """What a rung makes; None, with its reason kept, where it fails. The last rung has nothing below it."""
    try:
        return build()
    except BROKEN as why:
        log.warning("%s at %s, %s: %r", s.stage.name, s.now, level, why)
        reasons.append(f"{level}: {why}")
        if level == "device_default":
            raise
        return None


def committing(secure: bool = True, rolled: Rolled | None = None) -> Solve:
    """The solver of day-ahead and intraday: MIP by HiGHS with network cuts; without them where not `secure`.

    A `rolled` gives what the last roll left, and keeps what this one leaves.
    """

    def solve(s: Situation, exposure: Exposure | None) -> Solution:
        secured = plan_of(s, exposure, secure, rolled.warm if rolled else None)
        if rolled is not None:
            rolled.warm = secured.warm
        return secured.solution

    return solve


def plan_of(s: Situation, exposure: Exposure | None, secure: bool = True, warm: Warm | None = None) -> Secured:
    """The secured plan with the problem it solves, for bids and the next roll. Raises NotSolved."""
    network = s.grid_side.network if s.grid_side and secure else None
    began = time.perf_counter()
    problem = problem_of(s)
    build = time.perf_counter() - began
    deadline_s = s.stage.deadline.total_seconds() - build
    secured = one_way_plan(
        problem, network, exposure,
        deadline_s=deadline_s, rel_gap=GAP[s.stage.name], max_rounds=MAX_ROUNDS,
        hint=_last_commitment(s), warm=warm, fallback=_own_commitment(s),
    )  # fmt: skip
    wall = dict(secured.solution.wall_s)
    wall["build"] = wall.get("build", 0.0) + build
    schedule, prices = _with_reactive(secured.solution.schedule, s), plan_prices(s, secured, exposure)
    return replace(secured, solution=replace(secured.solution, schedule=schedule, wall_s=wall, prices=prices))


def _with_reactive(schedule: Schedule, s: Situation) -> Schedule:
    """The schedule with the Mvar that follow from its power, whether or not a network asked for them."""
    tan_phi = np.array([s.portfolio.asset(a).tan_phi for a in schedule.asset_ids])
    return replace(schedule, q_mvar=tan_phi[:, None] * schedule.power_mw)


def plan_prices(s: Situation, secured: Secured, exposure: Exposure | None) -> Prices | None:
    """What a MWh is worth in the plan, None where its last solve gave no duals."""
    if secured.row_duals is None:
        return None
    buses = s.grid_side.network.buses if s.grid_side else ()
    return prices_of(
        secured.problem, secured.x, secured.row_duals, s.portfolio.assets, secured.cuts, exposure, buses
    )  # fmt: skip


def _last_commitment(s: Situation) -> Mapping[str, Array]:
    """The last plan's on/off over this grid where it covers all of it."""
    if s.last is None or s.last.grid.end < s.grid.end or s.last.grid.start > s.grid.start:
        return {}
    at = [s.last.grid.index_of(t) for t in s.grid.starts]
    return {asset: np.asarray(on)[at] for asset, on in s.last.commitment.items()}


def _own_commitment(s: Situation) -> Mapping[str, Array]:
    """What the devices do on their own, which the network carries (see the case `all_devices_at_default`)."""
    with suppress(*BROKEN):
        return device_default(s.dispatched, s.states, s.inputs, s.grid).commitment
    return {}


def _judged(
    level: str,
    schedule: Schedule,
    solution: Solution | None,
    s: Situation,
    exposure: Exposure | None,
    reference_steps: slice | None,
) -> Candidate:
    faults = check_schedule(s.dispatched, s.states, s.inputs, schedule)
    faults = faults or check_contracts(s.contracts, s.dispatched, s.states, s.inputs, schedule)
    faults = [*faults, *rule_faults(s, schedule)]
    certificate = None
    if s.grid_side is not None and exposure is not None:
        try:
            certificate = _certified(schedule, s, s.grid_side.network, exposure, reference_steps)
        except BROKEN as why:
            certificate = UNCERTIFIED
            faults.append(Fault("network", "certificate", str(why)))
    return Candidate(level, schedule, solution, certificate, tuple(faults))


def _certified(
    schedule: Schedule, s: Situation, network: Network, exposure: Exposure, reference_steps: slice | None
) -> Certificate:
    """The certificate. Raises ValueError for a schedule no power flow can be asked about."""
    power_mw = schedule.power_mw
    if power_mw.shape != (len(s.portfolio.assets), s.grid.n) or not np.isfinite(power_mw).all():
        raise ValueError("the schedule is no complete set of numbers")
    scenarios = scenarios_of(s, power_mw)
    return certify(power_mw, network, exposure, scenarios, s.grid, reference_steps=reference_steps)
