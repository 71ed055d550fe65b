"""What a portfolio's entries name that only a network or its series can have, and what of it is not there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from vpp.domain.errors import Fault
from vpp.service.yaml_files import raw_ids

WHOLE = TypeAdapter(int)


@dataclass(frozen=True)
class References:
    """What entries name that only a network has, those of faulty entries too.

    `buses` are (asset, bus or None), `points` (congestion point, bus), `series` (asset, input, series)
    of series that the portfolio does not declare itself, `elements` (congestion point, element it protects).
    """

    buses: tuple[tuple[str, int | None], ...]
    points: tuple[tuple[str, int], ...]
    series: tuple[tuple[str, str, str], ...]
    elements: tuple[tuple[str, str], ...] = ()


def check_against_network(named: References, buses: Collection[int]) -> list[Fault]:
    """Faults of assets and congestion points whose bus the network does not have, or that have none."""
    faults = []
    for asset, bus in named.buses:
        if bus is None:
            faults.append(Fault(asset, "bus", "is missing, and a network is given"))
        elif bus not in buses:
            faults.append(Fault(asset, "bus", f"unknown bus {bus}"))
    return faults + [Fault(point, "buses", f"unknown bus {bus}") for point, bus in named.points if bus not in buses]


def check_against_elements(named: References, elements: Collection[str]) -> list[Fault]:
    """Faults of congestion points whose element the network does not have."""
    return [Fault(point, "element", f"unknown element {e}") for point, e in named.elements if e not in elements]


def check_against_series(named: References, known: Collection[str]) -> list[Fault]:
    """Faults of inputs whose series is neither in `known` nor the portfolio's own."""
    return [
        Fault(asset, f"inputs.{name}", f"missing series {series}")
        for asset, name, series in named.series
        if series not in known
    ]


def references_of(raw: Mapping[str, Any]) -> References:
    """What the entries of the raw portfolio name, faulty entries too."""
    buses: list[tuple[str, int | None]] = []
    series: list[tuple[str, str, str]] = []
    own = raw_ids(raw.get("series"))
    for entry in _entries(raw.get("assets")):
        asset, inputs = str(entry["id"]), entry.get("inputs")
        bus = _whole(entry.get("bus"))
        if bus is not None or entry.get("bus") is None:
            buses.append((asset, bus))
        for name, source in inputs.items() if isinstance(inputs, dict) else ():
            named = source.get("series") if isinstance(source, dict) else None
            if isinstance(named, str) and named not in own:
                series.append((asset, str(name), named))
    points = [
        (str(point["id"]), whole)
        for point in _entries(raw.get("congestion_points"))
        if isinstance(point.get("buses"), list)
        for bus in point["buses"]
        if (whole := _whole(bus)) is not None
    ]
    elements = tuple(
        (str(point["id"]), point["element"])
        for point in _entries(raw.get("congestion_points"))
        if isinstance(point.get("element"), str)
    )
    return References(tuple(buses), tuple(points), tuple(series), elements)


def _entries(raw: object) -> list[dict[str, Any]]:
    return [e for e in raw if isinstance(e, dict) and "id" in e] if isinstance(raw, list) else []


def _whole(value: object) -> int | None:
    """A bus number as its model would read it, None for what is none."""
    try:
        return WHOLE.validate_python(value)
    except ValidationError:
        return None
