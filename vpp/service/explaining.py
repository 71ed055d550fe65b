"""`vpp explain` and the API's explanation: why an asset does what it does at a moment of a plan.

A run keeps the prices of its duals and the asset side of its situation, so it is explained from the
record alone, whatever has happened since. A plan file keeps neither: its situation is gathered again, its
commitments are kept, and the linear program with the network's cuts is solved anew for the prices.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from dispatch.explain import Explanation, explain
from dispatch.one_way import one_way_plan
from vpp.domain.errors import DataGap, Fault, InputFaults, NotFound
from vpp.domain.portfolio import Portfolio
from vpp.domain.schedule import DispatchRun, Schedule
from vpp.domain.stage import DAY_AHEAD, INTRADAY
from vpp.domain.time import MINUTE, rfc3339, utc
from vpp.service.assemble import exposure_of, problem_of
from vpp.service.asset_side import explainable, kept_side
from vpp.service.bootstrap import load_stated
from vpp.service.cascade import MAX_ROUNDS, plan_prices
from vpp.service.desk import PLAN, ROLL
from vpp.service.event_file import require_record
from vpp.service.explain_words import Words
from vpp.service.knowledge import gather
from vpp.service.plan import Train, parse_plan, plan_day, prepare_day, schedule_of
from vpp.service.settings import Settings
from vpp.service.situation import Situation

REPLAN_S = 60.0
ANY_GAP = 1e9
STEPS = ("first", "last", "instead", "instead_until")


def explain_run(run: DispatchRun, portfolio: Portfolio, asset_id: str, at: datetime) -> dict[str, Any]:
    """The explanation of one asset at one moment of a run, as JSON.

    Raises InputFaults for an unknown asset or a moment outside the plan, DataGap for a run without prices.
    """
    faults = []
    grid, moment = run.schedule.grid, utc(at)
    if asset_id not in portfolio.index or asset_id not in run.schedule.asset_ids:
        faults.append(Fault("request", "asset", f"no asset {asset_id} in the plan"))
    if not grid.start <= moment < grid.end:
        span = f"{rfc3339(grid.start)} to {rfc3339(grid.end)}"
        faults.append(Fault("request", "at", f"{rfc3339(moment)} is outside the plan, {span}"))
    if faults:
        raise InputFaults(faults)
    side, prices = kept_side(run), run.solution.prices if run.solution else None
    if side is None or prices is None:
        raise DataGap(f"run {run.id} holds no prices: {_why_not(run)}")
    t = grid.index_of(moment)
    fleet = [a for a in portfolio.assets if a.id in side.states]
    found = explain(portfolio.asset(asset_id), t, fleet, side.context(run), run.schedule, prices)
    return explanation_json(found, run, portfolio)


def _why_not(run: DispatchRun) -> str:
    if run.level != "optimal":
        return f"its schedule came from the rung {run.level}, because {run.reason}"
    return f"{run.stage} runs follow the plan above them; explain that one"


def explanation_json(e: Explanation, run: DispatchRun, portfolio: Portfolio) -> dict[str, Any]:
    """An explanation with times for steps and a sentence."""
    grid = run.schedule.grid
    words = Words(grid, portfolio.zone, portfolio.currency)

    def moment(step: int | None) -> str | None:
        return None if step is None else rfc3339(grid.edges[step])

    changes = [
        {**{k: v for k, v in asdict(c).items() if k not in STEPS and v is not None},
         **({"from": moment(c.first), "to": moment(c.last), "instead_from": moment(c.instead),
            "instead_to": moment(c.instead_until)} if c.first is not None
            else {})}
        for c in e.changes
    ]  # fmt: skip
    return {
        "run": run.id, "stage": run.stage, "asset": e.asset, "at": moment(e.step), "sentence": words.sentence(e),
        "power_mw": e.power_mw, "on": e.on, "price_eur_per_mwh": e.price_eur_per_mwh,
        "price_parts_eur_per_mwh": e.parts_eur_per_mwh, "reason": e.reason, "limit": e.limit or None,
        "worth_eur": e.worth_eur,
        "binding": [
            {"part": b.part, "name": b.name, "at": moment(b.step), "case": b.case or None,
             "shadow_price": b.shadow_price, "unit": b.unit.replace("EUR", portfolio.currency)}
            for b in e.bindings
        ],
        "next": changes,
        "would_exceed": [{"name": n, "at": moment(step), "amount": amount} for n, step, amount in e.exceeded],
    }  # fmt: skip


def explain_day(
    portfolio: Path, day: date | None, asset: str, at: datetime, settings: Settings, plan: str | None, train: Train
) -> dict[str, Any]:
    """The explanation of the day-ahead plan of a day (by default the local day of `at`), or of a plan file's text."""
    known = load_stated(portfolio, settings.cache_dir).portfolio
    given = None if plan is None else parse_plan(plan, known.index)
    local = (utc(given.times[0]) if given else at).astimezone(ZoneInfo(known.zone)).date()
    day = day or (local + timedelta(days=1) if given else local)
    system, issued = prepare_day(portfolio, day, settings, "sqlite://", train)
    if given is None:
        _, run = plan_day(system, issued, secure=True)
    else:
        s = gather(system, DAY_AHEAD, PLAN, issued, scenarios=0)
        schedule = schedule_of(given, known.index)
        if schedule.grid != s.grid:
            raise InputFaults([Fault("plan", "times", f"are not those of the day-ahead plan of {day}")])
        run = replanned(s, schedule)
    return explain_run(run, system.portfolio, asset, at)


def replanned(s: Situation, schedule: Schedule) -> DispatchRun:
    """`schedule` with the prices of the linear program that keeps its commitments. Raises NotSolved."""
    exposure = exposure_of(s)
    network = s.grid_side.network if s.grid_side else None
    secured = one_way_plan(
        problem_of(s), network, exposure,
        deadline_s=REPLAN_S, rel_gap=ANY_GAP, max_rounds=MAX_ROUNDS, hint=dict(schedule.commitment),
    )  # fmt: skip
    priced = replace(secured.solution, prices=plan_prices(s, secured, exposure))
    return DispatchRun(
        "plan", s.stage.name, s.purpose, s.now, s.now, "optimal", "", priced, schedule, None, s.digest(), {},
        inputs=explainable(s, priced),
    )  # fmt: skip


def explain_recorded(database: Path, portfolio: Path, asset: str, at: datetime, settings: Settings) -> dict[str, Any]:
    """The explanation of the released plan that was in force at `at` by the record of a running or finished service.

    Raises NotFound where no plan of the record covers it.
    """
    from adapters.store import open_store

    require_record(database)
    known = load_stated(portfolio, settings.cache_dir).portfolio
    store = open_store(f"sqlite:///{database.resolve()}")
    try:
        candidates = [
            store.runs.latest(INTRADAY, ROLL, before=utc(at) + MINUTE),
            store.runs.latest(DAY_AHEAD, PLAN, before=utc(at) + MINUTE),
        ]
    finally:
        store.close()
    for run in candidates:
        if run is not None and run.schedule.grid.start <= utc(at) < run.schedule.grid.end:
            return explain_run(run, known, asset, at)
    raise NotFound(f"released plan that covers {rfc3339(utc(at))}")


def plan_text(file: Path) -> str:
    """The text of a plan file. Raises InputFaults where there is none."""
    if not file.is_file():
        raise InputFaults([Fault(str(file), "", "no such file")])
    try:
        text = file.read_text(encoding="utf-8")
        json.loads(text)
    except ValueError:
        raise InputFaults([Fault(str(file), "", "is no JSON, so no plan")]) from None
    return text
