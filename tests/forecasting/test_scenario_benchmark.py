"""The scenario, scale and peer benchmarks: what they say of cases whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtri

from benchmarks import forecast_peers, forecast_scale, forecast_scenarios
from forecasting.cases import Cases
from vpp.domain.forecast import LEVELS
from vpp.domain.time import Array

DAYS, STEPS = 160, 24


def parts(seed: int, common: float) -> list[tuple[Cases, Array]]:
    """A calibrated forecast of a series around 10; `common` is the share of a day's variance that its hours share."""
    rng = np.random.default_rng(seed)
    issue = np.repeat(np.arange(DAYS) * 1440 + 600, STEPS)
    target = np.repeat(np.arange(1, DAYS + 1) * 1440, STEPS) + np.tile(np.arange(STEPS) * 60, DAYS)
    day, hour = rng.standard_normal((DAYS, 1)), rng.standard_normal((DAYS, STEPS))
    y = 10 + (np.sqrt(common) * day + np.sqrt(1 - common) * hour).ravel()
    quantiles = np.repeat(10 + ndtri(np.asarray(LEVELS))[:, None], len(y), axis=1)
    return [(Cases(issue, target, target + 60, y, np.zeros((len(y), 1)), ("a",)), quantiles)]


def test_errors_that_come_together_are_found_and_cover_the_day() -> None:
    made = forecast_scenarios.scenarios("steel", parts(1, 0.8), 60 * 1440)
    assert made.y.shape == (DAYS - 59, 1, STEPS)
    told = forecast_scenarios.score(made.y, made.together, made.apart)
    assert told["n_days"] == DAYS - 59
    assert told["gain_pct"] > 3
    assert abs(told["daily_energy_coverage"]["90"] - 90) < 8
    alone = forecast_scenarios.score(made.y, made.apart, made.apart)
    assert alone["gain_pct"] == 0
    assert alone["daily_energy_coverage"]["90"] < 60


def test_independent_errors_lose_nothing_by_it() -> None:
    made = forecast_scenarios.scenarios("steel", parts(2, 0.0), 60 * 1440)
    told = forecast_scenarios.score(made.y, made.together, made.apart)
    assert abs(told["gain_pct"]) < 2


def test_a_day_in_parts_is_not_scored() -> None:
    y, x = np.zeros((3, 1, 4)), np.random.default_rng(0).standard_normal((3, 20, 1, 4))
    y[0, 0, 1] = np.nan
    x[1] = np.nan
    assert forecast_scenarios.score(y, x, x)["n_days"] == 1
    assert forecast_scenarios.score(y[:1], x[:1], x[:1]) == {"n_days": 0}


def test_the_total_of_two_series_is_their_sum() -> None:
    rng = np.random.default_rng(4)
    y, x = rng.standard_normal((300, 2, 4)), rng.standard_normal((300, 99, 2, 4))
    told = forecast_scenarios.summed(forecast_scenarios.Made(y, x, x))
    assert abs(told["step_coverage"]["80"] - 80) < 5
    assert abs(told["daily_energy_coverage"]["80"] - 80) < 9
    shifted = forecast_scenarios.summed(forecast_scenarios.Made(y + 10, x, x))
    assert shifted["daily_energy_coverage"]["90"] == 0


def test_few_weighted_scenarios_stand_nearer_to_all_than_random_ones() -> None:
    x = np.random.default_rng(6).standard_normal((5, 60, 2, 4))
    told = forecast_scenarios.reduction(x, 10)
    assert told["distance"] < 0.95 * told["distance_random"]
    assert forecast_scenarios.reduction(x, 60)["distance"] == 0
    x[1:, 0, 0, 0] = np.nan
    assert forecast_scenarios.reduction(x, 10)["distance"] == forecast_scenarios.reduction(x[:1], 10)["distance"]
    assert forecast_scenarios.reduction(x[1:], 10) == {}


def test_scale_names_its_times(capsys: pytest.CaptureFixture[str]) -> None:
    told = forecast_scale.main(["--assets", "3", "--fitted", "1"])
    assert (told["assets"], told["fitted"]) == (3, 1)
    assert min(told[k] for k in ("fit_s", "predict_s", "peak_rss_mb", "cores")) > 0
    with pytest.raises(SystemExit):
        forecast_scale.main(["--assets", "1", "--fitted", "2"])
    assert "cannot fit 2 of 1" in capsys.readouterr().err


def test_intervals_of_the_peer_are_named_by_level() -> None:
    made = [forecast_peers._interval(a) for a in LEVELS]
    assert made == ["mean-lo-90", "mean-lo-80", "mean-lo-50", "mean-lo-20", "mean", *(
        f"mean-hi-{n}" for n in (20, 50, 80, 90)
    )]  # fmt: skip


def test_the_peer_forecasts_day_ahead_from_ten(tmp_path: Path) -> None:
    pytest.importorskip("mlforecast")
    pd = pytest.importorskip("pandas")
    (tmp_path / "steel_industry").mkdir()
    ts = pd.date_range("2018-05-01", "2018-07-31 23:45", freq="15min")
    value = 10 + np.sin(np.arange(len(ts)) / 96 * 2 * np.pi)
    pd.DataFrame({"ts": ts, "usage_kwh": value}).to_parquet(tmp_path / "steel_industry/steel_15min_2018.parquet")
    last = ts[-1].date()
    told = forecast_peers.peer(tmp_path, last, last, "quantile")
    assert told["n"] == 96
    assert told["last_known_minute"] == [585]
