"""Dependence learnt from past errors, and few scenarios in place of many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from forecasting.cases import Cases
from forecasting.losses import energy_score
from forecasting.past_errors import PastErrors
from forecasting.past_scores import PastScores, joint, normal_score
from forecasting.reduction import distances, reduced
from forecasting.scenarios import Dependence, copula, from_quantiles
from vpp.domain.forecast import LEVELS
from vpp.domain.time import Array

NORMAL = ndtri(np.asarray(LEVELS))


def past(days: int, steps: int, seed: int = 1) -> Array:
    """Scores of two series that share most of a day's error: correlation 0.8 within, 0.4 across."""
    rng = np.random.default_rng(seed)
    common, own = rng.standard_normal((days, 1, 1)), rng.standard_normal((days, 2, 1))
    rest = rng.standard_normal((days, 2, steps))
    made: Array = np.sqrt(0.4) * common + np.sqrt(0.4) * own + np.sqrt(0.2) * rest
    return made


def test_scenarios_have_the_correlation_of_past_errors() -> None:
    z = ndtri(copula(Dependence.of(past(400, 6)), 20_000, 6, 3))
    assert np.abs(z.std(axis=0) - 1).max() < 0.03
    made: Array = np.asarray(np.corrcoef(z.reshape(len(z), -1).T))
    assert abs(made[0, 5] - 0.8) < 0.06
    assert abs(made[2, 10] - 0.4 * 400 / 430) < 0.08


def test_steps_beyond_the_past_go_on_without_a_jump() -> None:
    z = ndtri(copula(Dependence.of(past(400, 6)), 20_000, 12, 3))
    within = Dependence.of(past(400, 6)).persistence
    for s in (0, 1):
        assert abs(np.corrcoef(z[:, s, 5], z[:, s, 6])[0, 1] - within[s]) < 0.02
        assert np.abs(z[:, s].std(axis=0) - 1).max() < 0.03


def test_a_step_nobody_ever_saw_is_drawn_by_the_autoregression() -> None:
    gappy = past(50, 6)
    gappy[:, 1, 2] = np.nan
    z = ndtri(copula(Dependence.of(gappy), 5000, 6, 3))
    assert np.isfinite(z).all()
    assert abs(z[:, 1, 2].std() - 1) < 0.04


def test_scenarios_are_the_same_for_the_same_seed_only() -> None:
    shape = Dependence.of(past(30, 6))
    np.testing.assert_array_equal(copula(shape, 7, 9, 5), copula(shape, 7, 9, 5))
    assert copula(shape, 7, 9, 5).shape == (7, 2, 9)
    assert not np.array_equal(copula(shape, 7, 9, 5), copula(shape, 7, 9, 6))


def test_scores_of_a_calibrated_forecast_are_standard_normal() -> None:
    rng = np.random.default_rng(2)
    middle = rng.normal(0, 3, 20_000)
    z = normal_score(middle + NORMAL[:, None], middle + rng.standard_normal(20_000), LEVELS, -np.inf, np.inf)
    assert abs(z.mean()) < 0.02
    np.testing.assert_allclose(np.quantile(z, LEVELS), NORMAL, atol=0.04)


def test_scores_undo_the_quantile_function() -> None:
    quantiles = np.sort(np.random.default_rng(4).random((1, len(LEVELS), 50)), axis=1)
    u = np.random.default_rng(5).uniform(0.01, 0.99, (1, 1, 50))
    y = from_quantiles(u, quantiles, LEVELS, np.zeros(1), np.ones(1))[0, 0]
    inside = (y > 0) & (y < 1)
    np.testing.assert_allclose(
        ndtr(normal_score(quantiles[0], y, LEVELS, 0.0, 1.0))[inside], u[0, 0][inside], atol=1e-9
    )


def test_an_atom_is_spread_over_its_probability() -> None:
    quantiles = np.tile(np.where(np.asarray(LEVELS) <= 0.5, 0.0, np.asarray(LEVELS) - 0.5)[:, None], 5000)
    u = ndtr(normal_score(quantiles, np.zeros(5000), LEVELS, 0.0, 1.0))
    assert 0.49 < u.max() <= 0.5
    assert abs(u.mean() - 0.25) < 0.01
    assert np.isnan(normal_score(quantiles[:, :1], np.array([np.nan]), LEVELS, 0.0, 1.0)).all()


def cases(issues: list[int], leads: list[int]) -> Cases:
    issue, lead = np.repeat(issues, len(leads)), np.tile(leads, len(issues))
    n = len(issue)
    return Cases(issue, issue + lead, issue + lead + 15, np.zeros(n), np.zeros((n, 1)), ("a",))


