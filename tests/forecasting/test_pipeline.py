"""The forecaster as a whole: shapes, bounds, skill, days of changing clocks, records and copies."""

from __future__ import annotations

import pickle
import zlib
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecasting import model_files
from forecasting.backtest import coverage, pinball
from forecasting.calendar import Calendar, quarter_of
from forecasting.local_holidays import holidays_of
from forecasting.panel import Panel
from forecasting.pipeline import Pipeline
from forecasting.training import data_digest
from tests.forecasting.made import START, history, series
from vpp.domain.errors import DataGap, LookAhead, NotFound
from vpp.domain.forecast import LEVELS, History, Series
from vpp.domain.time import QUARTER, TimeGrid, local_midnight, local_time

TRAINED_DAY = 60


@pytest.fixture(scope="module")
def trained() -> Pipeline:
    pipeline = Pipeline()
    seen: list[tuple[int, int]] = []
    pipeline.train_day_ahead(history(TRAINED_DAY), lambda done, total: seen.append((done, total)))
    pipeline.train_intraday(history(TRAINED_DAY))
    assert seen == [(i, 5) for i in range(1, 6)]
    return pipeline


def grid_after(past: History, steps: int) -> TimeGrid:
    return TimeGrid.uniform(past.issued_at, QUARTER, steps)


def test_without_models_everything_is_naive() -> None:
    past = history(30)
    made = Pipeline().forecast(past, grid_after(past, 152), 10)
    assert made.source == ("naive",) * 5
    assert made.quantiles.shape == (5, len(LEVELS), 152)
    assert made.scenarios.shape == (10, 5, 152)
    assert np.isfinite(made.quantiles).all()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(day=st.integers(43, 77), quarter=st.integers(0, 95), steps=st.integers(1, 160))
def test_quantiles_are_ordered_and_inside_bounds(trained: Pipeline, day: int, quarter: int, steps: int) -> None:
    past = history(day, quarter)
    made = trained.forecast(past, grid_after(past, steps), 5)
    assert (np.diff(made.quantiles, axis=1) >= 0).all()
    for values in (made.quantiles.swapaxes(0, 1), made.scenarios):
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        assert (values[:, [made.index["gen:pv"], made.index["gen:wind"]]] <= 1).all()


def test_photovoltaics_are_dark_at_night(trained: Pipeline) -> None:
    past = history(70)
    grid = grid_after(past, 152)
    made = trained.forecast(past, grid, 20)
    days = trained.calendar.days(quarter_of(grid.start), grid.n)
    night = days.elevation_deg < -6
    assert night.sum() > 20
    assert (made.quantiles[made.index["gen:pv"]][:, night] == 0).all()
    assert (made.scenarios[:, made.index["gen:pv"], night] == 0).all()
    assert made.mean_of("load:a")[night].min() > 0.1


def test_model_beats_the_naive_out_of_sample(trained: Pipeline) -> None:
    issues = [history(d).issued_at for d in range(62, 77, 2)]
    scores = trained.score(history(79), issues)
    assert scores is trained.scores
    for name, score in scores.items():
        assert score.source == "blend"
        assert score.pinball < 0.9 * score.pinball_naive, name
    assert 0.7 < scores["gen:wind"].coverage["90"] <= 1.0


def test_intraday_models_know_more_of_the_next_hours(trained: Pipeline) -> None:
    far = Pipeline()
    far.train_day_ahead(history(TRAINED_DAY))
    loss = {"both": 0.0, "day_ahead": 0.0}
    truth = {name: s.values for name, s in series().items() if name != "gappy"}
    for day in range(62, 77):
        past = history(day, 66)
        for name, pipeline in (("both", trained), ("day_ahead", far)):
            made = pipeline.forecast(past, grid_after(past, 12), 1)
            for k, values in truth.items():
                loss[name] += float(pinball(made.quantiles[made.index[k]], values[day * 96 + 66 :][:12]).mean())
    assert loss["both"] < loss["day_ahead"]


