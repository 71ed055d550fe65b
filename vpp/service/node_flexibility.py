"""`vpp flexibility`: how much more or less injection a node can give for the next hours, network allowing.

For each direction the assets at the node hold the most they can against the plan over a window of one,
two, ... quarters up to the hours asked for; each answer is a full plan, secured by AC checks and cuts.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from dispatch.flexibility import Direction, flexible_power, held_mw
from dispatch.one_way import one_way_plan
from dispatch.problem import with_block
from vpp.domain.errors import Fault, InputFaults, NotSolved
from vpp.domain.schedule import Schedule
from vpp.domain.stage import DAY_AHEAD
from vpp.domain.time import QUARTER, floor_to, rfc3339
from vpp.service.assemble import exposure_of, problem_of
from vpp.service.bootstrap import load_stated
from vpp.service.cascade import committing, run_stage
from vpp.service.desk import PLAN
from vpp.service.knowledge import gather
from vpp.service.plan import Train, prepare_day
from vpp.service.settings import Settings
from vpp.service.situation import Situation
from vpp.service.system import System

DEADLINE_S = 20.0
WINDOWS_H = (0.25, 1.0, 2.0, 4.0, 6.0)
DIRECTIONS: tuple[Direction, ...] = ("up", "down")


def flexibility_report(
    portfolio: Path, bus: int, at: datetime, hours: float, settings: Settings, train: Train
) -> dict[str, Any]:
    """The answer for a node on the day-ahead plan of the local day in which the hours end."""
    zone = load_stated(portfolio, settings.cache_dir).portfolio.zone
    last = at + timedelta(hours=hours) - QUARTER
    system, issued = prepare_day(portfolio, last.astimezone(ZoneInfo(zone)).date(), settings, "sqlite://", train)
    situation = gather(system, DAY_AHEAD, PLAN, issued)
    plan = run_stage(situation, "plan", committing()).schedule
    return node_flexibility(system, situation, plan, bus, at, hours)


def node_flexibility(
    system: System, s: Situation, plan: Schedule, bus: int, at: datetime, hours: float
) -> dict[str, Any]:
    """Secure MW up (more injection) and down by length of the window. Raises InputFaults for a bus without assets."""
    group = [a.id for a in s.portfolio.assets if a.bus == bus and a.control != "none"]
    if not group:
        raise InputFaults([Fault("request", "bus", f"no controllable asset at bus {bus}")])
    if hours * 4 != round(hours * 4):
        raise InputFaults([Fault("request", "hours", f"{hours:g} is no number of quarter hours")])
    start = floor_to(at, QUARTER)
    if not s.grid.start <= start < s.grid.end:
        raise InputFaults([Fault("request", "at", f"{rfc3339(at)} is outside the plan")])
    if start + timedelta(hours=hours) > s.grid.end:
        raise InputFaults([Fault("request", "hours", f"the window ends after the plan, at {rfc3339(s.grid.end)}")])
    rows = [s.portfolio.index[a] for a in group]
    reference = plan.power_mw[rows].sum(axis=0)
    answers = []
    for length in sorted({min(w, hours) for w in WINDOWS_H if w <= hours} | {hours}):
        window = _window(s, start, length)
        held = {d: _held(s, group, window, reference, d) for d in DIRECTIONS}
        unknown = {d: why for d, (mw, why) in held.items() if mw is None}
        answers.append({"hours": length, "up_mw": held["up"][0], "down_mw": held["down"][0], "unknown": unknown})
    return {
        "bus": bus, "at": rfc3339(start), "assets": group, "certified": s.grid_side is not None,
        "planned_mw": reference[_window(s, start, hours)].tolist(), "windows": answers,
        "notice_minutes": int(max(system.portfolio.asset(a).notice for a in group) / timedelta(minutes=1)),
    }  # fmt: skip


def _window(s: Situation, start: datetime, hours: float) -> list[int]:
    end = start + timedelta(hours=hours)
    return [t for t, moment in enumerate(s.grid.starts) if start <= moment < end]


def _held(
    s: Situation, group: list[str], window: list[int], reference: np.ndarray, direction: Direction
) -> tuple[float | None, str]:
    """MW held over the window, 0 where no secure plan holds any; None and the reason where that is not known."""
    everyone = [a.id for a in s.portfolio.assets]
    block = flexible_power(group, everyone, s.grid, window, reference, direction)
    network = s.grid_side.network if s.grid_side else None
    try:
        solution = one_way_plan(
            with_block(problem_of(s), block), network, exposure_of(s),
            deadline_s=DEADLINE_S, rel_gap=0.01, max_rounds=6,
        ).solution  # fmt: skip
    except NotSolved as why:
        return None, str(why)
    if solution.status == "violated":
        return 0.0, ""
    return held_mw(solution.schedule, group, window, reference, direction), ""
