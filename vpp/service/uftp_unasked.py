"""What the aggregator says unasked: D-prognoses, and the revocation of offers that do not hold any more.

A plan that lacks a part of what was ordered is named to the operator by an alarm.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from adapters.uftp.writing import prognosis, revocation
from vpp.domain.errors import Fault, InputFaults, SoldTwice
from vpp.domain.flex_trade import FlexOffer, FlexOrder, Prognosis, TradeStatus
from vpp.domain.stage import DAY_AHEAD, INTRADAY
from vpp.domain.time import rfc3339
from vpp.service.desk import ROLL
from vpp.service.headroom import ledger_of
from vpp.service.orders import shortfalls
from vpp.service.system import System
from vpp.service.uftp_config import UftpConfig
from vpp.service.uftp_offer import LIVE, claim_on, situation_for
from vpp.service.uftp_prognosis import due_prognoses

FAR = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass
class Unasked:
    """Looks at what is due where there is a new plan or a new order; `lock` is held by whoever ticks the loop."""

    system: System
    config: UftpConfig
    lock: threading.RLock
    wall: Callable[[], datetime]
    _seen: tuple[str, ...] = ()

    def speak(self, now: datetime) -> None:
        """Write what is due."""
        record = self.system.store.uftp
        plans = [run for stage in (DAY_AHEAD, INTRADAY) for run in self.system.store.runs.list(1, stage)]
        orders = record.trades(FlexOrder, now, FAR)
        seen = (*(f"{run.id} {run.released}" for run in plans), *(o.id for o in orders))
        if seen == self._seen:
            return
        for said in due_prognoses(self.system, self.config, now):
            letter = prognosis(said, self.config.names(said.peer))
            record.put(self.wall(), [letter], [(said, TradeStatus.OPEN)])
        roll = self.system.store.runs.latest(INTRADAY, ROLL)
        if roll is not None:
            known = [o for o in orders if o.ordered_at < roll.issued_at]
            for text in shortfalls(known, roll.schedule, now):
                self.system.store.alarms.raise_("uftp order", text, now, run_id=roll.id)
        for made in record.trades(FlexOffer, now, FAR, *LIVE):
            if made.expires_at > now and not self._holds(made, now):
                self.system.store.alarms.raise_("uftp", f"offer {made.id} does not hold any more and is revoked", now)
                self._revoke(made, now)
        self._seen = seen

    def revoke(self, offer_id: str, now: datetime) -> FlexOffer:
        """Take an offer back. Raises NotFound, InputFaults where it cannot be ordered any more."""
        made, status = self.system.store.uftp.trade(FlexOffer, offer_id)
        if status not in LIVE or made.expires_at <= now:
            raise InputFaults([Fault(offer_id, "", f"is {status.value}, valid until {rfc3339(made.expires_at)}")])
        self._revoke(made, now)
        return made

    def _revoke(self, made: FlexOffer, now: datetime) -> None:
        letter = revocation(made, self.config.names(made.peer), now)
        self.system.store.uftp.put(self.wall(), [letter], changes=[(made.id, TradeStatus.REVOKED)])

    def _holds(self, made: FlexOffer, now: datetime) -> bool:
        """Whether the headroom left by everything that is sold still carries an offer."""
        said, _ = self.system.store.uftp.trade(Prognosis, made.prognosis)
        last = made.grid.edges[int(np.flatnonzero(np.isfinite(made.mw))[-1]) + 1]
        with self.lock:
            ledger = ledger_of(situation_for(self.system, last, now))
        try:
            ledger.require_reach(claim_on(ledger, made.id, made.assets, made.grid, made.mw, said.bare_mw))
        except SoldTwice:
            return False
        return True
