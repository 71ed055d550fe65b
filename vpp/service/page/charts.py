"""Charts over time as plain options: what is drawn, with no page around it. Times are local wall times."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from vpp.service.page.snapshot import Curve, Snapshot
from vpp.service.page.words import Words

Options = dict[str, Any]
EVENT_TEXT = "#8a4b08"
BLUE, ORANGE, GREEN, GREY, RED = "#1f6fb2", "#d9822b", "#2e8b57", "#8a8f98", "#c0392b"
TIME_LABELS = {
    "year": "{yyyy}-{MM}-{dd}", "month": "{yyyy}-{MM}-{dd}", "day": "{yyyy}-{MM}-{dd}", "hour": "{HH}:{mm}",
    "minute": "{HH}:{mm}",
}  # fmt: skip
TWO_DIGITS = "v => v == null ? '–' : v.toFixed(2)"


def wall_ms(moment: datetime, zone: str) -> int:
    """Local wall time of `moment` as milliseconds, for an axis that is drawn as UTC."""
    return int(moment.astimezone(ZoneInfo(zone)).replace(tzinfo=UTC).timestamp() * 1000)


def steps(curve: Curve, zone: str) -> list[list[float | None]]:
    """[ms, value] at each start and once more at the end, so that every interval has its width; gaps are null."""
    values = [round(float(v), 4) if math.isfinite(v) else None for v in curve.values]
    return [[wall_ms(t, zone), v] for t, v in zip(curve.grid.edges, [*values, values[-1]], strict=True)]


def has_data(options: Options) -> bool:
    """Whether any series has a value to show."""
    return any(point[1] is not None for drawn in options["series"] for point in drawn["data"])


def line(name: str, data: list[list[float | None]], colour: str | None = None, **more: Any) -> Options:
    """Values in steps over local wall times."""
    style = {"color": colour, "width": 2} if colour else {"width": 1.5}
    made: Options = {"type": "line", "name": name, "data": data, "step": "end", "showSymbol": False, "lineStyle": style}
    return {**made, **({"itemStyle": {"color": colour}} if colour else {}), **more}


def frame(zone: str, say: Words, series: list[Options], y_axes: list[str], beside_px: int = 0) -> Options:
    """Axes and legend around `series`; the legend is above, or beside in a column of that width."""
    axes = [
        {"type": "value", "name": name, "scale": True, "nameLocation": "middle", "nameGap": 42} for name in y_axes
    ]
    place = {"orient": "vertical", "right": 0, "top": 30} if beside_px else {"top": 0}
    right = beside_px or (60 if len(y_axes) > 1 else 20)
    names = list(dict.fromkeys(drawn["name"] for drawn in series if drawn["name"]))
    return {
        "useUTC": True, "animation": False, "tooltip": {"trigger": "axis", ":valueFormatter": TWO_DIGITS},
        "legend": {**place, "icon": "roundRect", "itemHeight": 6, "data": names},
        "grid": {"left": 60, "right": right, "top": 50, "bottom": 52},
        "xAxis": {"type": "time", "name": say("local_time", zone=zone), "nameLocation": "middle", "nameGap": 30,
                  "axisLine": {"onZero": False}, "axisLabel": {"formatter": TIME_LABELS, "hideOverlap": True}},
        "yAxis": axes, "series": series,
    }  # fmt: skip


def now_mark(now: datetime, zone: str, say: Words) -> Options:
    """A dashed line at `now`."""
    return {
        "symbol": "none", "silent": True, "lineStyle": {"color": GREY, "type": "dashed"},
        "label": {"formatter": say("now")}, "data": [{"xAxis": wall_ms(now, zone)}],
    }  # fmt: skip


def _event_area(s: Snapshot, name: str) -> Options:
    if s.event is None:
        return {"data": []}
    event = s.event.event
    first, last = ({"xAxis": wall_ms(t, s.zone)} for t in (event.start, event.end))
    return {
        "silent": True, "itemStyle": {"color": "rgba(217,130,43,0.15)"},
        "label": {"position": "insideTop", "color": EVENT_TEXT},
        "data": [[{**first, "name": name}, last]],
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
        series.append(line("", low, **hidden))
        shade = {"color": BLUE, "opacity": 0.18}
        series.append(line(say("band"), width, None, **{**hidden, "areaStyle": shade, "itemStyle": shade}))
    if s.plan is not None:
        series.append(line(say("plan"), steps(s.plan, s.zone), BLUE))
    meter = line(say("meter"), steps(s.meter, s.zone), GREEN)
    event = f"{say('event')} {s.event.event.id}" if s.event else ""
    series.append({**meter, "markLine": now_mark(s.now, s.zone, say), "markArea": _event_area(s, event)})
    return frame(s.zone, say, series, [say("injection_axis")])


def event_chart(s: Snapshot, say: Words) -> Options:
    """The participants' meter beside their baseline and what they owe."""
    if s.event is None:
        return frame(s.zone, say, [], [say("injection_axis")])
    meter = line(say("meter"), steps(s.event.meter, s.zone), GREEN)
    series = [{**meter, "markLine": now_mark(s.now, s.zone, say), "markArea": _event_area(s, "")}]
    if s.event.baseline is not None:
        series.append(line(say("baseline"), steps(s.event.baseline, s.zone), GREY))
    if s.event.ordered is not None:
        series.append(line(say("ordered"), steps(s.event.ordered, s.zone), ORANGE))
    return frame(s.zone, say, series, [say("injection_axis")])


def price_chart(s: Snapshot, say: Words) -> Options:
    """Price on the left, firm position on the right."""
    left = line(say("price"), steps(s.price, s.zone), ORANGE)
    right = line(say("position"), steps(s.position, s.zone), BLUE, yAxisIndex=1)
    axes = [say("price_axis", currency=s.currency), say("position_axis")]
    return frame(s.zone, say, [{**left, "markLine": now_mark(s.now, s.zone, say)}, right], axes)


def stores_chart(s: Snapshot, say: Words) -> Options:
    """Planned content of every store."""
    series = [line(name, steps(curve, s.zone)) for name, curve in s.stores]
    if series:
        series[0]["markLine"] = now_mark(s.now, s.zone, say)
    return frame(s.zone, say, series, [say("stores_axis")], beside_px=150)
