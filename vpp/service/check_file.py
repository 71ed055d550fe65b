"""`vpp check`: a plan file against the portfolio, or against the record of a running system."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from vpp.domain.time import rfc3339, utc
from vpp.service.bootstrap import load_stated, open_system
from vpp.service.event_file import require_record
from vpp.service.learning import recall_models
from vpp.service.plan import Train, check_plan, parse_plan, prepare_day
from vpp.service.settings import Settings


def check_file(
    text: str, portfolio: Path, settings: Settings, database: Path | None, train: Train, say: Callable[[str], None]
) -> list[str]:
    """Every violation of the plan in `text` by name; `say` is told of every fault in the data that it was made from.

    Raises InputFaults for what is no plan.
    """
    known = load_stated(portfolio, settings.cache_dir).portfolio
    plan = parse_plan(text, known.index)
    issued = utc(plan.times[0])
    if database is not None:
        require_record(database)
        system = open_system(portfolio, f"sqlite:///{database.resolve()}", settings, issued)
        if "day_ahead" not in recall_models(system, issued):
            system.forecaster.train_day_ahead(system.history(issued), train)
    else:
        day = issued.astimezone(ZoneInfo(known.zone)).date() + timedelta(days=1)
        system, expected = prepare_day(portfolio, day, settings, "sqlite://", train)
        if issued != expected:
            return [f"plan/times: begin at {rfc3339(issued)}, the plan of {day} is issued at {rfc3339(expected)}"]
    for _, fault in system.new_faults(issued):
        say(fault)
    return check_plan(system, issued, plan)
