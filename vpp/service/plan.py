"""`vpp plan` and `vpp check`: one day-ahead run as JSON, and its independent verification."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from dispatch.certify import certify
from dispatch.check import check_contracts, check_schedule
from dispatch.products.operating_envelope import NAME as ENVELOPE
from vpp.domain.errors import Fault, InputFaults
from vpp.domain.network import Certificate, Contingency, FaultCheck, Relaxation, Violation
from vpp.domain.portfolio import AssetState
from vpp.domain.schedule import DispatchRun, Schedule
from vpp.domain.stage import DAY_AHEAD
from vpp.domain.time import TimeGrid, local_time, rfc3339, utc
from vpp.service.assemble import exposure_of, rule_faults
from vpp.service.bootstrap import load_stated, open_system
from vpp.service.capacity import reserve_issues
from vpp.service.cascade import committing, run_stage
from vpp.service.desk import PLAN
from vpp.service.knowledge import gather
from vpp.service.moments import Moment
from vpp.service.outcome import plan_json
from vpp.service.received import limits_kept, source_of
from vpp.service.settings import Settings
from vpp.service.situation import Situation
from vpp.service.stage_checks import PLAN_STEPS, iso
from vpp.service.system import System

NO_GAP = (
    "this is a fallback schedule: it follows from rules, not from the optimisation, so it has no objective, and no "
    "bound was kept from the search that failed (see reason)"
)
Train = Callable[[int, int], None]
STEPS = {iso(step): step for step in PLAN_STEPS}
NETWORK = "network"
STATE_TOLERANCE = 1e-6
POWER_TOLERANCE_MW = 1e-4


def prepare_day(
    portfolio: Path, day: date, settings: Settings, database: str, train: Train
) -> tuple[System, datetime]:
    """A system that knows what was known when `day`'s plan is issued, its models trained."""
    loaded = load_stated(portfolio, settings.cache_dir)
    issued = local_time(day - timedelta(days=1), loaded.issue, loaded.portfolio.zone)
    system = open_system(portfolio, database, settings, issued)
    known = system.history(min([issued, *reserve_issues(system, issued)]))
    system.forecaster.train_day_ahead(known, train)
    return system, issued


def plan_day(
    system: System, issued: datetime, secure: bool, deadline_s: float | None = None
) -> tuple[Situation, DispatchRun]:
    """One day-ahead run; nothing is recorded and nothing commanded.

    `deadline_s` counts from the start of build to the plan and replaces the stage's; the certificate follows.
    """
    began = time.perf_counter()
    situation = gather(system, DAY_AHEAD, PLAN, issued)
    if deadline_s is not None:
        stage = replace(situation.stage, deadline=timedelta(seconds=deadline_s))
        situation = replace(situation, stage=stage)
    forecast_s = time.perf_counter() - began
    run = run_stage(situation, "plan", committing(secure), secure=secure)
    wall = {"forecast": forecast_s, **run.wall_s}
    wall["total"] = time.perf_counter() - began
    return situation, replace(run, wall_s=wall)


def plan_report(s: Situation, run: DispatchRun) -> dict[str, Any]:
    """The JSON of `vpp plan`."""
    solution, certificate = run.solution, run.certificate
    final = len(certificate.violations) if certificate else 0
    return {
        "objective": solution.objective if solution else None, "bound": solution.bound if solution else None,
        "gap": solution.gap if solution else None, "gap_abs": solution.gap_abs if solution else None,
        "no_gap": None if solution else NO_GAP,
        "level": run.level, "reason": run.reason, "status": solution.status if solution else "fallback",
        "rounds": solution.rounds if solution else 0,
        "violations_first": max(solution.violations_first if solution else 0, final if run.level == "optimal" else 0),
        "violations_final": final,
        "relaxations": [relaxation_json(r, s.grid) for r in solution.relaxations] if solution else [],
        "deadline_s": s.stage.deadline.total_seconds(),
        "wall_s": {k: run.wall_s.get(k, 0.0) for k in ("forecast", "build", "solve", "ac", "certify", "total")},
        "costs": {NETWORK: 0.0, **solution.costs} if solution else {},
        "times": [rfc3339(t) for t in s.grid.starts], "step": iso(s.stage.step), "portfolio": s.portfolio.id,
        **plan_json(run.schedule, s.states),
        "prices": prices_json(s, run),
        "inputs_digest": run.inputs_digest,
        "certificate": certificate_json(certificate, s.grid) if certificate else None,
        "network": source_of(s), **limits_kept(s),
    }  # fmt: skip


