"""Overrides of the operator: bounds on an asset's injection, with a reason and an expiry."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from vpp.domain.command import Priority, Proposal
from vpp.domain.errors import Fault, InputFaults, NotFound
from vpp.domain.time import utc
from vpp.service.api.access import OperatorDep
from vpp.service.api.bounds import NO_POWER_COMMAND, reach_mw
from vpp.service.api.context import Api, ApiDep
from vpp.service.api.problems import answers
from vpp.service.api.semantics import means
from vpp.service.moments import Moment

router = APIRouter(prefix="/v1/overrides", tags=["overrides"])
AHEAD = timedelta(days=366)
MOST_MW = 100_000.0
Power = Annotated[float, Field(ge=-MOST_MW, le=MOST_MW)]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class OverrideRequest(BaseModel):
    """Injection stays within [lower_mw, upper_mw] from `start` (now where missing) until `expires_at`."""

    model_config = ConfigDict(
        extra="forbid", allow_inf_nan=False,
        json_schema_extra={
            "example": {
                "asset": "battery-glass", "lower_mw": 0.0, "upper_mw": 0.2, "start": "2016-07-12T10:00:00Z",
                "expires_at": "2016-07-12T12:00:00Z", "reason": "cooling fan of the inverter is being replaced",
            }
        },
    )  # fmt: skip

    asset: str
    lower_mw: Power
    upper_mw: Power
    start: Moment | None = None
    expires_at: Moment
    reason: Reason


class ProposalModel(BaseModel):
    """Bounds in force on an asset; injection positive."""

    id: str
    asset: str
    source: str
    priority: str
    start: datetime
    expires_at: datetime
    lower_mw: float
    upper_mw: float
    reason: str


def proposal_model(p: Proposal) -> ProposalModel:
    return ProposalModel(
        id=p.id, asset=p.asset_id, source=p.source, priority=p.priority.name.lower(), start=p.start,
        expires_at=p.end, lower_mw=p.lower_mw, upper_mw=p.upper_mw, reason=p.reason,
    )  # fmt: skip


def period_faults(start: datetime | None, end: datetime | None, now: datetime, end_name: str) -> list[Fault]:
    """Faults of a period that must lie ahead and begin within `AHEAD`; None is a time that is not known."""
    faults = []
    if start is not None and start >= now + AHEAD:
        faults.append(Fault("body", "start", f"is more than {AHEAD.days} days ahead"))
    if start is not None and end is not None and end <= start:
        faults.append(Fault("body", end_name, "is not after start"))
    elif end is not None and end <= now:
        faults.append(Fault("body", end_name, "is in the past"))
    return faults


def override_faults(api: Api, given: Mapping[str, Any]) -> list[Fault]:
    """Faults of the meaning of the fields in `given`, some of which may be missing."""
    now, portfolio = api.clock(), api.system.portfolio
    faults = period_faults(given.get("start"), given.get("expires_at"), now, "expires_at")
    lower, upper, name = given.get("lower_mw"), given.get("upper_mw"), given.get("asset")
    if lower is not None and upper is not None and lower > upper:
        faults.append(Fault("body", "lower_mw", f"{lower} is above upper_mw {upper}"))
    if name is None:
        return faults
    if name not in portfolio.index:
        return [*faults, Fault("body", "asset", f"{name} is no asset of the portfolio")]
    reach = reach_mw(portfolio.asset(name))
    if reach is None:
        faults.append(Fault("body", "asset", f"{name} {NO_POWER_COMMAND}"))
    elif (lower is not None and lower > reach[1]) or (upper is not None and upper < reach[0]):
        faults.append(Fault("body", "lower_mw", f"the window is outside what {name} can do, {reach} MW"))
    return faults


def in_force(api: Api, priority: Priority, now: datetime) -> list[Proposal]:
    """Proposals of one priority that are in force or still to come."""
    return [p for p in api.store.events.active_proposals(now, now + AHEAD) if p.priority == priority]


def cancel(api: Api, proposal_id: str, among: list[Proposal]) -> None:
    """Raises NotFound for one that is not among those given."""
    if proposal_id not in {p.id for p in among}:
        raise NotFound(f"proposal {proposal_id} in force")
    api.store.events.cancel_proposal(proposal_id)


@router.post("", status_code=201, summary="Override an asset", response_model=ProposalModel,
             responses=answers(401, 403, 422))  # fmt: skip
@means(OverrideRequest, override_faults)
def create(body: OverrideRequest, api: ApiDep, who: OperatorDep) -> Any:
    """Becomes a proposal of operator priority: above orders and schedules, below grid emergencies and site stops."""
    now = api.clock()
    start = utc(body.start) if body.start else now
    if faults := override_faults(api, dict(body)):
        raise InputFaults(faults)
    proposal = Proposal(
        f"override:{uuid.uuid4().hex}", body.asset, f"operator:{who.key_id}", Priority.OPERATOR, start,
        utc(body.expires_at), body.lower_mw, body.upper_mw, reason=body.reason,
    )  # fmt: skip
    api.store.events.add_proposal(proposal)
    return proposal_model(proposal)


@router.get("", summary="Overrides in force or to come", response_model=list[ProposalModel],
            responses=answers(401, 403))  # fmt: skip
def listed(api: ApiDep, _: OperatorDep) -> Any:
    """Expired and cancelled ones are gone."""
    return [proposal_model(p) for p in in_force(api, Priority.OPERATOR, api.clock())]


@router.delete("/{override_id}", status_code=204, summary="End an override", responses=answers(401, 403, 404))
def delete(override_id: str, api: ApiDep, _: OperatorDep) -> None:
    """Takes effect with the next run."""
    cancel(api, override_id, in_force(api, Priority.OPERATOR, api.clock()))
