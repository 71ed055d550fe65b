"""The site's side: its assets, its events, its answers, its statement. Everything of others is a 404."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vpp.domain.command import Priority, Proposal
from vpp.domain.errors import Fault, InputFaults, NotFound
from vpp.domain.market import Acceptance, Event, EventStatus, FlexibilityOffer
from vpp.domain.time import Array, rfc3339, utc
from vpp.service import dr
from vpp.service.api.access import SiteDep
from vpp.service.api.bounds import why_not_off
from vpp.service.api.context import Api, ApiDep
from vpp.service.api.operations import AssetModel, asset_model, dispute_key
from vpp.service.api.overrides import ProposalModel, Reason, cancel, in_force, period_faults, proposal_model
from vpp.service.api.problems import Problem, answers
from vpp.service.api.semantics import means
from vpp.service.api.site_events import KW, SiteEvent, SiteStatement, site_event, site_statement
from vpp.service.moments import Moment

router = APIRouter(prefix="/v1/site", tags=["site"])
TOLERANCE_KW = 1e-6


class AcceptanceRequest(BaseModel):
    """Either `share` of what is offered for certain, or the reduction in kW by interval."""

    model_config = ConfigDict(
        extra="forbid", allow_inf_nan=False,
        json_schema_extra={"examples": [{"share": 1.0}, {"reduction_kw": [200, 200, 150, 150, 150, 100]}]},
    )  # fmt: skip

    share: float | None = Field(default=None, ge=0.0, le=1.0)
    reduction_kw: list[float] | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.share is None) == (self.reduction_kw is None):
            raise ValueError("give either share or reduction_kw")
        return self


class ReasonRequest(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"reason": "an urgent order came in"}})

    reason: Reason


class UnavailabilityRequest(BaseModel):
    """The asset is off over [start, end): its injection is held at zero."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "asset": "mill-2", "start": "2016-07-12T12:00:00Z", "end": "2016-07-12T16:00:00Z",
                "reason": "bearing is being changed",
            }
        },
    )  # fmt: skip

    asset: str
    start: Moment
    end: Moment
    reason: Reason


class Dispute(BaseModel):
    """What was recorded of a dispute."""

    event: str
    reason: str
    at: datetime


@router.get("/assets", summary="The site's assets", response_model=list[AssetModel], responses=answers(401, 403))
def assets(api: ApiDep, site: SiteDep) -> Any:
    """With their last known states."""
    with api.lock:
        states = api.system.states(api.clock())
    portfolio = api.system.portfolio
    return [asset_model(a, states[a.id], portfolio) for a in portfolio.assets if a.site == site]


def own_offer(api: Api, event_id: str, site: str) -> tuple[Event, FlexibilityOffer]:
    """Raises NotFound for an event that was not offered to this site."""
    offer = next((o for o in api.store.events.offers(event_id) if o.site == site), None)
    if offer is None:
        raise NotFound(f"event {event_id}")
    return api.store.events.get(event_id), offer


def own_answer(api: Api, event_id: str, site: str) -> Acceptance | None:
    return next((a for a in api.store.events.acceptances(event_id) if a.site == site), None)


def _view(api: Api, event: Event, offer: FlexibilityOffer, site: str) -> SiteEvent:
    answer = own_answer(api, event.id, site)
    open_ = event.status is EventStatus.OFFERED
    return site_event(api.system.portfolio, event, offer, answer, api.clock(), open_)


@router.get("/events", summary="Events offered to the site", response_model=list[SiteEvent],
            responses=answers(401, 403))  # fmt: skip
def events(api: ApiDep, site: SiteDep) -> Any:
    """In order of their start."""
    offered = [
        (event, offer) for event in api.store.events.list() for offer in api.store.events.offers(event.id)
        if offer.site == site
    ]  # fmt: skip
    return [_view(api, event, offer, site) for event, offer in offered]


@router.get("/events/{event_id}", summary="One event", response_model=SiteEvent, responses=answers(401, 403, 404))
def event(event_id: str, api: ApiDep, site: SiteDep) -> Any:
    """Ceiling and reduction, baseline and method, price, penalty and cap, accept-by and rebound, before any answer."""
    return _view(api, *own_offer(api, event_id, site), site)


def _reduction_mw(body: AcceptanceRequest, offer: FlexibilityOffer) -> Array:
    """Raises InputFaults with every interval that is more than was offered."""
    given = body.reduction_kw or []
    if len(given) != offer.grid.n:
        raise InputFaults([Fault("body", "reduction_kw", f"has {len(given)} values for {offer.grid.n} intervals")])
    faults = [
        Fault("body", f"reduction_kw.{t}", f"{kw} is not within 0 and the offered {most * KW:g} kW")
        for t, (kw, most) in enumerate(zip(given, offer.mw.tolist(), strict=True))
        if not 0.0 <= kw <= most * KW + TOLERANCE_KW
    ]
    if faults:
        raise InputFaults(faults)
    return np.asarray(given, dtype=float) / KW


@router.post("/events/{event_id}/acceptance", summary="Accept, whole or in part", response_model=SiteEvent,
             responses=answers(401, 403, 404, 409, 422))  # fmt: skip
