"""`vpp event`: one demand-response call out of the record of a simulation or a running service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapters.store import holds_record, open_store
from vpp.domain.errors import Fault, InputFaults
from vpp.service.portfolio import load_portfolio
from vpp.service.settings import Settings
from vpp.service.simulate import RECORD
from vpp.service.statements import report


def require_record(database: Path) -> None:
    """Raises InputFaults where `database` is no SQLite file, or one without our tables; it is left as it is."""
    if not database.is_file():
        raise InputFaults([Fault(str(database), "", "no such file")])
    if not holds_record(database):
        raise InputFaults([Fault(str(database), "", "holds no record of ours")])


def event_report(database: Path, event_id: str, settings: Settings) -> dict[str, Any]:
    """Everything about one event. Raises NotFound for an unknown one, InputFaults for what is no record."""
    require_record(database)
    store = open_store(f"sqlite:///{database.resolve()}")
    known = store.settings.get(RECORD)
    if known is None:
        raise InputFaults([Fault(str(database), "", "holds no simulation and no service")])
    loaded = load_portfolio(Path(known["portfolio"]))
    return report(store, loaded.portfolio, event_id)
