"""Stage runs: claimed once per cycle, recorded with their set-points and outbox in one transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from adapters.store import schema
from adapters.store.codec import dumps, restore
from adapters.store.database import Database
from vpp.domain.command import CommandStatus, Setpoint
from vpp.domain.errors import NotFound, StaleEpoch
from vpp.domain.network import Certificate
from vpp.domain.prices import Prices
from vpp.domain.schedule import DispatchRun, Schedule, Solution


@dataclass(frozen=True)
class RunSummary:
    """A run without its trajectories; `objective` None where no solver was used."""

    id: str
    stage: str
    purpose: str
    cycle_start: datetime
    issued_at: datetime
    level: str
    reason: str
    objective: float | None
    verdict: str | None
    inputs_digest: str
    released: bool
    released_by: str | None
    released_at: datetime | None
    wall_s: Mapping[str, float]


@dataclass(frozen=True)
class Cycle:
    """One claimed cycle; `status` None: claimed and never finished."""

    stage: str
    cycle_start: datetime
    claimed_at: datetime
    status: str | None
    run_id: str | None


_SUMMARY = tuple(schema.runs.c[name] for name in RunSummary.__dataclass_fields__)


class Runs:
    """Cycles and runs."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def claim(self, stage: str, cycle_start: datetime, now: datetime) -> bool:
        """True for the one caller, of all processes, that may run this cycle."""
        row = {"stage": stage, "cycle_start": cycle_start, "claimed_at": now}
        try:
            with self._db.write() as connection:
                connection.execute(schema.cycles.insert(), row)
        except IntegrityError:
            return False
        return True

    def finish(self, stage: str, cycle_start: datetime, run_id: str | None, status: str) -> None:
        """What became of a claimed cycle. Raises NotFound where nobody claimed it."""
        c = schema.cycles.c
        change = update(schema.cycles).where(c.stage == stage, c.cycle_start == cycle_start)
        with self._db.write() as connection:
            if connection.execute(change.values(run_id=run_id, status=status)).rowcount == 0:
                raise NotFound(f"cycle {stage} {cycle_start} was not claimed")

    def reopen(self, stage: str, cycle_start: datetime) -> None:
        """Give up the claim of a cycle that nobody finished, so that it can be run after all."""
        c = schema.cycles.c
        mine = c.stage == stage, c.cycle_start == cycle_start, c.status.is_(None)
        with self._db.write() as connection:
            connection.execute(delete(schema.cycles).where(*mine))

    def cycles(self, stage: str | None = None, unfinished_only: bool = False) -> list[Cycle]:
        """Claimed cycles in order of their start."""
        c = schema.cycles.c
        query = select(c.stage, c.cycle_start, c.claimed_at, c.status, c.run_id).order_by(c.cycle_start, c.stage)
        if stage is not None:
            query = query.where(c.stage == stage)
        if unfinished_only:
            query = query.where(c.status.is_(None))
        with self._db.read() as connection:
            return [Cycle(*row) for row in connection.execute(query)]

    def record(self, run: DispatchRun, setpoints: Sequence[Setpoint]) -> list[Setpoint]:
        """The run, its numbered set-points and their outbox rows, all or nothing.

        Returns the set-points with their sequence, increasing per (asset, epoch). Raises StaleEpoch
        where a set-point's epoch is not the newest; nothing is written then.
        """
        with self._db.write() as connection:
            _refuse_stale(connection, setpoints)
            connection.execute(schema.runs.insert(), _run_row(run))
            if not setpoints:
                return []
            numbered = self._number(connection, setpoints)
            connection.execute(schema.setpoints.insert(), [_setpoint_row(s) for s in numbered])
            connection.execute(schema.outbox.insert(), [_outbox_row(s) for s in numbered])
        return numbered

    def _number(self, connection: Connection, setpoints: Sequence[Setpoint]) -> list[Setpoint]:
        c = schema.sequences.c
        query = select(c.asset_id, c.last).where(
            c.epoch == setpoints[0].epoch, c.asset_id.in_({s.asset_id for s in setpoints})
        )
        last: dict[str, int] = {asset: number for asset, number in connection.execute(query)}
        numbered = []
        for s in setpoints:
            last[s.asset_id] = last.get(s.asset_id, 0) + 1
            numbered.append(replace(s, sequence=last[s.asset_id]))
        rows = [{"asset_id": a, "epoch": setpoints[0].epoch, "last": n} for a, n in last.items()]
        connection.execute(self._db.upsert(schema.sequences), rows)
        return numbered

    def latest(
        self,
        stage: str,
        purpose: str | None = None,
        released_only: bool = True,
        before: datetime | None = None,
    ) -> DispatchRun | None:
        """The newest run of `stage`, issued before `before`; the last recorded of those issued together."""
        c = schema.runs.c
        query = select(schema.runs).where(c.stage == stage).order_by(c.issued_at.desc(), c.number.desc()).limit(1)
        if purpose is not None:
            query = query.where(c.purpose == purpose)
        if released_only:
            query = query.where(c.released.is_(True))
        if before is not None:
            query = query.where(c.issued_at < before)
        with self._db.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else _run(row)

    def get(self, run_id: str) -> DispatchRun:
        """Raises NotFound."""
        with self._db.read() as connection:
            row = connection.execute(select(schema.runs).where(schema.runs.c.id == run_id)).first()
        if row is None:
            raise NotFound(f"run {run_id}")
        return _run(row)

    def list(self, limit: int = 100, stage: str | None = None) -> list[RunSummary]:
        """The newest runs first."""
        query = select(*_SUMMARY).order_by(schema.runs.c.number.desc()).limit(limit)
        if stage is not None:
            query = query.where(schema.runs.c.stage == stage)
        with self._db.read() as connection:
            return [_summary(row) for row in connection.execute(query)]

    def release(self, run_id: str, by: str, now: datetime) -> None:
        """Let the run's commands leave; a second release changes nothing. Raises NotFound."""
        c = schema.runs.c
        change = update(schema.runs).where(c.id == run_id, c.released.is_(False))
        with self._db.write() as connection:
            if connection.execute(select(c.id).where(c.id == run_id)).first() is None:
                raise NotFound(f"run {run_id}")
            connection.execute(change.values(released=True, released_by=by, released_at=now))

    def counts(self) -> dict[str, int]:
        """Runs by "stage/purpose"."""
        c = schema.runs.c
        query = select(c.stage, c.purpose, func.count()).group_by(c.stage, c.purpose)
        with self._db.read() as connection:
            return {f"{stage}/{purpose}": n for stage, purpose, n in connection.execute(query)}

    def violations(self, purposes: Sequence[str]) -> int:
        """Violations in the certificates of all released runs of these purposes."""
        c = schema.runs.c
        query = select(schema.runs).where(c.verdict == "violated", c.released.is_(True), c.purpose.in_(purposes))
        with self._db.read() as connection:
            found = [_run(row).certificate for row in connection.execute(query)]
        return sum(len(certificate.violations) for certificate in found if certificate is not None)

    def ladder(self, stage: str | None = None) -> dict[str, int]:
        """Runs by level of the ladder."""
        c = schema.runs.c
        query = select(c.level, func.count()).group_by(c.level)
        if stage is not None:
            query = query.where(c.stage == stage)
        with self._db.read() as connection:
            return {level: n for level, n in connection.execute(query)}


