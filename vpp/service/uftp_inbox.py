"""Judges what grid operators say, one message at a time, and concludes each in one transaction with its response.

A message is concluded once: after a crash it is read again. One that lacks a meter row waits for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from adapters.store.uftp import DUPLICATE, Message, Trade
from adapters.uftp.envelope import Opened, parse, xml_of
from adapters.uftp.letter import Letter
from adapters.uftp.reading import Answer, Incoming, OrderText, read
from adapters.uftp.writing import Verdict, answer, offer
from vpp.domain.errors import DataGap, NotSolved
from vpp.domain.flex_trade import FlexOrder, FlexRequest, FlexSettlement, TradeStatus
from vpp.domain.time import QUARTER, rfc3339
from vpp.service.system import System
from vpp.service.uftp_config import UftpConfig
from vpp.service.uftp_offer import make_offer
from vpp.service.uftp_orders import judge_order
from vpp.service.uftp_prognosis import baseline_of
from vpp.service.uftp_settlement import judge, message_faults

log = logging.getLogger(__name__)
LONG_AGO, FAR = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
INTERNAL = "Internal error of the recipient"
Kept = Sequence[tuple[Trade, TradeStatus]]
Changes = Sequence[tuple[str, TradeStatus]]


@dataclass
class Inbox:
    """`lock` is held by whoever ticks the loop, `wall` stamps what is written."""

    system: System
    config: UftpConfig
    lock: threading.RLock
    wall: Callable[[], datetime]
    _later: dict[int, datetime] = field(default_factory=dict)

    def conclude(self, message: Message, now: datetime) -> None:
        """Judge one message; an error of ours refuses it, with an alarm."""
        if now < self._later.get(message.number, now):
            return
        if message.peer not in self.config.keys:
            self.system.store.uftp.conclude(message.number, ["Unknown SenderDomain"], self.wall())
            return
        incoming = None
        try:
            opened = Opened(message.peer, message.body, parse(xml_of(message.body)))
            incoming = read(opened, self.config.names(message.peer))
            self._judge(message, incoming, now)
        except DataGap as why:
            self._later[message.number] = now + QUARTER
            self.system.store.alarms.raise_("settlement", f"{message.kind} {message.message_id} waits: {why}", now)
        except Exception as why:
            log.exception("%s %s failed", message.kind, message.message_id)
            text = f"{message.kind} {message.message_id} of {message.peer} failed: {type(why).__name__}: {why}"
            self.system.store.alarms.raise_("uftp", text, now, "critical")
            if incoming is None:
                self.system.store.uftp.conclude(message.number, [INTERNAL], self.wall())
            else:
                self._refuse(message, incoming, [INTERNAL], now)

    def _judge(self, message: Message, incoming: Incoming, now: datetime) -> None:
        faults = [*([DUPLICATE] if message.reason == DUPLICATE else []), *incoming.faults]
        match incoming.content:
            case FlexRequest() as request:
                self._request(message, incoming, request, faults, now)
            case OrderText() as text:
                with self.lock:
                    self._order(message, incoming, text, faults, now)
            case FlexSettlement() as settlement:
                self._settlement(message, incoming, settlement, faults, now)
            case Answer() as verdict:
                self._answered(message, incoming, verdict, faults, now)
            case None:
                self._reply(message, incoming, faults, now)

    def _refuse(self, message: Message, incoming: Incoming, faults: Sequence[str], now: datetime) -> None:
        verdicts = []
        if isinstance(incoming.content, FlexSettlement):
            verdicts = [Verdict(c.reference, ("the settlement is refused",)) for c in incoming.content.claims]
        self._reply(message, incoming, faults, now, verdicts=verdicts)

    def _reply(
        self, message: Message, incoming: Incoming, faults: Sequence[str], now: datetime,
        letters: Sequence[Letter] = (), kept: Kept = (), changes: Changes = (), verdicts: Sequence[Verdict] = (),
    ) -> None:  # fmt: skip
        """Conclude with the response, and with what else is said behind it."""
        own = answer(incoming, self.config.names(message.peer), now, faults, verdicts)
        said = [*([own] if own is not None else []), *letters]
        self.system.store.uftp.conclude(message.number, faults, self.wall(), said, kept, changes)

    def _request(
        self, message: Message, incoming: Incoming, request: FlexRequest, faults: list[str], now: datetime
    ) -> None:
        faults += request_faults(request, now)
        baseline = None if faults else baseline_of(self.system, request.congestion_point, request.grid)
        if baseline is None:
            self._refuse(message, incoming, faults or ["No baseline: no D-Prognosis of that period"], now)
            return
        try:
            made = make_offer(self.system, self.config, request, baseline, now, self.lock)
        except (NotSolved, DataGap) as why:
            self.system.store.alarms.raise_("uftp", f"no offer for request {request.id}: {why}", now)
            made = None
        kept: list[tuple[Trade, TradeStatus]] = [(request, TradeStatus.ACCEPTED)]
        letters = []
        if made is not None:
            letters.append(offer(made, self.config.names(message.peer), now))
            kept.append((made, TradeStatus.OPEN))
        self._reply(message, incoming, [], now, letters, kept)

    def _order(self, message: Message, incoming: Incoming, text: OrderText, faults: list[str], now: datetime) -> None:
        made, more = judge_order(self.system, self.config, incoming, text, message.at, now)
        faults += more
        orders = self.system.store.uftp.trades(FlexOrder, LONG_AGO, FAR)
        if any(o.reference == text.reference and o.peer == message.peer for o in orders):
            faults.append(f"Invalid Message: OrderReference {text.reference} is taken")
        if faults or made is None:
            self._refuse(message, incoming, faults, now)
            return
        kept, changes = [(made, TradeStatus.ACCEPTED)], [(made.offer, TradeStatus.ORDERED)]
        self._reply(message, incoming, [], now, kept=kept, changes=changes)

    def _settlement(
        self, message: Message, incoming: Incoming, settlement: FlexSettlement, faults: list[str], now: datetime
    ) -> None:
        found = self.system.store.uftp.trades(FlexOrder, settlement.start, settlement.end)
        orders = [o for o in found if o.peer == message.peer]
        faults += message_faults(settlement, orders, self.config.currency, now)
        if faults:
            self._refuse(message, incoming, faults, now)
            return
        verdicts, statements = judge(self.system, self.config, settlement, orders)
        for statement in statements:
            self.system.store.events.save_statement(statement)
        self._reply(message, incoming, [], now, verdicts=verdicts)

    def _answered(
        self, message: Message, incoming: Incoming, verdict: Answer, faults: list[str], now: datetime
    ) -> None:
        """The other side's verdict on a prognosis, an offer or a revocation."""
        status = TradeStatus.ACCEPTED if verdict.accepted else TradeStatus.REJECTED
        awaited = not faults and self.system.store.uftp.awaits(message.peer, verdict.of)
        changes = [(verdict.of, status)] if awaited else []
        if not verdict.accepted:
            text = f"{incoming.kind} of {message.peer}: our {verdict.of} is rejected: {verdict.reason}"
            self.system.store.alarms.raise_("uftp", text, now)
        self._reply(message, incoming, faults, now, changes=changes)


def request_faults(request: FlexRequest, now: datetime) -> list[str]:
    """Why a request comes at the wrong time."""
    faults = []
    if request.grid.end <= now:
        faults.append("Period out of bounds: the day is over")
    if request.expires_at <= now:
        faults.append(f"ExpirationDateTime out of bounds: {rfc3339(request.expires_at)} is past")
    wanted = np.flatnonzero(request.requested)
    if wanted.size and request.expires_at > request.grid.edges[int(wanted[-1]) + 1]:
        faults.append(f"ExpirationDateTime out of bounds: {rfc3339(request.expires_at)} is after the requested ISPs")
    return faults
