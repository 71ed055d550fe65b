"""The P-Q region of one interval as an SVG: P to the right, Q upwards, the plan a dot; nothing is loaded for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from vpp.service.page.charts import BLUE, GREY, ORANGE
from vpp.service.page.words import Words

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 420, 320, 70, 20, 20, 50
LEAST_SPAN = 0.02
"""MW and Mvar that an axis shows at least, so that a region without width is a line and no noise."""


def region_svg(interval: Mapping[str, Any], say: Words) -> str:
    """The polygon of an interval of a flexibility answer, empty for one without corners."""
    corners = interval["polygon"]
    if not corners:
        return ""
    planned = interval["planned"]
    points = [*corners, planned]
    p_axis, q_axis = (_axis([c[i] for c in points]) for i in (0, 1))

    def at(point: Sequence[float]) -> str:
        x = LEFT + (point[0] - p_axis[0]) / (p_axis[1] - p_axis[0]) * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - (point[1] - q_axis[0]) / (q_axis[1] - q_axis[0]) * (HEIGHT - TOP - BOTTOM)
        return f"{x:.1f},{y:.1f}"

    outline = " ".join(at(c) for c in corners)
    x, y = at(planned).split(",")
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="100%" role="img" style="max-width:{WIDTH}px" '
        f'font-family="sans-serif" font-size="12">{_frame(p_axis, q_axis, say)}'
        f'<polygon points="{outline}" fill="{BLUE}" fill-opacity="0.25" stroke="{BLUE}" stroke-width="2"/>'
        f'<circle cx="{x}" cy="{y}" r="5" fill="{ORANGE}"><title>{escape(say("plan"))}</title></circle></svg>'
    )


def _axis(values: Sequence[float]) -> tuple[float, float]:
    """Span with a margin around the values."""
    low, high = min(values), max(values)
    middle, half = (low + high) / 2.0, max(0.6 * (high - low), LEAST_SPAN / 2.0)
    return middle - half, middle + half


def _frame(p_axis: tuple[float, float], q_axis: tuple[float, float], say: Words) -> str:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    box = f'<rect x="{LEFT}" y="{TOP}" width="{right - LEFT}" height="{bottom - TOP}" fill="none" stroke="{GREY}"/>'
    texts = [
        _text(LEFT, bottom + 16, "start", f"{p_axis[0]:.3f}"), _text(right, bottom + 16, "end", f"{p_axis[1]:.3f}"),
        _text((LEFT + right) // 2, bottom + 36, "middle", say("p_axis")),
        _text(LEFT - 6, bottom, "end", f"{q_axis[0]:.3f}"), _text(LEFT - 6, TOP + 10, "end", f"{q_axis[1]:.3f}"),
        f'<g transform="translate(16 {(TOP + bottom) // 2}) rotate(-90)">{_text(0, 0, "middle", say("q_axis"))}</g>',
    ]  # fmt: skip
    return box + "".join(texts)


def _text(x: int, y: int, anchor: str, text: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="#444">{escape(text)}</text>'
