"""Score joint scenarios of rolled, calibrated day-ahead forecasts against scenarios without dependence.

`python benchmarks/forecast_scenarios.py steel|cn-pv|carbon-de --data DIR --from A --to B`; the last line is one JSON
object. The forecasts roll from 120 days before A, so that the dependence of A's day is learnt from errors that were
known by its gate; the sum over all steps and series is calibrated as for the service. `energy_score` is the mean over
days and series of the score of a day (T steps), `daily_energy_coverage` the share of days whose sum lay in the band
of the scenarios' sums. A set of several series is scored jointly too: all series and steps as one vector (`joint`),
and the sum over the series, by its daily energy and its steps (`total`). `reduced` is the mean Kantorovich distance to
all scenarios of a day of the `kept` few that forward selection weighs, beside that of as many taken at random.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.forecast_sets import sites
from benchmarks.forecast_sets.reading import BadSet, span_refusal, told
from benchmarks.forecast_sets.rolling_set import DAY, monthly
from forecasting.calendar import Index
from forecasting.cases import Cases
from forecasting.losses import BANDS, energy_score
from forecasting.past_scores import joint, normal_score
from forecasting.reduction import distances, reduced
from forecasting.rolling import rolling
from forecasting.scenarios import Dependence, copula, from_quantiles
from forecasting.sums import SumCalibration
from vpp.domain.forecast import LEVELS
from vpp.domain.time import Array

LEARN_DAYS = 120
LEAST_DAYS = 21
CANDIDATES, COUNT, KEPT = 800, 200, 10
UPPER: Mapping[str, float] = {"steel": np.inf, "carbon-de": np.inf, "cn-pv": 1.0}


@dataclass(frozen=True)
class Made:
    """What came (D, S, T) and scenarios of D days with and without dependence (D, K, S, T); NaN where a day of a
    series was not forecast or did not come whole."""

    y: Array
    together: Array
    apart: Array


def forecasts(name: str, data: Path, first: date, last: date) -> list[tuple[Cases, Array]]:
    """Cases and calibrated quantiles (L, R) of each series, out of sample, from `LEARN_DAYS` before `first`.

    Raises BadSet that names a series of which nothing could be forecast.
    """
    begin, end = (int(np.datetime64(d, "m").astype(np.int64)) for d in (first, last))
    out = []
    for series, cases in sites.SETS[name].cases(data, "day-ahead").items():
        start = max(begin - (1 + LEARN_DAYS) * DAY, int(cases.issue[0]) + 28 * DAY) if len(cases) else end
        if not len(cases.learnable(start)):
            raise BadSet(f"{series}: nothing is known of it by {np.datetime64(start, 'm')}")
        rolled = rolling(cases, monthly(start, end), sites.SETS[name].scheme("day-ahead"), LEVELS)
        at = np.flatnonzero(np.isfinite(rolled.calibrated).all(axis=0) & (cases.target < end + DAY))
        if not len(at):
            raise BadSet(f"{series}: nothing could be forecast from {first} to {last}")
        out.append((cases.rows(at), rolled.calibrated[:, at]))
    return out


def scenarios(name: str, parts: Sequence[tuple[Cases, Array]], begin: int) -> Made:
    """Scenarios of every day whose targets begin at `begin` or later, the sums calibrated on all days before.

    Raises BadSet where there is no such day with `LEAST_DAYS` before it.
    """
    upper, series = UPPER[name], [cases for cases, _ in parts]
    scores = [normal_score(q, c.y, LEVELS, 0.0, upper, seed) for seed, (c, q) in enumerate(parts)]
    past = joint(series, scores)
    quantiles, y = _arranged(parts, past.issue, past.lead)
    bounds, sums = (np.zeros(len(parts)), np.full(len(parts), upper)), SumCalibration(LEVELS)
    known, waiting = np.where(np.isfinite(past.known), past.known, 0).max(axis=(1, 2)), list[tuple[int, Array]]()
    made: list[list[Array]] = [[], []]
    for k in range(LEAST_DAYS, len(past.issue)):
        issue = int(past.issue[k])
        for done, issued in [w for w in waiting if known[w[0]] <= issue]:
            sums.learn(issued, float(y[done].sum()))
        waiting = [w for w in waiting if known[w[0]] > issue]
        uniform = copula(Dependence.of(past.at(issue, past.lead)), CANDIDATES, len(past.lead), issue)
        together = sums.chosen(from_quantiles(uniform, quantiles[k], LEVELS, *bounds), COUNT)
        waiting.append((k, sums.quantiles(together)))
        if issue + past.lead[0] >= begin:
            white = ndtr(np.random.default_rng(issue).standard_normal(together.shape))
            made[0].append(together)
            made[1].append(from_quantiles(white, quantiles[k], LEVELS, *bounds))
    if not made[0]:
        day = np.datetime64(begin, "m").astype("M8[D]")
        raise BadSet(f"no day from {day} on has {LEAST_DAYS} forecast days before it")
    return Made(y[-len(made[0]) :], np.stack(made[0]), np.stack(made[1]))


def _arranged(parts: Sequence[tuple[Cases, Array]], issue: Index, lead: Index) -> tuple[Array, Array]:
    """Quantiles (N, S, L, T) and outcomes (N, S, T) by issue and lead."""
    shape = (len(issue), len(parts), len(lead))
    quantiles, y = np.full((*shape, len(LEVELS)), np.nan), np.full(shape, np.nan)
    for i, (cases, q) in enumerate(parts):
        at = np.searchsorted(issue, cases.issue), i, np.searchsorted(lead, cases.lead)
        y[at], quantiles[at] = cases.y, q.T
    return np.moveaxis(quantiles, -1, 2), y


def score(y: Array, together: Array, apart: Array) -> dict[str, Any]:
    """Scores over the days (D, ...) that came whole; the last axis is the step."""
    flat = [v.reshape(*v.shape[:lead], -1) for v, lead in ((y, 1), (together, 2), (apart, 2))]
    whole = np.flatnonzero(np.isfinite(flat[0]).all(axis=1) & np.isfinite(flat[1]).all(axis=(1, 2)))
    if not len(whole):
        return {"n_days": 0}
    mean = [float(np.mean([energy_score(x[d], flat[0][d]) for d in whole])) for x in flat[1:]]
    return {
        "energy_score": round(mean[0], 5), "energy_score_independent": round(mean[1], 5),
        "gain_pct": round(100 * (1 - mean[0] / mean[1]), 2),
        "daily_energy_coverage": banded(flat[0][whole].sum(axis=1), flat[1][whole].sum(axis=2)),
        "n_days": len(whole),
    }  # fmt: skip


def banded(y: Array, x: Array) -> dict[str, float]:
    """Share in per cent of outcomes `y` (D,) inside the central bands of samples `x` (D, K)."""
    rank = ((x < y[:, None]).sum(axis=1) + 0.5 * (x == y[:, None]).sum(axis=1) + 0.5) / (x.shape[1] + 1)
    return {b: round(100 * float(np.mean(np.abs(rank - 0.5) < share / 2)), 2) for b, share in BANDS.items()}


def summed(made: Made) -> dict[str, Any]:
    """Scores of the sum over series, and how often its single steps lay in their bands, where they were uncertain."""
    y, together, apart = made.y.sum(axis=1), made.together.sum(axis=2), made.apart.sum(axis=2)
    step = np.isfinite(y) & np.isfinite(together).all(axis=1)
    step &= np.ptp(np.where(step[:, None], together, 0.0), axis=1) > 0
    x = np.moveaxis(together, 1, -1)[step]
    return {**score(y, together, apart), "step_coverage": banded(y[step], x) if len(x) else {}}


def reduction(together: Array, kept: int) -> dict[str, Any]:
    """How far `kept` scenarios stand for all of each day (D, K, S, T): selected and weighted, and taken at random."""
    whole = [x for x in together if np.isfinite(x).all()]
    selected = [reduced(x, kept).distance for x in whole]
    taken = [np.random.default_rng(d).choice(len(x), kept, replace=False) for d, x in enumerate(whole)]
    random = [float(distances(x)[:, few].min(axis=1).mean()) for x, few in zip(whole, taken, strict=True)]
    if not whole:
        return {}
    means = {"distance": float(np.mean(selected)), "distance_random": float(np.mean(random))}
    return {"kept": kept, **{name: round(mean, 5) for name, mean in means.items()}}


def mean_of(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Scores over all days of all series."""
    n = [p["n_days"] for p in parts]
    held = [p for p in parts if p["n_days"]]
    if not held:
        raise BadSet("no day of any series came whole")
    weight = [p["n_days"] for p in held]
    scores = {
        k: float(np.average([p[k] for p in held], weights=weight)) for k in ("energy_score", "energy_score_independent")
    }
    return {
        **{k: round(v, 5) for k, v in scores.items()},
        "gain_pct": round(100 * (1 - scores["energy_score"] / scores["energy_score_independent"]), 2),
        "daily_energy_coverage": {
            b: round(float(np.average([p["daily_energy_coverage"][b] for p in held], weights=weight)), 2) for b in BANDS
        },
        "n_days": sum(n),
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """One run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=list(UPPER))
    parser.add_argument("--data", type=Path, required=True, help="folder with the layout of the benchmark data")
    parser.add_argument("--from", dest="first", type=date.fromisoformat, required=True, help="first day")
    parser.add_argument("--to", dest="last", type=date.fromisoformat, required=True, help="last day")
    given = parser.parse_args(arguments)
    if wrong := span_refusal(given.data, given.first, given.last):
        parser.error(wrong)
    before = time.perf_counter()
    parts = forecasts(given.set, given.data, given.first, given.last)
    made = scenarios(given.set, parts, int(np.datetime64(given.first, "m").astype(np.int64)))
    each = [score(made.y[:, i], made.together[:, :, i], made.apart[:, :, i]) for i in range(len(parts))]
    many = len(parts) > 1
    return {
        "set": given.set, "from": given.first.isoformat(), "to": given.last.isoformat(), **mean_of(each),
        "series": each if many else [], "joint": score(made.y, made.together, made.apart) if many else {},
        "total": summed(made) if many else {}, "scenarios": COUNT,
        "reduced": reduction(made.together, KEPT),
        "wall_s": round(time.perf_counter() - before, 2),
    }  # fmt: skip


if __name__ == "__main__":
    told(__file__, main)
