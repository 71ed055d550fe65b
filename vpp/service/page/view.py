"""The page's elements. It is built empty and filled by a timer, so that it never waits for the loop."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from nicegui import run, ui

from vpp.service.api.context import Api
from vpp.service.page import charts
from vpp.service.page.snapshot import Snapshot, collect
from vpp.service.page.words import Words, other, words

REFRESH_S = 5.0
NAMED_NAIVE = 6
COUNTS = ("sent", "acked", "expired", "superseded", "rejected", "lost", "pending")
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
        self.shown: Snapshot | None = None
        self.charts: dict[str, Any] = {}
        self.tables: dict[str, Any] = {}
        self.labels: dict[str, Any] = {}

    def build(self) -> None:
        """All elements, and the timer that fills them."""
        say = self.say
        with ui.row().classes("w-full items-center justify-between"):
            ui.label(f"{say('title')}: {self.api.system.portfolio.name}").classes("text-xl")
            self._label("clock")
            with ui.row():
                ui.link(say("other_language"), f"?lang={other(self.language)}")
                ui.link(say("sign_out"), "/sign-out")
        self._label("forecast").style(f"color: {charts.ORANGE}")
        self._label("plan")
        self._chart("plan", "plan_title")
        with ui.grid(columns=2).classes("w-full"):
            for name in ("price", "stores"):
                with ui.column().classes("w-full"):
                    self._chart(name, f"{name}_title")
            with ui.column().classes("w-full"):
                self._network()
            with ui.column().classes("w-full"):
                self._chart("event", "event_title")
                self._label("event")
        self._table("runs", ("stage", "issued", "level", "certificate", "released", "reason"))
        self._label("commands")
        self._table("alarms", ("last", "count", "message"))
        self._label("alarms")
        self._table("states", ("asset", "kind", "power", "stored", "on", "available"))
        ui.timer(REFRESH_S, self.refresh)

    def _label(self, name: str) -> Any:
        self.labels[name] = ui.label("")
        return self.labels[name]

    def _chart(self, name: str, title: str) -> None:
        ui.label(self.say(title)).classes("text-lg")
        self.charts[name] = ui.echart({"series": []}).classes("w-full").style("height: 320px")

    def _table(self, name: str, columns: Sequence[str]) -> None:
        ui.label(self.say(f"{name}_title")).classes("text-lg")
        spec = [{"name": c, "label": self.say(c), "field": c, "align": "left"} for c in columns]
        self.tables[name] = ui.table(columns=spec, rows=[], row_key="key").props("dense flat").classes("w-full")

    def _network(self) -> None:
        self._chart("network", "network_title")
        with ui.row().classes("w-full items-center"):
            self._label("step")
            self.slider = ui.slider(min=0, max=1, value=0, on_change=self._draw_network).classes("w-96")

    async def refresh(self) -> None:
        """Read in a thread, then redraw; skipped while the last reading still waits."""
        if self.busy:
            return
        self.busy = True
        try:
            found = await run.io_bound(collect, self.api)
        finally:
            self.busy = False
        if found is not None:
            self.show(found)

    def show(self, s: Snapshot) -> None:
        """Put one reading on the page."""
        self.shown, say = s, self.say
        self.labels["clock"].text = f"{say('clock')}: {self._time(s.now)} ({s.zone})"
        self.labels["forecast"].text = forecast_line(s, say)
        self.labels["plan"].text = "" if s.run else say("no_plan")
        self.labels["event"].text = "" if s.event else say("no_event")
        self.labels["alarms"].text = "" if s.alarms else say("no_alarms")
        counts = ", ".join(f"{say(name)} {s.counts.get(name, 0)}" for name in COUNTS)
        self.labels["commands"].text = f"{say('commands_title')}: {counts}"
        self._draw("plan", charts.plan_chart(s, say))
        self._draw("price", charts.price_chart(s, say))
        self._draw("stores", charts.stores_chart(s, say))
        self._draw("event", charts.event_chart(s, say))
        self._draw_network()
        self._fill(s)

    def _draw(self, name: str, options: charts.Options) -> None:
        chart = self.charts[name]
        if chart.options != options:
            chart.options.clear()
            chart.options.update(options)
            chart.update()

    def _draw_network(self) -> None:
        s = self.shown
        if s is None or s.network is None or s.flow is None:
            self.labels["step"].text = self.say("network_none")
            return
        last = s.flow.grid.n - 1
        self.slider.props(f"max={last}")
        step = min(int(self.slider.value), last)
        self.labels["step"].text = f"{self.say('step')}: {self._time(s.flow.grid.starts[step])}"
        self._draw("network", charts.network_chart(s.network, s.flow, step, self.say))

    def _fill(self, s: Snapshot) -> None:
        yes = {True: self.say("yes"), False: self.say("no")}
        self.tables["runs"].rows = [
            {"key": r.id, "stage": self.say(f"stage_{r.stage}"), "issued": self._time(r.issued_at),
             "level": self.say(f"level_{r.level}"), "certificate": self.say(f"verdict_{r.verdict or 'none'}"),
             "released": yes[r.released], "reason": r.reason[:120]}
            for r in s.runs
        ]  # fmt: skip
        self.tables["alarms"].rows = [
            {"key": a.number, "last": self._time(a.last_at), "count": a.count, "message": a.message[:200]}
            for a in s.alarms
        ]
        self.tables["states"].rows = [
            {"key": a.id, "asset": a.id, "kind": a.kind, "power": f"{x.power_mw:.3f}", "stored": f"{x.stored_mwh:.3f}",
             "on": yes[x.on], "available": yes[x.available]}
            for a, x in s.states
        ]  # fmt: skip

    def _time(self, moment: datetime) -> str:
        zone = self.api.system.portfolio.zone
        return moment.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")


def forecast_line(s: Snapshot, say: Words) -> str:
    """Which forecasts are still naive."""
    if s.naive is None:
        return say("no_forecast")
    if not s.naive:
        return say("naive_none")
    more = ", …" if len(s.naive) > NAMED_NAIVE else ""
    return say("naive_some", n=len(s.naive), of=s.forecasts, names=", ".join(s.naive[:NAMED_NAIVE]) + more)
