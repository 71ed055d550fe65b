"""Wind tasks of GEFCom2014: one month ahead for ten farms, with the weather forecast of the whole month given.

Task k asks for month 2012-09 + k; a stamp ends its hour. Every month is one issue at its beginning, when the power up
to then and the month's weather forecast are known. One set of networks learns all farms together, with the same
settings in every task.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.forecast_sets.reading import minutes, once, table
from benchmarks.forecast_sets.tasks import PERCENTILES, Answer, TaskSet
from forecasting.calendar import Index
from forecasting.cases import Cases, joined
from forecasting.features_wind import (
    OFFSETS_H,
    WindAround,
    farm_columns,
    field_columns,
    hour_columns,
    own_columns,
    side_by_side,
)
from forecasting.wind_scheme import SERIES, wind_month
from vpp.domain.time import Array

FIRST_MONTH = np.datetime64("2012-09", "M")
HOUR = 60


@lru_cache(maxsize=1)
def wind_cases(data: Path) -> Cases:
    """Cases of all farms, of every hour on file."""
    path, key = data / "gefcom2014/wind.parquet", ["ts", "zone"]
    read = once(path.name, table(path, key, ["power_pu", "u10", "v10", "u100", "v100"]), key)
    minutes(path.name, read["ts"], HOUR)
    hours = pd.date_range(read["ts"].min(), read["ts"].max(), freq="h")
    wide = read.pivot(index="ts", columns="zone").reindex(hours)
    end = hours.to_numpy().astype("M8[m]")
    target = end.astype(np.int64) - HOUR
    issue = (end - np.timedelta64(HOUR, "m")).astype("M8[M]").astype("M8[m]").astype(np.int64)
    around = WindAround(
        *(
            np.stack([_around(wide[f"{c}{height}"].to_numpy(float), issue) for height in (10, 100)], axis=-1)
            for c in "uv"
        )
    )  # fmt: skip
    power: Array = np.asarray(wide["power_pu"], dtype=np.float64)
    shared, farms = [hour_columns(target), field_columns(around)], power.shape[1]
    parts = []
    for k in range(farms):
        own = own_columns(around, k)
        x = side_by_side([own, farm_columns(own, k, farms), *shared])
        columns = np.column_stack([x.x, np.full(len(power), k)])
        parts.append(Cases(issue, target, target + HOUR, power[:, k], columns, (*x.names, SERIES)))
    return joined(parts)


def _around(values: Array, issue: Index) -> Array:
    """Values (N, S) at every offset about every hour: (N, O, S), NaN beyond the file and beyond the weather given at
    the hour's `issue` (N,), which ends with its month."""
    at = np.arange(len(values))[:, None] + np.asarray(OFFSETS_H)[None, :]
    inside = np.clip(at, 0, len(values) - 1)
    given = (at == inside) & (issue[inside] <= issue[:, None])
    return np.where(given[:, :, None], values[inside], np.nan)


def answer(data: Path, task: int) -> Answer:
    """Percentiles of the month of `task` by what was known at its beginning. Raises ValueError for a month that is
    not on file."""
    cases = wind_cases(data)
    moment = int((FIRST_MONTH + task).astype("M8[m]").astype(np.int64))
    asked = cases.rows(cases.issue == moment)
    if not len(asked):
        raise ValueError(f"task {task} asks for {FIRST_MONTH + task}, which is not on file")
    model = wind_month()(cases.learnable(moment), PERCENTILES)
    return Answer(np.clip(model.predict(asked), 0.0, 1.0), asked.y)


TASKS: Mapping[str, TaskSet] = {"gefcom2014-wind": TaskSet("wind", "Benchmark - Wind", answer)}
