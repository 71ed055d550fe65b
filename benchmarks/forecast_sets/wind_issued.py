"""Wind power of GEFCom2012 by weather forecasts as they were issued: seven farms, runs at 00 and 12, leads 1-48 h.

A run is known at its issue time. For an hour v, a forecast issued at t reads the newest run issued by t that looks
ahead to v; hours past the last lead are not known. A stamp is read as the start of its hour, so that its power is
known an hour later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.forecast_sets.reading import minutes, once, table
from benchmarks.forecast_sets.rolling_set import RollingSet
from forecasting.calendar import Index
from forecasting.cases import Cases, joined
from forecasting.features import Extra
from forecasting.features_wind import (
    OFFSETS_H,
    WindAround,
    farm_columns,
    field_columns,
    hour_columns,
    own_columns,
    power_columns,
    side_by_side,
)
from forecasting.gates import Horizon
from forecasting.wind_scheme import SERIES, wind_issued
from vpp.domain.time import Array

GATE_H = 10
INTRADAY_H = 4
HOUR, DAY = 60, 1440


@dataclass(frozen=True)
class Runs:
    """Weather runs issued at `issued` (K,) in hours since 1970: u, v (K, leads + 1, S), NaN where there is none."""

    issued: Index
    u: Array
    v: Array

    @classmethod
    def of(cls, read: pd.DataFrame) -> Runs:
        """The runs of a table with farm, issued, hors, u and v, one row a farm, run and lead."""
        hour = minutes("weather runs", read["issued"], HOUR) // HOUR
        issued, run = np.unique(hour, return_inverse=True)
        farm, lead = read["farm"].to_numpy(int) - 1, read["hors"].to_numpy(int)
        parts = []
        for name in ("u", "v"):
            values = np.full((len(issued), lead.max() + 1, farm.max() + 1), np.nan)
            values[run, lead, farm] = read[name].to_numpy(float)
            parts.append(values)
        return cls(issued, *parts)

    def around(self, issue: Index, target: Index) -> WindAround:
        """Wind about hours `target` (R,) as known at hours `issue` (R,)."""
        valid = target[:, None] + np.array(OFFSETS_H)
        run = np.searchsorted(self.issued, np.minimum(issue[:, None], valid - 1), side="right") - 1
        lead = valid - self.issued[np.maximum(run, 0)]
        there = (run >= 0) & (lead < self.u.shape[1])
        lead = np.where(there, lead, 0)
        seen = (np.where(there[..., None], part[np.maximum(run, 0), lead], np.nan) for part in (self.u, self.v))
        return WindAround(*(s[..., None] for s in seen))


def asked_hours(horizon: Horizon, first: int, n: int) -> tuple[Index, Index]:
    """Issue and target hours (R,) of all forecasts with targets in first..first+n-1."""
    target = np.arange(first, first + n)
    if horizon == "day-ahead":
        return target // 24 * 24 - 24 + GATE_H, target
    issue = np.repeat(target, INTRADAY_H)
    ahead = issue + np.tile(np.arange(INTRADAY_H), n)
    return issue[ahead < first + n], ahead[ahead < first + n]


def hourly_power(path: Path) -> tuple[Array, int]:
    """Power (N, S) of every hour on file and the first hour since 1970; NaN where there is none."""
    read = once(path.name, table(path, ["ts"], r"^wp\d+$"), ["ts"])
    hour = minutes(path.name, read["ts"], HOUR) // HOUR
    names = [f"wp{k}" for k in range(1, read.shape[1])]
    values = np.full((int(np.ptp(hour)) + 1, len(names)), np.nan)
    values[hour - hour.min()] = read[names].to_numpy(float)
    return values, int(hour.min())


def wind_cases(data: Path, horizon: Horizon) -> Mapping[str, Cases]:
    """Cases of all farms together, told apart by the column `series`."""
    values, first = hourly_power(data / "gefcom2012_wind/power.parquet")
    weather, run = data / "gefcom2012_wind/nwp.parquet", ["farm", "issued", "hors"]
    runs = Runs.of(once(weather.name, table(weather, run, ["u", "v"]), run))
    issue, target = asked_hours(horizon, first, len(values))
    begun = issue >= max(first, int(runs.issued[0])) + 24
    issue, target = issue[begun], target[begun]
    around = runs.around(issue, target)
    shared = [hour_columns(target * HOUR), field_columns(around), _clock(issue, target)]
    parts = []
    for k in range(values.shape[1]):
        own = own_columns(around, k)
        past = power_columns(values, k, issue - first, target - first)
        x = side_by_side([own, farm_columns(own, k, values.shape[1]), past, *shared])
        named, code = (*x.names, SERIES), np.full(len(issue), k)
        y = values[target - first, k]
        times = issue * HOUR, target * HOUR, (target + 1) * HOUR
        parts.append(Cases(*times, y, np.column_stack([x.x, code]), named))
    return {"wind": joined(parts)}


def _clock(issue: Index, target: Index) -> Extra:
    """What the naive models go by, and the lead."""
    weekday = (target // 24 + 3) % 7
    day_class = np.clip(weekday - 4, 0, 2)
    columns = {
        "of_day": target % 24, "weekday": weekday, "day_class": day_class, "lead_h": target - issue,
        **{f"lead_is_{k}": target - issue == k for k in range(INTRADAY_H)},
    }  # fmt: skip
    return Extra(tuple(columns), np.stack([c.astype(float) for c in columns.values()], axis=1))


SETS: Mapping[str, RollingSet] = {"gefcom2012-wind": RollingSet(wind_cases, wind_issued)}
