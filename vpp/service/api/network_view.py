"""The network under the plan in force: loading of every element, voltage of every bus, step by step.

    p_bus[t] = background[t] at its forecast mean + plan of the assets at the bus

A batch AC power flow of one case; kept by run, so that looking again costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np

from vpp.domain.forecast import Forecast
from vpp.domain.network import Flow, Network
from vpp.domain.schedule import DispatchRun, Schedule
from vpp.domain.time import Array, TimeGrid
from vpp.service.api.context import Api
from vpp.service.situation import GridSide
from vpp.service.system import System

KEPT = 8


def plan_flow(api: Api, run: DispatchRun) -> Flow | None:
    """The flow of a run's plan over the steps its forecast covers; None without a network or such steps."""
    with api.lock:
        if run.id not in api.flows:
            while len(api.flows) >= KEPT:
                api.flows.pop(next(iter(api.flows)))
            api.flows[run.id] = _flow(api.system, run.schedule, api.clock())
        return api.flows[run.id]


def _flow(system: System, schedule: Schedule, now: datetime) -> Flow | None:
    side = system.grid_side(now)
    if side is None:
        return None
    forecast = system.last_forecast
    grid = covered(schedule.grid, forecast)
    if grid is None and schedule.grid.end > now:
        system.forecast(now, schedule.grid.part(_first_after(schedule.grid, now), schedule.grid.n), scenarios=0)
        forecast = system.last_forecast
        grid = covered(schedule.grid, forecast)
    if grid is None or forecast is None:
        return None
    p, q = bus_injection_of(side, forecast.on(grid), system, schedule)
    return side.network.flow(grid, p[None], q[None])


def _first_after(grid: TimeGrid, now: datetime) -> int:
    return min(next((t for t, start in enumerate(grid.starts) if start >= now), grid.n - 1), grid.n - 1)


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


def coordinates_of(network: Network) -> Mapping[int, tuple[float, float]]:
    """Positions of buses, where the network has them."""
    found: Mapping[int, tuple[float, float]] | None = getattr(network, "coordinates", None)
    return found or {}
