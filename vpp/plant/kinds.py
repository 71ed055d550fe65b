"""The kinds of devices by name: one line a kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from vpp.plant.devices import battery, chp, cooling, fixed, generation, mill, price_taker, thermal
from vpp.plant.making import DeviceKind

DEVICES: Mapping[str, DeviceKind] = {
    "battery": cast(DeviceKind, battery),
    "curtailable": cast(DeviceKind, generation),
    "fixed_load": cast(DeviceKind, fixed),
    "price_elastic": cast(DeviceKind, price_taker),
    "chp": cast(DeviceKind, chp),
    "process": cast(DeviceKind, mill),
    "thermal_store": cast(DeviceKind, cooling),
    "thermal_unit": cast(DeviceKind, thermal),
}
