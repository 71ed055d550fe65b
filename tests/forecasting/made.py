"""Series made by formula: a working-week load, a clear-to-cloudy PV, a wandering wind, a load with a gap."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np

from forecasting.calendar import Calendar, Days, moment_of, quarter_of
from vpp.domain.forecast import History, Series

START = datetime(2016, 2, 9, 23, tzinfo=UTC)
QUARTERS = 96 * 80
GAP = slice(96 * 40, 96 * 41 + 30)


def days() -> Days:
    return Calendar().days(quarter_of(START), QUARTERS)


def walk(rng: np.random.Generator, n: int, persistence: float) -> np.ndarray:
    out = np.zeros(n)
    noise = rng.standard_normal(n) * np.sqrt(1 - persistence**2)
    for t in range(1, n):
        out[t] = persistence * out[t - 1] + noise[t]
    return out


def series() -> dict[str, Series]:
    rng, d = np.random.default_rng(7), days()
    shape = 0.3 + 0.5 * np.exp(-(((d.of_day - 48) / 14.0) ** 2)) * np.where(d.day_class == 0, 1.0, 0.3)
    common = walk(rng, QUARTERS, 0.9985)
    load = shape * (1 + 0.2 * common) + 0.005 * rng.standard_normal(QUARTERS)
    twin = shape * (1 + 0.2 * (0.9 * common + 0.4 * walk(rng, QUARTERS, 0.9985)))
    cloud = 0.5 + 0.5 * np.tanh(walk(rng, QUARTERS, 0.99))
    pv = 0.8 * np.maximum(np.sin(np.deg2rad(d.elevation_deg)), 0.0) * cloud
    wind = 1 / (1 + np.exp(-1.5 * walk(rng, QUARTERS, 0.995)))
    gappy = load.copy()
    gappy[GAP] = np.nan
    made = {"load:a": load, "load:b": twin, "gen:pv": pv, "gen:wind": wind, "gappy": gappy}
    return {k: Series(k, START, v, upper=1.0 if k.startswith("gen") else np.inf) for k, v in made.items()}


def history(day: int, quarter: int = 36, of: Mapping[str, Series] | None = None) -> History:
    """Issued `quarter` quarters after the start of UTC-day `day` of the made series (36 is 08:00 UTC)."""
    return History(moment_of(quarter_of(START) + day * 96 + quarter), series() if of is None else of)
