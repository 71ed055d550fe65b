"""Which assets a question about flexibility is about: those of a bus, a congestion point or a site, or that act on an
element. The envelope of a site is what the network lets it inject while all others do as planned.

The effect of a bus on an element is the change of its loading per MW more injection there, in percentage points, from
the AC solution of the plan and of the plan with a little more and a little less at that bus, at the plan's taps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from vpp.domain.errors import Fault
from vpp.domain.network import Flow, Network
from vpp.domain.portfolio import Portfolio
from vpp.domain.time import QUARTER, Array, TimeGrid, floor_to, rfc3339, utc

PROBE_MW = 0.05
LEAST_SHARE = 0.1
LONGEST = timedelta(hours=6)


@dataclass(frozen=True)
class Place:
    """One of bus, element, congestion point and site, as a question names it."""

    bus: str | None = None
    element: str | None = None
    point: str | None = None
    site: str | None = None

    @property
    def given(self) -> dict[str, str]:
        """What was named, by what it is."""
        named = {"bus": self.bus, "element": self.element, "point": self.point, "site": self.site}
        return {kind: name for kind, name in named.items() if name is not None}


def source_names(network: Network | None) -> Mapping[str, str]:
    """What the network's source calls its buses and elements, where the network knows it."""
    found: Mapping[str, str] = getattr(network, "names", {})
    return found


def bus_number(name: str, names: Mapping[str, str]) -> int | None:
    """The number in `93` or `bus 93`, or that of the bus of a name of the network's source."""
    found = re.fullmatch(r"(?:bus )?(\d{1,9})", names.get(name.strip(), name.strip()))
    return int(found[1]) if found else None


def element_name(name: str, elements: Sequence[str], names: Mapping[str, str]) -> str | None:
    """The element that is called so, here or by the network's source; a bare number is that of a line."""
    wanted = names.get(name.strip(), name.strip())
    wanted = f"line {wanted}" if wanted.isdigit() else wanted
    return wanted if wanted in elements else None


def form_faults(place: Place) -> list[Fault]:
    """Faults of a place that need no portfolio."""
    if len(place.given) == 1:
        return []
    named = " and ".join(place.given) or "none"
    return [Fault("request", "bus", f"exactly one of bus, element, point and site is needed, {named} given")]


def place_faults(place: Place, portfolio: Portfolio, network: Network | None) -> list[Fault]:
    """Everything wrong with a place."""
    faults = form_faults(place)
    if place.bus is not None:
        number = bus_number(place.bus, source_names(network))
        if number is None:
            faults.append(Fault("request", "bus", f"{place.bus} is no bus"))
        elif not any(a.bus == number and a.control != "none" for a in portfolio.assets):
            faults.append(Fault("request", "bus", f"no controllable asset at bus {number}"))
    if place.element is not None:
        if network is None:
            faults.append(Fault("request", "element", "there is no network model"))
        elif element_name(place.element, network.elements, source_names(network)) is None:
            faults.append(Fault("request", "element", f"the network has no element {place.element}"))
    known = {c.id: c for c in portfolio.congestion_points}
    if place.point is not None and place.point not in known:
        faults.append(Fault("request", "point", f"{place.point} is no congestion point"))
    elif place.point is not None and not _controllable(portfolio, known[place.point].buses):
        faults.append(Fault("request", "point", f"no controllable asset at {place.point}"))
    if place.site is not None and not _of_site(portfolio, place.site):
        faults.append(Fault("request", "site", f"no controllable asset of a site {place.site}"))
    return faults


def window_faults(at: datetime, horizon: timedelta, grid: TimeGrid) -> list[Fault]:
    """What is wrong with a window on the quarters of `grid`."""
    faults = []
    if horizon % QUARTER or not QUARTER <= horizon <= LONGEST:
        faults.append(Fault("request", "horizon", "must be a multiple of PT15M from PT15M to PT6H"))
    start = floor_to(utc(at), QUARTER)
    if not grid.start <= start < grid.end:
        span = f"{rfc3339(grid.start)} to {rfc3339(grid.end)}"
        return [*faults, Fault("request", "at", f"{rfc3339(at)} is outside the plan, {span}")]
    if start + horizon > grid.end:
        faults.append(Fault("request", "horizon", f"the window ends after the plan, at {rfc3339(grid.end)}"))
    elif any(m != 15 for m, t in zip(grid.minutes, grid.starts, strict=True) if start <= t < start + horizon):
        faults.append(Fault("request", "horizon", "reaches into steps of the plan longer than a quarter hour"))
    return faults


def _controllable(portfolio: Portfolio, buses: Sequence[int]) -> tuple[str, ...]:
    return tuple(a.id for a in portfolio.assets if a.bus in buses and a.control != "none")


def _of_site(portfolio: Portfolio, site: str) -> tuple[str, ...]:
    return tuple(a.id for a in portfolio.assets if a.site == site and a.control != "none")


def assets_at(
    place: Place, portfolio: Portfolio, network: Network | None, flow: Flow | None, step: int
) -> tuple[str, ...]:
    """The controllable assets a question is about; for an element those of the congestion point that protects it, else
    those whose effect at `step` of the plan's `flow` is a tenth of the greatest one or more.
    """
    if place.bus is not None:
        return _controllable(portfolio, [bus_number(place.bus, source_names(network)) or 0])
    if place.site is not None:
        return _of_site(portfolio, place.site)
    if place.element is None or network is None or flow is None:
        return _controllable(portfolio, next(c for c in portfolio.congestion_points if c.id == place.point).buses)
    name = element_name(place.element, network.elements, source_names(network))
    protected = [c for c in portfolio.congestion_points if c.element == name]
    if protected:
        return _controllable(portfolio, protected[0].buses)
    buses = sorted({a.bus for a in portfolio.assets if a.bus is not None and a.control != "none"})
    effect = np.abs(effects(network, flow, buses, str(name), [step])[0])
    acting = [b for b, e in zip(buses, effect, strict=True) if e >= LEAST_SHARE * effect.max(initial=0.0)]
    return _controllable(portfolio, acting)


def effects(network: Network, flow: Flow, buses: Sequence[int], element: str, steps: Sequence[int]) -> Array:
    """(steps, buses) percentage points of loading of `element` per MW of injection at each bus, at the plan's taps."""
    at, e = [network.buses.index(b) for b in buses], network.elements.index(element)
    grid = flow.grid.part(steps[0], steps[-1] + 1)
    span, count = slice(steps[0], steps[-1] + 1), 2 * len(at)
    p = np.repeat(flow.p_mw[:1, span], count, axis=0)
    for i, bus in enumerate(at):
        p[2 * i, :, bus] += PROBE_MW
        p[2 * i + 1, :, bus] -= PROBE_MW
    q, taps = np.repeat(flow.q_mvar[:1, span], count, axis=0), np.repeat(flow.taps[:1, span], count, axis=0)
    loading = network.flow(grid, p, q, taps).loading_pct[:, :, e]
    found: Array = (loading[0::2] - loading[1::2]).T / (2.0 * PROBE_MW)
    return found
