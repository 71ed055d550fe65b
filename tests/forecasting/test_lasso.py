"""The sparse quantile regression against a linear programme, and by what it leaves out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog

from forecasting.models import lasso

LEVELS = np.array([0.1, 0.5, 0.9])


def made(rows: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two of six features matter; the spread grows with the first; old rows weigh less."""
    rng = np.random.default_rng(5)
    z = np.column_stack([rng.standard_normal((rows, 6)), np.ones(rows)])
    y = 0.8 * z[:, 0] - 0.5 * z[:, 1] + (0.2 + 0.1 * np.abs(z[:, 0])) * rng.standard_normal(rows)
    return z, y, 0.5 ** (np.arange(rows)[::-1] / 150)


def objective(b: np.ndarray, z: np.ndarray, y: np.ndarray, weight: np.ndarray, level: float) -> float:
    miss = y - z @ b
    loss = np.maximum(level * miss, (level - 1) * miss)
    return float(weight @ loss / weight.sum() + lasso.ABSOLUTE * np.abs(b[:-1]).sum())


def optimum(z: np.ndarray, y: np.ndarray, weight: np.ndarray, level: float) -> float:
    """The least objective: min w(a u + (1 - a) v) + ABSOLUTE (p + m) with z (p - m) + u - v = y."""
    rows, columns = z.shape
    w = weight / weight.sum()
    shrunk = np.append(np.full(columns - 1, lasso.ABSOLUTE), 0.0)
    cost = np.concatenate([shrunk, shrunk, level * w, (1 - level) * w])
    equal = np.concatenate([z, -z, np.eye(rows), -np.eye(rows)], axis=1)
    solved = linprog(cost, A_eq=equal, b_eq=y, method="highs")
    assert solved.fun is not None
    return float(solved.fun)


@pytest.mark.parametrize("k", range(3))
def test_it_comes_near_the_least_loss(k: int) -> None:
    z, y, weight = made()
    b = lasso.coefficients(z, y, weight, LEVELS)[k]
    least = optimum(z, y, weight, LEVELS[k])
    assert least <= objective(b, z, y, weight, LEVELS[k]) <= 1.01 * least


def test_what_does_not_matter_is_left_out() -> None:
    z, y, _ = made(2000)
    b = lasso.coefficients(z, y, np.ones(len(y)), LEVELS)
    assert np.abs(b[:, 2:-1]).max() < 0.02
    np.testing.assert_allclose(b[:, :2].mean(axis=0), [0.8, -0.5], atol=0.05)


def test_recent_rows_rule_when_old_ones_are_forgotten() -> None:
    z, y, _ = made()
    y = y + np.where(np.arange(len(y)) < 150, 3.0, 0.0)
    b = lasso.coefficients(z, y, np.where(np.arange(len(y)) < 150, 1e-3, 1.0), LEVELS)
    assert abs(b[1, -1]) < 0.2
