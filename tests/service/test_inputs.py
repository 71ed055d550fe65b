"""Inputs over time grids: local hours, coarse and fine steps, days of 92 and 100 quarters, own series."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp.domain.errors import DataGap, InputFaults
from vpp.domain.portfolio import Input
from vpp.domain.time import MINUTE, QUARTER, TimeGrid, local_midnight, mixed_grid
from vpp.service.inputs import by_local_hour, trajectory
from vpp.service.portfolio_files import SeriesFile
from vpp.service.series import load_series, utc_of_wall

ZONE = "Europe/Berlin"
HOURS = tuple(float(h) for h in range(24))
SPEC = SeriesFile(id="own", file="own.csv", zone=ZONE, unit="MW", upper_mw=1.0)


def own(tmp_path: Path, *rows: str, header: str = "local_time,mw") -> Path:
    path = tmp_path / "own.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def quarters(day: str, first: str, n: int) -> list[str]:
    start = datetime.fromisoformat(f"{day}T{first}")
    return [f"{(start + k * QUARTER).isoformat()},0.5" for k in range(n)]


def test_a_summer_day_reads_each_hour_four_times() -> None:
    grid = TimeGrid.local_day(date(2016, 7, 12), ZONE)
    assert by_local_hour(HOURS, grid, ZONE).tolist() == [h for h in HOURS for _ in range(4)]


def test_the_spring_day_skips_the_hour_that_does_not_exist() -> None:
    values = by_local_hour(HOURS, TimeGrid.local_day(date(2016, 3, 27), ZONE), ZONE)
    assert len(values) == 92
    assert 2.0 not in values


def test_the_autumn_day_reads_the_repeated_hour_twice() -> None:
    values = by_local_hour(HOURS, TimeGrid.local_day(date(2016, 10, 30), ZONE), ZONE)
    assert len(values) == 100
    assert np.count_nonzero(values == 2.0) == 8


def test_minutes_take_the_value_of_their_quarter() -> None:
    grid = TimeGrid.uniform(datetime(2016, 7, 12, 7, 52, tzinfo=UTC), MINUTE, 15)
    assert by_local_hour(HOURS, grid, ZONE).tolist() == [9.0] * 8 + [10.0] * 7


@given(first=st.integers(0, 300), hours=st.integers(1, 30))
def test_coarse_steps_keep_the_energy_of_their_quarters(first: int, hours: int) -> None:
    start = local_midnight(date(2016, 3, 26), ZONE) + first * QUARTER
    end = start + timedelta(hours=hours)
    fine = TimeGrid.between(start, end, QUARTER)
    mixed = mixed_grid(start, [(QUARTER, start + QUARTER), (timedelta(hours=7), end)])
    energy = (by_local_hour(HOURS, mixed, ZONE) * mixed.hours).sum()
    assert energy == pytest.approx((by_local_hour(HOURS, fine, ZONE) * fine.hours).sum())


def test_weekends_are_scaled() -> None:
    friday, saturday = (TimeGrid.local_day(date(2016, 7, d), ZONE) for d in (15, 16))
    assert by_local_hour(HOURS, saturday, ZONE, 0.5) == pytest.approx(0.5 * by_local_hour(HOURS, friday, ZONE, 0.5))


def test_a_series_is_scaled_and_its_gaps_stay_gaps() -> None:
    grid = TimeGrid.uniform(datetime(2016, 7, 12, tzinfo=UTC), QUARTER, 3)
    got = trajectory(Input(2.0, "wind"), grid, ZONE, {"wind": np.array([0.1, np.nan, 0.0])})
    assert got == pytest.approx(np.array([0.2, np.nan, 0.0]), nan_ok=True)


def test_a_series_without_values_is_a_gap_by_name() -> None:
    grid = TimeGrid.uniform(datetime(2016, 7, 12, tzinfo=UTC), QUARTER, 3)
    with pytest.raises(DataGap, match="series wind"):
        trajectory(Input(1.0, "wind"), grid, ZONE, {})


def test_wall_time_that_does_not_exist_is_dropped(tmp_path: Path) -> None:
    series = load_series(SPEC, own(tmp_path, *quarters("2016-03-27", "00:00", 96)))
    assert series.start == datetime(2016, 3, 26, 23, tzinfo=UTC)
    assert len(series.values) == 92
    assert not np.isnan(series.values).any()


def test_wall_time_given_once_leaves_a_gap_where_it_exists_twice(tmp_path: Path) -> None:
    series = load_series(SPEC, own(tmp_path, *quarters("2016-10-30", "00:00", 96)))
    assert len(series.values) == 100
    assert np.flatnonzero(np.isnan(series.values)).tolist() == [12, 13, 14, 15]


def test_wall_time_given_twice_fills_both_hours(tmp_path: Path) -> None:
    rows = quarters("2016-10-30", "00:00", 12) + quarters("2016-10-30", "02:00", 8)
    series = load_series(SPEC, own(tmp_path, *rows))
    assert len(series.values) == 20
    assert not np.isnan(series.values).any()


def test_a_missing_row_and_an_empty_value_are_gaps_and_not_zero(tmp_path: Path) -> None:
    series = load_series(SPEC, own(tmp_path, "2016-07-12T00:00,0.1", "2016-07-12T00:15,", "2016-07-12T00:45,0.4"))
    assert series.values == pytest.approx(np.array([0.1, np.nan, np.nan, 0.4]), nan_ok=True)


@pytest.mark.parametrize(
    ("rows", "header", "reason"),
    [
        (["2016-07-12T00:00,0.1"], "ts,mw", "own/columns: must be local_time, mw, got ts, mw"),
        (["2016-07-12T00:07,0.1"], "local_time,mw", "is no start of a quarter hour"),
        (["2016-07-12T00:00,0.1"] * 3, "local_time,mw", "2 quarters are given twice"),
        (["2016-07-12T00:00,1.1"], "local_time,mw", "1 values outside 0 to 1"),
        (["2016-07-12T00:00,-0.1"], "local_time,mw", "1 values outside 0 to 1"),
        (["2016-07-12T00:00,inf"], "local_time,mw", "holds a value that is not finite"),
        (["2016-07-12T00:00,much"], "local_time,mw", "own/line 2: could not convert"),
        (["2016-07-12T00:00Z,0.1"], "local_time,mw", "has an offset, wall time is expected"),
        ([], "local_time,mw", "there are no rows"),
    ],
)
def test_a_bad_series_file_is_refused(tmp_path: Path, rows: list[str], header: str, reason: str) -> None:
    with pytest.raises(InputFaults) as caught:
        load_series(SPEC, own(tmp_path, *rows, header=header))
    assert reason in str(caught.value)


def test_a_missing_series_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputFaults, match=r"own/file: missing series"):
        load_series(SPEC, tmp_path / "own.csv")


@given(st.datetimes(datetime(2016, 1, 1), datetime(2016, 12, 31)))
def test_wall_times_come_back(wall: datetime) -> None:
    (moment,) = utc_of_wall([wall], ZONE)
    skipped = datetime(2016, 3, 27, 2) <= wall < datetime(2016, 3, 27, 3)
    assert (moment is None) == skipped
    if moment is not None:
        assert moment - wall.replace(tzinfo=UTC) in (-timedelta(hours=1), -timedelta(hours=2))
