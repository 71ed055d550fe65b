"""The demo network, parsed once into the repository's cache, and injections on it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandapower as pp
import pytest

from grid_models import cache
from grid_models.model import GridModel, load_grid
from grid_models.spec import NetworkSpec
from vpp.domain.portfolio import Outage
from vpp.domain.time import QUARTER, Array, TimeGrid, local_midnight

CACHE = Path(__file__).resolve().parents[2] / ".cache"
ZONE = "Europe/Berlin"
DAY = date(2016, 7, 12)
SPEC = NetworkSpec(
    simbench="1-MV-comm--2-sw", load_growth=1.5, tap_changer="ratio", tap_dead_band_pu=0.01,
    own_generation=[80, 81, 82, 83, 84, 85, 87, 88, 89], drop_storage=True,
)  # fmt: skip
OUTAGE = Outage(
    "ring", local_midnight(DAY, ZONE), local_midnight(DAY + timedelta(days=1), ZONE), (84,), {225: True}
)


@dataclass(frozen=True)
class Demo:
    """The demo day's injections (T,B) with own generation at its profile, and which steps are 11-15 h local."""

    grid: TimeGrid
    p_mw: Array
    q_mvar: Array
    midday: Array


@pytest.fixture(scope="session")
def model() -> GridModel:
    return load_grid(SPEC, [OUTAGE], CACHE)


@pytest.fixture(scope="session")
def demo(model: GridModel, raw_net: Any) -> Demo:
    grid = TimeGrid.local_day(DAY, ZONE)
    first = (grid.start - next(iter(model.series.values())).start) // QUARTER
    at = slice(first, first + grid.n)
    p_values = np.array([model.series[s].values[at] for s in model.background.series])
    none = np.zeros(grid.n)
    q_values = np.array([model.q_values[s][at] if s in model.q_values else none for s in model.background.series])
    p, q = model.background.injection(p_values, q_values)
    position = {b: i for i, b in enumerate(model.network.buses)}
    for number in SPEC.own_generation:
        row = raw_net.sgen.loc[number]
        p[:, position[row.bus]] += row.p_mw * model.series[f"gen:{row.profile}"].values[at]
    hours = [m.astimezone(ZoneInfo(ZONE)).hour for m in grid.starts]
    return Demo(grid, p, q, np.array([11 <= h < 15 for h in hours]))


@pytest.fixture(scope="session")
def raw_net() -> Any:
    """The parsed pandapower net with its own loads and generators."""
    return pickle.loads((cache.ensure(SPEC, CACHE) / cache.NET).read_bytes())


@pytest.fixture(scope="session")
def bare_net(raw_net: Any) -> Callable[[bool], Any]:
    """A fresh pandapower net with one zero load per bus, in the outage's switching state or not."""

    def make(outage: bool) -> Any:
        net = copy.deepcopy(raw_net)
        net.load.drop(net.load.index, inplace=True)
        net.sgen.drop(net.sgen.index, inplace=True)
        for bus in net.bus.index:
            pp.create_load(net, bus, 0.0, 0.0)
        if outage:
            net.line.loc[84, "in_service"] = False
            net.switch.loc[225, "closed"] = True
        return net

    return make


def solve_pandapower(net: Any, p_mw: Array, q_mvar: Array, taps: Any) -> tuple[Array, Array]:
    """Voltages and loadings (lines, then transformers) by a power flow from scratch."""
    net.load["p_mw"], net.load["q_mvar"] = -p_mw, -q_mvar
    net.trafo["tap_pos"] = taps
    pp.runpp(net, calculate_voltage_angles=True, numba=False, lightsim2grid=False, tolerance_mva=1e-10)
    return net.res_bus.vm_pu.to_numpy(), np.r_[net.res_line.loading_percent, net.res_trafo.loading_percent]


def with_extra(demo: Demo, model: GridModel, extra_mw: float, tan_phi: float = 0.2) -> tuple[Array, Array]:
    """Demo injections with `extra_mw` consumption spread evenly on buses 90-106 at midday."""
    p, q = demo.p_mw.copy(), demo.q_mvar.copy()
    buses = np.array([model.network.buses.index(b) for b in range(90, 107)])
    at = np.ix_(np.flatnonzero(demo.midday), buses)
    p[at] -= extra_mw / 17
    q[at] -= extra_mw * tan_phi / 17
    return p, q


def quarters(start: datetime, n: int) -> TimeGrid:
    return TimeGrid.uniform(start, QUARTER, n)
