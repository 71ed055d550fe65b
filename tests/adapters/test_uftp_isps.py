"""ISPs on the wire: sign, watts, numbers within the local day, days of 92 and 100 quarters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pytest

from adapters.uftp.isps import covered, mw_of, place_faults, rounded, runs, watts_of, zone_fault
from vpp.domain.time import TimeGrid

BERLIN = "Europe/Berlin"
SPRING, SUMMER, AUTUMN = date(2016, 3, 27), date(2016, 7, 12), date(2016, 10, 30)


@dataclass
class Part:
    start: int
    duration: int = 1


def test_consumption_is_positive_watts_on_the_wire() -> None:
    assert watts_of(-0.75) == 750_000 and watts_of(1.25) == -1_250_000
    assert mw_of(750_000) == -0.75 and mw_of(-1) == 1e-6
    assert str(mw_of(0)) == "0.0", "no negative zero"
    assert all(watts_of(mw_of(w)) == w for w in range(-3_000_007, 3_000_000, 100_003))


def test_rounding_keeps_gaps_and_is_what_the_wire_says() -> None:
    mw = np.array([0.12345678, np.nan, -2.0])
    assert rounded(mw).tolist()[::2] == [0.123457, -2.0] and np.isnan(rounded(mw)[1])


@pytest.mark.parametrize(("day", "count"), [(SPRING, 92), (SUMMER, 96), (AUTUMN, 100)])
def test_a_day_has_as_many_isps_as_its_clock(day: date, count: int) -> None:
    grid = TimeGrid.local_day(day, BERLIN)
    assert grid.n == count
    assert place_faults([Part(1, count)], grid) == []
    (fault,) = place_faults([Part(1, count + 1)], grid)
    assert fault == f"ISPs out of bounds: 1+{count + 1}, the day has {count}"


def test_every_fault_of_place_is_listed() -> None:
    grid = TimeGrid.local_day(SUMMER, BERLIN)
    assert place_faults([], grid) == ["ISPs out of bounds: the message has none"]
    faults = place_faults([Part(0), Part(5, 0), Part(97), Part(96, 2), Part(1, 4), Part(2)], grid)
    outside = "ISPs out of bounds: 0+1, 5+0, 97+1, 96+2, the day has 96"
    assert faults == [outside, "ISP conflict: 2 stated more than once"]


def test_runs_and_what_they_cover_are_the_same_powers() -> None:
    grid = TimeGrid.local_day(AUTUMN, BERLIN)
    rng = np.random.default_rng(3)
    mw = np.round(rng.normal(size=grid.n), 0)
    mw[rng.random(grid.n) < 0.3] = np.nan
    back = np.full(grid.n, np.nan)
    for run in runs(mw):
        back[covered(Part(run.first, run.count), grid)] = mw_of(run.watts)
    np.testing.assert_array_equal(back, mw)
    assert len(list(runs(mw))) < np.isfinite(mw).sum()


def test_a_zone_is_taken_where_its_offsets_are_ours() -> None:
    assert zone_fault("Europe/Amsterdam", SUMMER, BERLIN) is None
    fault = zone_fault("Europe/London", SUMMER, BERLIN)
    assert fault == "TimeZone rejected: Europe/London is not as Europe/Berlin on 2016-07-12"
    assert zone_fault("Africa/Algiers", date(2016, 1, 12), BERLIN) is None, "+01:00 without summer time"
    assert zone_fault("Africa/Algiers", SUMMER, BERLIN) is not None
    assert zone_fault("Africa/Algiers", SPRING, BERLIN) is not None, "the day ends in summer time"
    for nonsense in ("Europe/Nowhere", "../etc/passwd", "", "x\0y"):
        assert zone_fault(nonsense, SUMMER, BERLIN) == f"TimeZone rejected: {nonsense} is unknown"
