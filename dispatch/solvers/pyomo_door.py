"""Pyomo: the open door for operators' rules, and for any solver that Pyomo knows.

A rule file adds constraints to a sub-Block over `Var(Any, dense=False)`, variables that stand for our
columns by name (asset, what, step). Pyomo's standard form compiles them to sparse rows, whose columns
are exchanged for ours; injections stay injections, and what this stage does not decide is a constant:

    lower - excess <= own @ x + injection @ p <= upper + excess,     excess >= 0

The excess has a price above every economic value, so a rule that nothing of ours can keep is broken as
little as possible instead of making the plan impossible, and `broken_rules` then names it. A rule file
may add constraints, sets, parameters and expressions; what else it does is refused by name, all at once.

M. L. Bynum et al., Pyomo - Optimization Modeling in Python, 3rd ed., Springer 2021.
"""

from __future__ import annotations

import inspect
import logging
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np
import pyomo.environ as pyo
import scipy.sparse as sp
from pyomo.core.expr.numeric_expr import LinearExpression
from pyomo.core.expr.visitor import identify_variables
from pyomo.repn import generate_standard_repn
from pyomo.repn.plugins.standard_form import LinearStandardFormCompiler

from dispatch.block import INF, Block, Columns, Rows
from dispatch.problem import Problem, check_solution
from dispatch.rule_places import Place, Places, Unseen
from dispatch.rules import Faulty, PlanView, RuleFile
from vpp.domain.errors import Fault, InputFaults, NotSolved
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array, TimeGrid

RULES = "rules"
EXCESS_EUR_PER_H = 100_000.0
KEPT = 1e-4
ALLOWED = (pyo.Constraint, pyo.Set, pyo.RangeSet, pyo.Param, pyo.Expression, pyo.Block)
ADVICE = "a rule file adds constraints over the plan's own variables"
Key = tuple[str, str, int]
Known = Callable[[str, str, int], object]


