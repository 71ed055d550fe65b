"""The network as plain options: at one step elements coloured by loading, buses by their use of the voltage band, and
the most loaded elements as bars.

    use of the band = |v - middle| / half its width,     100 % at a limit
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

import numpy as np

from vpp.domain.network import Flow, Network
from vpp.service.api.network_view import bands_of, coordinates_of, ends_of, open_at
from vpp.service.page.charts import BLUE, GREEN, GREY, ORANGE, RED, Options
from vpp.service.page.layout import Point, fitted, on_map, tree_layout
from vpp.service.page.words import Words

YELLOW = "#b8a12a"
LOADING_COLOURS = ((50.0, GREEN), (80.0, YELLOW), (100.0, ORANGE), (math.inf, RED))
MOST_BARS = 12
TEXT = "p => p.data.text"


def colour_of(loading_pct: float) -> str:
    """Grey for unknown, red from 100 %."""
    if not math.isfinite(loading_pct):
        return GREY
    return next(colour for limit, colour in LOADING_COLOURS if loading_pct < limit)


def legend(say: Words) -> list[tuple[str, str]]:
    """(colour, meaning) of what the drawing shows."""
    (a, _), (b, _), (c, _), _ = LOADING_COLOURS
    texts = [say("below", a=a), say("between", a=a, b=b), say("between", a=b, b=c), say("above", a=c)]
    meaning = [(colour, text) for (_, colour), text in zip(LOADING_COLOURS, texts, strict=True)]
    return [*meaning, (GREY, say("open_element")), (BLUE, say("our_bus"))]


def loading_at(network: Network, flow: Flow, step: int) -> dict[str, float]:
    """Loading in % of every element, NaN where unknown."""
    return dict(zip(network.elements, flow.loading_pct[0, step].tolist(), strict=True))


def most_loaded(network: Network, flow: Flow) -> tuple[int, str, float] | None:
    """Step, element and loading in % of the plan's highest loading; None where nothing was solved."""
    loading = flow.loading_pct[0]
    if not np.isfinite(loading).any():
        return None
    step, element = np.unravel_index(np.nanargmax(loading), loading.shape)
    return int(step), network.elements[int(element)], float(loading[step, element])


def network_chart(network: Network, flow: Flow, step: int, say: Words, assets: Mapping[int, str]) -> Options:
    """Buses and elements at one step; dashed where open. No series where the network does not tell its ends.

    `assets` names our assets by bus. The most loaded element is the thickest.
    """
    ends, loading = ends_of(network), loading_at(network, flow, step)
    where = places(network)
    voltage = dict(zip(network.buses, flow.vm_pu[0, step].tolist(), strict=True))
    out = open_at(network, flow.grid.starts[step])
    closed = {name: v for name, v in loading.items() if name in ends and name not in out and math.isfinite(v)}
    worst = max(closed, key=lambda name: closed[name], default=None)
    bands = bands_of(network)
    nodes = [
        _node(bus, at, voltage.get(bus, math.nan), bands.get(bus), assets.get(bus), say) for bus, at in where.items()
    ]
    links = [
        _link(name, ends[name], loading.get(name, math.nan), name in out, name == worst, say)
        for name in ends if all(bus in where for bus in ends[name])
    ]  # fmt: skip
    graph = {"type": "graph", "layout": "none", "roam": "move", "data": nodes, "links": links,
             "left": 30, "right": 30, "top": 20, "bottom": 20}  # fmt: skip
    return {"animation": False, "tooltip": {":formatter": TEXT}, "series": [graph] if links else []}


def places(network: Network) -> dict[int, Point]:
    """Where to draw each bus: by its coordinates where all ends have some, else as a tree."""
    ends, known = ends_of(network), coordinates_of(network)
    if all(bus in known for pair in ends.values() for bus in pair):
        return fitted(on_map(known))
    return fitted(tree_layout(ends, [first for name, (first, _) in ends.items() if "trafo" in name]))


def band_use_pct(vm_pu: float, band: tuple[float, float] | None) -> float:
    """Use of a voltage band in %; NaN for a bus without band or voltage."""
    if band is None or band[0] >= band[1]:
        return math.nan
    return 100.0 * abs(2.0 * vm_pu - band[0] - band[1]) / (band[1] - band[0])


def _node(
    bus: int, at: Point, vm_pu: float, band: tuple[float, float] | None, ours: str | None, say: Words
) -> Options:
    value = f"{vm_pu:.4f} pu" if math.isfinite(vm_pu) else "–"
    text = f"{say('bus')} {bus}: {value}" + (f"<br>{escape(ours)}" if ours else "")
    ring = {"borderColor": BLUE, "borderWidth": 3} if ours else {}
    return {
        "id": str(bus), "name": str(bus), "x": at[0], "y": at[1], "text": text,
        "symbolSize": 13 if ours else 6, "itemStyle": {"color": colour_of(band_use_pct(vm_pu, band)), **ring},
    }  # fmt: skip


def _link(
    name: str, ends: tuple[int, int], loading_pct: float, is_open: bool, is_worst: bool, say: Words
) -> Options:
    value = say("open_element") if is_open else f"{loading_pct:.1f} %" if math.isfinite(loading_pct) else "–"
    style: Options = {"color": colour_of(loading_pct), "width": 6 if is_worst else 3, "opacity": 1.0}
    if is_open:
        style = {"color": GREY, "width": 1.5, "opacity": 1.0, "type": "dashed"}
    return {
        "source": str(ends[0]), "target": str(ends[1]), "name": name, "text": f"{name}: {value}", "lineStyle": style,
    }  # fmt: skip


def bars_chart(network: Network, flow: Flow, step: int, say: Words) -> Options:
    """The most loaded elements at one step, the highest on top."""
    known = {name: v for name, v in loading_at(network, flow, step).items() if math.isfinite(v)}
    top = sorted(known, key=lambda name: -known[name])[:MOST_BARS][::-1]
    data = [{"value": round(known[name], 1), "itemStyle": {"color": colour_of(known[name])}} for name in top]
    return {
        "animation": False, "grid": {"left": 80, "right": 50, "top": 10, "bottom": 45},
        "xAxis": {"type": "value", "name": say("loading_axis"), "nameLocation": "middle", "nameGap": 26, "min": 0},
        "yAxis": {"type": "category", "data": top},
        "series": [{"type": "bar", "data": data, "label": {"show": True, "position": "right"}}] if top else [],
    }  # fmt: skip
