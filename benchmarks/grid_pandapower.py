"""What a user of pandapower would write for the same cases: one `runpp` after the other.

`default` is `runpp(net, lightsim2grid=False, numba=True)`, which starts every case anew; `best` starts
from the last result (`init="results"`), and in a plain series of steps also keeps pandapower's matrices
(`recycle`). numba compiles parts of pandapower; where it is not installed both run without.
"""

from __future__ import annotations

import copy
import importlib.util
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandapower as pp

from benchmarks.grid_cases import GridCase
from benchmarks.grid_studies import Alteration
from vpp.domain.network import LOADING_TOLERANCE_PCT, VOLTAGE_TOLERANCE_PU
from vpp.domain.time import Array

NUMBA = importlib.util.find_spec("numba") is not None


@dataclass(frozen=True)
class Stretch:
    """Steps of one alteration, row `row` of the study."""

    row: int
    change: Alteration
    steps: Sequence[int]


@dataclass
class Loop:
    """Seconds by the wall and of this process; per (row, step) bus voltages (B,) and loadings (E,).

    None where `runpp` diverged.
    """

    seconds: float = 0.0
    cpu_s: float = 0.0
    found: dict[tuple[int, int], tuple[Array, Array] | None] = field(default_factory=dict)


def run(case: GridCase, stretches: Sequence[Stretch], best: bool, recycle: bool = False) -> Loop:
    """One `runpp` a step; the loop's own work is timed, the changes of the net aside."""
    net, loop = lean(case), Loop()
    pp.runpp(net, lightsim2grid=False, numba=NUMBA)
    for stretch in stretches:
        with altered(net, case, stretch.change):
            warm = False
            for t in stretch.steps:
                started, cpu = time.perf_counter(), time.process_time()
                net.load["p_mw"], net.load["q_mvar"] = -case.p_mw[t], -case.q_mvar[t]
                answer = _solve(net, best and warm, recycle)
                loop.seconds += time.perf_counter() - started
                loop.cpu_s += time.process_time() - cpu
                loop.found[stretch.row, t] = answer
                warm = answer is not None
    return loop


def lean(case: GridCase) -> Any:
    """The net with one load per bus instead of all that injects constant power."""
    net = copy.deepcopy(case.net)
    net.load, net.sgen = net.load.iloc[:0], net.sgen.iloc[:0]
    net.gen["p_mw"], net.ward["ps_mw"], net.ward["qs_mvar"] = 0.0, 0.0, 0.0
    net.dcline["p_mw"], net.dcline["loss_mw"] = 0.0, 0.0
    pp.create_loads(net, net.bus.index, p_mw=np.zeros(len(net.bus)), q_mvar=np.zeros(len(net.bus)))
    return net


@contextmanager
def altered(net: Any, case: GridCase, change: Alteration) -> Iterator[None]:
    """The net with an element out of service and switches closed, put back afterwards."""
    lines = len(case.tables.lines.number)
    places = [("switch", number, "closed", True) for number in change.closed]
    if change.element >= lines:
        places.append(("trafo", int(case.tables.trafos.number[change.element - lines]), "in_service", False))
    elif change.element >= 0:
        places.append(("line", int(case.tables.lines.number[change.element]), "in_service", False))
    for table, number, column, value in places:
        net[table].at[number, column] = value
    yield
    for table, number, column, value in places:
        net[table].at[number, column] = not value


def broken(case: GridCase, vm: Array, loading: Array, limit: Array) -> bool:
    """The verdict on bus voltages (B,) and loadings (E,) up to `limit`, from the definition of a violation."""
    buses = case.tables.buses
    with np.errstate(invalid="ignore"):
        low, high = vm < buses.min_vm_pu - VOLTAGE_TOLERANCE_PU, vm > buses.max_vm_pu + VOLTAGE_TOLERANCE_PU
        over = loading > limit + LOADING_TOLERANCE_PCT
    return bool(((low | high) & ~case.given).any() or over.any())


def _solve(net: Any, warm: bool, recycle: bool) -> tuple[Array, Array] | None:
    how: dict[str, Any] = {"init": "results"} if warm else {}
    if warm and recycle:
        how["recycle"] = {"bus_pq": True, "trafo": False, "gen": False}
    try:
        pp.runpp(net, lightsim2grid=False, numba=NUMBA, **how)
    except pp.LoadflowNotConverged:
        return _solve(net, False, False) if warm else None
    loading = [net.res_line.loading_percent.to_numpy(), net.res_trafo.loading_percent.to_numpy()]
    return net.res_bus.vm_pu.to_numpy(copy=True), np.nan_to_num(np.concatenate(loading))
