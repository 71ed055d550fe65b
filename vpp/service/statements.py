"""Statements of demand-response calls, and everything about one call as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np

from adapters.store import Store
from dispatch.baseline import FIVE, TEN, meter_rows_used
from dispatch.settlement import Delivery, settle
from vpp.domain.market import Event, EventStatus, FlexibilityOffer, Statement
from vpp.domain.portfolio import Portfolio
from vpp.domain.time import QUARTER, TimeGrid, rfc3339
from vpp.service.dr import CONTRACT_METHOD, meter_of, site_baselines
from vpp.service.orders import event_grid, orders_of


def settle_event(store: Store, portfolio: Portfolio, event_id: str) -> Statement:
    """The contract's statement, stored; the event is marked as settled."""
    event = store.events.get(event_id)
    settled = statement(store, portfolio, event, CONTRACT_METHOD)
    store.events.save_statement(settled)
    store.events.save(replace(event, status=EventStatus.SETTLED))
    return settled


def statement(store: Store, portfolio: Portfolio, event: Event, method: str) -> Statement:
    """The desk's line ("vpp", all participants together) and each participant's."""
    grid = event_grid(event)
    parts = []
    for o in orders_of(event, store.events.offers(event.id), store.events.acceptances(event.id)):
        assets = [portfolio.asset(a) for a in o.assets]
        meter = meter_of(store, sorted({a.metering_point for a in assets}))
        base = site_baselines(store, portfolio, event, assets)[method].mw
        parts.append(Delivery(o.participant, o.accepted_mw, base, meter(grid)))
    whole = Delivery(
        "vpp", np.full(grid.n, event.mw),
        sum((p.baseline_mw for p in parts), np.zeros(grid.n)), sum((p.metered_mw for p in parts), np.zeros(grid.n)),
    )  # fmt: skip
    desk = settle(event, [whole], method, portfolio.currency)
    sites = settle(event, parts, method, portfolio.currency)
    totals = {f"vpp_{k}": v for k, v in desk.totals.items()} | {f"participants_{k}": v for k, v in sites.totals.items()}
    return Statement(event.id, method, portfolio.currency, (*desk.lines, *sites.lines), totals)


def report(store: Store, portfolio: Portfolio, event_id: str) -> dict[str, Any]:
    """Everything about one event: what `vpp event` prints. Raises NotFound."""
    event = store.events.get(event_id)
    offers = store.events.offers(event_id)
    body: dict[str, Any] = {
        "event": plain(event),
        "offers": [plain(o) for o in offers],
        "acceptances": [plain(a) for a in store.events.acceptances(event_id)],
    }
    if event.status is not EventStatus.SETTLED:
        return body
    body["baselines"] = {o.site: _baseline_report(store, portfolio, event, o) for o in offers}
    body["statements"] = {m: plain(statement(store, portfolio, event, m)) for m in (FIVE, TEN)}
    body["paid_by"] = CONTRACT_METHOD
    body["true_delivery_mw"] = store.settings.get(f"truth:{event_id}") or None
    return body


def _baseline_report(store: Store, portfolio: Portfolio, event: Event, offer: FlexibilityOffer) -> dict[str, Any]:
    assets = [portfolio.asset(a) for a in offer.assets]
    points = sorted({a.metering_point for a in assets})
    meter, found = meter_of(store, points), {}
    for method, b in site_baselines(store, portfolio, event, assets).items():
        rows = meter_rows_used(event, b, portfolio.zone)
        found[method] = {
            "metering_points": points, "days": list(b.days), "adjustment": b.adjustment, "mw": b.mw.tolist(),
            "meter_rows": {rfc3339(t): float(meter(TimeGrid.uniform(t, QUARTER, 1))[0]) for t in rows},
        }  # fmt: skip
    return found


def plain(value: Any) -> Any:
    """Dataclasses, arrays, times and money as JSON; money stays a decimal string."""
    if isinstance(value, TimeGrid):
        return [rfc3339(t) for t in value.starts]
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, datetime):
        return rfc3339(value)
    return str(value) if isinstance(value, Decimal | EventStatus) else value
