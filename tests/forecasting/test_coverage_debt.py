"""A band makes up within a quarter for what it failed to cover, whatever its series does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from forecasting.conformal import Tracker
from vpp.domain.forecast import LEVELS

DAYS, STEPS = 4 * 91, 24


def quarterly_coverage(swing: float, relief: float = 0.37) -> np.ndarray:
    """Per cent of 90 % bands of a unit normal that cover, by quarter, when the spread swings with the season."""
    rng = np.random.default_rng(11)
    tracker = Tracker(np.asarray(LEVELS), 1, 1.0, rate_a_day=0.09, relief=relief)
    promised = np.repeat(ndtri(np.asarray(LEVELS))[:, None], STEPS, axis=1)
    group = np.zeros(STEPS, dtype=np.int64)
    hits = []
    for day in range(DAYS):
        spread = 1.0 + swing * np.sin(2 * np.pi * day / 182)
        y = spread * (0.7 * rng.standard_normal() + 0.7 * rng.standard_normal(STEPS))
        issued = tracker.moved(promised, group)
        hits.append(np.mean((y >= issued[0]) & (y <= issued[-1])))
        tracker.learn(issued, y, group)
    return 100 * np.array(hits).reshape(4, -1).mean(axis=1)


def test_every_quarter_is_covered_while_the_spread_swings() -> None:
    assert np.abs(quarterly_coverage(0.4) - 90).max() < 2.0


def test_without_the_debt_the_swing_is_followed_too_late() -> None:
    paid = np.abs(quarterly_coverage(0.4) - 90).max()
    assert paid < 0.7 * np.abs(quarterly_coverage(0.4, relief=0.0) - 90).max()


def test_a_day_of_luck_moves_the_bands_less_than_their_width() -> None:
    """A whole day far above its median is one draw; a day of misses on both sides tells of narrow bands."""
    level = np.asarray(LEVELS)
    promised = np.repeat(ndtri(level)[:, None], STEPS, axis=1)
    group = np.zeros(STEPS, dtype=np.int64)
    lucky, wide = (Tracker(level, 1, 1.0) for _ in range(2))
    lucky.learn(promised, np.full(STEPS, 9.0), group)
    wide.learn(promised, np.where(np.arange(STEPS) % 2 == 0, 9.0, -9.0), group)
    median = len(LEVELS) // 2
    assert 0 < lucky.offset[median] < 0.1
    assert wide.offset[median] == pytest.approx(0.0, abs=1e-12)
    assert wide.offset[-1] > 5 * lucky.offset[median]
    assert wide.offset == pytest.approx(-wide.offset[::-1])


def test_a_group_whose_bands_are_too_narrow_is_widened_for_itself() -> None:
    level, rng = np.asarray(LEVELS), np.random.default_rng(13)
    tracker, group = Tracker(level, 2, 1.0), np.repeat([0, 1], STEPS)
    promised = np.repeat(ndtri(level)[:, None], 2 * STEPS, axis=1)
    hits = []
    for _ in range(DAYS):
        issued = tracker.moved(promised, group)
        y = rng.standard_normal(2 * STEPS) * np.where(group == 0, 1.0, 2.0)
        hits.append((y >= issued[0]) & (y <= issued[-1]))
        tracker.learn(issued, y, group)
    covered = 100 * np.mean(hits[DAYS // 2 :], axis=0)
    assert [covered[group == g].mean() for g in (0, 1)] == pytest.approx([90, 90], abs=2.0)
    width = np.diff(tracker.moved(promised, group)[[0, -1]], axis=0)[0]
    assert width[-1] > 1.5 * width[0]


def test_levels_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="pair around the median"):
        Tracker(np.array([0.1, 0.5, 0.95]), 1, 1.0)


def test_a_debt_is_forgotten() -> None:
    level, none = np.asarray(LEVELS), np.zeros(1, dtype=np.int64)
    tracker = Tracker(level, 1, 1.0)
    promised = ndtri(level)[:, None]
    for day in range(20):
        tracker.learn(promised, np.array([9.0 if day % 2 else -9.0]), none)
    owed = tracker.debt.copy()
    kept = np.repeat(promised, 1999, axis=1)
    for _ in range(120):
        tracker.learn(kept, ndtri(np.arange(1, 2000) / 2000), np.zeros(1999, dtype=np.int64))
    assert owed[-1] > 5.0
    assert owed[0] < -5.0
    assert np.abs(tracker.debt).max() < 0.1 * np.abs(owed).max()


def test_calms_at_a_bound_do_not_widen_the_bands_and_certain_rows_teach_nothing() -> None:
    rng = np.random.default_rng(12)
    tracker = Tracker(np.asarray(LEVELS), 1, 1.0)
    promised = np.repeat(1.0 + ndtri(np.asarray(LEVELS))[:, None], STEPS, axis=1) * np.linspace(0.2, 2.0, STEPS)
    group, hits, calms = np.zeros(STEPS, dtype=np.int64), [], []
    for _ in range(DAYS):
        y = np.maximum((1.0 + rng.standard_normal(STEPS)) * np.linspace(0.2, 2.0, STEPS), 0.0)
        issued = np.maximum(tracker.moved(promised, group), 0.0)
        hits.append([(y >= issued[a]) & (y <= issued[-1 - a]) for a in (0, 1, 2)])
        calms.append(np.mean(y == 0.0))
        tracker.learn(issued, y, group)
    assert np.mean(calms) > 0.1
    np.testing.assert_allclose(100 * np.mean(hits[60:], axis=(0, 2)), [90, 80, 50], atol=0.4)
    settled = tracker.common.copy()
    tracker.learn(np.zeros((len(LEVELS), 3)), np.array([0.0, 0.0, 1.0]), np.zeros(3, dtype=np.int64))
    np.testing.assert_array_equal(tracker.common, settled)
