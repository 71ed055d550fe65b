"""The grid desk's page: the network over time, the P-Q region of a clicked bus, headroom by bus, outages ranked.

It names no asset and no site; whatever tells of assets comes from the routes of the API with their rules.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from nicegui import run, ui

from vpp.domain.errors import NotFound
from vpp.domain.network import Contingency, Flow, Network
from vpp.domain.schedule import DispatchRun
from vpp.domain.time import Array
from vpp.service.api.access import OPERATOR, Principal
from vpp.service.api.context import Api
from vpp.service.api.desk_network import headroom_mw, ranked_outages
from vpp.service.api.network_view import plan_flow
from vpp.service.api.outages import RankedOutage
from vpp.service.node_flexibility import HOSTED_MW
from vpp.service.page import charts, lines
from vpp.service.page.network_panel import NetworkPanel
from vpp.service.page.panel import FULL
from vpp.service.page.region_panel import RegionPanel
from vpp.service.page.words import Words, other, words

log = logging.getLogger(__name__)
REFRESH_S = 5.0
ROWS_A_PAGE = 10
OUTAGES = ("outage", "loading", "loading_pct", "limit_pct", "steps_past", "unsupplied", "remedy", "unsupplied_after",
           "loading_after")  # fmt: skip
HEADROOM = ("bus", "headroom_load", "headroom_generation", "ours")
TEXTS = ("outage", "loading", "remedy", "loading_after", "ours")


@dataclass(frozen=True)
class DeskReading:
    """The plan in force and its flow; None where there is none."""

    now: datetime
    run: DispatchRun | None
    network: Network | None
    flow: Flow | None


def read(api: Api) -> DeskReading:
    """A moment of the service; waits for the loop's tick where one runs."""
    found = api.current()
    return DeskReading(api.clock(), found, api.system.network, plan_flow(api, found) if found else None)


