"""Sums that past sums did not bear out are widened, narrowed or moved; others are left as they were."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.sums import SumCalibration
from vpp.domain.forecast import LEVELS


@pytest.mark.parametrize(("spread", "shift"), [(1.0, 0.0), (1.3, 0.0), (0.6, 0.0), (1.0, 0.4)])
def test_bands_of_the_sum_come_to_cover_what_they_say(spread: float, shift: float) -> None:
    rng, sums, inside = np.random.default_rng(1), SumCalibration(LEVELS), []
    for _ in range(700):
        taken = sums.chosen(rng.standard_normal((800, 1, 4)) / 2, 200)
        issued, came = sums.quantiles(taken), spread * rng.standard_normal() + shift
        inside.append([issued[0] <= came <= issued[-1], issued[2] <= came <= issued[-3]])
        sums.learn(issued, came)
    late = np.mean(inside[200:], axis=0)
    assert abs(late[0] - 0.9) < 0.03
    assert abs(late[1] - 0.5) < 0.06


def test_without_a_past_the_spread_is_that_of_the_candidates() -> None:
    x = np.random.default_rng(2).standard_normal((800, 2, 3))
    sums = SumCalibration(LEVELS)
    taken = sums.chosen(x, 200)
    assert len(np.unique(taken[:, 0, 0])) == 200
    np.testing.assert_allclose(sums.quantiles(taken), np.quantile(x.sum(axis=(1, 2)), LEVELS), atol=0.05)


def test_no_scenario_is_taken_twice_however_far_the_offsets_go() -> None:
    x, sums = np.random.default_rng(2).standard_normal((300, 1, 3)), SumCalibration(LEVELS)
    for _ in range(300):
        sums.learn(np.zeros(len(LEVELS)), 5.0)
    taken = sums.chosen(x, 200)
    assert len(np.unique(taken[:, 0, 0])) == 200
    assert taken.sum() > x.sum()


def test_a_sum_may_count_load_against_generation_and_no_price() -> None:
    x = np.random.default_rng(2).standard_normal((50, 3, 4))
    sums = SumCalibration(LEVELS, np.array([1.0, -1.0, 0.0]))
    np.testing.assert_allclose(sums.sums(x), x[:, 0].sum(axis=1) - x[:, 1].sum(axis=1))
    sums.offset += 3.0
    high = sums.sums(sums.chosen(x, 10))
    np.testing.assert_allclose(np.sort(high), np.sort(sums.sums(x))[-10:])


def test_gaps_teach_nothing() -> None:
    sums = SumCalibration(LEVELS)
    sums.learn(np.full(len(LEVELS), np.nan), 1.0)
    sums.learn(np.zeros(len(LEVELS)), np.nan)
    assert not sums.offset.any()


def test_too_few_candidates_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot take 3 of 2"):
        SumCalibration(LEVELS).chosen(np.zeros((2, 1, 1)), 3)
