"""Live scores by hand: what a day comes to, what a window comes to, and when it is worth an alarm."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from forecasting.live_scores import LEAST_OUTCOMES, day_scores, over_window
from vpp.domain.forecast import LEVELS
from vpp.domain.learnt import DayForecast, DayScore
from vpp.domain.time import QUARTER, TimeGrid

NOW = datetime(2016, 7, 11, 8, tzinfo=UTC)
GRID = TimeGrid.uniform(NOW + timedelta(hours=14), QUARTER, 96)


def uniform(low: float, high: float) -> np.ndarray:
    """Quantiles (1, L, 96) of a uniform distribution."""
    return np.broadcast_to(low + (high - low) * np.array(LEVELS)[None, :, None], (1, len(LEVELS), 96)).copy()


def made(quantiles: np.ndarray, naive: np.ndarray) -> DayForecast:
    return DayForecast(NOW, GRID, ("s",), LEVELS, ("blend",), quantiles, naive)


def test_outcomes_of_the_forecast_distribution_are_covered_as_often_as_it_says() -> None:
    outcome = (np.arange(96) + 0.5)[None] / 96
    (score,) = day_scores(made(uniform(0, 1), uniform(0, 2)), outcome)
    assert score.n == 96
    assert {k: v / 96 for k, v in score.inside.items()} == pytest.approx({"50": 0.5, "80": 0.8, "90": 0.9}, abs=0.02)
    np.testing.assert_allclose(np.array(score.below) / 96, LEVELS, atol=0.006)
    assert 0 < score.pinball < score.pinball_naive


def test_the_loss_of_one_outcome_by_hand() -> None:
    outcome = np.full((1, 96), np.nan)
    outcome[0, 5] = 3.0
    (score,) = day_scores(made(np.ones((1, 9, 96)), uniform(0, 1)), outcome)
    assert score.n == 1
    assert score.pinball == pytest.approx(2.0 * np.mean(LEVELS))
    assert score.inside == {"50": 0, "80": 0, "90": 0}
    assert score.below == (0.0,) * 9


def test_an_outcome_that_equals_its_quantiles_counts_half_and_a_silent_series_not_at_all() -> None:
    (dark,) = day_scores(made(np.zeros((1, 9, 96)), np.zeros((1, 9, 96))), np.zeros((1, 96)))
    assert dark.below == (48.0,) * 9
    assert dark.inside["50"] == 96
    assert day_scores(made(uniform(0, 1), uniform(0, 1)), np.full((1, 96), np.nan)) == []


def day(k: int, n: int, loss: float, naive: float, inside: int) -> DayScore:
    bands = dict.fromkeys(("50", "80", "90"), inside)
    return DayScore("s", NOW + timedelta(days=k), "blend", n, loss, naive, bands, (0.5 * n,) * 9)


def test_a_window_weighs_quarters_and_not_days() -> None:
    found = over_window([day(0, 10, 10.0, 20.0, 10), day(1, 90, 9.0, 9.0, 45)])["s"]
    assert (found.n, found.pinball, found.pinball_naive) == (100, 0.19, 0.29)
    assert found.coverage["90"] == 0.55
    assert found.reliability == (0.5,) * 9


def test_alarms_need_enough_outcomes() -> None:
    bad = day(0, LEAST_OUTCOMES, 2.0, 1.0, int(0.79 * LEAST_OUTCOMES))
    few = over_window([replace(bad, n=LEAST_OUTCOMES - 1)])["s"]
    assert (few.worse, few.overconfident) == (False, False)
    enough = over_window([bad])["s"]
    assert (enough.worse, enough.overconfident) == (True, True)
    fair = over_window([replace(bad, pinball=1.0, inside={"50": 0, "80": 0, "90": LEAST_OUTCOMES})])["s"]
    assert (fair.worse, fair.overconfident) == (False, False)