class DeskPage:
    """One browser's page, for `who` signed in."""

    def __init__(self, api: Api, language: str, who: Principal) -> None:
        self.api, self.language, self.who, self.say = api, language, who, words(language)
        self.network = NetworkPanel(self.say, self._time, self._bus_clicked, self._step_stays)
        self.region = RegionPanel(api, who, self.say, self._time)
        self.reading: DeskReading | None = None
        self.busy: set[str] = set()
        self.headroom_of: tuple[str, int] | None = None
        self.outages_of: str | None = None

    def build(self) -> None:
        """All elements, and the timers that fill them."""
        self._head()
        with ui.grid(columns="2fr 1fr").classes("gap-x-8").style(FULL):
            with ui.column().classes("gap-2").style(FULL):
                self.network.build()
            with ui.column().classes("gap-2").style(FULL):
                self.region.build()
                self.network.build_bars()
        self.outages, self.no_outages = self._table("outages", OUTAGES)
        self.headroom, self.no_headroom = self._table("headroom", HEADROOM)
        ui.timer(REFRESH_S, self.refresh)
        ui.timer(REFRESH_S, self.rank)

    def _head(self) -> None:
        with ui.row().classes("items-center justify-between").style(FULL):
            ui.label(f"{self.say('desk_title')}: {self.api.system.portfolio.name}").classes("text-xl")
            self.clock = ui.label("")
            with ui.row():
                if self.who.role == OPERATOR or self.api.open_page:
                    ui.link(self.say("to_operator"), "/")
                ui.link(self.say("other_language"), f"?lang={other(self.language)}")
                ui.link(self.say("sign_out"), "/sign-out")
        self.plan = ui.label(self.say("reading"))
        self.failed = ui.label("").style(f"color: {charts.RED}")

    def _table(self, name: str, columns: Sequence[str]) -> tuple[Any, Any]:
        ui.label(self.say(f"{name}_title")).classes("text-lg")
        spec = [
            {"name": c, "field": c, "label": self.say(c), "align": "left" if c in TEXTS else "right"} for c in columns
        ]
        table = ui.table(columns=spec, rows=[], row_key=columns[0], pagination=ROWS_A_PAGE)
        return table.props("dense flat hide-no-data").style(FULL), ui.label("").style("color: #666")

    async def refresh(self) -> None:
        """Read in a thread, then redraw; skipped while the last reading still waits."""
        if "read" in self.busy:
            return
        self.busy.add("read")
        try:
            found = await run.io_bound(read, self.api)
        except Exception:
            log.exception("the grid desk's page could not be read")
            self.failed.text = self.say("reading_failed")
            return
        finally:
            self.busy.discard("read")
        if found is not None:
            self.failed.text = ""
            self.show(found)
            await self.room()

    def show(self, found: DeskReading) -> None:
        """Put one reading on the page."""
        say, zone = self.say, self.api.system.portfolio.zone
        self.reading = found
        self.clock.text = f"{say('clock')}: {self._time(found.now)} ({zone})"
        verdict = found.run.certificate.verdict if found.run and found.run.certificate else "none"
        self.plan.text = say("no_released_plan") if found.run is None else say(
            "desk_plan", issued=self._time(found.run.issued_at), certificate=say(f"verdict_{verdict}")
        )  # fmt: skip
        self.network.put(found.network, found.flow, found.now, dict.fromkeys(self._our_buses(), say("desk_bus")))
        if found.flow is None:
            self.no_headroom.text = say("no_headroom")
            self.no_outages.text = say("no_outages")

    def _our_buses(self) -> set[int]:
        return {a.bus for a in self.api.system.portfolio.assets if a.bus is not None and a.control != "none"}

    async def room(self) -> None:
        """Headroom of the step that is shown, once for each."""
        found, at = self.reading, self.network.at
        if found is None or found.run is None or found.flow is None or at is None or "room" in self.busy:
            return
        if self.headroom_of == (found.run.id, at):
            return
        self.busy.add("room")
        try:
            mw = await run.io_bound(headroom_mw, self.api, found.run, found.flow, at)
        finally:
            self.busy.discard("room")
        if mw is not None and found.network is not None:
            self.headroom_of = found.run.id, at
            self.no_headroom.text = ""
            self.headroom.rows = headroom_rows(found.network.buses, mw, self._our_buses(), self.say)
        if self.network.at != at:
            await self.room()

    async def rank(self) -> None:
        """The outages of the plan, once a run."""
        found = self.reading
        if found is None or found.run is None or found.flow is None or "rank" in self.busy:
            return
        if self.outages_of == found.run.id:
            return
        self.busy.add("rank")
        self.no_outages.text = self.say("outages_busy")
        try:
            rows = await run.io_bound(ranked_outages, self.api, found.run, found.flow)
        except NotFound:
            rows = ()
        except Exception:
            log.exception("the outages of run %s could not be tried", found.run.id)
            rows = ()
        finally:
            self.busy.discard("rank")
        self.outages_of = found.run.id
        self.outages.rows = [outage_row(row) for row in rows or ()]
        self.no_outages.text = "" if rows else self.say("no_outages")

    async def _bus_clicked(self, bus: int) -> None:
        at = self.network.at
        if at is not None and self.reading is not None and self.reading.flow is not None:
            await self.region.ask(bus, self.reading.flow.grid.starts[at])

    async def _step_stays(self) -> None:
        if self.region.bus is not None:
            await self._bus_clicked(self.region.bus)
        await self.room()

    def _time(self, moment: datetime) -> str:
        return lines.local(moment, ZoneInfo(self.api.system.portfolio.zone))


def outage_row(row: RankedOutage) -> dict[str, Any]:
    """One outage as a row of the table; what it is after the remedy stands beside it."""
    alone, after = row.alone, row.after
    closed = list(dict.fromkeys(c.remedy for c in row.remedies if c.remedy))
    at = alone.loading
    return {
        "outage": alone.outage, "loading": at.element if at else "–",
        "loading_pct": f"{at.loading_pct:.1f}" if at else "–", "limit_pct": f"{at.limit_pct:.0f}" if at else "–",
        "steps_past": alone.violated_steps, "unsupplied": f"{alone.unsupplied_mw:.3f}",
        "remedy": ", ".join(closed) or "–",
        "unsupplied_after": f"{after.unsupplied_mw:.3f}" if closed else "–",
        "loading_after": _worst(after) if closed else "–",
    }  # fmt: skip


def _worst(c: Contingency) -> str:
    return "–" if c.loading is None else f"{c.loading.element}: {c.loading.loading_pct:.1f} %"


def headroom_rows(buses: Sequence[int], mw: Array, ours: set[int], say: Words) -> list[dict[str, Any]]:
    """(B,2) MW as rows of the table, the least room first."""
    order = np.argsort(mw.min(axis=1), kind="stable")

    def shown(value: float) -> str:
        return say("headroom_most", mw=f"{HOSTED_MW:.0f}") if value >= HOSTED_MW else f"{value:.2f}"

    return [
        {"bus": buses[i], "headroom_load": shown(float(mw[i, 0])), "headroom_generation": shown(float(mw[i, 1])),
         "ours": say("yes") if buses[i] in ours else ""}
        for i in map(int, order)
    ]  # fmt: skip
