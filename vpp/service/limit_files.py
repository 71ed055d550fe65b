"""limits.yaml: who sends limits, for which connections and groups, what holds without them, and what was sent.

Limits that arrive while the service runs come through the API and have the same fields (see `api/limits.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from vpp.domain.envelope import Envelope, Interval, Issuer, Place, ReceivedLimits
from vpp.domain.errors import Fault
from vpp.domain.portfolio import Asset, Portfolio
from vpp.domain.time import utc
from vpp.service.moments import Moment
from vpp.service.portfolio_files import Id
from vpp.service.yaml_files import Edge, items, raw_ids

FILE = "limits.yaml"
MOST_MW, MOST_INTERVALS, MOST_REVISION = 100_000.0, 10_000, 10**6
Limit = Annotated[float, Field(ge=0.0, le=MOST_MW)]
Revision = Annotated[int, Field(ge=1, le=MOST_REVISION)]


class PlaceOf(Edge):
    """What lies behind a connection or a group: everything of these, together."""

    sites: tuple[str, ...] = ()
    metering_points: tuple[str, ...] = ()
    trading_units: tuple[str, ...] = ()
    congestion_points: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not any(getattr(self, scope) for scope in SCOPES):
            raise ValueError("names nobody")
        return self


SCOPES = tuple(PlaceOf.model_fields)


class PlaceFile(Edge):
    """A connection or group by its issuer's name, with the limits that hold where no envelope does."""

    id: Id
    of: PlaceOf
    import_mw: Limit
    export_mw: Limit


class IssuerFile(Edge):
    id: Id
    name: Annotated[str, Field(min_length=1, max_length=200)]
    places: tuple[PlaceFile, ...] = Field(min_length=1)


class IntervalFile(Edge):
    """Positive MW over [start, end); a side left out is left to other envelopes and to the default."""

    start: Moment
    end: Moment
    import_mw: Limit | None = None
    export_mw: Limit | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.start >= self.end:
            raise ValueError("start does not lie before end")
        if self.import_mw is None and self.export_mw is None:
            raise ValueError("neither import_mw nor export_mw is given")
        return self

    @property
    def interval(self) -> Interval:
        return Interval(utc(self.start), utc(self.end), self.import_mw, self.export_mw)


class EnvelopeFile(Edge):
    """One message; runs before `received_at` do not know it. One without intervals withdraws its id."""

    id: Id
    revision: Revision = 1
    issuer: Id
    place: Id
    received_at: Moment
    intervals: tuple[IntervalFile, ...] = Field(default=(), max_length=MOST_INTERVALS)

    @property
    def envelope(self) -> Envelope:
        intervals = tuple(i.interval for i in self.intervals)
        return Envelope(self.id, self.revision, self.issuer, self.place, utc(self.received_at), intervals)


def read_limits(
    raw: Mapping[str, Any],
    lists: Mapping[str, Any] | None,
    portfolio: Portfolio | None,
    contracts: Collection[str],
    faults: list[Fault],
) -> ReceivedLimits:
    """The file's mapping `raw` for `portfolio`; what it names is looked up in the raw `lists` of portfolio.yaml.

    Everything wrong with it joins `faults`; `contracts` are ids that are taken.
    """
    faults += [Fault(FILE, key, "unknown field") for key in raw.keys() - {"issuers", "envelopes"}]
    issuers = items(IssuerFile, raw.get("issuers"), "issuers", FILE, faults)
    sent = items_by_revision(raw.get("envelopes"), faults)
    if raw and not raw.get("issuers"):
        faults.append(Fault(FILE, "issuers", "is missing"))
    faults += _place_faults(issuers, lists, contracts)
    entries = raw.get("issuers")
    if isinstance(entries, list) and len(issuers) == len(entries):
        faults += [f for e in sent for f in envelope_faults(e, issuers)]
    assets = portfolio.assets if portfolio else ()
    places = tuple(_place(i, p, portfolio, assets) for i in issuers for p in i.places)
    if portfolio is not None and lists is not None and len(assets) == len(raw_ids(lists.get("assets"))):
        faults += [Fault(p.id, "of", "binds no asset") for p in places if not p.assets]
    return ReceivedLimits(tuple(Issuer(i.id, i.name) for i in issuers), places, tuple(e.envelope for e in sent))


def items_by_revision(raw: object, faults: list[Fault]) -> list[EnvelopeFile]:
    """The valid envelopes; an id may come back, with another revision."""
    if not isinstance(raw, list):
        return items(EnvelopeFile, raw, "envelopes", FILE, faults)
    found: list[EnvelopeFile] = []
    for entry in raw:
        found += items(EnvelopeFile, [entry], "envelopes", FILE, faults)
    seen: set[tuple[str, str, int]] = set()
    for e in found:
        if (key := (e.issuer, e.id, e.revision)) in seen:
            faults.append(Fault(e.id, "revision", f"{e.revision} of {e.issuer} is given twice"))
        seen.add(key)
    return found


def envelope_faults(e: EnvelopeFile, issuers: Sequence[IssuerFile]) -> list[Fault]:
    """Faults of the issuer and the place that an envelope names."""
    issuer = next((i for i in issuers if i.id == e.issuer), None)
    if issuer is None:
        return [Fault(e.id, "issuer", f"unknown issuer {e.issuer}")]
    if e.place not in {p.id for p in issuer.places}:
        return [Fault(e.id, "place", f"{e.issuer} states no default limits for {e.place}")]
    return []


def _place_faults(
    issuers: Sequence[IssuerFile], lists: Mapping[str, Any] | None, contracts: Collection[str]
) -> Iterator[Fault]:
    """Ids that are taken, and names that the portfolio does not have."""
    known = {scope: raw_ids(lists.get(scope)) if lists is not None else set() for scope in SCOPES}
    seen = {*contracts, *known["assets"]}
    for place in (p for issuer in issuers for p in issuer.places):
        if place.id in seen:
            yield Fault(place.id, "id", "is taken by another place, a contract or an asset")
        seen.add(place.id)
        for scope in SCOPES if lists is not None else ():
            for name in getattr(place.of, scope):
                if name not in known[scope]:
                    yield Fault(place.id, f"of.{scope}", f"unknown {scope[:-1].replace('_', ' ')} {name}")


def _place(issuer: IssuerFile, given: PlaceFile, portfolio: Portfolio | None, assets: Sequence[Asset]) -> Place:
    """The place with its assets in the portfolio's order; those of a congestion point are at its buses."""
    of = given.of
    units = portfolio.trading_units if portfolio else ()
    points = portfolio.congestion_points if portfolio else ()
    sites = {*of.sites, *(s for u in units if u.id in of.trading_units for s in u.sites)}
    buses = {bus for p in points if p.id in of.congestion_points for bus in p.buses}
    members = tuple(
        a.id for a in assets
        if a.site in sites or a.metering_point in of.metering_points or a.id in of.assets or a.bus in buses
    )  # fmt: skip
    return Place(given.id, issuer.id, members, given.import_mw, given.export_mw)
