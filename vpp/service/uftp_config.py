"""`uftp.yaml` of a portfolio: who we are, which grid operators we trade with, at which points, on which terms.

The signing key is never in the file: it names an environment variable, or a file beside the portfolio.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from adapters.uftp.envelope import key_fault
from adapters.uftp.reading import Names
from vpp.domain.errors import Fault, InputFaults
from vpp.domain.portfolio import Asset, Portfolio
from vpp.service.api.disclosure import LEAST_SITES, may_be_shown
from vpp.service.yaml_files import Duration, Edge, read_mapping, validated

FILE = "uftp.yaml"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
ZONES = ("Africa/", "America/", "Australia/", "Europe/", "Pacific/")
Domain = Annotated[str, Field(pattern=r"^([a-z0-9]+(-[a-z0-9]+)*\.)+[a-z]{2,}$", max_length=253)]
Address = Annotated[str, Field(pattern=r"^(ea1\.[0-9]{4}-[0-9]{2}\..{1,244}:.{1,244}|ean\.[0-9]{12,34})$")]
Price = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=4)]


class SigningKey(Edge):
    """Where the private key is: base64 of 64 bytes."""

    env: str | None = None
    file: Path | None = None

    @model_validator(mode="after")
    def _one(self) -> SigningKey:
        if (self.env is None) == (self.file is None):
            raise ValueError("needs either env or file")
        return self


class Operator(Edge):
    """A grid operator: its domain, key and endpoint, its entity address of each of our congestion points, and what a
    MWh that was ordered and not delivered costs."""

    domain: Domain
    public_key: str
    endpoint: str
    congestion_points: dict[str, Address] = Field(min_length=1)
    penalty_eur_per_mwh: Price


class OfferTerms(Edge):
    """How offers are made.

    `share` of what is feasible is offered, the rest is for what the forecast misses; the price is the cost and
    `margin` of it, at least `least_eur_per_mwh`; an offer holds for `valid_for`, and powers are whole `step_kw`.
    """

    valid_for: Duration = timedelta(hours=1)
    share: float = Field(default=0.9, gt=0.0, le=1.0)
    margin: float = Field(default=0.1, ge=0.0, le=10.0)
    least_eur_per_mwh: Price = Decimal("50")
    step_kw: float = Field(default=1.0, gt=0.0, le=1000.0)


class SettlementTerms(Edge):
    """How far a settlement item may be from our own figures before it is disputed."""

    tolerance_kw: float = Field(default=1.0, ge=0.0, le=1000.0)
    tolerance_eur: Price = Decimal("0.01")


class UftpFile(Edge):
    """The whole file. A message that cannot be delivered is tried again for `deliver_for`."""

    domain: Domain
    signing_key: SigningKey
    operators: tuple[Operator, ...]
    offers: OfferTerms = OfferTerms()
    settlement: SettlementTerms = SettlementTerms()
    deliver_for: Duration = timedelta(hours=2)

    @field_validator("operators")
    @classmethod
    def _somebody(cls, value: tuple[Operator, ...]) -> tuple[Operator, ...]:
        if not value:
            raise ValueError("names nobody")
        return value


@dataclass(frozen=True)
class UftpConfig:
    """The checked file, with the key itself and the group of assets at each congestion point."""

    file: UftpFile
    signing_key: str
    zone: str
    currency: str
    groups: Mapping[str, tuple[Asset, ...]]

    def operator(self, domain: str) -> Operator:
        """Raises StopIteration for a domain that is no participant."""
        return next(o for o in self.file.operators if o.domain == domain)

    def names(self, domain: str) -> Names:
        """What we and the grid operator of `domain` have agreed on."""
        return Names(self.file.domain, self.zone, self.operator(domain).congestion_points)

    @property
    def keys(self) -> Mapping[str, str]:
        """The public key of each grid operator."""
        return {o.domain: o.public_key for o in self.file.operators}

    @property
    def endpoints(self) -> Mapping[str, str]:
        """Where each grid operator listens."""
        return {o.domain: o.endpoint for o in self.file.operators}


def load_uftp(path: Path, portfolio: Portfolio, environ: Mapping[str, str]) -> UftpConfig:
    """The uftp.yaml at `path`. Raises InputFaults with every fault of it."""
    faults: list[Fault] = []
    raw = read_mapping(path, faults)
    file = validated(UftpFile, raw, FILE, faults) if raw is not None else None
    if file is None:
        raise InputFaults(faults)
    key = _key(file.signing_key, path.parent, environ, faults)
    groups = {point: group_of(portfolio, point) for o in file.operators for point in o.congestion_points}
    faults += [*_operator_faults(file, portfolio), *_group_faults(groups, portfolio)]
    if not portfolio.zone.startswith(ZONES):
        faults.append(Fault("portfolio.yaml", "zone", f"UFTP knows no {portfolio.zone}"))
    if faults:
        raise InputFaults(list(dict.fromkeys(faults)))
    return UftpConfig(file, key, portfolio.zone, portfolio.currency, groups)


def group_of(portfolio: Portfolio, congestion_point: str) -> tuple[Asset, ...]:
    """Everything of ours at the buses of a congestion point, what nobody controls included."""
    buses = {b for c in portfolio.congestion_points if c.id == congestion_point for b in c.buses}
    return tuple(a for a in portfolio.assets if a.bus in buses)


def _key(where: SigningKey, directory: Path, environ: Mapping[str, str], faults: list[Fault]) -> str:
    if where.env is not None:
        text, named = environ.get(where.env, ""), f"signing_key.env {where.env}"
    else:
        assert where.file is not None
        path, named = directory / where.file, f"signing_key.file {where.file}"
        try:
            text = path.read_text()
        except OSError as why:
            faults.append(Fault(FILE, named, f"cannot be read: {why.strerror}"))
            return ""
    if not text.strip():
        faults.append(Fault(FILE, named, "is not set"))
    elif (reason := key_fault(text.strip(), private=True)) is not None:
        faults.append(Fault(FILE, named, reason))
    return text.strip()


def _operator_faults(file: UftpFile, portfolio: Portfolio) -> Iterator[Fault]:
    known, sold, domains = {c.id for c in portfolio.congestion_points}, set[str](), set[str]()
    for k, operator in enumerate(file.operators):
        at = f"operators.{k}"
        if operator.domain in domains or operator.domain == file.domain:
            yield Fault(FILE, f"{at}.domain", f"{operator.domain} is named twice")
        domains.add(operator.domain)
        if (reason := key_fault(operator.public_key)) is not None:
            yield Fault(FILE, f"{at}.public_key", reason)
        url = urlsplit(operator.endpoint)
        if not url.hostname or url.scheme not in (("http", "https") if url.hostname in LOOPBACK else ("https",)):
            yield Fault(FILE, f"{at}.endpoint", "must be an https URL, http only on this machine")
        for point in operator.congestion_points:
            if point not in known:
                yield Fault(FILE, f"{at}.congestion_points.{point}", "is no congestion point of the portfolio")
            if point in sold:
                yield Fault(FILE, f"{at}.congestion_points.{point}", "is traded with two grid operators")
            sold.add(point)
        if len(set(operator.congestion_points.values())) < len(operator.congestion_points):
            yield Fault(FILE, f"{at}.congestion_points", "two of them have one address")


def _group_faults(groups: Mapping[str, tuple[Asset, ...]], portfolio: Portfolio) -> Iterator[Fault]:
    """A point that cannot be metered by itself cannot be settled, one of a single customer may not be told."""
    for point, assets in groups.items():
        sites = {a.site for a in assets}
        if assets and not may_be_shown(portfolio, sites):
            reason = f"has fewer than {LEAST_SITES} sites, and not all of them may be shown alone"
            yield Fault(FILE, f"congestion_points.{point}", reason)
        if not assets and point in {c.id for c in portfolio.congestion_points}:
            yield Fault(FILE, f"congestion_points.{point}", "has no asset at its buses")
        meters, inside = {a.metering_point for a in assets}, {a.id for a in assets}
        for other in (a for a in portfolio.assets if a.metering_point in meters and a.id not in inside):
            reason = f"shares the meter {other.metering_point} with {other.id}, which is not at the point"
            yield Fault(FILE, f"congestion_points.{point}", reason)
