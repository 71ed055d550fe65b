"""Who owns what, where it is metered and where it clears."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Literal

Control = Literal["continuous", "step", "request", "price", "none"]


@dataclass(frozen=True)
class Site:
    """A customer with assets. `show_single`: its contract lets the connecting grid operator see it alone."""

    id: str
    name: str
    show_single: bool = False


@dataclass(frozen=True)
class MeteringPoint:
    id: str
    site: str


@dataclass(frozen=True)
class Input:
    """An exogenous trajectory: `scale` times a forecast series, or times 24 known values by local hour."""

    scale: float = 1.0
    series: str | None = None
    hourly: tuple[float, ...] = (1.0,) * 24


@dataclass(frozen=True)
class Asset:
    """One controllable or fixed resource. `params` is the frozen parameter model of its kind.

    `bus` is given only where a network model is; `node` is the clearing node. `tan_phi` is Q/P
    (Mvar per MW, same sign for both), `notice` how long before a change the asset must know. Within `inverter_mva` its
    Q can be asked for; plans leave it at `tan_phi`. 0: Q only follows P.
    """

    id: str
    kind: str
    site: str
    metering_point: str
    node: str
    bus: int | None
    params: Any
    notice: timedelta = timedelta()
    control: Control = "continuous"
    tan_phi: float = 0.0
    inputs: Mapping[str, Input] = field(default_factory=dict)
    inverter_mva: float = 0.0


@dataclass(frozen=True)
class TradingUnit:
    """Sites of one clearing node that trade together."""

    id: str
    node: str
    sites: tuple[str, ...]


@dataclass(frozen=True)
class CongestionPoint:
    """A named set of buses at which the grid desk asks for flexibility, and the element it protects."""

    id: str
    name: str
    buses: tuple[int, ...]
    element: str


@dataclass(frozen=True)
class Outage:
    """A planned switching state over [start, end): lines out, switches moved (index -> closed)."""

    id: str
    start: datetime
    end: datetime
    lines_out: tuple[int, ...]
    switches: Mapping[int, bool]


@dataclass(frozen=True)
class Portfolio:
    """Everything the service aggregates, immutable; assets keep their file order everywhere."""

    id: str
    name: str
    zone: str
    currency: str
    sites: tuple[Site, ...]
    metering_points: tuple[MeteringPoint, ...]
    assets: tuple[Asset, ...]
    trading_units: tuple[TradingUnit, ...]
    congestion_points: tuple[CongestionPoint, ...] = ()
    outages: tuple[Outage, ...] = ()
    holidays: str = ""
    """ISO 3166 code of the country whose public holidays its customers keep; empty for none."""

    @cached_property
    def index(self) -> dict[str, int]:
        """Asset id -> position."""
        return {a.id: i for i, a in enumerate(self.assets)}

    def asset(self, asset_id: str) -> Asset:
        """The asset of that id. Raises KeyError."""
        return self.assets[self.index[asset_id]]

    def of_kind(self, kind: str) -> tuple[Asset, ...]:
        return tuple(a for a in self.assets if a.kind == kind)


@dataclass(frozen=True)
class AssetState:
    """What is known of one asset at `at`.

    `stored_mwh` is the content of its store in the kind's own energy (electric, thermal, or product
    times its specific energy); `minutes_in_state` counts since the last start or stop; `started` are the
    starts of the 24 h before `at`, where the kind limits them; `away_c_h` are the degree-hours off the set-point
    of the `away_h` hours seen of the UTC day that holds `at`, where the kind has a patience.
    """

    asset_id: str
    at: datetime
    known_at: datetime
    power_mw: float
    stored_mwh: float = 0.0
    on: bool = False
    minutes_in_state: int = 1_000_000
    available: bool = True
    started: tuple[datetime, ...] = ()
    away_c_h: float = 0.0
    away_h: float = 0.0
