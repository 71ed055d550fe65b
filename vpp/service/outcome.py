"""What `vpp simulate` reports: costs beside the idle and the perfect-foresight day, and every count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adapters.plant_link import PlantLink
from vpp.domain.errors import NotSolved
from vpp.domain.portfolio import AssetState
from vpp.domain.schedule import Schedule, Solution
from vpp.service.desk import PLAN, ROLL, TRACK
from vpp.service.oracle import oracle_cost, perfect_foresight
from vpp.service.simulate import Progress, Simulation
from vpp.service.statements import report
from vpp.service.truth import (
    Truth,
    delivered_mwh,
    read_truth,
    realised_cost,
    realised_violation_minutes,
)
from vpp.service.virtual import PlantPlan, launch

RUN_NAMES = {
    "day_ahead/bid": "bid",
    "day_ahead/plan": "day_ahead",
    "intraday/roll": "intraday",
    "real_time/track": "real_time",
}
FINAL = ("acked", "expired", "superseded", "rejected", "lost")


@dataclass(frozen=True)
class Evaluation:
    """The day as it was, as it would have been idle, and with perfect foresight (None without --oracle)."""

    truth: Truth
    idle: Truth
    cost: Mapping[str, float]
    cost_idle: Mapping[str, float]
    oracle: Solution | None
    cost_oracle: Mapping[str, float] | None
    violation_minutes: int


def idle_truth(sim: Simulation, directory: Path) -> Truth:
    """The same days with every device at its default behaviour: a second plant that nobody commands."""
    plan = PlantPlan(sim.start, sim.end, sim.request.seed, None, directory)
    link = launch(sim.system.loaded, sim.grid, sim.initial, plan)
    try:
        link.advance(sim.end)
        return read_truth(sim.system, link, sim.start, sim.end)
    finally:
        link.shutdown()


def evaluate(sim: Simulation, oracle: bool, progress: Progress) -> Evaluation:
    """Everything that is computed after the fact."""
    steps = 4 + oracle
    progress("evaluation", 0, steps)
    truth = read_truth(sim.system, sim.link, sim.start, sim.end)
    idle = idle_truth(sim, sim.directory / "idle")
    progress("evaluation", 1, steps)
    cost = realised_cost(sim.system, truth, sim.initial, firm=True, events=True)
    cost_idle = realised_cost(sim.system, idle, sim.initial, firm=False, events=False)
    progress("evaluation", 2, steps)
    minutes = realised_violation_minutes(sim.system, truth)
    progress("evaluation", 3, steps)
    best = _oracle(sim, truth) if oracle else None
    least = oracle_cost(sim.system, best, truth, sim.initial) if best else None
    progress("evaluation", steps, steps)
    return Evaluation(truth, idle, cost, cost_idle, best, least, minutes)


def _oracle(sim: Simulation, truth: Truth) -> Solution | None:
    """The plan with perfect foresight; None, with an alarm, where it could not be found in time."""
    try:
        return perfect_foresight(sim.system, truth, sim.initial)
    except NotSolved as why:
        sim.system.store.alarms.raise_("oracle", f"perfect foresight was not solved: {why}", sim.end)
        return None


def summary(sim: Simulation, found: Evaluation) -> dict[str, Any]:
    """The JSON of `vpp simulate`."""
    store, cost = sim.system.store, sum(found.cost.values())
    cost_idle = sum(found.cost_idle.values())
    cost_oracle = sum(found.cost_oracle.values()) if found.cost_oracle is not None else None
    captured = None
    if cost_oracle is not None and cost_idle != cost_oracle:
        captured = (cost_idle - cost) / (cost_idle - cost_oracle)
    return {
        "cost": cost, "cost_idle": cost_idle, "cost_oracle": cost_oracle, "captured_value": captured,
        "currency": sim.system.portfolio.currency, "cost_terms": dict(found.cost),
        "cost_idle_terms": dict(found.cost_idle),
        "cost_oracle_terms": dict(found.cost_oracle) if found.cost_oracle is not None else None,
        "runs": {RUN_NAMES[k]: n for k, n in store.runs.counts().items() if k in RUN_NAMES},
        "missed_cycles": sum(c.status == "missed" for c in store.runs.cycles()),
        "ladder": store.runs.ladder(), "planned_violations": planned_violations(sim),
        "realised_violation_minutes": found.violation_minutes, "commands": commands(sim, sim.link),
        "wall_s": {stage: _quantiles(values) for stage, values in sim.loop.wall_s.items()},
        "delivered_mwh": delivered_mwh(sim.system, found.truth),
        "events": [report(store, sim.system.portfolio, e.id) for e in store.events.list(sim.start, sim.end)],
    }  # fmt: skip


def planned_violations(sim: Simulation) -> int:
    """Violations of every released certificate of the three stages."""
    return sim.system.store.runs.violations((PLAN, ROLL, TRACK))


def commands(sim: Simulation, link: PlantLink) -> dict[str, int]:
    """Every command sent and what became of it; what the plant executed twice by its own log."""
    counts = sim.system.store.commands.counts()
    found = {name: counts.get(name, 0) for name in FINAL}
    return {"sent": sum(found.values()), **found, "executed_twice": int(link.log()["executed_twice"])}


def _quantiles(values: list[float]) -> dict[str, float]:
    return {"median": float(np.median(values)), "p99": float(np.quantile(values, 0.99))}


def plan_json(schedule: Schedule, states: Mapping[str, AssetState]) -> dict[str, Any]:
    """Lists by asset of a schedule and the states it starts from, as every JSON of ours writes them."""
    rows = dict(zip(schedule.asset_ids, range(len(schedule.asset_ids)), strict=True))
    return {
        "schedule": {a: schedule.power_mw[i].tolist() for a, i in rows.items()},
        "q_mvar": {a: schedule.q_mvar[i].tolist() for a, i in rows.items()},
        "commitment": {a: [round(float(x)) for x in v] for a, v in schedule.commitment.items()},
        "energy_mwh": {a: v.tolist() for a, v in schedule.stored_mwh.items()},
        "decisions": {a: {k: v.tolist() for k, v in d.items()} for a, d in schedule.decisions.items()},
        "products": {c: {k: v.tolist() for k, v in rows.items()} for c, rows in schedule.products.items()},
        "initial_state": {
            a: {"power_mw": s.power_mw, "stored_mwh": s.stored_mwh, "on": s.on, "minutes_in_state": s.minutes_in_state}
            for a, s in states.items()
        },
    }  # fmt: skip
