"""A band makes up within a quarter for what it failed to cover, whatever its series does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from forecasting import conformal
from forecasting.conformal import Tracker
from vpp.domain.forecast import LEVELS

DAYS, STEPS = 4 * 91, 24


def quarterly_coverage(swing: float) -> np.ndarray:
    """Per cent of 90 % bands of a unit normal that cover, by quarter, when the spread swings with the season."""
    rng = np.random.default_rng(11)
    tracker = Tracker(np.asarray(LEVELS), 1, 1.0)
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


def test_without_the_debt_the_swing_is_followed_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    paid = np.abs(quarterly_coverage(0.4) - 90).max()
    monkeypatch.setattr(conformal, "RELIEF", 0.0)
    assert paid < 0.7 * np.abs(quarterly_coverage(0.4) - 90).max()


def test_a_debt_is_forgotten() -> None:
    tracker = Tracker(np.asarray(LEVELS), 1, 1.0)
    quiet = np.repeat(ndtri(np.asarray(LEVELS))[:, None], 1, axis=1)
    for _ in range(20):
        tracker.learn(quiet, np.array([9.0]), np.zeros(1, dtype=np.int64))
    owed = tracker.debt.copy()
    one_in_twenty = np.where(np.arange(20) == 0, -9.0, 9.0)
    for _ in range(120):
        tracker.learn(np.repeat(quiet, 20, axis=1), one_in_twenty, np.zeros(20, dtype=np.int64))
    assert (owed > 1.0 * np.asarray(LEVELS)).all()
    assert abs(tracker.debt[0]) < 0.05 * owed[0]


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
