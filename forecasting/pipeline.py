"""The forecaster: blended and calibrated quantiles where trained, else the seasonal naive, and joint scenarios.

Intraday models serve the first six hours of a forecast, day-ahead models what lies beyond; a series without
a model, or with too many gaps in its last week, gets the seasonal naive. Between two trainings the calibration goes
on learning: what would have been forecast since, at the issue times it is tracked at, is held against what came.
Quantiles keep the physical bounds of their series and the night of a photovoltaic one. A forecast is a function of
the models, the history as known at its issue time, the grid and the number of scenarios: equal inputs give equal bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from copy import copy
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np

from forecasting import model_files
from forecasting.backtest import Score, rolling_scores
from forecasting.calendar import Calendar, Days, Index, german_holidays, quarter_of
from forecasting.cold_start import CLASS, GROWN_DAYS, peers_of, with_class
from forecasting.fitted import Fitted
from forecasting.gates import NEAR_QUARTERS, cases_of
from forecasting.joint_forecast import USUAL_DAYS, Marginals, drawn, usual_dependence
from forecasting.naive import naive_quantiles
from forecasting.night import dark_below_deg
from forecasting.panel import Panel
from forecasting.past_errors import PastErrors
from forecasting.scenarios import Dependence, seed_of
from forecasting.since import followed
from forecasting.sums import SumCalibration
from forecasting.track_record import TrackRecord, score_of
from forecasting.training import HISTORY_DAYS, Progress, Stage, Trained, data_digest, train_stage
from vpp.domain.errors import DataGap, NotFound
from vpp.domain.forecast import LEVELS, Forecast, History, Origin
from vpp.domain.forecast_score import SeriesScore
from vpp.domain.learnt import ModelRecord
from vpp.domain.time import QUARTER, Array, TimeGrid, rfc3339

MODELLED, PARTLY, NAIVE = "blend", "blend+naive", "naive"
_RECENT_DAYS = 42
_LEAST_FILLED = 0.5
_OLDEST_NEWEST = timedelta(days=14)
_STAGES: tuple[Stage, Stage] = ("intraday", "day_ahead")


class Pipeline:
    """Implements `vpp.domain.ports.Forecaster`.

    With `models_dir`, what was learnt from equal data before is read from there instead of trained again.
    A model never serves an issue time before the end of the data it learnt from. A series younger than a month leans
    on the series of its class, by `classes`. `weight` is what each series counts for in the sum that is sold, whose
    distribution joint scenarios keep: the MW that one unit of it injects.
    """

    def __init__(
        self, models_dir: Path | None = None, *, zone: str = "Europe/Berlin", latitude: float = 53.6,
        longitude: float = 11.4, holidays: Callable[[int], frozenset[date]] = german_holidays, workers: int = 2,
        classes: Mapping[str, str] | None = None, weight: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        self.calendar = Calendar(zone, latitude, longitude, holidays)
        self.models_dir = models_dir
        self.workers = workers
        self.classes = classes or {}
        self.weight = weight or {}
        self.scores: dict[str, Score] = {}
        self._trained: dict[Stage, Trained] = {}
        self._followed: dict[tuple[Stage, str], tuple[str, Fitted]] = {}
        self._dependence: tuple[str, Dependence] | None = None
        self._errors: tuple[tuple[str, ...], PastErrors] | None = None
        self._record = TrackRecord()
        self._again: Pipeline | None = None

    def trained(self, stage: Stage) -> frozenset[str]:
        """The series that have models of `stage`."""
        known = self._trained.get(stage)
        return frozenset(known.fitted) if known else frozenset()

    def trained_until(self, stage: Stage) -> datetime | None:
        """Issue time of the history that `stage` learnt from."""
        known = self._trained.get(stage)
        return known.until if known else None

    def train_day_ahead(self, history: History, progress: Progress | None = None) -> None:
        """Train day-ahead models on what `history` knew; nothing to do if they learnt from it already."""
        self._train("day_ahead", history, progress)

    def train_intraday(self, history: History, progress: Progress | None = None) -> None:
        """Train intraday models on what `history` knew; nothing to do if they learnt from it already."""
        self._train("intraday", history, progress)

    def _train(self, stage: Stage, history: History, progress: Progress | None) -> None:
        whole = self._with_young(history)
        _newest(history, _helped(whole, self.classes))
        panel = Panel.of(history, days=HISTORY_DAYS)
        digest = data_digest(stage, panel, self.calendar, self.weight)
        known = self._trained.get(stage)
        if known is None or known.digest != digest:
            known = model_files.find(self.models_dir, stage, digest) if self.models_dir else None
        if known is not None:
            if progress is not None:
                progress(len(known.fitted), len(known.fitted))
        else:
            known = train_stage(
                stage, panel, history.issued_at, self.calendar, weight=self.weight, workers=self.workers,
                progress=progress,
            )  # fmt: skip
            if self.models_dir is not None:
                model_files.keep(self.models_dir, known, self.calendar)
        self._trained = {**self._trained, stage: known}

    def record(self, stage: Stage) -> ModelRecord | None:
        """The models of `stage` as a row of a registry; None where there are none."""
        known = self._trained.get(stage)
        return model_files.record(known, self.calendar) if known else None

    def restore(self, record: ModelRecord) -> None:
        """Forecast with the models of `record` from now on. Raises NotFound where this version cannot read them."""
        try:
            _, trained = model_files.unpacked(record.blob)
        except model_files.UNREADABLE as why:
            raise NotFound(f"models {record.digest} that this version can read: {why!r}") from why
        self._trained = {**self._trained, trained.stage: trained}

    def drifted(self, history: History) -> Mapping[str, bool]:
        """Whether the calibration of each modelled series has, since it learnt, moved so far that it wants a refit."""
        panel, trained = Panel.of(history, days=_RECENT_DAYS), self._trained
        found: dict[str, bool] = {}
        for stage in _STAGES:
            known = trained.get(stage)
            for i, name in enumerate(panel.ids):
                moved = self._fitted(known, panel.select([i]), history.issued_at)
                if known is not None and moved is not None:
                    new = moved.tracker.drifted and not known.fitted[name].tracker.drifted
                    found[name] = found.get(name, False) or new
        return found

    def naive(self, history: History, grid: TimeGrid) -> Array:
        """Quantiles (S, L, T) of the seasonal naive over `grid`, the rival of every live score.

        NaN for a series without a value: the naive has nothing to say of it.
        """
        panel = Panel.of(history)
        out = np.full((len(panel.ids), len(LEVELS), grid.n), np.nan)
        there = np.flatnonzero(panel.end > 0)
        if len(there):
            names = [panel.ids[i] for i in there]
            out[there] = self._naive(history, names, _targets(panel, history, grid), panel.first)
        return out

    def forecast(self, history: History, grid: TimeGrid, scenarios: int) -> Forecast:
        """Quantiles (S, L, T) and `scenarios` joint scenarios of every series in `history` over `grid`.

        Raises ValueError for a grid that is not of whole UTC quarters from the issue time on, and DataGap
        where a series never had a value, naming every one, or where no series has one of the last 14 days.
        """
        whole = self._with_young(history)
        age = history.issued_at - (newest := _newest(history, _helped(whole, self.classes)))
        if age > _OLDEST_NEWEST:
            raise DataGap(f"the newest value of any series is from {newest}, {age.days} days before the issue")
        panel = Panel.of(history, days=_RECENT_DAYS)
        target = _targets(panel, history, grid)
        days = self.calendar.days(panel.first, int(target[-1]) + 2)
        trained = self._trained
        quantiles, modelled = self._modelled(trained, history.issued_at, panel, days, target)
        missing = np.flatnonzero(~modelled.all(axis=1) & (True if whole is None else whole.end > 0))
        if len(missing):
            naive = self._naive(history, [panel.ids[i] for i in missing], target, panel.first)
            quantiles[missing] = np.where(modelled[missing][:, None, :], quantiles[missing], naive)
        source = [MODELLED if m.all() else PARTLY if m.any() else NAIVE for m in modelled]
        for i, made in with_class(whole, quantiles, self.classes, LEVELS).items() if whole is not None else ():
            source[i] = f"{source[i]}+{CLASS}" if np.isfinite(quantiles[i]).all() else CLASS
            quantiles[i] = made
        dark = days.elevation_deg[target][None, :] < dark_below_deg(panel, days)[:, None]
        quantiles = np.where(dark[:, None, :], 0.0, quantiles)
        quantiles = np.clip(quantiles, panel.lower[:, None, None], panel.upper[:, None, None])
        joint = self._scenarios(trained, history, panel, target, quantiles, scenarios)
        origin = Origin(
            history.issued_at, grid, scenarios, {s: t.digest for s, t in trained.items()}, _digest(quantiles, joint)
        )  # fmt: skip
        return Forecast(
            history.issued_at, grid, panel.ids, LEVELS, quantiles, joint, tuple(source), origin,
        )  # fmt: skip

    def _with_young(self, history: History) -> Panel | None:
        """All that is known, where a series with a class is too young to stand alone; None where none is."""
        known = (history.until_known(name).values for name in self.classes if name in history.series)
        return Panel.of(history) if any(np.isfinite(v).sum() < GROWN_DAYS * 96 for v in known) else None

    def _modelled(
        self, trained: Mapping[Stage, Trained], now: datetime, panel: Panel, days: Days, target: Index
    ) -> tuple[Array, Array]:
        """Calibrated quantiles (S, L, T), NaN without a model, and where there are any (S, T)."""
        out = np.full((len(panel.ids), len(LEVELS), len(target)), np.nan)
        near = target - panel.n < NEAR_QUARTERS
        usable = panel.filled_share(7 * 96) >= _LEAST_FILLED
        for i in np.flatnonzero(usable) if trained else ():
            one = panel.select([int(i)])
            short, long = (self._fitted(trained.get(stage), one, now) for stage in _STAGES)
            asked = cases_of(one, days, np.full(len(target), panel.n), target, 1) if short or long else None
            for fitted, steps in ((short, near), (long, ~near if short else near | ~near)):
                if asked is not None and fitted is not None and steps.any():
                    out[i][:, steps] = fitted.forecast(asked.rows(steps))
        return out, np.isfinite(out).all(axis=1)

    def _fitted(self, known: Trained | None, one: Panel, now: datetime) -> Fitted | None:
        """What the series of `one` learnt, its calibration having followed what came by the last midnight (UTC).

        It is a function of the models and of the days before that midnight, so whoever asks first, at whatever
        quarter of the day, gets the same bits.
        """
        learnt = known.fitted.get(one.ids[0]) if known and known.until <= now else None
        if known is None or learnt is None:
            return None
        midnight = (one.first + one.n) // 96 * 96 - one.first
        past = one.part(midnight - (_RECENT_DAYS - 1) * 96, midnight)
        key, moment = (known.stage, one.ids[0]), f"{known.digest} {past.digest()}"
        found = self._followed.get(key)
        if found is None or found[0] != moment:
            days = self.calendar.days(past.first, past.n)
            found = (moment, followed(known.stage, learnt, known.until, past, days))
            self._followed[key] = found
        return found[1]

    def _naive(self, history: History, ids: list[str], target: Index, first: int) -> Array:
        whole = Panel.of(history, ids)
        at = target + first - whole.first
        days = self.calendar.days(whole.first, int(at[-1]) + 2)
        return naive_quantiles(whole, days, at, np.broadcast_to(whole.end[:, None], (len(ids), len(at))), LEVELS)

    def _scenarios(
        self, trained: Mapping[Stage, Trained], history: History, panel: Panel, target: Index, quantiles: Array,
        count: int,
    ) -> Array:  # fmt: skip
        """Scenarios (K, S, T) with the dependence that past errors and, where there are none, the past itself show."""
        now = quarter_of(history.issued_at)
        learnt = {stage: t for stage, t in trained.items() if t.until <= history.issued_at}
        seen = self._past_errors(learnt, panel.ids).before(now * 15, (panel.first + target) * 15)
        usual = self._usual_dependence(panel, now)
        shape = Dependence.of(seen, usual) if len(seen) else usual
        sums = SumCalibration(LEVELS, np.array([self.weight.get(name, 0.0) for name in panel.ids]))
        if "day_ahead" in learnt:
            sums.offset = np.array(learnt["day_ahead"].sum_offset)
        far = np.flatnonzero(panel.first + target >= now + NEAR_QUARTERS)
        marginals = Marginals(quantiles, panel.lower, panel.upper)
        return drawn(shape, marginals, sums, far, count, seed_of(history.issued_at, panel.ids))

    def _past_errors(self, learnt: Mapping[Stage, Trained], ids: tuple[str, ...]) -> PastErrors:
        key = (*ids, *(f"{stage} {t.digest}" for stage, t in sorted(learnt.items())))
        known = self._errors
        if known is None or known[0] != key:
            near, far = (learnt[stage].errors if stage in learnt else {} for stage in _STAGES)
            known = self._errors = (key, PastErrors.of(ids, near, far))
        return known[1]

    def _usual_dependence(self, panel: Panel, now: int) -> Dependence:
        """The dependence of the values themselves before the last midnight (UTC)."""
        midnight = now // 96 * 96 - panel.first
        moment = panel.part(midnight - USUAL_DAYS * 96, midnight).digest() if midnight > 0 else panel.digest()
        known = self._dependence
        if known is None or known[0] != moment:
            known = self._dependence = (moment, usual_dependence(panel, self.calendar, midnight))
        return known[1]

    def score(self, history: History, issues: list[datetime], steps: int = 152) -> Mapping[str, Score]:
        """Score model and naive at past `issues` against what `history` knows by now; kept in `scores`."""
        self.scores = rolling_scores(self, history, issues, steps, self.calendar)
        return self.scores

    def track_record(self, history: History, most: int | None = None) -> tuple[SeriesScore, ...]:
        """Scores of forecasts made again at moments of the last week, by the outcomes that `history` knows.

        At most `most` of them are made now; those of earlier calls are kept. One caller at a time; live forecasts
        may go on meanwhile, and what they keep is left alone.
        """
        if self._again is None:
            self._again = copy(self)
            self._again._followed = {}
        again = self._again
        again._trained = dict(self._trained)
        since = min((t.until for t in again._trained.values()), default=None)
        found = self._record.follow(again, history, since, self.calendar, most)
        return tuple(score_of(name, *sums, *again._standing(name)) for name, sums in found.items())

    def past_forecast(self, now: datetime) -> Forecast | None:
        """The oldest forecast that `track_record` made again and that ends after `now`."""
        return self._record.reaching(now)

    def _standing(self, name: str) -> tuple[datetime | None, bool]:
        """The end of what the older of a series' models learnt from, and whether any calibration drifted since."""
        known = {stage: t.fitted[name] for stage, t in self._trained.items() if name in t.fitted}
        moved = [(learnt, self._followed.get((stage, name), ("", learnt))[1]) for stage, learnt in known.items()]
        until = min((self._trained[stage].until for stage in known), default=None)
        return until, any(now.tracker.drifted and not then.tracker.drifted for then, now in moved)


