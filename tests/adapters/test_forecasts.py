"""The registry of models, origins of forecasts, days to be scored and their scores come back as they were."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from adapters.store import Store
from tests.adapters.examples import NOW, run
from vpp.domain.errors import NotFound
from vpp.domain.forecast import LEVELS, Origin
from vpp.domain.learnt import DayForecast, DayScore, ModelRecord, TrialScore
from vpp.domain.time import QUARTER, TimeGrid

GRID = TimeGrid.uniform(NOW, QUARTER, 152)
MODELS = ModelRecord(
    "d1", "day_ahead", NOW, ("lag", "lead"), LEVELS, ("a", "b"),
    {"a": TrialScore(0.1, 0.2, {"90": 0.91}, 96)}, b"\x00PK\xff",
)  # fmt: skip


def test_a_training_is_one_row_and_comes_back(store: Store) -> None:
    store.models.keep(replace(MODELS, blob=b"other"))
    store.models.keep(MODELS)
    store.models.keep(replace(MODELS, digest="d2", until=NOW + timedelta(days=1)))
    store.models.keep(replace(MODELS, digest="d3", stage="intraday"))
    assert store.models.get("d1") == MODELS
    assert [m.digest for m in store.models.list("day_ahead")] == ["d2", "d1"]
    assert store.models.list("intraday")[0].trials == MODELS.trials
    with pytest.raises(NotFound, match="models d9"):
        store.models.get("d9")


def test_trainings_that_no_run_used_go_but_for_the_newest(store: Store) -> None:
    for k in range(6):
        for stage in ("day_ahead", "intraday"):
            store.models.keep(replace(MODELS, digest=f"{stage} {k}", stage=stage, until=NOW + timedelta(days=k)))
    store.runs.record(run("r1"), [])
    used = {"day_ahead": "day_ahead 1", "intraday": "intraday 0"}
    store.forecasts.used("r1", Origin(NOW, GRID, 200, used, "f1"), NOW)
    assert store.models.prune(2) == 6
    assert [m.digest for m in store.models.list("day_ahead")] == ["day_ahead 5", "day_ahead 4", "day_ahead 1"]
    assert [m.digest for m in store.models.list("intraday")] == ["intraday 5", "intraday 4", "intraday 0"]
    for digest in used.values():
        assert store.models.get(digest).blob == MODELS.blob
    assert store.models.prune(2) == 0


def test_runs_share_the_origin_of_their_forecast(store: Store) -> None:
    origin = Origin(NOW, GRID, 200, {"day_ahead": "d1"}, "f1")
    for name in ("r1", "r2"):
        store.runs.record(run(name), [])
        store.forecasts.used(name, origin, NOW - QUARTER)
    assert store.forecasts.of_run("r2") == store.forecasts.of_run("r1") == (origin, NOW - QUARTER)
    with pytest.raises(NotFound, match="forecast of run r3"):
        store.forecasts.of_run("r3")


def made(start_days: int) -> DayForecast:
    start = NOW + timedelta(days=start_days)
    draw = np.random.default_rng(start_days)
    q, naive = draw.normal(size=(2, 9, 96)), draw.normal(size=(2, 9, 96))
    grid = TimeGrid.uniform(start, QUARTER, 96)
    return DayForecast(start - timedelta(hours=14), grid, ("a", "b"), LEVELS, ("blend", "naive"), q, naive)


def test_days_come_back_bit_for_bit_and_old_ones_go(store: Store) -> None:
    for k in (0, 1, 40):
        store.forecasts.keep_day(made(k))
    found = store.forecasts.days(NOW, NOW + timedelta(days=60))
    assert [d.grid for d in found] == [made(40).grid]
    np.testing.assert_array_equal(found[0].quantiles, made(40).quantiles)
    np.testing.assert_array_equal(found[0].naive, made(40).naive)
    assert found[0].source == ("blend", "naive")
    assert store.forecasts.days(NOW, made(40).grid.end - QUARTER) == []


def test_a_day_scored_again_replaces_its_score(store: Store) -> None:
    score = DayScore("a", NOW, "blend", 95, 9.5, 19.0, {"90": 90}, (1.5,) * 9)
    before = replace(score, day=NOW - timedelta(days=2))
    store.forecasts.keep_scores(before.day, [before])
    store.forecasts.keep_scores(NOW, [score, replace(score, series="b")])
    later = replace(score, n=96)
    store.forecasts.keep_scores(NOW, [later])
    assert store.forecasts.scores(NOW - timedelta(days=7), NOW + QUARTER) == [before, later]
    store.forecasts.keep_scores(NOW, [])
    assert store.forecasts.scores(NOW - timedelta(days=7), NOW + QUARTER) == [before]
