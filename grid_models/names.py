"""What the source of a network calls its buses and elements, beside the numbers that the tables keep."""

from __future__ import annotations

from collections import Counter
from typing import Any

ELEMENTS = ("bus", "line", "trafo")


def names_of(net: Any) -> dict[str, str]:
    """`bus 93`, `line 18` or `trafo 0` by the name in a pandapower net; what several are called names none of them."""
    found: list[tuple[str, str]] = []
    for kind in ELEMENTS:
        table = net[kind]
        if "name" in table:
            found += [(str(name), f"{kind} {number}") for number, name in table["name"].items() if name]
    often = Counter(name for name, _ in found)
    return {name: element for name, element in found if often[name] == 1}
