"""Settings, jobs that answer 202, and alarms."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update

from adapters.store import schema
from adapters.store.codec import dumps
from adapters.store.database import Database
from vpp.domain.errors import NotFound

INTERRUPTED = "interrupted by a restart"
_J, _A = schema.jobs.c, schema.alarms.c


class Settings:
    """JSON values by key."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def get(self, key: str, default: Any = None) -> Any:
        c = schema.settings.c
        with self._db.read() as connection:
            text = connection.execute(select(c.value).where(c.key == key)).scalar()
        return default if text is None else json.loads(text)

    def put(self, key: str, value: Any) -> None:
        with self._db.write() as connection:
            connection.execute(self._db.upsert(schema.settings), {"key": key, "value": dumps(value)})


@dataclass(frozen=True)
class Job:
    """Long work; `status` is queued, running, done or failed, `progress` 0 to 1."""

    id: str
    kind: str
    status: str
    progress: float
    created_at: datetime
    updated_at: datetime
    request: Any
    result: Any
    error: str | None


class Jobs:
    """Long work to poll."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def create(self, kind: str, request: Any = None, now: datetime | None = None) -> str:
        """Returns the id of a queued job."""
        at, job_id = now or datetime.now(UTC), secrets.token_hex(8)
        row = {
            "id": job_id, "kind": kind, "status": "queued", "progress": 0.0,
            "created_at": at, "updated_at": at, "request": dumps(request),
        }  # fmt: skip
        with self._db.write() as connection:
            connection.execute(schema.jobs.insert(), row)
        return job_id

    def update(
        self,
        job_id: str,
        status: str | None = None,
        progress: float | None = None,
        result: Any = None,
        error: str | None = None,
        now: datetime | None = None,
    ) -> None:
        """Change what is given. Raises NotFound."""
        given = {"status": status, "progress": progress, "error": error}
        values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if result is not None:
            values["result"] = dumps(result)
        values["updated_at"] = now or datetime.now(UTC)
        with self._db.write() as connection:
            if connection.execute(update(schema.jobs).where(_J.id == job_id).values(values)).rowcount == 0:
                raise NotFound(f"job {job_id}")

    def interrupted(self, now: datetime) -> int:
        """Fail every queued or running job, whose service has ended; their number."""
        open_ = _J.status.in_(("queued", "running"))
        change = update(schema.jobs).where(open_).values(status="failed", error=INTERRUPTED, updated_at=now)
        with self._db.write() as connection:
            return connection.execute(change).rowcount

    def get(self, job_id: str) -> Job:
        """Raises NotFound."""
        columns = [_J[name] for name in Job.__dataclass_fields__]
        with self._db.read() as connection:
            row = connection.execute(select(*columns).where(_J.id == job_id)).first()
        if row is None:
            raise NotFound(f"job {job_id}")
        values = dict(row._mapping)
        texts = {name: None if values[name] is None else json.loads(values[name]) for name in ("request", "result")}
        return Job(**{**values, **texts})


@dataclass(frozen=True)
class Alarm:
    """Something a person should see; `count` how often it was raised since `raised_at`."""

    number: int
    code: str
    severity: str
    message: str
    run_id: str | None
    raised_at: datetime
    last_at: datetime
    count: int
    acked_by: str | None
    acked_at: datetime | None


class Alarms:
    """Alarms stay until acknowledged."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def raise_(
        self, code: str, message: str, at: datetime, severity: str = "warning", run_id: str | None = None
    ) -> int:
        """Number of the alarm; one of the same code that nobody acknowledged counts up instead of repeating."""
        latest = {"message": message, "severity": severity, "run_id": run_id, "last_at": at}
        with self._db.write() as connection:
            open_ = select(_A.number).where(_A.code == code, _A.acked_at.is_(None))
            number: int | None = connection.execute(open_).scalar()
            if number is not None:
                change = update(schema.alarms).where(_A.number == number)
                connection.execute(change.values(**latest, count=_A.count + 1))
                return number
            insert = schema.alarms.insert().values(**latest, code=code, raised_at=at, count=1)
            return int(connection.execute(insert.returning(_A.number)).scalar_one())

    def list(self, open_only: bool = True, limit: int = 200) -> list[Alarm]:
        """The newest first."""
        columns = [_A[name] for name in Alarm.__dataclass_fields__]
        query = select(*columns).order_by(_A.last_at.desc(), _A.number.desc()).limit(limit)
        if open_only:
            query = query.where(_A.acked_at.is_(None))
        with self._db.read() as connection:
            return [Alarm(*row) for row in connection.execute(query)]

    def ack(self, number: int, by: str, at: datetime) -> None:
        """Raises NotFound where it does not exist or is acknowledged already."""
        change = update(schema.alarms).where(_A.number == number, _A.acked_at.is_(None))
        with self._db.write() as connection:
            if connection.execute(change.values(acked_by=by, acked_at=at)).rowcount == 0:
                raise NotFound(f"open alarm {number}")
