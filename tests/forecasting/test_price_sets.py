"""The price sets on made files: a file that reaches further in time changes no forecast of before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.forecast_sets.price import gefcom_answer, gefcom_cases, german_cases
from benchmarks.forecast_sets.tasks import PERCENTILES
from forecasting.gates import Horizon
from tests.forecasting import made_market

TEST_DAY = "2019-04-20"


def folder(at: Path, days: int) -> Path:
    """Files in the layout of the data, of `days` days."""
    market = made_market.market(150)
    n = 24 * days
    ts = pd.date_range("2019-01-07", periods=n, freq="h")
    load, wind, price = (s.values[:n] for s in (*market.outside.values(), market.price))
    for name in ("gefcom2014", "epf_prices"):
        (at / name).mkdir(parents=True)
    gefcom = pd.DataFrame({"ts": ts, "price": price, "fc_total_load": load, "fc_zonal_load": load - 0.1 * wind})
    gefcom.to_parquet(at / "gefcom2014/price.parquet")
    german = pd.DataFrame({"ts": ts, "price": price, "amprion_load_fc_mw": load, "pv_wind_fc_mw": wind})
    german.to_parquet(at / "epf_prices/epf_DE.parquet")
    tasks = pd.DataFrame({"task": [1], "test_start": [TEST_DAY], "test_end": [f"{TEST_DAY} 23:00:00"]})
    tasks.to_csv(at / "gefcom2014/price_tasks.csv", index=False)
    return at


def test_a_task_is_answered_alike_by_a_longer_file(tmp_path: Path) -> None:
    short, long = folder(tmp_path / "short", 104), folder(tmp_path / "long", 150)
    answers = [gefcom_answer(data, 1) for data in (short, long)]
    assert answers[0].percentiles.shape == (len(PERCENTILES), 24)
    assert np.isfinite(answers[0].y).all()
    assert (np.diff(answers[0].percentiles, axis=0) >= 0).all()
    np.testing.assert_array_equal(answers[0].percentiles, answers[1].percentiles)


def test_a_task_knows_every_price_before_its_day_and_none_of_it(tmp_path: Path) -> None:
    cases = gefcom_cases(folder(tmp_path, 104))
    past = cases.learnable(int(np.datetime64(TEST_DAY, "m").astype(int)))
    assert past.target.max() == np.datetime64(f"{TEST_DAY}T00:00", "m").astype(int) - 60


@pytest.mark.parametrize(("horizon", "earliest", "latest"), [("day-ahead", 14 * 60, 37 * 60), ("intraday", 0, 180)])
def test_german_cases_are_issued_when_the_horizon_says(
    tmp_path: Path, horizon: Horizon, earliest: int, latest: int
) -> None:
    data = folder(tmp_path, 30)
    cases = german_cases(data, horizon)["price"]
    assert (cases.lead.min(), cases.lead.max()) == (earliest, latest)
    minute = set((cases.issue % 1440).tolist())
    assert minute == ({600} if horizon == "day-ahead" else set(range(0, 1440, 60)))
    eve = cases.known - (cases.target - cases.target % 1440)
    assert set(eve.tolist()) == {765 - 1440} if horizon == "day-ahead" else (cases.known == cases.target + 60).all()
