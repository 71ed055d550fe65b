"""Rolling sets of single sites: the steel plant, photovoltaic stations, the carbon intensity of a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.forecast_sets.own_clock import OwnClock, own_clock
from benchmarks.forecast_sets.reading import BadSet, table
from benchmarks.forecast_sets.rolling_set import RollingSet
from forecasting.cases import Cases
from forecasting.gates import Horizon, MoreFeatures, asked, cases_of
from forecasting.local_holidays import holidays_of
from forecasting.schemes import automatic, drifting
from forecasting.solar import solar_features

FIRST_DAYS = 8


def _cases(series: OwnClock, horizon: Horizon, more: Sequence[MoreFeatures] = ()) -> Cases:
    issue, target = asked(horizon, series.days, series.panel.n, series.step)
    late = issue >= FIRST_DAYS * 96
    return cases_of(series.panel, series.days, issue[late], target[late], series.step, more)


def steel_cases(data: Path, horizon: Horizon) -> Mapping[str, Cases]:
    """Energy a quarter (kWh) of the plant in Gwangyang."""
    read = table(data / "steel_industry/steel_15min_2018.parquet", ["ts"], ["usage_kwh"])
    series = own_clock(
        "steel", read["ts"], read["usage_kwh"].to_numpy(float), 1,
        latitude=34.9, longitude=127.7, offset_h=9.0, holidays=holidays_of("KR"),
    )  # fmt: skip
    return {"steel": _cases(series, horizon)}


def carbon_cases(data: Path, horizon: Horizon) -> Mapping[str, Cases]:
    """Carbon intensity (g/kWh) of Germany."""
    path = data / "carbon_intensity/carbon_intensity_2020.parquet"
    read = table(path, ["ts", "area"], ["gco2_per_kwh"])
    read = read[read["area"] == "DE"]
    if read.empty:
        raise BadSet(f"{path} has no rows of the area DE")
    series = own_clock(
        "carbon", read["ts"], read["gco2_per_kwh"].to_numpy(float), 1, latitude=51.0,
        longitude=10.0, holidays=holidays_of("DE"),
    )  # fmt: skip
    return {"carbon": _cases(series, horizon)}


def pv_cases(data: Path, horizon: Horizon) -> Mapping[str, Cases]:
    """Power of each station as a share of its capacity. The weather on file was measured, so it is not used."""
    read = table(data / "cn_pv/cn_pv_15min.parquet", ["ts", "site"], ["power_mw", "cap_mw"])
    out = {}
    for site, rows in read.groupby("site"):
        power = np.clip(rows["power_mw"].to_numpy(float) / rows["cap_mw"].to_numpy(float), 0.0, 1.0)
        series = own_clock(
            f"pv {site}", rows["ts"], power, 1, upper=1.0, latitude=38.0, longitude=115.0, offset_h=8.0,
            holidays=holidays_of("CN"),
        )  # fmt: skip
        out[f"pv {site}"] = _cases(series, horizon, [solar_features])
    return out


SETS: Mapping[str, RollingSet] = {
    "steel": RollingSet(steel_cases, lambda horizon: automatic(horizon, lower=0.0)),
    "carbon-de": RollingSet(carbon_cases, drifting),
    "cn-pv": RollingSet(pv_cases, lambda horizon: automatic(horizon, lower=0.0, upper=1.0, dark="dark")),
}
