"""Long work: a job is answered with 202 at once, runs in a thread, and is polled."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from adapters.store import Store
from adapters.store.records import INTERRUPTED
from vpp.domain.errors import NotFound, VppError
from vpp.service.api.access import DESK, DeskDep, Principal
from vpp.service.api.context import Api, ApiDep
from vpp.service.api.problems import answers
from vpp.service.api.views import jsonable

log = logging.getLogger(__name__)
router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


class Accepted(BaseModel):
    """Where to ask for the result."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"job": "9f3a61c2d0b4e817", "poll": "/v1/jobs/9f3a61c2d0b4e817"}}
    )

    job: str
    poll: str


class JobModel(BaseModel):
    """`status` is queued, running, done or failed; `result` is there when done, `error` when failed."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "9f3a61c2d0b4e817", "kind": "run", "status": "done", "progress": 1.0,
                "created_at": "2016-07-12T08:00:00Z", "updated_at": "2016-07-12T08:00:09Z",
                "result": {"run": "5d41402abc4b2a76b9719d911017c592"}, "error": None,
            }
        }
    )  # fmt: skip

    id: str
    kind: str
    status: str
    progress: float
    created_at: datetime
    updated_at: datetime
    result: Any
    error: str | None


def interrupted(store: Store, now: datetime) -> int:
    """Fail what an ended service left behind: no thread works on it any more. Their number."""
    count = store.jobs.interrupted(now)
    if count:
        log.warning("%d job(s) %s", count, INTERRUPTED)
    return count


def start(api: Api, kind: str, who: Principal, request: dict[str, Any], work: Callable[[], Any]) -> Accepted:
    """Run `work` in a thread of its own and store what it returns."""
    jobs = api.store.jobs
    job = jobs.create(kind, {"role": who.role, "key": who.key_id, **jsonable(request)})

    def run() -> None:
        jobs.update(job, "running")
        try:
            jobs.update(job, "done", 1.0, result=jsonable(work()))
        except VppError as why:
            jobs.update(job, "failed", error=str(why))
        except Exception as why:
            log.exception("job %s failed", job)
            jobs.update(job, "failed", error=f"internal error: {type(why).__name__}")

    threading.Thread(target=run, name=f"job-{job}", daemon=True).start()
    return Accepted(job=job, poll=f"/v1/jobs/{job}")


@router.get("/{job_id}", summary="Poll a job", response_model=JobModel, responses=answers(401, 403, 404))
def poll(job_id: str, api: ApiDep, who: DeskDep) -> Any:
    """Status and, when done, the result. A grid desk sees the jobs of grid desks."""
    job = api.store.jobs.get(job_id)
    if who.role == DESK and job.request.get("role") != DESK:
        raise NotFound(f"job {job_id}")
    return JobModel(**{name: getattr(job, name) for name in JobModel.model_fields})
