"""A checked pandapower net as `NetTables`: read from its element tables, never from pandapower's internal arrays.

Impedances and shunts are turned into admittances per unit on 1 MVA and nominal voltage. A direct
current line is two machines, as in pandapower: it takes p at one end, gives p less its losses at the
other, and holds the voltage at both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from grid_models.cells import in_service, text
from grid_models.spec import NetworkSpec
from grid_models.tables import (
    Buses,
    Complex,
    Impedances,
    Ints,
    Lines,
    Machines,
    NetTables,
    Shunts,
    Sources,
    Switches,
    Trafos,
)
from grid_models.tap_rules import BAND, SET_POINT, SIDE, is_automatic
from vpp.domain.time import Array


def tabulate(net: Any, spec: NetworkSpec) -> NetTables:
    """The checked net as arrays; positions follow the net's own order."""
    at = {int(b): i for i, b in enumerate(net.bus.index)}
    return NetTables(
        _buses(net), _lines(net, at, spec), _trafos(net, at, spec), _switches(net, at), _sources(net, at),
        _machines(net, at), _shunts(net, at), _impedances(net, at), spec.tap_delay_minutes,
    )  # fmt: skip


def _column(table: pd.DataFrame, name: str, default: float = np.nan) -> Array:
    if name not in table:
        return np.full(len(table), default)
    values = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    return np.where(np.isnan(values), default, values)


def _positions(table: pd.DataFrame, name: str, at: Mapping[int, int]) -> Ints:
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


def _lines(net: Any, at: Mapping[int, int], spec: NetworkSpec) -> Lines:
    line = net.line
    length, parallel = _column(line, "length_km"), _column(line, "parallel", 1.0)
    limit = _column(line, "max_loading_percent", 100.0)
    return Lines(
        line.index.to_numpy(dtype=np.int64), _positions(line, "from_bus", at), _positions(line, "to_bus", at),
        _column(line, "r_ohm_per_km") * length / parallel, _column(line, "x_ohm_per_km") * length / parallel,
        _column(line, "g_us_per_km", 0.0) * 1e-6 * length * parallel,
        2.0 * np.pi * net.f_hz * _column(line, "c_nf_per_km", 0.0) * 1e-9 * length * parallel,
        _column(line, "max_i_ka") * _column(line, "df", 1.0) * parallel,
        limit, *_emergency(limit, spec.emergency.line_pct, spec), line.in_service.to_numpy(dtype=bool),
    )  # fmt: skip


def _emergency(limit: Array, percent: float, spec: NetworkSpec) -> tuple[Array, Array]:
    """Limits in % after an outage and the minutes they hold, for elements with normal limits in %."""
    return np.maximum(limit, percent), np.full(len(limit), spec.emergency.minutes)


