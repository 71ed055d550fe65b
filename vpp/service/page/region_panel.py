"""What a clicked bus can inject beside the plan in one quarter hour, asked of the API's own route with its rules."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nicegui import run, ui

from vpp.domain.errors import VppError
from vpp.domain.time import QUARTER
from vpp.service.api import desk
from vpp.service.api.access import Principal
from vpp.service.api.context import Api
from vpp.service.api.problems import Problem
from vpp.service.page.panel import FULL
from vpp.service.page.region_drawing import region_svg
from vpp.service.page.words import Words

EVERY_S, PATIENCE_S = 0.1, 60.0
EXTREMES = ("p_min", "p_max", "q_min", "q_max")


@dataclass(frozen=True)
class Told:
    """One interval of an answer, or why there is none; `late` where it did not come in time."""

    interval: Mapping[str, Any] | None
    why: str = ""
    late: bool = False


def told_of(api: Api, who: Principal, bus: int, at: datetime, patience_s: float = PATIENCE_S) -> Told:
    """Ask the route that `who` might ask, and wait for its job."""
    try:
        accepted = desk.flexibility(api, who, at, bus=str(bus), horizon=QUARTER)
    except (Problem, VppError) as why:
        return Told(None, str(why))
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        job = api.store.jobs.get(accepted.job)
        if job.status == "done":
            return Told(job.result["intervals"][0])
        if job.status == "failed":
            return Told(None, job.error or "")
        time.sleep(EVERY_S)
    return Told(None, late=True)


class RegionPanel:
    """Shows the answer to the last question; an older one that comes later is not shown."""

    def __init__(self, api: Api, who: Principal, say: Words, local: Callable[[datetime], str]) -> None:
        self.api, self.who, self.say, self.local = api, who, say, local
        self.bus: int | None = None
        self.questions = 0

    def build(self) -> None:
        """Title, sentence, drawing and the extremes with what binds them."""
        ui.label(self.say("region_title")).classes("text-lg")
        self.note = ui.label(self.say("region_click")).style("color: #666")
        self.drawing = ui.html("", sanitize=False).style(FULL)
        columns = [
            {"name": c, "field": c, "label": self.say(c), "align": "right" if c == "value" else "left"}
            for c in ("extreme", "value", "binding")
        ]
        self.table = ui.table(columns=columns, rows=[], row_key="extreme").props("dense flat hide-no-data")
        self.table.style(FULL)

    async def ask(self, bus: int, at: datetime) -> None:
        """Ask about a bus and show what is told, unless something else was asked meanwhile."""
        self.bus, self.questions = bus, self.questions + 1
        mine = self.questions
        self.note.text = self.say("region_asked", bus=bus, at=self.local(at))
        told = await run.io_bound(told_of, self.api, self.who, bus, at)
        if told is not None and mine == self.questions:
            self.show(told, bus, at)

    def show(self, told: Told, bus: int, at: datetime) -> None:
        """Put one answer on the panel."""
        say, interval = self.say, told.interval
        key = "region_none" if interval is None else "region_of" if interval["polygon"] else "region_empty"
        why = say("region_late") if told.late else told.why
        self.note.text = say(key, bus=bus, at=self.local(at), why=why)
        self.drawing.content = "" if interval is None else region_svg(interval, say)
        self.table.rows = [] if interval is None else [_row(interval, name, say) for name in EXTREMES]


def _row(interval: Mapping[str, Any], name: str, say: Words) -> dict[str, str]:
    unit = "MW" if name.startswith("p") else "Mvar"
    value, binding = interval[f"{name}_{unit.lower()}"], interval["binding"].get(name, "–")
    shown = "–" if value is None else f"{value + 0.0:.3f} {unit}"
    return {"extreme": say(name), "value": shown, "binding": say("binding_assets") if binding == "assets" else binding}
