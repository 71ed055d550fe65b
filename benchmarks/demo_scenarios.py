"""Joint scenarios of the demo's portfolio beside rivals around the same quantiles.

Rivals are draws without any dependence (`independent`) and with that of the series' own values (`values`). Scores are
those of a next day as forecast at the gate: `energy_score` of all series and steps as one vector, each series over
its mean, `series` the mean of each series' own; of the portfolio's sum, in MW, the score of its path (`total`), of its
energy (`total_energy`, the CRPS over the 96 steps' sum) and how often its energy lay in the bands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from scipy.special import ndtr

from forecasting.backtest import BANDS
from forecasting.losses import energy_score
from forecasting.panel import Panel
from forecasting.pipeline import Pipeline
from forecasting.scenarios import copula, dependence, from_quantiles
from forecasting.track_record import outcomes
from vpp.domain.forecast import LEVELS, History, Series
from vpp.domain.time import QUARTER, Array, TimeGrid

COUNT, STEPS, DAY = 200, 152, 96
PAST_DAYS = 36


def scored(pipeline: Pipeline, series: Mapping[str, Series], issues: Sequence[datetime]) -> dict[str, Any]:
    """Scores of every way to draw, by name, over the days after `issues`."""
    found: dict[str, list[dict[str, float]]] = {}
    weight = np.array([pipeline.weight.get(name, 0.0) for name in series])
    past = Panel.of(History(issues[0], series), days=PAST_DAYS).values
    unit = np.maximum(np.nanmean(past, axis=1), 1e-6)
    for at in issues:
        for name, (draws, actual) in _drawn(pipeline, series, at).items():
            found.setdefault(name, []).append(_score(weight, unit, draws, actual))
    return {name: _mean(rows) for name, rows in found.items()}


def _drawn(pipeline: Pipeline, series: Mapping[str, Series], at: datetime) -> dict[str, tuple[Array, Array]]:
    """Scenarios (K, S, T) of the next day by each way, and what came (S, T)."""
    history, grid = History(at, series), TimeGrid.uniform(at, QUARTER, STEPS)
    made = pipeline.forecast(history, grid, COUNT)
    panel, seed = Panel.of(history, days=PAST_DAYS), int(at.timestamp())
    usual = dependence(panel, pipeline.calendar.days(panel.first, panel.n))
    white = ndtr(np.random.default_rng(seed).standard_normal(made.scenarios.shape))
    ways = {
        "pipeline": made.scenarios,
        "values": from_quantiles(copula(usual, COUNT, STEPS, seed), made.quantiles, LEVELS, panel.lower, panel.upper),
        "independent": from_quantiles(white, made.quantiles, LEVELS, panel.lower, panel.upper),
    }
    came = outcomes(History(grid.end + timedelta(days=1), series), tuple(series), grid)
    return {name: (draws[:, :, -DAY:], came[:, -DAY:]) for name, draws in ways.items()}


def _score(weight: Array, unit: Array, draws: Array, actual: Array) -> dict[str, float]:
    there = np.isfinite(actual).all(axis=1)
    x, y = draws[:, there] / unit[there, None], actual[there] / unit[there, None]
    total, came = np.einsum("s,kst->kt", weight[there], draws[:, there]), weight[there] @ actual[there]
    energy = total.sum(axis=1)
    rank = (np.sum(energy < came.sum()) + 0.5) / (len(energy) + 1)
    return {
        "energy_score": energy_score(x, y),
        "series": float(np.mean([energy_score(x[:, i], y[i]) for i in range(len(y))])),
        "total": energy_score(total, came), "total_energy": energy_score(energy[:, None], came.sum(keepdims=True)),
        **{f"covered_{b}": float(abs(rank - 0.5) < int(b) / 200) for b in BANDS},
    }  # fmt: skip


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {k: round(float(np.mean([r[k] for r in rows])), 4) for k in rows[0]}
