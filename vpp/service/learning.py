"""Learning in operation: trainings and their record, what was forecast of each day, its score, refits.

Once a day, an hour before the first bid of the day is due, the days that have ended are scored and the models learn
again; after the midnight (UTC) by which calibrations have moved, a series that has newly drifted asks for a refit.
A training that fails leaves the models as they are and raises an alarm. On a simulated clock in lockstep a training
is part of its tick, so that equal runs learn equally; on any other clock it runs beside the ticks.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from forecasting.live_scores import day_scores, over_window
from forecasting.track_record import outcomes
from vpp.domain.errors import NotFound
from vpp.domain.forecast import History
from vpp.domain.learnt import DayForecast
from vpp.domain.ports import LearningStage
from vpp.domain.time import QUARTER, Array, TimeGrid, floor_to, local_midnight, local_time, rfc3339
from vpp.service.capacity import reserve_issues
from vpp.service.system import System

log = logging.getLogger(__name__)
STAGES: tuple[LearningStage, ...] = ("day_ahead", "intraday")
DRIFT, SCORES, TRAINING = "forecast drift", "forecast scores", "training"
LEAD = timedelta(hours=1)
SETTLED = timedelta(hours=1)
LATE = timedelta(days=7)
WINDOW = timedelta(days=7)
NAMED = 3
KEPT_MODELS = 7
"""Trainings of a stage that stay without any recorded run that used them."""
DAY = timedelta(days=1)
Progress = Callable[[int, int], None]


def learn(system: System, stage: LearningStage, known: History, progress: Progress | None = None) -> None:
    """Train `stage` on what was `known`, and record what came of it."""
    train = system.forecaster.train_day_ahead if stage == "day_ahead" else system.forecaster.train_intraday
    train(known, progress)
    record = system.forecaster.record(stage)
    if record is not None:
        system.store.models.keep(record)


def recall_models(system: System, now: datetime) -> frozenset[LearningStage]:
    """The stages whose newest models of the record, that learnt what was known by `now`, forecast from here on.

    Models that another version wrote and this one cannot read are as if they were not there.
    """
    found: set[LearningStage] = set()
    for stage in STAGES:
        newest = next((m for m in system.store.models.list(stage) if m.until <= now), None)
        with suppress(NotFound):
            if newest is not None:
                system.forecaster.restore(system.store.models.get(newest.digest))
                found.add(stage)
    return frozenset(found)


@dataclass
class Learning:
    """The learning of one running service; from `until` on there is nothing to forecast any more."""

    system: System
    background: bool = False
    until: datetime | None = None
    running: threading.Thread | None = field(default=None)

    def tick(self, before: datetime, now: datetime) -> None:
        """What became due in (before, now]."""
        if before < self._daily_at(now) <= now:
            self.score(now)
            self.refit(now, "daily")
        midnight = floor_to(now, DAY)
        if before < midnight <= now and (moved := self._drifted(self.system.history(now))):
            message = f"the calibration of {_listed(moved)} has drifted since the models learnt and asks for a refit"
            self.system.store.alarms.raise_(DRIFT, message, now)
            self.refit(now, "drift")

    def refit(self, now: datetime, why: str) -> None:
        """Train both stages on what is known at `now`, if a day to come is still to be forecast."""
        if (self.until is not None and self._tomorrow(now).start >= self.until) or self.busy:
            return
        known = self.system.history(now)
        if self.background:
            self.running = threading.Thread(target=self._train, args=(known, why), daemon=True)
            self.running.start()
        else:
            self._train(known, why)

    @property
    def busy(self) -> bool:
        """Whether a training is under way."""
        return self.running is not None and self.running.is_alive()

    def _train(self, known: History, why: str) -> None:
        now = known.issued_at
        for stage in STAGES:
            try:
                learn(self.system, stage, known)
            except Exception as error:
                log.exception("the %s training of %s failed", why, stage)
                message = f"the {why} training of {stage} at {rfc3339(now)} failed, the last models go on: {error!r}"
                self.system.store.alarms.raise_(TRAINING, message, now)
        self.system.store.models.prune(KEPT_MODELS)
        self._drifted(known)

    def _drifted(self, known: History) -> list[str]:
        """The series that have drifted by what is `known`, kept for whoever asks."""
        drifted = [name for name, moved in self.system.forecaster.drifted(known).items() if moved]
        self.system.store.settings.put(DRIFT, drifted)
        return drifted

    def keep(self, now: datetime) -> None:
        """Keep what was forecast at `now` of the next local day, beside what the naive would have said."""
        made, grid = self.system.last_forecast, self._tomorrow(now)
        if made is None or made.issued_at != now or made.grid.start > grid.start or made.grid.end < grid.end:
            return
        first = made.grid.index_of(grid.start)
        naive = self.system.forecaster.naive(self.system.history(now), grid)
        self.system.store.forecasts.keep_day(DayForecast(
            now, grid, made.series, made.levels, made.source, made.quantiles[:, :, first : first + grid.n], naive,
        ))  # fmt: skip

    def score(self, now: datetime) -> None:
        """Score the days that ended of late, anew where late meters have come, and say what went wrong."""
        store, history = self.system.store, self.system.history(now)
        for made in store.forecasts.days(now - LATE, now - SETTLED):
            store.forecasts.keep_scores(made.grid.start, day_scores(made, _outcomes(history, made)))
        found = over_window(store.forecasts.scores(now - WINDOW, now))
        told = [
            f"{_listed(names)} {what} over the last {WINDOW.days} days"
            for what, names in (
                ("worse than the naive", [name for name, s in found.items() if s.worse]),
                ("with a 90 % band that covers under 80 %", [name for name, s in found.items() if s.overconfident]),
            )
            if names
        ]
        if told:
            store.alarms.raise_(SCORES, "; ".join(told), now)

    def _daily_at(self, now: datetime) -> datetime:
        zone = self.system.portfolio.zone
        today = now.astimezone(ZoneInfo(zone)).date()
        return min([local_time(today, self.system.loaded.issue, zone), *reserve_issues(self.system, now)]) - LEAD

    def _tomorrow(self, now: datetime) -> TimeGrid:
        """Quarters of the next local day."""
        zone = self.system.portfolio.zone
        day = now.astimezone(ZoneInfo(zone)).date() + DAY
        return TimeGrid.between(local_midnight(day, zone), local_midnight(day + DAY, zone), QUARTER)


def _outcomes(history: History, made: DayForecast) -> Array:
    """Values (S, T) of the day of `made`: NaN where the screen found a fault, or of a day not all of which is known."""
    there = [name for name in made.series if name in history.series]
    found = dict(zip(there, outcomes(history, there, made.grid), strict=True))
    gap = np.full(made.grid.n, np.nan)
    return np.array([
        found[name] if name in found and made.grid.end + history.series[name].delay <= history.issued_at else gap
        for name in made.series
    ])  # fmt: skip


def _listed(names: Iterable[str]) -> str:
    """How many series, and the first of them by name."""
    ordered = sorted(names)
    more = f" and {len(ordered) - NAMED} more" if len(ordered) > NAMED else ""
    return f"{len(ordered)} series ({', '.join(ordered[:NAMED])}{more})"
