"""The rolling sets of single sites: what comes after an issue changes no case of it, for any target."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest

from benchmarks.forecast_sets.sites import SETS
from forecasting.gates import Horizon
from vpp.domain.time import Array

DAYS, CUT = 40, 96 * 30 + 50
FILES = {
    "steel": "steel_industry/steel_15min_2018.parquet",
    "carbon-de": "carbon_intensity/carbon_intensity_2020.parquet",
    "cn-pv": "cn_pv/cn_pv_15min.parquet",
}


def table(name: str, values: Array) -> pd.DataFrame:
    """The set's file with `values` (N,) in the place of what was measured."""
    ts = pd.date_range("2019-03-01", periods=len(values), freq="15min")
    if name == "steel":
        return pd.DataFrame({"ts": ts, "usage_kwh": values})
    if name == "carbon-de":
        return pd.DataFrame({"ts": ts, "area": "DE", "gco2_per_kwh": values})
    return pd.DataFrame({"ts": ts, "site": "one", "power_mw": values, "cap_mw": 50.0})


@pytest.mark.parametrize("horizon", ["day-ahead", "intraday"])
@pytest.mark.parametrize("name", list(FILES))
def test_a_changed_future_changes_no_case_issued_before(tmp_path: Path, name: str, horizon: str) -> None:
    rng = np.random.default_rng(3)
    values = 20.0 + 10.0 * np.sin(2 * np.pi * np.arange(96 * DAYS) / 96) + rng.random(96 * DAYS)
    spoilt = values.copy()
    spoilt[CUT:] = rng.uniform(0.0, 50.0, 96 * DAYS - CUT)
    made = []
    for folder, measured in (("a", values), ("b", spoilt)):
        file = tmp_path / folder / FILES[name]
        file.parent.mkdir(parents=True)
        table(name, measured).to_parquet(file)
        made.append(next(iter(SETS[name].cases(tmp_path / folder, cast(Horizon, horizon)).values())))
    a, b = made
    moment = int(np.datetime64("2019-03-01", "m").astype(np.int64)) + 15 * CUT
    before = a.issue <= moment
    assert before.sum() > 1000
    np.testing.assert_array_equal(a.x[before], b.x[before])
    known = before & (a.known <= moment)
    np.testing.assert_array_equal(a.y[known], b.y[known])
    assert not np.array_equal(a.x[~before], b.x[~before], equal_nan=True)
