"""A PGLib-UC case as a problem: thermal classes, renewables, demand and spinning reserve.

    sum of power = demand - renewable,      sum of (available - power) >= reserve
    sum of max on >= demand + reserve - most renewable,      sum of min on <= demand - least renewable
    renewable between the sums of the generators' lower and upper series: they cost nothing, so one is enough.
The second line follows from the first and leaves the relaxation as it is; over integers alone, it is what the
solver's cover cuts need.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks import pglib
from dispatch.assets import _thermal
from dispatch.assets._bands import Positions
from dispatch.assets._thermal_classes import Classes, classes, disaggregate
from dispatch.block import INF, Block, Columns, Rows, eye
from dispatch.problem import Problem, assemble
from vpp.domain.time import Array

RENEWABLE = "renewable"


@dataclass(frozen=True)
class Case:
    """The assembled problem with what its solution is read by."""

    instance: pglib.Instance
    names: tuple[str, ...]
    classes: Classes
    model: _thermal.Model
    problem: Problem


def build(instance: pglib.Instance, *, counted: bool = True) -> Case:
    """The whole case, identical units counted or, for comparison, each a class of its own."""
    grid, steps = pglib.grid_of(instance), instance.time_periods
    fleet = pglib.fleet(instance.thermal_generators, steps)
    found = classes(fleet.units, fleet.since_min, fleet.decided, counted=counted)
    model = _thermal.model(found.units, grid.hours, reserve=True)
    ids = tuple(fleet.names[rows[0]] for rows in found.members)
    lower, upper = _renewable_bounds(instance)
    thermal = Block("thermal", model.columns, model.rows, ids, model.power)
    renewable = Block(RENEWABLE, (Columns("power", (1, steps), lower, upper),), (), (RENEWABLE,), eye(steps))
    everyone = sp.csr_array(sp.kron(np.ones((1, len(ids) + 1)), sp.eye_array(steps), format="csr"))
    per_step = sp.csr_array(sp.kron(np.ones((1, len(ids))), sp.eye_array(steps), format="csr"))
    headroom = per_step @ (model.available - model.power)
    reserve = sp.csr_array(sp.hstack([headroom, sp.csr_array((steps, steps))], format="csr"))
    reserve.eliminate_zeros()
    demand, required = np.array(instance.demand), np.array(instance.reserves)
    units, on = found.units, model.on
    extra = (
        Rows("demand", demand, demand, injection=everyone),
        Rows("reserve", required, INF, own=reserve),
        Rows("capacity", demand + required - upper[0], INF, own=_sum_of(on, units.shape.high, reserve.shape[1])),
        Rows("least_output", -INF, demand - lower[0], own=_sum_of(on, units.shape.low, reserve.shape[1])),
    )
    problem = assemble(grid, (*ids, RENEWABLE), (thermal, renewable), extra)
    return Case(instance, fleet.names, found, model, problem)


def _sum_of(on: Positions, mw: Array, columns: int) -> sp.csr_array:
    """(T,columns) sum over classes of `mw` (C,1) times the units on."""
    steps = on.shape[1]
    entries = (np.repeat(mw.ravel(), steps), (np.tile(np.arange(steps), on.shape[0]), on.ravel()))
    return sp.csr_array(sp.coo_array(entries, shape=(steps, columns)))


def _renewable_bounds(instance: pglib.Instance) -> tuple[Array, Array]:
    steps = instance.time_periods
    lower, upper = np.zeros((1, steps)), np.zeros((1, steps))
    for r in instance.renewable_generators.values():
        lower[0] += r.power_output_minimum
        upper[0] += r.power_output_maximum
    return lower, upper


def solution(case: Case, x: Array) -> dict[str, Any]:
    """The plan `x` unit by unit: commitment, total output in MW and each renewable generator's MW."""
    on, start, stop = (x[at] for at in (case.model.on, case.model.start, case.model.stop))
    thermal = case.model.power @ x[: case.model.power.shape[1]]
    units_on, power = disaggregate(case.classes, on, start, stop, thermal.reshape(on.shape))
    names = case.names
    renewable = x[case.model.power.shape[1] :]
    return {
        "thermal": {
            name: {"on": [int(v) for v in units_on[i]], "power_mw": [float(v) for v in power[i]]}
            for i, name in enumerate(names)
        },
        "renewable": _shares(case.instance.renewable_generators, renewable),
    }


def _shares(generators: Mapping[str, pglib.Renewable], total: Array) -> dict[str, list[float]]:
    """Each generator's output: its lower bound and an equal share of its range."""
    lower = {name: np.array(r.power_output_minimum) for name, r in generators.items()}
    reach = {name: np.array(r.power_output_maximum) - lower[name] for name, r in generators.items()}
    room = sum(reach.values(), np.zeros_like(total))
    share = (total - sum(lower.values(), np.zeros_like(total))) / np.where(room > 0.0, room, 1.0)
    return {name: [float(v) for v in lower[name] + share * reach[name]] for name in generators}
