"""The grid desk's side: call for flexibility, see what is offered, order it, ask a node, look at the network."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from vpp.domain.errors import Fault, InputFaults, NotFound
from vpp.domain.market import Event, EventStatus
from vpp.domain.schedule import Schedule
from vpp.domain.stage import INTRADAY
from vpp.domain.time import QUARTER, TimeGrid, floor_to, rfc3339, utc
from vpp.service import dr
from vpp.service.api import jobs
from vpp.service.api.access import OPERATOR, DeskDep
from vpp.service.api.context import Api, ApiDep
from vpp.service.api.disclosure import LEAST_SITES, OffersView, may_be_shown, offers_view, sites_of, without_names
from vpp.service.api.network_view import coordinates_of, ends_of, plan_flow
from vpp.service.api.overrides import MOST_MW
from vpp.service.api.problems import Problem, answers
from vpp.service.api.semantics import means
from vpp.service.api.views import jsonable, numbers, times
from vpp.service.flexibility_answer import answer, assets_of
from vpp.service.flexibility_place import Place, assets_at, place_faults, window_faults
from vpp.service.knowledge import gather
from vpp.service.moments import Moment
from vpp.service.orders import GAP
from vpp.service.situation import Situation
from vpp.service.stage_checks import iso
from vpp.service.yaml_files import Duration

router = APIRouter(prefix="/v1/desk", tags=["grid desk"])
Price = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=4)]


class EventRequest(BaseModel):
    """A call for `mw` of extra injection (less consumption) at a congestion point over [start, end)."""

    model_config = ConfigDict(
        extra="forbid", allow_inf_nan=False,
        json_schema_extra={
            "example": {
                "programme": "feeder-relief", "congestion_point": "feeder-9", "mw": 1.0,
                "start": "2016-07-12T15:30:00Z", "end": "2016-07-12T17:00:00Z",
                "accept_by": "2016-07-12T13:30:00Z", "price_eur_per_mwh": "240.00",
                "penalty_eur_per_mwh": "180.00", "fills_gap": ["battery-logistics"],
            }
        },
    )  # fmt: skip

    id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,60}$")
    programme: str = Field(min_length=1, max_length=80)
    congestion_point: str
    mw: float = Field(gt=0, le=MOST_MW)
    start: Moment
    end: Moment
    accept_by: Moment
    price_eur_per_mwh: Price
    penalty_eur_per_mwh: Price
    test: bool = False
    fills_gap: list[str] = Field(default=[], description="assets of ours that make up for what sites do not deliver")


class DeskEvent(BaseModel):
    """A call as the grid desk sees it. `opposite_position` names who takes the opposite energy position."""

    id: str
    version: int
    programme: str
    congestion_point: str
    element: str
    status: str
    called_at: datetime
    accept_by: datetime
    start: datetime
    end: datetime
    mw: float
    price_eur_per_mwh: Decimal
    penalty_eur_per_mwh: Decimal
    test: bool
    opposite_position: str


class DeskEventDetail(DeskEvent):
    """With the offers that may be shown, and the totals of the statement once it is settled."""

    offers: OffersView
    statement: dict[str, Decimal] | None


def _horizon_end(api: Api, now: datetime) -> datetime:
    return floor_to(now, QUARTER) + api.system.stage(INTRADAY).horizon


def _time_faults(api: Api, given: Mapping[str, Any], now: datetime) -> list[Fault]:
    start, end, accept_by = (given.get(name) for name in ("start", "end", "accept_by"))
    faults = [
        Fault("body", name, "is not on a quarter hour")
        for name, moment in (("start", start), ("end", end))
        if moment is not None and floor_to(moment, QUARTER) != moment
    ]
    if start is not None and end is not None and end <= start:
        faults.append(Fault("body", "end", "is not after start"))
    if start is not None and start <= now:
        faults.append(Fault("body", "start", "is not in the future"))
    if accept_by is not None and not now <= accept_by <= (start if start is not None else accept_by):
        faults.append(Fault("body", "accept_by", "is not between now and start"))
    if end is not None and end > (last := _horizon_end(api, now)):
        faults.append(Fault("body", "end", f"is beyond {rfc3339(last)}, the end of the running plan's fine steps"))
    return faults


def call_faults(api: Api, given: Mapping[str, Any]) -> list[Fault]:
    """Faults of the meaning of the fields in `given`, some of which may be missing."""
    portfolio = api.system.portfolio
    faults = _time_faults(api, given, api.clock())
    point = given.get("congestion_point")
    if point is not None and point not in {c.id for c in portfolio.congestion_points}:
        faults.append(Fault("body", "congestion_point", f"{point} is not known"))
    return faults + [
        Fault("body", f"fills_gap.{i}", f"{a} is no asset of the portfolio")
        for i, a in enumerate(given.get("fills_gap", ()))
        if a not in portfolio.index
    ]


def event_of(api: Api, body: EventRequest, now: datetime) -> Event:
    """The event a request describes. Raises InputFaults with all faults, a 409 problem for an id in use."""
    if faults := call_faults(api, dict(body)):
        raise InputFaults(faults)
    event_id = body.id or f"event-{uuid.uuid4().hex[:12]}"
    if event_id in {e.id for e in api.store.events.list()}:
        raise Problem(409, f"event {event_id} exists already")
    return Event(
        event_id, 1, body.programme, body.congestion_point, now, utc(body.start), utc(body.end), body.mw,
        body.price_eur_per_mwh, body.penalty_eur_per_mwh, utc(body.accept_by), test=body.test,
    )  # fmt: skip


@router.post("/events", status_code=202, summary="Call for flexibility", response_model=jobs.Accepted,
             responses=answers(401, 403, 409, 422))  # fmt: skip
@means(EventRequest, call_faults)
def call(body: EventRequest, api: ApiDep, who: DeskDep) -> Any:
    """The job's result is the event with its offers: baseline, P90, price, rebound, from network-secure plans."""
    now = api.clock()
    event = event_of(api, body, now)

    def work() -> dict[str, Any]:
        with api.lock:
            dr.make_offers(api.system, event, body.fills_gap, floor_to(now, QUARTER))
        return _detail(api, event.id).model_dump(mode="json")

    return jobs.start(api, "offers", who, body.model_dump(mode="json"), work)