@pytest.mark.parametrize(("day", "length"), [(date(2016, 3, 27), 92), (date(2016, 4, 5), 96)])
def test_forecast_of_a_local_day_from_its_eve(trained: Pipeline, day: date, length: int) -> None:
    issued = local_time(day - timedelta(days=1), datetime.min.time().replace(hour=10), "Europe/Berlin")
    end = local_midnight(day + timedelta(days=1), "Europe/Berlin")
    made = trained.forecast(History(issued, series()), TimeGrid.between(issued, end, QUARTER), 3)
    assert made.on(TimeGrid.local_day(day, "Europe/Berlin")).quantiles.shape == (5, len(LEVELS), length)
    noon = made.grid.index_of(local_time(day, datetime.min.time().replace(hour=12), "Europe/Berlin"))
    assert made.mean_of("load:a")[noon] > 1.1 * made.mean_of("load:a")[noon - 40]


def test_an_autumn_day_of_a_hundred_quarters() -> None:
    start = local_midnight(date(2016, 10, 1), "Europe/Berlin")
    hour = np.arange(96 * 40) // 4 % 24
    past = History(local_time(date(2016, 10, 29), datetime.min.time().replace(hour=10), "Europe/Berlin"),
                   {"s": Series("s", start, 1.0 + hour)})  # fmt: skip
    grid = TimeGrid.local_day(date(2016, 10, 30), "Europe/Berlin")
    made = Pipeline().forecast(past, grid, 2)
    assert made.quantiles.shape == (1, len(LEVELS), 100)
    assert made.mean_of("s")[-3] == pytest.approx(24.0)
    assert made.mean_of("s")[41] == pytest.approx(1.0 + 9)


def test_correlated_history_gives_correlated_scenarios(trained: Pipeline) -> None:
    past = history(70)
    made = trained.forecast(past, grid_after(past, 96), 400)
    noon = made.scenarios[:, :, 8:24].mean(axis=2)
    pair = np.corrcoef(noon[:, made.index["load:a"]], noon[:, made.index["load:b"]])[0, 1]
    alone = np.corrcoef(noon[:, made.index["load:a"]], noon[:, made.index["gen:wind"]])[0, 1]
    assert pair > 0.5
    assert abs(alone) < 0.4


def test_the_order_of_calls_does_not_matter(trained: Pipeline) -> None:
    first, second = history(70), history(71, 12)
    before = trained.forecast(first, grid_after(first, 30), 5)
    trained.forecast(second, grid_after(second, 30), 5)
    np.testing.assert_array_equal(trained.forecast(first, grid_after(first, 30), 5).scenarios, before.scenarios)


def test_records_and_pickles_give_the_same_bits(trained: Pipeline) -> None:
    past = history(70)
    made = trained.forecast(past, grid_after(past, 60), 5)
    restored = Pipeline()
    for stage in ("day_ahead", "intraday"):
        record = trained.record(stage)
        assert record is not None
        restored.restore(record)
    for other in (restored, pickle.loads(pickle.dumps(trained))):
        again = other.forecast(past, grid_after(past, 60), 5)
        np.testing.assert_array_equal(again.quantiles, made.quantiles)
        np.testing.assert_array_equal(again.scenarios, made.scenarios)
        assert other.trained_until("intraday") == history(TRAINED_DAY).issued_at


def test_a_model_never_serves_an_issue_time_before_its_data_end(trained: Pipeline) -> None:
    before, after = history(TRAINED_DAY, 35), history(TRAINED_DAY, 36)
    made = trained.forecast(before, grid_after(before, 30), 2)
    assert set(made.source) == {"naive"}
    unlearnt = Pipeline().forecast(before, grid_after(before, 30), 2)
    np.testing.assert_array_equal(made.scenarios, unlearnt.scenarios)
    assert set(trained.forecast(after, grid_after(after, 30), 2).source) == {"blend"}


