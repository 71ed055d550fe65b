"""The network part of the page: drawing, time slider, legend, and the most loaded elements."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from nicegui import ui
from nicegui.events import GenericEventArguments

from vpp.domain.network import Flow, Network
from vpp.service.page import network_chart as charts
from vpp.service.page.panel import FULL, ChartBox
from vpp.service.page.snapshot import Snapshot
from vpp.service.page.words import Words

SLIDER_EVERY_S = 0.2


class NetworkPanel:
    """Shows the step around now until the slider is moved, then the chosen moment while the plan reaches it.

    `on_bus` hears which bus was clicked, `on_step` that another step stays on the panel.
    """

    def __init__(
        self, say: Words, local: Callable[[datetime], str], on_bus: Callable[[int], Awaitable[None]] | None = None,
        on_step: Callable[[], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        self.say, self.local, self.on_bus, self.on_step = say, local, on_bus, on_step
        self.chosen: datetime | None = None
        self.flow: Flow | None = None
        self.network: Network | None = None
        self.assets: dict[int, str] = {}
        self.now: datetime | None = None

    def build(self) -> None:
        """Title, step, slider, drawing and legend."""
        self.drawing = ChartBox(self.say("network_title"), 560, self.say("network_none"))
        if self.on_bus is not None:
            self.drawing.chart.on("componentClick", self._clicked, ["dataType", "name"])
        with ui.row().classes("items-center no-wrap").style(FULL) as self.controls:
            self.step = ui.label("").style("white-space: nowrap")
            self.slider = ui.slider(min=0, max=1, value=0).props("dense").style("max-width: 380px")
            self.slider.on("update:model-value", self._moved, throttle=SLIDER_EVERY_S)
            self.slider.on("change", self._stays)
            for text, go in (("go_now", self._go_now), ("go_worst", self._go_worst)):
                button = ui.button(self.say(text), on_click=go).props("flat dense no-caps")
                button.style("white-space: nowrap; flex-shrink: 0")
        with ui.row().classes("items-center gap-x-4 gap-y-0") as self.legend:
            for colour, meaning in charts.legend(self.say):
                with ui.row().classes("items-center gap-1"):
                    ui.element("span").style(f"width: 14px; height: 6px; background: {colour}")
                    ui.label(meaning).classes("text-sm")
        self._visible(False)

    def build_bars(self) -> None:
        """The most loaded elements, wherever the page wants them."""
        self.bars = ChartBox(self.say("bars_title"), 300, self.say("network_none"))

    def show(self, s: Snapshot) -> None:
        """Put one reading on the panel."""
        at: dict[int, list[str]] = defaultdict(list)
        for asset, _ in s.states:
            if asset.bus is not None:
                at[asset.bus].append(asset.id)
        self.put(s.network, s.flow, s.now, {bus: ", ".join(ids) for bus, ids in at.items()})

    def put(self, network: Network | None, flow: Flow | None, now: datetime, assets: Mapping[int, str]) -> None:
        """Put a plan's flow on the panel; `assets` says what stands at our buses."""
        self.flow, self.network, self.now, self.assets = flow, network, now, dict(assets)
        self._draw()

    @property
    def at(self) -> int | None:
        """The step that is shown; None where nothing is."""
        return None if self.flow is None or self.now is None else step_of(self.flow, self.chosen or self.now)

    def _draw(self) -> None:
        flow, network = self.flow, self.network
        if flow is None or network is None or self.now is None:
            self._visible(False)
            self.drawing.draw(None)
            self.bars.draw(None)
            return
        at = step_of(flow, self.chosen or self.now)
        self.slider.props(f"max={flow.grid.n - 1}")
        self.slider.value = at
        self.step.text = f"{self.say('step')}: {self.local(flow.grid.starts[at])}"
        options = charts.network_chart(network, flow, at, self.say, self.assets)
        self._visible(True)
        self.legend.visible = bool(options["series"])
        self.drawing.draw(options if options["series"] else None, self.say("network_no_drawing"))
        self.bars.draw(charts.bars_chart(network, flow, at, self.say))

    def _visible(self, yes: bool) -> None:
        self.controls.visible = self.legend.visible = yes

    def _moved(self, event: GenericEventArguments) -> None:
        moved: Any = event.args
        if self.flow is not None:
            self._go(self.flow.grid.starts[min(int(moved), self.flow.grid.n - 1)])

    async def _stays(self, event: GenericEventArguments) -> None:
        self._moved(event)
        if self.on_step is not None:
            await self.on_step()

    async def _clicked(self, event: GenericEventArguments) -> None:
        clicked: Mapping[str, Any] = event.args
        if self.on_bus is not None and clicked.get("dataType") == "node":
            await self.on_bus(int(clicked["name"]))

    async def _go_now(self) -> None:
        self._go(None)
        if self.on_step is not None:
            await self.on_step()

    async def _go_worst(self) -> None:
        worst = charts.most_loaded(self.network, self.flow) if self.network and self.flow else None
        if worst is not None and self.flow is not None:
            self._go(self.flow.grid.starts[worst[0]])
            if self.on_step is not None:
                await self.on_step()

    def _go(self, moment: datetime | None) -> None:
        self.chosen = moment
        self._draw()


def step_of(flow: Flow, moment: datetime) -> int:
    """The step that holds `moment`, the nearest one outside the flow's span."""
    return min(max(bisect_right(list(flow.grid.starts), moment) - 1, 0), flow.grid.n - 1)
