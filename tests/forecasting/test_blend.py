"""The blend: on the past never worse than any model in it, and careful with gains that may be luck."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from forecasting.blend import equal, fitted
from forecasting.losses import pinball_by_level
from vpp.domain.time import Array

LEVELS = (0.1, 0.5, 0.9)
SCORE = np.array([-1.28, 0.0, 1.28])


def forecasts(rng: np.random.Generator, y: Array, noise: list[float], bias: list[float]) -> Array:
    """Quantiles (M, 3, R) of models that see `y` through noise, and are off by a bias."""
    made = [
        (y + b + n * rng.standard_normal(len(y)))[None] + max(n, 0.3) * SCORE[:, None]
        for n, b in zip(noise, bias, strict=True)
    ]
    return np.stack(made)


def loss(q: Array, y: Array) -> float:
    return float(pinball_by_level(q, y, LEVELS).mean())


@given(
    seed=st.integers(0, 999), noise=st.lists(st.floats(0.1, 3.0), min_size=3, max_size=5),
    bias=st.lists(st.floats(-2.0, 2.0), min_size=5, max_size=5), naive=st.integers(1, 3),
)  # fmt: skip
def test_weights_are_shares_and_the_past_is_never_worse_than_the_naive(
    seed: int, noise: list[float], bias: list[float], naive: int
) -> None:
    rng = np.random.default_rng(seed)
    y = rng.standard_normal(300)
    q = forecasts(rng, y, noise, bias[: len(noise)])
    zero = np.zeros(300, dtype=np.int64)
    blend = fitted(q, y, zero, np.arange(300) // 10, 1, naive, LEVELS)
    assert np.isclose(blend.weights.sum(), 1.0)
    assert (blend.weights >= 0).all()
    assert loss(blend.mix(q, zero), y) <= min(loss(one, y) for one in q[:naive]) + 1e-9


def test_two_honest_models_are_mixed_and_beat_both() -> None:
    rng = np.random.default_rng(3)
    y = rng.standard_normal(4000)
    q = forecasts(rng, y, [1.0, 1.0, 3.0], [0.0, 0.0, 0.0])
    zero = np.zeros(4000, dtype=np.int64)
    blend = fitted(q, y, zero, np.arange(4000) // 10, 1, 1, LEVELS)
    assert 0.3 < blend.weights[0, 0] < 0.7
    assert blend.weights[0, 2] < 0.1
    assert loss(blend.mix(q, zero), y) < 0.93 * min(loss(one, y) for one in q)


def test_a_gain_of_one_lucky_day_is_hardly_believed() -> None:
    rng = np.random.default_rng(4)
    y = rng.standard_normal(200)
    q = forecasts(rng, y, [1.0, 1.0], [0.0, 0.0])
    q[1] = q[0] + 0.02
    q[1][:, :10] = y[:10]
    zero = np.zeros(200, dtype=np.int64)
    weights = fitted(q, y, zero, np.arange(200) // 10, 1, 1, LEVELS).weights[0]
    assert weights[0] > 0.4


def test_what_a_gain_is_not_believed_goes_to_the_best_naive_model() -> None:
    rng = np.random.default_rng(4)
    y = rng.standard_normal(200)
    q = forecasts(rng, y, [3.0, 1.0, 1.0], [6.0, 0.0, 0.0])
    q[2] = q[1] + 0.02
    q[2][:, :10] = y[:10]
    zero = np.zeros(200, dtype=np.int64)
    weights = fitted(q, y, zero, np.arange(200) // 10, 1, 2, LEVELS).weights[0]
    assert weights[1] > 0.2
    assert weights[0] < 0.05


def test_groups_choose_for_themselves_and_one_without_a_past_takes_the_mean() -> None:
    rng = np.random.default_rng(5)
    y = rng.standard_normal(2000)
    group = np.arange(2000) % 2
    q = forecasts(rng, y, [0.2, 2.0], [0.0, 0.0])
    q[:, :, group == 1] = q[::-1][:, :, group == 1]
    weights = fitted(q, y, group, np.arange(2000) // 10, 3, 1, LEVELS).weights
    assert weights[0, 0] > 0.9
    assert weights[1, 1] > 0.9
    assert (weights[2] == equal(2, 1).weights).all()
