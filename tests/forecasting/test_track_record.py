"""Past forecasts made again: out of sample, never ahead of what was known, scored as the equations say."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from forecasting.backtest import coverage, pinball
from forecasting.pipeline import Pipeline
from forecasting.track_record import (
    EVERY,
    SPAN,
    STEPS,
    TrackRecord,
    issue_times,
    outcomes,
    tally,
    transforms_below,
)
from tests.forecasting.made import history, series
from vpp.domain.forecast import LEVELS, Forecast, History, Series
from vpp.domain.forecast_score import SeriesScore
from vpp.domain.time import QUARTER, TimeGrid

TRAINED_DAY, WEEK = 60, SPAN // EVERY


class Counting:
    """A pipeline that remembers what it was asked for."""

    def __init__(self) -> None:
        self.inner, self.asked = Pipeline(), list[datetime]()

    def forecast(self, past: History, grid: TimeGrid, scenarios: int) -> Forecast:
        assert past.issued_at == grid.start
        self.asked.append(past.issued_at)
        return self.inner.forecast(past, grid, scenarios)


@pytest.fixture(scope="module")
def trained() -> Pipeline:
    pipeline = Pipeline()
    pipeline.train_day_ahead(history(TRAINED_DAY))
    return pipeline


def scored(pipeline: Pipeline, past: History) -> dict[str, SeriesScore]:
    """By series."""
    return {s.series: s for s in pipeline.track_record(past)}


def test_the_score_is_the_loss_of_forecasts_made_at_the_time() -> None:
    past = history(50, 40)
    found = scored(Pipeline(), past)["load:a"]
    losses, inside = [], []
    for at in issue_times(past.issued_at):
        made = Pipeline().forecast(History(at, past.series), TimeGrid.uniform(at, QUARTER, STEPS), 1)
        y = past.until_known("load:a").values[(at - past.series["load:a"].start) // QUARTER :][:STEPS]
        q = made.quantiles[made.index["load:a"]][:, : len(y)]
        losses.append(pinball(q, y))
        inside.append((y >= q[0]) & (y <= q[-1]))
    assert found.pinball == pytest.approx(np.concatenate(losses).mean())
    assert found.coverage["90"] == pytest.approx(np.concatenate(inside).mean())
    assert found.n == sum(map(len, losses)) < WEEK * STEPS, "outcomes to come are not scored"
    assert (found.pinball, found.skill) == (found.pinball_naive, 0.0), "the naive is what stands in without a model"
    assert (found.source, found.trained_until, found.drifted) == ("naive", None, False)


def test_a_model_is_scored_on_what_it_did_not_learn(trained: Pipeline) -> None:
    past = history(TRAINED_DAY + 3)
    found = scored(trained, past)
    until = trained.trained_until("day_ahead")
    later = [at for at in issue_times(past.issued_at) if until is not None and at >= until]
    ahead = [min(STEPS, past.series["load:a"].known(past.issued_at) - (at - past.series["load:a"].start) // QUARTER)
             for at in later]  # fmt: skip
    assert 0 < len(later) < WEEK
    assert found["load:a"].n == sum(ahead)
    assert {s.source for s in found.values()} == {"blend"} and {s.trained_until for s in found.values()} == {until}
    assert sum(s.skill or 0.0 for s in found.values()) > 0.0


def test_the_naive_that_stood_in_before_the_first_training_does_not_count_for_the_model(trained: Pipeline) -> None:
    pipeline = Pipeline()
    assert {s.source for s in scored(pipeline, history(TRAINED_DAY)).values()} == {"naive"}
    pipeline._trained = dict(trained._trained)
    after = scored(pipeline, history(TRAINED_DAY + 1))
    assert after["load:a"].source == "blend"
    assert after["load:a"].n < 9 * STEPS, "issues of one day"


def test_the_future_cannot_be_read(trained: Pipeline) -> None:
    past = history(TRAINED_DAY + 2)
    shifted = {k: replace(s, values=s.values.copy()) for k, s in series().items()}
    for s in shifted.values():
        s.values[s.known(past.issued_at) :] = 1e6
    assert fresh(trained).track_record(past) == fresh(trained).track_record(History(past.issued_at, shifted))


def test_a_calibration_that_moved_since_the_training_has_drifted(trained: Pipeline) -> None:
    past, watched = history(TRAINED_DAY + 1), fresh(trained)
    assert not any(s.drifted for s in scored(watched, past).values())
    assert watched._again is not None
    followed = watched._again._followed["day_ahead", "load:a"][1]
    followed.tracker.common = followed.tracker.common + 9.0
    found = scored(watched, past)
    assert found["load:a"].drifted and not found["load:b"].drifted
    assert not trained._trained["day_ahead"].fitted["load:a"].tracker.drifted, "what was learnt is left alone"


def fresh(trained: Pipeline) -> Pipeline:
    """The same models with an empty record."""
    other = Pipeline()
    other._trained = dict(trained._trained)
    return other


def test_live_forecasts_are_the_same_whether_or_not_the_past_is_scored(trained: Pipeline) -> None:
    past = history(TRAINED_DAY + 2)
    grid, watched = TimeGrid.uniform(past.issued_at, QUARTER, 24), fresh(trained)
    before = watched.forecast(past, grid, 3)
    kept = dict(watched._followed)
    watched.track_record(history(TRAINED_DAY + 1))
    assert watched._followed == kept
    after = watched.forecast(past, grid, 3)
    assert np.array_equal(before.quantiles, after.quantiles) and np.array_equal(before.scenarios, after.scenarios)


def test_an_issue_is_made_once_and_no_more_than_asked_for_at_a_time() -> None:
    forecaster, record, calendar = Counting(), TrackRecord(), Pipeline().calendar
    wanted = issue_times(history(50).issued_at)
    record.follow(forecaster, history(50), None, calendar, 3)
    assert forecaster.asked == wanted[:3]
    for _ in range(2):
        record.follow(forecaster, history(50), None, calendar, None)
    assert forecaster.asked == wanted
    record.follow(forecaster, history(51), None, calendar, None)
    assert len(forecaster.asked) == len(set(forecaster.asked)) == WEEK + timedelta(days=1) // EVERY
    assert sorted(record.issues) == issue_times(history(51).issued_at), "older ones are gone"
    now = history(51).issued_at
    past = record.reaching(now)
    assert past is not None and past.issued_at == min(at for at in record.issues if at + STEPS * QUARTER > now)
    assert record.reaching(now + timedelta(days=1)) is None


def test_sums_stand_for_an_issue_whose_outcomes_are_due() -> None:
    record, calendar = TrackRecord(), Pipeline().calendar
    whole = record.follow(Pipeline(), history(50), None, calendar, None)
    closed = [issue for issue in record.issues.values() if issue.made is None]
    assert 0 < len(closed) < WEEK and all(issue.naive.size == 0 for issue in closed)
    again = record.follow(Pipeline(), history(50), None, calendar, None)
    assert {k: v[1].loss for k, v in again.items()} == {k: v[1].loss for k, v in whole.items()}


def test_sums_by_hand() -> None:
    quantiles = np.tile(np.arange(1.0, 10.0)[:, None], (1, 1, 4))
    quantiles[..., 3] = 0.0
    actual = np.array([[5.0, np.nan, 9.5, 0.0]])
    found = tally(quantiles, quantiles + 1.0, actual)
    assert found.scored.tolist() == [3] and found.wide.tolist() == [2], "no width, no calibration"
    assert found.loss == pytest.approx(np.nansum(pinball(quantiles[0], actual[0])))
    assert found.loss_naive == pytest.approx(np.nansum(pinball(quantiles[0] + 1.0, actual[0])))
    bands = coverage(quantiles[0], actual[0])
    assert found.inside[0] / 3 == pytest.approx([bands["50"], bands["80"], bands["90"]])
    assert found.below[0].tolist() == pytest.approx([0, 0, 0, 0, 0.5, 1, 1, 1, 1])


def test_quantiles_of_the_truth_are_reliable() -> None:
    rng = np.random.default_rng(3)
    levels = np.asarray(LEVELS)
    actual = rng.uniform(size=(1, 4000))
    found = tally(np.tile(levels[None, :, None], (1, 1, 4000)), np.zeros((1, 9, 4000)), actual)
    assert found.below[0] / found.wide[0] == pytest.approx(levels, abs=0.02)
    low = tally(np.tile(levels[None, :, None] ** 2, (1, 1, 4000)), np.zeros((1, 9, 4000)), actual)
    assert (low.below[0] < found.below[0]).all(), "quantiles too low"


def test_a_forecast_with_an_atom_at_its_bound_is_reliable() -> None:
    rng = np.random.default_rng(4)
    levels = np.asarray(LEVELS)
    for share in (0.3, 0.5, 0.83):
        actual = np.maximum(rng.uniform(size=(1, 4000)) - share, 0.0)
        quantiles = np.tile(np.maximum(levels - share, 0.0)[None, :, None], (1, 1, 4000))
        found = tally(quantiles, quantiles, actual)
        assert found.below[0] / found.wide[0] == pytest.approx(levels, abs=0.07), share
        ones = transforms_below(quantiles, np.zeros((1, 4000)))[0, :, 0]
        assert (np.diff(ones) >= 0).all() and ones[0] < 0.2 and ones[-1] == 1.0


def test_outcomes_end_where_knowledge_ends() -> None:
    past = history(50)
    grid = TimeGrid.uniform(past.issued_at - 4 * QUARTER, QUARTER, 8)
    known = np.isfinite(outcomes(past, ["load:a"], grid))[0]
    assert known.tolist() == [True] * 3 + [False] * 5, "the last quarter is known a minute after its end"
    early = TimeGrid.uniform(past.series["load:a"].start - 2 * QUARTER, QUARTER, 4)
    assert np.isfinite(outcomes(past, ["load:a"], early))[0].tolist() == [False, False, True, True]


def test_a_series_that_has_just_begun_is_scored_from_its_first_value_on() -> None:
    past = history(50, 40)
    young = Series("young", past.issued_at - 20 * QUARTER, np.full(60, 0.5))
    found = scored(Pipeline(), History(past.issued_at, {**past.series, "young": young}))
    assert found["young"].n == 11, "the issue of 06:00 alone, less the quarter that is not known yet"
    assert found["load:a"].n == scored(Pipeline(), past)["load:a"].n


def test_values_too_old_to_forecast_from_make_no_record() -> None:
    assert scored(Pipeline(), history(80 + 30)) == {}
    assert scored(Pipeline(), history(-1)) == {}
    assert scored(Pipeline(), History(history(50).issued_at, {})) == {}
