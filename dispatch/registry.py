"""The asset kinds by name: one line a kind."""

from __future__ import annotations

from typing import cast

from dispatch.assets import battery, chp, curtailable, fixed_load, price_elastic, process, thermal_store, thermal_unit
from dispatch.block import Kind

KINDS: dict[str, Kind] = {
    "battery": cast(Kind, battery),
    "curtailable": cast(Kind, curtailable),
    "fixed_load": cast(Kind, fixed_load),
    "price_elastic": cast(Kind, price_elastic),
    "chp": cast(Kind, chp),
    "process": cast(Kind, process),
    "thermal_store": cast(Kind, thermal_store),
    "thermal_unit": cast(Kind, thermal_unit),
}
