"""What every request handler may touch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request

from adapters.store import Store
from vpp.domain.forecast import Forecast
from vpp.domain.network import Flow
from vpp.domain.schedule import DispatchRun
from vpp.domain.stage import DAY_AHEAD, INTRADAY
from vpp.domain.time import Array
from vpp.service.api.outages import RankedOutage
from vpp.service.desk import PLAN, ROLL
from vpp.service.forecast_scores import ScoreKeeper
from vpp.service.system import System


@dataclass
class Api:
    """One served system. `lock` is held by whoever ticks the loop; the store is safe without it."""

    system: System
    clock: Callable[[], datetime]
    lock: threading.RLock
    open_page: bool = False
    flows: dict[str, Flow | None] = field(default_factory=dict)
    """Network state of the last looked-at plans, by run id."""
    forecasts: dict[str, Forecast] = field(default_factory=dict)
    """Forecasts made for looking at plans that the service's last one does not reach, by run id."""
    outages: dict[str, tuple[RankedOutage, ...]] = field(default_factory=dict)
    """Outages of the last looked-at plans, ranked, by run id."""
    headroom: dict[tuple[str, int], Array] = field(default_factory=dict)
    """Room at every bus for the last looked-at steps, by run id and step of its flow."""
    ranking: threading.Lock = field(default_factory=threading.Lock)
    """Held while outages are tried, so that nobody tries the same twice."""
    probing: threading.Lock = field(default_factory=threading.Lock)
    """Held while headroom is looked for, likewise; nobody waits for the outages with it."""
    scores: ScoreKeeper = field(default_factory=ScoreKeeper)

    @property
    def store(self) -> Store:
        return self.system.store

    def current(self) -> DispatchRun | None:
        """The released plan in force: the last intraday one, else the last day-ahead one."""
        return self.store.runs.latest(INTRADAY, ROLL) or self.store.runs.latest(DAY_AHEAD, PLAN)


def api_of(request: Request) -> Api:
    """The served system of a request."""
    found: Api = request.app.state.api
    return found


ApiDep = Annotated[Api, Depends(api_of)]
