"""Messages of a grid operator as our types, with every fault of their form at once.

The faults are worded as the specification's table of rejection reasons has them; what depends on our state is judged
by the service.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from shapeshifter_uftp.uftp import (
    AcceptedRejected,
    AvailableRequested,
    DPrognosisResponse,
    FlexOfferResponse,
    FlexOfferRevocationResponse,
    FlexOrder,
    FlexRequest,
    FlexSettlement,
    destination_map,
)
from xsdata.models.datatype import XmlDate

from adapters.uftp.envelope import Opened
from adapters.uftp.isps import DURATION, Isp, Run, covered, mw_of, place_faults, zone_fault
from vpp.domain import flex_trade as trade
from vpp.domain.time import TimeGrid, local_midnight, utc

UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
TEST, TEST_ANSWER = "TestMessage", "TestMessageResponse"
FIRST_YEAR, LAST_YEAR, MOST_REVISION = 2000, 2100, 2**31 - 1


@dataclass(frozen=True)
class Names:
    """What both sides have agreed on: our domain, the market's zone, and what the grid operator calls our points."""

    domain: str
    zone: str
    points: Mapping[str, str]
    """Our congestion point -> its entity address."""

    def point_of(self, address: str) -> str | None:
        """Our congestion point, None for an address that is not agreed."""
        return next((point for point, known in self.points.items() if known == address), None)


@dataclass(frozen=True)
class Answer:
    """The other side's verdict on the message `of` ours."""

    of: str
    accepted: bool
    reason: str


@dataclass(frozen=True)
class OrderText:
    """A flexibility order as it was stated; `runs` are its ISP elements."""

    offer: str | None
    congestion_point: str | None
    grid: TimeGrid
    runs: tuple[Run, ...]
    prognosis: str | None
    price: Decimal
    currency: str
    reference: str
    option: str | None
    factor: Decimal


Content = trade.FlexRequest | trade.FlexSettlement | OrderText | Answer


@dataclass(frozen=True)
class Incoming:
    """A message of `kind`, the library's name of it; `content` is None for kinds that carry nothing we use."""

    kind: str
    id: str
    conversation: str
    peer: str
    version: str
    content: Content | None
    faults: tuple[str, ...]


def read(opened: Opened, names: Names) -> Incoming:
    """What a grid operator says, and every reason to refuse its form."""
    message = opened.message
    faults = _common(opened, names)
    reader = READERS.get(type(message))
    content = reader(message, opened.domain, names, faults) if reader is not None else None
    if reader is None and type(message).__name__ not in (TEST, TEST_ANSWER):
        known = type(message) in destination_map and destination_map[type(message)] == "AGR"
        reason = "is not agreed between us" if known else "is not for an aggregator"
        faults.append(f"Invalid Message: {type(message).__name__} {reason}")
    return Incoming(
        type(message).__name__, str(message.message_id), str(message.conversation_id), opened.domain,
        str(message.version), content, tuple(dict.fromkeys(faults)),
    )  # fmt: skip


def _common(opened: Opened, names: Names) -> list[str]:
    message, faults = opened.message, []
    if message.sender_domain != opened.domain:
        faults.append(f"Mismatch SenderDomain: {message.sender_domain} inside, {opened.domain} outside")
    if message.recipient_domain != names.domain:
        faults.append(f"Unknown RecipientDomain: {message.recipient_domain}")
    if not str(message.version).startswith("3."):
        faults.append(f"Invalid Message: version {message.version}, 3 is spoken here")
    faults += [
        f"Invalid Message: {name} is no UUID"
        for name, value in (("MessageID", message.message_id), ("ConversationID", message.conversation_id))
        if not UUID.fullmatch(str(value))
    ]
    if moment(message.time_stamp) is None:
        faults.append("Invalid Message: TimeStamp is no time with an offset")
    return faults


def moment(text: object) -> datetime | None:
    """An RFC 3339 time in UTC, None for anything else."""
    try:
        return utc(datetime.fromisoformat(str(text)))
    except (ValueError, OverflowError):
        return None


def _date(period: XmlDate, faults: list[str]) -> date:
    """A period as a date; what no calendar of ours reaches is a fault, and the first day it does reach."""
    if FIRST_YEAR <= period.year <= LAST_YEAR:
        return date(period.year, period.month, period.day)
    faults.append(f"Period out of bounds: {period}")
    return date(FIRST_YEAR, 1, 1)


def _day(message: Any, names: Names, faults: list[str]) -> TimeGrid:
    """The ISPs of the message's period; faults of what it says about its clock."""
    day = _date(message.period, faults)
    if str(message.isp_duration) != DURATION:
        faults.append(f"ISP duration rejected: {message.isp_duration}, {DURATION} is agreed")
    if (wrong := zone_fault(message.time_zone, day, names.zone)) is not None:
        faults.append(wrong)
    return TimeGrid.local_day(day, names.zone)


def _point(address: str, names: Names, faults: list[str]) -> str | None:
    point = names.point_of(address)
    if point is None:
        faults.append(f"Invalid CongestionPoint: {address}")
    return point


