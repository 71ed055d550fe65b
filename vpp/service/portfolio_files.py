"""The files of a portfolio folder, entry by entry. Durations are ISO 8601, times RFC 3339."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from forecasting.local_holidays import holidays_of
from vpp.domain.portfolio import Control
from vpp.domain.stage import DAY_AHEAD, INTRADAY, REAL_TIME
from vpp.domain.time import QUARTER, floor_to
from vpp.service.moments import Moment, WallTime
from vpp.service.yaml_files import Duration, Edge

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9:._-]*$", max_length=64)]
RESERVED_SITE = "storage"
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Number = Annotated[int, Field(ge=0, le=10**9)]
"""Of a bus, line or switch."""


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("unknown time zone") from None
    return name


def _known_country(code: str | None) -> str | None:
    try:
        holidays_of(code or "")
    except NotImplementedError:
        raise ValueError("no country whose public holidays are known, such as DE") from None
    return code


@cache
def country_of(zone: str) -> str:
    """ISO 3166 code of the country that the IANA zone table names for `zone`; empty for one of none, such as UTC.

    Empty too for a country whose public holidays are not known, and for names that the table no longer lists.
    """
    rows = (r.split("\t") for r in files("tzdata.zoneinfo").joinpath("zone.tab").read_text("utf-8").splitlines())
    code = next((row[0] for row in rows if row[2:3] == [zone]), "")
    try:
        holidays_of(code)
    except NotImplementedError:
        return ""
    return code


class Location(Edge):
    latitude: float = Field(ge=-90.0, le=90.0)
    longitude: float = Field(ge=-180.0, le=180.0)


class Response(Edge):
    """How faithfully people answer in the virtual plant: spread of price-takers, least share of a request."""

    price_taker_sigma: float = Field(default=0.15, ge=0.0, le=1.0)
    request_share_low: Share = 0.8


class Header(Edge):
    """portfolio.yaml without its lists. Where `holidays` names no country, the one that `zone` lies in counts."""

    id: Id
    name: str
    zone: str
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    location: Location
    response: Response = Response()
    holidays: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None

    _zone = field_validator("zone")(_known_zone)
    _country = field_validator("holidays")(_known_country)

    @property
    def country(self) -> str:
        """ISO 3166 code of the country whose public holidays count; empty for none."""
        return self.holidays or country_of(self.zone)


class SeriesFile(Edge):
    """A series of our own: `file` relative to the portfolio folder, wall time of `zone`, means in MW.

    A site younger than a month is forecast by the series of its `kind` too; with an `upper_mw` as its rated power
    its file needs no value yet.
    """

    id: Id
    file: str
    zone: str
    unit: Literal["MW"]
    upper_mw: float | None = Field(default=None, gt=0.0)
    kind: Literal["pv", "wind", "load"] | None = None

    _zone = field_validator("zone")(_known_zone)


class SiteFile(Edge):
    id: Id
    name: str
    show_single: bool = False

    @field_validator("id")
    @classmethod
    def _not_reserved(cls, value: str) -> str:
        if value == RESERVED_SITE:
            raise ValueError("is reserved for the assets that fill the gap of an event")
        return value


class MeteringPointFile(Edge):
    id: Id
    site: str


class InputFile(Edge):
    """`series` or `hourly` (24 values by local hour), times `scale`."""

    scale: float = 1.0
    series: str | None = None
    hourly: Annotated[tuple[float, ...], Field(min_length=24, max_length=24)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.series is None) == (self.hourly is None):
            raise ValueError("exactly one of series and hourly is needed")
        return self


class InitialFile(Edge):
    """State of an asset when nothing was ever read from it."""

    power_mw: float = 0.0
    stored_mwh: float = 0.0
    on: bool = False
    minutes_in_state: int = Field(default=1_000_000, ge=0, le=10**9)


class AssetFile(Edge):
    id: Id
    kind: str
    site: str
    metering_point: str
    node: str
    bus: Number | None = None
    params: dict[str, Any]
    notice: Duration = Field(default=timedelta(), ge=timedelta())
    control: Control | None = None
    device: str | None = None
    tan_phi: float = Field(default=0.0, ge=-2.0, le=2.0)
    inverter_mva: float = Field(default=0.0, ge=0.0, le=1e4)
    inputs: dict[str, InputFile] = Field(default_factory=dict)
    initial: InitialFile = InitialFile()


class TradingUnitFile(Edge):
    id: Id
    node: str
    sites: tuple[str, ...] = Field(min_length=1)


class CongestionPointFile(Edge):
    id: Id
    name: str
    buses: tuple[Number, ...] = Field(min_length=1)
    element: str


class OutageFile(Edge):
    id: Id
    start: Moment
    end: Moment
    lines_out: tuple[Number, ...] = ()
    switches: dict[Number, bool] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start >= self.end:
            raise ValueError("start does not lie before end")
        return self


class StageFile(Edge):
    step: Duration
    horizon: Duration
    every: Duration
    commits: Duration
    deadline: Duration
    tail_step: Duration | None = None

    @field_validator("step", "horizon", "every", "commits", "deadline", "tail_step")
    @classmethod
    def _positive(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and value <= timedelta():
            raise ValueError("must be longer than zero")
        return value


class StagesFile(Edge):
    """stages.yaml: `issue` is the local time at which the day-ahead run of the next day starts."""

    release: Literal["auto", "manual"]
    issue: WallTime
    day_ahead: StageFile
    intraday: StageFile
    real_time: StageFile

    def named(self) -> tuple[tuple[str, StageFile], ...]:
        return (DAY_AHEAD, self.day_ahead), (INTRADAY, self.intraday), (REAL_TIME, self.real_time)


class AnswerFile(Edge):
    """What a site of the virtual world answers to a call: the share it accepts, and when it stops."""

    site: str
    share: Share = 1.0
    stops_at: Moment | None = None
    reason: str = ""


class EventFile(Edge):
    """A demand-response call; `fills_gap` are the assets that make up for what sites do not deliver."""

    id: Id
    version: int = Field(default=1, ge=1, le=10**6)
    programme: str
    congestion_point: str
    called_at: Moment
    accept_by: Moment
    start: Moment
    end: Moment
    mw: float = Field(gt=0.0, le=100_000.0)
    price_eur_per_mwh: Decimal = Field(ge=0)
    penalty_eur_per_mwh: Decimal = Field(ge=0)
    test: bool = False
    answers: tuple[AnswerFile, ...] = ()
    fills_gap: tuple[str, ...] = ()

    @field_validator("start", "end")
    @classmethod
    def _on_quarters(cls, value: Moment) -> Moment:
        if floor_to(value, QUARTER) != value:
            raise ValueError("is not on a quarter hour")
        return value

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.called_at <= self.accept_by <= self.start < self.end:
            raise ValueError("must be called, then accepted, then start, then end")
        for answer in self.answers:
            if answer.stops_at is not None and not self.start <= answer.stops_at < self.end:
                raise ValueError(f"{answer.site} stops outside the event")
        return self
