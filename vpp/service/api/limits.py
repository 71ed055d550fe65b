"""Limits received from grid operators: sent with an issuer's key, obeyed from the next run on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from vpp.domain.envelope import Bounds, Envelope, Place
from vpp.domain.errors import Fault, InputFaults, StaleRevision
from vpp.domain.time import MINUTE, TimeGrid, floor_to
from vpp.service.api.access import IssuerDep, LimitsDep
from vpp.service.api.context import Api, ApiDep
from vpp.service.api.problems import answers
from vpp.service.api.semantics import means
from vpp.service.limit_files import MOST_INTERVALS, IntervalFile, Revision
from vpp.service.portfolio_files import Id
from vpp.service.received import bounds_at, known_envelopes

router = APIRouter(prefix="/v1/limits", tags=["limits"])
EXAMPLE: Any = {
    "id": "doe-2016-07-12-plastics", "revision": 1, "place": "plastics-cable",
    "intervals": [
        {"start": "2016-07-12T15:00:00Z", "end": "2016-07-12T17:00:00Z", "import_mw": 0.6, "export_mw": 0.2}
    ],
}  # fmt: skip


class EnvelopeRequest(BaseModel):
    """Positive MW of the net exchange at `place`, one of the issuer's; a higher revision replaces the id whole, and one
    without intervals withdraws it: the default then holds again."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, json_schema_extra={"example": EXAMPLE})

    id: Id
    revision: Revision = 1
    place: Id
    intervals: list[IntervalFile] = Field(max_length=MOST_INTERVALS)


class IntervalModel(BaseModel):
    """Limits over [start, end), positive MW."""

    start: datetime
    end: datetime
    import_mw: float | None
    export_mw: float | None


class EnvelopeModel(BaseModel):
    """What was received, and when; runs before `received_at` did not know it."""

    id: str
    revision: int
    issuer: str
    place: str
    received_at: datetime
    intervals: list[IntervalModel]


class PlaceModel(BaseModel):
    """A connection or group with its default limits, and with those in force now, positive MW."""

    id: str
    issuer: str
    assets: list[str]
    default_import_mw: float
    default_export_mw: float
    import_mw: float
    export_mw: float
    default_in_use: bool


class LimitsModel(BaseModel):
    """Places, and the envelopes that are in force or still to come."""

    places: list[PlaceModel]
    envelopes: list[EnvelopeModel]


def _model(e: Envelope) -> EnvelopeModel:
    return EnvelopeModel(
        id=e.id, revision=e.revision, issuer=e.issuer, place=e.place, received_at=e.received_at,
        intervals=[IntervalModel(**vars(i)) for i in e.intervals],
    )  # fmt: skip


def envelope_faults(api: Api, given: Mapping[str, Any]) -> list[Fault]:
    """Faults of the meaning of the fields in `given`, some of which may be missing."""
    place, intervals = given.get("place"), given.get("intervals", ())
    faults = []
    if place is not None and place not in {p.id for p in api.system.loaded.received.places}:
        faults.append(Fault("body", "place", f"no issuer states default limits for {place}"))
    if intervals and max(i.end for i in intervals) <= (now := api.clock()):
        faults.append(Fault("body", "intervals", f"are over: it is {now.isoformat()}"))
    return faults


@router.post("", status_code=201, summary="Send limits", response_model=EnvelopeModel,
             responses=answers(401, 403, 409, 422))  # fmt: skip
@means(EnvelopeRequest, envelope_faults)
def receive(body: EnvelopeRequest, api: ApiDep, issuer: IssuerDep) -> Any:
    """The same revision may be sent again; an older one, or another content under its number, is refused (409)."""
    faults = envelope_faults(api, dict(body))
    if not faults and api.system.loaded.received.place(issuer, body.place) is None:
        faults = [Fault("body", "place", f"{issuer} states no default limits for {body.place}")]
    if faults:
        raise InputFaults(faults)
    filed = [e for e in api.system.loaded.received.envelopes if (e.issuer, e.id) == (issuer, body.id)]
    if filed and max(e.revision for e in filed) >= body.revision:
        raise StaleRevision(f"{body.id}: revision {max(e.revision for e in filed)} is in limits.yaml")
    made = Envelope(
        body.id, body.revision, issuer, body.place, api.clock(), tuple(i.interval for i in body.intervals)
    )  # fmt: skip
    return _model(api.store.envelopes.save(made))


@router.get("", summary="Limits in force and to come", response_model=LimitsModel, responses=answers(401, 403))
def listed(api: ApiDep, who: LimitsDep) -> Any:
    """An issuer sees its own, an operator all; newest revisions only."""
    now, received = api.clock(), api.system.loaded.received
    minute = TimeGrid.uniform(floor_to(now, MINUTE), MINUTE, 1)
    bounds = bounds_at(api.system, minute, now)
    seen = [p for p in received.places if who.issuer in (None, p.issuer)]
    envelopes = [e for e in known_envelopes(api.system, now, now) if who.issuer in (None, e.issuer) and e.until > now]
    return LimitsModel(places=[_place(p, bounds[p.id]) for p in seen], envelopes=[_model(e) for e in envelopes])


def _place(p: Place, now: Bounds) -> PlaceModel:
    return PlaceModel(
        id=p.id, issuer=p.issuer, assets=list(p.assets), default_import_mw=p.import_mw, default_export_mw=p.export_mw,
        import_mw=float(now.import_mw[0]), export_mw=float(now.export_mw[0]), default_in_use=now.default,
    )  # fmt: skip
