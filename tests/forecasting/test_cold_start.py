"""A new site leans on its class: better than the naive after three days, there on its first, itself after a month."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forecasting.backtest import coverage, pinball
from forecasting.cold_start import GROWN_DAYS, level_of, peers_of, pooled, scale_of
from forecasting.panel import Panel
from forecasting.pipeline import Pipeline
from tests.forecasting.made import QUARTERS, START, days, history, walk
from vpp.domain.errors import DataGap
from vpp.domain.forecast import LEVELS, History, Series
from vpp.domain.time import QUARTER, TimeGrid

FIRST_DAY, TRAINED_DAY = 40, 50
CLASSES = {"pv:new": "pv", **{f"pv:{k}": "pv" for k in range(3)}, "load": "load"}


def park(first_day: int = FIRST_DAY, upper: float = 2.0, share: float = 0.8) -> dict[str, Series]:
    """Three grown sites under one sky, each with its own clouds; a new one that makes `share` of what they make."""
    rng, d = np.random.default_rng(5), days()
    sun, sky = np.maximum(np.sin(np.deg2rad(d.elevation_deg)), 0.0), walk(rng, QUARTERS, 0.995)
    made = {}
    for name, rated, part in (("pv:0", 1.0, 0.9), ("pv:1", 5.0, 1.0), ("pv:2", 0.5, 0.95), ("pv:new", upper, share)):
        cloud = 0.5 + 0.5 * np.tanh(0.9 * sky + 0.4 * walk(rng, QUARTERS, 0.98))
        made[name] = Series(name, START, rated * part * sun * cloud, upper=rated)
    made["load"] = Series("load", START, 1.0 + 0.1 * walk(rng, QUARTERS, 0.99))
    values = made["pv:new"].values.copy()
    values[: first_day * 96] = np.nan
    made["pv:new"] = replace(made["pv:new"], values=values)
    return made


@pytest.fixture(scope="module")
def trained() -> Pipeline:
    """Models of the grown sites, which learnt before the new one was there."""
    pipeline = Pipeline(classes=CLASSES)
    pipeline.train_day_ahead(history(TRAINED_DAY, 32, of=park(TRAINED_DAY + 1)))
    assert "pv:new" not in pipeline.trained("day_ahead")
    return pipeline


def loss_of(pipeline: Pipeline, age_days: int) -> float:
    """Mean pinball of the new site over three weeks of days, on each of which it is `age_days` old."""
    total = []
    for day in range(TRAINED_DAY + 8, 79):
        series = park(day - age_days)
        past = history(day, 32, of=series)
        made = pipeline.forecast(past, TimeGrid.uniform(past.issued_at, QUARTER, 96), 1)
        at = day * 96 + 32
        total.append(pinball(made.quantiles[made.index["pv:new"]], series["pv:new"].values[at : at + 96]).mean())
    return float(np.mean(total))


def test_after_three_days_a_site_is_forecast_better_than_by_the_naive(trained: Pipeline) -> None:
    assert loss_of(trained, 3) < 0.9 * loss_of(Pipeline(), 3)


def test_its_own_days_help(trained: Pipeline) -> None:
    assert loss_of(trained, 7) < loss_of(trained, 0)


def test_its_band_covers_a_month_of_first_days() -> None:
    q, y = [], []
    for shift in range(0, 36, 2):
        series = park(FIRST_DAY + shift)
        past = history(FIRST_DAY + shift + 3, 32, of=series)
        made = Pipeline(classes=CLASSES).forecast(past, TimeGrid.uniform(past.issued_at, QUARTER, 96), 1)
        at = (FIRST_DAY + shift + 3) * 96 + 32
        q.append(made.quantiles[made.index["pv:new"]])
        y.append(series["pv:new"].values[at : at + 96])
    outcome, band = np.concatenate(y)[: 20 * 96], np.concatenate(q, axis=1)[:, : 20 * 96]
    assert coverage(band[:, outcome > 0.05], outcome[outcome > 0.05])["90"] > 0.75


def test_a_site_without_a_day_of_its_own_has_the_forecast_of_its_class() -> None:
    past = history(50, 32, of=park(70))
    grid = TimeGrid.uniform(past.issued_at, QUARTER, 96)
    made = Pipeline(classes=CLASSES).forecast(past, grid, 5)
    assert made.source[made.index["pv:new"]] == "class"
    per_rated = {name: made.mean_of(name) / past.series[name].upper for name in CLASSES if name != "load"}
    others = np.mean([per_rated[f"pv:{k}"] for k in range(3)], axis=0)
    np.testing.assert_allclose(per_rated["pv:new"], others, atol=0.05)
    assert np.isfinite(made.scenarios).all()
    with pytest.raises(DataGap, match=r"to forecast from: pv:new$"):
        Pipeline().forecast(past, grid, 1)
    with pytest.raises(DataGap, match=r"to forecast from: load$"):
        gone = replace(past.series["load"], values=np.full(QUARTERS, np.nan))
        Pipeline(classes=CLASSES).forecast(History(past.issued_at, {**past.series, "load": gone}), grid, 1)


def test_a_grown_site_stands_alone() -> None:
    past = history(FIRST_DAY + GROWN_DAYS + 1, 32, of=park())
    grid = TimeGrid.uniform(past.issued_at, QUARTER, 96)
    alone, among = (Pipeline(classes=c).forecast(past, grid, 1) for c in ({}, CLASSES))
    np.testing.assert_array_equal(among.quantiles, alone.quantiles)
    assert set(among.source) == {"naive"}
    young = history(FIRST_DAY + 5, 32, of=park())
    made = Pipeline(classes=CLASSES).forecast(young, TimeGrid.uniform(young.issued_at, QUARTER, 96), 1)
    assert made.source[made.index["pv:new"]] == "naive+class"


def test_the_future_of_the_class_changes_nothing() -> None:
    seen = []
    for seed in (None, 1):
        series = park()
        if seed is not None:
            first = (FIRST_DAY + 3) * 96 + 32
            for s in series.values():
                s.values[first - 1 :] = np.random.default_rng(seed).uniform(size=QUARTERS - first + 1)
        past = history(FIRST_DAY + 3, 32, of=series)
        made = Pipeline(classes=CLASSES).forecast(past, TimeGrid.uniform(past.issued_at, QUARTER, 96), 3)
        seen.append(made.origin)
    assert seen[0] == seen[1]


def test_the_mixture_of_equal_distributions_is_that_distribution_and_of_two_it_is_wider() -> None:
    one = np.array(LEVELS)[None, :, None] * np.ones((1, 1, 4))
    np.testing.assert_allclose(pooled(np.repeat(one, 3, axis=0), LEVELS), one[0], atol=0.05)
    two = pooled(np.concatenate([one, one + 10.0]), LEVELS)
    assert two[0, 0] < 0.2
    assert two[-1, 0] > 10.8
    assert (np.diff(two, axis=0) >= 0).all()


def test_scale_level_and_peers_by_hand() -> None:
    series = park(upper=2.0, share=0.5)
    panel = Panel.of(history(FIRST_DAY + 20, 32, of=series))
    scale = scale_of(panel)
    ids = list(panel.ids)
    assert scale[ids.index("pv:new")] == 2.0
    assert 1.0 < scale[ids.index("load")] < 1.4
    assert peers_of(panel, CLASSES) == {ids.index("pv:new"): [ids.index(f"pv:{k}") for k in range(3)]}
    assert peers_of(panel, {}) == {}
    level = level_of(panel, ids.index("pv:new"), [0, 1, 2], scale)
    assert level == pytest.approx(0.5 / 0.95, rel=0.1)
    fresh = Panel.of(history(FIRST_DAY - 1, 32, of=series))
    assert level_of(fresh, ids.index("pv:new"), [0, 1, 2], scale_of(fresh)) == 1.0
