"""Baselines by hand: like days, clock changes, gaps, the day-of adjustment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pytest

from dispatch.baseline import (
    FIVE,
    TEN,
    adjustment_window,
    baselines,
    day_class,
    day_of_adjustment,
    like_days,
    meter_rows_used,
    same_quarters,
)
from vpp.domain.errors import DataGap
from vpp.domain.market import Event
from vpp.domain.time import QUARTER, Array, TimeGrid, local_time, rfc3339

ZONE = "Europe/Berlin"
Value = Callable[[datetime], float]
TUESDAY = date(2016, 7, 12)


def event(day: date, start: time = time(17, 30), quarters: int = 6, called: time = time(15, 0)) -> Event:
    begin = local_time(day, start, ZONE)
    return Event(
        "e", 1, "p", "c", local_time(day, called, ZONE), begin, begin + quarters * QUARTER, 1.0, Decimal(240),
        Decimal(180), begin,
    )  # fmt: skip


def meter(value: Value) -> Callable[[TimeGrid], Array]:
    """A meter that shows `value` of each quarter's UTC start."""

    def read(grid: TimeGrid) -> Array:
        assert set(grid.minutes) == {15} and grid.start.minute % 15 == 0
        return np.array([value(start) for start in grid.starts])

    return read


def local(moment: datetime) -> datetime:
    from zoneinfo import ZoneInfo

    return moment.astimezone(ZoneInfo(ZONE))


