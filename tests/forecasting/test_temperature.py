"""Loads with measured temperature: nothing of the future reaches a feature or a month's quantiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.forecast_sets.load import load_e_cases, load_l_answer
from benchmarks.forecast_sets.own_clock import own_clock
from forecasting.calendar import PER_DAY, Days, Index
from forecasting.features import Extra
from forecasting.gates import asked, cases_of
from forecasting.panel import Panel
from forecasting.temperature import temperature_features
from vpp.domain.errors import LookAhead

START = np.datetime64("2011-03-01T00", "h")


def weather_and_load(days: int, start: np.datetime64, seed: int = 5) -> tuple[pd.Series, np.ndarray, np.ndarray]:
    """Stamps at the end of each hour, degrees, and a load that follows them."""
    rng = np.random.default_rng(seed)
    hours = start + np.arange(24 * days)
    count = hours.astype(np.int64)
    anomaly = np.repeat(rng.standard_normal(days).cumsum() * 0.5, 24)
    degrees = 55 - 20 * np.cos(2 * np.pi * count / 8766) + 5 * np.sin(2 * np.pi * (count - 9) / 24) + anomaly
    load = 1000 + 100 * np.sin(2 * np.pi * count / 24) + 8 * np.abs(degrees - 60) + rng.normal(0, 5, 24 * days)
    return pd.Series(hours + 1), degrees, load


def write_e(folder: Path, change_after: int | None = None) -> Path:
    ts, degrees, load = weather_and_load(75, START)
    load[:24] = np.nan
    if change_after is not None:
        degrees[change_after:] += 30.0
        load[change_after:] *= 2.0
    (folder / "gefcom2014").mkdir(parents=True)
    pd.DataFrame({"ts": ts, "load_mw": load, "temp_f": degrees}).to_parquet(folder / "gefcom2014/load_E.parquet")
    return folder


@pytest.mark.parametrize("horizon", ["day-ahead", "intraday"])
def test_a_changed_future_changes_no_case_issued_before(tmp_path: Path, horizon: str) -> None:
    change = 24 * 50 + 7
    as_it_was = load_e_cases(write_e(tmp_path / "a"), horizon)["load"]
    shifted = load_e_cases(write_e(tmp_path / "b", change), horizon)["load"]
    moment = int((START + change).astype("M8[m]").astype(np.int64))
    before, after = as_it_was.issue <= moment, as_it_was.issue > moment + 1440
    assert before.sum() > 100
    assert np.array_equal(as_it_was.x[before], shifted.x[before], equal_nan=True)
    moved = as_it_was.x[after] != shifted.x[after]
    assert moved[:, as_it_was.names.index("temp_latest")].all()


def test_a_feature_that_peeks_at_the_temperature_of_its_target_is_caught() -> None:
    ts, degrees, load = weather_and_load(40, START)
    series = own_clock("load", ts.to_numpy() - np.timedelta64(1, "h"), load, 4)
    temperature = own_clock("temp", ts.to_numpy() - np.timedelta64(1, "h"), degrees, 4, lower=-np.inf).panel

    def peeking(panel: Panel, days: Days, target: Index, end: Index) -> Extra:
        return Extra(("leak",), temperature.read(target[None], end)[0][:, None])

    issue, target = asked("day-ahead", series.days, series.panel.n, 4)
    late = issue > 20 * PER_DAY
    with pytest.raises(LookAhead, match="past what was known"):
        cases_of(series.panel, series.days, issue[late], target[late], 4, [peeking])


def test_features_are_the_temperatures_that_were_known() -> None:
    ts, degrees, load = weather_and_load(40, START)
    start = ts.to_numpy() - np.timedelta64(1, "h")
    series, temperature = own_clock("load", start, load, 4), own_clock("t", start, degrees, 4, lower=-np.inf).panel
    target, end = np.array([30 * PER_DAY]), np.array([[28 * PER_DAY + 40]])
    made = temperature_features(temperature)(series.panel, series.days, target, end)
    of = dict(zip(made.names, made.x[0], strict=True))
    assert of["temp_latest"] == degrees[28 * 24 + 9]
    assert of["temp_same"] == degrees[28 * 24]
    assert of["temp_week_ago"] == degrees[23 * 24]
    assert of["temp_season"] == pytest.approx(np.mean([degrees[(30 - k) * 24] for k in range(2, 22)]))
    assert min(degrees[20 * 24 :]) < of["temp_memory_24h"] < max(degrees)


def test_temperature_on_another_axis_is_refused() -> None:
    ts, degrees, load = weather_and_load(40, START)
    start = ts.to_numpy() - np.timedelta64(1, "h")
    series, shorter = own_clock("load", start, load, 4), own_clock("t", start[24:], degrees[24:], 4).panel
    with pytest.raises(ValueError, match="one axis"):
        temperature_features(shorter)(series.panel, series.days, np.array([PER_DAY]), np.array([[PER_DAY]]))


def write_l(folder: Path, change_after: int | None = None) -> Path:
    start = np.datetime64("2008-01-01T00", "h")
    ts, degrees, load = weather_and_load(366 + 365 * 2 - 31, start)
    if change_after is not None:
        degrees[change_after:] += 30.0
        load[change_after:] *= 2.0
    (folder / "gefcom2014").mkdir(parents=True)
    other = np.concatenate([degrees[: 24 * 9], degrees[: -24 * 9]])
    frame = pd.DataFrame({"ts": ts, "LOAD": load, "w1": degrees, "w2": other})
    frame.to_parquet(folder / "gefcom2014/load_L.parquet")
    return folder


def test_a_task_knows_nothing_of_its_month(tmp_path: Path) -> None:
    month = int((np.datetime64("2010-10-01T00", "h") - np.datetime64("2008-01-01T00", "h")).astype(int))
    as_it_was = load_l_answer(write_l(tmp_path / "a"), 1)
    shifted = load_l_answer(write_l(tmp_path / "b", month), 1)
    assert as_it_was.percentiles.shape == (99, 744)
    assert (np.diff(as_it_was.percentiles, axis=0) >= 0).all()
    assert np.array_equal(as_it_was.percentiles, shifted.percentiles)
    assert shifted.y == pytest.approx(2 * as_it_was.y)


def test_a_task_beyond_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="task 7"):
        load_l_answer(write_l(tmp_path), 7)
