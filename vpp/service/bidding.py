"""`vpp bid`: the price-quantity curve of a day as issued the morning before."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from vpp.domain.market import Bid
from vpp.domain.time import rfc3339
from vpp.service.capacity import reserve_issues
from vpp.service.desk import Desk
from vpp.service.plan import Train, prepare_day
from vpp.service.settings import Settings


def bid_report(portfolio: Path, day: date, settings: Settings, database: str, train: Train) -> dict[str, Any]:
    """Bids of every trading unit for local `day`: capacity where the portfolio sells reserve, then energy."""
    system, issued = prepare_day(portfolio, day, settings, database, train)
    desk = Desk(system)
    bids = [b for at in reserve_issues(system, issued) for b in desk.reserve_bid(at, at)] + desk.bid(issued)
    return {"portfolio": system.portfolio.id, "day": day.isoformat(), "bids": [bid_json(b) for b in bids]}


def bid_json(bid: Bid) -> dict[str, Any]:
    """Prices and quantities by level, one list a level over the intervals."""
    return {
        "id": bid.id, "unit": bid.unit, "product": bid.product, "gate": rfc3339(bid.gate),
        "issued_at": rfc3339(bid.issued_at), "times": [rfc3339(t) for t in bid.grid.starts],
        "price_eur_per_mwh": bid.price_eur_per_mwh.tolist(), "mw": bid.mw.tolist(),
    }  # fmt: skip
