"""The only door to pandapower and SimBench: parse, validate, tabulate, and the reference verdict.

The verdict is plain `runpp` of the checked net with its pi/T branch models (pandapower, Thurner et
al., IEEE Trans. Power Syst. 33 (2018) 6510); the tables are for the engine of our own and are read
from the element tables, never from pandapower's internal arrays.
"""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pandas as pd

from grid_models.background import Background
from grid_models.checks import has_tap_data, refuse_unmodelled, text
from grid_models.spec import NetworkSpec
from grid_models.tables import Buses, Lines, NetTables, Switches, Trafos
from vpp.domain.errors import UnknownElement
from vpp.domain.forecast import Series
from vpp.domain.time import Array

PROFILES_START = datetime(2015, 12, 31, 23, tzinfo=UTC)
STATIC = "static"
SECOND_ROOT_PU = 0.7


def read(spec: NetworkSpec) -> tuple[Any, Mapping[str, pd.DataFrame]]:
    """The checked net, typed and without storages, and its profile sheets (empty for a file).

    Raises UnknownElement for what cannot be represented or read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = _load(spec)
    profiles = net.pop("profiles", {})
    refuse_unmodelled(net, spec)
    if len(net.storage):
        net.storage = net.storage.iloc[:0]
    if "tap_changer_type" not in net.trafo:
        net.trafo["tap_changer_type"] = None
    typed = [has_tap_data(row) for _, row in net.trafo.iterrows()]
    net.trafo.loc[typed, "tap_changer_type"] = "Ratio"
    net.user_pf_options = {}
    return net, profiles


def _load(spec: NetworkSpec) -> Any:
    if spec.file is not None:
        if not Path(spec.file).is_file():
            raise UnknownElement(f"network file {spec.file} does not exist")
        return pp.from_json(spec.file)
    import simbench

    if spec.simbench not in simbench.collect_all_simbench_codes():
        raise UnknownElement(f"simbench code {spec.simbench!r} is unknown")
    return simbench.get_simbench_net(spec.simbench)


def tabulate(net: Any, spec: NetworkSpec) -> NetTables:
    """The checked net as arrays; positions follow the net's own order."""
    at = {int(b): i for i, b in enumerate(net.bus.index)}
    slack = net.ext_grid[net.ext_grid.in_service.astype(bool)].iloc[0]
    return NetTables(
        _buses(net), _lines(net, at), _trafos(net, at), _switches(net, at), at[int(slack.bus)],
        complex(slack.vm_pu * np.exp(1j * np.deg2rad(slack.va_degree))), spec.tap_dead_band_pu,
    )  # fmt: skip


def _column(table: pd.DataFrame, name: str, default: float = np.nan) -> Array:
    if name not in table:
        return np.full(len(table), default)
    values = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    return np.where(np.isnan(values), default, values)


def _positions(table: pd.DataFrame, name: str, at: Mapping[int, int]) -> Any:
    return np.array([at[int(b)] for b in table[name]], dtype=np.int64)


def _buses(net: Any) -> Buses:
    bus = net.bus
    places = np.array([_place(v) for v in bus.get("geo", [None] * len(bus))]).reshape(-1, 2)
    return Buses(
        bus.index.to_numpy(dtype=np.int64), _column(bus, "vn_kv"), _column(bus, "min_vm_pu"),
        _column(bus, "max_vm_pu"), bus.in_service.to_numpy(dtype=bool), places[:, 0], places[:, 1],
    )  # fmt: skip


def _place(geo: Any) -> tuple[float, float]:
    """Longitude and latitude of a GeoJSON point; NaN for anything else, since nothing is computed from them."""
    try:
        point = json.loads(geo)
        longitude, latitude = map(float, point["coordinates"][:2])
    except (TypeError, ValueError, KeyError):
        return np.nan, np.nan
    return longitude, latitude


