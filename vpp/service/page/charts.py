"""Charts as plain options: what is drawn, with no page around it. Times are the portfolio's local wall times."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from vpp.domain.network import Flow, Network
from vpp.service.api.network_view import coordinates_of, ends_of
from vpp.service.page.layout import tree_layout
from vpp.service.page.snapshot import Curve, Snapshot
from vpp.service.page.words import Words

Options = dict[str, Any]
BLUE, ORANGE, GREEN, GREY, RED = "#1f6fb2", "#d9822b", "#2e8b57", "#8a8f98", "#c0392b"
LOADING_COLOURS = ((50.0, GREEN), (80.0, "#b8a12a"), (100.0, ORANGE), (math.inf, RED))
MOST_BARS = 15


def wall_ms(moment: datetime, zone: str) -> int:
    """Local wall time of `moment` as milliseconds, for an axis that is drawn as UTC."""
    return int(moment.astimezone(ZoneInfo(zone)).replace(tzinfo=UTC).timestamp() * 1000)


def steps(curve: Curve, zone: str) -> list[list[float | None]]:
    """[ms, value] at each start and once more at the end, so that every interval has its width; gaps are null."""
    values = [float(v) if math.isfinite(v) else None for v in curve.values]
    return [[wall_ms(t, zone), v] for t, v in zip(curve.grid.edges, [*values, values[-1]], strict=True)]


def _line(name: str, data: list[list[float | None]], colour: str | None = None, **more: Any) -> Options:
    style = {"color": colour, "width": 2} if colour else {"width": 1.5}
    line: Options = {"type": "line", "name": name, "data": data, "step": "end", "showSymbol": False, "lineStyle": style}
    return {**line, **({"itemStyle": {"color": colour}} if colour else {}), **more}


def _frame(series: list[Options], y_axes: list[str], legend: bool = True) -> Options:
    axes = [{"type": "value", "name": name, "scale": True, "nameTextStyle": {"align": "left"}} for name in y_axes]
    return {
        "useUTC": True, "animation": False, "tooltip": {"trigger": "axis"},
        "legend": {"show": legend, "top": 0, "type": "scroll", "data": [s["name"] for s in series if s.get("name")]},
        "grid": {"left": 50, "right": 50, "top": 55, "bottom": 30},
        "xAxis": {"type": "time"}, "yAxis": axes, "series": series,
    }  # fmt: skip


def _now(s: Snapshot, say: Words) -> Options:
    return {
        "symbol": "none", "silent": True, "lineStyle": {"color": GREY, "type": "dashed"},
        "label": {"formatter": say("now")}, "data": [{"xAxis": wall_ms(s.now, s.zone)}],
    }  # fmt: skip


def _event_area(s: Snapshot, say: Words) -> Options:
    if s.event is None:
        return {"data": []}
    event = s.event.event
    first, last = ({"xAxis": wall_ms(t, s.zone)} for t in (event.start, event.end))
    return {
        "silent": True, "itemStyle": {"color": "rgba(217,130,43,0.15)"},
        "data": [[{**first, "name": f"{say('event')} {event.id}"}, last]],
    }  # fmt: skip


def plan_chart(s: Snapshot, say: Words) -> Options:
    """Plan, its band, the meter, and the time of the event."""
    series: list[Options] = []
    if s.band is not None:
        low, high = (steps(c, s.zone) for c in s.band)
        width = [[t, None if a is None or b is None else b - a] for (t, a), (_, b) in zip(low, high, strict=True)]
        hidden: Options = {
            "lineStyle": {"opacity": 0}, "stack": "band", "stackStrategy": "all", "tooltip": {"show": False},
        }  # fmt: skip
        series.append(_line("", low, **hidden))
        series.append(_line(say("band"), width, BLUE, **{**hidden, "areaStyle": {"color": BLUE, "opacity": 0.18}}))
    if s.plan is not None:
        series.append(_line(say("plan"), steps(s.plan, s.zone), BLUE))
    meter = _line(say("meter"), steps(s.meter, s.zone), GREEN)
    series.append({**meter, "markLine": _now(s, say), "markArea": _event_area(s, say)})
    return _frame(series, ["MW"])


def event_chart(s: Snapshot, say: Words) -> Options:
    """The participants' meter beside their baseline and what they owe."""
    if s.event is None:
        return _frame([], ["MW"])
    series = [{**_line(say("meter"), steps(s.event.meter, s.zone), GREEN), "markArea": _event_area(s, say)}]
    if s.event.baseline is not None:
        series.append(_line(say("baseline"), steps(s.event.baseline, s.zone), GREY))
    if s.event.ordered is not None:
        series.append(_line(say("ordered"), steps(s.event.ordered, s.zone), ORANGE))
    return _frame(series, ["MW"])