def prices_json(s: Situation, run: DispatchRun) -> dict[str, Any]:
    """The market's price, and those of the plan's duals: of the system, and by bus (by node without a network)."""
    told = run.solution.prices if run.solution else None
    return {
        "market_eur_per_mwh": s.price_eur_per_mwh.tolist(),
        "system_eur_per_mwh": told.system_eur_per_mwh.tolist() if told and told.unit_eur_per_mwh else None,
        "unit_eur_per_mwh": {u: v.tolist() for u, v in told.unit_eur_per_mwh.items()} if told else {},
        "nodal_eur_per_mwh": {b: v.tolist() for b, v in told.nodal_eur_per_mwh.items()} if told else {},
    }  # fmt: skip


def certificate_json(c: Certificate, grid: TimeGrid) -> dict[str, Any]:
    """A certificate with times beside step numbers."""
    return {
        "verdict": c.verdict, "engine": c.engine, "scenarios": c.scenarios,
        "share_clean": None if np.isnan(c.share_clean) else c.share_clean,
        "worst": violation_json(c.worst, grid) if c.worst else None,
        "worst_scenario": violation_json(c.worst_scenario, grid) if c.worst_scenario else None,
        "contingencies": dict(c.contingencies),
        "violations": [violation_json(v, grid) for v in c.violations],
        "checked": list(c.checked),
        "after_faults": [fault_check_json(f, grid) for f in c.after_faults],
    }  # fmt: skip


def fault_check_json(f: FaultCheck, grid: TimeGrid) -> dict[str, Any]:
    """One kind of contingency: how many were looked at, and those past a limit, for a moment or for longer."""
    broken, lasting = ([contingency_json(c, grid) for c in found] for found in (f.broken, f.lasting))
    return {
        "name": f.name, "binding": f.binding, "checked": f.checked, "note": f.note, "broken": broken,
        "lasting": lasting, "relieved": dict(f.relieved),
    }  # fmt: skip


def contingency_json(c: Contingency, grid: TimeGrid) -> dict[str, Any]:
    return {
        "outage": c.outage, "closed": c.remedy, "violated_steps": c.violated_steps, "unsupplied_mw": c.unsupplied_mw,
        "worst": [violation_json(v, grid) for v in c.violations],
    }  # fmt: skip


def violation_json(v: Violation, grid: TimeGrid) -> dict[str, Any]:
    return {
        "element": v.element, "step": v.step, "time": rfc3339(grid.starts[v.step]),
        "value": v.value, "limit": v.limit, "unit": v.unit, "case": v.case,
    }  # fmt: skip


def relaxation_json(r: Relaxation, grid: TimeGrid) -> dict[str, Any]:
    """A limit that nothing of ours can keep: what it lacks, and what the plan pays for that."""
    return {
        "element": r.element, "step": r.step, "time": rfc3339(grid.starts[r.step]), "case": r.case,
        "by": r.by, "unit": r.unit, "excess_mw": r.excess_mw, "price_eur": r.price_eur,
    }  # fmt: skip


