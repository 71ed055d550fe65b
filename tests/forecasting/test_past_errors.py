"""What joint scenarios learn of past errors: the right ones, none of them too early, and of their sums."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri

from forecasting.calendar import PER_DAY, Calendar
from forecasting.cases import Cases
from forecasting.fitted import Bounds
from forecasting.joint_forecast import Marginals, drawn, sum_offset
from forecasting.losses import energy_score
from forecasting.panel import Panel
from forecasting.past_errors import PastErrors, along_targets, side_by_side
from forecasting.past_scores import DAY, PastScores, joint, normal_score
from forecasting.pipeline import Pipeline
from forecasting.scenarios import PRIOR_DAYS, Dependence, copula
from forecasting.sums import SumCalibration
from forecasting.training import rows_of, telling
from forecasting.trial import Trial
from tests.forecasting.made import history, series
from vpp.domain.forecast import LEVELS
from vpp.domain.learnt import TrialScore
from vpp.domain.time import QUARTER, Array, TimeGrid

NORMAL = ndtri(np.asarray(LEVELS))
NEAR, FAR = np.arange(0, 360, 15), np.arange(840, 840 + DAY, 15)
GATE = 600


def scores(issue: list[int], lead: Array, value: float) -> PastScores:
    """Scores that tell their issue and target: `value` plus the target, and the issue as its fraction."""
    target = np.array(issue)[:, None] + lead
    told = value + target + np.array(issue)[:, None] / 1e6
    return PastScores(np.array(issue), lead, told[:, None, :], (target + 15.0)[:, None, :])


@pytest.fixture
def errors() -> PastErrors:
    near = {"a": scores([180 * k for k in range(8 * 6)], NEAR, 0.0)}
    far = {n: scores([DAY * d + GATE for d in range(6)], FAR, v) for n, v in (("a", 0.0), ("b", 1e7))}
    return PastErrors.of(["b", "a"], near, far)


def test_near_steps_are_read_by_lead_and_far_ones_by_clock(errors: PastErrors) -> None:
    now = 5 * DAY + 700
    target = now // 15 * 15 + np.arange(0, 96 * 15, 15)
    now = int(target[0])
    past = errors.before(now, target)
    own = past[:, 1]
    issue = np.round(np.nan_to_num(own % 1) * 1e6).astype(int)
    assert own[-1, :24].astype(int).tolist() == (now - DAY - (now - DAY) % 180 + 180 + NEAR).tolist()
    assert (np.abs(issue[-1, :24] - (now - DAY)) <= 90).all()
    seen = np.isfinite(own[-2, 24:])
    assert own[-2, 24:][seen].astype(int).tolist() == (target[24:] - 2 * DAY)[seen].tolist()
    assert set((issue[-2, 24:][seen] % DAY).tolist()) == {GATE}
    assert np.isfinite(past[-2, 0]).all()


def test_no_score_counts_before_its_outcome_was_known(errors: PastErrors) -> None:
    for now in range(DAY, 5 * DAY, 705):
        past = errors.before(now, now + np.arange(0, 152 * 15, 15))
        told = past[np.isfinite(past)] % 1e7
        assert (told.astype(int) + 15 <= now).all()
    assert len(errors.before(0, np.arange(0, DAY, 15))) == 0


def test_a_series_without_scores_keeps_its_usual_dependence() -> None:
    rng = np.random.default_rng(1)
    past = rng.standard_normal((40, 3, 1)) + 0.1 * rng.standard_normal((40, 3, 6))
    past = past / np.sqrt((past**2).mean(axis=0))
    past[:, 2] = np.nan
    usual = Dependence(np.array([[1.0, 0.0, 0.3], [0.0, 1.0, 0.6], [0.3, 0.6, 1.0]]), np.array([0.5, 0.5, 0.7]))
    made = Dependence.of(past, usual)
    np.testing.assert_allclose(made.correlation[2, :2], [0.3, 0.6], atol=0.02)
    np.testing.assert_array_equal(made.persistence, usual.persistence)
    z = ndtri(copula(made, 4000, 6, 1))
    assert abs(np.corrcoef(z[:, 2, 0], z[:, 2, 1])[0, 1] - 0.7) < 0.04
    assert np.corrcoef(z[:, 0, 0], z[:, 0, 5])[0, 1] > 0.8


@pytest.mark.parametrize(("spread", "persistence", "share"), [(1.0, 0.5, 1.0), (0.7, 0.9, 0.0), (1.0, 0.999, 0.0)])
def test_a_series_takes_of_the_past_what_its_means_bear_out(spread: float, persistence: float, share: float) -> None:
    """Half of a day's error is common: more than a low persistence says, less than a high one."""
    rng = np.random.default_rng(2)
    past = spread * (np.sqrt(0.5) * rng.standard_normal((400, 1, 1)) + np.sqrt(0.5) * rng.standard_normal((400, 1, 40)))
    made = Dependence.of(past, Dependence(np.eye(1), np.array([persistence])))
    assert made.share is not None
    assert made.share[0] == pytest.approx(share, abs=0.1)


