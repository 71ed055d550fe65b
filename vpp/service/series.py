"""A portfolio's own series: wall-clock quarters in a file, UTC quarters inside.

Files have two columns, `local_time` (start of the quarter as wall time, no offset) and `mw`.
Two choices are made where wall time and UTC part:

- a wall time that does not exist (the hour skipped in spring) is dropped, because no quarter of UTC
  corresponds to it; this happens when a series was recorded where there is no summer time;
- a wall time that exists twice (the hour repeated in autumn) is the first one, and where the file
  states it twice the second one too; a file that states it once leaves a gap in the second.

A quarter without a row, or with an empty value, is a gap (NaN) and never zero.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from vpp.domain.errors import Fault, InputFaults
from vpp.domain.forecast import Series
from vpp.domain.time import QUARTER, Array
from vpp.service.moments import RANGE, in_range
from vpp.service.portfolio_files import SeriesFile

COLUMNS = ("local_time", "mw")


def utc_of_wall(times: Sequence[datetime], zone: str) -> list[datetime | None]:
    """Naive wall times of `zone` in UTC; None for a time that does not exist, the later fold for a repeat."""
    tz = ZoneInfo(zone)
    seen: set[datetime] = set()
    found: list[datetime | None] = []
    for wall in times:
        moment = wall.replace(tzinfo=tz, fold=int(wall in seen)).astimezone(UTC)
        exists = moment.astimezone(tz).replace(tzinfo=None) == wall
        found.append(moment if exists else None)
        seen.add(wall)
    return found


def on_utc_quarters(times: Sequence[datetime], values: Array, zone: str, where: str) -> tuple[datetime, Array]:
    """(start, values (n,)) over every quarter from the first to the last; gaps are NaN. Raises InputFaults."""
    if beyond := [wall for wall in times if not in_range(wall)]:
        raise InputFaults([Fault(where, "local_time", f"{beyond[0].isoformat()} {RANGE}")])
    moments = utc_of_wall(times, zone)
    kept = [(m, v) for m, v in zip(moments, values, strict=True) if m is not None]
    faults = [
        Fault(where, "local_time", f"{wall.isoformat()} is no start of a quarter hour")
        for wall in times
        if wall.minute % 15 or wall.second or wall.microsecond
    ]
    repeated = len(kept) - len({m for m, _ in kept})
    if repeated:
        faults.append(Fault(where, "local_time", f"{repeated} quarters are given twice"))
    if not kept:
        faults.append(Fault(where, "local_time", "there are no rows"))
    if faults:
        raise InputFaults(faults)
    start = min(m for m, _ in kept)
    at = np.array([(m - start) // QUARTER for m, _ in kept])
    filled = np.full(int(at.max()) + 1, np.nan)
    filled[at] = [v for _, v in kept]
    return start, filled


def load_series(spec: SeriesFile, path: Path) -> Series:
    """The series of `spec` in the CSV or Parquet file `path`. Raises InputFaults named for the series."""
    if not path.is_file():
        raise InputFaults([Fault(spec.id, "file", f"missing series: {spec.file} does not exist")])
    try:
        times, values = _parquet(spec.id, path) if path.suffix == ".parquet" else _csv(spec.id, path)
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputFaults([Fault(spec.id, "file", f"{spec.file} is unreadable: {error}")]) from error
    if np.isinf(values).any():
        raise InputFaults([Fault(spec.id, "mw", "holds a value that is not finite")])
    start, filled = on_utc_quarters(times, values, spec.zone, spec.id)
    if not np.isfinite(filled).any() and (spec.kind is None or spec.upper_mw is None):
        raise InputFaults([Fault(spec.id, "mw", f"{spec.file} holds gaps only, no value")])
    upper = np.inf if spec.upper_mw is None else spec.upper_mw
    beyond = np.nonzero((filled < 0.0) | (filled > upper))[0]
    if len(beyond):
        moment = start + int(beyond[0]) * timedelta(minutes=15)
        raise InputFaults([Fault(spec.id, "mw", f"{len(beyond)} values outside 0 to {upper:g}, first at {moment}")])
    return Series(spec.id, start, filled, upper=upper, kind=spec.kind or "")


def _columns(where: str, names: Sequence[str] | None) -> None:
    if tuple(names or ()) != COLUMNS:
        given = ", ".join(names or ()) or "none"
        raise InputFaults([Fault(where, "columns", f"must be {', '.join(COLUMNS)}, got {given}")])


def _csv(where: str, path: Path) -> tuple[list[datetime], Array]:
    times: list[datetime] = []
    values: list[float] = []
    faults: list[Fault] = []
    with path.open(newline="", encoding="utf-8") as lines:
        rows = csv.DictReader(lines)
        _columns(where, rows.fieldnames)
        for row in rows:
            try:
                times.append(_wall(row["local_time"]))
                values.append(float(row["mw"]) if row["mw"] else np.nan)
            except (ValueError, TypeError) as error:
                faults.append(Fault(where, f"line {rows.line_num}", str(error)))
    if faults:
        raise InputFaults(faults)
    return times, np.array(values)


def _wall(text: str) -> datetime:
    wall = datetime.fromisoformat(text)
    if wall.tzinfo is not None:
        raise ValueError(f"{text} has an offset, wall time is expected")
    return wall


def _parquet(where: str, path: Path) -> tuple[list[datetime], Array]:
    from pyarrow import parquet

    table = parquet.read_table(path)
    _columns(where, table.column_names)
    times = table["local_time"].to_pylist()
    if not all(isinstance(t, datetime) and t.tzinfo is None for t in times):
        raise ValueError("local_time must be timestamps without a zone")
    return times, np.asarray(table["mw"].to_numpy(), dtype=float)
