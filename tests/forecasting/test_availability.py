"""Nothing reads the future: neither a feature, nor a model, nor a forecast."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.calendar import Calendar, quarter_of
from forecasting.features import NAMES, Running, build
from forecasting.panel import Panel
from forecasting.pipeline import Pipeline
from forecasting.solar import solar_features
from forecasting.training import Stage, rows_of
from tests.forecasting.made import START, days, history, series
from vpp.domain.errors import LookAhead
from vpp.domain.forecast import History, Series
from vpp.domain.time import QUARTER, TimeGrid


def spoilt(past: History, seed: int) -> History:
    """The same history with every value after the issue time replaced by nonsense."""
    rng = np.random.default_rng(seed)
    made = {}
    for k, s in past.series.items():
        values = s.values.copy()
        later = values[s.known(past.issued_at) :]
        later[:] = rng.choice([np.nan, 1e6, -1e6, 0.0, 3.0], len(later))
        made[k] = replace(s, values=values)
    return History(past.issued_at, made)


def test_window_refuses_what_was_not_known() -> None:
    past = history(30)
    past.window("load:a", START, past.issued_at - QUARTER)
    with pytest.raises(LookAhead):
        past.window("load:a", START, past.issued_at)


def test_panel_refuses_to_read_past_what_was_known() -> None:
    panel = Panel.of(history(30))
    end = panel.end[:, None]
    assert np.isfinite(panel.read(end - 1, end)).all()
    with pytest.raises(LookAhead):
        panel.read(end, end)


def test_shifting_the_future_changes_nothing() -> None:
    past = history(45)
    only = {k: past.series[k] for k in ("load:a", "gen:pv", "gappy")}
    past = History(past.issued_at, only)
    grid = TimeGrid.uniform(past.issued_at, QUARTER, 152)
    made = []
    for known in (past, spoilt(past, 1), spoilt(past, 2)):
        pipeline = Pipeline()
        pipeline.train_day_ahead(known)
        pipeline.train_intraday(known)
        made.append(pipeline.forecast(known, grid, 20))
    assert made[0].source == ("blend",) * 3
    for other in made[1:]:
        np.testing.assert_array_equal(other.quantiles, made[0].quantiles)
        np.testing.assert_array_equal(other.scenarios, made[0].scenarios)


def test_changing_the_past_changes_the_forecast() -> None:
    past = history(45)
    grid = TimeGrid.uniform(past.issued_at, QUARTER, 24)
    changed = {k: replace(s, values=np.where(np.arange(len(s.values)) == 45 * 96 + 34, 0.9, s.values))
               for k, s in past.series.items()}  # fmt: skip
    pipeline = Pipeline()
    pipeline.train_intraday(History(past.issued_at, {"load:a": past.series["load:a"]}))
    before = pipeline.forecast(past, grid, 2)
    after = pipeline.forecast(History(past.issued_at, changed), grid, 2)
    assert np.abs(before.quantiles[0] - after.quantiles[0]).max() > 0


@settings(max_examples=15, deadline=None)
@given(day=st.integers(9, 75), quarter=st.integers(0, 95), lead=st.integers(0, 155), delay=st.integers(1, 100))
def test_a_training_row_is_the_row_a_forecast_would_have_made(day: int, quarter: int, lead: int, delay: int) -> None:
    late = {k: replace(s, delay=timedelta(minutes=delay)) for k, s in series().items() if k != "gappy"}
    whole = Panel.of(history(79, 90, late))
    calendar = Calendar().days(whole.first, whole.n + 300)
    issue, ahead = np.array([day * 96 + quarter]), np.array([lead])
    trained = build(whole, calendar, issue + ahead, whole.known_at(issue), ahead)
    then = Panel.of(history(day, quarter, late))
    served = build(then, calendar, issue + ahead, then.end[:, None], ahead)
    for f, name in enumerate(NAMES):
        np.testing.assert_allclose(trained[..., f], served[..., f], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("door", ["upto", "over"])
def test_a_window_planted_a_quarter_too_late_is_refused(door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = Panel.of(history(30, 40, {"load:a": series()["load:a"]}))
    calendar = Calendar().days(panel.first, panel.n + 300)
    issue, ahead = np.array([20 * 96 + 40, 25 * 96 + 60]), np.array([5, 70])
    asked = panel, calendar, issue + ahead, panel.known_at(issue)
    assert np.isfinite(build(*asked, ahead)).all()
    assert np.isfinite(solar_features(*asked).x[:, 0]).all()
    honest = getattr(Running, door)
    monkeypatch.setattr(Running, door, lambda self, end, *more: honest(self, end + 1, *more))
    with pytest.raises(LookAhead, match="1 quarters past"):
        build(*asked, ahead)
    with pytest.raises(LookAhead, match="1 quarters past"):
        solar_features(*asked)


@pytest.mark.parametrize("stage", ["day_ahead", "intraday"])
def test_training_rows_lie_inside_what_was_known(stage: Stage) -> None:
    issue, target = rows_of(stage, days(), 8 * 96, 5000)
    assert len(issue) > 2000
    assert (target < 5000).all()
    assert (target >= issue).all()
    assert issue.min() >= 8 * 96
    assert (np.diff(issue) >= 0).all()


def test_a_late_series_is_known_later() -> None:
    s = series()["load:a"]
    past = history(30, 36, {"now": s, "late": Series("late", s.start, s.values, timedelta(hours=2))})
    panel = Panel.of(past)
    assert panel.end.tolist() == [30 * 96 + 35, 30 * 96 + 28]
    assert panel.known_at(np.array([30 * 96 + 36]))[:, 0].tolist() == panel.end.tolist()
    assert quarter_of(START) == panel.first