def test_equal_data_are_not_learnt_twice(tmp_path: Path) -> None:
    past = History(history(TRAINED_DAY).issued_at, {"load:a": series()["load:a"]})
    later = History(past.issued_at + QUARTER, past.series)
    first, again = Pipeline(tmp_path), Pipeline(tmp_path)
    first.train_day_ahead(past)
    written = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    assert len(written) == 1
    again.train_day_ahead(past)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == written
    made = [p.forecast(past, grid_after(past, 48), 2).quantiles for p in (first, again)]
    np.testing.assert_array_equal(*made)
    again.train_day_ahead(later)
    assert again.trained_until("day_ahead") == later.issued_at
    assert len(list(tmp_path.iterdir())) == 2


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the day-ahead models of one series, learnt at `TRAINED_DAY`."""
    folder = tmp_path_factory.mktemp("kept")
    Pipeline(folder).train_day_ahead(history(TRAINED_DAY, of={"load:a": series()["load:a"]}))
    return folder


def test_a_damaged_model_file_is_trained_again(kept: Path, tmp_path: Path) -> None:
    (path,) = kept.iterdir()
    (tmp_path / path.name).write_bytes(path.read_bytes()[:1000])
    again = Pipeline(tmp_path)
    again.train_day_ahead(history(TRAINED_DAY, of={"load:a": series()["load:a"]}))
    assert again.trained("day_ahead") == {"load:a"}


def test_models_are_told_apart_by_all_they_learnt_from() -> None:
    """Their holidays and how late their values come, too: models of other ones are not those of these data."""
    past = history(TRAINED_DAY)
    slow = {name: replace(s, delay=timedelta(minutes=16 if name == "load:a" else 1)) for name, s in series().items()}
    told = {
        data_digest("day_ahead", panel, Calendar(holidays=holidays_of(country)), {})
        for country in ("DE", "CN", "")
        for panel in (Panel.of(past), replace(Panel.of(past), late=Panel.of(history(TRAINED_DAY, of=slow)).late))
    }
    assert len(told) == 6
    again = data_digest("day_ahead", Panel.of(history(TRAINED_DAY)), Calendar(holidays=holidays_of("DE")), {})
    assert again in told


def test_bytes_overwritten_anywhere_in_a_model_file_are_no_crash(kept: Path, tmp_path: Path) -> None:
    """In the packed data, in the names of the entries, in the directory at the end."""
    whole = next(kept.iterdir()).read_bytes()
    trained = model_files.unpacked(whole)[1]
    record = model_files.record(trained, Pipeline().calendar)
    rng, seen = np.random.default_rng(0), set[type[Exception]]()
    places = [*rng.integers(0, len(whole) - 400, 300), *rng.integers(len(whole) - 400, len(whole) - 4, 300)]
    for at in map(int, places):
        damaged = whole[:at] + rng.bytes(4) + whole[at + 4 :]
        (tmp_path / f"day_ahead-{trained.digest}.zip").write_bytes(damaged)
        found = model_files.find(tmp_path, "day_ahead", trained.digest)
        try:
            Pipeline().restore(replace(record, blob=damaged))
        except NotFound as why:
            assert found is None
            seen.add(type(why.__cause__))
        else:
            assert found is not None
    assert {BadZipFile, zlib.error} < seen


def test_a_model_file_that_holds_something_else_is_none(kept: Path, tmp_path: Path) -> None:
    (path,) = kept.iterdir()
    stage, digest = path.stem.split("-", 1)
    assert model_files.find(kept, "day_ahead", digest) is not None and stage == "day_ahead"
    (tmp_path / f"day_ahead-{'0' * len(digest)}.zip").write_bytes(path.read_bytes())
    assert model_files.find(tmp_path, "day_ahead", "0" * len(digest)) is None
    (tmp_path / "day_ahead-folder.zip").mkdir()
    assert model_files.find(tmp_path, "day_ahead", "folder") is None
    with ZipFile(path) as whole, ZipFile(tmp_path / "day_ahead-null.zip", "w") as other:
        for name in whole.namelist():
            other.writestr(name, b"null" if name == "0.json" else whole.read(name))
    assert model_files.find(tmp_path, "day_ahead", "null") is None


def test_a_series_gone_silent_falls_back_to_the_naive(trained: Pipeline) -> None:
    values = series()["load:a"].values.copy()
    values[65 * 96 :] = np.nan
    past = history(72, 36, {"load:a": Series("load:a", START, values)})
    made = trained.forecast(past, grid_after(past, 96), 3)
    assert made.source == ("naive",)
    assert made.quantiles.min() > 0.05


def test_recent_gaps_are_not_read_as_zero(trained: Pipeline) -> None:
    truth = series()["load:a"]
    values = truth.values.copy()
    values[70 * 96 : 70 * 96 + 36] = np.nan
    past = history(70, 36, {"load:a": Series("load:a", START, values)})
    made = trained.forecast(past, grid_after(past, 24), 3)
    assert made.source == ("blend",)
    np.testing.assert_allclose(made.mean_of("load:a"), truth.values[70 * 96 + 36 :][:24], rtol=0.35)


def test_too_short_a_history_trains_nothing_and_still_forecasts() -> None:
    pipeline, past = Pipeline(), history(5)
    pipeline.train_day_ahead(past)
    assert pipeline.trained("day_ahead") == frozenset()
    assert set(pipeline.forecast(past, grid_after(past, 96), 2).source) == {"naive"}


def test_wrong_grids_and_empty_series_are_refused(trained: Pipeline) -> None:
    past = history(70)
    with pytest.raises(ValueError, match="whole UTC quarters"):
        trained.forecast(past, TimeGrid.uniform(past.issued_at, timedelta(hours=1), 4), 1)
    with pytest.raises(ValueError, match="before the issue time"):
        trained.forecast(past, TimeGrid.uniform(past.issued_at - QUARTER, QUARTER, 4), 1)
    with pytest.raises(DataGap):
        trained.forecast(
            History(past.issued_at, {"x": Series("x", START, np.full(9000, np.nan))}), grid_after(past, 4), 1
        )
    with pytest.raises(LookAhead):
        trained.score(past, [past.issued_at + QUARTER])


def test_scores_by_hand() -> None:
    levels = (0.1, 0.5)
    quantiles = np.array([[1.0, 1.0], [2.0, 2.0]])
    loss = pinball(quantiles, np.array([3.0, 0.0]), levels)
    np.testing.assert_allclose(loss, [(0.1 * 2 + 0.5 * 1) / 2, (0.9 * 1 + 0.5 * 2) / 2])
    band = np.linspace(0.0, 1.0, len(LEVELS))[:, None].repeat(3, axis=1)
    assert coverage(band, np.array([0.5, np.nan, 0.05]))["90"] == 1.0
    assert coverage(band, np.array([0.5, np.nan, 0.05]))["50"] == 0.5


def test_before_the_data_there_is_no_forecast() -> None:
    past = history(-1)
    everything = "no value known at 2016-.* to forecast from: " + ", ".join(past.series)
    with pytest.raises(DataGap, match=everything):
        Pipeline().forecast(past, grid_after(past, 4), 1)
    with pytest.raises(DataGap, match=everything):
        Pipeline().train_day_ahead(past)


def test_every_series_without_a_value_is_named_before_any_training() -> None:
    past = history(70)
    gaps = {name: Series(name, START, np.full(9000, np.nan)) for name in ("x", "y")}
    begun: list[int] = []
    for work in (
        lambda h: Pipeline().train_day_ahead(h, lambda done, of: begun.append(done)),
        lambda h: Pipeline().forecast(h, grid_after(past, 4), 1),
    ):
        with pytest.raises(DataGap, match=r"to forecast from: x, y$"):
            work(History(past.issued_at, {**past.series, **gaps}))
    assert begun == []


def test_one_series_may_be_old_and_not_all_of_them() -> None:
    late = history(80 + 20)
    with pytest.raises(DataGap, match=r"the newest value of any series is from 2016-04-29.*, 20 days before the issue"):
        Pipeline().forecast(late, grid_after(late, 4), 1)
    made = series()
    steel = Series("steel", START, made["load:a"].values[: 96 * 30])
    mixed = history(70, of={**made, "steel": steel})
    assert np.isfinite(Pipeline().forecast(mixed, grid_after(mixed, 4), 1).quantiles).all()


def test_a_portfolio_without_series_needs_no_value() -> None:
    past = history(30, of={})
    assert Pipeline().forecast(past, grid_after(past, 4), 3).quantiles.shape == (0, len(LEVELS), 4)
