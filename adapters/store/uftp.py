"""Messages of UFTP and what was traded by them.

An incoming message is kept before it is answered. What it leads to, its answer included, is written in the transaction
that concludes it, so that after a crash it is read again and nothing is done twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, func, select, update

from adapters.store import schema
from adapters.store.codec import dumps, loads
from adapters.store.database import Database
from adapters.uftp.letter import Letter
from vpp.domain.errors import NotFound
from vpp.domain.flex_trade import FlexOffer, FlexOrder, FlexRequest, Prognosis, TradeStatus

RECEIVED, DONE, REFUSED = "received", "done", "refused"
QUEUED, SENT, FAILED = "queued", "sent", "failed"
DUPLICATE = "Duplicate Identifier"
_M, _T = schema.uftp_messages.c, schema.flex_trades.c
Trade = Prognosis | FlexRequest | FlexOffer | FlexOrder
T = TypeVar("T", Prognosis, FlexRequest, FlexOffer, FlexOrder)


@dataclass(frozen=True)
class Message:
    """A message as it is kept: `body` is the sealed one that came in, or the XML that goes out.

    `at` is by the service's clock for what came in, by the wall clock for what goes out.
    """

    number: int
    incoming: bool
    peer: str
    message_id: str
    kind: str
    at: datetime
    body: bytes
    status: str
    reason: str
    attempts: int
    due_at: datetime | None


@dataclass(frozen=True)
class Arrived:
    """A message to be kept."""

    peer: str
    message_id: str
    digest: str
    kind: str
    conversation: str
    sealed: bytes


_MESSAGE = tuple(_M[name] for name in Message.__dataclass_fields__)


class UftpRecord:
    """Inbox, outbox, and the trades by kind."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def receive(self, message: Arrived, at: datetime, due_at: datetime) -> bool:
        """Keep a message, False for the same content again: its answer is then queued again, due at `due_at`.

        Another content under a known id is kept with the reason to refuse it.
        """
        known = (_M.incoming.is_(True), _M.peer == message.peer, _M.message_id == message.message_id[:80])
        with self._db.write() as connection:
            before = connection.execute(select(_M.number, _M.digest).where(*known)).all()
            for row in before:
                if row.digest == message.digest:
                    again = update(schema.uftp_messages).where(_M.answer_to == row.number, _M.status == SENT)
                    again = again.where(_M.kind.like("%Response"))
                    connection.execute(again.values(status=QUEUED, attempts=0, at=due_at, due_at=due_at))
                    return False
            connection.execute(
                schema.uftp_messages.insert(),
                {
                    "incoming": True, "peer": message.peer, "message_id": message.message_id[:80],
                    "digest": message.digest, "kind": message.kind[:60], "answer_to": None,
                    "conversation_id": message.conversation[:80], "at": at, "body": message.sealed,
                    "status": RECEIVED, "reason": DUPLICATE if before else "", "attempts": 0,
                },
            )  # fmt: skip
        return True

    def waiting(self) -> list[Message]:
        """Incoming messages that are not concluded, in the order of their arrival."""
        return self._messages(_M.incoming.is_(True), _M.status == RECEIVED)

    def queued(self) -> list[Message]:
        """Outgoing messages that are not delivered yet, in the order in which they were written."""
        return self._messages(_M.incoming.is_(False), _M.status == QUEUED)

    def messages(self, last: int = 200) -> list[Message]:
        """The newest, newest first."""
        query = select(*_MESSAGE).order_by(_M.number.desc()).limit(last)
        with self._db.read() as connection:
            return [Message(*row) for row in connection.execute(query)]

    def _messages(self, *where: Any) -> list[Message]:
        with self._db.read() as connection:
            query = select(*_MESSAGE).where(*where).order_by(_M.number)
            return [Message(*row) for row in connection.execute(query)]

    def conclude(
        self, number: int, reasons: Sequence[str], now: datetime, letters: Sequence[Letter] = (),
        trades: Sequence[tuple[Trade, TradeStatus]] = (), changes: Sequence[tuple[str, TradeStatus]] = (),
    ) -> None:  # fmt: skip
        """One transaction: the incoming message is done or refused, what it led to is kept and queued."""
        end = {"status": REFUSED if reasons else DONE, "reason": "; ".join(reasons), "done_at": now}
        with self._db.write() as connection:
            connection.execute(update(schema.uftp_messages).where(_M.number == number).values(end))
            self._write(connection, letters, trades, changes, now, number)

    def put(
        self, now: datetime, letters: Sequence[Letter], trades: Sequence[tuple[Trade, TradeStatus]] = (),
        changes: Sequence[tuple[str, TradeStatus]] = (),
    ) -> None:  # fmt: skip
        """What we say unasked, in one transaction."""
        with self._db.write() as connection:
            self._write(connection, letters, trades, changes, now, None)

    def _write(
        self, connection: Connection, letters: Sequence[Letter], trades: Sequence[tuple[Trade, TradeStatus]],
        changes: Sequence[tuple[str, TradeStatus]], now: datetime, answer_to: int | None,
    ) -> None:  # fmt: skip
        for letter in letters:
            row = {
                "incoming": False, "peer": letter.peer, "message_id": letter.id, "digest": "", "kind": letter.kind,
                "conversation_id": letter.conversation, "answer_to": answer_to, "at": now,
                "body": letter.xml.encode(), "status": QUEUED, "reason": "", "attempts": 0, "due_at": now,
            }  # fmt: skip
            connection.execute(schema.uftp_messages.insert(), row)
        for trade, status in trades:
            if isinstance(trade, FlexOrder):
                last = select(func.max(_T.number)).where(_T.kind == FlexOrder.__name__)
                trade = replace(trade, number=(connection.execute(last).scalar() or 0) + 1)
            connection.execute(self._db.upsert(schema.flex_trades), _row(trade, status))
        for trade_id, status in changes:
            connection.execute(update(schema.flex_trades).where(_T.id == trade_id).values(status=status.value))

    def attempted(self, number: int, status: str, reason: str, due_at: datetime, now: datetime) -> None:
        """The outcome of one attempt to deliver: sent, failed, or queued again until `due_at`."""
        change = {"status": status, "reason": reason, "attempts": _M.attempts + 1, "due_at": due_at}
        if status != QUEUED:
            change["done_at"] = now
        with self._db.write() as connection:
            connection.execute(update(schema.uftp_messages).where(_M.number == number).values(change))

    def trade(self, kind: type[T], trade_id: str) -> tuple[T, TradeStatus]:
        """Raises NotFound."""
        with self._db.read() as connection:
            query = select(_T.body, _T.status).where(_T.id == trade_id, _T.kind == kind.__name__)
            row = connection.execute(query).first()
        if row is None:
            raise NotFound(f"{kind.__name__} {trade_id}")
        return loads(kind, row.body), TradeStatus(row.status)

    def awaits(self, peer: str, trade_id: str) -> bool:
        """Whether a prognosis or offer of ours still waits for the verdict of that grid operator."""
        kinds = (Prognosis.__name__, FlexOffer.__name__)
        query = select(_T.id).where(
            _T.id == trade_id, _T.peer == peer, _T.kind.in_(kinds), _T.status == TradeStatus.OPEN.value
        )
        with self._db.read() as connection:
            return connection.execute(query).first() is not None

    def trades(
        self, kind: type[T], start: datetime, end: datetime, *statuses: TradeStatus, point: str | None = None
    ) -> list[T]:
        """Those of a day that overlaps [start, end), of any status where none is named; by number."""
        query = select(_T.body).where(_T.kind == kind.__name__, _T.start < end, _T.end > start)
        if statuses:
            query = query.where(_T.status.in_([s.value for s in statuses]))
        if point is not None:
            query = query.where(_T.congestion_point == point)
        with self._db.read() as connection:
            found = connection.execute(query.order_by(_T.number, _T.id)).scalars()
            return [loads(kind, body) for body in found]


def _row(trade: Trade, status: TradeStatus) -> dict[str, Any]:
    number = trade.number if isinstance(trade, FlexOrder) else getattr(trade, "revision", 0)
    return {
        "id": trade.id, "kind": type(trade).__name__, "congestion_point": trade.congestion_point, "peer": trade.peer,
        "start": trade.grid.start, "end": trade.grid.end, "number": number, "status": status.value,
        "body": dumps(trade),
    }  # fmt: skip
