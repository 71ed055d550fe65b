"""Operating envelopes: what a connection or a group of them may take and give, as a grid operator sends it.

With E(t) the newest revisions known at `at` whose interval holds t, the limits of a place at t are

    import(t) = min over E(t) of import_mw,  export(t) = min over E(t) of export_mw,

and on a side where E(t) states nothing the default of the place's issuer; a step is bound by the least of its
moments. Both limits are positive MW of the net exchange, so zero exchange always keeps them. Source: dynamic
operating envelopes, M. Z. Liu et al., "Grid and market services from the edge", IEEE Power and Energy Magazine
19(4), 2021.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from vpp.domain.time import Array, TimeGrid


@dataclass(frozen=True)
class Issuer:
    """Who sends limits: a grid operator."""

    id: str
    name: str


@dataclass(frozen=True)
class Place:
    """A connection or group as its issuer names it: the assets behind it, and what holds where no envelope does."""

    id: str
    issuer: str
    assets: tuple[str, ...]
    import_mw: float
    export_mw: float


@dataclass(frozen=True)
class Interval:
    """Limits over [start, end); None leaves a side to other envelopes and to the default."""

    start: datetime
    end: datetime
    import_mw: float | None = None
    export_mw: float | None = None


@dataclass(frozen=True)
class Envelope:
    """One message of an issuer about one place. A higher revision of the same id replaces it whole; one without
    intervals withdraws it."""

    id: str
    revision: int
    issuer: str
    place: str
    received_at: datetime
    intervals: tuple[Interval, ...]

    @property
    def content(self) -> tuple[str, tuple[Interval, ...]]:
        """What it says, whenever it was received."""
        return self.place, self.intervals

    @property
    def until(self) -> datetime:
        """End of its last interval; when it was received where it has none."""
        return max((i.end for i in self.intervals), default=self.received_at)


@dataclass(frozen=True)
class Bounds:
    """Limits (T,) of a place over a grid, and the envelopes behind them as "id r2"; `default` where one may hold."""

    import_mw: Array
    export_mw: Array
    envelopes: tuple[str, ...]
    default: bool


@dataclass(frozen=True)
class ReceivedLimits:
    """Issuers, the places they limit, and the envelopes of the portfolio's own file."""

    issuers: tuple[Issuer, ...] = ()
    places: tuple[Place, ...] = ()
    envelopes: tuple[Envelope, ...] = ()

    def place(self, issuer: str, name: str) -> Place | None:
        """The place that an issuer calls so."""
        return next((p for p in self.places if (p.issuer, p.id) == (issuer, name)), None)

    @property
    def names(self) -> Mapping[str, str]:
        """Issuer id -> name."""
        return {i.id: i.name for i in self.issuers}


def newest(envelopes: Iterable[Envelope], at: datetime) -> tuple[Envelope, ...]:
    """Of every issuer and id the highest revision among those received by `at`, by issuer and id."""
    found: dict[tuple[str, str], Envelope] = {}
    for e in envelopes:
        known = found.get((e.issuer, e.id))
        if e.received_at <= at and (known is None or known.revision < e.revision):
            found[e.issuer, e.id] = e
    return tuple(found[key] for key in sorted(found))


def bounds_over(place: Place, envelopes: Sequence[Envelope], grid: TimeGrid) -> Bounds:
    """The limits of `place` over `grid`; `envelopes` are newest revisions, those of other places are left out."""
    stated = [
        (f"{e.id} r{e.revision}", i)
        for e in envelopes
        if (e.issuer, e.place) == (place.issuer, place.id)
        for i in e.intervals
        if i.start < grid.end and i.end > grid.start
    ]
    inside = {m for _, i in stated for m in (i.start, i.end) if grid.start < m < grid.end}
    moments = np.array([m.timestamp() for m in sorted({*grid.edges, *inside})])
    first = np.searchsorted(moments, [m.timestamp() for m in grid.starts])
    sides, default = [], False
    for standing, values in (
        (place.import_mw, [i.import_mw for _, i in stated]),
        (place.export_mw, [i.export_mw for _, i in stated]),
    ):
        least = np.full(len(moments) - 1, np.inf)
        for (_, interval), mw in zip(stated, values, strict=True):
            if mw is not None:
                begin, end = np.searchsorted(moments, [interval.start.timestamp(), interval.end.timestamp()])
                least[begin:end] = np.minimum(least[begin:end], mw)
        default = default or bool(np.isinf(least).any())
        sides.append(np.minimum.reduceat(np.where(np.isinf(least), standing, least), first))
    return Bounds(sides[0], sides[1], tuple(dict.fromkeys(name for name, _ in stated)), default)
