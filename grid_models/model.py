"""The network model of a portfolio: `AcNetwork` behind the Network protocol, and how it is loaded.

Flows come from the batch engine of our own, the verdict from the reference engine at the same taps
and switching state. An outage that touches a step counts for all of it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from grid_models import cache
from grid_models.after_faults import Grid, checks
from grid_models.background import Background
from grid_models.batch import Engine, node_injection, unique_rows
from grid_models.compile import BUS_BUS, BUS_LINE, State, Switching, compile_state, switched, switching_of
from grid_models.cuts import cut_rows
from grid_models.limits import find_violations, named_cuts, wanted_cuts
from grid_models.ranking import Stretch, reswitched, single_outages
from grid_models.spec import ContingencyKind, NetworkSpec
from grid_models.tables import Complex, Ints, NetTables
from grid_models.taps import Solved, follow, settle, solve_at
from grid_models.verdict import Question, VerdictProcess
from vpp.domain.forecast import Series
from vpp.domain.network import Asked, Contingency, Cut, FaultCheck, Flow, Relief, Violation
from vpp.domain.portfolio import Outage
from vpp.domain.time import Array, TimeGrid

if TYPE_CHECKING:
    from grid_models.pandapower_net import Reference


class AcNetwork:
    """A network with planned outages that can be checked and linearised (vpp.domain.network.Network)."""

    engine = "pandapower"
    """Who gives the verdict of a certificate."""

    def __init__(
        self, tables: NetTables, outages: Sequence[Outage], reference: Callable[[], Reference],
        contingencies: Sequence[ContingencyKind] = (),
    ) -> None:  # fmt: skip
        """`reference` makes the verdict's engine, in a process of its own; it must be picklable.

        `contingencies` are those that a plan must survive to be certified clean.
        Raises UnknownElement for an outage of a line or switch that does not exist.
        """
        self._tables = tables
        self._outages = tuple(outages)
        self._contingencies = tuple(contingencies)
        self._first_taps = tables.trafos.tap_pos
        self._reference = VerdictProcess(reference)
        self.names: dict[str, str] = {}
        """`bus 93`, `line 18` or `trafo 0` by what the network's source calls it."""
        self._states: dict[Switching, State] = {}
        self._engines: dict[tuple[Switching, tuple[int, ...]], Engine] = {}
        for outage in self._outages:
            self._state(switching_of(outage.lines_out, outage.switches))

    @property
    def buses(self) -> tuple[int, ...]:
        """Bus numbers in array order."""
        return tuple(map(int, self._tables.buses.number))

    @property
    def taps(self) -> tuple[int, ...]:
        """Tap positions every flow starts from."""
        return tuple(map(int, self._first_taps))

    def starting_at(self, taps: Sequence[int]) -> AcNetwork:
        """The same network with other tap positions to start from; engines are shared."""
        moved = copy.copy(self)
        moved._first_taps = np.asarray(taps, dtype=np.int64)
        return moved

    @property
    def elements(self) -> tuple[str, ...]:
        """Names of lines, then transformers, in array order of `loading_pct`."""
        return self._tables.elements

    @property
    def ends(self) -> dict[str, tuple[int, int]]:
        """Bus numbers at both ends of every element, in the order of `elements`; the high-voltage one first."""
        t, buses = self._tables, self.buses
        first = [*t.lines.from_bus, *t.trafos.hv_bus]
        second = [*t.lines.to_bus, *t.trafos.lv_bus]
        return {n: (buses[a], buses[b]) for n, a, b in zip(self.elements, first, second, strict=True)}

    @property
    def coordinates(self) -> dict[int, tuple[float, float]]:
        """Longitude and latitude in degrees of the buses whose position is known."""
        t = self._tables.buses
        found = zip(self.buses, t.longitude.tolist(), t.latitude.tolist(), strict=True)
        return {bus: (x, y) for bus, x, y in found if np.isfinite(x) and np.isfinite(y)}

    @property
    def bands(self) -> dict[int, tuple[float, float]]:
        """Least and greatest voltage in per unit of the buses that have a band."""
        t = self._tables.buses
        found = zip(self.buses, t.min_vm_pu.tolist(), t.max_vm_pu.tolist(), strict=True)
        return {bus: (low, high) for bus, low, high in found if np.isfinite(low) and np.isfinite(high)}

    def open_at(self, moment: datetime) -> frozenset[str]:
        """Elements that carry nothing through at `moment`: out of service or with an open switch at an end."""
        t = self._tables
        in_service, closed = switched(t, self._switching_over(moment, moment + timedelta.resolution))
        live = np.concatenate([in_service, t.trafos.in_service])
        offset = np.where(t.switches.kind == BUS_LINE, 0, len(t.lines.number))
        at = (t.switches.kind != BUS_BUS) & ~closed
        live[(offset + t.switches.element)[at]] = False
        return frozenset(name for name, on in zip(self.elements, live, strict=True) if not on)

    @property
    def digest(self) -> str:
        """SHA-256 of the compiled arrays: which model answered."""
        return self._tables.digest

    def islands_without_source(self, moment: datetime) -> tuple[tuple[int, ...], ...]:
        """Bus numbers of every group of buses in service that no source reaches at `moment`."""
        state = self._state(self._switching_over(moment, moment + timedelta.resolution))
        return state.islands_without_source

    def flow(self, grid: TimeGrid, p_mw: Array, q_mvar: Array, taps: Ints | None = None) -> Flow:
        """Batch AC power flow of net injections (C,T,B) in MW, Mvar.

        Taps are controlled unless given as (C,T,X). Case 0 is a trajectory whose taps follow from
        step to step, the first from the network's `taps`; other cases start from case 0's.
        What does not converge is NaN with `converged` False; de-energised buses are NaN.
        """
        cases, steps, _ = p_mw.shape
        n_trafos = len(self._tables.trafos.number)
        vm = np.full(p_mw.shape, np.nan)
        loading = np.full((cases, steps, len(self.elements)), np.nan)
        found = np.zeros((cases, steps, n_trafos), dtype=np.int64)
        converged = np.zeros((cases, steps), dtype=bool)
        position = self._first_taps
        for switching, first, last in self._runs(grid):
            span = slice(first, last)
            state = self._state(switching)
            s = node_injection(state, p_mw[:, span].reshape(-1, p_mw.shape[-1]),
                               q_mvar[:, span].reshape(-1, p_mw.shape[-1]))  # fmt: skip
            given = None if taps is None else taps[:, span].reshape(-1, n_trafos)
            minutes = 60.0 * grid.hours[span]
            solved = self._solve(switching, state, s, minutes, given, position)
            shape = (cases, last - first, -1)
            for rows_taps, rows in unique_rows(solved.taps):
                engine = self._engine(switching, rows_taps)
                flat = np.unravel_index(rows, shape[:2])
                vm[flat[0], first + flat[1]] = engine.bus_voltage(solved.v[rows])
                loading[flat[0], first + flat[1]] = engine.loading(solved.v[rows])
            found[:, span] = solved.taps.reshape(shape)
            converged[:, span] = solved.converged.reshape(shape[:2])
            position = found[0, last - 1]
        return Flow(grid, p_mw, q_mvar, vm, loading, found, converged)

    def verdict(self, flow: Flow, case: int = 0) -> Flow:
        """One case of `flow` again by pandapower's `runpp` at the same taps, as a flow of one case.

        A step that `runpp` does not solve has `converged` False.
        """
        only = slice(case, case + 1)
        vm, loading = np.full_like(flow.vm_pu[only], np.nan), np.full_like(flow.loading_pct[only], np.nan)
        converged = np.zeros_like(flow.converged[only])
        questions = [
            Question(switching, flow.p_mw[case, t], flow.q_mvar[case, t], flow.taps[case, t])
            for switching, first, last in self._runs(flow.grid)
            for t in range(first, last)
        ]
        for t, answer in enumerate(self._reference.ask(questions)):
            if answer is not None:
                vm[0, t], loading[0, t], converged[0, t] = answer[0], answer[1], True
        return Flow(flow.grid, flow.p_mw[only], flow.q_mvar[only], vm, loading, flow.taps[only], converged)

    def warm_up(self) -> None:
        """Start the reference engine in the background, before the first verdict needs it."""
        self._reference.warm_up()

    def close(self) -> None:
        """End the reference engine's process; a later verdict starts another."""
        self._reference.close()

    def violations(self, flow: Flow, names: Sequence[str] = ("expected",)) -> list[Violation]:
        """Every violation by case and step; cases beyond `names` are "case N".

        A step that did not converge is one violation of element "network"; a de-energised bus that
        carries load one of that bus.
        """
        found: list[Violation] = []
        for switching, first, last in self._runs(flow.grid):
            found += find_violations(self._state(switching), flow, names, first, last)
        return found

    def n_minus_one(
        self, flow: Flow, outages: Sequence[str] | None = None, case: int = 0, loading_pct: Array | None = None
    ) -> list[Contingency]:
        """Lines and transformers out alone at every step of one case of `flow`, worst first.

        `outages` names them; without it all that carry current. Taps stay where the flow has them,
        `loading_pct` (E,) are the limits after the fault, without it the emergency ratings. Raises UnknownElement.
        """
        return single_outages(self._tables, self._stretches(flow, case), outages, loading_pct)

    def reswitched(
        self, flow: Flow, outages: Sequence[str] | None = None, case: int = 0, loading_pct: Array | None = None
    ) -> list[Contingency]:
        """Of those outages the ones that cut buses off, each with the open point closed that helps best.

        Taps follow their voltages then. Raises UnknownElement.
        """
        return reswitched(self._tables, self._stretches(flow, case), outages, loading_pct)

    def after_faults(self, flow: Flow, reliefs: Sequence[Relief] = ()) -> tuple[FaultCheck, ...]:
        """Contingencies of case 0 of `flow`: those always looked at, and those that bind.

        `reliefs` can be done while an emergency rating lasts, one of them at a time.
        """
        start, end = flow.grid.start, flow.grid.edges[-1]
        near = [o for o in self._outages if o.start < end and start < o.end]
        planned = [(f"outage {o.id}", switching_of(o.lines_out, o.switches)) for o in near]
        if near:
            planned.append(("normal switching", switching_of((), {})))
        grid = Grid(self._tables, self._stretches(flow, 0), [(n, s, self._state(s)) for n, s in planned], reliefs)
        return checks(grid, self._contingencies)

    def _stretches(self, flow: Flow, case: int) -> list[Stretch]:
        return [
            Stretch(switching, self._state(switching), partial(self._engine, switching), first,
                    flow.p_mw[case, first:last], flow.q_mvar[case, first:last], flow.taps[case, first:last])
            for switching, first, last in self._runs(flow.grid)
        ]  # fmt: skip

    def cuts(self, flow: Flow, near_pct: float = 100.0, per_step: int = 5, asked: Asked | None = None) -> list[Cut]:
        """Linear cuts for what uses more than `near_pct` of its limit, at most `per_step` a case and step.

        Where elements are `asked` by (case, step), these alone and all of them. Voltages use 100 % of their band
        at its edge. Currents and voltages alternate, worst first; steps that did not converge have no operating
        point and give none.
        """
        cuts: list[Cut] = []
        for switching, first, last in self._runs(flow.grid):
            at = np.argwhere(flow.converged[:, first:last]) + (0, first)
            if asked is not None:
                at = at[[(c, t) in asked for c, t in at.tolist()]]
            for position, rows in unique_rows(flow.taps[at[:, 0], at[:, 1]]):
                cuts += self._cuts_at(self._engine(switching, position), flow, at[rows], near_pct, per_step, asked)
        return sorted(cuts, key=lambda c: (c.case, c.step))

    def _cuts_at(
        self, engine: Engine, flow: Flow, at: Ints, near_pct: float, per_step: int, asked: Asked | None
    ) -> list[Cut]:
        cases, steps = at[:, 0], at[:, 1]
        vm, loading = flow.vm_pu[cases, steps], flow.loading_pct[cases, steps]
        if asked is None:
            touched = wanted_cuts(engine.state, vm, loading, near_pct)
        else:
            touched = named_cuts(engine.state, vm, loading, [asked[c, t] for c, t in at.tolist()])
            per_step = 2 * len(touched)
        if not touched:
            return []
        points = np.array(sorted({w.k for w in touched}))
        s = node_injection(engine.state, flow.p_mw[cases[points], steps[points]],
                           flow.q_mvar[cases[points], steps[points]])  # fmt: skip
        v, good = engine.solve(s)
        rows = cut_rows(engine, v, s, points, touched, good, per_step)
        node = engine.state.node
        inner = (node >= 0) & (node < engine.state.n)
        spread = np.where(inner, node, 0)
        return [
            Cut(r.element, int(steps[r.k]), int(cases[r.k]), np.where(inner, r.dp[spread], 0.0),
                np.where(inner, r.dq[spread], 0.0), r.limit)
            for r in rows
        ]  # fmt: skip

    def _solve(
        self, switching: Switching, state: State, s: Complex, minutes: Array,
        given: Ints | None, position: Ints,
    ) -> Solved:  # fmt: skip
        engine_of = partial(self._engine, switching)
        if given is not None:
            return solve_at(engine_of, s, given)
        steps = len(minutes)
        lead = follow(state, engine_of, s[:steps], position, minutes)
        if len(s) == steps:
            return lead
        others = len(s) // steps - 1, 1
        rest = settle(state, engine_of, s[steps:], np.tile(lead.taps, others), np.tile(lead.v, others))
        return Solved(
            np.concatenate([lead.v, rest.v]), np.concatenate([lead.taps, rest.taps]),
            np.concatenate([lead.converged, rest.converged]),
        )  # fmt: skip

    def _runs(self, grid: TimeGrid) -> list[tuple[Switching, int, int]]:
        """Consecutive steps of one switching state: (switching, first, last)."""
        runs: list[tuple[Switching, int, int]] = []
        for t, (begin, end) in enumerate(pairwise(grid.edges)):
            switching = self._switching_over(begin, end)
            if runs and runs[-1][0] == switching:
                runs[-1] = (switching, runs[-1][1], t + 1)
            else:
                runs.append((switching, t, t + 1))
        return runs

    def _switching_over(self, begin: datetime, end: datetime) -> Switching:
        """What is out in a step: an outage that touches any part of it counts for all of it."""
        active = [o for o in self._outages if o.start < end and begin < o.end]
        lines = tuple(sorted({n for o in active for n in o.lines_out}))
        return switching_of(lines, {n: closed for o in active for n, closed in o.switches.items()})

    def _state(self, switching: Switching) -> State:
        if switching not in self._states:
            self._states[switching] = compile_state(self._tables, switching)
        return self._states[switching]

    def _engine(self, switching: Switching, taps: tuple[int, ...]) -> Engine:
        key = (switching, taps)
        if key not in self._engines:
            self._engines[key] = Engine.of(self._state(switching), taps)
        return self._engines[key]


@dataclass(frozen=True)
class GridModel:
    """A network, what else feeds and loads it, and the series that drive it.

    `q_values` are the true reactive per-unit values of load series, aligned with `series`.
    """

    network: AcNetwork
    background: Background
    series: Mapping[str, Series]
    q_values: Mapping[str, Array]


def load_grid(spec: NetworkSpec, outages: Sequence[Outage], cache_dir: Path) -> GridModel:
    """The grid of `spec`, parsed once and then read from `cache_dir`.

    The cache is keyed by the specification, the network file's content, and the versions of parser
    and code; a cached grid loads without pandapower, which is imported at the first verdict. Raises
    UnknownElement for anything in the network or the outages that nobody models.
    """
    folder = cache.ensure(spec, cache_dir)
    tables, background, series, q_values = cache.read(folder)
    network = AcNetwork(tables, outages, partial(cache.reference, folder), spec.contingencies)
    network.names = cache.names(folder)
    return GridModel(network, background, series, q_values)
