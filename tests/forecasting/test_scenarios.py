"""Scenarios: the marginals of the quantiles, the dependence of history, the same for the same seed."""

from __future__ import annotations

import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.scenarios import Dependence, copula, from_quantiles, nearest_correlation, seed_of
from tests.forecasting.made import START
from vpp.domain.forecast import LEVELS

PAIR = Dependence(np.array([[1.0, 0.7], [0.7, 1.0]]), np.array([0.9, 0.98]))


def test_scores_have_the_correlation_and_persistence_asked_for() -> None:
    from scipy.special import ndtri

    z = ndtri(copula(PAIR, 20000, 8, 1))
    for t in (0, 3, 7):
        assert abs(np.corrcoef(z[:, 0, t], z[:, 1, t])[0, 1] - 0.7) < 0.03
        assert abs(z[:, 0, t].std() - 1) < 0.03
    for s, r in enumerate(PAIR.persistence):
        assert abs(np.corrcoef(z[:, s, 3], z[:, s, 4])[0, 1] - r) < 0.02


def test_marginals_are_the_quantiles() -> None:
    rng = np.random.default_rng(3)
    quantiles = np.sort(rng.random((2, len(LEVELS), 4)), axis=1)
    made = from_quantiles(copula(PAIR, 20000, 4, 2), quantiles, LEVELS, np.zeros(2), np.ones(2))
    for i, level in enumerate(LEVELS):
        share = (made <= quantiles[:, i]).mean(axis=0)
        np.testing.assert_allclose(share, level, atol=0.015)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), low=st.floats(0, 0.4), high=st.floats(0.6, 1.0))
def test_values_stay_inside_the_bounds(seed: int, low: float, high: float) -> None:
    rng = np.random.default_rng(seed)
    quantiles = np.clip(np.sort(rng.normal(0.5, 0.4, (2, len(LEVELS), 3)), axis=1), low, high)
    uniform = np.concatenate([copula(PAIR, 20, 3, seed), np.zeros((1, 2, 3)), np.ones((1, 2, 3))])
    made = from_quantiles(uniform, quantiles, LEVELS, np.full(2, low), np.full(2, high))
    assert (made >= low).all()
    assert (made <= high).all()


def test_seed_depends_on_issue_time_and_series_only() -> None:
    assert seed_of(START, ("a", "b")) == seed_of(START, ("a", "b"))
    assert len({seed_of(START, ("a", "b")), seed_of(START, ("b", "a")), seed_of(START, ("ab",))}) == 3


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_nearest_correlation_is_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = nearest_correlation(np.clip(rng.normal(0, 1, (5, 5)), -1, 1))
    np.testing.assert_allclose(np.diag(made), 1.0)
    np.testing.assert_allclose(made, made.T, atol=1e-12)
    assert np.linalg.eigvalsh(made).min() > 0


def test_two_hundred_by_forty_one_by_152_is_fast() -> None:
    shape = Dependence(np.eye(41) * 0.5 + 0.5, np.full(41, 0.95))
    quantiles = np.sort(np.random.default_rng(0).random((41, len(LEVELS), 152)), axis=1)
    before = time.process_time()
    made = from_quantiles(copula(shape, 200, 152, 1), quantiles, LEVELS, np.zeros(41), np.ones(41))
    assert made.shape == (200, 41, 152)
    assert time.process_time() - before < 2.0
