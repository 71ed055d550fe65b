"""A flexibility order held against its offer; what stands of it becomes an order the next dispatch honours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from adapters.uftp.isps import Run, rounded, watts_of
from adapters.uftp.reading import Incoming, OrderText
from adapters.uftp.writing import OPTION
from vpp.domain.errors import NotFound, SoldTwice
from vpp.domain.flex_trade import FlexOffer, FlexOrder, Prognosis, TradeStatus
from vpp.domain.time import QUARTER, Array, TimeGrid, floor_to, rfc3339
from vpp.service.headroom import ledger_of
from vpp.service.system import System
from vpp.service.uftp_config import UftpConfig
from vpp.service.uftp_offer import claim_on, situation_for


def judge_order(
    system: System, config: UftpConfig, message: Incoming, text: OrderText, arrived: datetime, now: datetime
) -> tuple[FlexOrder | None, list[str]]:
    """The order, or every reason to refuse it. The day it arrived counts against the offer's expiry."""
    try:
        offer, status = system.store.uftp.trade(FlexOffer, text.offer or "")
        prognosis, _ = system.store.uftp.trade(Prognosis, offer.prognosis)
    except NotFound:
        return None, [f"Unknown FlexOfferMessageID reference: {text.offer}"]
    if offer.peer != message.peer:
        return None, [f"Unknown FlexOfferMessageID reference: {text.offer}"]
    faults = [*_reference_faults(offer, status, text, arrived), *_content_faults(offer, text)]
    owed = np.flatnonzero(np.isfinite(offer.mw))
    if offer.grid.starts[int(owed[0])] < floor_to(now, QUARTER) + QUARTER:
        faults.append(f"Period out of bounds: ISP {owed[0] + 1} begins before the next plan")
    if faults:
        return None, faults
    order = FlexOrder(
        message.id, message.peer, offer.id, offer.prognosis, offer.congestion_point, offer.assets, offer.grid,
        prognosis.mw, prognosis.bare_mw, offer.mw, text.price, offer.currency,
        config.operator(message.peer).penalty_eur_per_mwh, text.reference, now,
    )  # fmt: skip
    return order, _sold_twice(system, order, now)


def _reference_faults(offer: FlexOffer, status: TradeStatus, text: OrderText, arrived: datetime) -> list[str]:
    faults = []
    if status is TradeStatus.REVOKED:
        faults.append("Reference message revoked: FlexOfferMessageID")
    if status is TradeStatus.ORDERED:
        faults.append("Already ordered: FlexOfferMessageID")
    if status is TradeStatus.REJECTED:
        faults.append("Unknown FlexOfferMessageID reference: the offer was rejected")
    if arrived > offer.expires_at:
        faults.append(f"Reference message expired: FlexOfferMessageID, at {rfc3339(offer.expires_at)}")
    if text.grid != offer.grid:
        faults.append("Reference Period mismatch: FlexOfferMessageID")
    if text.congestion_point is not None and text.congestion_point != offer.congestion_point:
        faults.append("Invalid CongestionPoint: it is not that of the offer")
    if text.prognosis not in (None, offer.prognosis):
        faults.append("Unknown D-PrognosisMessageID reference: it is not that of the offer")
    return faults


def _content_faults(offer: FlexOffer, text: OrderText) -> list[str]:
    faults = []
    if text.option not in (None, OPTION):
        faults.append(f"Unknown OptionReference: {text.option}")
    if text.factor != 1:
        faults.append(f"ActivationFactor {text.factor} is below the MinActivationFactor 1.00 of the offer")
    offered, ordered = rounded(offer.mw), expanded(text.runs, offer.grid)
    if not np.array_equal(np.isfinite(offered), np.isfinite(ordered)):
        faults.append("ISP mismatch: the ISPs are not those of the offer")
    elif any(watts_of(a) != watts_of(b) for a, b in zip(offered, ordered, strict=True) if np.isfinite(a)):
        faults.append("Power mismatch: the powers are not those of the offer")
    if text.price != offer.price:
        faults.append(f"Price mismatch: {text.price}, {offer.price} was offered")
    if text.currency != offer.currency:
        faults.append(f"Price mismatch: {text.currency}, the offer is in {offer.currency}")
    if not text.reference:
        faults.append("Invalid Message: OrderReference is empty")
    return faults


def expanded(runs: Sequence[Run], grid: TimeGrid) -> Array:
    """(n,) MW of injection of ISP elements, NaN where none is; what is outside the day is left out."""
    mw = np.full(grid.n, np.nan)
    for run in runs:
        mw[max(run.first - 1, 0) : max(run.first - 1 + run.count, 0)] = -run.watts / 1e6
    return mw


def _sold_twice(system: System, order: FlexOrder, now: datetime) -> list[str]:
    """Why the headroom cannot carry the order any more, with an alarm; other offers do not count, orders do."""
    last = order.grid.edges[int(np.flatnonzero(np.isfinite(order.mw))[-1]) + 1]
    ledger = ledger_of(situation_for(system, last, now))
    try:
        ledger.require_reach(claim_on(ledger, order.id, order.assets, order.grid, order.mw, order.bare_mw))
    except SoldTwice as why:
        system.store.alarms.raise_("headroom", f"flexibility order {order.reference} refused: {why}", now)
        return [f"The flexibility is sold already: {why}"]
    return []
