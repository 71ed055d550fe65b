"""The wind sets on made farms: nothing reads the future, a planted leak shows, quantiles are ordered and bounded."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.forecast_sets import rolling_set, wind_issued, wind_tasks
from benchmarks.forecast_sets.tasks import PERCENTILES
from forecasting.cases import Cases
from forecasting.gates import Horizon
from forecasting.losses import pinball_by_level
from tests.forecasting.made_wind import keep_issued, write_issued, write_tasks

ISSUE = np.datetime64("2010-01-20T10", "m")
MONTH = np.datetime64("2012-11-01", "h")


@pytest.fixture(autouse=True)
def _forget() -> None:
    wind_tasks.wind_cases.cache_clear()


def task_answer(folder: Path, table: pd.DataFrame) -> np.ndarray:
    table.to_parquet(folder / "gefcom2014/wind.parquet")
    wind_tasks.wind_cases.cache_clear()
    return wind_tasks.answer(folder, 2).percentiles


def test_a_month_of_percentiles_is_ordered_bounded_and_better_than_climatology(tmp_path: Path) -> None:
    write_tasks(tmp_path, "2012-07-01T01", 24 * 153, 2)
    made = wind_tasks.answer(tmp_path, 2)
    assert made.percentiles.shape == (99, 2 * 24 * 30) and made.y.shape == (2 * 24 * 30,)
    assert np.all(np.diff(made.percentiles, axis=0) >= 0)
    assert made.percentiles.min() >= 0 and made.percentiles.max() <= 1
    level = np.asarray(PERCENTILES)
    best_constant = np.repeat(np.quantile(made.y, level)[:, None], len(made.y), axis=1)
    loss = [pinball_by_level(q, made.y, level).mean() for q in (made.percentiles, best_constant)]
    assert loss[0] < 0.6 * loss[1]
    assert 0.75 < np.mean((made.y >= made.percentiles[4]) & (made.y <= made.percentiles[94])) <= 1


def test_no_percentile_of_a_month_reads_its_power_or_what_comes_after_it(tmp_path: Path) -> None:
    table = write_tasks(tmp_path, "2012-08-01T01", 24 * 122, 2)
    before = task_answer(tmp_path, table)
    later = table.copy()
    later.loc[later["ts"] > MONTH, "power_pu"] = 1 - later["power_pu"]
    np.testing.assert_array_equal(task_answer(tmp_path, later), before)
    earlier = table.copy()
    earlier.loc[earlier["ts"] <= MONTH, "power_pu"] = 1 - earlier["power_pu"]
    assert not np.array_equal(task_answer(tmp_path, earlier), before)


def test_a_task_whose_month_is_not_on_file_is_refused(tmp_path: Path) -> None:
    write_tasks(tmp_path, "2012-08-01T01", 24 * 40, 2)
    with pytest.raises(ValueError, match="task 9 asks for 2013-06"):
        wind_tasks.answer(tmp_path, 9)


def known_features(folder: Path, horizon: Horizon) -> tuple[np.ndarray, Cases]:
    """Features of all cases issued by ISSUE, and all cases."""
    cases = wind_issued.wind_cases(folder, horizon)["wind"]
    return cases.x[cases.issue <= ISSUE.astype(np.int64)], cases


@pytest.mark.parametrize("horizon", ["day-ahead", "intraday"])
def test_no_feature_reads_power_or_weather_of_after_its_issue(
    tmp_path: Path, horizon: Horizon, monkeypatch: pytest.MonkeyPatch
) -> None:
    metered, weather = write_issued(tmp_path, "2010-01-01", 30, 2)
    late_weather, late_power = weather.copy(), metered.copy()
    late_weather.loc[late_weather["issued"] > ISSUE, ["u", "v"]] = 99.0
    late_power.loc[late_power["ts"] >= ISSUE, ["wp1", "wp2"]] = 0.123
    other = tmp_path / "other"
    keep_issued(other, late_power, late_weather)
    np.testing.assert_array_equal(known_features(other, horizon)[0], known_features(tmp_path, horizon)[0])

    honest = wind_issued.Runs.around
    monkeypatch.setattr(wind_issued.Runs, "around", lambda self, issue, target: honest(self, issue + 12, target))
    leaky, truth = known_features(other, horizon)[0], known_features(tmp_path, horizon)[0]
    assert not np.array_equal(leaky, truth, equal_nan=True)


def test_day_ahead_is_issued_at_ten_for_the_whole_next_day(tmp_path: Path) -> None:
    write_issued(tmp_path, "2010-01-01", 6, 2)
    cases = wind_issued.wind_cases(tmp_path, "day-ahead")["wind"]
    issue, target = (m.astype("M8[m]") for m in (cases.issue, cases.target))
    assert set((issue - issue.astype("M8[D]")).astype(int)) == {600}
    np.testing.assert_array_equal(target.astype("M8[D]"), issue.astype("M8[D]") + 1)
    times, count = np.unique(issue, return_counts=True)
    assert len(times) >= 3 and set(count) == {2 * 24}


def test_intraday_is_issued_every_hour_for_four_and_begins_with_the_last_known_power(tmp_path: Path) -> None:
    metered, _ = write_issued(tmp_path, "2010-01-01", 6, 2)
    cases = wind_issued.wind_cases(tmp_path, "intraday")["wind"]
    assert set(np.unique(cases.lead)) == {0, 60, 120, 180}
    one = cases.rows((cases.column("series") == 1) & (cases.lead == 180))
    hour = (one.issue.astype("M8[m]") - metered["ts"].to_numpy()[0]) // np.timedelta64(1, "h")
    np.testing.assert_array_equal(one.column("persistence"), metered["wp2"].to_numpy()[hour - 1])


@pytest.mark.parametrize("horizon", ["day-ahead", "intraday"])
def test_a_rolling_run_beats_the_naive_and_counts_every_hour(tmp_path: Path, horizon: Horizon) -> None:
    write_issued(tmp_path, "2010-01-01", 75, 2)
    made = rolling_set.run(wind_issued.SETS["gefcom2012-wind"], tmp_path, date(2010, 3, 1), date(2010, 3, 14), horizon)
    assert made["n"] == 14 * 24 * 2 * (1 if horizon == "day-ahead" else 4)
    assert made["pinball"] < 0.95 * min(made["pinball_climatology"], made["pinball_persistence"])
    assert 70 < made["coverage"]["90"] <= 100
