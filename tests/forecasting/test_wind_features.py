"""Wind features from the equations, and models that learn many farms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forecasting.cases import Cases
from forecasting.features_wind import (
    OFFSETS_H,
    REACH_H,
    KnownPower,
    WindAround,
    farm_columns,
    field_columns,
    own_columns,
    power_columns,
    side_by_side,
)
from forecasting.models.by_series import by_series
from forecasting.models.climatology import climatology
from forecasting.models.inputs import Inputs
from forecasting.models.network import LEARNT_LEVELS, Network, between, network
from vpp.domain.errors import LookAhead

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def around(rows: int = 50, farms: int = 3, heights: int = 2) -> WindAround:
    rng = np.random.default_rng(1)
    shape = (rows, len(OFFSETS_H), farms, heights)
    return WindAround(8 * rng.standard_normal(shape), 8 * rng.standard_normal(shape))


def test_speed_direction_shear_and_veer_are_those_of_the_components() -> None:
    u, v = np.zeros((1, len(OFFSETS_H), 1, 2)), np.zeros((1, len(OFFSETS_H), 1, 2))
    u[..., 0], v[..., 1] = 3.0, 6.0
    made = own_columns(WindAround(u, v), 0)
    column = dict(zip(made.names, made.x[0], strict=True))
    assert column["speed"] == 6.0 and column["speed_low"] == 3.0
    assert column["veer"] == pytest.approx(np.pi / 2)
    assert column["shear"] == pytest.approx(2.0, rel=0.05)
    assert column["direction_v"] == pytest.approx(1.0, rel=0.05) and column["direction_u"] == 0.0
    assert column["deviation_13h"] == 0.0 and column["mean_7h"] == 6.0


def test_hours_beyond_the_weather_hold_the_nearest_and_a_missing_target_stays_missing() -> None:
    wind = around()
    u = wind.u.copy()
    u[0, REACH_H + 2 :] = np.nan
    u[1] = np.nan
    held = WindAround(u, wind.v)
    np.testing.assert_array_equal(held.u[0, REACH_H + 2 :], np.repeat(u[:1, REACH_H + 1], REACH_H - 1, axis=0))
    assert np.isnan(held.u[1]).all()
    with pytest.raises(ValueError, match="hours"):
        WindAround(u[:, 1:], wind.v[:, 1:])


def test_each_farm_bends_its_own_columns_only() -> None:
    own = own_columns(around(), 2)
    made = farm_columns(own, 2, 3)
    mine = [n for n, x in zip(made.names, made.x.T, strict=True) if np.any(x != 0)]
    assert mine == ["farm_2", "farm_2_speed", "farm_2_squared", "farm_2_u", "farm_2_v"]
    assert made.x[:, made.names.index("farm_2_squared")].max() <= 144


def test_power_that_is_not_over_raises_and_what_is_over_is_read() -> None:
    power = np.arange(200.0).reshape(100, 2)
    issue, target = np.array([50, 50]), np.array([52, 80])
    made = power_columns(power, 1, issue, target)
    column = dict(zip(made.names, made.x.T, strict=True))
    np.testing.assert_array_equal(column["persistence"], power[[49, 32], 1])
    np.testing.assert_array_equal(column["power_farm_0"], power[[49, 49], 0])
    with pytest.raises(LookAhead, match="1 h past"):
        KnownPower(power[:, 1], issue).at(issue)


def farm_cases(rows: int = 3000) -> Cases:
    """Two farms with different power curves and noise that grows with speed, three weeks deep."""
    wind = around(rows, farms=2)
    rng, parts = np.random.default_rng(2), []
    for k in range(2):
        own = own_columns(wind, k)
        speed = own.x[:, 0]
        y = (0.03 + 0.02 * k) * speed + 0.004 * speed * rng.standard_normal(rows)
        x = side_by_side([own, farm_columns(own, k, 2), field_columns(wind)])
        parts.append((y, np.column_stack([x.x, np.full(rows, k)]), (*x.names, "series")))
    issue = np.repeat(np.arange(rows) * 60, 2)
    y = np.stack([p[0] for p in parts], axis=1).ravel()
    columns = np.stack([p[1] for p in parts], axis=1).reshape(2 * rows, -1)
    return Cases(issue, issue, issue + 60, y, columns, parts[0][2])


def test_a_network_learns_the_curve_and_the_noise_of_each_farm() -> None:
    cases = farm_cases()
    past, asked = cases.learnable(2500 * 60), cases.rows(cases.issue >= 2500 * 60)
    model = network(("series",), passes=40)(past, LEVELS)
    made = model.predict(asked)
    assert made.shape == (len(LEVELS), len(asked)) and np.all(np.diff(made, axis=0) >= 0)
    for k in range(2):
        mine = asked.column("series") == k
        flat = np.mean(np.abs(asked.y[mine] - np.median(asked.y[mine])))
        assert np.mean(np.abs(asked.y[mine] - made[2, mine])) < 0.35 * flat
    assert isinstance(model, Network)
    unmoved = replace(model, offset=np.zeros(len(LEVELS))).predict(asked)
    wide, narrow = (np.mean((asked.y >= q[0]) & (asked.y <= q[-1])) for q in (made, unmoved))
    assert narrow < 0.88 < wide < 0.99


def test_the_same_cases_give_the_same_network_and_many_levels_lie_between_the_learnt_ones() -> None:
    cases = farm_cases(400)
    many = tuple(k / 100 for k in range(1, 100))
    first, again = (network(("series",), members=2, passes=1)(cases, many).predict(cases) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (99, len(cases)) and np.all(np.diff(first, axis=0) >= 0)
    learnt = np.arange(float(len(LEARNT_LEVELS)))[:, None]
    np.testing.assert_allclose(between(LEARNT_LEVELS, learnt, LEARNT_LEVELS), learnt)
    np.testing.assert_allclose(between(LEARNT_LEVELS, learnt, (0.001, 0.15, 0.999))[:, 0], [0.0, 2.5, 12.0])


def test_a_missing_input_is_its_mean_and_names_left_out_are_not_read() -> None:
    cases = farm_cases(400)
    inputs = Inputs.learnt(cases, ("series", "farm_"), 5)
    assert inputs.basis.shape == (len(inputs.field), 5)
    assert not any(n.startswith("farm_") for n in inputs.plain) and inputs.of(cases).std(axis=0).max() < 1.01
    x = cases.x.copy()
    x[0, cases.names.index("speed")] = np.nan
    hole = inputs.of(replace(cases, x=x))
    assert hole[0, inputs.plain.index("speed")] == 0.0
    x[:, cases.names.index("series")] = 7.0
    np.testing.assert_array_equal(inputs.of(replace(cases, x=x)), hole)


def test_a_model_for_each_series_is_the_model_of_its_rows() -> None:
    rng = np.random.default_rng(3)
    at = np.arange(200) * 60
    names = ("of_day", "weekday", "series")
    x = np.column_stack([np.zeros(200), np.zeros(200), np.arange(200) % 2]).astype(np.float64)
    cases = Cases(at, at, at + 60, 10 * x[:, 2] + rng.normal(size=200), x, names)
    made = by_series(climatology, "series")(cases, (0.5,)).predict(cases)
    for k in range(2):
        mine = cases.rows(x[:, 2] == k)
        np.testing.assert_array_equal(made[:, x[:, 2] == k], climatology(mine, (0.5,)).predict(mine))
