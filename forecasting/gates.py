"""Which forecasts a horizon asks for, and their cases.

Day-ahead: issued at 10:00 local for every step of the next local day (23, 24 or 25 hours). Intraday: issued every
hour for the steps that end within the next four hours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from forecasting.calendar import PER_DAY, Days, Index
from forecasting.cases import Cases
from forecasting.features import NAMES, Extra, build
from forecasting.panel import Panel

Horizon = Literal["day-ahead", "intraday"]
GATE_QUARTER = 40
INTRADAY_QUARTERS = 16
NEAR_QUARTERS = 24
NEXT_DAY_QUARTERS = PER_DAY - GATE_QUARTER
"""From the gate to the day that is sold there, where the clocks do not change."""


def asked(horizon: Horizon, days: Days, n: int, step: int) -> tuple[Index, Index]:
    """Issue and target columns (R,) of all forecasts with targets before column `n`, every `step` quarters."""
    if horizon == "intraday":
        issues = np.flatnonzero(days.of_day[:n] % 4 == 0)
        ahead = np.arange(0, INTRADAY_QUARTERS, step)
        issue, target = np.repeat(issues, len(ahead)), (issues[:, None] + ahead).ravel()
    else:
        day = (days.first + np.arange(n) + days.offset[:n]) // PER_DAY
        gates = np.flatnonzero(days.of_day[:n] == GATE_QUARTER)
        gate_of_day = np.full(int(day[-1]) + 2 - int(day[0]), -1, dtype=np.int64)
        gate_of_day[day[gates] + 1 - day[0]] = gates
        target = np.arange(0, n, step)
        issue = gate_of_day[day[target] - day[0]]
        target, issue = target[issue >= 0], issue[issue >= 0]
    inside = target < n
    return issue[inside], target[inside]


MoreFeatures = Callable[[Panel, Days, Index, Index], Extra]


def cases_of(
    panel: Panel, days: Days, issue: Index, target: Index, step: int, more: Sequence[MoreFeatures] = ()
) -> Cases:
    """Cases of the one series of `panel`: what it and the calendar say of each target at its issue.

    Targets may lie past the panel: their value is not there yet. `more` are features computed from (panel, days,
    target (R,), end (1, R) known columns).
    """
    end = panel.known_at(issue)
    x = build(panel, days, target, end, target - issue)[0]
    latest = panel.read(np.maximum(end - 1, 0), np.maximum(end, 1))[0]
    near = (target - issue < NEAR_QUARTERS) & np.isfinite(latest)
    guess = np.where(near, latest, x[:, NAMES.index("lag_latest")])
    extras = [make(panel, days, target, end) for make in more]
    blocks = [x, days.of_day[target].astype(float)[:, None], guess[:, None], *(e.x for e in extras)]
    known = target + step + panel.late[0]
    come = target < panel.n
    return Cases(
        (panel.first + issue) * 15, (panel.first + target) * 15, (panel.first + known) * 15,
        np.where(come, panel.values[0, np.where(come, target, 0)], np.nan), np.concatenate(blocks, axis=1),
        (*NAMES, "of_day", "persistence", *(n for e in extras for n in e.names)),
    )  # fmt: skip