def _refuse_stale(connection: Connection, setpoints: Sequence[Setpoint]) -> None:
    if not setpoints:
        return
    newest = connection.execute(select(func.max(schema.epochs.c.epoch))).scalar()
    stale = sorted({s.epoch for s in setpoints if s.epoch != newest})
    if stale:
        raise StaleEpoch(f"epoch {stale[0]} is not the newest, {newest}")


def _run_row(run: DispatchRun) -> dict[str, Any]:
    solution = run.solution
    own_schedule = solution is not None and solution.schedule is run.schedule
    body = {
        "schedule": run.schedule,
        "solution": None if solution is None else replace(solution, schedule=None) if own_schedule else solution,  # type: ignore[arg-type]
        "certificate": run.certificate,
        "inputs": run.inputs,
    }
    plain = ("id", "stage", "purpose", "cycle_start", "issued_at", "level", "reason", "inputs_digest", "released")
    return {
        **{name: getattr(run, name) for name in plain},
        "objective": None if solution is None else solution.objective,
        "verdict": None if run.certificate is None else run.certificate.verdict,
        "released_by": "auto" if run.released else None,
        "released_at": run.issued_at if run.released else None,
        "wall_s": dumps(run.wall_s),
        "body": dumps(body),
    }


def _run(row: Row[Any]) -> DispatchRun:
    body = json.loads(row.body)
    schedule: Schedule = restore(Schedule, body["schedule"])
    solution: Solution | None = None
    if body["solution"] is not None:
        own = body["solution"].pop("schedule")
        schedule_of_solution = schedule if own is None else restore(Schedule, own)
        solution = _solution(body["solution"], schedule_of_solution)
    return DispatchRun(
        row.id, row.stage, row.purpose, row.cycle_start, row.issued_at, row.level, row.reason, solution, schedule,
        None if body["certificate"] is None else restore(Certificate, body["certificate"]),
        row.inputs_digest, json.loads(row.wall_s), row.released, body["inputs"],
    )  # fmt: skip


def _solution(values: dict[str, Any], schedule: Schedule) -> Solution:
    told = values.pop("prices", None)
    return Solution(schedule=schedule, **values, prices=None if told is None else restore(Prices, told))


def _summary(row: Row[Any]) -> RunSummary:
    values = dict(row._mapping)
    return RunSummary(**{**values, "wall_s": json.loads(values["wall_s"])})


def _setpoint_row(setpoint: Setpoint) -> dict[str, Any]:
    return dict(vars(setpoint))


def _outbox_row(setpoint: Setpoint) -> dict[str, Any]:
    return {"setpoint_id": setpoint.id, "status": CommandStatus.PENDING.value, "attempts": 0, "reason": ""}
