"""Runs, schedules, differences, release, and runs on request."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict

from vpp.domain.errors import NotFound
from vpp.domain.schedule import DispatchRun
from vpp.domain.stage import DAY_AHEAD
from vpp.domain.time import QUARTER, floor_to, rfc3339
from vpp.service.api import jobs
from vpp.service.api.access import OperatorDep
from vpp.service.api.context import Api, ApiDep
from vpp.service.api.problems import Problem, answers
from vpp.service.api.views import jsonable, numbers, run_json, schedule_json, times
from vpp.service.cascade import committing, run_stage
from vpp.service.desk import PLAN, ROLL
from vpp.service.explaining import explain_run
from vpp.service.knowledge import gather

router = APIRouter(prefix="/v1", tags=["runs"])
LOOK_BACK = 500
BIGGEST = 20
NOTEWORTHY_MW = 1e-6


class RunRow(BaseModel):
    """One run without its trajectories."""

    id: str
    stage: str
    purpose: str
    cycle_start: datetime
    issued_at: datetime
    level: str
    reason: str
    objective: float | None
    verdict: str | None
    inputs_digest: str
    released: bool
    released_by: str | None
    released_at: datetime | None
    wall_s: dict[str, float]


class RunRequest(BaseModel):
    """Which stage to run on what is known now."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"stage": "intraday"}})

    stage: Literal["day_ahead", "intraday"]


