"""The data sets at their door: a faulty file is one line and exit code 2, what is told twice is named, gaps counted."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import forecast, forecast_peers, forecast_scenarios
from benchmarks.forecast_sets import load, price, rolling_set, sites, wind_issued
from benchmarks.forecast_sets.reading import BadSet, minutes, once, span_refusal, table, told
from tests.forecasting.made_wind import keep_issued, write_issued

ROOT = Path(__file__).resolve().parents[2]
STEEL = "steel_industry/steel_15min_2018.parquet"


def steel(days: int = 40, first: str = "2018-03-01") -> pd.DataFrame:
    """A plant that works by the clock."""
    rng = np.random.default_rng(5)
    at = np.arange(96 * days)
    return pd.DataFrame({
        "ts": pd.date_range(first, periods=len(at), freq="15min"),
        "usage_kwh": 20 + 10 * np.sin(2 * np.pi * at / 96) + rng.random(len(at)),
    })  # fmt: skip


def keep(folder: Path, file: str, rows: pd.DataFrame) -> Path:
    """`rows` as a file of the set in `folder`."""
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(folder / file)
    return folder


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (steel().iloc[:0], "has no rows"),
        (steel().drop(columns="usage_kwh"), "lacks the columns usage_kwh; it has ts"),
        (steel().assign(usage_kwh="much"), "usage_kwh is not a number"),
        (steel().assign(ts=lambda t: t["ts"] + pd.Timedelta(minutes=7)), "not whole intervals of 15 minutes"),
        (steel().assign(ts=lambda t: t["ts"].dt.tz_localize("Asia/Seoul")), "not times without a zone"),
        (steel().assign(ts=lambda t: t["ts"].where(t.index > 3)), "4 stamps are not whole intervals"),
    ],
)
def test_a_faulty_file_is_refused(tmp_path: Path, rows: pd.DataFrame, why: str) -> None:
    with pytest.raises(BadSet, match=why):
        sites.steel_cases(keep(tmp_path, STEEL, rows), "day-ahead")


def test_what_is_no_parquet_and_what_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("hello")
    with pytest.raises(BadSet, match=r"a\.parquet cannot be read as Parquet"):
        table(tmp_path / "a.parquet", ["ts"], ["x"])
    with pytest.raises(BadSet, match=r"not there: .*b\.parquet"):
        table(tmp_path / "b.parquet", ["ts"], ["x"])


def test_an_area_without_rows_and_a_load_without_values_are_refused(tmp_path: Path) -> None:
    rows = steel().rename(columns={"usage_kwh": "gco2_per_kwh"}).assign(area="FR")
    keep(tmp_path, "carbon_intensity/carbon_intensity_2020.parquet", rows)
    with pytest.raises(BadSet, match="no rows of the area DE"):
        sites.carbon_cases(tmp_path, "day-ahead")
    ts = pd.date_range("2012-01-01", periods=48, freq="h")
    keep(tmp_path, "gefcom2014/load_E.parquet", pd.DataFrame({"ts": ts, "load_mw": np.nan, "temp_f": 50.0}))
    with pytest.raises(BadSet, match="has no load"):
        load.load_e_cases(tmp_path, "day-ahead")


def test_rows_told_twice_are_one_or_a_gap_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    rows = pd.DataFrame({"k": [3, 1, 2, 2, 3, 3], "a": [5, 1, 2, 2, 6, 5], "b": [0.5, 1.0, np.nan, 4.0, 0.5, 0.5]})
    made = once("file", rows, ["k"])
    pd.testing.assert_frame_equal(made, pd.DataFrame({"k": [1, 2, 3], "a": [1.0, 2.0, np.nan], "b": [1.0, 4.0, 0.5]}))
    assert capsys.readouterr().err.splitlines() == ["file: conflict at 3", "file: duplicate at 2"]
    assert once("file", rows[:3], ["k"]) is not rows and once("file", rows[:3], ["k"])["k"].tolist() == [3, 1, 2]
    assert capsys.readouterr().err == ""


def test_many_rows_told_twice_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    rows = pd.DataFrame({"k": [1, 2, 3, 4, 5] * 2, "a": np.arange(10.0)})
    assert once("file", rows, ["k"])["a"].isna().all()
    assert capsys.readouterr().err == "file: conflict at 1, 2, 3 and 2 more\n"


def test_wind_power_told_twice_is_read_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    power, weather = write_issued(tmp_path / "a", "2010-01-01", 6, 2)
    again = power.iloc[[30, 40]].assign(wp1=lambda t: [t["wp1"].iloc[0], t["wp1"].iloc[1] + 0.1])
    keep_issued(tmp_path / "b", pd.concat([power, again]), pd.concat([weather, weather.iloc[:5]]))
    whole, first = wind_issued.hourly_power(tmp_path / "a/gefcom2012_wind/power.parquet")
    made, same = wind_issued.hourly_power(tmp_path / "b/gefcom2012_wind/power.parquet")
    differs = np.argwhere(~((made == whole) | (np.isnan(made) & np.isnan(whole))))
    assert first == same
    assert np.isfinite(whole[40, 0]) and np.isnan(made[40, 0])
    assert differs.tolist() == [[40, 0]]
    assert wind_issued.wind_cases(tmp_path / "b", "day-ahead")["wind"].names
    assert "nwp.parquet: duplicate at" in capsys.readouterr().err


def test_a_price_told_twice_with_two_values_is_a_gap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    n = 24 * 12
    rows = pd.DataFrame({"ts": pd.date_range("2012-01-01", periods=n, freq="h"), "price": np.arange(float(n))})
    rows = pd.concat([rows.assign(a=1.0), rows.iloc[[50]].assign(price=9999.0, a=1.0)])
    read, start = price.priced(keep(tmp_path, "p.parquet", rows) / "p.parquet", {"load": "a"})
    assert np.flatnonzero(read["price"].isna()).tolist() == [50]
    assert (len(start), np.unique(np.diff(start)).tolist()) == (n, [60])
    assert capsys.readouterr().err == "p.parquet: conflict at 2012-01-03 02:00:00\n"


def test_stamps_on_the_clock_are_minutes() -> None:
    stamps = np.array(["1970-01-01T01", "1970-01-02T00"], dtype="M8[ns]")
    assert minutes("x", stamps, 60).tolist() == [60, 1440]
    with pytest.raises(BadSet, match="1 stamps are not whole intervals of 60 minutes, first 1970-01-01T00:15"):
        minutes("x", np.array(["1970-01-01T00:15"], dtype="M8[s]"), 60)
    with pytest.raises(BadSet, match="int64"):
        minutes("x", np.arange(3), 60)


def test_what_of_a_range_is_scored_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = steel(50).drop(index=range(96 * 45, 96 * 46))
    data = keep(tmp_path, STEEL, rows)
    made = rolling_set.run(sites.SETS["steel"], data, date(2018, 4, 10), date(2018, 4, 23), "day-ahead")
    assert (made["scored_from"], made["scored_to"]) == ("2018-04-10", "2018-04-19")
    assert (made["n"], made["missing"], made["left_out"]) == (9 * 96, 5 * 96, {})
    err = capsys.readouterr().err
    assert "steel: gap from 2018-04-15T00:00:00 to 2018-04-16T00:00:00" in err
    assert "steel: 864 of 1344 forecasts asked for are scored, from 2018-04-10 to 2018-04-19" in err
    with pytest.raises(BadSet, match="nothing to score"):
        rolling_set.run(sites.SETS["steel"], data, date(2019, 1, 1), date(2019, 1, 2), "day-ahead")
    assert "steel: left out, what can be forecast of it runs from 2018-03-10 to 2018-04-19" in capsys.readouterr().err
    with pytest.raises(BadSet, match="nothing to score"):
        rolling_set.run(sites.SETS["steel"], data, date(2018, 3, 1), date(2018, 3, 20), "day-ahead")
    err = capsys.readouterr().err
    assert "outcome to learn from was known at 2018-03-10T00:15, the last refit was at 2018-03-01T00:00" in err


def test_a_series_outside_the_range_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = steel(40).rename(columns={"usage_kwh": "power_mw"}).assign(cap_mw=50.0)
    data = keep(tmp_path, "cn_pv/cn_pv_15min.parquet", pd.concat([whole.assign(site=1), whole[:2000].assign(site=2)]))
    made = rolling_set.run(sites.SETS["cn-pv"], data, date(2018, 4, 1), date(2018, 4, 3), "intraday")
    assert list(made["left_out"]) == ["pv 2"]
    assert (made["n"], made["missing"]) == (3 * 96 * 4, 3 * 96 * 4)
    assert "pv 2: left out, what can be forecast of it runs from 2018-03-09 to 2018-03-21" in capsys.readouterr().err


def test_a_fault_is_one_line_and_exit_code_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def failing() -> dict[str, float]:
        raise BadSet("no rows")

    with pytest.raises(SystemExit) as ended:
        told("x/forecast.py", failing)
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", "forecast.py: no rows\n")
    told("x", lambda: {"n": 1})
    assert json.loads(capsys.readouterr().out) == {"n": 1}
    assert "lies after" in span_refusal(tmp_path, date(2018, 2, 1), date(2018, 1, 1))
    assert "no folder" in span_refusal(tmp_path / "nope", None, None)
    assert span_refusal(tmp_path, date(2018, 1, 1), date(2018, 1, 1)) == ""


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["forecast.py", "steel", "--horizon", "day-ahead"], f"not there: .*{STEEL}"),
        (["forecast_scenarios.py", "steel"], f"not there: .*{STEEL}"),
        (["forecast_peers.py"], f"not there: .*{STEEL}"),
    ],
)
def test_every_benchmark_of_forecasts_ends_with_two(tmp_path: Path, words: list[str], why: str) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / words[0]), *words[1:], "--data", str(tmp_path)]
    command += ["--from", "2018-07-01", "--to", "2018-07-02"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
    assert re.search(why, ended.stderr)


@pytest.mark.parametrize("main", [forecast_scenarios.main, forecast_peers.main])
def test_a_range_the_wrong_way_round_is_refused(
    main: Callable[[list[str]], object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = ["steel"] if main is forecast_scenarios.main else []
    with pytest.raises(SystemExit) as ended:
        main([*name, "--data", str(tmp_path), "--from", "2018-02-01", "--to", "2018-01-01"])
    assert ended.value.code == 2
    assert "--from 2018-02-01 lies after --to 2018-01-01" in capsys.readouterr().err


def test_scenarios_of_too_few_days_are_refused(tmp_path: Path) -> None:
    data = keep(tmp_path, STEEL, steel(30))
    with pytest.raises(BadSet, match="steel: "):
        forecast_scenarios.forecasts("steel", data, date(2018, 3, 1), date(2018, 3, 5))


def test_tasks_beyond_reason_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert forecast.task_numbers("4-9") == [4, 5, 6, 7, 8, 9]
    for text in ("1-99999999999", "99999999999"):
        with pytest.raises(SystemExit):
            forecast.parsed(["gefcom2014-price", "--data", str(tmp_path), "--tasks", text])
        assert "goes beyond task 999" in capsys.readouterr().err
