"""What the importer refuses: every table, switch and setting that the engine does not represent.

Works by allow-list, so a table nobody has heard of is refused as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from grid_models.cells import in_service, number, text
from grid_models.spec import NetworkSpec
from grid_models.tap_rules import tap_faults
from vpp.domain.errors import UnknownElement

MODELLED = (
    "bus", "load", "sgen", "gen", "switch", "ext_grid", "line", "trafo", "shunt", "ward", "impedance", "dcline",
)  # fmt: skip
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
NEEDED = {
    "load": ("p_mw", "q_mvar", "scaling"), "sgen": ("p_mw", "q_mvar", "scaling"), "gen": ("p_mw", "scaling"),
    "ward": ("ps_mw", "qs_mvar", "pz_mw", "qz_mvar"), "shunt": ("p_mw", "q_mvar", "step"),
    "impedance": ("rft_pu", "xft_pu", "rtf_pu", "xtf_pu"), "dcline": ("p_mw", "loss_percent", "loss_mw"),
    "line": ("length_km", "r_ohm_per_km", "x_ohm_per_km"), "trafo": ("vk_percent", "vkr_percent"),
}  # fmt: skip
BUSES_OF = {
    "load": ("bus",), "sgen": ("bus",), "gen": ("bus",), "ward": ("bus",), "shunt": ("bus",), "ext_grid": ("bus",),
    "impedance": ("from_bus", "to_bus"), "dcline": ("from_bus", "to_bus"),
}  # fmt: skip


def refuse_unmodelled(net: Mapping[str, Any], spec: NetworkSpec) -> None:
    """Raises UnknownElement that names everything in `net` the engine cannot represent."""
    faults = [
        *_tables(net, spec), *_buses(net), *_switches(net), *_loads(net), *_lines(net), *_trafos(net, spec),
        *_sources(net), *_machines(net), *_shunts(net), *_numbers(net), *_places(net),
    ]  # fmt: skip
    if faults:
        raise UnknownElement("; ".join(faults))


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
        if not number(bus, "vn_kv") > 0.0:
            yield f"bus {i}: no nominal voltage"
        if number(bus, "min_vm_pu", 0.0) > number(bus, "max_vm_pu", np.inf):
            yield f"bus {i}: lowest voltage above the highest"


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
        if number(switch, "z_ohm", 0.0) != 0.0:
            yield f"switch {i}: impedance z_ohm has no model"


def _loads(net: Mapping[str, Any]) -> Iterator[str]:
    for i, load in net["load"].iterrows():
        for column in VOLTAGE_DEPENDENCE:
            if number(load, column, 0.0) != 0.0:
                yield f"load {i}: voltage dependence {column} has no model"


def _lines(net: Mapping[str, Any]) -> Iterator[str]:
    for i, line in net["line"].iterrows():
        ends = [line["from_bus"], line["to_bus"]]
        if any(b not in net["bus"].index for b in ends):
            yield f"line {i}: an end does not exist"
        elif len({net["bus"].at[b, "vn_kv"] for b in ends}) > 1:
            yield f"line {i}: ends of different nominal voltage"
        if all(number(line, c) * number(line, "length_km") == 0.0 for c in ("r_ohm_per_km", "x_ohm_per_km")):
            yield f"line {i}: no impedance"
        if not number(line, "max_i_ka") * number(line, "df", 1.0) > 0.0:
            yield f"line {i}: no current rating"
        if not number(line, "max_loading_percent", 100.0) > 0.0:
            yield f"line {i}: no loading limit"
        if bool(line.get("tdpf", False)) is True:
            yield f"line {i}: temperature dependence has no model"


def _trafos(net: Mapping[str, Any], spec: NetworkSpec) -> Iterator[str]:
    for i, trafo in net["trafo"].iterrows():
        if any(trafo[c] not in net["bus"].index for c in ("hv_bus", "lv_bus")):
            yield f"trafo {i}: an end does not exist"
        for column in ("leakage_resistance_ratio_hv", "leakage_reactance_ratio_hv"):
            if number(trafo, column, 0.5) != 0.5:
                yield f"trafo {i}: {column} other than 0.5 has no model"
        vk, vkr = number(trafo, "vk_percent"), number(trafo, "vkr_percent")
        if not (number(trafo, "sn_mva") * number(trafo, "df", 1.0) > 0.0 and vk != 0.0 and abs(vk) >= abs(vkr)):
            yield f"trafo {i}: no rating or no short-circuit voltage"
        if not (number(trafo, "vn_hv_kv") > 0.0 and number(trafo, "vn_lv_kv") > 0.0):
            yield f"trafo {i}: no rated voltage"
        yield from tap_faults(i, trafo, spec)


def _machines(net: Mapping[str, Any]) -> Iterator[str]:
    for i, gen in in_service(net["gen"]).iterrows():
        if not number(gen, "vm_pu") > 0.0:
            yield f"gen {i}: no voltage set-point"
    for i, line in in_service(net["dcline"]).iterrows():
        if not (number(line, "vm_from_pu") > 0.0 and number(line, "vm_to_pu") > 0.0):
            yield f"dcline {i}: no voltage set-point"


def _shunts(net: Mapping[str, Any]) -> Iterator[str]:
    for i, shunt in in_service(net["shunt"]).iterrows():
        if text(shunt.get("step_dependency_table")) == "True":
            yield f"shunt {i}: step dependency table has no model"
    for i, z in in_service(net["impedance"]).iterrows():
        pairs = (("rft_pu", "xft_pu"), ("rtf_pu", "xtf_pu"))
        if any(number(z, r) == 0.0 and number(z, x) == 0.0 for r, x in pairs) or not number(z, "sn_mva") > 0.0:
            yield f"impedance {i}: no impedance or no rated power"


def _sources(net: Mapping[str, Any]) -> Iterator[str]:
    grids = in_service(net["ext_grid"])
    slack = [i for i, gen in in_service(net["gen"]).iterrows() if number(gen, "slack", 0.0) != 0.0]
    if not len(grids) and not slack:
        yield "ext_grid (none): no source is in service"
    for i, grid in grids.iterrows():
        if not number(grid, "vm_pu") > 0.0:
            yield f"ext_grid {i}: no voltage"


def _numbers(net: Mapping[str, Any]) -> Iterator[str]:
    """Values that every equation needs."""
    for name, columns in NEEDED.items():
        table = in_service(net[name])
        for column in columns:
            values = pd.to_numeric(table[column], errors="coerce").astype(float) if column in table else None
            missing = table.index if values is None else table.index[~np.isfinite(values)]
            yield from (f"{name} {i}: {column} is no number" for i in missing)


def _places(net: Mapping[str, Any]) -> Iterator[str]:
    """Elements in service whose bus is none of the net's."""
    for name, columns in BUSES_OF.items():
        table = in_service(net[name])
        for column in columns:
            missing = ~table[column].isin(net["bus"].index)
            yield from (f"{name} {i}: its bus does not exist" for i in table.index[missing])