def _trafos(net: Any, at: Mapping[int, int], spec: NetworkSpec) -> Trafos:
    t = net.trafo
    automatic = np.array([is_automatic(row) for _, row in t.iterrows()], dtype=bool)
    at_lv = np.array([text(v) != "hv" for v in t.get(SIDE, ["lv"] * len(t))], dtype=bool)
    side = np.array([-1 if text(v) == "lv" else 1 for v in t.get("tap_side", ["hv"] * len(t))], dtype=np.int64)
    ideal = np.array([text(v) == "Ideal" for v in t.get("tap_changer_type", [""] * len(t))], dtype=bool)
    step, degree = _column(t, "tap_step_percent", 0.0), _column(t, "tap_step_degree", 0.0)
    neutral = _column(t, "tap_neutral", 0.0)
    position = np.where(np.isnan(_column(t, "tap_pos")), neutral, _column(t, "tap_pos"))
    low, high = _column(t, "tap_min"), _column(t, "tap_max")
    hv, lv = _positions(t, "hv_bus", at), _positions(t, "lv_bus", at)
    sign = side * np.where(at_lv, 1, -1) * np.where(step * np.cos(np.deg2rad(degree)) < 0.0, -1, 1)
    limit = _column(t, "max_loading_percent", 100.0)
    set_point = np.nan if spec.tap_set_point_pu is None else spec.tap_set_point_pu
    return Trafos(
        t.index.to_numpy(dtype=np.int64), hv, lv, _column(t, "sn_mva"), _column(t, "vn_hv_kv"),
        _column(t, "vn_lv_kv"), _column(t, "vk_percent"), _column(t, "vkr_percent"),
        _column(t, "pfe_kw", 0.0) / 1000.0, _column(t, "i0_percent", 0.0), _column(t, "shift_degree", 0.0),
        _column(t, "parallel", 1.0), _column(t, "df", 1.0), limit, *_emergency(limit, spec.emergency.trafo_pct, spec),
        t.in_service.to_numpy(dtype=bool), side, neutral.astype(np.int64),
        np.where(np.isnan(low), position, low).astype(np.int64),
        np.where(np.isnan(high), position, high).astype(np.int64),
        position.astype(np.int64), step, degree, ideal, automatic, np.where(at_lv, lv, hv), sign,
        _column(t, SET_POINT, set_point), _column(t, BAND, spec.tap_dead_band_pu),
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


def _sources(net: Any, at: Mapping[int, int]) -> Sources:
    """External grids, and generators that are slack, which stand at 0 degrees."""
    grids, slack = in_service(net.ext_grid), in_service(net.gen)
    slack = slack[_true(slack, "slack")]
    v = [_column(grids, "vm_pu") * np.exp(1j * np.deg2rad(_column(grids, "va_degree", 0.0))), _column(slack, "vm_pu")]
    return Sources(
        _names("ext_grid", grids) + _names("gen", slack),
        np.r_[_positions(grids, "bus", at), _positions(slack, "bus", at)], np.concatenate(v),
    )  # fmt: skip


def _machines(net: Any, at: Mapping[int, int]) -> Machines:
    gen, dc = in_service(net.gen), in_service(net.dcline)
    gen = gen[~_true(gen, "slack")]
    return Machines(
        _names("gen", gen) + _names("dcline", dc) * 2,
        np.r_[_positions(gen, "bus", at), _positions(dc, "from_bus", at), _positions(dc, "to_bus", at)],
        np.r_[_column(gen, "vm_pu"), _column(dc, "vm_from_pu"), _column(dc, "vm_to_pu")],
    )  # fmt: skip


def _true(table: pd.DataFrame, name: str) -> Any:
    """(rows,) where a column of truth values says so; a missing one says no."""
    return _column(table, name, 0.0) != 0.0


def _names(kind: str, table: pd.DataFrame) -> tuple[str, ...]:
    return tuple(f"{kind} {i}" for i in table.index)


def _shunts(net: Any, at: Mapping[int, int]) -> Shunts:
    """Shunts, rated at their own voltage, and the constant impedance of wards."""
    shunt, ward = in_service(net.shunt), in_service(net.ward)
    bus = _positions(shunt, "bus", at)
    vn = net.bus.vn_kv.to_numpy(dtype=float)[bus]
    rated = _column(shunt, "vn_kv")
    scale = _column(shunt, "step", 1.0) * (vn / np.where(np.isnan(rated), vn, rated)) ** 2
    y = (_column(shunt, "p_mw") - 1j * _column(shunt, "q_mvar")) * scale
    return Shunts(np.r_[bus, _positions(ward, "bus", at)],
                  np.r_[y, _column(ward, "pz_mw") - 1j * _column(ward, "qz_mvar")])  # fmt: skip


def _impedances(net: Any, at: Mapping[int, int]) -> Impedances:
    """Two-ports given per unit of their own power at the nominal voltages of their buses."""
    z = in_service(net.impedance)
    sn = _column(z, "sn_mva")

    def pair(real: str, imaginary: str, default: float = np.nan) -> Complex:
        return _column(z, real, default) + 1j * _column(z, imaginary, default)

    forth, back = sn / pair("rft_pu", "xft_pu"), sn / pair("rtf_pu", "xtf_pu")
    earth_f, earth_t = sn * pair("gf_pu", "bf_pu", 0.0), sn * pair("gt_pu", "bt_pu", 0.0)
    return Impedances(_positions(z, "from_bus", at), _positions(z, "to_bus", at),
                      forth + earth_f, -forth, -back, back + earth_t)  # fmt: skip
