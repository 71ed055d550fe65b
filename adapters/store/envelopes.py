"""Operating envelopes as they were received: every revision is kept, so that a past run can be told what it knew."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import func, or_, select

from adapters.store import schema
from adapters.store.codec import dumps, loads
from adapters.store.database import Database
from vpp.domain.envelope import Envelope
from vpp.domain.errors import StaleRevision

_E = schema.envelopes.c


class Envelopes:
    """What issuers sent, by issuer, id and revision."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def save(self, envelope: Envelope) -> Envelope:
        """Keep a revision and return it; the same one again returns what is kept, with the time it first came.

        Raises StaleRevision for one older than the newest, and for one that says otherwise under its number.
        """
        newest = select(_E.body).where(_E.issuer == envelope.issuer, _E.id == envelope.id)
        with self._db.write() as connection:
            body = connection.execute(newest.order_by(_E.revision.desc()).limit(1)).scalar()
            known = None if body is None else loads(Envelope, body)
            if known is not None and envelope.revision < known.revision:
                raise StaleRevision(f"{envelope.id}: revision {known.revision} is known, {envelope.revision} is older")
            if known is not None and envelope.revision == known.revision:
                if known.content != envelope.content:
                    raise StaleRevision(f"{envelope.id}: revision {known.revision} says otherwise; send a higher one")
                return known
            row = {
                "issuer": envelope.issuer, "id": envelope.id, "revision": envelope.revision,
                "received_at": envelope.received_at, "until": envelope.until, "body": dumps(envelope),
            }  # fmt: skip
            connection.execute(schema.envelopes.insert(), row)
        return envelope

    def known(self, at: datetime, since: datetime, also: Collection[str] = ()) -> list[Envelope]:
        """The newest revision of every id among those received by `at` where it says something of times after `since`,
        and in any case that of the ids `also`; by issuer and id."""
        newest = (
            select(_E.issuer, _E.id, func.max(_E.revision).label("revision"))
            .where(_E.received_at <= at)
            .group_by(_E.issuer, _E.id)
            .subquery()
        )
        same = (newest.c.issuer == _E.issuer) & (newest.c.id == _E.id) & (newest.c.revision == _E.revision)
        wanted = or_(_E.until > since, _E.id.in_(list(also)))
        query = select(_E.body).join(newest, same).where(wanted).order_by(_E.issuer, _E.id)
        with self._db.read() as connection:
            return [loads(Envelope, body) for body in connection.execute(query).scalars()]
