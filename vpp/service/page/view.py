"""The page's elements. It is built empty and filled by a timer, so that it never waits for the loop."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from nicegui import run, ui

from dispatch.registry import KINDS
from vpp.domain.portfolio import Asset, AssetState
from vpp.service.api.context import Api
from vpp.service.page import charts, lines
from vpp.service.page.forecast_panel import ForecastPanel
from vpp.service.page.network_panel import NetworkPanel
from vpp.service.page.panel import FULL, ChartBox
from vpp.service.page.snapshot import Snapshot, collect
from vpp.service.page.words import other, words

log = logging.getLogger(__name__)
REFRESH_S = 5.0
FORM = """
<form method="post" action="/session" style="display:flex;gap:8px;align-items:center">
  <label for="token">{label}</label>
  <input id="token" name="token" type="password" autocomplete="off" size="48" autofocus
         style="border:1px solid #999;padding:6px">
  <button type="submit" style="border:1px solid #999;padding:6px 14px">{button}</button>
</form>
"""


def build_sign_in(language: str, wrong: bool) -> None:
    """A plain form."""
    say = words(language)
    with ui.column().classes("mx-auto mt-24 gap-4"):
        ui.label(say("title")).classes("text-2xl")
        ui.html(FORM.format(label=say("api_key"), button=say("sign_in")), sanitize=False)
        if wrong:
            ui.label(say("wrong_key")).style(f"color: {charts.RED}")
        ui.link(say("other_language"), f"?lang={other(language)}")


class Page:
    """One browser's page."""

    def __init__(self, api: Api, language: str) -> None:
        self.api, self.language, self.say = api, language, words(language)
        self.busy = False
        self.charts: dict[str, ChartBox] = {}
        self.tables: dict[str, Any] = {}
        self.labels: dict[str, Any] = {}
        self.network = NetworkPanel(self.say, self._time)
        self.forecasts = ForecastPanel(self.say, self._time)

    def build(self) -> None:
        """All elements, and the timer that fills them."""
        self._head()
        self._chart("plan", 300)
        with ui.grid(columns=2).classes("gap-x-8").style(FULL):
            for name in ("price", "stores"):
                with self._cell():
                    self._chart(name, 300)
            with self._cell():
                self.network.build()
            with self._cell():
                self._chart("event", 270)
                self._label("event")
                self.network.build_bars()
        self.forecasts.build()
        self._table("runs", ("stage", "issued", "level", "certificate", "released", "reason"))
        self._label("commands")
        self._table("alarms", ("last", "count", "message"))
        self._table("states", ("asset", "kind", "power", "stored", "on", "available"))
        ui.timer(REFRESH_S, self.refresh)

    def _head(self) -> None:
        with ui.row().classes("items-center justify-between").style(FULL):
            ui.label(f"{self.say('title')}: {self.api.system.portfolio.name}").classes("text-xl")
            self._label("clock")
            with ui.row():
                ui.link(self.say("to_desk"), "/desk")
                ui.link(self.say("other_language"), f"?lang={other(self.language)}")
                ui.link(self.say("sign_out"), "/sign-out")
        with ui.column().classes("gap-1").style(FULL):
            self._label("plan").text = self.say("reading")
            self._label("forecast")
            self._label("failed").style(f"color: {charts.RED}")

    def _cell(self) -> Any:
        return ui.column().classes("gap-2").style(FULL)

    def _label(self, name: str) -> Any:
        self.labels[name] = ui.label("")
        return self.labels[name]

    def _chart(self, name: str, height_px: int) -> None:
        self.charts[name] = ChartBox(self.say(f"{name}_title"), height_px, self.say(f"no_{name}"))

    def _table(self, name: str, columns: Sequence[str]) -> None:
        ui.label(self.say(f"{name}_title")).classes("text-lg")
        numbers = ("power", "stored", "count")
        spec = [
            {"name": c, "label": self.say(c), "field": c, "align": "right" if c in numbers else "left"} for c in columns
        ]
        table = ui.table(columns=spec, rows=[], row_key="key").props("dense flat hide-no-data")
        self.tables[name] = table.style(FULL)
        self._label(f"no_{name}").style("color: #666")

    async def refresh(self) -> None:
        """Read in a thread, then redraw; skipped while the last reading still waits."""
        if self.busy:
            return
        self.busy = True
        try:
            found = await run.io_bound(collect, self.api)
        except Exception:
            log.exception("the page could not be read")
            self.labels["failed"].text = self.say("reading_failed")
            return
        finally:
            self.busy = False
        if found is not None:
            self.labels["failed"].text = ""
            self.show(found)

    def show(self, s: Snapshot) -> None:
        """Put one reading on the page."""
        say = self.say
        self.labels["clock"].text = f"{say('clock')}: {self._time(s.now)} ({s.zone})"
        self.labels["plan"].text = lines.plan_line(s, say)
        self.labels["forecast"].text = lines.forecast_line(s, say)
        self.labels["forecast"].style(f"color: {charts.ORANGE if s.naive else charts.GREY}")
        self.labels["event"].text = lines.event_line(s, say)
        self.labels["commands"].text = lines.command_line(s, say)
        drawn = {"plan": charts.plan_chart, "price": charts.price_chart, "stores": charts.stores_chart,
                 "event": charts.event_chart}  # fmt: skip
        for name, chart in drawn.items():
            options = chart(s, say)
            self.charts[name].draw(options if charts.has_data(options) else None)
        self.network.show(s)
        self.forecasts.show(s)
        self._fill(s)

    def _fill(self, s: Snapshot) -> None:
        yes = {True: self.say("yes"), False: self.say("no")}
        self.tables["runs"].rows = [
            {"key": r.id, "stage": f"{self.say(f'stage_{r.stage}')}: {self.say(f'purpose_{r.purpose}')}",
             "issued": self._time(r.issued_at), "level": self.say(f"level_{r.level}"),
             "certificate": self.say(f"verdict_{r.verdict or 'none'}"), "released": yes[r.released],
             "reason": r.reason[:120]}
            for r in s.runs
        ]  # fmt: skip
        self.tables["alarms"].rows = [
            {"key": a.number, "last": self._time(a.last_at), "count": a.count, "message": a.message[:200]}
            for a in s.alarms
        ]
        self.tables["states"].rows = [self._state_row(a, x, yes) for a, x in s.states]
        for name in ("runs", "alarms", "states"):
            self.labels[f"no_{name}"].text = "" if self.tables[name].rows else self.say(f"no_{name}")

    def _state_row(self, asset: Asset, state: AssetState, yes: dict[bool, str]) -> dict[str, Any]:
        stored = f"{state.stored_mwh:.3f}" if KINDS[asset.kind].store(asset) else "–"
        return {
            "key": asset.id, "asset": asset.id, "kind": self.say(f"kind_{asset.kind}"),
            "power": f"{state.power_mw + 0.0:.3f}", "stored": stored, "on": yes[state.on],
            "available": yes[state.available],
        }  # fmt: skip

    def _time(self, moment: datetime) -> str:
        return lines.local(moment, ZoneInfo(self.api.system.portfolio.zone))
