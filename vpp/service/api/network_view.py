"""The network under the plan in force: loading of every element, voltage of every bus, step by step.

    p_bus[t] = background[t] at its forecast mean + plan of the assets at the bus

A batch AC power flow of one case; kept by run, so that looking again costs nothing. Where the service's last
forecast does not reach the plan, as on a record that no loop runs, one is made for looking only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar

import numpy as np

from vpp.domain.forecast import Forecast
from vpp.domain.network import Flow, Network
from vpp.domain.schedule import DispatchRun, Schedule
from vpp.domain.time import QUARTER, Array, TimeGrid, floor_to
from vpp.service.api.context import Api
from vpp.service.situation import GridSide
from vpp.service.system import SCENARIOS, System

KEPT = 8
Key = TypeVar("Key")
Kept = TypeVar("Kept")


def plan_flow(api: Api, run: DispatchRun) -> Flow | None:
    """The flow of a run's plan over the steps its forecast covers; None without a network or such steps."""
    with api.lock:
        if run.id not in api.flows:
            side, forecast = api.system.grid_side(api.clock()), plan_forecast(api, run)
            keep(api.flows, run.id, _flow(side, forecast, api.system, run.schedule))
        return api.flows[run.id]


def plan_forecast(api: Api, run: DispatchRun) -> Forecast | None:
    """The service's last forecast where it reaches the plan, else one made now for its steps to come."""
    with api.lock:
        last, now = api.system.last_forecast, floor_to(api.clock(), QUARTER)
        if covered(run.schedule.grid, last) is not None or run.schedule.grid.end <= now:
            return last
        if run.id not in api.forecasts:
            quarters = TimeGrid.between(now, floor_to(run.schedule.grid.end, QUARTER), QUARTER)
            made = api.system.forecaster.forecast(api.system.history(now), quarters, SCENARIOS)
            keep(api.forecasts, run.id, made)
        return api.forecasts[run.id]


def keep(found: dict[Key, Kept], key: Key, value: Kept) -> None:
    """Add to the last few of a cache."""
    while len(found) >= KEPT:
        found.pop(next(iter(found)))
    found[key] = value


def _flow(side: GridSide | None, forecast: Forecast | None, system: System, schedule: Schedule) -> Flow | None:
    grid = covered(schedule.grid, forecast)
    if side is None or forecast is None or grid is None:
        return None
    p, q = bus_injection_of(side, forecast.on(grid), system, schedule)
    return side.network.flow(grid, p[None], q[None])


def covered(grid: TimeGrid, forecast: Forecast | None) -> TimeGrid | None:
    """The steps of `grid` inside the forecast's span."""
    if forecast is None:
        return None
    inside = [
        t for t in range(grid.n)
        if forecast.grid.start <= grid.edges[t] and grid.edges[t + 1] <= forecast.grid.end
    ]  # fmt: skip
    return grid.part(inside[0], inside[-1] + 1) if inside else None


def bus_injection_of(
    side: GridSide, forecast: Forecast, system: System, schedule: Schedule
) -> tuple[Array, Array]:
    """Net bus injections p, q (T,B) over the forecast's grid."""
    values = forecast.expected[[forecast.index[name] for name in side.background.series]]
    p, q = (np.array(v) for v in side.background.injection(values, values * side.q_ratio[:, None]))
    position = {bus: i for i, bus in enumerate(side.network.buses)}
    for row, asset_id in enumerate(schedule.asset_ids):
        bus = system.portfolio.asset(asset_id).bus
        if bus is not None:
            p[:, position[bus]] += forecast.grid.sample(schedule.grid, schedule.power_mw[row])
            q[:, position[bus]] += forecast.grid.sample(schedule.grid, schedule.q_mvar[row])
    return p, q


def ends_of(network: Network) -> Mapping[str, tuple[int, int]]:
    """Bus numbers at both ends of each rated element, where the network tells them."""
    found: Mapping[str, tuple[int, int]] = getattr(network, "ends", {})
    return found


def open_at(network: Network, moment: datetime) -> frozenset[str]:
    """Elements out of service or open at an end, where the network tells them."""
    ask: Callable[[datetime], frozenset[str]] | None = getattr(network, "open_at", None)
    return frozenset() if ask is None else ask(moment)


def bands_of(network: Network) -> Mapping[int, tuple[float, float]]:
    """Least and greatest voltage in per unit of buses, where the network tells them."""
    found: Mapping[int, tuple[float, float]] = getattr(network, "bands", {})
    return found


def coordinates_of(network: Network) -> Mapping[int, tuple[float, float]]:
    """Positions of buses, where the network has them."""
    found: Mapping[int, tuple[float, float]] | None = getattr(network, "coordinates", None)
    return found or {}
