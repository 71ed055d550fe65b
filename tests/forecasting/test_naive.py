"""The seasonal naive: gaps are gaps, two days suffice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.calendar import Calendar, Index
from forecasting.naive import naive_quantiles, sample_quantiles
from forecasting.panel import Panel
from tests.forecasting.made import START, history, series
from vpp.domain.errors import DataGap
from vpp.domain.forecast import LEVELS, History, Series
from vpp.domain.time import Array


def naive(past: History, steps: int = 96) -> Array:
    panel = Panel.of(past)
    target: Index = panel.n + np.arange(steps)
    days = Calendar().days(panel.first, panel.n + steps + 2)
    end = np.broadcast_to(panel.end[:, None], (len(panel.ids), steps))
    return naive_quantiles(panel, days, target, end, LEVELS)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-10, 10) | st.just(np.nan), min_size=1, max_size=12))
def test_sample_quantiles_are_numpys_over_what_is_there(values: list[float]) -> None:
    sample = np.array(values)
    level = np.asarray(LEVELS)
    made = sample_quantiles(sample, level)
    if np.isfinite(sample).any():
        np.testing.assert_allclose(made, np.nanquantile(sample, level), atol=1e-12)
    else:
        assert np.isnan(made).all()


def test_weekend_comes_from_weekends() -> None:
    friday = history(38, 90)
    assert friday.issued_at.weekday() == 5
    q = naive(friday, 96)
    load = series()["load:a"].values
    workday_noon, saturday_noon = load[36 * 96 + 48], q[0, 4, 54]
    assert saturday_noon < 0.75 * workday_noon


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), share=st.floats(0.0, 0.9))
def test_gaps_are_skipped_and_never_become_zero(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    values = 5.0 + rng.random(96 * 20)
    values[rng.random(len(values)) < share] = np.nan
    q = naive(history(20, 0, {"s": Series("s", START, values)}))
    assert np.isfinite(q).all()
    assert q.min() >= 5.0
    assert (np.diff(q, axis=1) >= 0).all()


def test_a_series_that_ended_long_ago_still_has_a_naive() -> None:
    values = np.full(96 * 79, np.nan)
    values[: 96 * 5] = 2.0
    q = naive(history(79, 0, {"s": Series("s", START, values)}))
    assert (q == 2.0).all()


@pytest.mark.parametrize("quarter", [0, 17, 95])
def test_two_days_suffice(quarter: int) -> None:
    q = naive(history(2, quarter), 152)
    assert np.isfinite(q).all()


def test_a_series_without_a_value_is_refused_by_name() -> None:
    with pytest.raises(DataGap, match="empty"):
        naive(history(20, 0, {"empty": Series("empty", START, np.full(96 * 20, np.nan))}))
