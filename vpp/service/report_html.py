"""The HTML report of a simulated span: one self-contained file with plots."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import matplotlib

matplotlib.use("Agg")
import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from vpp.domain.time import Array, TimeGrid
from vpp.service.knowledge import positions_over, price_over
from vpp.service.outcome import Evaluation
from vpp.service.report_forecasts import HEAD, score_rows, scores_plot
from vpp.service.simulate import Simulation

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
table{border-collapse:collapse;margin:1rem 0}
td,th{border-bottom:1px solid #d0d7de;padding:.25rem .75rem;text-align:left}
img{width:100%}pre{background:#f6f8fa;padding:1rem;overflow:auto}"""
SKIPPED = ("events", "cost_terms", "cost_idle_terms", "cost_oracle_terms")


def write_report(path: Path, sim: Simulation, found: Evaluation, body: dict[str, Any]) -> None:
    """Write the report of one simulation."""
    scores = sim.system.forecaster.track_record(sim.system.history(sim.end))
    parts = [
        f"<h1>{html.escape(sim.system.portfolio.name)}: {sim.request.start}, {sim.request.days} day(s)</h1>",
        _table({k: v for k, v in body.items() if k not in SKIPPED}),
        "<h2>Net injection, position and price</h2>", _image(net_plot(sim, found)),
        "<h2>By kind</h2>", _image(_kinds_plot(sim, found)),
        "<h2>Stores</h2>", _image(_stores_plot(sim, found)),
        "<h2>Cost by term</h2>", _table({k: [round(v, 2), round(body["cost_idle_terms"].get(k, 0.0), 2)]
                                        for k, v in body["cost_terms"].items()}),
        "<h2>Forecasts of the last seven days, made again as they were known then</h2>",
        _image(scores_plot(scores)), _grid(HEAD, score_rows(scores)),
        *(f"<h2>Event {e['event']['id']}</h2><pre>{html.escape(json.dumps(e, indent=1))}</pre>"
          for e in body["events"]),
    ]  # fmt: skip
    title = html.escape(sim.system.portfolio.name)
    path.write_text(
        f"<!doctype html><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>{''.join(parts)}"
    )


def _table(rows: dict[str, Any]) -> str:
    cells = "".join(f"<tr><th>{html.escape(k)}<td>{html.escape(str(v))}" for k, v in rows.items())
    return f"<table>{cells}</table>"


def _grid(head: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(h)}" for h in ("", *head))
    body = "".join(
        f"<tr><th>{html.escape(k)}" + "".join(f"<td>{html.escape(cell)}" for cell in row) for k, row in rows.items()
    )
    return f"<table><tr>{top}{body}</table>"


def _image(figure: Figure) -> str:
    return f'<img alt="plot" src="data:image/png;base64,{base64.b64encode(png(figure)).decode()}">'


def png(figure: Figure) -> bytes:
    """A figure as PNG bytes; the figure is closed."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    return buffer.getvalue()


def _axes(sim: Simulation, rows: int, height: float) -> tuple[Figure, list[Any]]:
    figure, axes = plt.subplots(rows, 1, figsize=(11, height), sharex=True, squeeze=False)
    zone = ZoneInfo(sim.system.portfolio.zone)
    axes[-1][0].set_xlim(sim.start, sim.end)
    axes[-1][0].xaxis.set_major_locator(mdates.HourLocator(byhour=range(0, 24, 3), tz=zone))  # type: ignore[no-untyped-call]
    axes[-1][0].xaxis.set_major_formatter(mdates.DateFormatter("%H:%M", tz=zone))  # type: ignore[no-untyped-call]
    for row in axes:
        row[0].grid(alpha=0.3)
    return figure, [row[0] for row in axes]


def _edges(grid: TimeGrid, values: Array) -> tuple[Any, Array]:
    """Step-plot coordinates of interval means."""
    return grid.edges, np.append(values, values[-1])


def net_plot(sim: Simulation, found: Evaluation) -> Figure:
    """Metered net injection against the firm position and the idle day, with the price below."""
    figure, (top, bottom) = _axes(sim, 2, 6.5)
    truth, quarters = found.truth, found.truth.quarters
    net = quarters.sample(truth.grid, truth.power_mw.sum(axis=0))
    idle = quarters.sample(truth.grid, found.idle.power_mw.sum(axis=0))
    position = np.sum([np.nan_to_num(u.mw) for u in positions_over(sim.system, quarters, "plot")], axis=0)
    for label, values, style in (
        ("metered", net, "-"), ("firm position", position, "--"), ("idle (every device at default)", idle, ":"),
    ):  # fmt: skip
        top.step(*_edges(quarters, values), style, where="post", label=label)
    for event in sim.system.store.events.list(sim.start, sim.end):
        top.axvspan(event.start, event.end, alpha=0.15, color="tab:orange", label=f"event {event.id}")
    top.set_ylabel("net injection, MW")
    top.set_title(f"{sim.system.portfolio.name}, {sim.request.start} (local time)", fontsize=10)
    top.legend(loc="best", fontsize=8)
    bottom.step(*_edges(quarters, price_over(sim.system, quarters, quarters.end)), where="post", color="tab:red")
    bottom.set_ylabel(f"day-ahead price, {sim.system.portfolio.currency}/MWh")
    return figure


def _kinds_plot(sim: Simulation, found: Evaluation) -> Figure:
    assets = sim.system.portfolio.assets
    kinds = list(dict.fromkeys(a.kind for a in assets))
    figure, axes = _axes(sim, len(kinds), 1.5 * len(kinds))
    quarters = found.truth.quarters
    for axis, kind in zip(axes, kinds, strict=True):
        rows = [i for i, a in enumerate(assets) if a.kind == kind]
        for truth, style, label in ((found.truth, "-", "metered"), (found.idle, ":", "idle")):
            mean = quarters.sample(truth.grid, truth.power_mw[rows].sum(axis=0))
            axis.step(*_edges(quarters, mean), style, where="post", label=label)
        axis.set_ylabel(f"{kind}\nMW", fontsize=8)
    axes[0].legend(fontsize=8)
    return figure


def _stores_plot(sim: Simulation, found: Evaluation) -> Figure:
    figure, (axis,) = _axes(sim, 1, 4.0)
    for i, asset in enumerate(sim.system.portfolio.assets):
        if asset.kind in sim.system.market.stored_energy_eur_per_mwh:
            axis.plot(found.truth.grid.edges[1:], found.truth.stored_mwh[i], label=asset.id)
    axis.set_ylabel("MWh stored")
    axis.legend(fontsize=7, ncols=3)
    return figure