def test_errors_of_a_day_ahead_are_those_of_the_gate_for_the_day_sold_there() -> None:
    days = Calendar("UTC").days(0, 4 * PER_DAY)
    issue, target = rows_of("day_ahead", days, 0, 4 * PER_DAY)
    told = telling("day_ahead", days, issue, target)
    assert set(issue.tolist()) == {40, 88, 136, 184, 232, 280, 328, 376}
    wanted = [(40 + d * PER_DAY, t) for d in range(3) for t in range((d + 1) * PER_DAY, (d + 2) * PER_DAY)]
    assert list(zip(issue[told].tolist(), target[told].tolist(), strict=True)) == wanted
    assert telling("intraday", days, *rows_of("intraday", days, 0, PER_DAY)).all()


def test_a_series_is_drawn_by_its_share_of_the_past() -> None:
    """Of scores that are one a day: all of a day's steps alike with a share of 1, an autoregression with one of 0."""
    rng = np.random.default_rng(4)
    past = np.repeat(rng.standard_normal((200, 3, 1)), 12, axis=2)
    of = Dependence(np.eye(3), np.full(3, 0.5), past)
    weight = len(past) / (len(past) + PRIOR_DAYS)
    for share in (None, np.array([1.0, 0.5, 0.0])):
        z = ndtri(copula(replace(of, share=share), 20_000, 12, 3))
        apart = [np.corrcoef(z[:, s, 0], z[:, s, 11])[0, 1] for s in range(3)]
        told = np.ones(3) if share is None else share
        np.testing.assert_allclose(apart, weight * told + (1 - weight * told) * 0.5**11, atol=0.03)
        assert np.abs(z.std(axis=0) - 1).max() < 0.03


def test_the_latest_forecast_of_a_target_counts_and_gaps_do_not() -> None:
    early, late = scores([0, 60], np.array([60, 75, 120]), 0.0), None
    late = early.scores.copy()
    late[1, 0, 0] = np.nan
    made = along_targets(replace(early, scores=late))
    assert made.first == 60
    told = np.round((made.scores[0] % 1) * 1e6)
    assert told[4] == 0
    assert np.isnan(made.scores[0, 2])
    assert (told[5], told[8]) == (60, 60)
    assert side_by_side(["a"], {}) is None
    assert PastErrors.of(["a"], {}, {}).before(0, np.arange(3)).shape[0] == 0


def trial(y: Array, width: float) -> Trial:
    """Forecasts of a standard normal whose quantiles are `width` times too wide, of days (D, T)."""
    days, steps = y.shape
    issue, lead = np.repeat(np.arange(days) * DAY + GATE, steps), np.tile(FAR[:steps], days)
    cases = Cases(issue, issue + lead, issue + lead + 15, y.ravel(), np.zeros((y.size, 1)), ("none",))
    quantiles = np.repeat(width * NORMAL[:, None], y.size, axis=1)
    score = normal_score(quantiles, cases.y, LEVELS, -np.inf, np.inf)
    return Trial(TrialScore(1.0, 1.0, {}, y.size), cases, quantiles, joint([cases], [score]))


@pytest.mark.parametrize(("width", "sign"), [(0.4, 1), (2.5, -1)])
def test_a_sum_that_was_too_narrow_is_widened(width: float, sign: int) -> None:
    rng = np.random.default_rng(3)
    common = rng.standard_normal((60, 1))
    trials = {n: trial(common + 0.1 * rng.standard_normal((60, 8)), width) for n in "ab"}
    bounds = {n: Bounds() for n in "ab"}
    values = np.cumsum(rng.standard_normal((2, 70 * 96)), axis=1)
    end, none = np.full(2, 70 * 96), np.zeros(2, dtype=np.int64)
    panel = Panel(("a", "b"), 0, values, end, none, np.full(2, -np.inf), np.full(2, np.inf))
    offset = sum_offset(trials, bounds, {"a": -1.0, "b": -2.0, "other": 1.0}, panel, Calendar("UTC"))
    assert sign * offset[-1] > 0.1
    assert sign * offset[0] < -0.1
    assert sum_offset(trials, bounds, {"other": 1.0}, panel, Calendar("UTC")).tolist() == [0.0] * len(LEVELS)


