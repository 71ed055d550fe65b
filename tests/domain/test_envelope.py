"""Which limits hold when: the newest revision, the tightest of those in force, and the issuer's default else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp.domain.envelope import Bounds, Envelope, Interval, Place, bounds_over, newest
from vpp.domain.time import MINUTE, QUARTER, TimeGrid, local_time

START = datetime(2016, 7, 12, 8, 0, tzinfo=UTC)
CABLE = Place("cable", "dso", ("a",), 1.0, 0.5)
GRID = TimeGrid.uniform(START, QUARTER, 8)
HOUR = timedelta(hours=1)


def envelope(name: str, *intervals: Interval, **changes: object) -> Envelope:
    made = Envelope(name, 1, "dso", "cable", START - HOUR, intervals)
    return replace(made, **changes)  # type: ignore[arg-type]


def over(start: datetime, end: datetime, import_mw: float | None = None, export_mw: float | None = None) -> Interval:
    return Interval(start, end, import_mw, export_mw)


def test_without_envelopes_the_default_holds() -> None:
    found = bounds_over(CABLE, (), GRID)
    assert found.import_mw.tolist() == [1.0] * 8 and found.export_mw.tolist() == [0.5] * 8
    assert found.default and found.envelopes == ()


def test_an_envelope_replaces_the_default_until_it_expires_also_where_it_is_looser() -> None:
    sent = envelope("day", over(START, START + HOUR, 0.3, 2.0))
    found = bounds_over(CABLE, (sent,), GRID)
    assert found.import_mw.tolist() == [0.3] * 4 + [1.0] * 4
    assert found.export_mw.tolist() == [2.0] * 4 + [0.5] * 4
    assert found.default and found.envelopes == ("day r1",)
    whole = envelope("all", over(GRID.start - HOUR, GRID.end + HOUR, 0.3, 2.0))
    assert not bounds_over(CABLE, (whole,), GRID).default


def test_a_side_that_is_not_stated_is_left_to_the_default() -> None:
    found = bounds_over(CABLE, (envelope("in", over(START, GRID.end, 0.2)),), GRID)
    assert found.import_mw.tolist() == [0.2] * 8 and found.export_mw.tolist() == [0.5] * 8 and found.default


def test_of_overlapping_envelopes_the_tighter_holds() -> None:
    both = (envelope("a", over(START, START + HOUR, 0.6, 0.1)), envelope("b", over(START + 2 * QUARTER, GRID.end, 0.4)))
    found = bounds_over(CABLE, both, GRID)
    assert found.import_mw.tolist() == [0.6] * 2 + [0.4] * 6
    assert found.export_mw.tolist() == [0.1] * 4 + [0.5] * 4


def test_a_newer_revision_replaces_the_whole_message_and_may_be_looser() -> None:
    first = envelope("a", over(START, GRID.end, 0.2, 0.1))
    second = envelope("a", over(START, START + HOUR, 0.9), revision=2, received_at=START)
    assert newest((second, first), START) == (second,)
    found = bounds_over(CABLE, newest((first, second), START), GRID)
    assert found.import_mw.tolist() == [0.9] * 4 + [1.0] * 4 and found.export_mw.tolist() == [0.5] * 8
    withdrawn = envelope("a", revision=3, received_at=START)
    assert bounds_over(CABLE, newest((first, second, withdrawn), START), GRID).import_mw.tolist() == [1.0] * 8


def test_what_was_received_later_is_not_known() -> None:
    first, second = envelope("a", revision=1), envelope("a", revision=2, received_at=START + MINUTE)
    assert newest((first, second), START) == (first,)
    assert newest((first, second), START + MINUTE) == (second,)
    assert newest((first, second), START - 2 * HOUR) == ()


def test_issuers_do_not_meet_in_ids_and_places_do_not_meet_in_limits() -> None:
    mine, other = envelope("a", over(START, GRID.end, 0.2)), envelope("a", over(START, GRID.end, 0.1), issuer="tso")
    assert newest((mine, other), START) == (mine, other)
    assert bounds_over(CABLE, (mine, other), GRID).import_mw.tolist() == [0.2] * 8
    elsewhere = replace(mine, place="other")
    assert bounds_over(CABLE, (elsewhere,), GRID).import_mw.tolist() == [1.0] * 8


def test_a_step_is_bound_by_the_least_of_its_moments() -> None:
    five = over(START + 5 * MINUTE, START + 10 * MINUTE, 0.2)
    found = bounds_over(CABLE, (envelope("a", five),), GRID)
    assert found.import_mw.tolist() == [0.2] + [1.0] * 7
    loose = over(START + 5 * MINUTE, START + 10 * MINUTE, 3.0)
    assert bounds_over(CABLE, (envelope("a", loose),), GRID).import_mw.tolist() == [1.0] * 8


@pytest.mark.parametrize("day", [date(2016, 3, 27), date(2016, 7, 12), date(2016, 10, 30)])
def test_days_of_summer_time_keep_their_hours(day: date) -> None:
    """Limits from 01:00 to 04:00 of wall time cover two, three or four hours of the day."""
    zone, grid = "Europe/Berlin", TimeGrid.local_day(day, "Europe/Berlin")
    start, end = (local_time(day, datetime(2016, 1, 1, hour).time(), zone) for hour in (1, 4))
    found = bounds_over(CABLE, (envelope("a", over(start, end, 0.2)),), grid)
    assert int((found.import_mw == 0.2).sum()) == grid.n - 84
    assert found.import_mw[:4].tolist() == [1.0] * 4 and found.import_mw[-80:].tolist() == [1.0] * 80


def by_minute(place: Place, sent: list[Envelope], grid: TimeGrid) -> tuple[list[float], list[float]]:
    """The rule, minute by minute; every time in these tests is a whole minute."""
    sides: tuple[list[float], list[float]] = ([], [])
    for start, length in zip(grid.starts, grid.minutes, strict=True):
        for side, (name, standing) in enumerate((("import_mw", place.import_mw), ("export_mw", place.export_mw))):
            least = []
            for moment in (start + k * MINUTE for k in range(length)):
                stated = [
                    getattr(i, name)
                    for e in sent
                    for i in e.intervals
                    if i.start <= moment < i.end and getattr(i, name) is not None
                ]
                least.append(min(stated, default=standing))
            sides[side].append(min(least))
    return sides


limit = st.one_of(st.none(), st.floats(0.0, 3.0))


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    begin = draw(st.integers(-60, 240))
    length = draw(st.integers(1, 200))
    import_mw, export_mw = draw(limit), draw(limit)
    return over(START + begin * MINUTE, START + (begin + length) * MINUTE, import_mw, export_mw)


@given(
    st.lists(st.lists(intervals(), max_size=3), max_size=3),
    st.lists(st.sampled_from([1, 7, 15, 60]), min_size=1, max_size=8),
)
def test_bounds_are_those_of_every_minute(found: list[list[Interval]], minutes: list[int]) -> None:
    grid = TimeGrid(START, tuple(minutes))
    sent = [envelope(str(k), *each) for k, each in enumerate(found)]
    bounds = bounds_over(CABLE, sent, grid)
    assert (bounds.import_mw.tolist(), bounds.export_mw.tolist()) == by_minute(CABLE, sent, grid)


@given(st.lists(intervals(), min_size=1, max_size=4), st.floats(0.0, 1.0))
def test_one_more_envelope_in_force_never_loosens_what_envelopes_state(sent: list[Interval], tighter: float) -> None:
    whole = over(GRID.start, GRID.end, 3.0, 3.0)
    more = over(GRID.start, GRID.end, tighter, tighter)

    def of(*each: Interval) -> Bounds:
        return bounds_over(CABLE, [envelope(str(k), i) for k, i in enumerate(each)], GRID)

    wide, narrow = of(whole, *sent), of(whole, *sent, more)
    assert (narrow.import_mw <= wide.import_mw).all() and (narrow.export_mw <= wide.export_mw).all()
    assert np.all(narrow.import_mw <= tighter)
