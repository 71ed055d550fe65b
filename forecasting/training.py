"""Which past forecasts the models learn from.

A training row is one issue time and one lead. Day-ahead rows are mostly issued at the gate (10:00 local) with
leads up to the end of the next day, the rest at any quarter, because the same models serve the tail of an
intraday forecast. Intraday rows are issued at any quarter with leads inside the intraday horizon. The draw is
seeded, so equal data give equal models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np

from forecasting import lightgbm_quantiles as boosting
from forecasting.calendar import Calendar, Days, Index
from forecasting.features import DAY_AHEAD, INTRADAY, build, columns
from forecasting.panel import Panel
from vpp.domain.forecast import LEVELS
from vpp.domain.time import Array

Stage = Literal["day_ahead", "intraday"]
GATE_QUARTER = 40
INTRADAY_STEPS = 24
DAY_AHEAD_STEPS = 156
HISTORY_DAYS = 400
_FIRST_ISSUE_DAYS = 8
_ROWS: Mapping[Stage, int] = {"day_ahead": 3200, "intraday": 4000}
_LEAST_ROWS = 500
_GATE_SHARE = 0.6
FEATURES: Mapping[Stage, tuple[str, ...]] = {"day_ahead": DAY_AHEAD, "intraday": INTRADAY}


@dataclass(frozen=True)
class Trained:
    """Models of one stage by series, the digest of what they learnt from, and until when."""

    stage: Stage
    digest: str
    until: datetime
    models: Mapping[str, boosting.QuantileModel]


def data_digest(stage: Stage, panel: Panel, calendar: Calendar, trees: int) -> str:
    """A fingerprint of everything the models of `stage` depend on."""
    place = (calendar.zone, calendar.latitude, calendar.longitude)
    text = repr((stage, place, trees, FEATURES[stage], _ROWS[stage], LEVELS, panel.digest()))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def draw_rows(stage: Stage, days: Days, n: int) -> tuple[Index, Index]:
    """Issue columns and leads (R,) of the training rows over `n` known columns."""
    rng = np.random.default_rng(n)
    rows, first = _ROWS[stage], _FIRST_ISSUE_DAYS * 96
    issue = rng.integers(first, n, rows)
    if stage == "day_ahead":
        gates = first + np.flatnonzero(days.of_day[first:n] == GATE_QUARTER)
        at_gate = rng.random(rows) < _GATE_SHARE
        issue = np.where(at_gate, rng.choice(gates, rows), issue) if len(gates) else issue
    lead = rng.integers(0, DAY_AHEAD_STEPS if stage == "day_ahead" else INTRADAY_STEPS, rows)
    inside = issue + lead < n
    return issue[inside], lead[inside]


def training_sets(stage: Stage, panel: Panel, days: Days) -> dict[str, boosting.TrainingSet]:
    """Features and targets of every series that has enough of both."""
    if panel.n < (_FIRST_ISSUE_DAYS + 6) * 96:
        return {}
    issue, lead = draw_rows(stage, days, panel.n)
    target, use = issue + lead, columns(FEATURES[stage])
    sets: dict[str, boosting.TrainingSet] = {}
    for i, name in enumerate(panel.ids):
        one = panel.select([i])
        rows = build(one, days, target, one.known_at(issue), lead)
        y: Array = np.where(np.isfinite(rows.seasonal[0]), one.values[0, target], np.nan)
        data = boosting.TrainingSet(rows.x[0][:, use], y)
        if data.usable >= _LEAST_ROWS:
            sets[name] = data
    return sets


def train_stage(
    stage: Stage, panel: Panel, until: datetime, calendar: Calendar,
    *, trees: int, workers: int, progress: boosting.Progress | None,
) -> Trained:  # fmt: skip
    """Models of `stage` from what `panel` holds, known at `until`."""
    sets = training_sets(stage, panel, calendar.days(panel.first, panel.n))
    models = boosting.train_many(sets, LEVELS, trees=trees, workers=workers, progress=progress)
    return Trained(stage, data_digest(stage, panel, calendar, trees), until, models)