@pytest.mark.parametrize("days", [20, 40])
def test_a_day_of_the_trial_is_drawn_by_what_its_gate_knew(days: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes, scores and values after a gate change no scenario of it: not what sums learn, not the dependence."""
    gate = days * DAY + GATE

    def scenarios(sign: int) -> dict[int, Array]:
        """Those of every gate, where what is not known at `gate` comes high or low."""
        rng, later, made = np.random.default_rng(3), np.random.default_rng(4 + sign), {}
        y = rng.standard_normal((60, 1)) + 0.3 * rng.standard_normal((2, 60, PER_DAY))
        known = np.arange(60)[:, None] * DAY + GATE + FAR + 15
        y = np.where(known <= gate, y, 9 * sign + later.standard_normal(y.shape))
        values = np.cumsum(rng.standard_normal((2, 70 * PER_DAY)), axis=1)
        values[:, gate // 15 :] = later.standard_normal((2, 1)) + later.standard_normal(values[:, gate // 15 :].shape)

        def noted(*of: Any) -> Array:
            made[of[-1]] = drawn(*of)
            return made[of[-1]]

        monkeypatch.setattr("forecasting.joint_forecast.drawn", noted)
        end, none = np.full(2, 70 * PER_DAY), np.zeros(2, dtype=np.int64)
        panel = Panel(("a", "b"), 0, values, end, none, np.full(2, -np.inf), np.full(2, np.inf))
        trials = {name: trial(one, 0.4) for name, one in zip("ab", y, strict=True)}
        sum_offset(trials, dict.fromkeys("ab", Bounds()), {"a": 1.0, "b": 1.0}, panel, Calendar("UTC"))
        return made

    one, other = scenarios(1), scenarios(-1)
    by_then = [issue for issue in one if issue <= gate]
    assert len(by_then) > 10
    assert by_then[-1] == gate
    for issue in by_then:
        np.testing.assert_array_equal(one[issue], other[issue])
    assert all((one[issue] != other[issue]).any() for issue in one.keys() - by_then)


def test_the_drawn_sum_is_spread_as_its_offset_says() -> None:
    rng = np.random.default_rng(5)
    past = rng.standard_normal((60, 2, 1)) + 0.3 * rng.standard_normal((60, 2, 10))
    of = Marginals(np.tile(NORMAL[None, :, None], (2, 1, 10)), np.full(2, -np.inf), np.full(2, np.inf))
    spread = {}
    for move in (-0.3, 0.0, 0.3):
        sums = SumCalibration(LEVELS, np.array([1.0, -1.0]))
        sums.offset = move * np.sign(NORMAL)
        made = drawn(Dependence.of(past), of, sums, np.arange(10), 300, 7)
        assert made.shape == (300, 2, 10)
        spread[move] = np.diff(np.quantile(sums.sums(made), (0.05, 0.95)))[0]
    assert spread[-0.3] < 0.9 * spread[0.0] < 0.9 * 0.95 * spread[0.3]
    assert drawn(Dependence.of(past), of, sums, np.arange(10), 0, 7).shape == (0, 2, 10)


def test_the_pipeline_draws_errors_that_come_together() -> None:
    """The two loads of `made` share what nobody can forecast: their sum is wider than that of independent draws."""
    twins = {n: series()[n] for n in ("load:a", "load:b")}
    weight = dict.fromkeys(twins, -1.0)
    pipeline = Pipeline(weight=weight, workers=1)
    pipeline.train_day_ahead(history(60, of=twins))
    better = []
    for day in range(62, 76):
        past = history(day, of=twins)
        made = pipeline.forecast(past, TimeGrid.uniform(past.issued_at, QUARTER, 152), 100)
        first = (made.grid.starts[56] - twins["load:a"].start) // QUARTER
        y = np.array([s.values[first : first + 96] for s in twins.values()])
        x = made.scenarios[:, :, 56:]
        shuffled = np.random.default_rng(day).permuted(x, axis=0)
        better.append((energy_score(x, y), energy_score(shuffled, y)))
        assert np.std(x.sum(axis=(1, 2))) > 2 * np.std(shuffled.sum(axis=(1, 2)))
    together, apart = np.mean(better, axis=0)
    assert together < apart