def _request(message: FlexRequest, peer: str, names: Names, faults: list[str]) -> trade.FlexRequest:
    grid = _day(message, names, faults)
    faults += place_faults(message.isps, grid)
    requested = np.zeros(grid.n, dtype=bool)
    low, high = np.full(grid.n, np.nan), np.full(grid.n, np.nan)
    for isp in message.isps:
        part = covered(isp, grid)
        requested[part] = isp.disposition == AvailableRequested.REQUESTED
        low[part], high[part] = mw_of(isp.max_power), mw_of(isp.min_power)
        faults += _power_faults(isp)
    if not any(isp.disposition == AvailableRequested.REQUESTED for isp in message.isps):
        faults.append("Lacking Requested Disposition")
    if not 0 <= message.revision <= MOST_REVISION:
        faults.append(f"Invalid Message: Revision {message.revision}")
    until = moment(message.expiration_date_time)
    if until is None:
        faults.append("ExpirationDateTime out of bounds: it is no time with an offset")
    return trade.FlexRequest(
        str(message.message_id), peer, str(message.conversation_id),
        _point(message.congestion_point, names, faults) or "", grid, requested, low, high, message.revision,
        until or grid.start, message.contract_id,
    )  # fmt: skip


def _power_faults(isp: Any) -> list[str]:
    faults = []
    if isp.disposition not in (AvailableRequested.REQUESTED, AvailableRequested.AVAILABLE):
        faults.append(f"Invalid Message: Disposition {isp.disposition} of ISP {isp.start}")
    if isp.min_power > isp.max_power:
        faults.append(f"Power discrepancy: ISP {isp.start} has MinPower {isp.min_power} > MaxPower {isp.max_power}")
    elif isp.disposition == AvailableRequested.REQUESTED and isp.min_power < 0 < isp.max_power:
        faults.append(f"Requested Power discrepancy: ISP {isp.start} has no direction")
    return faults


def _order(message: FlexOrder, peer: str, names: Names, faults: list[str]) -> OrderText:
    grid = _day(message, names, faults)
    faults += place_faults(message.isps, grid)
    if message.unsolicited or message.flex_offer_message_id is None:
        faults.append("Unknown FlexOfferMessageID reference: an order without an offer is not agreed between us")
    return OrderText(
        message.flex_offer_message_id, _point(message.congestion_point, names, faults), grid,
        tuple(Run(i.start, i.duration, i.power) for i in message.isps), message.d_prognosis_message_id,
        message.price, message.currency, message.order_reference, message.option_reference, message.activation_factor,
    )  # fmt: skip


def _settlement(message: FlexSettlement, peer: str, names: Names, faults: list[str]) -> trade.FlexSettlement:
    first, last = _date(message.period_start, faults), _date(message.period_end, faults)
    if last < first:
        faults.append(f"PeriodEnd rejected: {last} is before {first}")
    claims = []
    for item in message.flex_order_settlements:
        day = _date(item.period, faults)
        if not first <= day <= last:
            faults.append(f"Period out of bounds: {item.order_reference} of {day} is outside the settlement period")
        grid = TimeGrid.local_day(day, names.zone)
        faults += [f"{fault} ({item.order_reference})" for fault in place_faults(item.isps, grid)]
        point = _point(item.congestion_point, names, faults)
        lines = tuple(line for isp in item.isps for line in _lines(isp, grid))
        claims.append(
            trade.OrderClaim(
                str(item.order_reference), point, grid, lines, item.price, item.penalty, item.net_settlement
            )
        )
    return trade.FlexSettlement(
        str(message.message_id), peer, str(message.conversation_id), local_midnight(first, names.zone),
        local_midnight(last + timedelta(days=1), names.zone), message.currency, tuple(claims),
    )  # fmt: skip


def _lines(isp: Any, grid: TimeGrid) -> list[trade.OrderLine]:
    part = covered(_as_isp(isp), grid)
    return [
        trade.OrderLine(
            k, mw_of(isp.baseline_power), mw_of(isp.ordered_flex_power), mw_of(isp.actual_power),
            mw_of(isp.delivered_flex_power), abs(mw_of(isp.power_deficiency)),
        )
        for k in range(part.start, part.stop)
    ]  # fmt: skip


def _as_isp(isp: Any) -> Isp:
    found: Isp = isp
    return found


def _answer(field: str) -> Callable[[Any, str, Names, list[str]], Answer]:
    def read_answer(message: Any, peer: str, names: Names, faults: list[str]) -> Answer:
        if message.result not in (AcceptedRejected.ACCEPTED, AcceptedRejected.REJECTED):
            faults.append(f"Invalid Message: Result {message.result}")
        accepted = message.result == AcceptedRejected.ACCEPTED
        return Answer(str(getattr(message, field)), accepted, message.rejection_reason or "")

    return read_answer


READERS: Mapping[type, Callable[[Any, str, Names, list[str]], Content]] = {
    FlexRequest: _request,
    FlexOrder: _order,
    FlexSettlement: _settlement,
    DPrognosisResponse: _answer("d_prognosis_message_id"),
    FlexOfferResponse: _answer("flex_offer_message_id"),
    FlexOfferRevocationResponse: _answer("flex_offer_revocation_message_id"),
}
