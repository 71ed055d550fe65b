"""A day-ahead market by formula: the price grows with the load that renewables leave, on a drifting level."""

from __future__ import annotations

import numpy as np

from forecasting.calendar import Calendar
from forecasting.price_features import Market
from forecasting.published import Published
from tests.forecasting.made import walk

HOUR, DAY = 60, 1440
FIRST = int(np.datetime64("2019-01-07", "m").astype(int))
DAYS = 150


def market(days: int = DAYS, horizon: str = "day-ahead", shift: float = 0.0) -> Market:
    """Prices that clear at 12:45 of the eve (or when their hour has passed), forecasts that come at 10:00."""
    rng = np.random.default_rng(3)
    n = 24 * days
    hour = np.arange(n) % 24
    load = 50 + 12 * np.sin((hour - 8) / 24 * 2 * np.pi) + 4 * walk(rng, n, 0.99)
    wind = 12 * np.exp(0.5 * walk(rng, n, 0.98))
    price = 20 + 0.5 * (load - wind) + 4 * walk(rng, n, 0.999) + rng.standard_normal(n) + shift
    start = FIRST + HOUR * np.arange(n, dtype=np.int64)
    eve = start - start % DAY - DAY
    known = eve + 12 * HOUR + 45 if horizon == "day-ahead" else start + HOUR
    gate = eve + 10 * HOUR
    outside = {k: Published.of(start, v, HOUR, gate) for k, v in {"load": load, "wind": wind}.items()}
    calendar = Calendar("UTC").days(FIRST // 15, 4 * n + 192)
    return Market(Published.of(start, price, HOUR, known), outside, calendar)


def day_ahead_asked(days: int = DAYS) -> tuple[np.ndarray, np.ndarray]:
    """Issues at 10:00 and all targets of the days after the first eight."""
    target = FIRST + 8 * DAY + HOUR * np.arange(24 * (days - 8), dtype=np.int64)
    return target - target % DAY - DAY + 10 * HOUR, target


def intraday_asked(days: int = DAYS) -> tuple[np.ndarray, np.ndarray]:
    """Issues of every hour and the four targets from there."""
    issue = np.repeat(FIRST + 8 * DAY + HOUR * np.arange(24 * (days - 8) - 4, dtype=np.int64), 4)
    return issue, issue + HOUR * np.tile(np.arange(4), len(issue) // 4)