def _lines(net: Any, at: Mapping[int, int]) -> Lines:
    line = net.line
    length, parallel = _column(line, "length_km"), _column(line, "parallel", 1.0)
    return Lines(
        line.index.to_numpy(dtype=np.int64), _positions(line, "from_bus", at), _positions(line, "to_bus", at),
        _column(line, "r_ohm_per_km") * length / parallel, _column(line, "x_ohm_per_km") * length / parallel,
        _column(line, "g_us_per_km", 0.0) * 1e-6 * length * parallel,
        2.0 * np.pi * net.f_hz * _column(line, "c_nf_per_km", 0.0) * 1e-9 * length * parallel,
        _column(line, "max_i_ka") * _column(line, "df", 1.0) * parallel,
        _column(line, "max_loading_percent", 100.0), line.in_service.to_numpy(dtype=bool),
    )  # fmt: skip


def _trafos(net: Any, at: Mapping[int, int]) -> Trafos:
    t = net.trafo
    automatic = np.array([text(v) in ("1", "1.0", "True") for v in t.get("autoTap", [""] * len(t))], dtype=bool)
    at_lv = np.array([text(v) != "hv" for v in t.get("autoTapSide", ["lv"] * len(t))], dtype=bool)
    side = np.array([-1 if text(v) == "lv" else 1 for v in t.get("tap_side", ["hv"] * len(t))], dtype=np.int64)
    step, neutral = _column(t, "tap_step_percent", 0.0), _column(t, "tap_neutral", 0.0)
    position = np.where(np.isnan(_column(t, "tap_pos")), neutral, _column(t, "tap_pos"))
    low, high = _column(t, "tap_min"), _column(t, "tap_max")
    hv, lv = _positions(t, "hv_bus", at), _positions(t, "lv_bus", at)
    sign = side * np.where(at_lv, 1, -1) * np.where(step < 0.0, -1, 1)
    return Trafos(
        t.index.to_numpy(dtype=np.int64), hv, lv, _column(t, "sn_mva"), _column(t, "vn_hv_kv"),
        _column(t, "vn_lv_kv"), _column(t, "vk_percent"), _column(t, "vkr_percent"),
        _column(t, "pfe_kw", 0.0) / 1000.0, _column(t, "i0_percent", 0.0), _column(t, "shift_degree", 0.0),
        _column(t, "parallel", 1.0), _column(t, "df", 1.0), _column(t, "max_loading_percent", 100.0),
        t.in_service.to_numpy(dtype=bool), side, neutral.astype(np.int64),
        np.where(np.isnan(low), position, low).astype(np.int64),
        np.where(np.isnan(high), position, high).astype(np.int64),
        position.astype(np.int64), step, automatic, np.where(at_lv, lv, hv), sign, _column(t, "autoTapSetp"),
    )  # fmt: skip


def _switches(net: Any, at: Mapping[int, int]) -> Switches:
    s = net.switch
    lines = {int(n): i for i, n in enumerate(net.line.index)}
    trafos = {int(n): i for i, n in enumerate(net.trafo.index)}
    element_of = {"b": at, "l": lines, "t": trafos}
    element = [element_of[et][int(e)] for et, e in zip(s.et, s.element, strict=True)]
    return Switches(
        s.index.to_numpy(dtype=np.int64), np.array(["blt".index(et) for et in s.et], dtype=np.int64),
        _positions(s, "bus", at), np.array(element, dtype=np.int64), s.closed.to_numpy(dtype=bool),
    )  # fmt: skip


def background(net: Any, spec: NetworkSpec, with_profiles: bool) -> Background:
    """Loads times growth and the generators that are not ours, mapped from their series to buses."""
    at = {int(b): i for i, b in enumerate(net.bus.index)}
    missing = sorted(set(spec.own_generation) - set(net.sgen.index))
    if missing:
        raise UnknownElement(f"own_generation: sgen {', '.join(map(str, missing))} does not exist")
    p: dict[str, Array] = {}
    q: dict[str, Array] = {}
    for prefix, table, sign in (("load", net.load, -spec.load_growth), ("gen", net.sgen, 1.0)):
        for number, row in table[table.in_service.astype(bool)].iterrows():
            if prefix == "gen" and number in spec.own_generation:
                continue
            series = f"{prefix}:{text(row['profile'])}" if with_profiles else STATIC
            if with_profiles and prefix == "gen" and row.q_mvar != 0.0:
                raise UnknownElement(f"sgen {number}: reactive power beside a profile has no model")
            scale = sign * float(row.scaling)
            for values, column in ((p, "p_mw"), (q, "q_mvar")):
                values.setdefault(series, np.zeros(len(at)))[at[int(row.bus)]] += scale * float(row[column])
    ids = tuple(p)
    empty = np.zeros((0, len(at)))
    return Background(ids, np.array([p[s] for s in ids]) if ids else empty,
                      np.array([q[s] for s in ids]) if ids else empty)  # fmt: skip


