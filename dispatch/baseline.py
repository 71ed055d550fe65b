"""What a metering point would have done without the event, from its own meter rows.

Two public methods over *like days* (same class: workday, Saturday, or Sunday and holiday; complete;
without an event):

    average of last 5   b[q] = mean over the last 5 like days of the meter at the same local quarter q
    10-in-10 adjusted   b[q] = a * mean over the last 10 like days,
                        a = clip(sum meter / sum mean over the adjustment window, 0.8, 1.2)

The adjustment window is the three hours that end one hour before the event, or at the call if that
is earlier, so that what a site does after it was called cannot move its own baseline.
Source: the ten-in-ten method of the California ISO tariff (section 4.13.4), here with a
symmetric 20 % day-of adjustment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from vpp.domain.errors import DataGap
from vpp.domain.market import Baseline, Event
from vpp.domain.time import QUARTER, Array, TimeGrid

Meter = Callable[[TimeGrid], Array]
"""Mean MW of one metering point per interval of a quarter-hour grid, NaN for a gap."""

FIVE, TEN = "average_of_last_5", "ten_in_ten_adjusted"
ADJUSTMENT_LOW, ADJUSTMENT_HIGH = 0.8, 1.2
SMALLEST_MEAN_MW = 1e-3
LOOK_BACK_DAYS = 60


def day_class(day: date, holidays: Collection[date]) -> str:
    """`workday`, `saturday`, or `sunday_or_holiday`."""
    if day in holidays or day.weekday() == 6:
        return "sunday_or_holiday"
    return "saturday" if day.weekday() == 5 else "workday"


def _same_quarters(grid: TimeGrid, day: date, zone: str) -> TimeGrid | None:
    """`grid`'s local wall times on another day; None where that day lacks one of them."""
    tz = ZoneInfo(zone)
    first = grid.start.astimezone(tz)
    start = first.replace(year=day.year, month=day.month, day=day.day)
    moved = TimeGrid.uniform(start, QUARTER, grid.n)
    same = all(
        a.astimezone(tz).time() == b.astimezone(tz).time() for a, b in zip(grid.starts, moved.starts, strict=True)
    )
    return moved if same else None


def like_days(
    meter: Meter, grid: TimeGrid, zone: str, holidays: Collection[date], event_days: Collection[date], count: int
) -> list[tuple[date, Array]]:
    """The last `count` like days before `grid` with their meter values over its local quarters, newest first.

    Raises DataGap when there are fewer within the last 60 days.
    """
    today = grid.start.astimezone(ZoneInfo(zone)).date()
    wanted, found = day_class(today, holidays), list[tuple[date, Array]]()
    for back in range(1, LOOK_BACK_DAYS + 1):
        day = today - timedelta(days=back)
        if day in event_days or day_class(day, holidays) != wanted:
            continue
        moved = _same_quarters(grid, day, zone)
        values = meter(moved) if moved else np.array([np.nan])
        if np.all(np.isfinite(values)):
            found.append((day, values))
        if len(found) == count:
            return found
    raise DataGap(f"{len(found)} of {count} like days ({wanted}) before {today}")


def adjustment_window(event: Event) -> TimeGrid:
    """Three hours that end an hour before the event, or at the call if that is earlier."""
    end = min(event.start - timedelta(hours=1), event.called_at)
    return TimeGrid.between(end - timedelta(hours=3), end, QUARTER)


def baselines(
    point: str, meter: Meter, event: Event, zone: str, holidays: Collection[date], event_days: Collection[date]
) -> tuple[Baseline, Baseline]:
    """Both baselines of one metering point over the event's quarters, MW of injection."""
    grid = TimeGrid.between(event.start, event.end, QUARTER)
    five = like_days(meter, grid, zone, holidays, event_days, 5)
    ten = like_days(meter, grid, zone, holidays, event_days, 10)
    factor = day_of_adjustment(meter, event, zone, [day for day, _ in ten])
    return (
        Baseline(point, FIVE, grid, _mean(five), _names(five), 1.0),
        Baseline(point, TEN, grid, factor * _mean(ten), _names(ten), factor),
    )


def day_of_adjustment(meter: Meter, event: Event, zone: str, days: Collection[date]) -> float:
    """Ratio of today's mean to the like days' mean over the adjustment window, clipped to 0.8..1.2.

    1.0 where the like days' mean is below 1 kW or the window has a gap: there is nothing to scale by.
    """
    window = adjustment_window(event)
    moved = [m for day in days if (m := _same_quarters(window, day, zone)) is not None]
    usual = np.array([meter(m) for m in moved])
    today = meter(window)
    if not usual.size or not (np.all(np.isfinite(usual)) and np.all(np.isfinite(today))):
        return 1.0
    mean = float(usual.mean())
    if abs(mean) < SMALLEST_MEAN_MW:
        return 1.0
    return float(np.clip(float(today.mean()) / mean, ADJUSTMENT_LOW, ADJUSTMENT_HIGH))


def meter_rows_used(event: Event, baseline: Baseline, zone: str) -> list[datetime]:
    """Starts of the meter rows of the like days that enter `baseline`, adjustment window included."""
    days = [date.fromisoformat(d) for d in baseline.days]
    grids = [g for d in days if (g := _same_quarters(baseline.grid, d, zone))]
    if baseline.method == TEN:
        window = adjustment_window(event)
        grids += [window, *(g for d in days if (g := _same_quarters(window, d, zone)))]
    return sorted(start for g in grids for start in g.starts)


def _mean(days: list[tuple[date, Array]]) -> Array:
    mean: Array = np.mean([values for _, values in days], axis=0)
    return mean


def _names(days: list[tuple[date, Array]]) -> tuple[str, ...]:
    return tuple(day.isoformat() for day, _ in days)
