"""The series of the service: nothing after the cut is in the process until a meter row brings it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp.domain.command import MeterRow
from vpp.domain.errors import LookAhead
from vpp.domain.forecast import Series
from vpp.domain.time import QUARTER
from vpp.service.series_book import SeriesBook

BEGIN = datetime(2016, 1, 1, tzinfo=UTC)
CUT = BEGIN + 100 * QUARTER


def book(n: int = 200) -> SeriesBook:
    """One archive series counting up from 0."""
    return SeriesBook({"a": Series("a", BEGIN, np.arange(float(n)))}, CUT)


def row(k: int, value: float, point: str = "series:a") -> MeterRow:
    """The quarter `k` of the archive's clock."""
    start = BEGIN + k * QUARTER
    return MeterRow(point, start, 15, value, start + QUARTER)


def test_the_archive_after_the_cut_is_unknown() -> None:
    known = book().history(CUT + timedelta(days=1)).until_known("a").values
    assert np.array_equal(known[:100], np.arange(100.0))
    assert np.isnan(known[100:]).all()


def test_meter_rows_bring_the_future_one_by_one() -> None:
    made = book()
    made.append([row(100, 7.0), row(101, 8.0), row(102, 9.0, "mp:other"), row(103, 1.0, "series:unknown")])
    known = made.history(CUT + 10 * QUARTER).until_known("a").values
    assert known[100:102].tolist() == [7.0, 8.0]
    assert np.isnan(known[102:]).all()


def test_rows_beyond_the_archive_grow_it_and_leave_a_gap_between() -> None:
    made = book(n=100)
    made.append([row(150, 5.0)])
    known = made.history(BEGIN + 152 * QUARTER).until_known("a").values
    assert known[150] == 5.0
    assert np.isnan(known[100:150]).all()
    assert known[99] == 99.0


def test_rows_before_the_archive_are_dropped() -> None:
    made = book()
    made.append([row(-1, 5.0)])
    assert np.array_equal(made.window("a", CUT + QUARTER, timedelta(hours=1)), [96.0, 97.0, 98.0, 99.0])


def test_a_history_refuses_what_was_not_known_then() -> None:
    with pytest.raises(LookAhead):
        book().history(CUT).window("a", CUT, CUT + QUARTER)


@given(st.integers(1, 99), st.integers(0, 1000))
def test_no_history_shows_a_quarter_before_it_ended(now: int, seed: int) -> None:
    made = book()
    made.append([row(100 + k, float(v)) for k, v in enumerate(np.random.default_rng(seed).uniform(size=50))])
    known = made.history(BEGIN + now * QUARTER).until_known("a")
    assert len(known.values) <= now


def test_the_window_is_the_last_known_span() -> None:
    assert book().window("a", CUT + timedelta(minutes=1), timedelta(hours=1)).tolist() == [96.0, 97.0, 98.0, 99.0]
