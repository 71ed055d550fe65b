"""The asset kinds by name: one line a kind."""

from __future__ import annotations

from typing import cast

from dispatch.assets import (
    backup_battery,
    batch,
    battery,
    building,
    chp,
    curtailable,
    ev_fleet,
    fixed_load,
    price_elastic,
    process,
    thermal_store,
    thermal_unit,
    thermostat_cluster,
    utilities,
    water_works,
)
from dispatch.block import Kind

KINDS: dict[str, Kind] = {
    "battery": cast(Kind, battery),
    "backup_battery": cast(Kind, backup_battery),
    "curtailable": cast(Kind, curtailable),
    "ev_fleet": cast(Kind, ev_fleet),
    "batch": cast(Kind, batch),
    "fixed_load": cast(Kind, fixed_load),
    "price_elastic": cast(Kind, price_elastic),
    "chp": cast(Kind, chp),
    "process": cast(Kind, process),
    "thermal_store": cast(Kind, thermal_store),
    "building": cast(Kind, building),
    "thermostat_cluster": cast(Kind, thermostat_cluster),
    "water_works": cast(Kind, water_works),
    "utilities": cast(Kind, utilities),
    "thermal_unit": cast(Kind, thermal_unit),
}
