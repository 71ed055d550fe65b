"""Learning in operation on a real record: trainings, scores, refits and drift, replays, and nothing of the future."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import forecasting.training as training
from adapters.store import Store, open_store
from forecasting.pipeline import Pipeline
from forecasting.rolling import Trials
from tests.service.api_world import World, world
from tests.service.conftest import DEMO, ISSUED, ZONE, Make, local
from tests.service.test_desk import quick
from tests.service.test_loop import Listed
from vpp.domain.command import MeterRow
from vpp.domain.errors import InputFaults, NotFound
from vpp.domain.forecast import Forecast, History, Origin, Series
from vpp.domain.ports import LearningStage
from vpp.domain.time import MINUTE, QUARTER, TimeGrid, local_midnight
from vpp.service.bootstrap import classes_of
from vpp.service.desk import Desk
from vpp.service.event_clock import EventClock
from vpp.service.inputs import series_used
from vpp.service.learning import DRIFT, STAGES, TRAINING, Learning, learn, recall_models
from vpp.service.loop import Loop
from vpp.service.portfolio_files import SeriesFile
from vpp.service.replay import replay_report, replayed
from vpp.service.series import load_series
from vpp.service.series_book import PREFIX, SeriesBook
from vpp.service.settings import Settings
from vpp.service.system import System

__all__ = ["world"]
Truth = Mapping[str, Series]
REFIT = local("2016-07-11 09:00")
MIDNIGHT = local("2016-07-12 00:00")


@pytest.fixture(scope="module")
def short() -> Iterator[None]:
    """Three weeks to learn from and a week on trial: what is tested here is what is done with models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_LEARNT_DAYS", {"day_ahead": 21, "intraday": 15})
        patch.setattr(training, "_TRIALS", Trials(count=1, days=7))
        patch.setattr(training, "MODEL_ROWS", 600)
        yield


@pytest.fixture(scope="module")
def truth(make: Make) -> Truth:
    """The series that assets follow, their future included."""
    system = make(ISSUED + timedelta(days=20), network=False)
    series = system.history(ISSUED).series
    return {name: series[name] for name in series_used(system.portfolio)[:6]}


def served(make: Make, truth: Truth, store: Store, cut: datetime) -> System:
    """A service of those series that meters them from `cut` on."""
    system = make(cut, store=store, network=False)
    system.loaded = make(cut, network=False, stages=quick(system.loaded.stages)).loaded
    system.book = SeriesBook(truth, cut)
    system.forecaster = Pipeline(None, zone=ZONE, latitude=53.6, longitude=10.0, workers=1)
    system.meters = lambda start, end: rows(truth, start, end)
    return system


