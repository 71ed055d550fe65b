"""Values known one by one: read in time, refused before."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.published import Published
from vpp.domain.errors import LookAhead


def published() -> Published:
    """Hours 0, 1, 3 (twice) and 4 of a day; the fourth was told again at minute 900."""
    start = np.array([0, 60, 180, 180, 240])
    return Published.of(start, np.array([1.0, 2.0, 4.0, 4.0, 6.0]), 60, np.array([60, 120, 240, 900, 300]))


def test_what_is_told_twice_alike_is_known_with_the_last_and_what_is_missing_a_gap() -> None:
    np.testing.assert_array_equal(published().values, [1.0, 2.0, np.nan, 4.0, 6.0])
    assert published().known[3] == 900


def test_the_order_of_telling_changes_nothing() -> None:
    told = Published.of(np.array([0, 0]), np.array([1.0, 1.0]), 60, np.array([900, 60]))
    assert told.known.tolist() == [900]


def test_a_value_is_read_from_the_minute_it_is_known() -> None:
    assert published().read(np.array([185]), np.array([900])) == 4.0
    with pytest.raises(LookAhead, match="1 minutes after"):
        published().read(np.array([185]), np.array([899]))


def test_beyond_the_ends_and_in_a_gap_there_is_nothing_to_know() -> None:
    assert np.isnan(published().read(np.array([-60, 120, 300]), np.zeros(3, dtype=np.int64))).all()


def test_what_is_told_twice_with_two_values_is_a_gap() -> None:
    told = Published.of(np.array([0, 60, 60]), np.array([1.0, 2.0, 3.0]), 60, np.array([60, 120, 120]))
    np.testing.assert_array_equal(told.values, [1.0, np.nan])


def test_a_gap_told_beside_a_value_stays_a_gap() -> None:
    told = Published.of(np.array([0, 0]), np.array([1.0, np.nan]), 60, np.array([60, 60]))
    assert np.isnan(told.values).all()
