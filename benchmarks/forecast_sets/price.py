"""Price sets: the locational price of GEFCom2014 task by task, the German day-ahead price rolling.

What is known when. GEFCom2014: the forecasts of the load of the test day and every price before it. Germany,
day-ahead, issued at 10:00: the auction for the issue day cleared at noon of the day before, so all 24 prices of the
issue day are known, and so are the forecasts of load, wind and PV for the next day; its prices come at 12:45. Germany,
intraday: a price is treated as revealed when its hour has passed, though the auction told it the day before.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.forecast_sets.reading import BadSet, minutes, once, table
from benchmarks.forecast_sets.rolling_set import RollingSet
from benchmarks.forecast_sets.tasks import PERCENTILES, Answer, TaskSet
from forecasting.calendar import Calendar, Index
from forecasting.cases import Cases
from forecasting.gates import Horizon
from forecasting.local_holidays import holidays_of
from forecasting.models.hourly_lasso import hourly_lasso
from forecasting.price_features import Market, day_ahead, day_ahead_design, intraday
from forecasting.price_scheme import price_scheme
from forecasting.published import Published

HOUR, DAY = 60, 1440
GATE, CLEARED = 10 * HOUR, 12 * HOUR + 45
FIRST_DAYS = 8
LEADS_H = 4
GEFCOM, GERMAN = ("total_load", "zonal_load"), ("load", "renewables")


def priced(path: Path, columns: Mapping[str, str]) -> tuple[pd.DataFrame, Index]:
    """The rows of a file with `price` and forecasts by `columns` (name to column), and the minutes they begin at."""
    read = once(path.name, table(path, ["ts"], ["price", *columns.values()]), ["ts"])
    return read, minutes(path.name, read["ts"], HOUR)


def market(
    read: pd.DataFrame, start: Index, columns: Mapping[str, str], country: str, known: Index, outside_known: Index
) -> Market:
    """The market of `priced` rows; when each price and each forecast became known."""
    price = Published.of(start, read["price"].to_numpy(float), HOUR, known)
    outside = {n: Published.of(start, read[c].to_numpy(float), HOUR, outside_known) for n, c in columns.items()}
    days = Calendar("UTC", holidays=holidays_of(country)).days(price.first // 15, len(price.values) * 4 + 2 * 96)
    return Market(price, outside, days)


def whole_days(price: Published) -> Index:
    """Every target (R,) from the first days' lags on."""
    return price.first + FIRST_DAYS * DAY + HOUR * np.arange(max(len(price.values) - FIRST_DAYS * 24, 0))


def gefcom_cases(data: Path) -> Cases:
    """Cases of every day, issued at its midnight, with the forecasts of its load."""
    columns = {"total_load": "fc_total_load", "zonal_load": "fc_zonal_load"}
    read, start = priced(data / "gefcom2014/price.parquet", columns)
    made = market(read, start, columns, "US", start + HOUR, start - start % DAY)
    target = whole_days(made.price)
    return day_ahead(made, target - target % DAY, target)


def gefcom_answer(data: Path, task: int) -> Answer:
    """Percentiles of the test day, learnt from every day before it."""
    tasks = pd.read_csv(data / "gefcom2014/price_tasks.csv", parse_dates=["test_start", "test_end"]).set_index("task")
    if task not in tasks.index:
        raise BadSet(f"price_tasks.csv names the tasks {tasks.index.min()} to {tasks.index.max()}, not {task}")
    begin, end = minutes("price_tasks.csv", tasks.loc[task, ["test_start", "test_end"]].to_numpy("M8[m]"), HOUR)
    cases = gefcom_cases(data)
    model = hourly_lasso(day_ahead_design(GEFCOM))(cases.learnable(int(begin)), PERCENTILES)
    asked = cases.rows((cases.target >= begin) & (cases.target <= end))
    return Answer(model.predict(asked), asked.y)


def german_cases(data: Path, horizon: Horizon) -> Mapping[str, Cases]:
    """Cases of the German price (EUR/MWh), in the clock of the file."""
    columns = {"load": "amprion_load_fc_mw", "renewables": "pv_wind_fc_mw"}
    read, start = priced(data / "epf_prices/epf_DE.parquet", columns)
    midnight = start - start % DAY
    known = midnight - DAY + CLEARED if horizon == "day-ahead" else start + HOUR
    made = market(read, start, columns, "DE", known, midnight - DAY + GATE)
    target = whole_days(made.price)
    if horizon == "day-ahead":
        return {"price": day_ahead(made, target - target % DAY - DAY + GATE, target)}
    issue, ahead = np.repeat(target, LEADS_H), np.tile(HOUR * np.arange(LEADS_H), len(target))
    inside = issue + ahead <= target[-1]
    # A forecast issued late in the evening needs the next day's load, known since its gate.
    return {"price": intraday(made, issue[inside], (issue + ahead)[inside])}


SETS: Mapping[str, RollingSet] = {"epf-de": RollingSet(german_cases, lambda horizon: price_scheme(horizon, GERMAN))}
TASKS: Mapping[str, TaskSet] = {"gefcom2014-price": TaskSet("price", "Benchmark - Price", gefcom_answer)}
