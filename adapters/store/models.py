"""The registry of trained models: one row a training, found again by the digest of what was learnt from."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select

from adapters.store import schema
from adapters.store.codec import dumps, restore
from adapters.store.database import Database
from vpp.domain.errors import NotFound
from vpp.domain.learnt import ModelRecord, TrialScore

_M = schema.models.c
_BODY = ("features", "levels", "series", "trials")


@dataclass(frozen=True)
class ModelSummary:
    """A training without its models."""

    digest: str
    stage: str
    until: datetime
    features: tuple[str, ...]
    levels: tuple[float, ...]
    series: tuple[str, ...]
    trials: dict[str, TrialScore]


class Models:
    """Trainings, kept for as long as a forecast may have to be made again."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def keep(self, record: ModelRecord) -> None:
        """Idempotent: what was learnt from equal data is one row, the last that was trained."""
        body = {name: getattr(record, name) for name in _BODY}
        row = {"digest": record.digest, "stage": record.stage, "until": record.until, "blob": record.blob}
        with self._db.write() as connection:
            connection.execute(self._db.upsert(schema.models), {**row, "body": dumps(body)})

    def prune(self, newest: int) -> int:
        """Drop the trainings that no forecast of a run refers to, but for the `newest` of each stage; their number."""
        with self._db.write() as connection:
            used = connection.execute(select(schema.forecasts.c.models).distinct()).scalars()
            kept = {digest for text in used for digest in json.loads(text).values()}
            seen: Counter[str] = Counter()
            for row in connection.execute(select(_M.digest, _M.stage).order_by(_M.until.desc())).all():
                seen[row.stage] += 1
                if seen[row.stage] <= newest:
                    kept.add(row.digest)
            gone = connection.execute(delete(schema.models).where(_M.digest.not_in(kept)))
        return int(gone.rowcount)

    def get(self, digest: str) -> ModelRecord:
        """Raises NotFound."""
        with self._db.read() as connection:
            row = connection.execute(select(schema.models).where(_M.digest == digest)).first()
        if row is None:
            raise NotFound(f"models {digest}")
        return ModelRecord(row.digest, row.stage, row.until, **_told(row.body), blob=row.blob)

    def list(self, stage: str | None = None, limit: int = 100) -> list[ModelSummary]:
        """The newest first, without their blobs."""
        query = select(_M.digest, _M.stage, _M.until, _M.body).order_by(_M.until.desc(), _M.stage).limit(limit)
        if stage is not None:
            query = query.where(_M.stage == stage)
        with self._db.read() as connection:
            rows = connection.execute(query).all()
        return [ModelSummary(row.digest, row.stage, row.until, **_told(row.body)) for row in rows]


def _told(text: str) -> dict[str, Any]:
    body = json.loads(text)
    trials = {name: restore(TrialScore, trial) for name, trial in body.pop("trials").items()}
    return {**{name: tuple(value) for name, value in body.items()}, "trials": trials}
