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
    for _ in range(120):
        tracker.learn(quiet, quiet[0], np.zeros(1, dtype=np.int64))
    assert (owed > 1.0 * np.asarray(LEVELS)).all()
    assert abs(tracker.debt[0]) < 0.05 * owed[0]