def rows(truth: Truth, start: datetime, end: datetime) -> list[MeterRow]:
    """Every finite value of [start, end), known a minute after its end."""
    found = []
    for name, series in truth.items():
        for at in TimeGrid.between(start, end, QUARTER).starts:
            value = float(series.values[(at - series.start) // QUARTER])
            if np.isfinite(value):
                found.append(MeterRow(f"{PREFIX}{name}", at, 15, value, at + QUARTER + MINUTE))
    return found


@pytest.fixture(scope="module")
def lived(short: None, make: Make, truth: Truth, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Five days: forecast and kept every morning, metered, scored and learnt from the next one."""
    path = tmp_path_factory.mktemp("learning") / "record.db"
    system = served(make, truth, open_store(path), REFIT - timedelta(days=5))
    learning, made = Learning(system), []
    learn(system, "day_ahead", system.history(system.book.cut))
    for day in range(-5, 0):
        now = ISSUED + timedelta(days=day)
        system.book.append(kept := rows(truth, system.book.cut - QUARTER, now))
        system.store.meters.write(kept)
        learning.tick(now - timedelta(hours=1, minutes=1), now - timedelta(hours=1))
        made.append(system.forecast(now, day_grid(now), 20))
        learning.keep(now)
    yield {"system": system, "learning": learning, "made": made, "path": path}
    system.store.close()


def origin_of(made: Forecast) -> Origin:
    assert made.origin is not None
    return made.origin


def day_grid(now: datetime) -> TimeGrid:
    return TimeGrid.between(now, local_midnight((now + timedelta(days=2)).date(), ZONE), QUARTER)


def test_every_refit_is_a_row_with_its_trial(lived: dict[str, Any], truth: Truth) -> None:
    found = lived["system"].store.models.list("day_ahead")
    mornings = [REFIT + timedelta(days=d) for d in range(-5, 0)]
    assert [m.until for m in found] == mornings[::-1]
    assert len(lived["system"].store.models.list("intraday")) == 5
    for name, trial in found[0].trials.items():
        assert trial.pinball <= trial.pinball_naive * 1.0001, name
        assert trial.n > 96
    assert set(found[0].series) == set(truth)


def test_days_are_scored_when_their_meters_have_come(lived: dict[str, Any], truth: Truth) -> None:
    scores = lived["system"].store.forecasts.scores(ISSUED - timedelta(days=30), ISSUED)
    days = sorted({s.day for s in scores})
    assert days == [MIDNIGHT + timedelta(days=d) for d in range(-5, -2)]
    assert {s.series for s in scores} == set(truth)
    assert all(s.n == 96 and s.source == "blend" for s in scores)


def test_the_models_of_the_record_forecast_again_bit_for_bit(
    lived: dict[str, Any], make: Make, truth: Truth
) -> None:
    """By another process that has nothing but the archive as it was and the record."""
    for made in lived["made"]:
        store = open_store(lived["path"])
        fresh = served(make, truth, store, lived["system"].book.cut)
        again = replayed(fresh, made.origin).on(made.grid)
        np.testing.assert_array_equal(again.quantiles, made.quantiles)
        np.testing.assert_array_equal(again.scenarios, made.scenarios)
        assert again.origin == made.origin
        assert set(made.origin.models) == {"day_ahead", "intraday"}
        store.close()


def test_a_corrected_meter_value_is_told_by_the_digest(lived: dict[str, Any], make: Make, truth: Truth) -> None:
    made = lived["made"][-1]
    changed = {n: Series(n, s.start, s.values.copy(), s.delay, s.lower, s.upper) for n, s in truth.items()}
    series = next(iter(changed.values()))
    series.values[series.known(made.issued_at) - 600] += 0.25
    store = open_store(lived["path"])
    fresh = served(make, changed, store, lived["system"].book.cut)
    assert origin_of(replayed(fresh, made.origin)).digest != made.origin.digest
    store.close()


def test_a_service_that_starts_again_has_its_newest_models(lived: dict[str, Any], make: Make, truth: Truth) -> None:
    store = open_store(lived["path"])
    fresh = served(make, truth, store, ISSUED)
    assert recall_models(fresh, ISSUED) == {"day_ahead", "intraday"}
    assert fresh.forecaster.trained_until("day_ahead") == REFIT - timedelta(days=1)
    assert recall_models(fresh, REFIT - timedelta(days=9)) == frozenset()
    store.close()


def test_models_that_this_version_cannot_read_are_trained_anew(
    lived: dict[str, Any], make: Make, truth: Truth
) -> None:
    system = served(make, truth, open_store("sqlite://"), ISSUED)
    newest = lived["system"].store.models.list("day_ahead", 1)[0]
    record = lived["system"].store.models.get(newest.digest)
    system.store.models.keep(replace(record, blob=record.blob[:-200]))
    assert recall_models(system, ISSUED) == frozenset()
    with pytest.raises(NotFound, match=r"models .* that this version can read: BadZipFile"):
        system.forecaster.restore(system.store.models.get(newest.digest))


def test_the_future_changes_no_model_no_forecast_and_no_score(
    short: None, make: Make, truth: Truth, tmp_path: Path
) -> None:
    seen = []
    for seed in (None, 1):
        own = {n: Series(n, s.start, s.values.copy(), s.delay, s.lower, s.upper) for n, s in truth.items()}
        if seed is not None:
            for series in own.values():
                first = series.known(REFIT)
                series.values[first:] = np.random.default_rng(seed).uniform(size=len(series.values) - first)
        system = served(make, own, open_store(tmp_path / f"{seed}.db"), ISSUED + timedelta(days=2))
        learning = Learning(system)
        before = REFIT - timedelta(days=2) + timedelta(hours=1)
        system.forecast(before, day_grid(before), 5)
        learning.keep(before)
        learning.tick(REFIT - MINUTE, REFIT)
        made = system.forecast(REFIT, day_grid(REFIT), 20)
        blobs = [system.store.models.get(d).blob for d in origin_of(made).models.values()]
        seen.append((made.origin, blobs, system.store.forecasts.scores(REFIT - timedelta(days=9), REFIT)))
        system.store.close()
    assert seen[0][1] == seen[1][1]
    assert seen[0] == seen[1]
    assert seen[0][2]


def test_a_planted_leak_is_caught(make: Make, truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tells futures apart above tells them apart where a history answers a quarter too early."""

    def early(self: History, name: str) -> Series:
        s = self.series[name]
        return replace(s, values=s.values[1 : s.known(self.issued_at) + 1])

    def digests() -> set[str]:
        found = set()
        for value in (0.1, 0.4):
            own = {n: replace(s, values=s.values.copy()) for n, s in truth.items()}
            for series in own.values():
                series.values[series.known(ISSUED) :] = value
            system = served(make, own, open_store("sqlite://"), ISSUED + timedelta(days=1))
            found.add(origin_of(system.forecast(ISSUED, day_grid(ISSUED), 0)).digest)
        return found

    assert len(digests()) == 1
    monkeypatch.setattr(History, "until_known", early)
    assert len(digests()) == 2


def test_a_failed_training_leaves_the_models_and_says_so(
    lived: dict[str, Any], make: Make, truth: Truth, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    system = served(make, truth, open_store(tmp_path / "r.db"), ISSUED)
    record = lived["system"].store.models.list("day_ahead", 1)[0]
    system.forecaster.restore(lived["system"].store.models.get(record.digest))

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no room left on the device")

    monkeypatch.setattr("forecasting.pipeline.train_stage", fail)
    Learning(system).tick(REFIT - MINUTE, REFIT)
    (alarm,) = system.store.alarms.list()
    assert alarm.code == TRAINING
    assert alarm.count == 2
    assert "the last models go on: RuntimeError('no room left" in alarm.message
    assert system.forecaster.trained_until("day_ahead") == record.until
    assert set(system.forecast(ISSUED, day_grid(ISSUED), 0).source) <= {"blend"}
    system.store.close()


def test_a_series_that_drifts_asks_for_a_refit(make: Make, truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    system = served(make, truth, open_store("sqlite://"), ISSUED)
    moved, refits = dict.fromkeys(truth, False), []
    monkeypatch.setattr(Pipeline, "drifted", lambda self, known: moved)
    monkeypatch.setattr(Learning, "refit", lambda self, now, why: refits.append((now, why)))
    learning, midnight = Learning(system), ISSUED.replace(hour=0)
    learning.tick(midnight - MINUTE, midnight)
    assert refits == []
    moved["steel"] = True
    learning.tick(midnight, midnight + MINUTE)
    assert refits == []
    learning.tick(midnight - MINUTE, midnight)
    assert refits == [(midnight, "drift")]
    assert system.store.settings.get(DRIFT) == ["steel"]
    assert "1 series (steel) has drifted" in system.store.alarms.list()[0].message


def test_nothing_is_learnt_for_days_that_are_not_forecast(make: Make, truth: Truth) -> None:
    system = served(make, truth, open_store("sqlite://"), ISSUED)
    Learning(system, until=MIDNIGHT).tick(REFIT - MINUTE, REFIT)
    assert system.forecaster.trained_until("day_ahead") is None


def test_training_beside_the_ticks_ends_with_the_same_models(
    short: None, make: Make, truth: Truth, tmp_path: Path
) -> None:
    digests = []
    for background in (False, True):
        system = served(make, truth, open_store(tmp_path / f"{background}.db"), ISSUED)
        learning = Learning(system, background=background)
        learning.refit(REFIT, "daily")
        if learning.running is not None:
            learning.running.join(120)
        assert not learning.busy
        digests.append(system.forecast(ISSUED, day_grid(ISSUED), 3).origin)
        assert system.store.alarms.list() == []
        system.store.close()
    assert digests[0] == digests[1]


def test_a_refit_beyond_seven_leaves_the_newest_seven(
    lived: dict[str, Any], make: Make, truth: Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = served(make, truth, open_store("sqlite://"), ISSUED)
    given = {s: lived["system"].store.models.get(lived["system"].store.models.list(s, 1)[0].digest) for s in STAGES}

    def keep(system: System, stage: LearningStage, known: History) -> None:
        made = replace(given[stage], digest=f"{stage} {known.issued_at}", until=known.issued_at, blob=b"")
        system.store.models.keep(made)

    monkeypatch.setattr("vpp.service.learning.learn", keep)
    learning, left = Learning(system), []
    for day in range(9):
        learning.refit(REFIT + timedelta(days=day), "daily")
        left.append([len(system.store.models.list(stage)) for stage in STAGES])
    assert left == [[min(n, 7)] * 2 for n in range(1, 10)]
    newest = [REFIT + timedelta(days=day) for day in range(8, 1, -1)]
    assert [m.until for m in system.store.models.list("intraday")] == newest


def test_the_loop_keeps_what_it_forecast_of_tomorrow(make: Make, truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    system = served(make, truth, open_store("sqlite://"), ISSUED)
    monkeypatch.setattr(Desk, "day_ahead", lambda self, now: system.forecast(now, day_grid(now), 0))
    Loop(Desk(system), EventClock(system), Learning(system)).close(ISSUED)
    (kept,) = system.store.forecasts.days(MIDNIGHT, MIDNIGHT + timedelta(days=1))
    assert kept.grid.start == MIDNIGHT
    assert kept.issued_at == ISSUED
    assert system.last_forecast is not None
    np.testing.assert_array_equal(kept.quantiles, system.last_forecast.quantiles[:, :, -96:])


def test_a_service_learns_after_its_meters_and_before_its_bids(
    make: Make, truth: Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = served(make, truth, open_store("sqlite://"), MIDNIGHT)
    desk = Listed(system)
    refit = lambda self, now, why: desk.asked.append((f"{why} refit", now))  # noqa: E731
    monkeypatch.setattr(Learning, "refit", refit)
    monkeypatch.setattr(Learning, "keep", lambda self, now: desk.asked.append(("keep", now)))
    loop = Loop(desk, EventClock(system), Learning(system))
    morning = local("2016-07-12 08:59")
    for minute in range(62):
        loop.tick(morning + minute * MINUTE)
    nine, ten = morning + MINUTE, morning + 61 * MINUTE
    assert desk.of("daily refit") == [nine]
    assert [what for what, at in desk.asked if at == nine] == ["meter 15", "daily refit", "intraday", "real_time"]
    assert [what for what, at in desk.asked if at == ten][-5:] == ["bid", "day_ahead", "keep", "intraday", "real_time"]


def test_what_cannot_be_replayed_says_why(world: World, tmp_path: Path) -> None:
    record = tmp_path / "record.db"
    for run_id, why in (("r1", f"run r1 in {record} has no forecast on record"), ("abc", f"no run abc in {record}")):
        with pytest.raises(NotFound, match=f"^{re.escape(why)}$"):
            replay_report(record, DEMO, run_id, Settings())


def test_a_site_of_a_stated_kind_and_rating_needs_no_value_yet(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("local_time,mw\n2016-07-01T00:00,\n2016-07-01T00:15,\n")
    spec = SeriesFile(id="roof", file="new.csv", zone=ZONE, unit="MW", upper_mw=0.4, kind="pv")
    made = load_series(spec, tmp_path / "new.csv")
    assert (made.kind, made.upper, bool(np.isfinite(made.values).any())) == ("pv", 0.4, False)
    assert classes_of({"roof": made, "gen:WP5": replace(made, kind=""), "steel": replace(made, kind="")}) == {
        "roof": "pv", "gen:WP5": "wind",
    }  # fmt: skip
    for without in ({"kind": None}, {"upper_mw": None}):
        with pytest.raises(InputFaults, match="holds gaps only"):
            load_series(spec.model_copy(update=without), tmp_path / "new.csv")
