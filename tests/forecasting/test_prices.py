"""Prices: nothing reads the future, a planted leak is caught, quantiles rise, and the naive is beaten."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from forecasting.cases import Cases
from forecasting.codec import decoded, encoded
from forecasting.losses import pinball_by_level
from forecasting.models.hourly_lasso import Design, hourly_lasso
from forecasting.models.model import Fit
from forecasting.models.persistence import persistence
from forecasting.price_features import Market, day_ahead, day_ahead_design, intraday, intraday_design
from forecasting.published import Published
from tests.forecasting import made_market
from tests.forecasting.made_market import DAY, DAYS, FIRST, HOUR
from vpp.domain.errors import LookAhead
from vpp.domain.forecast import LEVELS

OUTSIDE = ("load", "wind")
PERCENTILES = tuple(k / 100 for k in range(1, 100))
MOMENT = FIRST + (DAYS - 20) * DAY + 10 * HOUR


def cases_of(market: Market, horizon: str) -> Cases:
    if horizon == "day-ahead":
        return day_ahead(market, *made_market.day_ahead_asked())
    return intraday(market, *made_market.intraday_asked())


def design_of(horizon: str) -> Design:
    return day_ahead_design(OUTSIDE) if horizon == "day-ahead" else intraday_design(OUTSIDE)


def spoilt(series: Published, moment: int, seed: int) -> Published:
    """The same series with nonsense for all that became known after `moment`."""
    nonsense = np.random.default_rng(seed).choice([np.nan, 1e6, -1e6, 0.0], len(series.values))
    return replace(series, values=np.where(series.known > moment, nonsense, series.values))


@pytest.mark.parametrize("horizon", ["day-ahead", "intraday"])
def test_shifting_the_future_changes_no_forecast(horizon: str) -> None:
    market = made_market.market(horizon=horizon)
    made = []
    for seed in range(3):
        future = MOMENT if seed else np.iinfo(np.int64).max
        known = replace(
            market, price=spoilt(market.price, future, seed),
            outside={k: spoilt(s, future, seed + 9) for k, s in market.outside.items()},
        )  # fmt: skip
        cases = cases_of(known, horizon)
        model = hourly_lasso(design_of(horizon))(cases.learnable(MOMENT), LEVELS)
        made.append(model.predict(cases.rows(cases.issue == MOMENT)))
    assert made[0].shape == (len(LEVELS), 24 if horizon == "day-ahead" else 4)
    np.testing.assert_array_equal(made[1], made[0])
    np.testing.assert_array_equal(made[2], made[0])


def test_changing_the_past_changes_the_forecast() -> None:
    market = made_market.market()
    cases = cases_of(market, "day-ahead")
    model = hourly_lasso(design_of("day-ahead"))(cases.learnable(MOMENT), LEVELS)
    eve = (market.price.known <= MOMENT) & (market.price.known > MOMENT - DAY)
    higher = replace(market, price=replace(market.price, values=market.price.values + 5.0 * eve))
    ask = cases.issue == MOMENT
    before, after = (model.predict(c.rows(ask)) for c in (cases, cases_of(higher, "day-ahead")))
    assert np.mean(after - before) > 0.5


@pytest.mark.parametrize("horizon", ["day-ahead", "intraday"])
def test_a_planted_leak_is_caught(horizon: str) -> None:
    market = made_market.market(horizon=horizon)
    leaky = replace(market, outside={**market.outside, "tomorrow": market.price})
    with pytest.raises(LookAhead):
        cases_of(leaky, horizon)


def test_a_price_that_was_out_at_the_gate_is_no_case() -> None:
    issue, target = made_market.day_ahead_asked()
    with pytest.raises(LookAhead):
        day_ahead(made_market.market(), issue + 3 * HOUR, target)


@pytest.mark.parametrize("levels", [LEVELS, PERCENTILES])
def test_quantiles_rise_with_their_level(levels: tuple[float, ...]) -> None:
    cases = cases_of(made_market.market(), "day-ahead")
    made = hourly_lasso(design_of("day-ahead"))(cases.learnable(MOMENT), levels).predict(cases)
    assert made.shape == (len(levels), len(cases))
    assert np.isfinite(made).all()
    assert (np.diff(made, axis=0) >= 0).all()


@pytest.mark.parametrize("horizon", ["day-ahead", "intraday"])
def test_it_beats_persistence(horizon: str) -> None:
    cases = cases_of(made_market.market(horizon=horizon), horizon)
    past, ahead = cases.learnable(MOMENT), cases.rows(cases.issue > MOMENT)
    models: dict[str, Fit] = {"ours": hourly_lasso(design_of(horizon)), "naive": persistence}
    made = {k: fit(past, LEVELS).predict(ahead) for k, fit in models.items()}
    loss = {k: float(pinball_by_level(q, ahead.y, LEVELS).mean()) for k, q in made.items()}
    assert loss["ours"] < 0.8 * loss["naive"]


def test_its_bands_hold_about_what_they_promise() -> None:
    cases = cases_of(made_market.market(), "day-ahead")
    ahead = cases.rows(cases.issue > MOMENT)
    made = hourly_lasso(design_of("day-ahead"))(cases.learnable(MOMENT), LEVELS).predict(ahead)
    assert 0.75 < np.mean((ahead.y >= made[0]) & (ahead.y <= made[-1])) < 0.99


def test_negative_prices_are_learnt_as_they_are() -> None:
    for shift, logs in ((0.0, True), (-60.0, False)):
        cases = cases_of(made_market.market(shift=shift), "day-ahead")
        model = hourly_lasso(design_of("day-ahead"))(cases.learnable(MOMENT), LEVELS)
        assert (model.floor > 0) == logs
        ahead = cases.rows(cases.issue > MOMENT)
        assert abs(np.median(model.predict(ahead)[4] - ahead.y)) < 2.0


@pytest.mark.parametrize("horizon", ["day-ahead", "intraday"])
def test_a_gap_in_what_is_known_leaves_a_forecast(horizon: str) -> None:
    market = made_market.market(horizon=horizon)
    values = market.price.values.copy()
    values[(DAYS - 21) * 24 : (DAYS - 20) * 24] = np.nan
    whole, gappy = (cases_of(m, horizon) for m in (market, replace(market, price=replace(market.price, values=values))))
    model = hourly_lasso(design_of(horizon))(whole.learnable(MOMENT - DAY), LEVELS)
    ask = (whole.target > MOMENT - DAY) & (whole.target < MOMENT)
    made = [model.predict(c.rows(ask))[4] for c in (whole, gappy)]
    error = [float(np.abs(m - whole.y[ask]).mean()) for m in made]
    assert np.abs(made[0] - made[1]).max() > 0
    assert error[1] < error[0] + 4.0


def test_a_few_days_are_enough_to_answer() -> None:
    cases = cases_of(made_market.market(), "day-ahead")
    young = cases.learnable(FIRST + 11 * DAY)
    assert len(young) < 5 * 24
    made = hourly_lasso(design_of("day-ahead"))(young, LEVELS).predict(cases.rows(cases.issue == cases.issue[150]))
    assert np.isfinite(made).all()
    assert (made > young.y.min() - np.ptp(young.y) * 2).all() and (made < young.y.max() + np.ptp(young.y) * 2).all()


@pytest.mark.parametrize("horizon", ["day-ahead", "intraday"])
def test_a_stored_model_forecasts_as_before(horizon: str) -> None:
    cases = cases_of(made_market.market(horizon=horizon), horizon)
    model = hourly_lasso(design_of(horizon))(cases.learnable(MOMENT), LEVELS)
    arrays: list[np.ndarray] = []
    stored = json.loads(json.dumps(encoded(model, arrays)))
    again = decoded(stored, dict(enumerate(arrays)))
    ask = cases.rows(cases.issue >= MOMENT)
    np.testing.assert_array_equal(again.predict(ask), model.predict(ask))