class _Model:
    """A rule file's constraints over variables by name, read once; every fault of the file is kept."""

    def __init__(
        self,
        file: RuleFile,
        grid: TimeGrid,
        zone: str,
        assets: Sequence[Asset],
        states: Mapping[str, AssetState],
        known: Known,
    ) -> None:
        self.file, self._known = file, known
        model = self.model = pyo.ConcreteModel()
        self.column, self.unknown, self.block = pyo.Var(pyo.Any, dense=False), pyo.Var(), pyo.Block(concrete=True)
        model.column, model.unknown, model.rules = self.column, self.unknown, self.block
        self.unseen: set[Key] = set()
        told: list[Fault] = []
        by_id = MappingProxyType({a.id: a for a in assets})
        view = PlanView(grid, zone, by_id, states, self._variable, lambda: self.unknown, file, told.append)
        with _silent():
            try:
                if inspect.isawaitable(given := file.function(self.block, view)) or inspect.isgenerator(given):
                    told.append(Fault(file.name, "", "rules(b, plan) is a generator or async: it states nothing"))
            except (Exception, SystemExit) as why:
                told.append(Fault(file.name, _line_of(why, file.name), _reason(why)))
            self.faults = [*dict.fromkeys([*told, *self._refused(), *self._senseless(told=bool(told))])]

    def _variable(self, asset: str, what: str, t: int) -> Any:
        key = asset, what, t
        if key not in self.column:
            try:
                self._known(*key)
            except Unseen:
                self.unseen.add(key)
        return self.column[key]

    def _refused(self) -> Iterator[Fault]:
        """What a rule file must not do, by name."""
        ours = self.column, self.unknown, self.block
        for part in ours:
            if part.model() is not self.model:
                yield Fault(self.file.name, self._written("del_component"), "takes away what the plan is made of")
        for part in self.model.component_objects(descend_into=False):
            if all(part is not own for own in ours) and not _internal(part):
                yield self._fault(part, f"is added outside of the rules; {ADVICE}")
        for part in self.block.component_objects():
            if part.ctype is pyo.Var:
                yield self._fault(part, f"is a new variable; {ADVICE}")
            elif part.ctype is pyo.Objective:
                yield self._fault(part, "is an objective; costs are the plan's own")
            elif part.ctype not in ALLOWED and not _internal(part):
                yield self._fault(part, f"is a {part.ctype.__name__}; {ADVICE}")
        parts = [self.block, *self.block.component_data_objects((pyo.Constraint, pyo.Block))]
        if not all(part.active for part in parts):
            yield Fault(self.file.name, self._written("deactivate"), "switches constraints off: they state nothing")
        yield from self._changed()

    def _senseless(self, told: bool) -> Iterator[Fault]:
        """Rows that are no linear row over the plan's variables, or that nothing could keep; `told` where stand-ins
        are the consequence of a fault that is known already."""
        for row in self.rows():
            strange = [v for v in identify_variables(row.body) if v.parent_component() is not self.column]
            if any(v is not self.unknown for v in strange):
                yield self._fault(row.parent_component(), f"uses a variable of its own in {row.local_name}; {ADVICE}")
            elif strange and not told:
                yield self._fault(row.parent_component(), f"uses a stand-in in {row.local_name}; {ADVICE}")
            elif reason := _no_row(row):
                at = "" if row is row.parent_component() else f"[{row.index()}] "
                yield self._fault(row.parent_component(), at + reason)

    def _changed(self) -> Iterator[Fault]:
        for key, variable in self.column.items():
            name = f"plan.{key[1]}[{key[0]!r}][{key[2]}]"
            if variable.fixed:
                yield Fault(self.file.name, self._written("fix"), f"{name} is fixed; state it as a constraint")
                variable.unfix()
            if variable.domain is not pyo.Reals:
                yield Fault(self.file.name, self._written("domain"), f"the domain of {name} is changed")
                variable.domain = pyo.Reals
            if variable.lb is not None or variable.ub is not None:
                wrote = self._written("setlb") or self._written("setub") or self._written("bounds")
                yield Fault(self.file.name, wrote, f"the bounds of {name} are changed; state them as a constraint")

    def _fault(self, part: Any, reason: str) -> Fault:
        return Fault(self.file.name, self._written(part.local_name), f"{part.local_name} {reason}")

    def _written(self, word: str) -> str:
        """The first line of the file that has `word`."""
        whole = re.compile(rf"\b{re.escape(word)}\b")
        lines = (n for n, line in enumerate(self.file.source.splitlines(), 1) if whole.search(line))
        return next((f"line {n}" for n in lines), "")

    def rows(self) -> Iterator[Any]:
        """Every active constraint, one index each."""
        yield from self.block.component_data_objects(pyo.Constraint, active=True)

    def seen(self, row: Any) -> bool:
        """Whether this stage knows everything the row is about."""
        return not self.unseen or all(
            v.index() not in self.unseen for v in identify_variables(row.body) if v is not self.unknown
        )


def _no_row(row: Any) -> str:
    """Why a constraint cannot become a row of finite numbers that something could keep; empty where it can."""
    try:
        form = generate_standard_repn(row.body)
        low, high = (None if side is None else float(pyo.value(side)) for side in (row.lower, row.upper))
        if not form.is_linear():
            return "is not linear"
        numbers = [*map(float, map(pyo.value, form.linear_coefs)), float(pyo.value(form.constant))]
    except (ValueError, ZeroDivisionError, OverflowError, TypeError) as why:
        return f"has no value ({_reason(why)})"
    if not np.isfinite([*numbers, *(side for side in (low, high) if side is not None)]).all():
        return "is not finite"
    *factors, constant = numbers
    if not any(factors) and not _inside(constant, low, high):
        return f"can never hold, whatever the plan does: {constant:g} is a constant"
    return ""


def _inside(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low - KEPT) and (high is None or value <= high + KEPT)


def _internal(part: Any) -> bool:
    """Index sets that Pyomo makes by itself."""
    return part.ctype in (pyo.Set, pyo.RangeSet)


