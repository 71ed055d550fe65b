"""What an operator watches: assets, commands, alarms, events."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from vpp.domain.portfolio import Asset, AssetState, Portfolio
from vpp.service.api.access import OperatorDep
from vpp.service.api.bounds import reach_mw, store_mwh
from vpp.service.api.context import ApiDep
from vpp.service.api.problems import answers
from vpp.service.api.views import jsonable
from vpp.service.statements import report

router = APIRouter(prefix="/v1", tags=["operations"])
LARGEST = 2**63 - 1


class AssetModel(BaseModel):
    """An asset and its last known state; `reach_mw` is what its injection can be at all."""

    id: str
    kind: str
    site: str
    metering_point: str
    node: str
    bus: int | None
    control: str
    notice_minutes: int
    reach_mw: tuple[float, float] | None
    store_mwh: float | None
    power_mw: float
    stored_mwh: float
    on: bool
    available: bool
    state_at: datetime


class AlarmModel(BaseModel):
    """`count` is how often it was raised since `raised_at`."""

    number: int
    code: str
    severity: str
    message: str
    run_id: str | None
    raised_at: datetime
    last_at: datetime
    count: int
    acked_by: str | None
    acked_at: datetime | None


class CommandModel(BaseModel):
    """One set-point and what became of it."""

    id: str
    asset: str
    quantity: str
    value: float
    issued_at: datetime
    valid_from: datetime
    valid_until: datetime
    run: str
    epoch: int
    sequence: int
    status: str
    attempts: int
    done_at: datetime | None
    readback: float | None
    reason: str


class Commands(BaseModel):
    """`counts.sent` is the sum of acked, expired, superseded, rejected and lost."""

    counts: dict[str, int]
    recent: list[CommandModel]


def asset_model(asset: Asset, state: AssetState, portfolio: Portfolio) -> AssetModel:
    """An asset beside its state."""
    return AssetModel(
        id=asset.id, kind=asset.kind, site=asset.site, metering_point=asset.metering_point, node=asset.node,
        bus=asset.bus, control=asset.control, notice_minutes=int(asset.notice.total_seconds() // 60),
        reach_mw=reach_mw(asset), store_mwh=store_mwh(asset, portfolio), power_mw=state.power_mw,
        stored_mwh=state.stored_mwh, on=state.on, available=state.available, state_at=state.at,
    )  # fmt: skip


@router.get("/assets", summary="Assets and their states", response_model=list[AssetModel], responses=answers(401, 403))
def assets(api: ApiDep, _: OperatorDep) -> Any:
    """Every asset in portfolio order."""
    with api.lock:
        states = api.system.states(api.clock())
    portfolio = api.system.portfolio
    return [asset_model(a, states[a.id], portfolio) for a in portfolio.assets]


@router.get("/commands", summary="Commands", response_model=Commands, responses=answers(401, 403, 422))
def commands(
    api: ApiDep,
    _: OperatorDep,
    limit: Annotated[int, Query(ge=0, le=1000)] = 100,
    asset: Annotated[str | None, Query(description="only this asset")] = None,
) -> Any:
    """Counts by outcome, and the newest commands first."""
    recent = []
    for r in api.store.commands.recent(limit, asset):
        s = r.setpoint
        recent.append(
            CommandModel(
                id=s.id, asset=s.asset_id, quantity=s.quantity, value=s.value, issued_at=s.issued_at,
                valid_from=s.valid_from, valid_until=s.valid_until, run=s.run_id, epoch=s.epoch, sequence=s.sequence,
                status=r.status.value, attempts=r.attempts, done_at=r.done_at, readback=r.readback, reason=r.reason,
            )
        )  # fmt: skip
    return Commands(counts=api.store.commands.counts(), recent=recent)


@router.get("/alarms", summary="Alarms", response_model=list[AlarmModel], responses=answers(401, 403, 422))
def alarms(
    api: ApiDep, _: OperatorDep, open_only: bool = True, limit: Annotated[int, Query(ge=1, le=1000)] = 200
) -> Any:
    """The newest first; those nobody acknowledged unless asked for all."""
    return [AlarmModel(**vars(a)) for a in api.store.alarms.list(open_only, limit)]


@router.post("/alarms/{number}/ack", status_code=204, summary="Acknowledge an alarm",
             responses=answers(401, 403, 404, 422))  # fmt: skip
def acknowledge(number: Annotated[int, Path(ge=0, le=LARGEST)], api: ApiDep, who: OperatorDep) -> None:
    """With the key that did it."""
    api.store.alarms.ack(number, who.key_id, api.clock())


@router.get("/events", summary="Demand-response events", responses=answers(401, 403))
def events(api: ApiDep, _: OperatorDep) -> list[dict[str, Any]]:
    """The newest version of each."""
    return [jsonable(e) for e in api.store.events.list()]


@router.get("/events/{event_id}", summary="Everything about one event", responses=answers(401, 403, 404))
def event(event_id: str, api: ApiDep, _: OperatorDep) -> dict[str, Any]:
    """Offers, answers and, once settled, baselines with the meter rows they use and both statements."""
    found: dict[str, Any] = jsonable(report(api.store, api.system.portfolio, event_id))
    sites = [o.site for o in api.store.events.offers(event_id)]
    disputes = {site: api.store.settings.get(dispute_key(event_id, site)) for site in sites}
    return {**found, "disputes": {site: d for site, d in disputes.items() if d}}


def dispute_key(event_id: str, site: str) -> str:
    """Where a site's dispute of an event is kept."""
    return f"dispute:{event_id}:{site}"