def by_day(moment: datetime) -> float:
    """Day of the month plus a hundredth per quarter of the day: every number of a mean can be told apart."""
    at = local(moment)
    return at.day + (at.hour * 4 + at.minute // 15) / 100.0


def grid_of(e: Event) -> TimeGrid:
    return TimeGrid.between(e.start, e.end, QUARTER)


def test_both_methods_by_hand() -> None:
    """Tuesday 2016-07-12: the five workdays before are 11, 8, 7, 6, 5 July; the ten reach back to 28 June.

    Mean day of five 7.4; of ten (11+8+7+6+5+4+1+30+29+28)/10 = 12.9. Quarter 17:30 is number 70.
    Adjustment window 12:00-15:00, quarters 48..59, mean .535: today 12.535, usual 13.435.
    """
    five, ten = baselines("mp", meter(by_day), event(TUESDAY), ZONE, frozenset(), frozenset())
    assert five.days == ("2016-07-11", "2016-07-08", "2016-07-07", "2016-07-06", "2016-07-05")
    assert five.mw.tolist() == pytest.approx([7.4 + q / 100.0 for q in range(70, 76)], rel=1e-12)
    assert ten.days[-1] == "2016-06-28" and len(ten.days) == 10
    assert ten.adjustment == pytest.approx(12.535 / 13.435, rel=1e-12)
    expected = [12.535 / 13.435 * (12.9 + q / 100.0) for q in range(70, 76)]
    assert ten.mw.tolist() == pytest.approx(expected, rel=1e-12)
    assert (five.method, ten.method, five.adjustment) == (FIVE, TEN, 1.0)


def test_classes_of_days() -> None:
    holiday = date(2016, 5, 5)
    assert day_class(TUESDAY, ()) == "workday"
    assert day_class(date(2016, 7, 9), ()) == "saturday"
    assert day_class(date(2016, 7, 10), ()) == "sunday_or_holiday"
    assert day_class(holiday, {holiday}) == day_class(date(2016, 7, 9), {date(2016, 7, 9)}) == "sunday_or_holiday"


def test_holidays_and_event_days_are_left_out() -> None:
    five, _ = baselines(
        "mp", meter(by_day), event(TUESDAY), ZONE, {date(2016, 7, 8)}, {date(2016, 7, 6), date(2016, 7, 11)}
    )
    assert five.days == ("2016-07-07", "2016-07-05", "2016-07-04", "2016-07-01", "2016-06-30")


def test_a_holiday_is_compared_with_sundays() -> None:
    five, _ = baselines("mp", meter(by_day), event(TUESDAY), ZONE, {TUESDAY}, frozenset())
    assert five.days == ("2016-07-10", "2016-07-03", "2016-06-26", "2016-06-19", "2016-06-12")


def test_a_gap_is_a_gap_and_not_zero() -> None:
    """One missing quarter at the event's time makes the day incomplete; elsewhere it does not matter."""

    def holed(moment: datetime) -> float:
        at = local(moment)
        inside = at.date() == date(2016, 7, 11) and at.time() == time(18, 0)
        outside = at.date() == date(2016, 7, 8) and at.time() == time(9, 0)
        return float("nan") if inside or outside else 2.0

    five, ten = baselines("mp", meter(holed), event(TUESDAY), ZONE, frozenset(), frozenset())
    assert five.days[:2] == ("2016-07-08", "2016-07-07")
    assert five.mw.tolist() == [2.0] * 6 and "2016-07-11" not in ten.days


def test_a_gap_in_the_adjustment_window_of_a_like_day_costs_the_day_to_the_adjusted_method_only() -> None:
    def holed(moment: datetime) -> float:
        at = local(moment)
        return float("nan") if at.date() == date(2016, 7, 11) and at.time() == time(13, 0) else 2.0

    five, ten = baselines("mp", meter(holed), event(TUESDAY), ZONE, frozenset(), frozenset())
    assert five.days[0] == "2016-07-11" and ten.days[0] == "2016-07-08"


@pytest.mark.parametrize(("known_days", "count"), [(4, "4 of 5"), (9, "9 of 10")])
def test_too_few_like_days_raise(known_days: int, count: str) -> None:
    first = TUESDAY
    left = known_days
    while left:
        first -= timedelta(days=1)
        left -= first.weekday() < 5

    def short(moment: datetime) -> float:
        return 1.0 if local(moment).date() >= first else float("nan")

    with pytest.raises(DataGap, match=rf"{count} like days \(workday\) before 2016-07-12"):
        baselines("mp", meter(short), event(TUESDAY), ZONE, frozenset(), frozenset())


def test_ten_saturdays_lie_within_reach() -> None:
    _, ten = baselines("mp", meter(by_day), event(date(2016, 7, 9)), ZONE, frozenset(), frozenset())
    assert (ten.days[0], ten.days[-1]) == ("2016-07-02", "2016-04-30")


@pytest.mark.parametrize(
    ("today", "usual", "factor"),
    [(1.1, 1.0, 1.1), (2.0, 1.0, 1.2), (0.1, 1.0, 0.8), (-1.1, -1.0, 1.1), (-1.0, 1.0, 0.8), (5.0, 0.0005, 1.0),
     (float("nan"), 1.0, 1.0)],
)  # fmt: skip
def test_the_adjustment_is_clipped(today: float, usual: float, factor: float) -> None:
    assert day_of_adjustment(np.full(12, today), np.full((10, 12), usual)) == pytest.approx(factor, rel=1e-12)


def test_the_adjustment_window_ends_before_the_call() -> None:
    """Called at 15:07, what the site does from 15:00 on is out; called at noon of the day before, 16:30 is the end."""
    window = adjustment_window(event(TUESDAY, called=time(15, 7)))
    assert (local(window.start).time(), local(window.end).time()) == (time(12, 0), time(15, 0))
    late = adjustment_window(event(TUESDAY, called=time(17, 20)))
    assert (local(late.start).time(), local(late.end).time()) == (time(13, 30), time(16, 30))


def test_quarters_are_matched_by_wall_time_across_a_clock_change() -> None:
    """17:30 on Tuesday 29 March is 15:30Z, on Friday 25 March 16:30Z."""
    five, _ = baselines("mp", meter(by_day), event(date(2016, 3, 29)), ZONE, frozenset(), frozenset())
    assert five.days[1] == "2016-03-25"
    assert five.mw[0] == pytest.approx((28 + 25 + 24 + 23 + 22) / 5 + 0.70, rel=1e-12)
    used = meter_rows_used(event(date(2016, 3, 29)), five, ZONE)
    assert rfc3339(used[-7]) == "2016-03-25T17:45:00Z" and rfc3339(used[-6]) == "2016-03-28T15:30:00Z"


def test_a_day_that_lacks_the_quarter_is_no_like_day() -> None:
    """02:30 does not exist on Sunday 2016-03-27."""
    sunday = event(date(2016, 4, 3), time(2, 30), 2, time(1, 0))
    days = [d for d, _ in like_days(meter(by_day), [grid_of(sunday)], ZONE, frozenset(), frozenset(), 3)]
    assert days == [date(2016, 3, 20), date(2016, 3, 13), date(2016, 3, 6)]
    assert same_quarters(grid_of(sunday), date(2016, 3, 27), ZONE) is None


def test_the_doubled_hour_of_autumn() -> None:
    """An event over 02:00-03:00 twice takes each like day's quarters twice; as a like day, its first hour counts."""
    autumn = date(2016, 10, 30)
    long = event(autumn, time(2, 0), 8, time(0, 30))
    found = like_days(meter(by_day), [grid_of(long)], ZONE, frozenset(), frozenset(), 1)
    assert found[0][0] == date(2016, 10, 23)
    assert found[0][1][0].tolist() == pytest.approx([23 + q / 100.0 for q in (8, 9, 10, 11) * 2], rel=1e-12)
    after = event(date(2016, 11, 6), time(2, 0), 4, time(0, 30))
    starts = same_quarters(grid_of(after), autumn, ZONE)
    assert starts is not None and rfc3339(starts[0]) == "2016-10-30T00:00:00Z"


def test_an_event_past_midnight_uses_the_night_after_the_like_day() -> None:
    night = event(TUESDAY, time(23, 30), 4, time(20, 0))
    five, _ = baselines("mp", meter(by_day), night, ZONE, frozenset(), frozenset())
    assert five.mw[2] == pytest.approx((12 + 9 + 8 + 7 + 6) / 5, rel=1e-12)


def test_a_person_finds_the_baseline_again_from_the_rows_named() -> None:
    e = event(TUESDAY)
    _, ten = baselines("mp", meter(by_day), e, ZONE, frozenset(), frozenset())
    rows = {start: by_day(start) for start in meter_rows_used(e, ten, ZONE)}
    assert len(rows) == 10 * (6 + 12) + 12
    today = [v for s, v in rows.items() if local(s).date() == TUESDAY]
    usual = [v for s, v in rows.items() if local(s).date() != TUESDAY and local(s).hour < 15]
    at_start = [v for s, v in rows.items() if local(s).time() == time(17, 30)]
    assert ten.mw[0] == pytest.approx(np.mean(today) / np.mean(usual) * np.mean(at_start), rel=1e-12)
