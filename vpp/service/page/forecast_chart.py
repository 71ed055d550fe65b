"""One series' forecast as a fan of bands with what was measured over it, and the reliability of its quantiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from forecasting.backtest import BANDS
from vpp.domain.forecast_score import SeriesScore
from vpp.domain.time import Array
from vpp.service.page.charts import BLUE, GREEN, GREY, ORANGE, Options, frame, line, now_mark, steps
from vpp.service.page.forecast_view import ForecastView
from vpp.service.page.snapshot import Curve
from vpp.service.page.words import Words

OPACITY = {"90": 0.15, "80": 0.28, "50": 0.45}
THREE_DIGITS = "v => v == null ? '–' : String(Number(v.toPrecision(3)))"


def fan_chart(view: ForecastView, series: str, now: datetime, zone: str, say: Words) -> Options:
    """Bands around the median, drawn as layers between neighbouring quantiles, and the measured values."""
    row = view.forecast.index[series]
    quantiles = view.forecast.quantiles[row]
    drawn = [_layer("", quantiles[0], view, zone, 0.0)]
    for name, low, high in _layers():
        drawn.append(_layer(say("band_of", share=name), quantiles[high] - quantiles[low], view, zone, OPACITY[name]))
    median = view.forecast.levels.index(0.5)
    drawn.append(line(say("median"), steps(Curve(view.forecast.grid, quantiles[median]), zone), BLUE))
    measured = line(say("measured"), steps(Curve(view.grid, view.measured[row]), zone), GREEN)
    drawn.append({**measured, "markLine": now_mark(now, zone, say)})
    options = frame(zone, say, drawn, [say("value_axis")])
    options["tooltip"][":valueFormatter"] = THREE_DIGITS
    return options


def _layers() -> list[tuple[str, int, int]]:
    """(band, lower and upper level) of the layers between neighbouring band edges, the lowest first."""
    widest_first = sorted(BANDS, key=lambda name: BANDS[name][0])
    lows, highs = ([BANDS[name][side] for name in widest_first] for side in (0, 1))
    rising = [(name, a, b) for name, a, b in zip(widest_first, lows, [*lows[1:], highs[-1]], strict=True)]
    falling = [(name, b, a) for name, a, b in zip(widest_first, highs, highs[1:], strict=False)]
    return rising + falling[::-1]


def _layer(name: str, height: Array, view: ForecastView, zone: str, opacity: float) -> Options:
    shade = {"color": BLUE, "opacity": opacity}
    more: Options = {"areaStyle": shade} if opacity else {}
    return line(
        name, steps(Curve(view.forecast.grid, height), zone), lineStyle={"opacity": 0}, stack="fan",
        stackStrategy="all", tooltip={"show": False}, itemStyle=shade, **more,
    )  # fmt: skip


def pooled(scores: Sequence[SeriesScore]) -> Mapping[float, float]:
    """Share of outcomes below each level, the mean over the series that tell it."""
    told = [s.reliability for s in scores if s.reliability]
    return {level: float(np.mean([t[level] for t in told])) for level in told[0]} if told else {}


def reliability_chart(scores: Sequence[SeriesScore], series: str, say: Words) -> Options | None:
    """Observed share below each nominal level, of one series and of all; on the diagonal a forecast is calibrated.

    None where no outcome tells it.
    """
    own = next((s.reliability for s in scores if s.series == series), {})
    curves = [(series, BLUE, own), (say("all_series"), ORANGE, pooled(scores))]
    told = [(name, colour, found) for name, colour, found in curves if found]
    if not told:
        return None
    ideal = {"type": "line", "name": say("ideal"), "data": [[0, 0], [100, 100]], "showSymbol": False, "silent": True,
             "lineStyle": {"color": GREY, "type": "dashed", "width": 1}, "itemStyle": {"color": GREY}}  # fmt: skip
    lines = [
        {"type": "line", "name": name, "symbolSize": 6, "lineStyle": {"color": colour}, "itemStyle": {"color": colour},
         "data": [[round(100 * level, 1), round(100 * share, 1)] for level, share in sorted(found.items())]}
        for name, colour, found in told
    ]  # fmt: skip
    axis: Options = {"type": "value", "min": 0, "max": 100, "interval": 25, "nameLocation": "middle"}
    return {
        "animation": False, "tooltip": {"trigger": "item"},
        "legend": {"top": 0, "icon": "roundRect", "itemHeight": 6},
        "grid": {"left": 60, "right": 20, "top": 50, "bottom": 52},
        "xAxis": {**axis, "name": say("nominal_axis"), "nameGap": 30},
        "yAxis": {**axis, "name": say("observed_axis"), "nameGap": 42}, "series": [ideal, *lines],
    }  # fmt: skip
