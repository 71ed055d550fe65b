"""Demand-response events, offers, answers, statements; and proposals of people and the grid."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select, update

from adapters.store import schema
from adapters.store.codec import dumps, loads
from adapters.store.database import Database
from vpp.domain.command import Proposal
from vpp.domain.errors import NotFound
from vpp.domain.market import Acceptance, Event, EventStatus, FlexibilityOffer, Statement

_E, _P = schema.events.c, schema.proposals.c
_EVENT = tuple(_E[name] for name in Event.__dataclass_fields__)


class Events:
    """Every version of an event is kept."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def save(self, event: Event) -> Event:
        """Store a new version and return it; its number is raised where that version already says otherwise.

        An event equal to its newest version is returned as it is.
        """
        with self._db.write() as connection:
            row = connection.execute(_newest(event.id)).first()
            newest = None if row is None else _event(row)
            if newest is not None and replace(event, version=newest.version) == newest:
                return newest
            version = event.version if newest is None else max(event.version, newest.version + 1)
            stored = replace(event, version=version)
            connection.execute(schema.events.insert(), {**vars(stored), "status": stored.status.value})
        return stored

    def get(self, event_id: str, version: int | None = None) -> Event:
        """That version, or the newest. Raises NotFound."""
        query = _newest(event_id)
        if version is not None:
            query = query.where(_E.version == version)
        with self._db.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise NotFound(f"event {event_id}")
        return _event(row)

    def save_offer(self, offer: FlexibilityOffer) -> None:
        """The same id again replaces the offer."""
        row = {"id": offer.id, "event": offer.event, "site": offer.site, "body": dumps(offer)}
        with self._db.write() as connection:
            connection.execute(self._db.upsert(schema.offers), row)

    def offers(self, event_id: str) -> list[FlexibilityOffer]:
        """By site."""
        c = schema.offers.c
        query = select(c.body).where(c.event == event_id).order_by(c.site, c.id)
        with self._db.read() as connection:
            return [loads(FlexibilityOffer, body) for body in connection.execute(query).scalars()]

    def save_acceptance(self, acceptance: Acceptance) -> None:
        """One answer per (event, site); the last one holds."""
        row = {"event": acceptance.event, "site": acceptance.site, "body": dumps(acceptance)}
        with self._db.write() as connection:
            connection.execute(self._db.upsert(schema.acceptances), row)

    def acceptances(self, event_id: str) -> list[Acceptance]:
        """By site, withdrawn ones included."""
        c = schema.acceptances.c
        query = select(c.body).where(c.event == event_id).order_by(c.site)
        with self._db.read() as connection:
            return [loads(Acceptance, body) for body in connection.execute(query).scalars()]

    def withdraw(self, event_id: str, site: str, at: datetime, reason: str) -> Acceptance:
        """A site stops; a second withdrawal keeps the first time. Raises NotFound where it never accepted."""
        found = next((a for a in self.acceptances(event_id) if a.site == site), None)
        if found is None:
            raise NotFound(f"acceptance of {event_id} by {site}")
        if found.withdrawn_at is None:
            found = replace(found, withdrawn_at=at, reason=reason)
            self.save_acceptance(found)
        return found

    def save_statement(self, statement: Statement) -> None:
        """One statement per event; the last one holds."""
        with self._db.write() as connection:
            row = {"event": statement.event, "body": dumps(statement)}
            connection.execute(self._db.upsert(schema.statements), row)

    def statement(self, event_id: str) -> Statement | None:
        """None until it is settled."""
        c = schema.statements.c
        with self._db.read() as connection:
            body = connection.execute(select(c.body).where(c.event == event_id)).scalar()
        return None if body is None else loads(Statement, body)

    def add_proposal(self, proposal: Proposal) -> None:
        """The same id again replaces it, and revives one that was cancelled."""
        row = {
            "id": proposal.id, "asset_id": proposal.asset_id, "priority": int(proposal.priority),
            "start": proposal.start, "end": proposal.end, "cancelled": False, "body": dumps(proposal),
        }  # fmt: skip
        with self._db.write() as connection:
            connection.execute(self._db.upsert(schema.proposals), row)

    def active_proposals(self, at: datetime, until: datetime | None = None) -> list[Proposal]:
        """Not cancelled and in force at `at`, or anywhere in [at, until); highest priority first."""
        last = _P.start <= at if until is None else _P.start < until
        query = select(_P.body).where(_P.end > at, last, _P.cancelled.is_(False))
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(_P.priority.desc(), _P.start, _P.id)).scalars()
            return [loads(Proposal, body) for body in rows]

    def cancel_proposal(self, proposal_id: str) -> None:
        """Raises NotFound."""
        change = update(schema.proposals).where(_P.id == proposal_id).values(cancelled=True)
        with self._db.write() as connection:
            if connection.execute(change).rowcount == 0:
                raise NotFound(f"proposal {proposal_id}")

    def list(self, start: datetime | None = None, end: datetime | None = None) -> list[Event]:
        """The newest version of each event that overlaps [start, end), in order of their start."""
        newest = select(_E.id, func.max(_E.version).label("version")).group_by(_E.id).subquery()
        query = select(*_EVENT).join(newest, (newest.c.id == _E.id) & (newest.c.version == _E.version))
        if start is not None:
            query = query.where(_E.end > start)
        if end is not None:
            query = query.where(_E.start < end)
        with self._db.read() as connection:
            return [_event(row) for row in connection.execute(query.order_by(_E.start, _E.id))]


def _newest(event_id: str) -> Any:
    return select(*_EVENT).where(_E.id == event_id).order_by(_E.version.desc()).limit(1)


def _event(row: Row[Any]) -> Event:
    return Event(**{**row._mapping, "status": EventStatus(row.status)})