class ReleaseRequest(BaseModel):
    """A plan whose certificate is violated is released only on purpose."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"accept_violations": False}})

    accept_violations: bool = False


class Released(BaseModel):
    """Who let a plan command, and when."""

    run: str
    released_by: str
    released_at: datetime


class Change(BaseModel):
    """One asset at one time, MW of injection."""

    asset: str
    time: str
    before_mw: float
    after_mw: float
    change_mw: float


class Difference(BaseModel):
    """A run against the last plan of its stage released before it; lists are over `times`, gaps are null."""

    run: str
    previous: str
    times: list[str]
    change_mw: dict[str, list[float | None]]
    biggest: list[Change]
    objective_before: float | None
    objective_after: float | None


@router.get("/runs", summary="List runs, newest first", response_model=list[RunRow], responses=answers(401, 403, 422))
def list_runs(
    api: ApiDep,
    _: OperatorDep,
    stage: Annotated[Literal["day_ahead", "intraday", "real_time"] | None, Query(description="only this stage")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> Any:
    """Level of the ladder, verdict and wall time of each run."""
    return [RunRow(**vars(r)) for r in api.store.runs.list(limit, stage)]


@router.get("/runs/{run_id}", summary="One run", responses=answers(401, 403, 404))
def one_run(run_id: str, api: ApiDep, _: OperatorDep) -> dict[str, Any]:
    """Schedule, certificate, costs, level and reason."""
    return run_json(api.store.runs.get(run_id))


@router.get("/runs/{run_id}/explain", summary="Why an asset does what it does",
            responses=answers(401, 403, 404, 409, 422))  # fmt: skip
def explain(
    run_id: str,
    api: ApiDep,
    _: OperatorDep,
    asset: Annotated[str, Query(description="id of an asset, such as mill-3")],
    at: Annotated[AwareDatetime, Query(description="RFC 3339 time inside the plan")],
) -> dict[str, Any]:
    """A sentence, the binding limits with their shadow prices, and the price at which it would do something else.

    The answer comes from what the run kept: prices of its duals, states and inputs of its assets. Refused (409)
    for a run without prices: a real-time run, or one that came down the ladder.
    """
    return dict(jsonable(explain_run(api.store.runs.get(run_id), api.system.portfolio, asset, at)))


def previous_released(api: Api, run: DispatchRun) -> DispatchRun | None:
    """The last plan of the same stage and purpose that was recorded before `run` and released."""
    rows = api.store.runs.list(LOOK_BACK, run.stage)
    position = next((i for i, r in enumerate(rows) if r.id == run.id), None)
    if position is None:
        return api.store.runs.latest(run.stage, run.purpose, before=run.issued_at)
    found = next((r.id for r in rows[position + 1 :] if r.released and r.purpose == run.purpose), None)
    return api.store.runs.get(found) if found else None


def difference_of(run: DispatchRun, before: DispatchRun) -> Difference:
    """MW that `run` changes per asset and time where both cover it."""
    grid, new = run.schedule.grid, run.schedule
    old = {a: grid.sample(before.schedule.grid, before.schedule.power_of(a)) for a in before.schedule.asset_ids}
    gap = np.full(grid.n, np.nan)
    change = {a: new.power_mw[i] - old.get(a, gap) for i, a in enumerate(new.asset_ids)}
    found = [
        (float(value), a, t)
        for a, row in change.items()
        for t, value in enumerate(row)
        if np.isfinite(value) and abs(value) > NOTEWORTHY_MW
    ]
    found.sort(key=lambda c: -abs(c[0]))
    return Difference(
        run=run.id, previous=before.id, times=times(grid), change_mw={a: numbers(row) for a, row in change.items()},
        biggest=[
            Change(asset=a, time=rfc3339(grid.starts[t]), before_mw=float(old[a][t]),
                   after_mw=float(new.power_of(a)[t]), change_mw=value)
            for value, a, t in found[:BIGGEST]
        ],
        objective_before=before.solution.objective if before.solution else None,
        objective_after=run.solution.objective if run.solution else None,
    )  # fmt: skip


@router.get(
    "/runs/{run_id}/difference", summary="What a run changes", response_model=Difference,
    responses=answers(401, 403, 404),
)  # fmt: skip
def difference(run_id: str, api: ApiDep, _: OperatorDep) -> Any:
    """Against the previous released plan of the stage, biggest changes first."""
    run = api.store.runs.get(run_id)
    before = previous_released(api, run)
    if before is None:
        raise NotFound(f"released {run.stage} plan before run {run_id}")
    return difference_of(run, before)


@router.post("/runs/{run_id}/release", summary="Release a plan", response_model=Released,
             responses=answers(401, 403, 404, 409, 422))  # fmt: skip
def release(run_id: str, api: ApiDep, who: OperatorDep, body: ReleaseRequest | None = None) -> Any:
    """Let the plan command. Refused (409) for one that is over, replaced, released, or violated without consent."""
    run, now = api.store.runs.get(run_id), api.clock()
    newest = api.store.runs.latest(run.stage, run.purpose)
    if run.released:
        raise Problem(409, "the plan is released already")
    if run.schedule.grid.end <= now:
        raise Problem(409, f"the plan ended at {rfc3339(run.schedule.grid.end)}")
    if newest is not None and newest.issued_at > run.issued_at:
        raise Problem(409, f"plan {newest.id} is newer and released")
    violated = run.certificate is not None and run.certificate.verdict == "violated"
    if violated and not (body and body.accept_violations):
        raise Problem(409, "the certificate is violated; release it with accept_violations: true if that is meant")
    api.store.runs.release(run_id, who.key_id, now)
    return Released(run=run_id, released_by=who.key_id, released_at=now)


@router.post("/runs", status_code=202, summary="Run a stage now", response_model=jobs.Accepted,
             responses=answers(401, 403, 409, 422))  # fmt: skip
def request_run(body: RunRequest, api: ApiDep, who: OperatorDep) -> Any:
    """A plan on what is known now, from the running quarter on. It commands nothing until it is released.

    Requests and prices with notice are announced by the next regular run, which starts from the released plan.
    """
    now = api.clock()
    if not api.store.runs.claim(f"operator_{body.stage}", now, now):
        raise Problem(409, f"a {body.stage} run was requested at {rfc3339(now)} already")
    return jobs.start(api, "run", who, body.model_dump(), lambda: {"run": run_now(api, body.stage, now)})


def run_now(api: Api, stage: str, now: datetime) -> str:
    """Id of the recorded run."""
    purpose = PLAN if stage == DAY_AHEAD else ROLL
    run: DispatchRun | None = None
    try:
        with api.lock:
            situation = gather(api.system, stage, purpose, floor_to(now, QUARTER))
            run = replace(run_stage(situation, uuid.uuid4().hex, committing()), released=False)
            api.store.runs.record(run, [])
            if situation.forecast.origin is not None:
                api.store.forecasts.used(run.id, situation.forecast.origin, api.system.book.cut)
    finally:
        api.store.runs.finish(f"operator_{stage}", now, run.id if run else None, run.level if run else "failed")
    return run.id


@router.get("/schedule", summary="The plan in force", responses=answers(401, 403, 404))
def schedule(api: ApiDep, _: OperatorDep) -> dict[str, Any]:
    """The latest released intraday plan, the day-ahead one before there is any."""
    run = api.current()
    if run is None:
        raise NotFound("released plan")
    return {"run": run.id, "stage": run.stage, "issued_at": jsonable(run.issued_at), "level": run.level,
            **schedule_json(run.schedule)}  # fmt: skip