def _fields(api: Api, event: Event) -> dict[str, Any]:
    portfolio = api.system.portfolio
    point = next((c for c in portfolio.congestion_points if c.id == event.congestion_point), None)
    sites = {a.site for a in portfolio.assets if point and a.bus in point.buses}
    units = [u.id for u in portfolio.trading_units if sites & set(u.sites)]
    known = {name: getattr(event, name) for name in DeskEvent.model_fields if hasattr(event, name)}
    return {**known, "status": event.status.value, "element": point.element if point else "",
            "opposite_position": ", ".join(units)}  # fmt: skip


def _detail(api: Api, event_id: str) -> DeskEventDetail:
    event = api.store.events.get(event_id)
    offers, taken = api.store.events.offers(event_id), api.store.events.acceptances(event_id)
    statement = api.store.events.statement(event_id)
    totals = {k: v for k, v in statement.totals.items() if k.startswith("vpp_")} if statement else None
    view = offers_view(api.system.portfolio, event, offers, taken)
    return DeskEventDetail(**_fields(api, event), offers=view, statement=totals)


@router.get("/events", summary="Calls", response_model=list[DeskEvent], responses=answers(401, 403))
def events(api: ApiDep, _: DeskDep) -> Any:
    """In order of their start."""
    return [DeskEvent(**_fields(api, e)) for e in api.store.events.list()]


@router.get("/events/{event_id}", summary="One call", response_model=DeskEventDetail,
            responses=answers(401, 403, 404))  # fmt: skip
def event(event_id: str, api: ApiDep, _: DeskDep) -> Any:
    """Single connections where the site's contract allows it, all others as one group of at least three sites."""
    return _detail(api, event_id)


@router.post("/events/{event_id}/order", summary="Order what was accepted", response_model=DeskEventDetail,
             responses=answers(401, 403, 404, 409))  # fmt: skip
def order(event_id: str, api: ApiDep, _: DeskDep) -> Any:
    """Closes the call. Refused (409) before accept-by while an offered site has not answered."""
    found, now = api.store.events.get(event_id), api.clock()
    if found.status is not EventStatus.OFFERED:
        raise Problem(409, f"the event is {found.status.value} and cannot be ordered")
    if now >= found.start:
        raise Problem(409, f"the event began at {rfc3339(found.start)}")
    asked = {o.site for o in api.store.events.offers(event_id)} - {GAP}
    if now < found.accept_by and asked - {a.site for a in api.store.events.acceptances(event_id)}:
        raise Problem(409, f"sites may still answer until {rfc3339(found.accept_by)}")
    with api.lock:
        dr.order(api.system, event_id, api.clock())
    return _detail(api, event_id)