class StateFile(BaseModel):
    """Initial state of one asset in a plan file; compared with the portfolio's, never used."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    power_mw: float
    stored_mwh: float
    on: bool
    minutes_in_state: int


class PlanFile(BaseModel):
    """What `vpp check` takes from a plan file; other fields of it are results and are not read."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    times: list[Moment]
    step: str
    schedule: dict[str, list[float]]
    q_mvar: dict[str, list[float]] = {}
    commitment: dict[str, list[int]] = {}
    decisions: dict[str, dict[str, list[float]]] = {}
    energy_mwh: dict[str, list[float]] = {}
    products: dict[str, dict[str, list[float]]] = {}
    initial_state: dict[str, StateFile] = {}


def parse_plan(text: str, known: Mapping[str, int]) -> PlanFile:
    """A plan file over the assets `known`. Raises InputFaults with every fault of its fields and of its shape."""
    try:
        plan = PlanFile.model_validate_json(text)
    except ValidationError as error:
        told = [(".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, ")) for e in error.errors()]
        faults = [Fault("plan", field, reason) for field, reason in told]
        raise InputFaults(faults + _shape_faults_beside(text, known)) from error
    if faults := _shape_faults(plan, known):
        raise InputFaults(faults)
    return plan


def _shape_faults_beside(text: str, known: Mapping[str, int]) -> list[Fault]:
    """Faults of the shape of a file whose only other faults are values that are no numbers."""
    try:
        return _shape_faults(PlanFile.model_validate(json.loads(text, parse_constant=lambda _: 0.0)), known)
    except (ValueError, RecursionError):
        return []


def schedule_of(plan: PlanFile, known: Mapping[str, int]) -> Schedule:
    """A plan file as a schedule over its steps; reactive power it does not report is zero."""
    grid = TimeGrid.uniform(utc(plan.times[0]), STEPS[plan.step], len(plan.times))
    power = np.array([plan.schedule[a] for a in known])
    return Schedule(
        tuple(known), grid, power, np.array([plan.q_mvar.get(a, [0.0] * grid.n) for a in known]),
        commitment={a: np.array(v, dtype=float) for a, v in plan.commitment.items()},
        stored_mwh={a: np.array(v) for a, v in plan.energy_mwh.items()},
        decisions={a: {k: np.array(v) for k, v in d.items()} for a, d in plan.decisions.items()},
        products={c: {k: np.array(v) for k, v in d.items()} for c, d in plan.products.items()},
    )  # fmt: skip


def _shape_faults(plan: PlanFile, known: Mapping[str, int]) -> list[Fault]:
    steps = len(plan.times)
    if not steps:
        return [Fault("plan", "times", "is empty")]
    faults = [Fault(a, "schedule", "is missing") for a in known if a not in plan.schedule]
    for field in ("schedule", "q_mvar", "commitment", "energy_mwh", "decisions", "initial_state"):
        faults += [Fault(a, field, "is no asset of the portfolio") for a in getattr(plan, field) if a not in known]
    lists = [(a, "schedule", v) for a, v in plan.schedule.items()]
    lists += [(a, "q_mvar", v) for a, v in plan.q_mvar.items()]
    lists += [(a, "commitment", list(map(float, v))) for a, v in plan.commitment.items()]
    lists += [(a, "energy_mwh", v) for a, v in plan.energy_mwh.items()]
    lists += [(c, f"products.{k}", v) for c, d in plan.products.items() for k, v in d.items()]
    lists += [(a, f"decisions.{k}", v) for a, d in plan.decisions.items() for k, v in d.items()]
    faults += [Fault(a, k, f"has {len(v)} values for {steps} times") for a, k, v in lists if len(v) != steps]
    if plan.step not in STEPS:
        return [*faults, Fault("plan", "step", f"{plan.step} over {steps} times; must be {', '.join(STEPS)}")]
    expected = TimeGrid.uniform(utc(plan.times[0]), STEPS[plan.step], steps).starts
    if tuple(utc(t) for t in plan.times) != expected:
        faults.append(Fault("plan", "times", f"are not consecutive steps of {plan.step}"))
    return faults


