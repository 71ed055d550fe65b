"""How each run's forecast was made, what was forecast of each next day, and how it scored."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import delete, select

from adapters.store import schema
from adapters.store.codec import dumps, loads
from adapters.store.database import Database
from vpp.domain.errors import NotFound
from vpp.domain.forecast import Origin
from vpp.domain.learnt import DayForecast, DayScore
from vpp.domain.time import QUARTER, TimeGrid

KEPT = timedelta(days=35)
_F, _R = schema.forecasts.c, schema.run_forecasts.c
_D, _S = schema.forecast_days.c, schema.forecast_scores.c


class Forecasts:
    """Origins by run, days to be scored, and their scores."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def used(self, run_id: str, origin: Origin, archive_until: datetime) -> None:
        """`run_id`, which is recorded, used the forecast of `origin`; beyond `archive_until` it knew meters only."""
        row = {
            "digest": origin.digest, "issued_at": origin.issued_at, "start": origin.grid.start,
            "quarters": origin.grid.n, "scenarios": origin.scenarios, "archive_until": archive_until,
            "models": dumps(origin.models),
        }  # fmt: skip
        link = {"run_id": run_id, "digest": origin.digest, "issued_at": origin.issued_at}
        with self._db.write() as connection:
            keys = ["digest", "issued_at"]
            connection.execute(
                self._db.insert(schema.forecasts).on_conflict_do_nothing(index_elements=keys), row
            )  # fmt: skip
            connection.execute(schema.run_forecasts.insert(), link)

    def of_run(self, run_id: str) -> tuple[Origin, datetime]:
        """How the forecast of a run was made, and until when the archive was known. Raises NotFound."""
        same = (_F.digest == _R.digest) & (_F.issued_at == _R.issued_at)
        query = select(schema.forecasts).join(schema.run_forecasts, same).where(_R.run_id == run_id)
        with self._db.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise NotFound(f"forecast of run {run_id}")
        grid = TimeGrid.uniform(row.start, QUARTER, row.quarters)
        return Origin(row.issued_at, grid, row.scenarios, json.loads(row.models), row.digest), row.archive_until

    def keep_day(self, made: DayForecast) -> None:
        """Keep what was forecast of a day, in the place of what was kept of it; days long past go."""
        packed = io.BytesIO()
        np.savez_compressed(packed, quantiles=made.quantiles, naive=made.naive)
        body = {"series": made.series, "levels": made.levels, "source": made.source, "quarters": made.grid.n}
        row = {
            "day": made.grid.start, "end": made.grid.end, "issued_at": made.issued_at,
            "body": dumps(body), "blob": packed.getvalue(),
        }  # fmt: skip
        with self._db.write() as connection:
            connection.execute(self._db.upsert(schema.forecast_days), row)
            connection.execute(delete(schema.forecast_days).where(_D.end < made.issued_at - KEPT))

    def days(self, start: datetime, end: datetime) -> list[DayForecast]:
        """What was forecast of the days that ended in (start, end], in order."""
        query = select(schema.forecast_days).where(_D.end > start, _D.end <= end).order_by(_D.day)
        with self._db.read() as connection:
            rows = connection.execute(query).all()
        found = []
        for row in rows:
            body = json.loads(row.body)
            with np.load(io.BytesIO(row.blob), allow_pickle=False) as arrays:
                quantiles, naive = arrays["quantiles"], arrays["naive"]
            grid = TimeGrid.uniform(row.day, QUARTER, body["quarters"])
            series, levels, source = (tuple(body[name]) for name in ("series", "levels", "source"))
            found.append(DayForecast(row.issued_at, grid, series, levels, source, quantiles, naive))
        return found

    def keep_scores(self, day: datetime, scores: Sequence[DayScore]) -> None:
        """The scores of the day that begins at `day`, in the place of all that were kept of it."""
        rows = [{"series": s.series, "day": day, "body": dumps(s)} for s in scores]
        with self._db.write() as connection:
            connection.execute(delete(schema.forecast_scores).where(_S.day == day))
            if rows:
                connection.execute(schema.forecast_scores.insert(), rows)

    def scores(self, start: datetime, end: datetime) -> list[DayScore]:
        """Scores of the days that begin in [start, end), by day and series."""
        query = select(_S.body).where(_S.day >= start, _S.day < end).order_by(_S.day, _S.series)
        with self._db.read() as connection:
            return [loads(DayScore, text) for text in connection.execute(query).scalars()]
