"""What is known of a day-ahead market at a gate: past prices, forecasts of load and of renewables, the calendar.

A market's price follows the load that is left for the dear plants (its merit order), so every forecast of it goes in
as it is, against the days before and against its own day. Prices of the last days carry the level of fuels. Every
value is read for the issue it serves and raises LookAhead if it was not known then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from forecasting.calendar import Days, Index
from forecasting.cases import Cases
from forecasting.models.hourly_lasso import Design
from forecasting.published import Published
from vpp.domain.time import Array

DAY = 1440
_DAY_PRICES = (
    "persistence", "price_2d", "price_3d", "price_7d", "day_mean", "day_max", "day_min", "day_last", "week_mean",
)  # fmt: skip
_HOUR_PRICES = (
    "persistence", "price_before", "price_2_before", "price_then", "price_then_before", "price_then_week",
    "price_1d", "price_2d", "price_7d", "price_1d_earlier", "price_1d_later", "day_mean",
)  # fmt: skip
Columns = dict[str, Array]


@dataclass(frozen=True)
class Market:
    """The price, the forecasts that move it (`outside`, by name), and the calendar of its clock from quarter
    `days.first`."""

    price: Published
    outside: Mapping[str, Published]
    days: Days


def day_ahead_design(outside: tuple[str, ...]) -> Design:
    """How to learn the cases of `day_ahead`."""
    squares = [(f"{n}{of}",) * 2 for n in outside for of in ("", "_max", "_1d", "_1d_max")]
    return Design(_DAY_PRICES, (*squares, *((n,) * 3 for n in outside), *_pairs(outside)))


def intraday_design(outside: tuple[str, ...]) -> Design:
    """How to learn the cases of `intraday`."""
    squares = [(f"{n}{of}",) * 2 for n in outside for of in ("", "_then")]
    return Design(_HOUR_PRICES, (*squares, *_pairs(outside)), ("lead_h",), change=True, neighbours=0)


def _pairs(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]


def day_ahead(market: Market, issue: Index, target: Index) -> Cases:
    """Cases of forecasts for whole days whose eve is known, by minutes `issue` and `target` (R,)."""
    midnight = target - target % DAY
    eve = midnight[:, None] - DAY + market.price.step * np.arange(DAY // market.price.step)
    later = np.minimum(target + market.price.step, midnight + DAY - market.price.step)
    read, asked = market.price.read, issue[:, None]
    last_day = read(eve, asked)
    week = read(eve[:, :, None] - DAY * np.arange(7), issue[:, None, None]).reshape(len(issue), -1)
    columns = {
        "persistence": read(target - DAY, issue), "price_2d": read(target - 2 * DAY, issue),
        "price_3d": read(target - 3 * DAY, issue), "price_7d": read(target - 7 * DAY, issue),
        "day_mean": _over(np.nanmean, last_day), "day_max": _over(np.nanmax, last_day),
        "day_min": _over(np.nanmin, last_day), "day_last": last_day[:, -1], "week_mean": _over(np.nanmean, week),
    }  # fmt: skip
    for name, series in market.outside.items():
        today, before = series.read(eve + DAY, asked), series.read(eve, asked)
        columns |= {
            name: series.read(target, issue), f"{name}_next": series.read(later, issue),
            f"{name}_1d": series.read(target - DAY, issue), f"{name}_2d": series.read(target - 2 * DAY, issue),
            f"{name}_7d": series.read(target - 7 * DAY, issue), f"{name}_mean": _over(np.nanmean, today),
            f"{name}_max": _over(np.nanmax, today), f"{name}_min": _over(np.nanmin, today),
            f"{name}_1d_mean": _over(np.nanmean, before), f"{name}_1d_max": _over(np.nanmax, before),
        }  # fmt: skip
    return _cases(market, issue, target, columns)


def intraday(market: Market, issue: Index, target: Index) -> Cases:
    """Cases of forecasts for the next hours, when prices are known up to the issue."""
    step = market.price.step
    last = issue - step
    read, asked = market.price.read, issue[:, None]
    columns = {
        "lead_h": (target - issue) / 60.0, "persistence": read(last, issue), "price_before": read(last - step, issue),
        "price_2_before": read(last - 2 * step, issue), "price_then": read(last - DAY, issue),
        "price_then_before": read(last - DAY - step, issue), "price_then_week": read(last - 7 * DAY, issue),
        "price_1d": read(target - DAY, issue), "price_2d": read(target - 2 * DAY, issue),
        "price_7d": read(target - 7 * DAY, issue), "price_1d_earlier": read(target - DAY - step, issue),
        "price_1d_later": read(target - DAY + step, issue),
        "day_mean": _over(np.nanmean, read(last[:, None] - step * np.arange(DAY // step), asked)),
    }  # fmt: skip
    for name, series in market.outside.items():
        columns |= {
            name: series.read(target, issue), f"{name}_next": series.read(target + step, issue),
            f"{name}_then": series.read(last, issue), f"{name}_before": series.read(last - step, issue),
            f"{name}_1d": series.read(target - DAY, issue), f"{name}_1d_then": series.read(last - DAY, issue),
            f"{name}_7d": series.read(target - 7 * DAY, issue), f"{name}_7d_then": series.read(last - 7 * DAY, issue),
        }  # fmt: skip
    return _cases(market, issue, target, columns)


def _over(of: Callable[..., Array], values: Array) -> Array:
    """`of` each row (R,), NaN where the row is a gap."""
    empty = np.all(np.isnan(values), axis=1, keepdims=True)
    out: Array = of(np.where(empty, 0.0, values), axis=1)
    return np.where(empty[:, 0], np.nan, out)


def _cases(market: Market, issue: Index, target: Index, columns: Columns) -> Cases:
    """The cases with the calendar; those whose price is not on file get no outcome."""
    days, price = market.days, market.price
    at = target // 15 - days.first
    season = 2 * np.pi * days.day_of_year[at] / 365.25
    weekday = days.weekday[at]
    eve, morrow = days.day_class[np.maximum(at - 96, 0)], days.day_class[np.minimum(at + 96, len(days.offset) - 1)]
    columns = columns | {
        "of_day": days.of_day[at], "weekday": weekday, "day_class": days.day_class[at],
        "monday": weekday == 0, "friday": weekday == 4, "saturday": weekday == 5, "sunday": weekday == 6,
        "after_free_day": eve == 2, "before_free_day": morrow == 2,
        "season_sin": np.sin(season), "season_cos": np.cos(season),
    }  # fmt: skip
    where = (target - price.first) // price.step
    inside = (where >= 0) & (where < len(price.values))
    y = np.where(inside, price.values[np.clip(where, 0, len(price.values) - 1)], np.nan)
    known = np.where(inside, price.known[np.clip(where, 0, len(price.values) - 1)], np.iinfo(np.int64).max)
    x = np.column_stack([np.asarray(c, dtype=float) for c in columns.values()])
    return Cases(issue, target, known, y, x, tuple(columns))