def price_chart(s: Snapshot, say: Words) -> Options:
    """Price on the left, firm position on the right."""
    price = say("price", currency=s.currency)
    left = _line(price, steps(s.price, s.zone), ORANGE)
    right = _line(say("position"), steps(s.position, s.zone), BLUE, yAxisIndex=1)
    return _frame([{**left, "markLine": _now(s, say)}, right], [f"{s.currency}/MWh", "MW"])


def stores_chart(s: Snapshot, say: Words) -> Options:
    """Planned content of every store."""
    series = [_line(name, steps(curve, s.zone)) for name, curve in s.stores]
    if series:
        series[0]["markLine"] = _now(s, say)
    return _frame(series, ["%"])


def colour_of(loading_pct: float) -> str:
    """Grey for unknown, red from 100 %."""
    if not math.isfinite(loading_pct):
        return GREY
    return next(colour for limit, colour in LOADING_COLOURS if loading_pct < limit)


def network_chart(network: Network, flow: Flow, step: int, say: Words) -> Options:
    """The network drawn where its ends are known, else its most loaded elements as bars."""
    loading = dict(zip(network.elements, flow.loading_pct[0, step].tolist(), strict=True))
    ends = ends_of(network)
    if not ends:
        return _bars(loading)
    where = coordinates_of(network) or tree_layout(ends, [b for name, (b, _) in ends.items() if "trafo" in name])
    voltage = dict(zip(network.buses, flow.vm_pu[0, step].tolist(), strict=True))
    nodes = [
        {"id": str(bus), "name": f"{say('bus')} {bus}", "x": x, "y": y, "symbolSize": 5,
         "itemStyle": {"color": GREY}, "value": _rounded(voltage.get(bus, np.nan), 4)}
        for bus, (x, y) in where.items()
    ]  # fmt: skip
    links = [
        {"source": str(a), "target": str(b), "name": name, "value": _rounded(loading.get(name, np.nan), 1),
         "lineStyle": {"color": colour_of(loading.get(name, np.nan)), "width": 2.5}}
        for name, (a, b) in ends.items() if a in where and b in where
    ]  # fmt: skip
    graph = {"type": "graph", "layout": "none", "roam": True, "data": nodes, "links": links,
             "left": 20, "right": 20, "top": 20, "bottom": 20}  # fmt: skip
    return {"animation": False, "tooltip": {"formatter": "{b}: {c}"}, "series": [graph]}


def _rounded(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None


def _bars(loading: dict[str, float]) -> Options:
    known = {name: v for name, v in loading.items() if math.isfinite(v)}
    top = sorted(known, key=lambda name: -known[name])[:MOST_BARS][::-1]
    data = [{"value": round(known[name], 1), "itemStyle": {"color": colour_of(known[name])}} for name in top]
    return {
        "animation": False, "tooltip": {}, "grid": {"left": 90, "right": 30, "top": 10, "bottom": 25},
        "xAxis": {"type": "value", "name": "%"}, "yAxis": {"type": "category", "data": top},
        "series": [{"type": "bar", "data": data}],
    }  # fmt: skip
