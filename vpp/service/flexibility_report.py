"""`vpp flexibility`: a question from the command line, the plan it is about, and the answer.

The plan is the day-ahead one of the local day in which the window ends, made here or read from a file of `vpp plan`;
its time is told apart (`plan` in `wall_s`) and is not part of `total`. Forecasts and their training are in neither.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter, ValidationError

from vpp.domain.errors import Fault, InputFaults
from vpp.domain.stage import DAY_AHEAD
from vpp.domain.time import QUARTER
from vpp.service.bootstrap import load_stated
from vpp.service.desk import PLAN
from vpp.service.flexibility_answer import answer
from vpp.service.flexibility_place import LONGEST, Place, form_faults, place_faults, window_faults
from vpp.service.knowledge import gather
from vpp.service.moments import Moment
from vpp.service.plan import Train, parse_plan, plan_day, prepare_day, schedule_of
from vpp.service.settings import Settings
from vpp.service.situation import day_ahead_grid
from vpp.service.yaml_files import Duration

TYPES: Mapping[str, TypeAdapter[Any]] = {"at": TypeAdapter(Moment), "horizon": TypeAdapter(Duration)}


def question(place: Place, at: str, horizon: str) -> tuple[Place, datetime, timedelta]:
    """What is asked, from text. Raises InputFaults with every fault of form."""
    found = dict[str, Any]()
    faults = form_faults(place)
    for name, text in (("at", at), ("horizon", horizon)):
        try:
            found[name] = TYPES[name].validate_python(text)
        except ValidationError as error:
            reasons = [e["msg"].removeprefix("Value error, ") for e in error.errors()]
            faults += [Fault("request", name, f"{text}: {reason}") for reason in reasons]
    if "horizon" in found and (found["horizon"] % QUARTER or not QUARTER <= found["horizon"] <= LONGEST):
        faults.append(Fault("request", "horizon", f"{horizon} is no multiple of PT15M from PT15M to PT6H"))
    if faults:
        raise InputFaults(faults)
    return place, found["at"], found["horizon"]


def flexibility_report(
    portfolio: Path, asked: tuple[Place, datetime, timedelta], settings: Settings, plan: str | None, train: Train
) -> dict[str, Any]:
    """The answer, on the plan file's text `plan` where there is one. Raises InputFaults with every fault of meaning."""
    place, at, horizon = asked
    known = load_stated(portfolio, settings.cache_dir).portfolio
    zone = ZoneInfo(known.zone)
    given = None if plan is None else parse_plan(plan, known.index)
    day = (at + horizon - QUARTER).astimezone(zone).date()
    if given is not None:
        day = given.times[0].astimezone(zone).date() + timedelta(days=1)
    system, issued = prepare_day(portfolio, day, settings, "sqlite://", train)
    grid = day_ahead_grid(system.stage(DAY_AHEAD), issued, known.zone)
    faults = place_faults(place, system.portfolio, system.network) + window_faults(at, horizon, grid)
    schedule = None if given is None else schedule_of(given, known.index)
    if schedule is not None and schedule.grid != grid:
        faults.append(Fault("plan", "times", f"are not those of the day-ahead plan of {day}"))
    if faults:
        raise InputFaults(faults)
    began = time.perf_counter()
    if schedule is None:
        situation, run = plan_day(system, issued, secure=True)
        schedule = run.schedule
    else:
        situation = gather(system, DAY_AHEAD, PLAN, issued, scenarios=0)
    planned = time.perf_counter() - began
    body = answer(situation, schedule, place, at, horizon)
    return {**body, "wall_s": {**body["wall_s"], "plan": planned}}
