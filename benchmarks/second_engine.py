"""A second verdict of a plan by power-grid-model, built from the tables of a pandapower net.

Neither the engine of the loop nor pandapower's internal arrays take part: buses, lines, transformers and switches
are read from the element tables again, from the equations, in SI units. So one misreading cannot confirm itself.

Lines are pi models with switched ends. A transformer is the T of half its leakage impedance z on either side of its
magnetising admittance y, seen from the low-voltage side. As a chain matrix

    A = D = 1 + z y / 2,    B = z (1 + z y / 4),    C = y

is a pi of series impedance B with a shunt (A - 1) / B at each end, behind the ideal ratio. Loadings are the greater of
both ends, in % of `max_i_ka df parallel` or of `sn_mva df parallel`.

power-grid-model: Y. Xiang, P. Salemink, B. Stoeller, N. Bharambe, W. van Westering, CIRED 2023, 10.1049/icp.2023.0633.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import power_grid_model as pgm
from power_grid_model import ComponentType
from power_grid_model.errors import PowerGridBatchError
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vpp.domain.network import LOADING_TOLERANCE_PCT, VOLTAGE_TOLERANCE_PU, Flow, Violation
from vpp.domain.time import Array

STIFF_VA = 1e20
ERROR_PU = 1e-10
ITERATIONS = 50
UNKNOWN = ("gen", "xward", "ward", "impedance", "shunt", "trafo3w", "dcline", "motor", "storage", "svc", "tcsc", "ssc")
Rows = Mapping[Any, Any]


@dataclass(frozen=True)
class Answer:
    """Voltages (K,B) in pu, NaN where nothing feeds a bus; loadings (K,E) in %, lines before transformers; which
    of K cases converged. Order is that of the net's tables.
    """

    vm_pu: Array
    loading_pct: Array
    converged: Any


class SecondEngine:
    """The checked `net` (a pandapower net) solved by power-grid-model at given injections and tap positions.

    Raises ValueError that names what it does not know.
    """

    def __init__(self, net: Any) -> None:
        faults = [f"table {name}" for name in UNKNOWN if len(net.get(name, ()))]
        faults += [f"switch {i}: open at a transformer" for i in net.switch.index[_open(net, "t")]]
        faults += [f"trafo {i}: changer {kind!r}" for i, kind in _changers(net) if kind not in ("Ratio", "None")]
        if faults:
            raise ValueError("; ".join(faults))
        self.net = net
        self._node = _fused(net)
        self._at = {int(b): int(n) for b, n in zip(net.bus.index, self._node, strict=True)}
        self._fixed = self._lines() | self._sources()
        self._models: dict[tuple[int, ...], pgm.PowerGridModel] = {}

    def solve(self, p_mw: Array, q_mvar: Array, taps: Any) -> Answer:
        """Net injections (K,B) at tap positions (K,X)."""
        count, lines, trafos = len(p_mw), len(self.net.line), len(self.net.trafo)
        answer = Answer(
            np.full(p_mw.shape, np.nan), np.full((count, lines + trafos), np.nan), np.zeros(count, dtype=bool)
        )
        positions = np.asarray(taps, dtype=np.int64).reshape(count, trafos)
        for position in np.unique(positions, axis=0):
            at = np.flatnonzero((positions == position).all(axis=1))
            self._solve_at(tuple(map(int, position)), p_mw[at], q_mvar[at], at, answer)
        return answer

    def violations(self, flow: Flow, case: int = 0) -> list[Violation]:
        """What breaks a limit of the tables in one case of `flow`, solved anew at its taps, in order of steps."""
        answer = self.solve(flow.p_mw[case], flow.q_mvar[case], flow.taps[case])
        net, found = self.net, list[Violation]()
        limit = np.concatenate([_numbers(t, "max_loading_percent", 100.0) for t in (net.line, net.trafo)])
        names = [*(f"line {i}" for i in net.line.index), *(f"trafo {i}" for i in net.trafo.index)]
        low, high = (_numbers(net.bus, side, np.nan) for side in ("min_vm_pu", "max_vm_pu"))
        with np.errstate(invalid="ignore"):
            over = answer.loading_pct > limit + LOADING_TOLERANCE_PCT
            under, above = answer.vm_pu < low - VOLTAGE_TOLERANCE_PU, answer.vm_pu > high + VOLTAGE_TOLERANCE_PU
        found += [Violation("network", int(t), 0.0, 1.0, "pu") for t in np.flatnonzero(~answer.converged)]
        found += [Violation(names[e], int(t), float(answer.loading_pct[t, e]), float(limit[e]), "%")
                  for t, e in np.argwhere(over)]  # fmt: skip
        for broken, bound in ((under, low), (above, high)):
            found += [Violation(f"bus {net.bus.index[b]}", int(t), float(answer.vm_pu[t, b]), float(bound[b]), "pu")
                      for t, b in np.argwhere(broken)]  # fmt: skip
        return sorted(found, key=lambda v: v.step)

    def _solve_at(self, position: tuple[int, ...], p_mw: Array, q_mvar: Array, at: Any, answer: Answer) -> None:
        buses = np.flatnonzero(self._node >= 0)
        update = pgm.initialize_array("update", "sym_load", (len(at), len(buses)))
        update["id"] = self._loads()["id"]
        update["p_specified"], update["q_specified"] = -1e6 * p_mw[:, buses], -1e6 * q_mvar[:, buses]
        model, lost = self._model(position), np.zeros(len(at), dtype=bool)
        wanted = [ComponentType.node, ComponentType.line, ComponentType.generic_branch]
        try:
            out = model.calculate_power_flow(
                update_data={ComponentType.sym_load: update}, error_tolerance=ERROR_PU, max_iterations=ITERATIONS,
                output_component_types=wanted, continue_on_batch_error=True,
            )  # fmt: skip
        finally:
            if model.batch_error is not None:
                lost[model.batch_error.failed_scenarios] = True
        if isinstance(model.batch_error, PowerGridBatchError) and lost.all():
            return
        good = at[~lost]
        answer.converged[good] = True
        node = out[ComponentType.node]
        vm = np.where(node["energized"] > 0, node["u_pu"], np.nan)
        answer.vm_pu[np.ix_(good, buses)] = vm[~lost][:, self._node[buses]]
        lines = len(self.net.line)
        self._line_loading(out[ComponentType.line][~lost], good, answer.loading_pct[:, :lines])
        self._trafo_loading(out[ComponentType.generic_branch][~lost], good, answer.loading_pct[:, lines:])

    def _model(self, position: tuple[int, ...]) -> pgm.PowerGridModel:
        if position not in self._models:
            nodes = _input("node", np.arange(self._node.max() + 1), u_rated=self._rated_v())
            data = {ComponentType.node: nodes, ComponentType.sym_load: self._loads(), **self._fixed,
                    ComponentType.generic_branch: self._trafos(np.array(position))}  # fmt: skip
            self._models[position] = pgm.PowerGridModel(data, system_frequency=float(self.net.f_hz))
        return self._models[position]

    def _rated_v(self) -> Array:
        rated = np.zeros(self._node.max() + 1)
        live = self._node >= 0
        rated[self._node[live]] = self.net.bus.vn_kv.to_numpy(dtype=float)[live] * 1e3
        return rated

    def _first(self, after: str) -> int:
        """Ids are unique over all components: nodes, loads, lines, transformers, sources, in this order."""
        sizes = {"node": len(self.net.bus), "sym_load": len(self.net.bus), "line": len(self.net.line),
                 "generic_branch": len(self.net.trafo)}  # fmt: skip
        names = list(sizes)
        return sum(sizes[n] for n in names[: names.index(after)]) if after in sizes else sum(sizes.values())

    def _loads(self) -> Any:
        at = np.flatnonzero(self._node >= 0)
        return _input("sym_load", self._first("sym_load") + at, node=self._node[at], status=1, type=0,
                      p_specified=0.0, q_specified=0.0)  # fmt: skip

    def _lines(self) -> Rows:
        line, net = self.net.line, self.net
        length, parallel = _numbers(line, "length_km", np.nan), _numbers(line, "parallel", 1.0)
        farad = _numbers(line, "c_nf_per_km", 0.0) * 1e-9 * length * parallel
        siemens = _numbers(line, "g_us_per_km", 0.0) * 1e-6 * length * parallel
        susceptance = 2.0 * np.pi * net.f_hz * farad
        tan = np.divide(siemens, susceptance, out=np.zeros(len(line)), where=susceptance > 0.0)
        ends = np.column_stack([self._ends(line, column) for column in ("from_bus", "to_bus")])
        on = line.in_service.to_numpy(dtype=bool)[:, None] & (ends >= 0)
        opened = net.switch[_open(net, "l")]
        for bus, number in zip(opened.bus, opened.element, strict=True):
            row = line.index.get_loc(number)
            on[row, 0 if line.from_bus.iloc[row] == bus else 1] = False
        nodes = np.maximum(ends, 0)
        self._line_on, self._line_ka = on, _numbers(line, "max_i_ka", np.nan) * _numbers(line, "df", 1.0) * parallel
        return {
            ComponentType.line: _input(
                "line", self._first("line") + np.arange(len(line)), from_node=nodes[:, 0], to_node=nodes[:, 1],
                from_status=on[:, 0], to_status=on[:, 1], r1=_numbers(line, "r_ohm_per_km", np.nan) * length / parallel,
                x1=_numbers(line, "x_ohm_per_km", np.nan) * length / parallel, c1=farad, tan1=tan,
            )
        }  # fmt: skip

    def _trafos(self, position: Any) -> Any:
        t, net = self.net.trafo, self.net
        step = _numbers(t, "tap_step_percent", 0.0) / 100.0 * (position - _numbers(t, "tap_neutral", 0.0))
        at_lv = np.array([str(side) == "lv" for side in t.tap_side], dtype=bool)
        turned = np.where([kind == "Ratio" for _, kind in _changers(net)], 1.0 + step, 1.0)
        hv_kv = _numbers(t, "vn_hv_kv", np.nan) * np.where(at_lv, 1.0, turned)
        lv_kv = _numbers(t, "vn_lv_kv", np.nan) * np.where(at_lv, turned, 1.0)
        units, mva = _numbers(t, "parallel", 1.0), _numbers(t, "sn_mva", np.nan)
        z_base = lv_kv**2 / mva
        r, size = (_numbers(t, name, np.nan) / 100.0 * z_base / units for name in ("vkr_percent", "vk_percent"))
        z = r + 1j * np.sqrt(size**2 - r**2)
        iron_mw, mva_0 = _numbers(t, "pfe_kw", 0.0) / 1e3, _numbers(t, "i0_percent", 0.0) / 100.0 * mva
        y = (iron_mw - 1j * np.sqrt(np.maximum(mva_0**2 - iron_mw**2, 0.0))) / lv_kv**2 * units
        a, b = 1.0 + z * y / 2.0, z * (1.0 + z * y / 4.0)
        shunt = 2.0 * (a - 1.0) / b
        hv, lv = self._ends(t, "hv_bus"), self._ends(t, "lv_bus")
        on = t.in_service.to_numpy(dtype=bool) & (hv >= 0) & (lv >= 0)
        rated = self._rated_v() / 1e3
        rating = mva * units * _numbers(t, "df", 1.0)
        self._trafo_on = on
        self._trafo_percent = [
            100.0 * np.sqrt(3.0) * _numbers(t, name, np.nan) / 1e3 / rating for name in ("vn_hv_kv", "vn_lv_kv")
        ]
        return _input(
            "generic_branch", self._first("generic_branch") + np.arange(len(t)), from_node=np.maximum(hv, 0),
            to_node=np.maximum(lv, 0), from_status=on, to_status=on, r1=b.real, x1=b.imag, g1=shunt.real, b1=shunt.imag,
            k=hv_kv / lv_kv * rated[lv] / rated[hv], theta=np.deg2rad(_numbers(t, "shift_degree", 0.0)),
        )  # fmt: skip

    def _sources(self) -> Rows:
        grid = self.net.ext_grid[self.net.ext_grid.in_service.astype(bool)]
        return {
            ComponentType.source: _input(
                "source", self._first("source") + np.arange(len(grid)), node=self._ends(grid, "bus"), status=1,
                u_ref=_numbers(grid, "vm_pu", 1.0), u_ref_angle=np.deg2rad(_numbers(grid, "va_degree", 0.0)),
                sk=STIFF_VA,
            )
        }  # fmt: skip

    def _ends(self, table: Any, column: str) -> Any:
        return np.array([self._at[int(b)] for b in table[column]], dtype=np.int64)

    def _line_loading(self, out: Any, at: Any, into: Array) -> None:
        ampere = np.maximum(out["i_from"], out["i_to"])
        into[at] = np.where(self._line_on.any(axis=1), 100.0 * ampere / 1e3 / self._line_ka, 0.0)

    def _trafo_loading(self, out: Any, at: Any, into: Array) -> None:
        hv, lv = self._trafo_percent
        into[at] = np.where(self._trafo_on, np.maximum(out["i_from"] * hv, out["i_to"] * lv), 0.0)


def _input(component: str, ids: Any, **columns: Any) -> Any:
    array = pgm.initialize_array("input", component, len(ids))
    array["id"] = ids
    for name, values in columns.items():
        array[name] = values
    return array


def _numbers(table: Any, name: str, default: float) -> Array:
    """A column as floats, `default` where it or a value is missing."""
    if name not in table:
        return np.full(len(table), default)
    values = np.array([np.nan if v is None else float(v) for v in table[name]], dtype=float)
    return np.where(np.isnan(values), default, values)


def _open(net: Any, kind: str) -> Any:
    return ((net.switch.et == kind) & ~net.switch.closed.astype(bool)).to_numpy(dtype=bool)


def _changers(net: Any) -> Sequence[tuple[int, str]]:
    kinds = net.trafo.get("tap_changer_type", [None] * len(net.trafo))
    return [(int(i), kind if isinstance(kind, str) and kind else "None")
            for i, kind in zip(net.trafo.index, kinds, strict=True)]  # fmt: skip


def _fused(net: Any) -> Any:
    """(B,) node of each bus over closed bus switches; -1 for buses out of service."""
    position = {int(b): i for i, b in enumerate(net.bus.index)}
    live = net.bus.in_service.to_numpy(dtype=bool)
    closed = net.switch[(net.switch.et == "b") & net.switch.closed.astype(bool)]
    pairs = [(position[int(a)], position[int(b)]) for a, b in zip(closed.bus, closed.element, strict=True)]
    joined = np.array([p for p in pairs if live[p[0]] and live[p[1]]], dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(joined)), (joined[:, 0], joined[:, 1])), shape=(len(live), len(live)))
    group = connected_components(graph, directed=False)[1]
    used = np.unique(group[live])
    number = np.full(int(group.max()) + 1, -1)
    number[used] = np.arange(len(used))
    return np.where(live, number[group], -1)
