"""`vpp forecast --replay`: the forecast of a recorded run, made again from its models and from what was known then."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpp.domain.errors import NotFound
from vpp.domain.forecast import Forecast, Origin
from vpp.domain.time import rfc3339
from vpp.service.bootstrap import open_system
from vpp.service.event_file import require_record
from vpp.service.series_book import PREFIX
from vpp.service.settings import Settings
from vpp.service.system import System

if TYPE_CHECKING:
    from adapters.store import Store


def replayed(system: System, origin: Origin) -> Forecast:
    """The forecast of `origin`, by a system whose archive ends where the archive of the run did.

    Meter rows count as far as they were known at its issue; a value that was corrected since is a gap here, and the
    digest then tells. Raises NotFound where the record has lost its models.
    """
    for digest in origin.models.values():
        system.forecaster.restore(system.store.models.get(digest))
    first = min((s.start for s in system.history(origin.issued_at).series.values()), default=origin.issued_at)
    for name in system.book.ids:
        point = f"{PREFIX}{name}"
        system.book.append(system.store.meters.read(point, first, origin.issued_at, known_at=origin.issued_at))
    return system.forecaster.forecast(system.history(origin.issued_at), origin.grid, origin.scenarios)


def _used_by(store: Store, run_id: str, database: Path) -> tuple[Origin, datetime]:
    """How the forecast of a run was made, and until when the archive was known."""
    try:
        store.runs.get(run_id)
    except NotFound:
        raise NotFound(f"no run {run_id} in {database}") from None
    try:
        return store.forecasts.of_run(run_id)
    except NotFound:
        raise NotFound(f"run {run_id} in {database} has no forecast on record") from None


def replay_report(database: Path, portfolio: Path, run_id: str, settings: Settings) -> dict[str, Any]:
    """The forecast that run `run_id` used, and whether it comes out the same bit for bit.

    Raises NotFound for an unknown run and for one without a forecast, InputFaults for what is no record.
    """
    from adapters.store import open_store

    require_record(database)
    url = f"sqlite:///{database.resolve()}"
    store = open_store(url)
    try:
        origin, archive_until = _used_by(store, run_id, database)
    finally:
        store.close()
    system = open_system(portfolio, url, settings, archive_until, models=False)
    try:
        made = replayed(system, origin)
    finally:
        system.store.close()
    digest = made.origin.digest if made.origin else ""
    return {
        "run": run_id, "issued_at": rfc3339(origin.issued_at), "models": dict(origin.models),
        "digest_recorded": origin.digest, "digest": digest, "same": digest == origin.digest,
        "times": [rfc3339(t) for t in made.grid.starts], "levels": list(made.levels),
        "series": {
            name: {"source": made.source[i], "quantiles": made.quantiles[i].tolist()}
            for i, name in enumerate(made.series)
        },
    }  # fmt: skip
