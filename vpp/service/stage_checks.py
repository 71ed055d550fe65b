"""What stages.yaml may say: only clocks that the loop keeps.

The loop makes one plan a day at `issue`, rolls it every quarter and tracks it every minute, and each result
stands until the next; other values of `every` and `commits` would have no effect, nor would another horizon of
the day-ahead plan, which reaches from its issue to the end of the day it is for. Steps of plans divide an
hour in quarters, because local days have 23, 24 or 25 hours and positions and meters have quarters.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from vpp.domain.errors import Fault
from vpp.domain.stage import DAY_AHEAD, INTRADAY, REAL_TIME
from vpp.domain.time import MINUTE, QUARTER
from vpp.service.portfolio_files import StageFile, StagesFile

FILE = "stages.yaml"
EVERY = {DAY_AHEAD: timedelta(days=1), INTRADAY: QUARTER, REAL_TIME: MINUTE}
PLAN_STEPS = (QUARTER, 2 * QUARTER, 4 * QUARTER)


def iso(span: timedelta) -> str:
    """A length of whole minutes below a day, or of whole days, as ISO 8601."""
    if span and not span % timedelta(days=1):
        return f"P{span.days}D"
    hours, minutes = divmod(int(span.total_seconds()) // 60, 60)
    return "PT" + (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes or not hours else "")


def stage_faults(given: StagesFile) -> list[Fault]:
    """Every value that the loop does not keep."""
    faults = [fault for name, stage in given.named() for fault in _one(name, stage)]
    issue = timedelta(hours=given.issue.hour, minutes=given.issue.minute)
    step = given.day_ahead.step if given.day_ahead.step in PLAN_STEPS else QUARTER
    reach = 2 * timedelta(days=1) - issue
    if issue % step:
        faults.append(Fault(FILE, "issue", f"{given.issue:%H:%M} is no multiple of day_ahead's step {iso(step)}"))
    elif given.day_ahead.horizon != reach:
        told = f"must be {iso(reach)}: a plan issued at {given.issue:%H:%M} reaches to the end of the next day"
        faults.append(Fault(FILE, "day_ahead.horizon", told))
    return faults


def _one(name: str, stage: StageFile) -> Iterator[Fault]:
    for field in ("every", "commits"):
        if getattr(stage, field) != EVERY[name]:
            yield Fault(FILE, f"{name}.{field}", f"must be {iso(EVERY[name])}; the loop keeps no other")
    if name == REAL_TIME:
        if stage.step % MINUTE or QUARTER % stage.step:
            yield Fault(FILE, f"{name}.step", "must be whole minutes that divide a quarter of an hour")
    elif stage.step not in PLAN_STEPS:
        yield Fault(FILE, f"{name}.step", f"must be one of {', '.join(map(iso, PLAN_STEPS))}")
    if stage.tail_step is not None:
        if name != INTRADAY:
            yield Fault(FILE, f"{name}.tail_step", f"has no effect; only {INTRADAY} has a tail")
        elif stage.tail_step % stage.step or stage.tail_step % QUARTER:
            yield Fault(FILE, f"{name}.tail_step", "is no multiple of the step in quarters of an hour")
