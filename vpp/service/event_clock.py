"""Plays the demand-response calls of a portfolio: call, offers, answers, order, stops, settlement.

In a live service the grid desk calls and the sites answer through the API; here the portfolio's
`events.yaml` says who does what when. A statement comes a quarter of an hour after the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from vpp.domain.errors import DataGap, NotFound
from vpp.domain.market import Event, EventStatus
from vpp.domain.time import QUARTER, floor_to
from vpp.service import dr
from vpp.service.portfolio import EventPlan
from vpp.service.statements import settle_event
from vpp.service.system import System
from vpp.service.truth import true_delivery


@dataclass
class EventClock:
    """The calls of one portfolio; what was done is in the record, so a restart goes on where it stopped."""

    system: System
    plans: tuple[EventPlan, ...] = ()
    settled: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)

    def tick(self, now: datetime) -> None:
        """Everything of every event that is due by `now`."""
        for plan in self.plans:
            self._play(plan, now)
        for event in self.system.store.events.list():
            self._age(event, now)

    def _play(self, plan: EventPlan, now: datetime) -> None:
        event = plan.event
        if not event.called_at <= now < event.end + 2 * QUARTER:
            return
        status = self._status(event.id)
        if status in (None, EventStatus.REQUESTED) and now < event.start:
            dr.make_offers(self.system, event, plan.fills_gap, floor_to(now, QUARTER))
            status = EventStatus.OFFERED
        if status is EventStatus.OFFERED and now >= event.accept_by:
            offered = {o.site for o in self.system.store.events.offers(event.id)}
            for answer in plan.answers:
                if answer.site in offered:
                    dr.answer(self.system, event.id, answer.site, answer.share, now)
            dr.order(self.system, event.id, now)
        for answer in plan.answers:
            if answer.stops_at is not None and answer.stops_at <= now < event.end:
                self._stop(event.id, answer.site, answer.stops_at, answer.reason)

    def _stop(self, event_id: str, site: str, at: datetime, reason: str) -> None:
        accepted = {a.site: a for a in self.system.store.events.acceptances(event_id)}
        if site in accepted and accepted[site].withdrawn_at is None:
            self.system.store.events.withdraw(event_id, site, at, reason)

    def _status(self, event_id: str) -> EventStatus | None:
        try:
            return self.system.store.events.get(event_id).status
        except NotFound:
            return None

    def _age(self, event: Event, now: datetime) -> None:
        if event.status is EventStatus.ORDERED and now >= event.start:
            event = self.system.store.events.save(replace(event, status=EventStatus.ACTIVE))
        if event.status is EventStatus.ACTIVE and now >= event.end:
            event = self.system.store.events.save(replace(event, status=EventStatus.COMPLETED))
        if event.status is EventStatus.COMPLETED and now >= event.end + QUARTER:
            self._settle(event, now)

    def _settle(self, event: Event, now: datetime) -> None:
        """The statement, as soon as the meter is complete."""
        try:
            settle_event(self.system.store, self.system.portfolio, event.id)
        except DataGap as why:
            if event.id not in self.waiting:
                self.waiting.append(event.id)
                self.system.store.alarms.raise_("settlement", f"{event.id} waits for its meter: {why}", now)
            return
        self.system.store.settings.put(f"truth:{event.id}", true_delivery(self.system, event))
        self.settled.append(event.id)
