"""How a finished plan of each kind is recomputed: one line a kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dispatch.check import (
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
from dispatch.check.tools import Plan, Recomputed, alone

RECOMPUTE: dict[str, Callable[[Sequence[Plan]], list[Recomputed]]] = {
    "battery": alone(battery.recompute),
    "backup_battery": alone(backup_battery.recompute),
    "curtailable": alone(curtailable.recompute),
    "ev_fleet": alone(ev_fleet.recompute),
    "batch": alone(batch.recompute),
    "fixed_load": alone(fixed_load.recompute),
    "price_elastic": alone(price_elastic.recompute),
    "chp": alone(chp.recompute),
    "thermal_store": alone(thermal_store.recompute),
    "thermal_unit": alone(thermal_unit.recompute),
    "process": process.recompute,
    "building": alone(building.recompute),
    "thermostat_cluster": alone(thermostat_cluster.recompute),
    "water_works": alone(water_works.recompute),
    "utilities": alone(utilities.recompute),
}
"""Rules over all plans of a kind, answers in their order."""
