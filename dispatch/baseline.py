"""What a metering point would have done without the event, from its own meter rows.

Two public methods over *like days* (same class: workday, Saturday, or Sunday and holiday; complete in
every row the method needs; without an event):

    average of last 5   b[q] = mean over the last 5 like days of the meter at the same local quarter q
    10-in-10 adjusted   b[q] = a * mean over the last 10 like days,
                        a = clip(sum meter / sum mean over the adjustment window, 0.8, 1.2)

The adjustment window is the three hours that end one hour before the event, or at the last quarter
before the call if that is earlier, so that what a site does after it was called cannot move its own
baseline. Quarters are matched by local wall time one by one: a quarter that a day has twice counts as
its first one, and a day that lacks a quarter is not complete.
Source: the ten-in-ten method of the California ISO tariff (section 4.13.4), here with a
symmetric 20 % day-of adjustment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from vpp.domain.errors import DataGap
from vpp.domain.market import Baseline, Event
from vpp.domain.time import QUARTER, Array, TimeGrid, floor_to, utc

Meter = Callable[[TimeGrid], Array]
"""Mean MW of one metering point per interval of a quarter-hour grid, NaN for a gap."""

FIVE, TEN = "average_of_last_5", "ten_in_ten_adjusted"
ADJUSTMENT_LOW, ADJUSTMENT_HIGH = 0.8, 1.2
ADJUSTMENT_SPAN = timedelta(hours=3)
ADJUSTMENT_BEFORE_EVENT = timedelta(hours=1)
SMALLEST_MEAN_MW = 1e-3
LOOK_BACK_DAYS = 90


def day_class(day: date, holidays: Collection[date]) -> str:
    """`workday`, `saturday`, or `sunday_or_holiday`."""
    if day in holidays or day.weekday() == 6:
        return "sunday_or_holiday"
    return "saturday" if day.weekday() == 5 else "workday"


def same_quarters(grid: TimeGrid, day: date, zone: str) -> list[datetime] | None:
    """Starts (UTC) on `day` of the local quarters of `grid`, whose first one is on `day`; None where one is missing.

    A quarter after the midnight of `grid` lies as many days after `day`.
    """
    tz = ZoneInfo(zone)
    local = [start.astimezone(tz) for start in grid.starts]
    found = []
    for moment in local:
        on = day + (moment.date() - local[0].date())
        wall = datetime.combine(on, moment.time(), tz)
        start = utc(wall)
        if start.astimezone(tz).replace(tzinfo=None) != wall.replace(tzinfo=None):
            return None
        found.append(start)
    return found


def _read(meter: Meter, starts: Sequence[datetime]) -> Array:
    """Meter values at quarters that need not follow one another."""
    grid = TimeGrid.between(min(starts), max(starts) + QUARTER, QUARTER)
    at = [grid.index_of(start) for start in starts]
    return np.asarray(meter(grid), dtype=float)[at]


def like_days(
    meter: Meter, grids: Sequence[TimeGrid], zone: str, holidays: Collection[date], event_days: Collection[date],
    count: int,
) -> list[tuple[date, list[Array]]]:  # fmt: skip
    """The last `count` like days before `grids[0]`, newest first, with their values over each grid's local quarters.

    Raises DataGap when there are fewer within the last 90 days.
    """
    today = grids[0].start.astimezone(ZoneInfo(zone)).date()
    wanted, found = day_class(today, holidays), list[tuple[date, list[Array]]]()
    for back in range(1, LOOK_BACK_DAYS + 1):
        day = today - timedelta(days=back)
        if day in event_days or day_class(day, holidays) != wanted:
            continue
        values = [_read(meter, starts) for g in grids if (starts := same_quarters(g, day, zone)) is not None]
        if len(values) == len(grids) and all(np.all(np.isfinite(v)) for v in values):
            found.append((day, values))
        if len(found) == count:
            return found
    raise DataGap(f"{len(found)} of {count} like days ({wanted}) before {today}")


def adjustment_window(event: Event) -> TimeGrid:
    """Three hours that end an hour before the event, or with the last quarter before the call if that is earlier."""
    end = floor_to(min(event.start - ADJUSTMENT_BEFORE_EVENT, event.called_at), QUARTER)
    return TimeGrid.between(end - ADJUSTMENT_SPAN, end, QUARTER)


def baselines(
    point: str, meter: Meter, event: Event, zone: str, holidays: Collection[date], event_days: Collection[date]
) -> tuple[Baseline, Baseline]:
    """Both baselines of one metering point over the event's quarters, MW of injection.

    Raises DataGap where there are too few like days.
    """
    grid, window = TimeGrid.between(event.start, event.end, QUARTER), adjustment_window(event)
    five = like_days(meter, [grid], zone, holidays, event_days, 5)
    ten = like_days(meter, [grid, window], zone, holidays, event_days, 10)
    factor = day_of_adjustment(meter(window), np.array([values[1] for _, values in ten]))
    return (
        Baseline(point, FIVE, grid, _mean(five), _names(five), 1.0),
        Baseline(point, TEN, grid, factor * _mean(ten), _names(ten), factor),
    )


def day_of_adjustment(today_mw: Array, usual_mw: Array) -> float:
    """Ratio of today's mean (W,) to the like days' (D,W) mean over the adjustment window, clipped to 0.8..1.2.

    1.0 where the like days' mean is below 1 kW or today has a gap: there is nothing to scale by.
    """
    mean = float(usual_mw.mean())
    if not np.all(np.isfinite(today_mw)) or abs(mean) < SMALLEST_MEAN_MW:
        return 1.0
    return float(np.clip(float(today_mw.mean()) / mean, ADJUSTMENT_LOW, ADJUSTMENT_HIGH))


def meter_rows_used(event: Event, baseline: Baseline, zone: str) -> list[datetime]:
    """Starts of the meter rows that enter `baseline`, adjustment window included."""
    window = adjustment_window(event)
    grids = [baseline.grid, window] if baseline.method == TEN else [baseline.grid]
    rows = set(window.starts) if baseline.method == TEN else set[datetime]()
    for day in map(date.fromisoformat, baseline.days):
        for grid in grids:
            rows.update(same_quarters(grid, day, zone) or ())
    return sorted(rows)


def _mean(days: list[tuple[date, list[Array]]]) -> Array:
    mean: Array = np.mean([values[0] for _, values in days], axis=0)
    return mean


def _names(days: list[tuple[date, list[Array]]]) -> tuple[str, ...]:
    return tuple(day.isoformat() for day, _ in days)