def check_plan(system: System, issued: datetime, plan: PlanFile) -> list[str]:
    """Every violation of a plan by name: physics, reported trajectories, network. Empty where it is clean."""
    schedule = schedule_of(plan, system.portfolio.index)
    states = system.states(issued)
    if schedule.grid.start != issued:
        return [f"plan/times: begin at {rfc3339(schedule.grid.start)}, this plan is issued at {rfc3339(issued)}"]
    if (step := iso(system.stage(DAY_AHEAD).step)) != plan.step:
        return [f"plan/step: is {plan.step}, the portfolio plans in {step}"]
    s = gather(system, DAY_AHEAD, PLAN, issued, scenarios=0)
    if s.grid != schedule.grid:
        return [f"plan/times: end at {rfc3339(schedule.grid.end)} instead of {rfc3339(s.grid.end)}"]
    found = [str(f) for f in _state_faults(plan, states)]
    broken = check_schedule(system.portfolio.assets, states, s.inputs, schedule)
    found += [str(f) for f in broken or _contract_faults(schedule, s)]
    found += [str(f) for f in [*_reactive_faults(plan, s), *_limit_faults(schedule, s), *rule_faults(s, schedule)]]
    exposure = exposure_of(s)
    if s.grid_side is not None and exposure is not None:
        certificate = certify(schedule.power_mw, s.grid_side.network, exposure, None, s.grid)
        found += [
            f"{v.element}/{v.case}: {v.value:.4f} {v.unit} at {rfc3339(s.grid.starts[v.step])}, limit {v.limit:g}"
            for v in certificate.violations
        ]
    return found


def _contract_faults(schedule: Schedule, s: Situation) -> list[Fault]:
    """Contracts broken or misreported; one that the plan must state and does not is missing."""
    told = schedule.products
    known = {c.id for c in s.contracts}
    stated = (c for c in s.contracts if c.product != ENVELOPE and c.known)
    bound = [c.id for c in stated if np.any(c.known.get("interval", np.zeros(1)) >= 0.0)]
    faults = [Fault(c, "products", "is missing") for c in bound if c not in told]
    faults += [Fault(c, "products", "is no contract of the portfolio") for c in told if c not in known]
    return faults or check_contracts(s.contracts, s.portfolio.assets, s.states, s.inputs, schedule)


def _state_faults(plan: PlanFile, states: Mapping[str, AssetState]) -> list[Fault]:
    faults = []
    for asset, told in plan.initial_state.items():
        for name, value in told.model_dump().items():
            true = getattr(states[asset], name)
            if abs(value - true) > STATE_TOLERANCE:
                faults.append(Fault(asset, f"initial_state.{name}", f"says {value}; it is {true}"))
    return faults


def _reactive_faults(plan: PlanFile, s: Situation) -> list[Fault]:
    """Reported reactive power that does not follow from the power."""
    faults = []
    for asset, told in plan.q_mvar.items():
        off = np.abs(np.array(told) - s.portfolio.asset(asset).tan_phi * np.array(plan.schedule[asset]))
        if off.max() > POWER_TOLERANCE_MW:
            t = int(off.argmax())
            faults.append(Fault(asset, "q_mvar (reported)", f"is {off[t]:.4f} Mvar off at {rfc3339(s.grid.starts[t])}"))
    return faults


def _limit_faults(schedule: Schedule, s: Situation) -> list[Fault]:
    """Power outside what operators, sites and the grid desk have ordered."""
    faults = []
    for asset, (low, high) in s.limits.items():
        power = schedule.power_of(asset)
        off = np.maximum(low - power, power - high)
        if off.max() > POWER_TOLERANCE_MW:
            t = int(off.argmax())
            faults.append(Fault(asset, "power_mw", f"{power[t]:.4f} MW at {rfc3339(s.grid.starts[t])} is outside the "
                                f"ordered {low[t]:g} to {high[t]:g} MW"))  # fmt: skip
    return faults
