"""The kinds of devices by name: one line a kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from vpp.plant.devices import (
    backup,
    batch,
    battery,
    chp,
    cooling,
    depot,
    fab,
    fixed,
    generation,
    hvac,
    mill,
    price_taker,
    thermal,
    thermostats,
    waterline,
)
from vpp.plant.making import DeviceKind

DEVICES: Mapping[str, DeviceKind] = {
    "battery": cast(DeviceKind, battery),
    "backup_battery": cast(DeviceKind, backup),
    "curtailable": cast(DeviceKind, generation),
    "ev_fleet": cast(DeviceKind, depot),
    "batch": cast(DeviceKind, batch),
    "fixed_load": cast(DeviceKind, fixed),
    "price_elastic": cast(DeviceKind, price_taker),
    "chp": cast(DeviceKind, chp),
    "process": cast(DeviceKind, mill),
    "thermal_store": cast(DeviceKind, cooling),
    "building": cast(DeviceKind, hvac),
    "thermostat_cluster": cast(DeviceKind, thermostats),
    "water_works": cast(DeviceKind, waterline),
    "utilities": cast(DeviceKind, fab),
    "thermal_unit": cast(DeviceKind, thermal),
}
