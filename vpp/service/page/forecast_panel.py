"""The forecasts of the page: one series' fan, how reliable its quantiles are, and every series' score."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from nicegui import ui

from vpp.domain.forecast_score import SeriesScore
from vpp.service.page import forecast_chart as charts
from vpp.service.page.lines import scores_line
from vpp.service.page.panel import FULL, ChartBox
from vpp.service.page.snapshot import Snapshot
from vpp.service.page.words import Words

BANDS = ("50", "80", "90")
TEXTS = ("series", "source", "until", "drifted")
COLUMNS = ("series", "loss", "loss_naive", "skill", *BANDS, "n", "source", "until", "drifted")
ROWS_A_PAGE = 10
LAST, EARLIER = "last", "earlier"


class ForecastPanel:
    """Shows the last forecast of the first series until another is chosen; the earlier one has outcomes over it."""

    def __init__(self, say: Words, local: Callable[[datetime], str]) -> None:
        self.say, self.local = say, local
        self.shown: Snapshot | None = None

    def build(self) -> None:
        """Choice, charts, sentence and table."""
        say = self.say
        with ui.grid(columns=2).classes("gap-x-8").style(FULL):
            with ui.column().classes("gap-2").style(FULL):
                self.fan = ChartBox(say("fan_title"), 320, say("no_forecast"))
                with ui.row().classes("items-center").style(FULL):
                    self.choice = ui.select([], label=say("series"), with_input=True, on_change=self._draw)
                    self.choice.props("dense options-dense").style("min-width: 240px")
                    which = {name: say(f"{name}_forecast") for name in (LAST, EARLIER)}
                    self.which = ui.toggle(which, value=LAST, on_change=self._draw).props("dense no-caps flat")
                    self.issued = ui.label("").style("color: #666")
            with ui.column().classes("gap-2").style(FULL):
                self.reliability = ChartBox(say("reliability_title"), 320, say("no_scores"))
        ui.label(say("scores_title")).classes("text-lg")
        self.line = ui.label("").style("color: #666")
        columns = [
            {"name": c, "field": c, "label": say("band_of", share=c) if c in BANDS else say(c),
             "align": "left" if c in TEXTS else "right"}
            for c in COLUMNS
        ]  # fmt: skip
        table = ui.table(columns=columns, rows=[], row_key="series", pagination=ROWS_A_PAGE)
        self.table = table.props("dense flat hide-no-data").style(FULL)

    def show(self, s: Snapshot) -> None:
        """Put one reading on the panel."""
        self.shown = s
        names = list(s.fan.forecast.series) if s.fan else []
        if self.choice.options != names:
            kept = self.choice.value if self.choice.value in names else next(iter(names), None)
            self.choice.set_options(names, value=kept)
        self.line.text = scores_line(s, self.say)
        rows = [self._row(score) for score in worst_first(s.scores or ())]
        if self.table.rows != rows:
            self.table.rows = rows
        self._draw()

    def _draw(self) -> None:
        s, series = self.shown, self.choice.value
        if s is None or series is None:
            self.fan.draw(None)
            self.reliability.draw(None)
            return
        view = s.earlier_fan if self.which.value == EARLIER else s.fan
        there = view is not None and series in view.forecast.index
        self.issued.text = self.say("issued_at", at=self.local(view.forecast.issued_at)) if view and there else ""
        self.fan.draw(charts.fan_chart(view, series, s.now, s.zone, self.say) if view and there else None)
        self.reliability.draw(charts.reliability_chart(s.scores or (), series, self.say))

    def _row(self, score: SeriesScore) -> dict[str, Any]:
        skill, until = score.skill, score.trained_until
        return {
            "series": score.series, "loss": f"{score.pinball:.4g}", "loss_naive": f"{score.pinball_naive:.4g}",
            "skill": "–" if skill is None else f"{100 * skill:.1f}",
            **{band: f"{100 * score.coverage[band]:.1f}" for band in BANDS}, "n": score.n,
            "source": " + ".join(self.say(f"source_{part}") for part in score.source.split("+")),
            "until": self.local(until) if until else "–",
            "drifted": self.say("yes") if score.drifted else self.say("no"),
        }  # fmt: skip


def worst_first(scores: tuple[SeriesScore, ...]) -> list[SeriesScore]:
    """By rising skill; series without one last."""
    return sorted(scores, key=lambda s: (s.skill is None, s.skill or 0.0, s.series))