@router.get("/flexibility", status_code=202, summary="Ask a node", response_model=jobs.Accepted,
            responses=answers(401, 403, 404, 409, 422))  # fmt: skip
def flexibility(
    api: ApiDep,
    who: DeskDep,
    at: Annotated[Moment, Query(description="start of the window")],
    bus: Annotated[str | None, Query(max_length=80, description="bus of the network by name or number")] = None,
    element: Annotated[str | None, Query(max_length=80, description="line or transformer to relieve")] = None,
    point: Annotated[str | None, Query(max_length=80, description="congestion point of the portfolio")] = None,
    site: Annotated[str | None, Query(max_length=80, description="site whose envelope the network leaves")] = None,
    horizon: Annotated[Duration, Query(description="quarter hours up to PT6H")] = timedelta(hours=1),
) -> Any:
    """By quarter hour what a place can inject, P and Q, against the plan, network allowing; how long, at what price.

    A place whose assets belong to fewer than three sites is answered only where their contracts allow it.
    """
    portfolio, place = api.system.portfolio, Place(bus, element, point, site)
    now, run = floor_to(api.clock(), QUARTER), api.current()
    grid = TimeGrid.between(now, _horizon_end(api, now), QUARTER)
    if faults := place_faults(place, portfolio, api.system.network) + window_faults(at, horizon, grid):
        raise InputFaults(faults)
    if run is None or not run.schedule.grid.start <= at < run.schedule.grid.end:
        raise Problem(409, "no released plan covers that time")

    def known() -> tuple[Situation, Schedule]:
        with api.lock:
            situation = gather(api.system, INTRADAY, "offer", now, scenarios=0)
        return situation, on_grid(run.schedule, situation.grid)

    if who.role != OPERATOR:
        if place.element is None:
            assets = assets_at(place, portfolio, api.system.network, None, 0)
        else:
            assets = assets_of(*known(), place, at)
        if not may_be_shown(portfolio, sites_of(portfolio, assets)):
            raise Problem(403, f"fewer than {LEAST_SITES} sites there, and not all of them may be shown alone")

    def work() -> dict[str, Any]:
        told = answer(*known(), place, at, horizon)
        return told if who.role == OPERATOR else without_names(told, portfolio)

    request = {**place.given, "at": rfc3339(at), "horizon": iso(horizon)}
    return jobs.start(api, "flexibility", who, request, work)


def on_grid(plan: Schedule, grid: TimeGrid) -> Schedule:
    """Power of a plan over another grid; zero where the plan does not reach."""
    power, q = (np.nan_to_num(grid.sample(plan.grid, v)) for v in (plan.power_mw, plan.q_mvar))
    return replace(plan, grid=grid, power_mw=power, q_mvar=q, commitment={}, stored_mwh={}, decisions={},
                   marginal_value={})  # fmt: skip


@router.get("/network", summary="The network under the plan", responses=answers(401, 403, 404))
def network(api: ApiDep, _: DeskDep) -> dict[str, Any]:
    """Buses, rated elements, loading and voltage of the plan in force by step, and its certificate's worst element."""
    run = api.current()
    if api.system.network is None or run is None:
        raise NotFound("network model" if api.system.network is None else "released plan")
    model, flow = api.system.network, plan_flow(api, run)
    ends, where = ends_of(model), coordinates_of(model)
    worst = run.certificate.worst if run.certificate else None
    return {
        "run": run.id, "verdict": run.certificate.verdict if run.certificate else None, "worst": jsonable(worst),
        "times": times(flow.grid) if flow else [],
        "buses": [_bus(b, where, None if flow is None else flow.vm_pu[0, :, i]) for i, b in enumerate(model.buses)],
        "elements": [
            {"name": name, "ends": list(ends[name]) if name in ends else None,
             "loading_pct": None if flow is None else numbers(flow.loading_pct[0, :, i])}
            for i, name in enumerate(model.elements)
        ],
    }  # fmt: skip


def _bus(number: int, where: Mapping[int, tuple[float, float]], vm_pu: Any) -> dict[str, Any]:
    return {
        "number": number, "position": list(where[number]) if number in where else None,
        "vm_pu": None if vm_pu is None else numbers(vm_pu),
    }  # fmt: skip
