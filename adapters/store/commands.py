"""The outbox: what is to be sent, what was sent, and what became of it.

A command is claimed before it is sent and marked after; one that is claimed and not marked when a
process dies may have been executed, so it is sent again and the device side refuses the repeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, bindparam, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from adapters.store import schema
from adapters.store.database import Database
from vpp.domain.command import CommandStatus, Outcome, Quantity, Setpoint

_C, _O = schema.setpoints.c, schema.outbox.c
_SETPOINT = tuple(_C[name] for name in Setpoint.__dataclass_fields__)
_PENDING = _O.status == CommandStatus.PENDING.value
_FINAL = ("acked", "expired", "superseded", "rejected", "lost")
_MARK = (
    update(schema.outbox)
    .where(_O.setpoint_id == bindparam("b_id"), _PENDING)
    .values(
        status=bindparam("b_status"), done_at=bindparam("b_at"),
        readback=bindparam("b_readback"), reason=bindparam("b_reason"),
    )
)  # fmt: skip


@dataclass(frozen=True)
class CommandRecord:
    """A set-point with its place in the outbox."""

    setpoint: Setpoint
    status: CommandStatus
    attempts: int
    claimed_at: datetime | None
    done_at: datetime | None
    readback: float | None
    reason: str


class Commands:
    """Epochs and the outbox."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def next_epoch(self, now: datetime) -> int:
        """A number greater than every earlier one, durable; commands of older epochs are refused from here on."""
        while True:
            try:
                with self._db.write() as connection:
                    epoch = 1 + (connection.execute(select(func.max(schema.epochs.c.epoch))).scalar() or 0)
                    connection.execute(schema.epochs.insert(), {"epoch": epoch, "started_at": now})
                    return epoch
            except IntegrityError:
                continue

    def due(self, now: datetime, limit: int = 1000) -> list[Setpoint]:
        """Claims and returns unclaimed pending set-points of released runs, oldest first."""
        ready = _PENDING & _O.claimed_at.is_(None) & schema.runs.c.released.is_(True)
        query = (
            select(*_SETPOINT)
            .join(schema.outbox, _O.setpoint_id == _C.id)
            .join(schema.runs, schema.runs.c.id == _C.run_id)
            .where(ready)
            .order_by(_C.number)
            .limit(limit)
        )
        if self._db.engine.dialect.name == "postgresql":
            query = query.with_for_update(of=schema.outbox, skip_locked=True)
        with self._db.write() as connection:
            found = [Setpoint(*row) for row in connection.execute(query)]
            if found:
                claim = update(schema.outbox).where(_O.setpoint_id == bindparam("b_id"))
                claim = claim.values(claimed_at=now, attempts=_O.attempts + 1)
                connection.execute(claim, [{"b_id": s.id} for s in found])
        return found

    def unfinished(self) -> list[Setpoint]:
        """Claimed without a final outcome: a process died between sending and marking."""
        query = (
            select(*_SETPOINT)
            .join(schema.outbox, _O.setpoint_id == _C.id)
            .where(_PENDING, _O.claimed_at.is_not(None))
            .order_by(_C.number)
        )
        with self._db.read() as connection:
            return [Setpoint(*row) for row in connection.execute(query)]

    def mark(self, outcomes: Sequence[Outcome]) -> None:
        """Store final outcomes; one that already has a final outcome keeps it."""
        final = [o for o in outcomes if o.status is not CommandStatus.PENDING]
        rows = [
            {
                "b_id": o.setpoint_id,
                "b_status": o.status.value,
                "b_at": o.at,
                "b_readback": o.readback,
                "b_reason": o.reason,
            }
            for o in final
        ]
        if rows:
            with self._db.write() as connection:
                connection.execute(_MARK, rows)

    def supersede(self, asset_id: str, epoch: int, before_sequence: int, now: datetime | None = None) -> int:
        """Pending ones of this asset older than (epoch, before_sequence), claimed or not; returns how many."""
        older = or_(_C.epoch < epoch, and_(_C.epoch == epoch, _C.sequence < before_sequence))
        target = select(_C.id).where(_C.asset_id == asset_id, older)
        reason = f"replaced by {epoch}/{before_sequence}"
        return self._close(target, CommandStatus.SUPERSEDED, now, reason)

    def expire(self, now: datetime) -> int:
        """Pending ones whose time is over and that were never sent; returns how many."""
        target = select(_C.id).where(_C.valid_until <= now)
        return self._close(target, CommandStatus.EXPIRED, now, "not sent in time", _O.claimed_at.is_(None))

    def _close(self, target: Any, status: CommandStatus, now: datetime | None, reason: str, *also: Any) -> int:
        change = update(schema.outbox).where(_PENDING, _O.setpoint_id.in_(target), *also)
        with self._db.read() as connection:
            if connection.execute(select(_O.setpoint_id).where(_PENDING, *also).limit(1)).first() is None:
                return 0
        with self._db.write() as connection:
            result = connection.execute(change.values(status=status.value, done_at=now, reason=reason))
            return int(result.rowcount)

    def counts(self) -> dict[str, int]:
        """By status; `sent` is the sum of the five final ones."""
        query = select(_O.status, func.count()).group_by(_O.status)
        with self._db.read() as connection:
            found = {status: n for status, n in connection.execute(query)}
        finals = {status: found.get(status, 0) for status in _FINAL}
        return {**finals, "pending": found.get("pending", 0), "sent": sum(finals.values())}

    def recent(self, n: int, asset_id: str | None = None) -> list[CommandRecord]:
        """The newest commands first."""
        query = _records().order_by(_C.number.desc()).limit(n)
        if asset_id is not None:
            query = query.where(_C.asset_id == asset_id)
        with self._db.read() as connection:
            return [_record(row) for row in connection.execute(query)]

    def acknowledged(
        self, asset_ids: Sequence[str], quantity: Quantity, start: datetime, end: datetime
    ) -> list[Setpoint]:
        """Set-points of one quantity that devices took and that were valid in [start, end), oldest first."""
        query = (
            select(*_SETPOINT)
            .join(schema.outbox, _O.setpoint_id == _C.id)
            .where(
                _C.asset_id.in_(asset_ids), _C.quantity == quantity, _C.valid_from < end, _C.valid_until > start,
                _O.status == CommandStatus.ACKED.value,
            )
            .order_by(_C.number)
        )  # fmt: skip
        with self._db.read() as connection:
            return [Setpoint(*row) for row in connection.execute(query)]

    def of_run(self, run_id: str) -> list[CommandRecord]:
        """The commands of one run in their order."""
        with self._db.read() as connection:
            rows = connection.execute(_records().where(_C.run_id == run_id).order_by(_C.number))
            return [_record(row) for row in rows]


def _records() -> Any:
    outbox = (_O.status, _O.attempts, _O.claimed_at, _O.done_at, _O.readback, _O.reason)
    return select(*_SETPOINT, *outbox).join(schema.outbox, _O.setpoint_id == _C.id)


def _record(row: Row[Any]) -> CommandRecord:
    n = len(_SETPOINT)
    status, *rest = row[n:]
    return CommandRecord(Setpoint(*row[:n]), CommandStatus(status), *rest)
