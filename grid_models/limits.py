"""Which results break a limit, and which come near enough to be cut."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from grid_models.compile import State
from grid_models.cuts import Wanted
from grid_models.tables import Bools, Ints
from vpp.domain.network import LOADING_TOLERANCE_PCT, VOLTAGE_TOLERANCE_PU, Flow, Violation
from vpp.domain.time import Array


def max_loading(state: State) -> Array:
    """Limit of every rated element in % of its rating, (E,)."""
    return np.concatenate([state.tables.lines.max_loading_pct, state.tables.trafos.max_loading_pct])


def find_violations(state: State, flow: Flow, names: Sequence[str], first: int, last: int) -> list[Violation]:
    """Violations of steps first..last-1, which all have switching state `state`, in order of case and step."""
    span, buses, limit = slice(first, last), state.tables.buses, max_loading(state)
    elements = state.tables.elements
    vm, loading, good = flow.vm_pu[:, span], flow.loading_pct[:, span], flow.converged[:, span]
    checked = (state.node >= 0) & (state.node < state.n)
    loaded = (np.abs(flow.p_mw[:, span]) + np.abs(flow.q_mvar[:, span])) > 0.0
    with np.errstate(invalid="ignore"):
        over = loading > limit + LOADING_TOLERANCE_PCT
        low = checked & (vm < buses.min_vm_pu - VOLTAGE_TOLERANCE_PU)
        high = checked & (vm > buses.max_vm_pu + VOLTAGE_TOLERANCE_PU)
    dark = (state.node < 0) & loaded & good[..., None]

    def case(c: int) -> str:
        return names[c] if c < len(names) else f"case {c}"

    found = [
        (c, t, Violation("network", first + t, 0.0, 1.0, "pu", case(c))) for c, t in _where(~good)
    ]
    for c, t, e in _where(over):
        value = float(loading[c, t, e])
        found.append((c, t, Violation(elements[e], first + t, value, float(limit[e]), "%", case(c))))
    for broken, bound in ((low, buses.min_vm_pu), (high, buses.max_vm_pu)):
        for c, t, b in _where(broken):
            name, value = f"bus {buses.number[b]}", float(vm[c, t, b])
            found.append((c, t, Violation(name, first + t, value, float(bound[b]), "pu", case(c))))
    for c, t, b in _where(dark):
        least = float(np.nan_to_num(buses.min_vm_pu[b], nan=1.0))
        found.append((c, t, Violation(f"bus {buses.number[b]}", first + t, 0.0, least, "pu", case(c))))
    return [v for _, _, v in sorted(found, key=lambda row: row[:2])]


def wanted_cuts(state: State, vm: Array, loading: Array, near_pct: float) -> list[Wanted]:
    """What uses more than `near_pct` of its limit at operating points (K,B), (K,E), worst first per point.

    Currents and voltages alternate. Fused buses count once, by the first of them; the end of a
    branch is chosen later, where the currents are known, so `sign` is 0 for currents.
    """
    found: list[tuple[int, int, Wanted]] = []
    limit = max_loading(state)
    elements = state.tables.elements
    usage_i = 100.0 * loading / limit
    hot = usage_i > near_pct + 100.0 * LOADING_TOLERANCE_PCT / limit
    for k, e, rank in _ranked(hot, usage_i):
        found.append((k, 2 * rank, Wanted(k, elements[e], "i", e, 0, float(limit[e]), float(usage_i[k, e]))))
    usage_v, sign, bound = _voltage_usage(state, vm)
    for k, b, rank in _ranked(usage_v > near_pct, usage_v):
        node, name = int(state.node[b]), f"bus {state.tables.buses.number[b]}"
        one = Wanted(k, name, "vm", node, int(sign[k, b]), float(bound[k, b]), float(usage_v[k, b]))
        found.append((k, 2 * rank + 1, one))
    return [w for _, _, w in sorted(found, key=lambda row: row[:2])]


def named_cuts(state: State, vm: Array, loading: Array, named: Sequence[Collection[str]]) -> list[Wanted]:
    """The elements `named` for each operating point (K,B), (K,E), whatever they use; unknown ones are left out."""
    limit = max_loading(state)
    branch = {name: e for e, name in enumerate(state.tables.elements)}
    bus = {f"bus {number}": b for b, number in enumerate(state.tables.buses.number)}
    usage_v, sign, bound = _voltage_usage(state, vm)
    found = []
    for k, names in enumerate(named):
        for name in sorted(names):
            if (e := branch.get(name)) is not None and loading[k, e] > 0.0:
                usage = 100.0 * float(loading[k, e] / limit[e])
                found.append(Wanted(k, name, "i", e, 0, float(limit[e]), usage))
            elif (b := bus.get(name)) is not None and np.isfinite(usage_v[k, b]):
                side, node = int(sign[k, b]), int(state.node[b])
                found.append(Wanted(k, name, "vm", node, side, float(bound[k, b]), float(usage_v[k, b])))
    return found


def _voltage_usage(state: State, vm: Array) -> tuple[Array, Ints, Array]:
    """Use of the voltage band in % (K,B), -inf where not asked for, with its side and bound."""
    low, high = _node_band(state)
    middle, half = (high + low) / 2.0, (high - low) / 2.0
    sign = np.where(vm > middle, 1, -1)
    usage = 100.0 * (np.abs(vm - middle) - VOLTAGE_TOLERANCE_PU) / half
    asked = _first_buses(state) & np.isfinite(usage)
    bound = np.where(sign > 0, high, low)
    return np.where(asked, usage, -np.inf), sign, bound


def _node_band(state: State) -> tuple[Array, Array]:
    """Voltage band of each bus (B,), the narrowest of all buses fused with it; a missing bound is 0 or 2 pu."""
    buses = state.tables.buses
    size = state.n + len(state.slack_v) + 1
    low, high = np.zeros(size), np.full(size, 2.0)
    np.maximum.at(low, state.node, np.nan_to_num(buses.min_vm_pu, nan=0.0))
    np.minimum.at(high, state.node, np.nan_to_num(buses.max_vm_pu, nan=2.0))
    return low[state.node], high[state.node]


def _first_buses(state: State) -> Bools:
    """(B,) one bus of each energised node whose voltage neither a source nor a machine holds."""
    seen: set[int] = set(map(int, state.pv))
    first = np.zeros(len(state.node), dtype=bool)
    for b, node in enumerate(state.node):
        if 0 <= node < state.n and node not in seen:
            seen.add(int(node))
            first[b] = True
    return first


def _ranked(mask: Bools, usage: Array) -> list[tuple[int, int, int]]:
    """(point, index, rank of usage within the point) of every True in `mask` (K,M)."""
    out: list[tuple[int, int, int]] = []
    for k in np.flatnonzero(mask.any(axis=1)):
        at = np.flatnonzero(mask[k])
        order = at[np.argsort(-usage[k, at], kind="stable")]
        out += [(int(k), int(index), rank) for rank, index in enumerate(order)]
    return out


def _where(mask: Bools) -> list[list[int]]:
    rows: list[list[int]] = np.argwhere(mask).tolist()
    return rows
