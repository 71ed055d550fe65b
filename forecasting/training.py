"""What the models of the service learn from, and their training.

A day-ahead model is asked at the gate (10:00 local) for the rest of the day and the next one, and at any quarter for
what lies beyond the intraday horizon: its cases are issued at 10:00 and at 22:00. An intraday model is asked at any
quarter for the next six hours: its cases are issued every three hours. Models forecast the last four weeks as a
trial, by which their blend and calibration are chosen, and learn from everything once more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forecasting.calendar import PER_DAY, Calendar, Days, Index, moment_of
from forecasting.codec import shapes
from forecasting.features import NAMES
from forecasting.fitted import Bounds, Fitted, Scheme
from forecasting.gates import GATE_QUARTER, NEAR_QUARTERS, NEXT_DAY_QUARTERS, cases_of
from forecasting.joint_forecast import sum_offset
from forecasting.models.boosting import boosting, boosting_change
from forecasting.models.linear import linear
from forecasting.panel import Panel
from forecasting.past_scores import PastScores
from forecasting.rolling import Trials, rolling
from forecasting.schemes import SEASONAL
from forecasting.trial import Trial, trial_of
from vpp.domain.forecast import LEVELS
from vpp.domain.learnt import TrialScore

Stage = Literal["day_ahead", "intraday"]
Progress = Callable[[int, int], None]
HISTORY_DAYS = 400
FIRST_ISSUE_DAYS = 8
MODEL_ROWS = 4000
_ISSUED_AT: Mapping[Stage, tuple[int, ...]] = {"day_ahead": (GATE_QUARTER, 88), "intraday": tuple(range(0, 96, 12))}
_LEADS: Mapping[Stage, int] = {"day_ahead": 156, "intraday": NEAR_QUARTERS}
_LEARNT_DAYS: Mapping[Stage, int] = {"day_ahead": 200, "intraday": 120}
_LEAST_ROWS = 500
_TRIALS = Trials(count=1, days=28)


@dataclass(frozen=True)
class Trained:
    """What each series learnt for one stage, the digest of what it learnt from, until when, and how its trial went.

    `errors` are the trial's normal scores of each series, `sum_offset` (L,) what its days taught of the sum that is
    sold (`forecasting/joint_forecast.py`).
    """

    stage: Stage
    digest: str
    until: datetime
    fitted: Mapping[str, Fitted]
    trials: Mapping[str, TrialScore] = field(default_factory=dict)
    errors: Mapping[str, PastScores] = field(default_factory=dict)
    sum_offset: tuple[float, ...] = (0.0,) * len(LEVELS)


def scheme_of(stage: Stage, lower: float, upper: float) -> Scheme:
    """The naive models, a linear one, and boosters of the value (day-ahead) or of its change (intraday)."""
    boosted = {"boosting": boosting} if stage == "day_ahead" else {"boosting_change": boosting_change}
    edges = (NEAR_QUARTERS * 15,) if stage == "day_ahead" else (120,)
    models = {**SEASONAL, "linear": linear, **boosted}
    return Scheme(models, len(SEASONAL), edges, Bounds(lower, upper), most_rows=MODEL_ROWS)


def data_digest(stage: Stage, panel: Panel, calendar: Calendar, weight: Mapping[str, float]) -> str:
    """A fingerprint of everything that what is learnt for `stage` depends on."""
    place = (calendar.zone, calendar.latitude, calendar.longitude)
    names = tuple(scheme_of(stage, 0.0, 1.0).models)
    years = range(moment_of(panel.first - PER_DAY).year, moment_of(panel.first + panel.n + PER_DAY).year + 1)
    holidays = sorted(day.isoformat() for year in years for day in calendar.holidays(year))
    text = repr((
        stage, place, holidays, names, NAMES, MODEL_ROWS, LEVELS, shapes(), sorted(weight.items()), panel.digest()
    ))  # fmt: skip
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def rows_of(stage: Stage, days: Days, begin: int, end: int) -> tuple[Index, Index]:
    """Issue and target columns (R,) inside [begin, end) of all leads at the issue times of a stage, in their order."""
    quarters = np.arange(begin, end)
    issues = quarters[np.isin(days.of_day[quarters], _ISSUED_AT[stage])]
    leads = np.arange(_LEADS[stage])
    issue, target = np.repeat(issues, len(leads)), (issues[:, None] + leads).ravel()
    return issue[target < end], target[target < end]


def train_series(stage: Stage, panel: Panel, days: Days) -> tuple[Fitted, Trial | None] | None:
    """What the one series of `panel` teaches, and its trial where there was one; None where it knows too little."""
    if panel.n < (FIRST_ISSUE_DAYS + 6) * 96:
        return None
    begin = max(FIRST_ISSUE_DAYS, panel.n // 96 - _LEARNT_DAYS[stage]) * 96
    issue, target = rows_of(stage, days, begin, panel.n)
    cases = cases_of(panel, days, issue, target, 1)
    now = int(panel.first + panel.n) * 15
    if np.isfinite(cases.learnable(now).y).sum() < _LEAST_ROWS:
        return None
    scheme = scheme_of(stage, float(panel.lower[0]), float(panel.upper[0]))
    rolled = rolling(cases, [now], scheme, LEVELS, _TRIALS)
    return rolled.fitted, trial_of(rolled, telling(stage, days, issue, target))


def telling(stage: Stage, days: Days, issue: Index, target: Index) -> NDArray[np.bool_]:
    """The cases (R,) that tell how errors come together: a day ahead those of the gate for the day sold there."""
    if stage == "intraday":
        return np.ones(len(issue), dtype=np.bool_)
    lead = target - issue
    sold = (lead >= NEXT_DAY_QUARTERS) & (lead < NEXT_DAY_QUARTERS + PER_DAY)
    told: NDArray[np.bool_] = sold & (days.of_day[issue] == GATE_QUARTER)
    return told


def train_stage(
    stage: Stage, panel: Panel, until: datetime, calendar: Calendar, *, weight: Mapping[str, float], workers: int,
    progress: Progress | None,
) -> Trained:  # fmt: skip
    """Fit every series of `panel`, known at `until`, on `workers` threads; `progress(done, of)` after each.

    `weight` is what each series counts for in the sum that is sold.
    """
    days = calendar.days(panel.first, panel.n)
    made: dict[str, tuple[Fitted, Trial | None] | None] = {}
    with ThreadPoolExecutor(workers) as pool:
        running = {
            pool.submit(train_series, stage, panel.select([i]), days): name for i, name in enumerate(panel.ids)
        }  # fmt: skip
        for done, future in enumerate(as_completed(running), start=1):
            made[running[future]] = future.result()
            if progress is not None:
                progress(done, len(running))
    learnt = {name: m for name in panel.ids if (m := made[name]) is not None}
    trials = {name: trial for name, (_, trial) in learnt.items() if trial is not None}
    fitted = {name: one for name, (one, _) in learnt.items()}
    bounds = {name: one.scheme.bounds for name, one in fitted.items()}
    sold = sum_offset(trials, bounds, weight, panel, calendar) if stage == "day_ahead" else np.zeros(len(LEVELS))
    return Trained(
        stage, data_digest(stage, panel, calendar, weight), until, fitted,
        {name: t.score for name, t in trials.items()}, {name: t.errors for name, t in trials.items()},
        tuple(sold.tolist()),
    )  # fmt: skip