def test_scores_stand_side_by_side_and_are_known_when_their_outcomes_are() -> None:
    a, b = cases([0, 100, 200], [30, 45]), cases([100, 200], [45, 60])
    made = joint([a, b], [np.arange(6.0), 10 + np.arange(4.0)])
    assert made.scores.shape == (3, 2, 3)
    np.testing.assert_array_equal(made.scores[1], [[2.0, 3.0, np.nan], [np.nan, 10.0, 11.0]])
    np.testing.assert_array_equal(
        made.at(145, np.array([30, 45])), [[[0, 1], [np.nan] * 2], [[2, np.nan], [np.nan] * 2]]
    )
    assert np.isnan(made.at(1000, np.array([75]))).all()
    assert len(PastScores(made.issue, made.lead, made.scores, made.known).at(44, made.lead)) == 0


def test_a_forecast_of_another_hour_learns_from_the_same_clock_times() -> None:
    day = cases([0, 1440, 2880], list(range(600, 600 + 1440, 15)))
    made = PastErrors.of(["a"], {}, {"a": joint([day], [day.target.astype(float)])})
    now = 2880 + 600 + 300
    past = made.before(now, np.arange(now, now + 1440, 15))
    assert past.shape == (3, 1, 96)
    np.testing.assert_array_equal(
        past[-1, 0], np.where(np.arange(96) * 15 + now - 1440 + 15 <= now, np.arange(now - 1440, now, 15), np.nan)
    )
    np.testing.assert_array_equal(past[1, 0], np.arange(now - 2880, now - 1440, 15))
    np.testing.assert_array_equal(np.isnan(past[0, 0]), np.arange(96) < 76)
    assert len(made.before(600, np.arange(600, 2040, 15))) == 0


def test_learnt_dependence_scores_better_than_none_and_covers_the_sum() -> None:
    z, steps, scores, inside = past(400, 24, 9), 24, [], []
    quantiles = np.broadcast_to(NORMAL[None, :, None], (2, len(LEVELS), steps))
    bounds = np.full(2, -np.inf), np.full(2, np.inf)
    for d in range(100, 400, 3):
        uniform = copula(Dependence.of(z[d - 100 : d]), 200, steps, d)
        white = np.random.default_rng(d).random(uniform.shape)
        made = [from_quantiles(u, quantiles, LEVELS, *bounds) for u in (uniform, white)]
        scores.append([energy_score(x, z[d]) for x in made])
        low, high = np.quantile(made[0].sum(axis=(1, 2)), (0.05, 0.95))
        inside.append(low <= z[d].sum() <= high)
    together, apart = np.mean(scores, axis=0)
    assert together < 0.97 * apart
    assert abs(np.mean(inside) - 0.9) < 0.06


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 30), weighted=st.booleans())
def test_reduction_keeps_probability_and_mean_within_its_distance(seed: int, n: int, weighted: bool) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (30, 2, 5))
    p = rng.random(30) if weighted else np.ones(30)
    p = p / p.sum()
    made = reduced(x, n, p)
    assert abs(made.weight.sum() - 1) < 1e-12
    assert (made.weight > 0).all()
    assert len(np.unique(made.kept)) == n
    apart = np.linalg.norm(np.tensordot(p, x, 1) - np.tensordot(made.weight, x[made.kept], 1))
    assert apart <= made.distance + 1e-9
    assert abs(made.distance - p @ distances(x)[:, made.kept].min(axis=1)) < 1e-12


def test_all_scenarios_kept_are_all_scenarios() -> None:
    x = np.random.default_rng(1).normal(0, 1, (12, 1, 4))
    made = reduced(x, 12)
    np.testing.assert_array_equal(made.kept, np.arange(12))
    np.testing.assert_allclose(made.weight, 1 / 12)
    assert made.distance == 0.0


def test_forward_selection_finds_the_groups_and_their_shares() -> None:
    rng = np.random.default_rng(1)
    centre: Array = np.array([0.0, 10.0, 50.0])[np.repeat([0, 1, 2], [20, 60, 20])]
    made = reduced(centre[:, None, None] + 0.1 * rng.standard_normal((100, 1, 3)), 3)
    np.testing.assert_allclose(made.weight, [0.2, 0.6, 0.2])
    assert made.distance < 0.5


def test_the_scale_of_a_series_decides_what_is_near() -> None:
    x = np.array([[[0.0], [0.0]], [[1.0], [0.0]], [[0.0], [100.0]]])
    assert set(reduced(x, 2).kept.tolist()) == {0, 2} or set(reduced(x, 2).kept.tolist()) == {1, 2}
    assert 1 in reduced(x, 2, scale=np.array([0.001, 100.0])).kept.tolist()


@pytest.mark.parametrize("n", [0, 4])
def test_no_scenario_or_too_many_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match="cannot keep"):
        reduced(np.zeros((3, 1, 1)), n)


def test_energy_score_of_one_dimension_is_the_crps() -> None:
    x = np.random.default_rng(3).standard_normal((4000, 1))
    assert abs(energy_score(x, np.zeros(1)) - (np.sqrt(2) - 1) / np.sqrt(np.pi)) < 0.01
    with pytest.raises(ValueError, match="two scenarios"):
        energy_score(x[:1], np.zeros(1))
