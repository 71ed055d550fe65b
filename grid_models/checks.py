"""What the importer refuses: every table, switch and setting that the engine does not represent.

Works by allow-list, so a table nobody has heard of is refused as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from grid_models.spec import NetworkSpec
from vpp.domain.errors import UnknownElement

MODELLED = ("bus", "load", "sgen", "switch", "ext_grid", "line", "trafo")
WITHOUT_PHYSICS = (
    "measurement", "substation", "loadcases", "pwl_cost", "poly_cost", "group", "bus_geodata", "line_geodata",
    "trafo_characteristic_table",
)  # fmt: skip
PREFIXES_WITHOUT_PHYSICS = ("res_", "_empty_res_", "std_types|")
SWITCH_TYPES = ("CB", "LBS", "DS", "LS", "")
VOLTAGE_DEPENDENCE = (
    "const_z_percent", "const_i_percent", "const_z_p_percent", "const_i_p_percent",
    "const_z_q_percent", "const_i_q_percent",
)  # fmt: skip


def refuse_unmodelled(net: Mapping[str, Any], spec: NetworkSpec) -> None:
    """Raises UnknownElement that names everything in `net` the engine cannot represent."""
    faults = [
        *_tables(net, spec), *_buses(net), *_switches(net), *_loads(net), *_lines(net), *_trafos(net, spec),
        *_ext_grids(net), *_tap_types(net, spec),
    ]  # fmt: skip
    if faults:
        raise UnknownElement("; ".join(faults))


def has_tap_data(trafo: pd.Series[Any]) -> bool:
    """Whether a transformer row says anything a tap type would give meaning to."""
    step = _number(trafo, "tap_step_percent")
    degree = _number(trafo, "tap_step_degree")
    moved = _number(trafo, "tap_pos") - _number(trafo, "tap_neutral")
    return any(np.isfinite(v) and v != 0.0 for v in (step, degree, moved))


def text(value: Any) -> str:
    """A cell as text, empty for every kind of missing."""
    return "" if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)) else str(value)


def _number(row: pd.Series[Any], name: str, default: float = np.nan) -> float:
    value = row.get(name, default)
    return default if value is None or pd.isna(value) else float(value)


def _tables(net: Mapping[str, Any], spec: NetworkSpec) -> Iterator[str]:
    allowed = MODELLED + WITHOUT_PHYSICS + (("storage",) if spec.drop_storage else ())
    for name, table in net.items():
        if not isinstance(table, pd.DataFrame) or table.empty or name in allowed:
            continue
        if not name.startswith(PREFIXES_WITHOUT_PHYSICS):
            numbers = ", ".join(str(i) for i in table.index[:5])
            yield f"{name} {numbers}: no model for this table"


def _buses(net: Mapping[str, Any]) -> Iterator[str]:
    for i, bus in net["bus"].iterrows():
        if not _number(bus, "vn_kv") > 0.0:
            yield f"bus {i}: no nominal voltage"


def _switches(net: Mapping[str, Any]) -> Iterator[str]:
    ends = {"b": ("bus", ()), "l": ("line", ("from_bus", "to_bus")), "t": ("trafo", ("hv_bus", "lv_bus"))}
    for i, switch in net["switch"].iterrows():
        et, element, bus = switch["et"], switch["element"], switch["bus"]
        if et not in ends:
            yield f"switch {i}: element type {et!r} has no model"
            continue
        table, columns = ends[et]
        if text(switch.get("type")) not in SWITCH_TYPES:
            yield f"switch {i}: type {switch['type']!r} is unknown"
        if bus not in net["bus"].index or element not in net[table].index:
            yield f"switch {i}: bus {bus} or {table} {element} does not exist"
        elif columns and bus not in [net[table].at[element, c] for c in columns]:
            yield f"switch {i}: bus {bus} is no end of {table} {element}"
        elif et == "b" and net["bus"].at[bus, "vn_kv"] != net["bus"].at[element, "vn_kv"]:
            yield f"switch {i}: joins buses of different nominal voltage"
        if et == "t" and not switch["closed"]:
            yield f"switch {i}: open switch on trafo {element} has no model"
        if _number(switch, "z_ohm", 0.0) != 0.0:
            yield f"switch {i}: impedance z_ohm has no model"


def _loads(net: Mapping[str, Any]) -> Iterator[str]:
    for i, load in net["load"].iterrows():
        for column in VOLTAGE_DEPENDENCE:
            if _number(load, column, 0.0) != 0.0:
                yield f"load {i}: voltage dependence {column} has no model"
    for table in ("load", "sgen"):
        missing = ~net[table]["bus"].isin(net["bus"].index)
        yield from (f"{table} {i}: its bus does not exist" for i in net[table].index[missing])


def _lines(net: Mapping[str, Any]) -> Iterator[str]:
    for i, line in net["line"].iterrows():
        ends = [line["from_bus"], line["to_bus"]]
        if any(b not in net["bus"].index for b in ends):
            yield f"line {i}: an end does not exist"
        elif len({net["bus"].at[b, "vn_kv"] for b in ends}) > 1:
            yield f"line {i}: ends of different nominal voltage"
        if line["r_ohm_per_km"] * line["length_km"] == 0.0 and line["x_ohm_per_km"] * line["length_km"] == 0.0:
            yield f"line {i}: no impedance"
        if not _number(line, "max_i_ka") * _number(line, "df", 1.0) > 0.0:
            yield f"line {i}: no current rating"
        if bool(line.get("tdpf", False)) is True:
            yield f"line {i}: temperature dependence has no model"


def _trafos(net: Mapping[str, Any], spec: NetworkSpec) -> Iterator[str]:
    for i, trafo in net["trafo"].iterrows():
        if any(trafo[c] not in net["bus"].index for c in ("hv_bus", "lv_bus")):
            yield f"trafo {i}: an end does not exist"
        if text(trafo.get("tap_dependency_table")) == "True":
            yield f"trafo {i}: tap dependency table has no model"
        if np.isfinite(_number(trafo, "tap2_pos")):
            yield f"trafo {i}: second tap changer has no model"
        for column in ("leakage_resistance_ratio_hv", "leakage_reactance_ratio_hv"):
            if _number(trafo, column, 0.5) != 0.5:
                yield f"trafo {i}: {column} other than 0.5 has no model"
        if not (_number(trafo, "sn_mva") > 0.0 and _number(trafo, "vk_percent") > 0.0):
            yield f"trafo {i}: no rating or no short-circuit voltage"
        if text(trafo.get("autoTap")) in ("1", "1.0", "True"):
            yield from _automatic(i, trafo, spec)


def _automatic(i: Any, trafo: pd.Series[Any], spec: NetworkSpec) -> Iterator[str]:
    if not np.isfinite(_number(trafo, "autoTapSetp")) or text(trafo.get("autoTapSide")) not in ("hv", "lv"):
        yield f"trafo {i}: automatic tap without set-point or side"
    if not all(np.isfinite(_number(trafo, c)) for c in ("tap_min", "tap_max", "tap_step_percent")):
        yield f"trafo {i}: automatic tap without range or step"
    elif 2.0 * spec.tap_dead_band_pu <= abs(_number(trafo, "tap_step_percent")) / 100.0:
        yield f"trafo {i}: dead band is narrower than one tap step"


def _tap_types(net: Mapping[str, Any], spec: NetworkSpec) -> Iterator[str]:
    for i, trafo in net["trafo"].iterrows():
        kind = text(trafo.get("tap_changer_type"))
        if not has_tap_data(trafo):
            continue
        if not kind and spec.tap_changer is None:
            yield f"trafo {i}: tap data and no tap changer type"
        if kind not in ("", "Ratio"):
            yield f"trafo {i}: tap changer type {kind!r} has no model"
        if _number(trafo, "tap_step_degree", 0.0) != 0.0:
            yield f"trafo {i}: tap step in degrees has no model"
        if text(trafo.get("tap_side")) not in ("hv", "lv"):
            yield f"trafo {i}: tap data and no tap side"
        if any(_number(trafo, c) % 1.0 != 0.0 for c in ("tap_pos", "tap_neutral")):
            yield f"trafo {i}: tap position or neutral is no whole number"


def _ext_grids(net: Mapping[str, Any]) -> Iterator[str]:
    used = net["ext_grid"][net["ext_grid"]["in_service"].astype(bool)]
    if len(used) != 1:
        yield f"ext_grid {', '.join(map(str, used.index)) or '(none)'}: exactly one in service is modelled"