@contextmanager
def _silent() -> Iterator[None]:
    """Pyomo logs what it also raises."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _line_of(why: BaseException, name: str) -> str:
    lines = [f.lineno for f in traceback.extract_tb(why.__traceback__) if f.filename == name]
    return f"line {lines[-1]}" if lines else ""


def _reason(why: BaseException) -> str:
    text = " ".join(str(why).split()).partition(" Error thrown for")[0]
    return f"{type(why).__name__}: {text}"


def faults_of(
    file: RuleFile,
    grid: TimeGrid,
    zone: str,
    assets: Sequence[Asset],
    states: Mapping[str, AssetState],
    known: Known,
) -> list[Fault]:
    """Every fault of a rule file over `grid`; `known` raises Faulty for (asset, what, step) that there is not."""
    return _Model(file, grid, zone, assets, states, known).faults


def rule_rows(
    file: RuleFile, zone: str, assets: Sequence[Asset], states: Mapping[str, AssetState], places: Places
) -> tuple[list[Block], list[Rows]]:
    """The rules as a block of their excess, last of all blocks, and rows over all columns; none where none bind.

    Rows without anything this stage decides on are left out. Raises InputFaults with every fault of the file.
    """
    model = _Model(file, places.grid, zone, assets, states, places.of)
    if model.faults:
        raise InputFaults(model.faults)
    for row in list(model.rows()):
        if not model.seen(row) or not any(True for _ in identify_variables(row.body)):
            row.deactivate()
    if not any(True for _ in model.rows()):
        return [], []
    form = LinearStandardFormCompiler().write(model.block, mixed_form=True)
    own, injection, shift = _exchanged(form, [places.of(*v.index()) for v in form.columns], places)
    side = np.array([r.bound_type for r in form.rows])
    rhs = np.asarray(form.rhs, dtype=float) - shift
    decides = np.flatnonzero((np.diff(own.indptr) > 0) | (np.diff(injection.indptr) > 0))
    if not decides.size:
        return [], []
    names = tuple(form.rows[i].constraint.local_name for i in decides)
    price = EXCESS_EUR_PER_H * float(places.grid.hours.min())
    return _elastic(own[decides], injection[decides], side[decides], rhs[decides], names, price)


def _exchanged(form: Any, at: Sequence[Place], places: Places) -> tuple[sp.csr_array, sp.csr_array, Array]:
    """Rows over our columns (m, columns), over injections (m, N*T), and what constants add to them (m,)."""
    a = sp.csr_array(form.A)
    factor = np.array([p.factor for p in at])

    def spread(targets: Sequence[int | None], width: int) -> sp.csr_array:
        pairs = [(j, k) for j, k in enumerate(targets) if k is not None]
        rows, columns = ([pair[i] for pair in pairs] for i in (0, 1))
        found = sp.csr_array(a @ sp.csr_array((factor[rows], (rows, columns)), shape=(a.shape[1], width)))
        found.eliminate_zeros()
        return found

    own = spread([p.column for p in at], places.columns)
    injected = spread([p.injection for p in at], len(places.asset_ids) * places.grid.n)
    return own, injected, np.asarray(a @ np.array([p.constant for p in at]))


def _elastic(
    own: sp.csr_array, injection: sp.csr_array, side: Array, rhs: Array, names: tuple[str, ...], price: float
) -> tuple[list[Block], list[Rows]]:
    """Rows with an excess per row and direction, in units of what acts best."""
    largest = np.maximum(_largest(own), _largest(injection))
    over, under = np.flatnonzero(side >= 0), np.flatnonzero(side <= 0)
    count = len(over) + len(under)
    signed = np.concatenate([-largest[over], largest[under]])
    excess = sp.csr_array((signed, (np.concatenate([over, under]), np.arange(count))), shape=(len(side), count))
    lower, upper = np.where(side <= 0, rhs, -INF), np.where(side >= 0, rhs, INF)
    rows = Rows(RULES, lower, upper, sp.csr_array(sp.hstack([own, excess], format="csr")), injection, names)
    return [Block(RULES, (Columns("excess", (1, count), cost=price, term="rules"),), ())], [rows]


def _largest(matrix: sp.csr_array) -> Array:
    """(m,) largest absolute coefficient of each row."""
    found = np.zeros(matrix.shape[0])
    np.maximum.at(found, np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)), np.abs(matrix.data))
    return found


def broken_rules(
    file: RuleFile,
    zone: str,
    assets: Sequence[Asset],
    states: Mapping[str, AssetState],
    schedule: Schedule,
    decided: Sequence[str],
) -> list[Fault]:
    """Rules that do not hold at the schedule's own power, commitment and content, with their value.

    Independent of the compiled rows: the file's expressions are evaluated. Only rules about one of the
    assets `decided` are judged, and only where the schedule says everything they ask for.
    """
    values = _Values(schedule, states)
    model = _Model(file, schedule.grid, zone, assets, states, values)
    if model.faults:
        return list(model.faults)
    for key, variable in model.column.items():
        if key not in model.unseen:
            variable.set_value(values(*key), skip_validation=True)
    ours, faults = set(decided), []
    for row in model.rows():
        touched = {v.index()[0] for v in identify_variables(row.body)}
        if model.seen(row) and touched & ours:
            low, high = (pyo.value(e) if e is not None else None for e in (row.lower, row.upper))
            faults += _outside(file.name, row.local_name, float(pyo.value(row.body)), low, high)
    return faults


def _outside(name: str, rule: str, value: float, low: float | None, high: float | None) -> list[Fault]:
    for limit, past, sign in ((low, -1.0, "<"), (high, 1.0, ">")):
        if limit is not None and past * (value - limit) > KEPT * max(1.0, abs(limit)):
            return [Fault(name, rule, f"is broken: {value:.6g} {sign} {limit:.6g}")]
    return []


class _Values:
    """The schedule under an operator's names."""

    def __init__(self, schedule: Schedule, states: Mapping[str, AssetState]) -> None:
        self._schedule, self._states = schedule, states
        self._row = {a: i for i, a in enumerate(schedule.asset_ids)}

    def __call__(self, asset: str, what: str, t: int) -> float:
        """Raises Unseen where the schedule does not say, Faulty where there is no such row."""
        s = self._schedule
        if asset not in self._row:
            raise Faulty(f"the schedule has no {asset}")
        if what == "power_mw":
            return float(s.power_mw[self._row[asset], t])
        told = s.stored_mwh if what == "stored_mwh" else s.commitment
        if asset not in told:
            raise Unseen(f"the schedule does not say {what} of {asset}")
        if what in ("on", "stored_mwh"):
            return float(told[asset][t])
        before = float(told[asset][t - 1]) if t else float(self._states[asset].on)
        change = float(told[asset][t]) - before
        return float(change > 0.5 if what == "start" else change < -0.5)