def _helped(whole: Panel | None, classes: Mapping[str, str]) -> frozenset[str]:
    """The series that their class can forecast."""
    return frozenset(whole.ids[i] for i in peers_of(whole, classes)) if whole is not None else frozenset()


def _newest(history: History, helped: frozenset[str]) -> datetime:
    """Start of the newest quarter with a known value of any series; the issue time where there are no series.

    Raises DataGap that names every series without one, but for those `helped` by their class: there is nothing to
    forecast it from.
    """
    if not history.series:
        return history.issued_at
    known = {name: history.until_known(name) for name in history.series}
    filled = {name: (s.start, np.flatnonzero(np.isfinite(s.values))) for name, s in known.items()}
    if empty := [name for name, (_, at) in filled.items() if not len(at) and name not in helped]:
        raise DataGap(f"no value known at {rfc3339(history.issued_at)} to forecast from: {', '.join(empty)}")
    return max(start + int(at[-1]) * QUARTER for start, at in filled.values() if len(at))


def _targets(panel: Panel, history: History, grid: TimeGrid) -> Index:
    """Columns of the grid's quarters. Raises ValueError for another kind of grid."""
    if set(grid.minutes) != {15} or grid.start.timestamp() % 900:
        raise ValueError("a forecast needs a grid of whole UTC quarters")
    if grid.start < history.issued_at:
        raise ValueError(f"the grid starts at {grid.start}, before the issue time {history.issued_at}")
    return np.arange(grid.n, dtype=np.int64) + quarter_of(grid.start) - panel.first


def _digest(*arrays: Array) -> str:
    h = hashlib.blake2b(digest_size=16)
    for array in arrays:
        h.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return h.hexdigest()
