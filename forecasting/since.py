"""The calibration between two trainings: what would have been forecast since, held against what came.

Forecasts are made again at the issue times a stage is tracked at (the gate, or every three hours) after the models
learnt, from what was known then, and the tracker learns those outcomes that were known by the last midnight (UTC)
before now; so all forecasts of a day are calibrated alike, whatever was asked before.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from datetime import datetime

import numpy as np

from forecasting.calendar import Days, quarter_of
from forecasting.fitted import Fitted
from forecasting.gates import cases_of
from forecasting.panel import Panel
from forecasting.rolling import calibrate
from forecasting.training import Stage, rows_of
from vpp.domain.time import Array

MOST_DAYS = 7


def followed(stage: Stage, learnt: Fitted, until: datetime, one: Panel, days: Days) -> Fitted:
    """`learnt` with its tracker moved on to the last midnight that the series of `one` has passed."""
    midnight = (one.first + one.n) // 96 * 96 - one.first
    begin = max(quarter_of(until) - one.first, midnight - MOST_DAYS * 96)
    issue, target = rows_of(stage, days, max(begin, 0), midnight)
    if not len(issue):
        return learnt
    cases = cases_of(one, days, issue, target, 1)
    cases = cases.rows(cases.known <= (one.first + midnight) * 15)
    moved = replace(learnt, tracker=deepcopy(learnt.tracker))
    raw: Array = learnt.raw(cases) if len(cases) else np.empty((len(learnt.levels), 0))
    calibrate(cases, raw, moved)
    return moved
