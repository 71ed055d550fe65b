"""What the sun alone says of a photovoltaic series.

The clear-sky irradiance over a target, by the Haurwitz model (Journal of Meteorology 2, 1945, p. 154; Reno, Hansen
and Stein, SAND2012-2389) as pvlib has it, G = 1098 cos z exp(-0.059 / cos z) W/m2 at zenith z; the clear-sky index,
power over what clear sky would give, of the last hour and the last day; and what each makes of the target. A target
is dark where neither it nor its neighbours in time produced on any known one of the last nine days.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from pvlib.clearsky import haurwitz

from forecasting.calendar import PER_DAY, Days, Index
from forecasting.features import Extra, Running, same_quarter
from forecasting.panel import Panel
from vpp.domain.time import Array

DARK_DAYS = 9
DARK_SHARE = 0.002
_LEAST_KW_PER_M2 = 0.05


def clear_sky_kw_per_m2(days: Days) -> Array:
    """Global horizontal irradiance under clear sky of every column of `days`."""
    made = haurwitz(pd.Series(90.0 - days.elevation_deg))
    irradiance: Array = np.asarray(made["ghi"], dtype=float) / 1000.0
    return irradiance


def solar_features(panel: Panel, days: Days, target: Index, end: Index) -> Extra:
    """Features of the one series of `panel` for columns `target` (R,), with `end` (1, R) columns known."""
    clear = clear_sky_kw_per_m2(days)
    sky = clear[target]
    there = np.isfinite(panel.values)
    made = Running.sums(np.where(there, panel.values, 0.0), end)
    could = Running.sums(np.where(there, clear[: panel.n], 0.0), end)

    def index(quarters: int) -> Array:
        sun = could.over(end, quarters)[0]
        enough = sun >= _LEAST_KW_PER_M2 * min(quarters, PER_DAY // 4)
        return np.where(enough, made.over(end, quarters)[0] / np.maximum(sun, 1e-9), np.nan)

    hour, day, week = index(4), index(PER_DAY), index(7 * PER_DAY)
    return Extra(
        (
            "clear_sky", "clear_index_hour", "clear_index_day",
            "clear_guess_hour", "clear_guess_day", "clear_guess_week", "dark",
        ),
        np.stack([sky, hour, day, hour * sky, day * sky, week * sky, _dark(panel, days, target, end)], axis=1),
    )  # fmt: skip


def _dark(panel: Panel, days: Days, target: Index, end: Index) -> Array:
    lags = np.arange(1, DARK_DAYS + 1)
    last = len(days.offset) - 1
    near = [same_quarter(panel, days, np.clip(target + k, 0, last), end, lags)[0] for k in (-1, 0, 1)]
    past = np.concatenate(near, axis=-1)
    known = np.isfinite(past)
    most = np.fmax.accumulate(np.concatenate([np.zeros((1, 1)), np.nan_to_num(panel.values)], axis=1), axis=1)
    top = Running(most, end).upto(end)[0]
    silent = np.where(known, past, 0.0).max(axis=-1) <= DARK_SHARE * top
    dark: Array = (silent & known.any(axis=-1) & (top > 0)).astype(float)
    return dark
