"""Positions, bids and forecasts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from vpp.domain.errors import Fault, InputFaults, NotFound
from vpp.domain.forecast import Forecast
from vpp.domain.time import local_midnight, rfc3339, utc
from vpp.service.api.access import OperatorDep
from vpp.service.api.context import Api, ApiDep
from vpp.service.api.problems import answers
from vpp.service.api.views import numbers, times
from vpp.service.moments import Moment

router = APIRouter(prefix="/v1", tags=["trade"])


class PositionModel(BaseModel):
    """Firm net injection of one interval."""

    unit: str
    product: str
    start: datetime
    end: datetime
    mw: float
    price_eur_per_mwh: float
    gate: datetime
    firm: bool


class BidModel(BaseModel):
    """Price-quantity curves: at a price of at least price_eur_per_mwh[k][t], sell mw[k][t]; lists over `times`."""

    id: str
    unit: str
    product: str
    gate: datetime
    issued_at: datetime
    times: list[str]
    price_eur_per_mwh: list[list[float | None]]
    mw: list[list[float | None]]


class ForecastModel(BaseModel):
    """Quantiles by level over `times`, in the unit of the series; `source` is the model that made it."""

    series: str
    issued_at: datetime
    source: str
    times: list[str]
    expected: list[float | None]
    quantiles: dict[str, list[float | None]]


def period(
    api: ApiDep,
    start: Annotated[Moment | None, Query(description="default: the local day's first instant")] = None,
    end: Annotated[Moment | None, Query(description="default: two days after start")] = None,
) -> tuple[datetime, datetime]:
    """[start, end). Raises InputFaults where it is empty."""
    zone = api.system.portfolio.zone
    first = utc(start) if start else local_midnight(api.clock().astimezone(ZoneInfo(zone)).date(), zone)
    last = utc(end) if end else first + timedelta(days=2)
    if last <= first:
        raise InputFaults([Fault("query", "end", "is not after start")])
    return first, last


Period = Annotated[tuple[datetime, datetime], Depends(period)]


def chosen_units(api: Api, unit: str | None) -> list[str]:
    """The unit asked for, or all. Raises NotFound."""
    known = [u.id for u in api.system.portfolio.trading_units]
    if unit is not None and unit not in known:
        raise NotFound(f"trading unit {unit}")
    return [unit] if unit else known


@router.get("/positions", summary="Firm positions", response_model=list[PositionModel],
            responses=answers(401, 403, 404, 422))  # fmt: skip
def positions(api: ApiDep, _: OperatorDep, span: Period, unit: str | None = None) -> Any:
    """Of every trading unit, in order of time."""
    found = [p for u in chosen_units(api, unit) for p in api.store.market.positions(u, *span)]
    return [PositionModel(**vars(p)) for p in found]


@router.get("/bids", summary="Bids", response_model=list[BidModel], responses=answers(401, 403, 404, 422))
def bids(api: ApiDep, _: OperatorDep, span: Period, unit: str | None = None) -> Any:
    """Every bid that overlaps the period."""
    return [
        BidModel(
            id=b.id, unit=b.unit, product=b.product, gate=b.gate, issued_at=b.issued_at, times=times(b.grid),
            price_eur_per_mwh=[numbers(row) for row in b.price_eur_per_mwh], mw=[numbers(row) for row in b.mw],
        )
        for u in chosen_units(api, unit)
        for b in api.store.market.bids(u, *span)
    ]  # fmt: skip


def _last_forecast(api: Api) -> Forecast:
    with api.lock:
        found = api.system.last_forecast
    if found is None:
        raise NotFound("forecast yet")
    return found


@router.get("/forecasts", summary="Forecast series", responses=answers(401, 403, 404))
def forecasts(api: ApiDep, _: OperatorDep) -> dict[str, Any]:
    """Every series of the last forecast and the model that made it ("naive" where none is trained yet)."""
    found = _last_forecast(api)
    return {
        "issued_at": rfc3339(found.issued_at), "start": rfc3339(found.grid.start), "end": rfc3339(found.grid.end),
        "source": dict(zip(found.series, found.source, strict=True)),
    }  # fmt: skip


@router.get("/forecasts/{series:path}", summary="One forecast", response_model=ForecastModel,
            responses=answers(401, 403, 404))  # fmt: skip
def forecast(series: str, api: ApiDep, _: OperatorDep) -> Any:
    """Quantiles of the last forecast of a series."""
    found = _last_forecast(api)
    if series not in found.index:
        raise NotFound(f"series {series} in the last forecast")
    row = found.index[series]
    return ForecastModel(
        series=series, issued_at=found.issued_at, source=found.source[row], times=times(found.grid),
        expected=numbers(found.expected[row]),
        quantiles={f"{level:g}": numbers(found.quantiles[row, i]) for i, level in enumerate(found.levels)},
    )  # fmt: skip
