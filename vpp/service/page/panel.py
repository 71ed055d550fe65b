"""A chart with its title, and the sentence that stands in its place while there is nothing to draw."""

from __future__ import annotations

from nicegui import ui

from vpp.service.page.charts import Options

FULL = "width: 100%"
"""Widths are inline: a chart measures itself before utility classes are applied."""


class ChartBox:
    """`empty` explains a chart without data."""

    def __init__(self, title: str, height_px: int, empty: str) -> None:
        self.empty = empty
        ui.label(title).classes("text-lg")
        self.chart = ui.echart({"series": []}).style(f"{FULL}; height: {height_px}px")
        self.note = ui.label("").style("color: #666")
        self.note.visible = False

    @property
    def options(self) -> Options:
        """What is drawn."""
        found: Options = self.chart.options
        return found

    def draw(self, options: Options | None, why: str = "") -> None:
        """Redraw where something changed; with None say `why` there is nothing, or what `empty` says."""
        self.chart.visible, self.note.visible = options is not None, options is None
        self.note.text = why or self.empty
        if options is not None and self.chart.options != options:
            self.chart.options.clear()
            self.chart.options.update(options)
            self.chart.update()
