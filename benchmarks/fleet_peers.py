"""The fleet case stated in three modelling layers, each in its own vectorised way, and handed to HiGHS.

The equations are those of `fleet_case`; every layer has the same columns and rows: charge, discharge and
content of a battery, on, start, stop, product store and missed product of a load, net injection and peak.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
import scipy.sparse as sp

from benchmarks.fleet_case import (
    HOURS,
    MINIMUM_TIMES_H,
    MISSED_EUR_PER_MWH,
    PEAK_EUR_PER_MW,
    START_EUR,
    STEPS,
    WEAR_EUR_PER_MWH,
    Array,
    Case,
)

COLWISE, MINIMISE = 1, 1


@dataclass(frozen=True)
class Handed:
    """A model inside HiGHS, and the seconds it took to state it and to hand it over."""

    highs: Any
    build_s: float
    handover_s: float


def timed(build: Callable[[], Any], hand_over: Callable[[Any], Any]) -> Handed:
    """Both steps on the clock, one after the other."""
    began = time.perf_counter()
    model = build()
    built = time.perf_counter()
    highs = hand_over(model)
    return Handed(highs, built - began, time.perf_counter() - built)


def relaxed_optimum(highs: Any) -> float:
    """Optimum of the relaxation of the model inside `highs`. Raises AssertionError where it has none."""
    for option, value in (("output_flag", False), ("threads", 1), ("solver", "ipm"), ("solve_relaxation", True)):
        highs.setOptionValue(option, value)
    highs.run()
    assert highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return float(highs.getInfo().objective_function_value)


def first_step(values: Array) -> Array:
    """(n, T) `values` (n,) at the first step and nothing later."""
    first = np.zeros((len(values), STEPS))
    first[:, 0] = values
    return first


def low_content(case: Case) -> Array:
    """(n, T) least content of the batteries; at the last step what they began with."""
    low = np.repeat(case.batteries.low_mwh[:, None], STEPS, axis=1)
    low[:, -1] = case.batteries.start_mwh
    return low


def linopy(case: Case) -> Handed:
    """linopy over xarray: one call a group of columns or rows."""
    importlib.import_module("linopy")
    return timed(lambda: _linopy_model(case), lambda m: m.to_highspy())


def _linopy_model(case: Case) -> Any:
    import linopy as lp
    import pandas as pd
    import xarray as xr

    b, q, m = case.batteries, case.loads, lp.Model()
    t = pd.RangeIndex(STEPS, name="t")
    i, j = pd.RangeIndex(len(b.power_mw), name="i"), pd.RangeIndex(len(q.power_mw), name="j")

    def column(values: Array, index: Any) -> Any:
        return xr.DataArray(values, coords=[index])

    def table(values: Array, index: Any) -> Any:
        return xr.DataArray(values, coords=[index, t])

    eta, power, rated = column(b.eta, i), column(b.power_mw, i), column(q.power_mw, j)
    charge = m.add_variables(0, power, coords=[i, t], name="charge")
    discharge = m.add_variables(0, power, coords=[i, t], name="discharge")
    content = m.add_variables(table(low_content(case), i), column(b.high_mwh, i), coords=[i, t], name="content")
    gained = HOURS * eta * charge - HOURS / eta * discharge
    m.add_constraints(
        content - content.shift(t=1).fillna(0) - gained == table(first_step(b.start_mwh), i), name="balance"
    )
    on = m.add_variables(binary=True, coords=[j, t], name="on")
    start = m.add_variables(0, 1, coords=[j, t], name="start")
    stop = m.add_variables(0, 1, coords=[j, t], name="stop")
    product = m.add_variables(0, column(q.capacity_mwh, j), coords=[j, t], name="product")
    missed = m.add_variables(0, table(HOURS * q.drawn_mw, j), name="missed")
    m.add_constraints(on - on.shift(t=1).fillna(0) - start + stop == 0, name="commitment")
    for k in range(len(MINIMUM_TIMES_H)):
        made, (run, pause) = np.flatnonzero(q.make == k), q.minimum_steps(k)
        of_make = {"j": made}
        m.add_constraints(start.isel(of_make).rolling(t=run).sum() - on.isel(of_make) <= 0, name=f"run_{k}")
        m.add_constraints(stop.isel(of_make).rolling(t=pause).sum() + on.isel(of_make) <= 1, name=f"pause_{k}")
    kept = first_step(q.start_mwh) - HOURS * q.drawn_mw
    m.add_constraints(
        product - product.shift(t=1).fillna(0) - HOURS * rated * on - missed == table(kept, j), name="store"
    )
    net = m.add_variables(-case.connection_mw, case.connection_mw, coords=[t], name="net")
    peak = m.add_variables(0, name="peak")
    m.add_constraints(net - (discharge - charge).sum("i") + (rated * on).sum("j") == 0, name="site")
    m.add_constraints(peak + net >= 0, name="above")
    price = xr.DataArray(HOURS * case.price_eur_per_mwh, coords=[t])
    m.add_objective(
        HOURS * WEAR_EUR_PER_MWH * (charge + discharge).sum() + START_EUR * start.sum()
        + MISSED_EUR_PER_MWH * missed.sum() - (price * net).sum() + PEAK_EUR_PER_MW * peak
    )  # fmt: skip
    return m


def window(length: int) -> sp.csr_array:
    """(T, T) matrix W with x @ W the sums of x over the last `length` steps."""
    at = np.arange(STEPS)
    return sp.csr_array(((at[:, None] <= at) & (at < at[:, None] + length)).astype(float))


def cvxpy(case: Case) -> Handed:
    """CVXPY over matrix variables; bounds are attributes, so that they stay bounds."""
    importlib.import_module("cvxpy")
    return timed(lambda: _cvxpy_model(case), _cvxpy_hand_over)


def _cvxpy_model(case: Case) -> Any:
    import cvxpy as cp

    b, q = case.batteries, case.loads
    shape, load_shape = (len(b.power_mw), STEPS), (len(q.power_mw), STEPS)
    power = np.repeat(b.power_mw[:, None], STEPS, axis=1)
    charge, discharge = cp.Variable(shape, bounds=[0, power]), cp.Variable(shape, bounds=[0, power])
    content = cp.Variable(shape, bounds=[low_content(case), np.repeat(b.high_mwh[:, None], STEPS, axis=1)])
    on = cp.Variable(load_shape, integer=True, bounds=[0, 1])
    start, stop = cp.Variable(load_shape, bounds=[0, 1]), cp.Variable(load_shape, bounds=[0, 1])
    product = cp.Variable(load_shape, bounds=[0, np.repeat(q.capacity_mwh[:, None], STEPS, axis=1)])
    missed = cp.Variable(load_shape, bounds=[0, HOURS * q.drawn_mw])
    net = cp.Variable(STEPS, bounds=[-case.connection_mw, case.connection_mw])
    peak = cp.Variable(nonneg=True)
    change = sp.csr_array(sp.eye_array(STEPS) - sp.eye_array(STEPS, k=1))
    gained = sp.diags_array(HOURS * b.eta) @ charge - sp.diags_array(HOURS / b.eta) @ discharge
    made = HOURS * sp.diags_array(q.power_mw) @ on + missed
    rows = [
        content @ change - gained == first_step(b.start_mwh),
        on @ change - start + stop == 0,
        product @ change - made == first_step(q.start_mwh) - HOURS * q.drawn_mw,
        net == cp.sum(discharge - charge, axis=0) - q.power_mw @ on,
        peak + net >= 0,
    ]
    for k in range(len(MINIMUM_TIMES_H)):
        made_k, (run, pause) = np.flatnonzero(q.make == k), q.minimum_steps(k)
        rows.append(start[made_k] @ window(run) <= on[made_k])
        rows.append(stop[made_k] @ window(pause) <= 1 - on[made_k])
    cost = (
        HOURS * WEAR_EUR_PER_MWH * cp.sum(charge + discharge) + START_EUR * cp.sum(start)
        + MISSED_EUR_PER_MWH * cp.sum(missed) - HOURS * case.price_eur_per_mwh @ net + PEAK_EUR_PER_MW * peak
    )  # fmt: skip
    return cp.Problem(cp.Minimize(cost), rows)


def _cvxpy_hand_over(problem: Any) -> Any:
    import cvxpy as cp

    data, *_ = problem.get_problem_data(cp.HIGHS)
    rows, integer = sp.csc_array(data["A"]), np.zeros(len(data["c"]), dtype=np.int32)
    integer[data["int_vars_idx"]] = 1
    low = np.where(np.arange(len(data["b"])) < data["dims"].zero, data["b"], -np.inf)
    highs = highspy.Highs()
    highs.passModel(
        rows.shape[1], rows.shape[0], rows.nnz, COLWISE, MINIMISE, 0.0,
        data["c"], data["lower_bounds"], data["upper_bounds"], low, data["b"],
        rows.indptr.astype(np.int32), rows.indices.astype(np.int32), rows.data, integer,
    )  # fmt: skip
    return highs


def pyomo(case: Case) -> Handed:
    """Pyomo, a rule a row, handed over by its persistent HiGHS interface."""
    importlib.import_module("pyomo.environ")
    importlib.import_module("pyomo.contrib.appsi.solvers.highs")
    return timed(lambda: _pyomo_model(case), _pyomo_hand_over)


def _pyomo_model(case: Case) -> Any:
    import pyomo.environ as pyo

    b, q, m = case.batteries, case.loads, pyo.ConcreteModel()
    low, steps = low_content(case), range(STEPS)
    m.t, m.i, m.j = pyo.RangeSet(0, STEPS - 1), pyo.RangeSet(0, len(b.eta) - 1), pyo.RangeSet(0, len(q.make) - 1)
    m.charge = pyo.Var(m.i, m.t, bounds=lambda _, i, t: (0, b.power_mw[i]))
    m.discharge = pyo.Var(m.i, m.t, bounds=lambda _, i, t: (0, b.power_mw[i]))
    m.content = pyo.Var(m.i, m.t, bounds=lambda _, i, t: (low[i, t], b.high_mwh[i]))
    m.on = pyo.Var(m.j, m.t, domain=pyo.Binary)
    m.start, m.stop = pyo.Var(m.j, m.t, bounds=(0, 1)), pyo.Var(m.j, m.t, bounds=(0, 1))
    m.product = pyo.Var(m.j, m.t, bounds=lambda _, j, t: (0, q.capacity_mwh[j]))
    m.missed = pyo.Var(m.j, m.t, bounds=lambda _, j, t: (0, HOURS * q.drawn_mw[j, t]))
    m.net, m.peak = pyo.Var(m.t, bounds=(-case.connection_mw, case.connection_mw)), pyo.Var(bounds=(0, None))

    def balance(m: Any, i: int, t: int) -> Any:
        before = b.start_mwh[i] if t == 0 else m.content[i, t - 1]
        gained = b.eta[i] * m.charge[i, t] - m.discharge[i, t] / b.eta[i]
        return m.content[i, t] == before + HOURS * gained

    def commitment(m: Any, j: int, t: int) -> Any:
        before = 0 if t == 0 else m.on[j, t - 1]
        return m.on[j, t] - before == m.start[j, t] - m.stop[j, t]

    def run(m: Any, j: int, t: int) -> Any:
        since = max(0, t + 1 - q.minimum_steps(q.make[j])[0])
        return sum(m.start[j, s] for s in range(since, t + 1)) <= m.on[j, t]

    def pause(m: Any, j: int, t: int) -> Any:
        since = max(0, t + 1 - q.minimum_steps(q.make[j])[1])
        return sum(m.stop[j, s] for s in range(since, t + 1)) <= 1 - m.on[j, t]

    def store(m: Any, j: int, t: int) -> Any:
        before = q.start_mwh[j] if t == 0 else m.product[j, t - 1]
        made = HOURS * q.power_mw[j] * m.on[j, t] + m.missed[j, t]
        return m.product[j, t] == before + made - HOURS * q.drawn_mw[j, t]

    def site(m: Any, t: int) -> Any:
        loads = sum(q.power_mw[j] * m.on[j, t] for j in m.j)
        return m.net[t] == sum(m.discharge[i, t] - m.charge[i, t] for i in m.i) - loads

    def above(m: Any, t: int) -> Any:
        return m.peak + m.net[t] >= 0

    m.balance = pyo.Constraint(m.i, m.t, rule=balance)
    m.commitment = pyo.Constraint(m.j, m.t, rule=commitment)
    m.run, m.pause = pyo.Constraint(m.j, m.t, rule=run), pyo.Constraint(m.j, m.t, rule=pause)
    m.store = pyo.Constraint(m.j, m.t, rule=store)
    m.site, m.above = pyo.Constraint(m.t, rule=site), pyo.Constraint(m.t, rule=above)
    m.cost = pyo.Objective(
        expr=HOURS * WEAR_EUR_PER_MWH * sum(m.charge[i, t] + m.discharge[i, t] for i in m.i for t in steps)
        + sum(START_EUR * m.start[j, t] + MISSED_EUR_PER_MWH * m.missed[j, t] for j in m.j for t in steps)
        - HOURS * sum(case.price_eur_per_mwh[t] * m.net[t] for t in steps)
        + PEAK_EUR_PER_MW * m.peak
    )
    return m


def _pyomo_hand_over(model: Any) -> Any:
    from pyomo.contrib.appsi.solvers.highs import Highs

    solver = Highs()
    solver.set_instance(model)
    return solver._solver_model


LAYERS: dict[str, Callable[[Case], Handed]] = {"linopy": linopy, "cvxpy": cvxpy, "pyomo": pyomo}
