"""The three clocks as values. A lower stage nests in the one above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from vpp.domain.errors import Fault, InputFaults

DAY_AHEAD, INTRADAY, REAL_TIME = "day_ahead", "intraday", "real_time"
LADDER = ("optimal", "last_good", "merit_order", "device_default")


@dataclass(frozen=True)
class Stage:
    """`horizon` of steps of length `step`, started `every`; `commits` is what its result may fix.

    `tail_step` is the coarser step from the end of the horizon to the end of the last firm day
    (None: no tail); `deadline` the wall time after which the ladder takes over.
    """

    name: str
    step: timedelta
    horizon: timedelta
    every: timedelta
    commits: timedelta
    deadline: timedelta
    tail_step: timedelta | None = None


def check_cascade(stages: Sequence[Stage]) -> None:
    """Raises InputFaults where steps or horizons of consecutive stages do not nest."""
    faults: list[Fault] = []
    for upper, lower in pairwise(stages):
        if upper.step % lower.step:
            faults.append(Fault(lower.name, "step", f"{lower.step} does not divide {upper.name}'s {upper.step}"))
        if lower.horizon > upper.horizon:
            longer = f"{lower.horizon} is longer than {upper.name}'s {upper.horizon}"
            faults.append(Fault(lower.name, "horizon", longer))
        if lower.every > upper.every:
            faults.append(Fault(lower.name, "every", f"runs less often than {upper.name}"))
        if lower.horizon < upper.step:
            faults.append(Fault(lower.name, "horizon", f"{lower.horizon} does not cover a step of {upper.name}"))
    for stage in stages:
        if stage.horizon % stage.step:
            faults.append(Fault(stage.name, "horizon", "is no multiple of the step"))
        if stage.commits < stage.every:
            faults.append(Fault(stage.name, "commits", "leaves a gap until the next run"))
    if faults:
        raise InputFaults(faults)
