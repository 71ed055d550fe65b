"""GEFCom2014 load: the rolling set E with its measured temperature, and the month-ahead tasks of track L.

The data of Hong et al., International Journal of Forecasting 32(3), 2016; `ts` ends the hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.forecast_sets.own_clock import own_clock
from benchmarks.forecast_sets.reading import BadSet, minutes, once, table
from benchmarks.forecast_sets.rolling_set import RollingSet
from benchmarks.forecast_sets.tasks import PERCENTILES, Answer, TaskSet
from forecasting.cases import Cases
from forecasting.gates import Horizon, asked, cases_of
from forecasting.local_holidays import holidays_of
from forecasting.month_ahead import Past, month_ahead
from forecasting.schemes import weather_load
from forecasting.temperature import temperature_features
from vpp.domain.time import Array

FIRST_DAYS = 30
FIRST_TASK_MONTH = np.datetime64("2010-09")


def _starts(path: Path, read: pd.DataFrame) -> Array:
    """The hour each row began, as datetime64[h]."""
    starts: Array = (minutes(path.name, read["ts"], 60) // 60 - 1).astype("M8[h]")
    return starts


def load_e_cases(data: Path, horizon: Horizon) -> Mapping[str, Cases]:
    """Load (MW) with the temperature measured up to each issue; the temperature of a target is never used."""
    path = data / "gefcom2014/load_E.parquet"
    read = table(path, ["ts"], ["load_mw", "temp_f"])
    start = _starts(path, read)
    load = own_clock("load", start, read["load_mw"].to_numpy(float), 4, holidays=holidays_of("US"))
    temperature = own_clock("temperature", start, read["temp_f"].to_numpy(float), 4, lower=-np.inf).panel
    issue, target = asked(horizon, load.days, load.panel.n, load.step)
    there = np.flatnonzero(np.isfinite(load.panel.values[0]))
    if not len(there):
        raise BadSet(f"{path} has no load")
    late = issue >= int(there[0]) + FIRST_DAYS * 96
    more = [temperature_features(temperature)]
    return {"load": cases_of(load.panel, load.days, issue[late], target[late], load.step, more)}


def load_l_answer(data: Path, task: int) -> Answer:
    """Percentiles of month 2010-09 + `task`, with load and 25 temperature stations of everything before it."""
    path = data / "gefcom2014/load_L.parquet"
    read = once(path.name, table(path, ["ts"], r"^(LOAD|w\d+)$"), ["ts"])
    hours = _starts(path, read).astype(np.int64)
    load, stations = read["LOAD"].to_numpy(float), read.filter(regex=r"^w\d+$").to_numpy(float)
    month = hours.astype("M8[h]").astype("M8[M]") - FIRST_TASK_MONTH
    before, asked_for = month.astype(int) < task, np.flatnonzero(month.astype(int) == task)
    if not len(asked_for):
        raise ValueError(f"the file does not hold the month of task {task}")
    past = Past(hours[before], load[before], stations[before], holidays_of("US"))
    return Answer(month_ahead(past, hours[asked_for], PERCENTILES), load[asked_for])


SETS: Mapping[str, RollingSet] = {"load-e": RollingSet(load_e_cases, weather_load)}
TASKS: Mapping[str, TaskSet] = {"gefcom2014-load": TaskSet("load", "Benchmark - Load", load_l_answer)}
