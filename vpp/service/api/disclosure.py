"""What a grid desk may see of offers: single connections whose contract allows it, else groups of at least three sites.

Everything that may not be shown alone is one group; a group of fewer sites is withheld, and said so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from pydantic import BaseModel

from vpp.domain.market import Acceptance, Event, FlexibilityOffer
from vpp.domain.portfolio import Portfolio
from vpp.domain.time import Array
from vpp.service.api.views import numbers, times

LEAST_SITES = 3


class OfferView(BaseModel):
    """One connection, or a group of `sites` connections; MW of injection above baseline over `times`."""

    connection: str | None
    sites: int
    buses: list[int]
    times: list[str]
    mw: list[float | None]
    p90_mw: list[float | None]
    accepted_mw: list[float | None] | None
    baseline_mw: list[float | None]
    baseline_method: str
    rebound_times: list[str]
    rebound_mw: list[float | None]
    notice_minutes: int
    price_eur_per_mwh: Decimal


class OffersView(BaseModel):
    """`withheld_sites` offered something that may not be shown: fewer than three sites would be in the group."""

    offers: list[OfferView]
    withheld_sites: int
    note: str


@dataclass(frozen=True)
class Disclosure:
    """Offers that may be shown alone, those shown as one group, and those withheld."""

    single: tuple[FlexibilityOffer, ...]
    group: tuple[FlexibilityOffer, ...]
    withheld: tuple[FlexibilityOffer, ...]


def sites_of(portfolio: Portfolio, assets: Sequence[str]) -> set[str]:
    return {portfolio.asset(a).site for a in assets}


def may_be_shown(portfolio: Portfolio, sites: set[str]) -> bool:
    """Whether an answer about exactly these sites may be shown."""
    single = {s.id for s in portfolio.sites if s.show_single}
    return sites <= single or len(sites) >= LEAST_SITES


def without_names(told: Mapping[str, Any], portfolio: Portfolio) -> dict[str, Any]:
    """An answer about flexibility as a grid desk sees it: what tells sites apart only where all of them may be shown.

    Else assets are not named, and what comes back is one sum over all buses. Who takes the opposite position is told
    of units with three sites or more.
    """
    opposite = [u for u in told["opposite"] if u["sites"] >= LEAST_SITES]
    single = {s.id for s in portfolio.sites if s.show_single}
    if sites_of(portfolio, told["assets"]) <= single:
        return {**told, "opposite": opposite}
    rebound = {side: _summed(one) if isinstance(one, dict) else one for side, one in told["rebound"].items()}
    hidden: dict[str, Any] = {"assets": [], "held_to_plan": {}, "switching": []}
    return {**told, **hidden, "rebound": rebound, "opposite": opposite}


def _summed(rebound: Mapping[str, Any]) -> dict[str, Any]:
    rows = list(rebound["mw_by_bus"].values())
    return {**rebound, "mw_by_bus": {"all": np.sum(rows, axis=0).tolist()} if rows else {}}


def disclose(portfolio: Portfolio, offers: Sequence[FlexibilityOffer]) -> Disclosure:
    """Sort offers by what may be shown of them."""
    visible = {s.id for s in portfolio.sites if s.show_single}
    single = tuple(o for o in offers if sites_of(portfolio, o.assets) <= visible)
    rest = tuple(o for o in offers if not sites_of(portfolio, o.assets) <= visible)
    members = _members(portfolio, rest)
    enough = len(members) >= LEAST_SITES
    return Disclosure(single, rest if enough else (), () if enough else rest)


def _members(portfolio: Portfolio, offers: Sequence[FlexibilityOffer]) -> set[str]:
    return {site for o in offers for site in sites_of(portfolio, o.assets)}


def offers_view(
    portfolio: Portfolio, event: Event, offers: Sequence[FlexibilityOffer], taken: Sequence[Acceptance]
) -> OffersView:
    """The offers of one event as a grid desk sees them."""
    found = disclose(portfolio, offers)
    accepted = {a.site: a.mw for a in taken if a.withdrawn_at is None}
    shown = [_view(portfolio, event, (o,), accepted, o.site) for o in found.single]
    if found.group:
        shown.append(_view(portfolio, event, found.group, accepted, None))
    hidden = _members(portfolio, found.withheld)
    note = f"{len(hidden)} sites are withheld: fewer than {LEAST_SITES} would be in the group" if hidden else ""
    return OffersView(offers=shown, withheld_sites=len(hidden), note=note)


def _view(
    portfolio: Portfolio,
    event: Event,
    offers: Sequence[FlexibilityOffer],
    accepted: dict[str, Array],
    connection: str | None,
) -> OfferView:
    first = offers[0]
    assets = [a for o in offers for a in o.assets]
    answered = [accepted[o.site] for o in offers if o.site in accepted]
    return OfferView(
        connection=connection, sites=len(sites_of(portfolio, assets)),
        buses=sorted({b for a in assets if (b := portfolio.asset(a).bus) is not None}),
        times=times(first.grid), mw=numbers(np.sum([o.mw for o in offers], axis=0)),
        p90_mw=numbers(np.sum([o.p90_mw for o in offers], axis=0)),
        accepted_mw=numbers(np.sum(answered, axis=0)) if answered else None,
        baseline_mw=numbers(np.sum([o.baseline_mw for o in offers], axis=0)), baseline_method=first.baseline_method,
        rebound_times=times(first.rebound_grid), rebound_mw=numbers(np.sum([o.rebound_mw for o in offers], axis=0)),
        notice_minutes=max(o.notice_minutes for o in offers), price_eur_per_mwh=event.price_eur_per_mwh,
    )  # fmt: skip
