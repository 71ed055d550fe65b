"""The forecasts of the page: fan, calibration and scores say what the forecaster and the meters said."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import pytest

from tests.service.api_world import NOW, World
from vpp.domain.command import MeterRow
from vpp.domain.forecast import LEVELS, Forecast, History
from vpp.domain.forecast_score import SeriesScore
from vpp.domain.time import QUARTER, TimeGrid
from vpp.service.forecast_scores import ScoreKeeper
from vpp.service.page import charts
from vpp.service.page.forecast_chart import fan_chart, pooled, reliability_chart
from vpp.service.page.forecast_panel import worst_first
from vpp.service.page.forecast_view import ForecastView, view_of
from vpp.service.page.lines import scores_line
from vpp.service.page.snapshot import Snapshot, collect
from vpp.service.page.words import words
from vpp.service.report_forecasts import HEAD, score_rows, scores_plot
from vpp.service.report_html import _grid, png

SAY = words("en")
UNTIL = datetime(2016, 7, 11, tzinfo=UTC)
WAIT_S = 120.0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("forecasts"))
    yield world
    world.store.close()


@pytest.fixture(scope="module")
def shown(served: World) -> Snapshot:
    """What a look shows when the record is whole: the first one asks for the scores."""
    api = served.app.state.api
    assert collect(api).scores is None
    settle(api.scores)
    served.system.forecaster.track_record(served.system.history(NOW))
    served.now = NOW + QUARTER
    collect(api)
    settle(api.scores)
    served.now = NOW
    return collect(api)


def settle(keeper: ScoreKeeper) -> None:
    assert keeper.worker is not None
    keeper.worker.join(WAIT_S)
    assert not keeper.worker.is_alive()


def made_score(name: str, loss: float, **changes: Any) -> SeriesScore:
    coverage = {"50": 0.4, "80": 0.7, "90": 0.8}
    score = SeriesScore(name, "blend", loss, 2.0, coverage, 100, False, UNTIL, {a: a / 2 for a in LEVELS})
    return replace(score, **changes)


def made_view(low: float = 0.0) -> ForecastView:
    grid = TimeGrid.uniform(NOW, QUARTER, 4)
    quantiles = np.array([low + np.arange(9.0)[:, None] + np.zeros(4), np.zeros((9, 4))])
    forecast = Forecast(NOW, grid, ("a", "b"), LEVELS, quantiles, np.empty((0, 2, 4)), ("blend", "naive"))
    before = TimeGrid.uniform(NOW - 2 * QUARTER, QUARTER, 3)
    return ForecastView(forecast, before, np.array([[1.0, np.nan, 3.0], [0.0, 0.0, 0.0]]))


@pytest.mark.parametrize("low", [0.0, -4.0])
def test_the_layers_of_the_fan_end_at_the_quantiles(low: float) -> None:
    options = fan_chart(made_view(low), "a", NOW, "Europe/Berlin", SAY)
    layers = [s for s in options["series"] if s.get("stack") == "fan"]
    tops = np.cumsum([s["data"][0][1] for s in layers])
    assert tops.tolist() == [low + k for k in (0, 1, 2, 6, 7, 8)], "the levels that bound 90, 80 and 50 %"
    assert [s["name"] for s in layers] == ["", "90 %", "80 %", "50 %", "80 %", "90 %"]
    assert all(s["stackStrategy"] == "all" for s in layers), "negative values stack too"
    shades = [s["areaStyle"]["opacity"] for s in layers[1:]]
    assert "areaStyle" not in layers[0] and shades == shades[::-1] and shades[0] < shades[1] < shades[2]
    assert options["legend"]["data"] == ["90 %", "80 %", "50 %", "Median", "Measured"]


def test_median_and_measured_values_are_drawn_at_their_times_with_gaps() -> None:
    drawn = {s["name"]: s for s in fan_chart(made_view(), "a", NOW, "Europe/Berlin", SAY)["series"]}
    at = charts.wall_ms(NOW, "Europe/Berlin")
    assert drawn["Median"]["data"][0] == [at, 4.0]
    assert [v for _, v in drawn["Measured"]["data"]] == [1.0, None, 3.0, 3.0]
    assert drawn["Measured"]["data"][0][0] == at - 30 * 60 * 1000
    assert drawn["Measured"]["markLine"]["data"] == [{"xAxis": at}]


def test_what_was_measured_ends_where_knowledge_ends(served: World) -> None:
    system, name = served.system, served.system.book.ids[0]
    forecast = system.forecaster.forecast(system.history(NOW), TimeGrid.uniform(NOW, QUARTER, 8), 1)
    assert view_of(system, None, NOW) is None
    later = NOW + 3 * QUARTER
    view = view_of(system, forecast, later)
    assert view is not None and view.grid.end == later
    row = forecast.index[name]
    assert np.isnan(view.measured[row, -3:]).all() and np.isfinite(view.measured[row, :40]).all()
    system.book.append([MeterRow(f"series:{name}", NOW, 15, 0.25, NOW + QUARTER)])
    again = view_of(system, forecast, later)
    assert again is not None and again.measured[row, -3] == 0.25
    early = view_of(system, forecast, NOW)
    assert early is not None and early.grid.end == NOW, "not before its time"


def test_the_reliability_lies_below_the_diagonal_where_quantiles_are_too_low() -> None:
    scores = [made_score("a", 1.0), made_score("b", 1.0, reliability=dict.fromkeys(LEVELS, 1.0))]
    options = reliability_chart(scores, "a", SAY)
    assert options is not None
    ideal, own, every = options["series"]
    assert ideal["data"] == [[0, 0], [100, 100]]
    assert own["name"] == "a" and own["data"][0] == [5.0, 2.5] and all(y < x for x, y in own["data"])
    assert every["data"][0] == [5.0, 51.2], "the mean of both, rounded"
    assert pooled(scores)[0.5] == pytest.approx((0.25 + 1.0) / 2)


def test_without_outcomes_there_is_no_reliability() -> None:
    assert reliability_chart([], "a", SAY) is None
    assert reliability_chart([made_score("a", 1.0, reliability={})], "a", SAY) is None
    options = reliability_chart([made_score("b", 1.0)], "a", SAY)
    assert options is not None and [s["name"] for s in options["series"]] == [SAY("ideal"), SAY("all_series")]


def test_the_worst_series_come_first() -> None:
    scores = (made_score("a", 1.0), made_score("b", 3.0), made_score("c", 0.0, pinball_naive=0.0))
    assert [s.series for s in worst_first(scores)] == ["b", "a", "c"]
    assert [s.skill for s in worst_first(scores)] == [pytest.approx(-0.5), pytest.approx(0.5), None]


def test_the_sentence_counts_series_and_outcomes(shown: Snapshot) -> None:
    wide = {"50": 1.0, "80": 1.0, "90": 1.0}
    scores = (made_score("a", 1.0), made_score("b", 3.0, n=300, coverage=wide))
    line = scores_line(replace(shown, scores=scores), SAY)
    assert line == (
        "Better than the naive in 1 of 2 series. The 50, 80 and 90 % bands held 85, 92 and 95 % of 400 outcomes."
    )
    assert scores_line(replace(shown, scores=None), SAY) == SAY("no_scores")
    assert scores_line(replace(shown, scores=()), SAY) == SAY("no_scores")


def test_the_snapshot_has_forecast_and_scores_of_every_series(served: World, shown: Snapshot) -> None:
    assert shown.fan is not None and set(shown.fan.forecast.series) == set(served.system.book.ids)
    earlier = shown.earlier_fan
    assert earlier is not None and earlier.forecast.issued_at < NOW < earlier.forecast.grid.end
    assert np.isfinite(earlier.measured).any(axis=1).all(), "outcomes over the forecast of a day ago"
    assert shown.scores is not None and {s.series for s in shown.scores} == set(served.system.book.ids)
    assert {s.source for s in shown.scores} == {"naive"} and {s.skill for s in shown.scores} <= {0.0, None}
    assert all(s.n > 0 and 0.0 <= s.coverage["50"] <= s.coverage["90"] <= 1.0 for s in shown.scores)


def test_the_report_tells_the_same_in_a_table_and_a_plot() -> None:
    scores = [made_score("a", 1.0), made_score("b", 1.0, reliability={}), made_score("c", 1.0, pinball_naive=0.0)]
    assert score_rows(scores)["a"] == ("1", "2", "50.0", "40.0", "70.0", "80.0", "100", "blend")
    assert score_rows(scores)["c"][2] == "–" and all(len(row) == len(HEAD) for row in score_rows(scores).values())
    table = _grid(HEAD, {"<a>": score_rows(scores)["a"]})
    assert table.count("<th>") == len(HEAD) + 2 and table.count("<td>") == len(HEAD) and "&lt;a&gt;" in table
    figure = scores_plot(scores)
    left, right = figure.axes
    ideal, *each, mean = left.lines
    assert len(each) == 2 and np.array_equal(np.asarray(ideal.get_xdata()), np.asarray(ideal.get_ydata()))
    assert np.asarray(mean.get_ydata()) == pytest.approx([50 * a for a in LEVELS])
    assert list(cast(Any, right.containers[0]).datavalues) == pytest.approx([50.0, 50.0]), "series with a skill"
    assert png(figure).startswith(b"\x89PNG")
    assert [line.get_label() for line in scores_plot([]).axes[0].lines] == ["calibrated"]


class Slow:
    """A forecaster whose record takes as long as `gate` is shut."""

    def __init__(self, error: Exception | None = None) -> None:
        self.gate, self.error, self.asked = threading.Event(), error, list[datetime]()

    def track_record(self, history: History, most: int | None = None) -> tuple[SeriesScore, ...]:
        assert most is not None
        self.asked.append(history.issued_at)
        assert self.gate.wait(WAIT_S)
        if self.error is not None:
            raise self.error
        return (made_score("a", float(len(self.asked))),)

    def past_forecast(self, now: datetime) -> Forecast | None:
        return made_view().forecast


def test_nobody_waits_for_scores_and_they_are_renewed_once_a_quarter(served: World) -> None:
    slow, keeper = Slow(), ScoreKeeper()
    system = replace(served.system, forecaster=cast(Any, slow))
    assert [keeper.latest(system, NOW) for _ in range(3)] == [None] * 3, "while the gate is shut"
    slow.gate.set()
    settle(keeper)
    first = keeper.latest(system, NOW + QUARTER / 2)
    assert first is not None and slow.asked == [NOW], "asked once, with what the quarter's start knew"
    slow.gate.clear()
    assert keeper.latest(system, NOW + QUARTER) == first, "the last ones while new ones are computed"
    slow.gate.set()
    settle(keeper)
    assert slow.asked == [NOW, NOW + QUARTER]
    assert keeper.latest(system, NOW + QUARTER) == (made_score("a", 2.0),)


def test_a_failure_leaves_the_last_scores_and_the_next_quarter_tries_again(
    served: World, caplog: pytest.LogCaptureFixture
) -> None:
    slow, keeper = Slow(), ScoreKeeper()
    slow.gate.set()
    system = replace(served.system, forecaster=cast(Any, slow))
    keeper.latest(system, NOW)
    settle(keeper)
    slow.error = ValueError("no")
    keeper.latest(system, NOW + QUARTER)
    settle(keeper)
    assert keeper.latest(system, NOW + QUARTER) == (made_score("a", 1.0),)
    assert "could not be scored" in caplog.text
    slow.error = None
    keeper.latest(system, NOW + 2 * QUARTER)
    settle(keeper)
    assert keeper.latest(system, NOW + 2 * QUARTER) == (made_score("a", 3.0),)
