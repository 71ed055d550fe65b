"""The aggregator's side of UFTP: keeps what comes in, answers it, says what it owes, sends what is written.

    received and kept -> HTTP 200 -> read, judged, concluded in one transaction -> sent until it is delivered

One worker does everything after the 200, in the order of arrival. What gathers the system's state, and an order as a
whole, holds the lock of whoever ticks its loop; the plans of an offer and delivery do not.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from adapters.store.uftp import FAILED, QUEUED, SENT, Arrived, Message
from adapters.uftp.courier import Courier, Delivery
from adapters.uftp.envelope import Refused, open_envelope
from vpp.domain.flex_trade import FlexOffer
from vpp.service.system import System
from vpp.service.uftp_config import UftpConfig
from vpp.service.uftp_inbox import Inbox
from vpp.service.uftp_unasked import Unasked

log = logging.getLogger(__name__)
POLL_S = 2.0
FIRST_WAIT_S, MOST_WAIT_S = 2.0, 300.0


def wall_clock() -> datetime:
    """Now, aware UTC."""
    return datetime.now(UTC)


@dataclass
class Uftp:
    """`clock` is the service's, simulated or real; `wall` times the delivery of messages."""

    system: System
    config: UftpConfig
    lock: threading.RLock
    clock: Callable[[], datetime]
    wall: Callable[[], datetime] = wall_clock
    inbox: Inbox = field(init=False)
    unasked: Unasked = field(init=False)
    courier: Courier = field(init=False)
    _wake: threading.Event = field(default_factory=threading.Event)
    _ending: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.inbox = Inbox(self.system, self.config, self.lock, self.wall)
        self.unasked = Unasked(self.system, self.config, self.lock, self.wall)
        self.courier = Courier(self.config.file.domain, self.config.signing_key, self.config.endpoints)

    def receive(self, body: bytes, content_type: str) -> tuple[int, str]:
        """Keep a message; the HTTP status and text to answer with."""
        try:
            opened = open_envelope(body, content_type, self.config.keys)
        except Refused as why:
            log.warning("a UFTP request was refused: %s", why)
            return why.status, str(why)
        message = opened.message
        arrived = Arrived(
            opened.domain, str(message.message_id), opened.digest, type(message).__name__,
            str(message.conversation_id), opened.sealed,
        )  # fmt: skip
        self.system.store.uftp.receive(arrived, self.clock(), self.wall())
        self._wake.set()
        return HTTPStatus.OK, ""

    def work(self) -> None:
        """One round: conclude what came in, say what is due, send what is written."""
        for message in self.system.store.uftp.waiting():
            self.inbox.conclude(message, self.clock())
            self.send()
        self.unasked.speak(self.clock())
        self.send()

    def send(self) -> None:
        """Deliver what is due, in order; what is behind a letter that waits for its next attempt waits with it."""
        silent = set[str]()
        for letter in self.system.store.uftp.queued():
            due = letter.due_at is None or letter.due_at <= self.wall()
            if letter.peer not in silent and not (due and self._sent(letter)):
                silent.add(letter.peer)

    def _sent(self, letter: Message) -> bool:
        """Whether the next letter to the same grid operator may be tried."""
        record = self.system.store.uftp
        delivery, why = self.courier.deliver(letter.peer, letter.kind, letter.body.decode())
        now = self.wall()
        if delivery is Delivery.AGAIN and now < letter.at + self.config.file.deliver_for:
            wait = timedelta(seconds=min(FIRST_WAIT_S * 2.0**letter.attempts, MOST_WAIT_S))
            record.attempted(letter.number, QUEUED, why, now + wait, now)
            return False
        if delivery is Delivery.DONE:
            record.attempted(letter.number, SENT, "", now, now)
            return True
        record.attempted(letter.number, FAILED, why, now, now)
        text = f"{letter.kind} {letter.message_id} to {letter.peer} could not be delivered: {why}"
        self.system.store.alarms.raise_("uftp", text, self.clock())
        return delivery is Delivery.FAILED

    def revoke(self, offer_id: str) -> FlexOffer:
        """Take an offer back. Raises NotFound, InputFaults where it cannot be ordered any more."""
        with self.lock:  # an order holds it too
            made = self.unasked.revoke(offer_id, self.clock())
        self._wake.set()
        return made

    def start(self) -> threading.Thread:
        """The worker, until `stop`."""
        thread = threading.Thread(target=self._run, name="uftp", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """End the worker after its round."""
        self._ending.set()
        self._wake.set()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self.work()
            except Exception as why:
                log.exception("a round of the UFTP worker failed")
                text = f"a round of the worker failed: {type(why).__name__}: {why}"
                self.system.store.alarms.raise_("uftp", text, self.clock(), "critical")
            self._wake.wait(POLL_S)
            self._wake.clear()
