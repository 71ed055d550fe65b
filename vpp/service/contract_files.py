"""Contracts and reserve products of market.yaml: definitions, whom they bind, and every fault of them at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import combinations
from typing import TYPE_CHECKING, Any

from vpp.domain.errors import Fault
from vpp.domain.portfolio import Asset
from vpp.service.yaml_files import raw_ids, validated

if TYPE_CHECKING:
    from dispatch.product import Contract

FILE = "market.yaml"
SECTIONS = ("contracts", "reserve")
SCOPES = ("sites", "metering_points", "trading_units", "assets")
RESERVE = "reserve"


def definitions(
    raw: Mapping[str, Any], portfolio: Mapping[str, Any] | None, faults: list[Fault]
) -> list[tuple[str, Any]]:
    """(product, terms) of both sections of the market's `raw` mapping.

    `portfolio` is the raw portfolio, None where it could not be read, so that nothing is looked up in it.
    """
    from dispatch.products.registry import PRODUCTS

    known = {scope: raw_ids(portfolio.get(scope) if portfolio is not None else None) for scope in SCOPES}
    offered = {n: p.Terms for n, p in PRODUCTS.items() if p.Terms is not None}
    found: list[tuple[str, Any]] = []
    seen: set[str] = set()
    for product, entry, where in _entries(raw, faults):
        if product not in offered or (product == RESERVE) != where.startswith(RESERVE):
            listed = sorted(set(offered) - {RESERVE})
            faults.append(Fault(where, "product", f"unknown product {product}; one of {', '.join(listed)}"))
            continue
        name = str(entry.get("id", where))
        if name in seen or name in known["assets"]:
            faults.append(Fault(name, "id", "is taken by another contract or an asset"))
        seen.add(name)
        terms = validated(offered[product], entry, name, faults)
        if terms is not None:
            faults += _strangers(name, terms, known) if portfolio is not None else []
            found.append((product, terms))
    return found


def _entries(raw: Mapping[str, Any], faults: list[Fault]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """(product, its fields, where) of every entry that is a mapping."""
    for section in SECTIONS:
        entries = raw.get(section)
        if entries is None:
            continue
        if not isinstance(entries, list):
            faults.append(Fault(FILE, section, "must be a list"))
            continue
        for at, entry in enumerate(entries):
            where = f"{section}[{at}]"
            if not isinstance(entry, dict):
                faults.append(Fault(where, "", "must be a mapping"))
                continue
            fields = {k: v for k, v in entry.items() if k != "product" or section == RESERVE}
            yield (RESERVE if section == RESERVE else str(entry.get("product"))), fields, where


def _strangers(name: str, terms: Any, known: Mapping[str, Collection[str]]) -> list[Fault]:
    return [
        Fault(name, f"of.{scope}", f"unknown {scope[:-1].replace('_', ' ')} {one}")
        for scope in SCOPES
        for one in getattr(terms.of, scope)
        if one not in known[scope]
    ]


def provider_faults(found: Sequence[tuple[str, Any]], assets: Sequence[Asset]) -> list[Fault]:
    """Faults of assets that a reserve product names and that cannot hold it."""
    by_id = {a.id: a for a in assets}
    return [
        Fault(name, f"{RESERVE} {terms.id}", reason)
        for product, terms in found
        if product == RESERVE
        for name in terms.of.assets
        if name in by_id and (reason := why_not(by_id[name], terms)) is not None
    ]


def why_not(asset: Asset, terms: Any) -> str | None:
    """Why an asset cannot hold a reserve product, None where it can."""
    from dispatch.check.calls import SELLS

    if asset.kind not in SELLS:
        return f"a {asset.kind} sells none"
    if asset.control in ("price", "none"):
        return f"is controlled by {asset.control} and cannot be called"
    if asset.notice > timedelta(minutes=terms.activation_min):
        return f"needs {asset.notice} of notice, and activation is within {terms.activation_min:g} min"
    return None


def bound_assets(
    product: str, terms: Any, assets: Sequence[Asset], units: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """Ids of the assets a contract binds, in the portfolio's order; of a reserve product those that can hold it.

    `units` are the sites of each trading unit.
    """
    sites = {*terms.of.sites, *(s for u in terms.of.trading_units for s in units[u])}
    named = (
        a for a in assets
        if a.site in sites or a.metering_point in terms.of.metering_points or a.id in terms.of.assets
    )  # fmt: skip
    return tuple(a.id for a in named if product != RESERVE or why_not(a, terms) is None)


def overlaps(contracts: Sequence[Contract]) -> list[Fault]:
    """Microgrids that share some assets and not all of one: nested ones have a connection each, others cannot."""
    from dispatch.products.microgrid import NAME

    grids = [(c.id, set(c.assets)) for c in contracts if c.product == NAME]
    return [
        Fault(other, "of", f"shares {', '.join(sorted(mine & its))} with {name}, and neither lies within the other")
        for (name, mine), (other, its) in combinations(grids, 2)
        if mine & its and not (mine < its or its < mine)
    ]