def solve_with_pyomo(problem: Problem, solver: str, options: Mapping[str, Any] | None = None) -> tuple[Array, float]:
    """x (columns,) and the objective of the whole problem by `solver`, any name that Pyomo's SolverFactory knows.

    Raises NotSolved for an unknown or missing solver, any end but a proven optimum, or nonsense.
    """
    model = _whole(problem)
    engine = pyo.SolverFactory(solver)
    if engine is None or not engine.available(exception_flag=False):
        raise NotSolved(f"Pyomo has no solver {solver} here")
    try:
        for name, value in (options or {}).items():
            engine.options[name] = value
        with _silent():
            result = engine.solve(model, load_solutions=False)
    except Exception as why:
        raise NotSolved(f"{solver}: {_reason(why)}") from why
    if not pyo.check_optimal_termination(result):
        raise NotSolved(f"no optimum: {result.solver.termination_condition}")
    if hasattr(engine, "load_vars"):
        engine.load_vars()
    else:
        model.solutions.load_from(result)
    x = np.array([model.x[j].value if model.x[j].value is not None else 0.0 for j in range(problem.columns)])
    check_solution(problem, x, integral=True)
    return x, problem.objective(x)


def _whole(problem: Problem) -> pyo.ConcreteModel:
    """The stacked problem as one Pyomo model."""
    model = pyo.ConcreteModel()
    domain = [pyo.Integers if i else pyo.Reals for i in problem.integer]
    low, high = ([v if np.isfinite(v) else None for v in bound.tolist()] for bound in (problem.lower, problem.upper))
    model.x = pyo.Var(range(problem.columns), domain=lambda _, j: domain[j], bounds=lambda _, j: (low[j], high[j]))
    x = [model.x[j] for j in range(problem.columns)]
    a, rows = problem.matrix, pyo.ConstraintList()
    model.rows = rows
    for i in range(problem.rows):
        part = slice(a.indptr[i], a.indptr[i + 1])
        body = LinearExpression(
            constant=0.0, linear_coefs=a.data[part].tolist(), linear_vars=[x[j] for j in a.indices[part].tolist()]
        )
        lower, upper = float(problem.row_lower[i]), float(problem.row_upper[i])
        if part.stop == part.start or not (np.isfinite(lower) or np.isfinite(upper)):
            continue
        if lower == upper:
            rows.add(body == lower)
        else:
            rows.add((lower if np.isfinite(lower) else None, body, upper if np.isfinite(upper) else None))
    cost = LinearExpression(constant=problem.offset, linear_coefs=problem.cost.tolist(), linear_vars=x)
    model.cost = pyo.Objective(expr=cost)
    return model