def accept(event_id: str, body: AcceptanceRequest, api: ApiDep, site: SiteDep) -> Any:
    """The last answer until accept-by holds. Refused (409) after it or once the call is closed."""
    found, offer = own_offer(api, event_id, site)
    now = api.clock()
    if now > found.accept_by:
        raise Problem(409, f"answers were due by {rfc3339(found.accept_by)}")
    if found.status is not EventStatus.OFFERED:
        raise Problem(409, f"the event is {found.status.value} and takes no answers")
    with api.lock:
        if body.share is not None:
            dr.answer(api.system, event_id, site, body.share, now)
        else:
            api.store.events.save_acceptance(Acceptance(event_id, site, now, _reduction_mw(body, offer)))
    return _view(api, found, offer, site)


@router.post("/events/{event_id}/withdrawal", summary="Withdraw or stop", response_model=SiteEvent,
             responses=answers(401, 403, 404, 409, 422))  # fmt: skip
def withdraw(event_id: str, body: ReasonRequest, api: ApiDep, site: SiteDep) -> Any:
    """At any time before the end; a repeat keeps the first time.

    Until answers are due it takes the answer back at no cost. Later nothing is asked of the site from the running
    quarter on, and quarters it accepted and does not deliver carry the event's penalty.
    """
    found, offer = own_offer(api, event_id, site)
    now = api.clock()
    if now >= found.end:
        raise Problem(409, f"the event ended at {rfc3339(found.end)}")
    if own_answer(api, event_id, site) is None:
        raise Problem(409, "the event was not accepted, so there is nothing to withdraw")
    api.store.events.withdraw(event_id, site, now, body.reason)
    return _view(api, found, offer, site)


@router.get("/events/{event_id}/statement", summary="The statement", response_model=SiteStatement,
            responses=answers(401, 403, 404))  # fmt: skip
def statement(event_id: str, api: ApiDep, site: SiteDep) -> Any:
    """Measured against baseline, payment, penalty, how to dispute; there a quarter of an hour after the end."""
    own_offer(api, event_id, site)
    found = api.store.events.statement(event_id)
    if found is None or all(line.participant != site for line in found.lines):
        raise NotFound(f"statement of event {event_id} for this site yet")
    return site_statement(found, site)


@router.post("/events/{event_id}/dispute", status_code=201, summary="Dispute a statement", response_model=Dispute,
             responses=answers(401, 403, 404, 409, 422))  # fmt: skip
def dispute(event_id: str, body: ReasonRequest, api: ApiDep, site: SiteDep) -> Any:
    """Recorded with the event and raised as an alarm for the operator; a second one replaces the reason."""
    own_offer(api, event_id, site)
    if api.store.events.statement(event_id) is None:
        raise Problem(409, "there is no statement to dispute yet")
    found = Dispute(event=event_id, reason=body.reason, at=api.clock())
    key = dispute_key(event_id, site)
    api.store.settings.put(key, found.model_dump(mode="json"))
    api.store.alarms.raise_(key[:80], f"{site} disputes its statement of {event_id}: {body.reason}", found.at)
    return found


def _stop_faults(api: Api, given: Mapping[str, Any]) -> list[Fault]:
    return period_faults(given.get("start"), given.get("end"), api.clock(), "end")


@router.post("/unavailability", status_code=201, summary="An asset will be off", response_model=ProposalModel,
             responses=answers(401, 403, 404, 422))  # fmt: skip
@means(UnavailabilityRequest, _stop_faults)
def unavailable(body: UnavailabilityRequest, api: ApiDep, site: SiteDep) -> Any:
    """Holds batteries, generators and mills at zero over the period; above every order but device protection.

    Cooling, price-takers and fixed loads cannot be held at zero: they withdraw from events instead.
    """
    asset = next((a for a in api.system.portfolio.assets if a.id == body.asset and a.site == site), None)
    if asset is None:
        raise NotFound(f"asset {body.asset}")
    faults = _stop_faults(api, dict(body))
    if (reason := why_not_off(asset)) is not None:
        faults.append(Fault("body", "asset", reason))
    if faults:
        raise InputFaults(faults)
    proposal = Proposal(
        f"unavailable:{uuid.uuid4().hex}", asset.id, _source(site), Priority.SITE_STOP, utc(body.start),
        utc(body.end), 0.0, 0.0, reason=body.reason,
    )  # fmt: skip
    api.store.events.add_proposal(proposal)
    return proposal_model(proposal)


def _source(site: str) -> str:
    return f"site:{site}"


def _own_stops(api: Api, site: str) -> list[Proposal]:
    return [p for p in in_force(api, Priority.SITE_STOP, api.clock()) if p.source == _source(site)]


@router.get("/unavailability", summary="Periods off, now or to come", response_model=list[ProposalModel],
            responses=answers(401, 403))  # fmt: skip
def stops(api: ApiDep, site: SiteDep) -> Any:
    """The site's own."""
    return [proposal_model(p) for p in _own_stops(api, site)]


@router.delete("/unavailability/{stop_id}", status_code=204, summary="The asset is back",
               responses=answers(401, 403, 404))  # fmt: skip
def back(stop_id: str, api: ApiDep, site: SiteDep) -> None:
    """Takes effect with the next run."""
    cancel(api, stop_id, _own_stops(api, site))
