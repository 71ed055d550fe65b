"""The rolling engine: nothing reads the future, never worse than the naive, bands that hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forecasting.calendar import Calendar, Days
from forecasting.cases import Cases
from forecasting.features import Extra
from forecasting.fitted import Bounds
from forecasting.gates import Horizon, asked, cases_of
from forecasting.losses import covered, pinball_by_level
from forecasting.panel import Panel
from forecasting.rolling import Rolled, Trials, rolling
from forecasting.schemes import NAIVE, SEASONAL, automatic
from forecasting.solar import solar_features
from tests.forecasting.made import walk
from vpp.domain.errors import LookAhead
from vpp.domain.forecast import LEVELS
from vpp.domain.time import Array

N = 96 * 100
DAY = 1440
FIRST = 96 * 70
SHORT = Trials(count=1, days=14)


def quarters(values: Array) -> tuple[Panel, Days]:
    calendar = Calendar("UTC", 50.0, 10.0, lambda year: frozenset())
    bounds = np.array([-np.inf]), np.array([np.inf])
    panel = Panel(("s",), 96 * 16000, values[None], np.array([len(values)]), np.array([0]), *bounds)
    return panel, calendar.days(panel.first, len(values) + 192)


def hourly_cases(values: Array, horizon: Horizon) -> Cases:
    """Cases of every fourth quarter of `values`, which are hourly means."""
    panel, days = quarters(values)
    issue, target = asked(horizon, days, panel.n, 4)
    late = issue >= 8 * 96
    return cases_of(panel, days, issue[late], target[late], 4)


def made(kind: str) -> Array:
    rng, hour = np.random.default_rng(11), np.arange(N // 4)
    rests = (16000 + hour // 24 + 3) % 7 > 4
    shape = {
        "noise": rng.standard_normal(N // 4), "walk": 20.0 * walk(rng, N // 4, 0.999),
        "plant": (10.0 + 5.0 * np.sin(2 * np.pi * hour / 24)) * np.where(rests, 0.4, 1.0)
        + walk(rng, N // 4, 0.9) + 0.01 * hour,
    }  # fmt: skip
    return np.repeat(shape[kind], 4)


def rolled(kind: str, horizon: Horizon) -> Rolled:
    cases = hourly_cases(made(kind), horizon)
    first = (96 * 16000 + FIRST) * 15
    return rolling(cases, [first, first + 15 * DAY], automatic(horizon), LEVELS, SHORT)


@pytest.mark.parametrize(("kind", "horizon"), [("noise", "day-ahead"), ("walk", "intraday"), ("plant", "day-ahead")])
def test_never_worse_than_the_best_naive_and_inside_its_bands(kind: str, horizon: Horizon) -> None:
    out = rolled(kind, horizon)
    at = np.flatnonzero(np.isfinite(out.calibrated).all(axis=0) & np.isfinite(out.cases.y))
    assert len(at) > 20 * 24
    y = out.cases.y[at]
    best = min(float(pinball_by_level(out.single[k][:, at], y, LEVELS).mean()) for k in NAIVE)
    assert pinball_by_level(out.raw[:, at], y, LEVELS).mean() <= 1.01 * best
    assert pinball_by_level(out.calibrated[:, at], y, LEVELS).mean() <= 1.03 * best
    for band, hit in covered(out.calibrated[:, at], y, LEVELS).items():
        assert float(np.mean(hit)) == pytest.approx(float(band) / 100, abs=0.08), band


def test_a_plant_with_weekends_and_a_trend_is_forecast_far_better_than_by_the_naive() -> None:
    out = rolled("plant", "day-ahead")
    at = np.flatnonzero(np.isfinite(out.calibrated).all(axis=0))
    y = out.cases.y[at]
    best = min(float(pinball_by_level(out.single[k][:, at], y, LEVELS).mean()) for k in NAIVE)
    assert pinball_by_level(out.calibrated[:, at], y, LEVELS).mean() < 0.9 * best


@pytest.mark.parametrize("horizon", ["day-ahead", "intraday"])
def test_shifting_the_future_changes_no_forecast_before_it(horizon: Horizon) -> None:
    values, spoilt = made("plant"), made("plant")
    cut = 96 * 85
    spoilt[cut:] = np.random.default_rng(1).choice([1e5, -1e5, 0.0, np.nan], N - cut)
    first = (96 * 16000 + FIRST) * 15
    moment = (96 * 16000 + cut) * 15
    scheme = automatic(horizon)
    few = replace(scheme, models={k: f for k, f in scheme.models.items() if "boost" not in k})
    a, b = (rolling(hourly_cases(v, horizon), [first], few, LEVELS, SHORT) for v in (values, spoilt))
    before = a.cases.issue <= moment
    np.testing.assert_array_equal(a.cases.x[before], b.cases.x[before])
    np.testing.assert_array_equal(a.calibrated[:, before], b.calibrated[:, before])
    assert before.sum() > 1000
    assert not np.array_equal(a.calibrated[:, ~before], b.calibrated[:, ~before], equal_nan=True)


def test_outcomes_after_a_refit_choose_no_blend() -> None:
    values, spoilt = made("plant"), made("plant")
    cut = FIRST + 40
    spoilt[cut:] = -1e4
    moment = (96 * 16000 + cut) * 15
    few = replace(automatic("day-ahead"), models=SEASONAL)
    a, b = (rolling(hourly_cases(v, "day-ahead"), [moment], few, LEVELS, SHORT) for v in (values, spoilt))
    now = a.cases.issue == moment
    assert now.sum() == 24
    np.testing.assert_array_equal(a.fitted.blend.weights, b.fitted.blend.weights)
    np.testing.assert_array_equal(a.calibrated[:, now], b.calibrated[:, now])


def test_an_hourly_value_is_known_when_its_hour_is_over() -> None:
    cases = hourly_cases(made("noise"), "intraday")
    assert (cases.known == cases.target + 60).all()


def test_a_late_value_is_known_by_its_delay_later() -> None:
    panel, days = quarters(made("noise"))
    issue, target = asked("intraday", days, panel.n, 4)
    issue, target = issue[issue >= 10 * 96], target[issue >= 10 * 96]
    late = cases_of(replace(panel, late=np.array([104])), days, issue, target, 4)
    assert (late.known == late.target + 60 + 104 * 15).all()


def sunny(rng: np.random.Generator) -> Array:
    """A station that produces in quarters 30 to 69 of every day."""
    of_day = np.arange(N) % 96
    return np.where((of_day >= 30) & (of_day < 70), rng.uniform(0.1, 1.0, N), 0.0)


@pytest.mark.parametrize("future", [np.nan, 1e4])
def test_features_of_the_sun_know_nothing_of_the_future(future: float) -> None:
    panel, days = quarters(sunny(np.random.default_rng(2)))
    spoilt = panel.values.copy()
    spoilt[:, 96 * 50 + 40 :] = future
    issue, target = np.full(96, 96 * 50 + 40), 96 * 51 + np.arange(96)
    one, other = (
        cases_of(p, days, issue, target, 1, [solar_features]) for p in (panel, replace(panel, values=spoilt))
    )
    np.testing.assert_array_equal(one.x, other.x)


def test_dark_is_where_neither_a_quarter_nor_its_neighbours_produced() -> None:
    panel, days = quarters(sunny(np.random.default_rng(3)))
    cases = cases_of(panel, days, np.full(96, 96 * 50 + 40), 96 * 51 + np.arange(96), 1, [solar_features])
    dark = np.flatnonzero(cases.column("dark") > 0)
    assert dark.tolist() == [*range(29), *range(71, 96)]
    kept = Bounds(0.0, 1.0, "dark")(cases, np.full((3, 96), 5.0))
    assert (kept[:, dark] == 0.0).all()
    assert kept.sum() == 3 * (96 - len(dark))


def test_a_planted_leak_is_caught() -> None:
    panel, days = quarters(made("plant"))
    issue, target = np.full(96, 96 * 50 + 40), 96 * 51 + np.arange(96)

    def peek(panel: Panel, days: Days, target: Array, end: Array) -> Extra:
        return Extra(("leak",), panel.read(target[None] - 96, end)[0][:, None])

    with pytest.raises(LookAhead):
        cases_of(panel, days, issue, target, 1, [peek])  # type: ignore[list-item]


def test_nothing_known_is_refused() -> None:
    cases = hourly_cases(made("noise"), "day-ahead")
    with pytest.raises(ValueError, match="nothing to learn"):
        rolling(cases, [int(cases.issue[0])], automatic("day-ahead"), LEVELS)