def series_of(net: Any, profiles: Mapping[str, pd.DataFrame]) -> tuple[dict[str, Series], dict[str, Array]]:
    """Every profile that a load or generator of the net follows, and qload of the load series.

    Without profiles one constant series "static". Raises UnknownElement for a profile that is absent.
    """
    if not profiles:
        one = np.ones(366 * 96)
        return {STATIC: Series(STATIC, PROFILES_START, one)}, {STATIC: one}
    series: dict[str, Series] = {}
    reactive: dict[str, Array] = {}
    for name in sorted({text(v) for v in net.load.profile}):
        values, q = (_profile(profiles["load"], f"{name}_{kind}") for kind in ("pload", "qload"))
        series[f"load:{name}"] = Series(f"load:{name}", PROFILES_START, values)
        reactive[f"load:{name}"] = q
    for name in sorted({text(v) for v in net.sgen.profile}):
        values = np.clip(_profile(profiles["renewables"], name), 0.0, None)
        series[f"gen:{name}"] = Series(f"gen:{name}", PROFILES_START, values, upper=max(1.0, float(values.max())))
    return series, reactive


def _profile(sheet: pd.DataFrame, column: str) -> Array:
    if column not in sheet:
        raise UnknownElement(f"profile {column!r} does not exist")
    return sheet[column].to_numpy(dtype=float)


class Reference:
    """The checked net with one load per bus, solved by `runpp` at given taps and switching state.

    While taps and switching stand still a step starts from the result of the last one and renews
    only the injections (`recycle`). A change of taps, a failure, and a result so low that it may be
    the second root of the power flow equations start from the tables and a DC power flow again. Closed
    switches of lines and transformers change no flow; they are left out, and with them a tenth of
    pandapower's Python calls.
    """

    def __init__(self, pickled_net: bytes) -> None:
        net = pickle.loads(pickled_net)
        net.load, net.sgen = net.load.iloc[:0], net.sgen.iloc[:0]
        zero = np.zeros(len(net.bus))
        pp.create_loads(net, net.bus.index, p_mw=zero, q_mvar=zero)
        self._net = net
        self._states: dict[Any, Any] = {}
        self._solved_at: dict[int, tuple[int, ...]] = {}

    def net(self, lines_out: tuple[int, ...], switches: tuple[tuple[int, bool], ...]) -> Any:
        """The net in one switching state (line and switch numbers)."""
        key = (lines_out, switches)
        if key not in self._states:
            net = copy.deepcopy(self._net)
            net.line.loc[list(lines_out), "in_service"] = False
            for number, closed in switches:
                net.switch.loc[number, "closed"] = closed
            net.switch = net.switch[(net.switch.et == "b") | ~net.switch.closed.astype(bool)]
            self._states[key] = net
        return self._states[key]

    def solve(self, net: Any, p_mw: Array, q_mvar: Array, taps: Any) -> tuple[Array, Array] | None:
        """Voltages (B,) in pu and loadings (E,) in %, or None where `runpp` does not converge."""
        net.load["p_mw"], net.load["q_mvar"] = -p_mw, -q_mvar
        net.trafo["tap_pos"] = taps
        position = tuple(map(int, taps))
        tries: list[dict[str, Any]] = [{"init": "dc"}]
        if self._solved_at.pop(id(net), None) == position:
            tries.insert(0, {"init": "results", "recycle": {"bus_pq": True, "trafo": False, "gen": False}})
        for how in tries:
            try:
                pp.runpp(net, lightsim2grid=False, numba=False, calculate_voltage_angles=True, **how)
            except pp.LoadflowNotConverged:
                continue
            vm = net.res_bus.vm_pu.to_numpy(copy=True)
            if how["init"] == "results" and np.nanmin(vm) < SECOND_ROOT_PU:
                continue
            self._solved_at[id(net)] = position
            return vm, np.concatenate([net.res_line.loading_percent, net.res_trafo.loading_percent])
        return None
