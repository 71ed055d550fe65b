"""Our types as messages to a grid operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from shapeshifter_uftp import transport
from shapeshifter_uftp.uftp import (
    AcceptedDisputed,
    AcceptedRejected,
    DPrognosis,
    DPrognosisISP,
    FlexOffer,
    FlexOfferOption,
    FlexOfferOptionISP,
    FlexOfferRevocation,
    FlexOrderResponse,
    FlexOrderSettlementStatus,
    FlexRequestResponse,
    FlexReservationUpdateResponse,
    FlexSettlementResponse,
    TestMessageResponse,
)
from xsdata.models.datatype import XmlDate, XmlDuration

from adapters.uftp.isps import DURATION, runs
from adapters.uftp.letter import Letter
from adapters.uftp.reading import Incoming, Names
from vpp.domain import flex_trade as trade
from vpp.domain.time import TimeGrid, rfc3339

VERSION, SPOKEN = "3.1.0", ("3.0.0", "3.1.0")
OPTION = "whole"
SETTLEMENT = "FlexSettlement"
ANSWERS: Mapping[str, tuple[Any, str]] = {
    "FlexRequest": (FlexRequestResponse, "flex_request_message_id"),
    "FlexOrder": (FlexOrderResponse, "flex_order_message_id"),
    "FlexReservationUpdate": (FlexReservationUpdateResponse, "flex_reservation_update_message_id"),
    SETTLEMENT: (FlexSettlementResponse, "flex_settlement_message_id"),
    "TestMessage": (TestMessageResponse, ""),
}


@dataclass(frozen=True)
class Verdict:
    """What we say of one settlement item: no reason, or why it is disputed."""

    reference: str
    reasons: tuple[str, ...] = ()


def new_id() -> str:
    """A message id."""
    return str(uuid4())


def prognosis(made: trade.Prognosis, names: Names) -> Letter:
    """A D-Prognosis for every ISP of its day."""
    isps = [DPrognosisISP(power=r.watts, start=r.first, duration=r.count) for r in runs(made.mw)]
    message = DPrognosis(**_day(made.grid, names), congestion_point=names.points[made.congestion_point],
                         revision=made.revision, isps=isps)  # fmt: skip
    return _letter(message, made.peer, names, made.id, new_id(), VERSION, made.issued_at)


def offer(made: trade.FlexOffer, names: Names, now: datetime) -> Letter:
    """A FlexOffer of one option, to be ordered whole."""
    isps = [FlexOfferOptionISP(power=r.watts, start=r.first, duration=r.count) for r in runs(made.mw)]
    message = FlexOffer(
        **_day(made.grid, names), congestion_point=names.points[made.congestion_point],
        expiration_date_time=rfc3339(made.expires_at), flex_request_message_id=made.request,
        contract_id=made.contract, d_prognosis_message_id=made.prognosis, currency=made.currency,
        offer_options=[FlexOfferOption(isps=isps, option_reference=OPTION, price=made.price)],
    )  # fmt: skip
    return _letter(message, made.peer, names, made.id, made.conversation, VERSION, now)


def revocation(made: trade.FlexOffer, names: Names, now: datetime) -> Letter:
    """A FlexOfferRevocation."""
    message = FlexOfferRevocation(flex_offer_message_id=made.id)
    return _letter(message, made.peer, names, new_id(), made.conversation, VERSION, now)


def answer(
    to: Incoming, names: Names, now: datetime, reasons: Sequence[str] = (), verdicts: Sequence[Verdict] = ()
) -> Letter | None:
    """The response to a message: rejected with all `reasons`, accepted without. None for what takes no response.

    A response to a settlement carries a verdict for each of its items.
    """
    if to.kind not in ANSWERS:
        return None
    kind, field = ANSWERS[to.kind]
    own: dict[str, Any] = {field: to.id} if field else {}
    if to.kind == SETTLEMENT:
        own["flex_order_settlement_statuses"] = [_status(v) for v in verdicts]
    result = AcceptedRejected.REJECTED if reasons else AcceptedRejected.ACCEPTED
    message = kind(**own, result=result, rejection_reason="; ".join(reasons) or None)
    version = to.version if to.version in SPOKEN else VERSION
    return _letter(message, to.peer, names, new_id(), to.conversation, version, now)


def _status(verdict: Verdict) -> FlexOrderSettlementStatus:
    disputed = bool(verdict.reasons)
    return FlexOrderSettlementStatus(
        order_reference=verdict.reference,
        disposition=AcceptedDisputed.DISPUTED if disputed else AcceptedDisputed.ACCEPTED,
        dispute_reason="; ".join(verdict.reasons) or None,
    )


def _day(grid: TimeGrid, names: Names) -> dict[str, Any]:
    day = grid.start.astimezone(ZoneInfo(names.zone)).date()
    return {"isp_duration": XmlDuration(DURATION), "time_zone": names.zone,
            "period": XmlDate(day.year, day.month, day.day)}  # fmt: skip


def _letter(
    message: Any, peer: str, names: Names, message_id: str, conversation: str, version: str, now: datetime
) -> Letter:
    message.version, message.sender_domain, message.recipient_domain = version, names.domain, peer
    message.message_id, message.conversation_id, message.time_stamp = message_id, conversation, rfc3339(now)
    return Letter(message_id, peer, type(message).__name__, conversation, transport.to_xml(message))
